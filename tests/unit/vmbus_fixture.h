/* What the VMBus tests share: pages of a ring that are not contiguous, in an order of their own. */
#ifndef PARAPET_TESTS_UNIT_VMBUS_FIXTURE_H
#define PARAPET_TESTS_UNIT_VMBUS_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/vmbus/ring.h"

#define RING_PAGES_MAX 16

struct ring_pages {
	u8 *page[RING_PAGES_MAX];
	unsigned count;
};

/* Each page its own allocation, so that ASan sees the first byte beyond one. */
static inline void ring_pages_init(struct ring_pages *r, unsigned count)
{
	assert_true(count <= RING_PAGES_MAX);
	r->count = count;
	for (unsigned i = 0; i < count; i++) {
		r->page[i] = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
		memset(r->page[i], 0xcc, PAGE_SIZE);
	}
	vmbus_ring_format(r->page);
}

static inline void ring_pages_free(struct ring_pages *r)
{
	for (unsigned i = 0; i < r->count; i++)
		free(r->page[i]);
}

static inline u32 ring_field(const struct ring_pages *r, u32 field)
{
	u32 v;

	memcpy(&v, r->page[0] + field, sizeof(v));
	return v;
}

static inline void ring_set(struct ring_pages *r, u32 field, u32 v)
{
	memcpy(r->page[0] + field, &v, sizeof(v));
}

/* Bytes of the data area, as a hostile peer writes them. */
static inline void ring_poke(struct ring_pages *r, u32 pos, const void *buf, u32 len)
{
	for (u32 i = 0; i < len; i++) {
		u32 at = (pos + i) % ((r->count - 1) * PAGE_SIZE);

		r->page[1 + at / PAGE_SIZE][at % PAGE_SIZE] = ((const u8 *)buf)[i];
	}
}

#endif
