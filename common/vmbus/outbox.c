/* Messages that found no free slot, in order; grows, with a limit. */
#include "common/vmbus/outbox.h"

#include <stdlib.h>
#include <string.h>

static bool grow(struct vmbus_outbox *b)
{
	u32 size = b->size ? b->size * 2 : 16;
	struct vmbus_outmsg *msg;

	if (b->len >= VMBUS_OUTBOX_LIMIT)
		return false;
	msg = calloc(size, sizeof(*msg));
	if (!msg)
		return false;
	for (u32 i = 0; i < b->len; i++)
		msg[i] = b->msg[(b->head + i) % b->size];
	free(b->msg);
	b->msg = msg;
	b->size = size;
	b->head = 0;
	return true;
}

bool vmbus_outbox_put(struct vmbus_outbox *b, u32 target, u8 vtl, u8 sint, const void *msg,
		      size_t len)
{
	struct vmbus_outmsg *m;

	if (b->len == b->size && !grow(b))
		return false;
	m = &b->msg[(b->head + b->len++) % b->size];
	m->target = target;
	m->vtl = vtl;
	m->sint = sint;
	m->len = (u8)len;
	memcpy(m->data, msg, len);
	return true;
}

struct vmbus_outmsg *vmbus_outbox_first(struct vmbus_outbox *b)
{
	return b->len ? &b->msg[b->head] : NULL;
}

void vmbus_outbox_pop(struct vmbus_outbox *b)
{
	b->head = (b->head + 1) % b->size;
	if (!--b->len && b->size > 256)
		vmbus_outbox_free(b);
}

void vmbus_outbox_free(struct vmbus_outbox *b)
{
	free(b->msg);
	*b = (struct vmbus_outbox){0};
}
