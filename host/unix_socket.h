/* Stream sockets that have a path. */
#ifndef PARAPET_HOST_UNIX_SOCKET_H
#define PARAPET_HOST_UNIX_SOCKET_H

#include <sys/un.h>

#include "common/types.h"

/* The address of path followed by suffix. False if it is too long, or empty. */
bool unix_address(struct sockaddr_un *a, const char *path, const char *suffix);
/*
 * Listens at path, without blocking: a socket that stands there without a listener is replaced.
 * for_us: no other user may connect, else as the umask has it. Returns the file, or -1 after an
 * error line.
 */
int unix_listen(const char *path, bool for_us, int backlog);
/* Ends it and removes the file; nothing where fd is -1. */
void unix_unlisten(int fd, const char *path);

#endif
