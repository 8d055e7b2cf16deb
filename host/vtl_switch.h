/* The switch between the VTLs of a virtual processor; on its thread. */
#ifndef PARAPET_HOST_VTL_SWITCH_H
#define PARAPET_HOST_VTL_SWITCH_H

#include "host/vm.h"

/* From VTL0 to VTL2: for an interrupt of VTL2, or with an intercept of VTL0. */
void vtl_enter_interrupt(struct vp *vp);
void vtl_enter_intercept(struct vp *vp, const struct hv_message *m);
/* For the string access to a port that VTL0 has left KVM with: one intercept for each element. */
void vtl_enter_string_io(struct vp *vp);
/* Back to VTL0, which VTL2 has asked for. */
void vtl_return(struct vp *vp);

/* True when VTL2's local APIC has an interrupt waiting. */
bool vtl_interrupt_pending(struct vp *vp);
/*
 * KVM completes what it exited for at the next KVM_RUN. Where VTL2 decides otherwise, the
 * completion runs now without entering the guest, and its effect on the registers is undone.
 * Returns the length of the instruction.
 */
u8 vtl_abandon_exit(struct vp *vp);

#endif
