/* Unix sockets inside the nested machine, for programs outside. */
#ifndef PARAPET_SCRIPTS_NESTED_SOCKETS_H
#define PARAPET_SCRIPTS_NESTED_SOCKETS_H

#include <poll.h>
#include <stddef.h>

#define SOCKETS_MAX 512 /* connections at once */
#define SOCKETS_FDS (SOCKETS_MAX + 1)

/* Serves the virtio port `fd`. Relative paths are those of the current folder. */
void sockets_open(int fd);

/* Fills in what to wait for, up to SOCKETS_FDS entries. Shortens *timeout_ms where needed. */
size_t sockets_wait(struct pollfd *fds, int *timeout_ms);

/* Does what `fds`, filled by sockets_wait() and then by poll(), ask for. */
void sockets_serve(const struct pollfd *fds, size_t count);

#endif
