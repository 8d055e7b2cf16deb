#include "host/stats.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

const char *const vp_counter_name[COUNTERS] = {
	[COUNT_VTL2_ENTRY_INTERRUPT] = "vtl2_entries_interrupt",
	[COUNT_VTL2_ENTRY_INTERCEPT] = "vtl2_entries_intercept",
	[COUNT_VTL_RETURN] = "vtl_returns",
	[COUNT_EXIT_VTL0] = "vtl0_exits",
	[COUNT_EXIT_VTL2] = "vtl2_exits",
	[COUNT_IO_INTERCEPT] = "io_intercepts",
	[COUNT_MMIO_INTERCEPT] = "mmio_intercepts",
	[COUNT_MSR_INTERCEPT] = "msr_intercepts",
	[COUNT_EOI_INTERCEPT] = "eoi_intercepts",
	[COUNT_HYPERCALL_INTERCEPT] = "hypercall_intercepts",
	[COUNT_OTHER_INTERCEPT] = "other_intercepts",
	[COUNT_VTL2_IO] = "vtl2_port_accesses",
	[COUNT_MSR_VTL0] = "vtl0_hv_msr_accesses",
	[COUNT_MSR_VTL2] = "vtl2_hv_msr_accesses",
	[COUNT_KICK] = "kicks",
};

const char *const boot_mark_name[MARKS] = {
	"host_start", "vtl2_entry", "shim_done",     "kernel",	  "init",
	"paravisor",  "vtl0_entry", "guest_console", "userspace",
};

void stats_hypercall(struct vp_stats *s, u16 code, unsigned vtl)
{
	for (unsigned i = 0; i < STATS_HYPERCALLS; i++) {
		if (!s->hypercall[i].calls) {
			s->hypercall[i].code = code;
			s->hypercall[i].vtl = (u8)vtl;
		}
		if (s->hypercall[i].code == code && s->hypercall[i].vtl == vtl) {
			s->hypercall[i].calls++;
			return;
		}
	}
}

static double monotonic_ms(void)
{
	return (double)monotonic_ns() / 1e6;
}

double uptime_ms(void)
{
	static double start;

	if (start == 0)
		start = monotonic_ms() - 0.001;
	return monotonic_ms() - start;
}

void timeline_mark(struct timeline *t, enum boot_mark mark)
{
	if (t && t->ms[mark] == 0)
		t->ms[mark] = uptime_ms();
}
