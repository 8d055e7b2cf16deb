/* VMBus ring buffers over pages that a hostile peer also maps. */
#include "common/vmbus/ring.h"

#include <string.h>

static u32 *control(u8 *const *page, u32 field)
{
	return (u32 *)(void *)(page[0] + field);
}

static u32 load(u8 *const *page, u32 field)
{
	return __atomic_load_n(control(page, field), __ATOMIC_ACQUIRE);
}

static void store(u8 *const *page, u32 field, u32 value)
{
	__atomic_store_n(control(page, field), value, __ATOMIC_RELEASE);
}

/* Between a store of ours and a load of the peer's answer to it: x86 reorders those too. */
static void full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static bool index_valid(u32 index, u32 size)
{
	return index < size && index % 8 == 0;
}

static u32 used(u32 read, u32 write, u32 size)
{
	return write >= read ? write - read : size - (read - write);
}

static u32 advance(u32 index, u32 by, u32 size)
{
	index += by;
	return index >= size ? index - size : index;
}

/* pos < size, len <= size; pages are not contiguous */
static void copy_out(u8 *const *page, u32 size, u32 pos, void *buf, u32 len)
{
	u8 *dst = buf;

	while (len) {
		u32 off = pos % PAGE_SIZE;
		u32 n = MIN(len, PAGE_SIZE - off);

		memcpy(dst, page[1 + pos / PAGE_SIZE] + off, n);
		dst += n;
		len -= n;
		pos = advance(pos, n, size);
	}
	/* what is judged is the copy: the compiler must not go back to the page */
	__asm__ volatile("" ::: "memory");
}

static u32 copy_in(u8 *const *page, u32 size, u32 pos, const void *buf, u32 len)
{
	const u8 *src = buf;

	while (len) {
		u32 off = pos % PAGE_SIZE;
		u32 n = MIN(len, PAGE_SIZE - off);

		memcpy(page[1 + pos / PAGE_SIZE] + off, src, n);
		src += n;
		len -= n;
		pos = advance(pos, n, size);
	}
	return pos;
}

void vmbus_ring_format(u8 *const *page)
{
	memset(page[0], 0, PAGE_SIZE);
	store(page, VMBUS_RING_FEATURES, VMBUS_RING_F_PENDING);
}

/* --- reader */

void vmbus_rx_stop(struct vmbus_rx *rx, const char *why)
{
	if (!rx->corrupt)
		rx->why = why;
	rx->corrupt = true;
}

bool vmbus_rx_init(struct vmbus_rx *rx, u8 *const *page, u32 pages)
{
	*rx = (struct vmbus_rx){.page = page};
	if (pages < 2 || pages - 1 > UINT32_MAX / 2 / PAGE_SIZE) {
		vmbus_rx_stop(rx, "ring size");
		return false;
	}
	rx->size = (pages - 1) * PAGE_SIZE;
	rx->read = load(page, VMBUS_RING_READ);
	rx->write = load(page, VMBUS_RING_WRITE);
	if (!index_valid(rx->read, rx->size) || !index_valid(rx->write, rx->size)) {
		vmbus_rx_stop(rx, "index at start");
		return false;
	}
	rx->published = rx->read;
	store(page, VMBUS_RING_MASK, 1);
	return true;
}

/* Looks at the peer's write index; false when corrupt. */
static bool rx_look(struct vmbus_rx *rx)
{
	u32 write;

	if (rx->corrupt)
		return false;
	write = load(rx->page, VMBUS_RING_WRITE);
	if (!index_valid(write, rx->size)) {
		vmbus_rx_stop(rx, "write index");
		return false;
	}
	rx->write = write;
	return true;
}

