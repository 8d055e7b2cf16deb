/* Files, beyond what the C library has. */
#ifndef PARAPET_COMMON_IO_H
#define PARAPET_COMMON_IO_H

#include "common/types.h"

/* Writes it all, in as many pieces as it takes. False with errno. */
bool write_all(int fd, const void *data, size_t len);
/*
 * Opens /dev/null for the standard streams that are closed. Their numbers would become those of
 * sockets or files, which programs that are started then have as their streams, or lack.
 */
void io_open_standard(void);

#endif
