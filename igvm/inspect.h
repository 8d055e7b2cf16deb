/* Describes a checked IGVM file: headers, layout of guest memory, size by part. */
#ifndef PARAPET_IGVM_INSPECT_H
#define PARAPET_IGVM_INSPECT_H

#include <jansson.h>
#include <stdio.h>

#include "igvm/igvm.h"

/*
 * A new object with "file", "platforms", "headers" (page-data headers in sequence as one), "layout"
 * (guest memory, ascending), "parts" (bytes of the file by part) and, if it is a paravisor image,
 * "paravisor". Addresses, masks and register values are hex strings, sizes numbers.
 * NULL if out of memory.
 */
json_t *inspect_describe(const struct igvm *ig);
/* Only the "parts" object */
json_t *inspect_parts(const struct igvm *ig);
/* The description for people */
void inspect_print(FILE *f, const json_t *description);

#endif
