/* Small printf without libc: %s %c %d %u %x with l, ll or z, zero padding, width, %.Ns, %.*s. */
#ifndef PARAPET_LOADER_FORMAT_H
#define PARAPET_LOADER_FORMAT_H

#include <stdarg.h>

#include "common/types.h"

/*
 * Writes at most size - 1 characters and a NUL; size must not be 0. Returns the characters
 * written: cut text is not counted.
 */
__attribute__((format(printf, 3, 0))) size_t shim_vformat(char *buf, size_t size, const char *fmt,
							  va_list ap);
__attribute__((format(printf, 3, 4))) size_t shim_format(char *buf, size_t size, const char *fmt,
							 ...);

#endif
