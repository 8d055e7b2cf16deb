/* CPUID tables of the two VTLs: what KVM offers, less what VTLs cannot share, plus Hyper-V's
 * leaves. */
#ifndef PARAPET_HOST_CPUID_H
#define PARAPET_HOST_CPUID_H

#include "host/vm.h"

/*
 * Sets the CPUID table of one VTL of `vp`. VTL0's table can be changed by VTL2
 * (HvCallRegisterInterceptResult) until VTL0 first runs. Returns 0 or -1 after an error line.
 */
int cpuid_set(struct vp *vp, enum vtl vtl);

/*
 * Records a CPUID override for VTL0 from HvCallRegisterInterceptResult. Returns a HV_STATUS.
 * Call with vm->lock held.
 */
u16 cpuid_override(struct vm *vm, const struct hv_cpuid_result *r);

#endif
