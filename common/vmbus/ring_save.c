/* VMBus rings: saved and restored. */
#include "common/vmbus/save.h"

enum { RING_WHY = 2 };

static const struct saved_field rx_fields[] = {
	SAVED_BOOL(1, struct vmbus_rx, corrupt),
	/* 2: why */
	SAVED_ANY(3, struct vmbus_rx, read),
	SAVED_ANY(4, struct vmbus_rx, published),
	SAVED_ANY(5, struct vmbus_rx, write),
	SAVED_ANY(6, struct vmbus_rx, packets),
	SAVED_ANY(7, struct vmbus_rx, bytes),
	SAVED_ANY(8, struct vmbus_rx, signals),
};
static const struct saved_layout rx_layout = SAVED_LAYOUT(rx_fields);

static const struct saved_field tx_fields[] = {
	SAVED_BOOL(1, struct vmbus_tx, corrupt),
	/* 2: why */
	SAVED_ANY(3, struct vmbus_tx, write),
	SAVED_ANY(4, struct vmbus_tx, published),
	SAVED_ANY(5, struct vmbus_tx, read),
	SAVED_ANY(6, struct vmbus_tx, pending),
	SAVED_ANY(7, struct vmbus_tx, packets),
	SAVED_ANY(8, struct vmbus_tx, bytes),
	SAVED_ANY(9, struct vmbus_tx, signals),
	SAVED_ANY(10, struct vmbus_tx, full),
};
static const struct saved_layout tx_layout = SAVED_LAYOUT(tx_fields);

void vmbus_rx_save(const struct vmbus_rx *rx, struct pb_writer *w)
{
	struct vmbus_rx out = *rx;

	if (!rx->page)
		out.read = out.published = out.write = 0;
	saved_write(w, &rx_layout, &out);
	if (rx->corrupt)
		pb_put_text(w, RING_WHY, rx->why);
}

void vmbus_tx_save(const struct vmbus_tx *tx, struct pb_writer *w)
{
	struct vmbus_tx out = *tx;

	if (!tx->page)
		out.write = out.published = out.read = out.pending = 0;
	saved_write(w, &tx_layout, &out);
	if (tx->corrupt)
		pb_put_text(w, RING_WHY, tx->why);
}

/* Bytes of data; 0: the pages make no ring. */
static u32 ring_size(u32 pages)
{
	return pages < 2 || pages - 1 > UINT32_MAX / 2 / PAGE_SIZE ? 0 : (pages - 1) * PAGE_SIZE;
}

static bool position(u32 index, u32 size)
{
	return index < size && index % 8 == 0;
}

bool vmbus_rx_restore(struct vmbus_rx *rx, struct pb_bytes state, u8 *const *page, u32 pages)
{
	*rx = (struct vmbus_rx){0};
	if (!saved_read(state, &rx_layout, rx) ||
	    !vmbus_saved_text(state, RING_WHY, rx->saved_why, sizeof(rx->saved_why)))
		return false;
	if (rx->corrupt)
		rx->why = rx->saved_why;
	if (!page) {
		rx->read = rx->published = rx->write = 0;
		return true;
	}
	rx->page = page;
	rx->size = ring_size(pages);
	return position(rx->read, rx->size) && position(rx->published, rx->size) &&
	       position(rx->write, rx->size);
}

bool vmbus_tx_restore(struct vmbus_tx *tx, struct pb_bytes state, u8 *const *page, u32 pages)
{
	*tx = (struct vmbus_tx){0};
	if (!saved_read(state, &tx_layout, tx) ||
	    !vmbus_saved_text(state, RING_WHY, tx->saved_why, sizeof(tx->saved_why)))
		return false;
	if (tx->corrupt)
		tx->why = tx->saved_why;
	if (!page) {
		tx->write = tx->published = tx->read = tx->pending = 0;
		return true;
	}
	tx->page = page;
	tx->size = ring_size(pages);
	return position(tx->write, tx->size) && position(tx->published, tx->size) &&
	       position(tx->read, tx->size) && tx->pending < MAX(tx->size, 1u);
}
