/* What fuzz targets of the whole chipset share: its clocks, and what its interrupts must be. */
#ifndef PARAPET_TESTS_FUZZ_CHIPSET_H
#define PARAPET_TESTS_FUZZ_CHIPSET_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/dev_drive.h"

static u64 now_ns, wall_ns;

static inline u64 get_now(void *ctx)
{
	(void)ctx;
	return now_ns;
}

static inline u64 get_wall(void *ctx)
{
	(void)ctx;
	return wall_ns;
}

static inline void on_msg(void *ctx, const struct apic_msg *msg)
{
	(void)ctx;
	if (msg->dest > 0x7fff || msg->delivery == APIC_SIPI ||
	    (msg->delivery <= APIC_LOWEST && msg->vector < 16) ||
	    (msg->level && msg->delivery > APIC_LOWEST))
		abort();
}

#endif
