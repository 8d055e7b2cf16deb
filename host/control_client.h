/* The other end of a VM's control socket (host/control.h). */
#ifndef PARAPET_HOST_CONTROL_CLIENT_H
#define PARAPET_HOST_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Socket of the VM of that name, or the name itself if it is a path. False: longer than size.
 */
bool control_path(const char *vm, char *path, size_t size);

/*
 * Sends a line (with its newline) to the control socket of a VM and returns what that says, or NULL
 * after an error line. The caller frees it.
 */
char *control_exchange(const char *vm, const char *line);

/* `parapet status`, `parapet shutdown` */
int control_command(int argc, char **argv);

#endif
