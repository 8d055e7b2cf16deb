/* Files, beyond what the C library has. */
#ifndef PARAPET_COMMON_IO_H
#define PARAPET_COMMON_IO_H

#include "common/types.h"

/* Writes it all, in as many pieces as it takes. False with errno. */
bool write_all(int fd, const void *data, size_t len);

#endif
