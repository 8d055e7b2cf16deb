/* Hypercalls of both VTLs (TLFS chapter 4). */
#ifndef PARAPET_HOST_HYPERCALL_H
#define PARAPET_HOST_HYPERCALL_H

#include "host/vm.h"

enum hypercall_action {
	HYPERCALL_DONE,	     /* RAX holds the result */
	HYPERCALL_INTERCEPT, /* unknown connection: VTL2 has to answer */
};

/* Runs the hypercall in the caller's registers (64-bit convention). VP thread. */
enum hypercall_action hypercall_run(struct vp *vp, enum vtl caller);

#endif
