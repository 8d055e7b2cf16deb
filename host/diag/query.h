/* One inspect question of a client. */
#ifndef PARAPET_HOST_DIAG_QUERY_H
#define PARAPET_HOST_DIAG_QUERY_H

#include "common/diag/inspect.h"
#include "host/diag/client.h"

#define QUERY_TIMEOUT_NS 1000000000ull

/*
 * Asks for a part of the tree. The result belongs to tree (to be freed with inspect_free, also
 * after NULL). NULL: said on stderr. That a path does not exist is a result: a failed node.
 */
struct inspect_node *query_inspect(struct diag_client *client, const char *path, u32 depth,
				   u64 timeout_ns, struct inspect_tree *tree);
/* An unsigned or signed value below node; fallback if there is none. */
u64 query_u64(const struct inspect_node *node, const char *path, u64 fallback);

#endif
