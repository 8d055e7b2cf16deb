/* Register arithmetic of intercepted instructions. */
#ifndef PARAPET_PARAVISOR_REGS_H
#define PARAPET_PARAVISOR_REGS_H

#include "common/abi/hv.h"

/* RAX after IN: 8- and 16-bit results leave the rest alone, a 32-bit one clears the upper half. */
static inline u64 regs_merge_in(u64 rax, u32 value, unsigned size)
{
	switch (size) {
	case 1: return (rax & ~0xffull) | (value & 0xff);
	case 2: return (rax & ~0xffffull) | (value & 0xffff);
	default: return value;
	}
}

/* RIP after the intercepted instruction; outside 64-bit code only 32 bits count. */
static inline u64 regs_next_rip(const struct hv_intercept_header *header, unsigned length)
{
	u64 rip = header->rip + length;
	bool long_code = (header->execution_state & HV_EXEC_EFER_LMA) &&
			 (header->cs.attributes & BIT(13));

	return long_code ? rip : (u32)rip;
}

static inline unsigned regs_length(const struct hv_intercept_header *header)
{
	return header->instruction_length & 0xf;
}

/* PendingEvent0 (TLFS): byte 0 pending and type, bit 8 error code follows, vector, error code. */
static inline u64 regs_exception_event(u8 vector, bool has_error, u32 error)
{
	return HV_EVENT_PENDING | HV_EVENT_EXCEPTION | (has_error ? BIT(8) : 0) |
	       (u64)vector << 16 | (u64)error << 32;
}

static inline u64 regs_external_event(u8 vector)
{
	return HV_EVENT_PENDING | HV_EVENT_EXT_INTERRUPT | (u64)vector << 8;
}

#endif
