/* Inspect trees as text and as JSON. */
#ifndef PARAPET_HOST_DIAG_RENDER_H
#define PARAPET_HOST_DIAG_RENDER_H

#include <stdio.h>

#include "common/diag/inspect.h"

/* Braces and indentation, "name: value," as OpenHCL's tool shows them; ends with a newline. */
void render_text(FILE *f, const struct inspect_node *node);
/* One line of JSON, without newline. */
void render_json(FILE *f, const struct inspect_node *node);
/* A JSON string with its quotes. */
void render_json_string(FILE *f, struct pb_bytes text);
/*
 * Replaces the counters of a tree by their growth per second since an earlier one, matched by path.
 * Those that are not in the earlier one, or that went back, become 0.
 */
void render_rates(struct inspect_node *node, const struct inspect_node *before, double seconds);

#endif
