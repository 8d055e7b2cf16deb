/* The clocks of the system in nanoseconds, for the programs that have a libc. */
#ifndef PARAPET_COMMON_CLOCK_H
#define PARAPET_COMMON_CLOCK_H

#include <time.h>

#include "common/types.h"

static inline u64 clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (u64)now.tv_sec * NS_PER_S + (u64)now.tv_nsec;
}

/* For durations and deadlines. */
static inline u64 monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

#endif
