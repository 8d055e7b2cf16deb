/* Counters and boot timeline of the host. */
#ifndef PARAPET_HOST_STATS_H
#define PARAPET_HOST_STATS_H

#include <stdio.h>

#include "common/types.h"

enum vp_counter {
	COUNT_VTL2_ENTRY_INTERRUPT,
	COUNT_VTL2_ENTRY_INTERCEPT,
	COUNT_VTL_RETURN,
	COUNT_EXIT_VTL0,
	COUNT_EXIT_VTL2,
	COUNT_IO_INTERCEPT,
	COUNT_MMIO_INTERCEPT,
	COUNT_MSR_INTERCEPT,
	COUNT_EOI_INTERCEPT,
	COUNT_HYPERCALL_INTERCEPT,
	COUNT_OTHER_INTERCEPT,
	COUNT_VTL2_IO,
	COUNT_MSR_VTL0,
	COUNT_MSR_VTL2,
	COUNT_KICK,
	COUNTERS,
};
extern const char *const vp_counter_name[COUNTERS];

#define STATS_HYPERCALLS 32

struct vp_stats {
	u64 count[COUNTERS];
	struct {
		u16 code;
		u8 vtl;
		u64 calls;
	} hypercall[STATS_HYPERCALLS];
};

void stats_hypercall(struct vp_stats *s, u16 code, unsigned vtl);

/* Stages of a boot, in order */
enum boot_mark {
	MARK_HOST_START,
	MARK_VTL2_ENTRY,
	MARK_SHIM_DONE,
	MARK_KERNEL,
	MARK_INIT,
	MARK_PARAVISOR,
	MARK_VTL0_ENTRY,
	MARK_CONSOLE,
	MARK_USERSPACE,
	MARKS,
};
extern const char *const boot_mark_name[MARKS];

/* Milliseconds since process start; 0 = not reached. The first mark of a stage counts. */
struct timeline {
	double ms[MARKS];
};
void timeline_mark(struct timeline *t, enum boot_mark mark);
/* Monotonic milliseconds since this process started. */
double uptime_ms(void);

#endif
