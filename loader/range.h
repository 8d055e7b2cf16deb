/* Half-open ranges of guest physical addresses. */
#ifndef PARAPET_LOADER_RANGE_H
#define PARAPET_LOADER_RANGE_H

#include "common/types.h"

/* start <= end; empty when equal */
struct addr_range {
	u64 start, end;
};

static inline u64 range_size(struct addr_range r)
{
	return r.end - r.start;
}

static inline bool range_contains(struct addr_range outer, struct addr_range inner)
{
	return inner.start >= outer.start && inner.end <= outer.end;
}

/* Empty ranges overlap nothing. */
static inline bool range_overlaps(struct addr_range a, struct addr_range b)
{
	return a.start < b.end && b.start < a.end && a.start < a.end && b.start < b.end;
}

static inline bool range_page_aligned(struct addr_range r)
{
	return IS_ALIGNED(r.start | r.end, PAGE_SIZE);
}

#endif