int vmbus_rx_peek(struct vmbus_rx *rx, struct vmbus_packet *pkt)
{
	struct vmbus_packet_desc desc;
	u32 avail, len;

	if (rx->corrupt)
		return VMBUS_RING_CORRUPT;
	if (rx->read == rx->write) {
		if (!rx_look(rx))
			return VMBUS_RING_CORRUPT;
		if (rx->read == rx->write)
			return VMBUS_RING_EMPTY;
	}
	avail = used(rx->read, rx->write, rx->size);
	if (avail < sizeof(desc) + VMBUS_PACKET_TRAILER) {
		vmbus_rx_stop(rx, "write index within a packet");
		return VMBUS_RING_CORRUPT;
	}
	copy_out(rx->page, rx->size, rx->read, &desc, sizeof(desc));
	len = desc.len8 * 8u;
	if (desc.offset8 < sizeof(desc) / 8 || desc.len8 < desc.offset8) {
		vmbus_rx_stop(rx, "packet offset");
		return VMBUS_RING_CORRUPT;
	}
	if (len + VMBUS_PACKET_TRAILER > avail) {
		vmbus_rx_stop(rx, "packet length");
		return VMBUS_RING_CORRUPT;
	}
	if (desc.flags & ~VMBUS_PACKET_F_COMPLETION) {
		vmbus_rx_stop(rx, "packet flags");
		return VMBUS_RING_CORRUPT;
	}
	switch (desc.type) {
	case VMBUS_PACKET_INBAND:
	case VMBUS_PACKET_XFER_PAGES:
	case VMBUS_PACKET_GPADL:
	case VMBUS_PACKET_GPA_DIRECT:
	case VMBUS_PACKET_CANCEL:
	case VMBUS_PACKET_COMPLETION: break;
	default: vmbus_rx_stop(rx, "packet type"); return VMBUS_RING_CORRUPT;
	}
	*pkt = (struct vmbus_packet){
		.type = desc.type,
		.flags = desc.flags,
		.transaction = desc.transaction,
		.pos = rx->read,
		.header = desc.offset8 * 8u,
		.len = len - desc.offset8 * 8u,
	};
	return VMBUS_RING_OK;
}

bool vmbus_rx_copy(const struct vmbus_rx *rx, const struct vmbus_packet *pkt, u32 off, void *buf,
		   u32 len)
{
	if (off > pkt->len || len > pkt->len - off)
		return false;
	copy_out(rx->page, rx->size, advance(pkt->pos, pkt->header + off, rx->size), buf, len);
	return true;
}

bool vmbus_rx_copy_header(const struct vmbus_rx *rx, const struct vmbus_packet *pkt, u32 off,
			  void *buf, u32 len)
{
	if (off > pkt->header || len > pkt->header - off)
		return false;
	copy_out(rx->page, rx->size, advance(pkt->pos, off, rx->size), buf, len);
	return true;
}

void vmbus_rx_consume(struct vmbus_rx *rx, const struct vmbus_packet *pkt)
{
	rx->read = advance(pkt->pos, pkt->header + pkt->len + VMBUS_PACKET_TRAILER, rx->size);
	rx->packets++;
	rx->bytes += pkt->len;
}

bool vmbus_rx_publish(struct vmbus_rx *rx)
{
	u32 before = rx->published;
	u32 pending, free_before, free_after;

	if (rx->corrupt || rx->read == before)
		return false;
	store(rx->page, VMBUS_RING_READ, rx->read);
	rx->published = rx->read;
	full_barrier();
	pending = load(rx->page, VMBUS_RING_PENDING);
	if (!pending)
		return false;
	/* more than can ever be free: wake the writer when the ring is empty */
	pending = MIN(pending, rx->size - 1);
	if (!rx_look(rx))
		return false;
	/*
	 * The write index may have moved since the packets were read, so that `before` looks as if
	 * it had more free than it had: the edge is seen with one and the same write index.
	 */
	free_before = rx->size - used(before, rx->write, rx->size);
	free_after = rx->size - used(rx->read, rx->write, rx->size);
	if (free_before > pending || free_after <= pending)
		return false;
	rx->signals++;
	return true;
}

void vmbus_rx_mask(struct vmbus_rx *rx)
{
	store(rx->page, VMBUS_RING_MASK, 1);
}

bool vmbus_rx_sleep(struct vmbus_rx *rx)
{
	if (rx->corrupt)
		return true;
	store(rx->page, VMBUS_RING_MASK, 0);
	full_barrier();
	if (!rx_look(rx))
		return true;
	if (rx->write == rx->read)
		return true;
	store(rx->page, VMBUS_RING_MASK, 1);
	return false;
}

int vmbus_rx_read(struct vmbus_rx *rx, struct vmbus_packet *pkt, void *buf, u32 size, u32 *len)
{
	int ret = vmbus_rx_peek(rx, pkt);

	if (ret)
		return ret;
	*len = pkt->len;
	if (pkt->len > size)
		return VMBUS_RING_TOO_BIG;
	vmbus_rx_copy(rx, pkt, 0, buf, pkt->len);
	vmbus_rx_consume(rx, pkt);
	return VMBUS_RING_OK;
}

static int rx_bad_ranges(struct vmbus_rx *rx)
{
	vmbus_rx_stop(rx, "ranges of a packet");
	return VMBUS_RING_CORRUPT;
}

