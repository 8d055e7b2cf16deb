/* GPADLs of one guest: saved and restored. */
#include "common/vmbus/gpadl.h"

#include <stdlib.h>

#include "common/saved.h"
#include "common/vmbus/save.h"

enum { GPADL_DATA = 7 };

static const struct saved_field fields[] = {
	SAVED_ANY(1, struct vmbus_gpadl, id),
	SAVED_NUMBER(2, struct vmbus_gpadl, channel, VMBUS_MAX_CHANNELS - 1),
	SAVED_ANY(3, struct vmbus_gpadl, ranges),
	/* the header counts bytes in 16 bits */
	SAVED_NUMBER(4, struct vmbus_gpadl, words, UINT16_MAX / sizeof(u64)),
	SAVED_NUMBER(5, struct vmbus_gpadl, state, GPADL_OFFERED_TEARING_DOWN),
	SAVED_BOOL(6, struct vmbus_gpadl, announce),
	/* 7: the words that have come, as packed fixed64 */
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

static void save(const struct vmbus_gpadl *g, struct pb_writer *w, u32 number)
{
	size_t mark = pb_begin(w, number);

	saved_write(w, &layout, g);
	pb_put_bytes(w, GPADL_DATA,
		     (struct pb_bytes){(const u8 *)g->data, g->filled * sizeof(u64)});
	pb_end(w, mark);
}

void vmbus_gpadl_save(const struct vmbus_gpadls *t, struct pb_writer *w, u32 number)
{
	const struct vmbus_gpadl **list;
	u32 n = 0;

	if (!t->count)
		return;
	list = malloc(t->count * sizeof(*list));
	if (!list) {
		w->failed = true;
		return;
	}
	/*
	 * A new one stands in front of its bucket, so the last is the oldest and the first to be
	 * added again: the order of callbacks and answers follows the buckets.
	 */
	for (unsigned i = 0; i < GPADL_BUCKETS; i++)
		for (const struct vmbus_gpadl *g = t->bucket[i]; g; g = g->next)
			list[n++] = g;
	while (n)
		save(list[--n], w, number);
	free(list);
}

struct vmbus_gpadl *vmbus_gpadl_restore(struct vmbus_gpadls *t, struct pb_bytes state)
{
	struct vmbus_gpadl in = {0}, *g;
	struct pb_bytes data;

	if (!saved_read(state, &layout, &in) || !pb_find_bytes(state, GPADL_DATA, &data) ||
	    data.size % sizeof(u64) || data.size / sizeof(u64) > in.words)
		return NULL;
	in.filled = (u16)(data.size / sizeof(u64));
	if ((in.state == GPADL_IN_PROGRESS) != (in.filled < in.words))
		return NULL;
	g = vmbus_gpadl_add(t, in.id, in.channel, in.ranges, data.data, in.words, in.filled);
	if (!g)
		return NULL;
	g->state = in.state;
	g->announce = in.announce;
	return g;
}
