/* SynIC and synthetic timers of one VTL of one VP (TLFS chapters 11 and 12). */
#ifndef PARAPET_HOST_SYNIC_H
#define PARAPET_HOST_SYNIC_H

#include "host/vm.h"

void synic_reset(struct synic *s);
void synic_destroy(struct synic *s);

/*
 * Puts a message into slot `sint`, or queues it (`queue`) when the slot is taken.
 * Returns a HV_STATUS. Takes vp->lock.
 */
u16 synic_post(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg,
	       bool queue);
/* Sets event flag `flag`; *newly tells whether it was clear. Returns a HV_STATUS. */
u16 synic_signal(struct vp *vp, enum vtl vtl, unsigned sint, unsigned flag, bool *newly);
/* Delivers queued messages whose slots are free. VP thread or EOM. */
void synic_rescan(struct vp *vp, enum vtl vtl);
/* True when the slot of `sint` holds no message. */
bool synic_slot_free(struct vp *vp, enum vtl vtl, unsigned sint);

/* MSR access; returns 0, or -1 for #GP. VP thread. */
int stimer_write(struct vp *vp, enum vtl vtl, u32 msr, u64 value);
u64 stimer_read(struct vp *vp, enum vtl vtl, u32 msr);
/* After EOM: messages of timers that found their slot taken. VP thread. */
void stimer_end_of_message(struct vp *vp, enum vtl vtl);
/* A timer ended a run of the VP after `ran` (100 ns units). VP thread. */
void stimer_interrupted(struct vp *vp, u64 ran);
/* Fires what is due in both VTLs and arms the thread's timer for the next. VP thread. */
void stimer_run(struct vp *vp);

/* Sends a fixed edge interrupt to the local APIC of one VTL of a VP. Any thread. */
void vp_interrupt(struct vp *vp, enum vtl vtl, u8 vector);
/* Makes the VP's thread look at its requests and interrupts. Any thread. */
void vp_kick(struct vp *vp);
/* After anything was sent to VTL2's local APIC: pulls a running VTL0 out. */
void vp_vtl2_interrupted(struct vp *vp);

#endif