int vmbus_rx_gpa_direct(struct vmbus_rx *rx, const struct vmbus_packet *pkt,
			struct vmbus_range *range, u32 max_ranges, u64 *pfn, u32 max_pfns,
			u32 *ranges)
{
	u32 off = sizeof(struct vmbus_packet_desc), pfns = 0;
	struct vmbus_gpa_direct head;

	if (pkt->type != VMBUS_PACKET_GPA_DIRECT ||
	    !vmbus_rx_copy_header(rx, pkt, off, &head, sizeof(head)) || !head.count)
		return rx_bad_ranges(rx);
	off += sizeof(head);
	/* each range takes at least its header and one PFN */
	if (head.count > (pkt->header - off) / 16)
		return rx_bad_ranges(rx);
	if (head.count > max_ranges)
		return VMBUS_RING_TOO_BIG;
	for (u32 i = 0; i < head.count; i++) {
		struct vmbus_gpa_range r;
		u64 count;

		if (!vmbus_rx_copy_header(rx, pkt, off, &r, sizeof(r)))
			return rx_bad_ranges(rx);
		off += sizeof(r);
		if (!r.len || r.offset >= PAGE_SIZE)
			return rx_bad_ranges(rx);
		count = ALIGN_UP((u64)r.offset + r.len, PAGE_SIZE) / PAGE_SIZE;
		if (count > (pkt->header - off) / sizeof(u64))
			return rx_bad_ranges(rx);
		if (count > max_pfns - pfns)
			return VMBUS_RING_TOO_BIG;
		vmbus_rx_copy_header(rx, pkt, off, pfn + pfns, (u32)count * sizeof(u64));
		range[i] = (struct vmbus_range){r.len, r.offset, pfns, (u32)count};
		off += (u32)count * sizeof(u64);
		pfns += (u32)count;
	}
	*ranges = head.count;
	return VMBUS_RING_OK;
}

int vmbus_rx_xfer_pages(struct vmbus_rx *rx, const struct vmbus_packet *pkt, u16 *set,
			struct vmbus_xfer_range *range, u32 max_ranges, u32 *ranges)
{
	u32 off = sizeof(struct vmbus_packet_desc);
	struct vmbus_xfer_pages head;

	if (pkt->type != VMBUS_PACKET_XFER_PAGES ||
	    !vmbus_rx_copy_header(rx, pkt, off, &head, sizeof(head)) || !head.count)
		return rx_bad_ranges(rx);
	off += sizeof(head);
	if (head.count > (pkt->header - off) / sizeof(*range))
		return rx_bad_ranges(rx);
	if (head.count > max_ranges)
		return VMBUS_RING_TOO_BIG;
	vmbus_rx_copy_header(rx, pkt, off, range, head.count * sizeof(*range));
	*set = head.set;
	*ranges = head.count;
	return VMBUS_RING_OK;
}

/* --- writer */

static void tx_stop(struct vmbus_tx *tx, const char *why)
{
	if (!tx->corrupt)
		tx->why = why;
	tx->corrupt = true;
}

static bool tx_look(struct vmbus_tx *tx)
{
	u32 read;

	if (tx->corrupt)
		return false;
	read = load(tx->page, VMBUS_RING_READ);
	if (!index_valid(read, tx->size)) {
		tx_stop(tx, "read index");
		return false;
	}
	tx->read = read;
	return true;
}

bool vmbus_tx_init(struct vmbus_tx *tx, u8 *const *page, u32 pages)
{
	*tx = (struct vmbus_tx){.page = page};
	if (pages < 2 || pages - 1 > UINT32_MAX / 2 / PAGE_SIZE) {
		tx_stop(tx, "ring size");
		return false;
	}
	tx->size = (pages - 1) * PAGE_SIZE;
	tx->write = load(page, VMBUS_RING_WRITE);
	if (!index_valid(tx->write, tx->size)) {
		tx_stop(tx, "index at start");
		return false;
	}
	tx->published = tx->write;
	if (!tx_look(tx))
		return false;
	store(page, VMBUS_RING_PENDING, 0);
	store(page, VMBUS_RING_FEATURES, VMBUS_RING_F_PENDING);
	return true;
}

u32 vmbus_packet_room(u32 header, u32 len)
{
	u64 total = ALIGN_UP(sizeof(struct vmbus_packet_desc) + (u64)header + len, 8);

	/* the descriptor counts 8 bytes in 16 bits */
	if (total / 8 > 0xffff)
		return 0;
	return (u32)total + VMBUS_PACKET_TRAILER;
}

/* Largest room that a packet may take: never the whole ring, or full would look empty. */
static u32 tx_free(const struct vmbus_tx *tx)
{
	return tx->size - used(tx->read, tx->write, tx->size) - 8;
}

u32 vmbus_tx_room(struct vmbus_tx *tx)
{
	return tx_look(tx) ? tx_free(tx) : 0;
}

