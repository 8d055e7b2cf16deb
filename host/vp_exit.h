/* Why a virtual processor has left KVM, and what follows from it; on its thread. */
#ifndef PARAPET_HOST_VP_EXIT_H
#define PARAPET_HOST_VP_EXIT_H

#include "host/vm.h"

/* KVM_RUN has returned 0: the reason is in the run page of the VTL that ran. */
void vp_exit(struct vp *vp, enum vtl vtl);
/* It has failed with EFAULT: an access to memory that is not there, or not allowed. */
void vp_exit_fault(struct vp *vp, enum vtl vtl);
/* VTL0 cannot go on: VTL2 is told if it wants to know, or the VM ends. what: "guest ..." */
void vp_unrecoverable(struct vp *vp, const char *what);

#endif
