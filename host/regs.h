/*
 * Registers between KVM's form and the TLFS' form. VTL0's registers live in the sync-regs area of
 * its vCPU (kvm_run.s.regs): writes land there one by one and KVM sees them together at VTL0's next
 * run, so invalid states in between do no harm.
 */
#ifndef PARAPET_HOST_REGS_H
#define PARAPET_HOST_REGS_H

#include "host/vm.h"

struct hv_segment regs_segment_from_kvm(const struct kvm_segment *s);

/* HvCallGetVpRegisters / HvCallSetVpRegisters for one register. Return a HV_STATUS. VP thread. */
u16 regs_get(struct vp *vp, enum vtl target, u32 name, struct hv_register_value *value);
u16 regs_set(struct vp *vp, enum vtl target, u32 name, const struct hv_register_value *value);

/* Sets a register of any VTL, for the loader. As regs_set() without the question who may. */
u16 regs_load(struct vp *vp, enum vtl target, u32 name, const struct hv_register_value *value);

/* Loads a HvCallStartVirtualProcessor context into a VTL of `vp`. VP thread. */
void regs_load_context(struct vp *vp, enum vtl vtl, const struct hv_vp_context *context);

/* Registers of a VTL as text lines, for error messages. */
void regs_format(const struct vp *vp, enum vtl vtl, char *text, size_t len);

/* Reads segments and control registers from KVM, unless written ones wait. Returns 0 or -1. */
int regs_fetch_sregs(struct vp *vp, enum vtl vtl);
/* Reads both register groups from KVM into the sync-regs area. Returns 0 or -1. */
int regs_fetch(struct vp *vp, enum vtl vtl);

static inline struct kvm_regs *regs_of(struct vp *vp, enum vtl vtl)
{
	return &vp->vtl[vtl].run->s.regs.regs;
}
static inline struct kvm_sregs *sregs_of(struct vp *vp, enum vtl vtl)
{
	return &vp->vtl[vtl].run->s.regs.sregs;
}
static inline void regs_dirty(struct vp *vp, enum vtl vtl, u64 groups)
{
	vp->vtl[vtl].run->kvm_dirty_regs |= groups;
}

/* Pointer to general register `n` in the order RAX RCX RDX RBX RSP RBP RSI RDI R8..R15. */
static inline u64 *regs_gpr(struct kvm_regs *r, unsigned n)
{
	__u64 *const p[16] = {&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp,
			      &r->rsi, &r->rdi, &r->r8,	 &r->r9,  &r->r10, &r->r11,
			      &r->r12, &r->r13, &r->r14, &r->r15};

	return (u64 *)p[n & 15];
}

#endif
