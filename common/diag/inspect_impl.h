/* Inspect: what building and decoding of trees share; for common/inspect*.c only. */
#ifndef PARAPET_COMMON_DIAG_INSPECT_IMPL_H
#define PARAPET_COMMON_DIAG_INSPECT_IMPL_H

#include "common/diag/inspect.h"

/* A node that is not evaluated, without a name. NULL, and the tree has failed: above its limit. */
struct inspect_node *inspect_new_node(struct inspect_tree *tree);
/* A copy with a NUL behind it. NULL as above. */
const char *inspect_copy_text(struct inspect_tree *tree, const char *text, size_t size);
/* Copies data to the node's. False as above. */
bool inspect_set_data(struct inspect_tree *tree, struct inspect_node *node, const void *data,
		      size_t size);

#endif
