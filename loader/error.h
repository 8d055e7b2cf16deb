/* Readable reason of a failure: every check of the shim fills one, and the panic shows it. */
#ifndef PARAPET_LOADER_ERROR_H
#define PARAPET_LOADER_ERROR_H

#include "common/types.h"

struct shim_error {
	char text[192];
};

/* Formats the reason (formats of shim_format). Always returns -1. */
__attribute__((format(printf, 2, 3))) int shim_fail(struct shim_error *err, const char *fmt, ...);

#endif
