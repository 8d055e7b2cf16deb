/* One virtual processor: its thread and its run loop. */
#ifndef PARAPET_HOST_VP_H
#define PARAPET_HOST_VP_H

#include "host/vm.h"

/* Creates both vCPUs. Returns 0 or -1 after an error line. */
int vp_create(struct vm *vm, unsigned index);
void vp_destroy(struct vp *vp);
/* Installs the signal handlers that vp_kick() and the timers need; once per process. */
void vp_install_signals(void);
/* Thread body; arg is the struct vp. */
void *vp_thread(void *arg);

#endif
