/* Messages that found no free slot, in order; grows, with a limit. */
#ifndef PARAPET_COMMON_VMBUS_OUTBOX_H
#define PARAPET_COMMON_VMBUS_OUTBOX_H

#include "common/abi/vmbus.h"

struct vmbus_outmsg {
	u32 target; /* VP, or connection id */
	u8 vtl, sint, len;
	u8 data[VMBUS_MESSAGE_MAX];
};

struct vmbus_outbox {
	struct vmbus_outmsg *msg;
	u32 size, head, len;
};

/* All channels offered and rescinded, and answers to spare. */
#define VMBUS_OUTBOX_LIMIT 16384

/* False: full, or no memory. len is at most VMBUS_MESSAGE_MAX. */
bool vmbus_outbox_put(struct vmbus_outbox *b, u32 target, u8 vtl, u8 sint, const void *msg,
		      size_t len);
/* The oldest, or NULL; valid until the next call that changes the box. */
struct vmbus_outmsg *vmbus_outbox_first(struct vmbus_outbox *b);
void vmbus_outbox_pop(struct vmbus_outbox *b);
void vmbus_outbox_free(struct vmbus_outbox *b);

#endif