int vmbus_tx_put(struct vmbus_tx *tx, u16 type, u16 flags, u64 transaction, const void *header,
		 u32 header_len, const struct iovec *iov, unsigned iovs)
{
	static const u8 zero[8];
	struct vmbus_packet_desc desc;
	struct {
		u32 zero, start;
	} trailer;
	u64 len = 0;
	u32 room, pos, pad;

	if (tx->corrupt)
		return VMBUS_RING_CORRUPT;
	for (unsigned i = 0; i < iovs; i++) {
		if (iov[i].iov_len > tx->size)
			return VMBUS_RING_TOO_BIG;
		len += iov[i].iov_len;
	}
	if (len > tx->size || header_len > tx->size || header_len % 8)
		return VMBUS_RING_TOO_BIG;
	room = vmbus_packet_room(header_len, (u32)len);
	if (!room || room > tx->size - 8)
		return VMBUS_RING_TOO_BIG;
	if (room > tx_free(tx)) {
		if (!tx_look(tx))
			return VMBUS_RING_CORRUPT;
		if (room > tx_free(tx)) {
			tx->full++;
			return VMBUS_RING_FULL;
		}
	}
	desc = (struct vmbus_packet_desc){
		.type = type,
		.offset8 = (u16)((sizeof(desc) + header_len) / 8),
		.len8 = (u16)((room - VMBUS_PACKET_TRAILER) / 8),
		.flags = flags,
		.transaction = transaction,
	};
	pos = copy_in(tx->page, tx->size, tx->write, &desc, sizeof(desc));
	pos = copy_in(tx->page, tx->size, pos, header, header_len);
	for (unsigned i = 0; i < iovs; i++)
		pos = copy_in(tx->page, tx->size, pos, iov[i].iov_base, (u32)iov[i].iov_len);
	pad = (u32)(ALIGN_UP(len, 8) - len);
	pos = copy_in(tx->page, tx->size, pos, zero, pad);
	trailer.zero = 0;
	trailer.start = tx->write;
	tx->write = copy_in(tx->page, tx->size, pos, &trailer, sizeof(trailer));
	tx->packets++;
	tx->bytes += len;
	return VMBUS_RING_OK;
}

int vmbus_tx_inband(struct vmbus_tx *tx, u16 flags, u64 transaction, const void *data, u32 len)
{
	struct iovec iov = {(void *)data, len};

	return vmbus_tx_put(tx, VMBUS_PACKET_INBAND, flags, transaction, NULL, 0, &iov, 1);
}

int vmbus_tx_completion(struct vmbus_tx *tx, u64 transaction, const void *data, u32 len)
{
	struct iovec iov = {(void *)data, len};

	return vmbus_tx_put(tx, VMBUS_PACKET_COMPLETION, 0, transaction, NULL, 0, &iov, 1);
}

bool vmbus_tx_publish(struct vmbus_tx *tx)
{
	u32 before = tx->published;

	if (tx->corrupt || tx->write == before)
		return false;
	if (tx->pending) {
		store(tx->page, VMBUS_RING_PENDING, 0);
		tx->pending = 0;
	}
	store(tx->page, VMBUS_RING_WRITE, tx->write);
	tx->published = tx->write;
	full_barrier();
	if (load(tx->page, VMBUS_RING_MASK))
		return false;
	/* only a reader that had nothing left sleeps; the others see the packet by themselves */
	if (!tx_look(tx) || tx->read != before)
		return false;
	tx->signals++;
	return true;
}

bool vmbus_tx_wait(struct vmbus_tx *tx, u32 room)
{
	u32 want;

	if (tx->corrupt)
		return true;
	want = MAX(room, (u32)ALIGN_DOWN(tx->size / 4, 8));
	want = MIN(want, tx->size - 8);
	store(tx->page, VMBUS_RING_PENDING, want);
	tx->pending = want;
	full_barrier();
	if (!tx_look(tx))
		return true;
	if (room > tx_free(tx))
		return true;
	store(tx->page, VMBUS_RING_PENDING, 0);
	tx->pending = 0;
	return false;
}

bool vmbus_ring_recheck(const struct vmbus_rx *rx, const struct vmbus_tx *tx)
{
	u32 pending, read, write;

	if (load(tx->page, VMBUS_RING_WRITE) != load(tx->page, VMBUS_RING_READ))
		return true;
	pending = load(rx->page, VMBUS_RING_PENDING);
	read = load(rx->page, VMBUS_RING_READ);
	write = load(rx->page, VMBUS_RING_WRITE);
	return pending && index_valid(read, rx->size) && index_valid(write, rx->size) &&
	       rx->size - used(read, write, rx->size) > MIN(pending, rx->size - 1);
}
