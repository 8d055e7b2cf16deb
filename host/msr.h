/* Synthetic MSRs (0x40000000..0x400001ff) of both VTLs. */
#ifndef PARAPET_HOST_MSR_H
#define PARAPET_HOST_MSR_H

#include "host/vm.h"

/* Where the entry points stand in the hypercall page: OUT imm8, RET each */
#define HYPERCALL_PORT		  0x5c
#define HYPERCALL_PAGE_VTL_CALL	  0x10ull
#define VTL_CALL_PORT		  0x5e
#define HYPERCALL_PAGE_VTL_RETURN 0x20ull
#define VTL_RETURN_PORT		  0x5d

/* 0: done; -1: the access faults; 1: not an MSR of this interface. VP thread. */
int msr_hyperv_read(struct vp *vp, enum vtl vtl, u32 msr, u64 *value);
int msr_hyperv_write(struct vp *vp, enum vtl vtl, u32 msr, u64 value);

#endif
