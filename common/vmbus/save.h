/*
 * What the saved states of server, client and rings share. Each state is a protobuf message; field
 * numbers, and the values of the enums in it, are for ever (common/saved.h).
 */
#ifndef PARAPET_COMMON_VMBUS_SAVE_H
#define PARAPET_COMMON_VMBUS_SAVE_H

#include "common/guid.h"
#include "common/saved.h"
#include "common/vmbus/outbox.h"
#include "common/vmbus/ring.h"

/* Of struct guid. */
extern const struct saved_layout vmbus_saved_guid;

/*
 * A text that ends up in log lines and inspection, cut to size - 1. False too if it is no UTF-8 or
 * has control characters.
 */
bool vmbus_saved_text(struct pb_bytes message, u32 number, char *text, size_t size);

/* All messages as fields `number`, the oldest first. */
void vmbus_outbox_save(const struct vmbus_outbox *b, struct pb_writer *w, u32 number);
/* One of them back; whether it may be put into a box is for the caller to judge. */
bool vmbus_outmsg_restore(struct pb_bytes state, struct vmbus_outmsg *m);

/*
 * A ring as its user left it: positions, the peer's waits, why it stopped, counters. Nothing in the
 * shared pages is written, so the peer sees no difference. page and pages as in vmbus_rx_init;
 * page NULL: of a ring that is closed, only the counters come back.
 */
void vmbus_rx_save(const struct vmbus_rx *rx, struct pb_writer *w);
void vmbus_tx_save(const struct vmbus_tx *tx, struct pb_writer *w);
bool vmbus_rx_restore(struct vmbus_rx *rx, struct pb_bytes state, u8 *const *page, u32 pages);
bool vmbus_tx_restore(struct vmbus_tx *tx, struct pb_bytes state, u8 *const *page, u32 pages);

#endif
