/* Describes a checked IGVM file: platforms, layout of guest memory, headers, size by part. */
#ifndef PARAPET_IGVM_INSPECT_H
#define PARAPET_IGVM_INSPECT_H

#include <jansson.h>
#include <stdio.h>

#include "igvm/igvm.h"

/*
 * A new object with "file", "platforms", "parts" (bytes of the file by part) and "headers"
 * (page-data headers in sequence as one). Each platform has its "totals" by kind, its "layout"
 * (guest memory, ascending), registers, policy, relocation, and, if it is a paravisor image,
 * "paravisor". Addresses, masks and register values are hex strings, sizes numbers.
 * NULL if out of memory.
 */
json_t *inspect_describe(const struct igvm *ig);
/* Only the platforms in mask, their headers, and these only if asked for */
json_t *inspect_describe_some(const struct igvm *ig, u32 mask, bool headers);
/* Only the "parts" object */
json_t *inspect_parts(const struct igvm *ig);

/* A description for people, without control characters; with "headers" if it has them */
void inspect_print(FILE *f, const json_t *description);

#endif
