/* Turns what stopped VTL0 into the message that VTL2 gets, and VTL2's answer back. */
#ifndef PARAPET_HOST_INTERCEPT_H
#define PARAPET_HOST_INTERCEPT_H

#include "host/vm.h"

/* Message of a port access: `length` of the instruction, `data` as RAX of an OUT. */
void intercept_io(struct vp *vp, struct hv_message *m, u16 port, u8 size, bool in, u8 length,
		  u64 rax);
void intercept_msr(struct vp *vp, struct hv_message *m, u32 msr, bool write, u64 value, u8 length);
void intercept_hypercall(struct vp *vp, struct hv_message *m);
void intercept_eoi(struct vp *vp, struct hv_message *m, u8 vector);
void intercept_deliverable(struct vp *vp, struct hv_message *m);
void intercept_unrecoverable(struct vp *vp, struct hv_message *m);

/*
 * Message of an access that left VTL0's memory (KVM_RUN said EFAULT). Returns 0, 1 when nothing
 * is found to have left memory (run again), or -1 when the instruction cannot be understood.
 */
int intercept_memory(struct vp *vp, struct hv_message *m);

/* Length of the port or string instruction at RIP, 0 when it cannot be read. */
u8 intercept_io_length(struct vp *vp, bool *string);

/* Register page of VTL2: filled at entry by intercept, applied at return. */
void register_page_fill(struct vp *vp);
void register_page_apply(struct vp *vp);
void register_page_invalidate(struct vp *vp);

#endif
