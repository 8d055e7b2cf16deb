/*
 * VMBus ring buffers over pages that a hostile peer also maps.
 *
 * A struct vmbus_rx reads one ring, a struct vmbus_tx writes one; a channel has one of each. Our
 * own indices live in these structs and are never read back from the shared page; the peer's are
 * read once per look and checked. What is wrong stops the ring for good: VMBUS_RING_CORRUPT. No
 * locks: one thread at a time per struct. Nothing here allocates.
 *
 * Formats and signalling: Linux drivers/hv/ring_buffer.c, OpenVMM vmbus_ring.
 */
#ifndef PARAPET_COMMON_VMBUS_RING_H
#define PARAPET_COMMON_VMBUS_RING_H

#include <sys/uio.h>

#include "common/abi/vmbus.h"
#include "common/types.h"

#define VMBUS_RING_WHY 48 /* bytes of a reason that comes from a saved state */

enum vmbus_ring_result {
	VMBUS_RING_OK = 0,
	VMBUS_RING_EMPTY = -1,	 /* reader: no packet now */
	VMBUS_RING_FULL = -2,	 /* writer: no room now */
	VMBUS_RING_CORRUPT = -3, /* the peer broke the ring; it stays so */
	VMBUS_RING_TOO_BIG = -4, /* never fits, or more than the caller's buffer */
};

struct vmbus_rx {
	u8 *const *page; /* control page, then data pages; owner: the caller */
	u32 size;	 /* bytes of data */
	u32 read;	 /* behind the last packet that was consumed */
	u32 published;	 /* what the peer knows of it */
	u32 write;	 /* the peer's index as last read */
	bool corrupt;
	const char *why; /* of corrupt */
	u64 packets, bytes, signals;
	char saved_why[VMBUS_RING_WHY]; /* why lies here after a restore */
};

struct vmbus_tx {
	u8 *const *page;
	u32 size;
	u32 write;     /* behind the last packet that was put in */
	u32 published; /* what the peer knows of it */
	u32 read;      /* the peer's index as last read */
	u32 pending;   /* our pending send size as published */
	bool corrupt;
	const char *why;
	u64 packets, bytes, signals, full;
	char saved_why[VMBUS_RING_WHY];
};

/* One packet's header, copied and checked. Valid until it is consumed. */
struct vmbus_packet {
	u16 type; /* enum vmbus_packet_type */
	u16 flags;
	u64 transaction;
	u32 pos;    /* of the packet in the ring */
	u32 header; /* bytes in front of the payload, at least 16 */
	u32 len;    /* bytes of the payload, padded to 8 by the sender */
};

/*
 * Starts on a ring of pages (control page and at least one data page; page[] must stay valid).
 * Indices are taken from the control page, where the guest has set them to 0 or a saved ring left
 * them. Returns false, with corrupt set, when they are invalid. Server side: rx starts with the
 * interrupt mask set, tx with the feature bit set and no pending size.
 */
bool vmbus_rx_init(struct vmbus_rx *rx, u8 *const *page, u32 pages);
bool vmbus_tx_init(struct vmbus_tx *tx, u8 *const *page, u32 pages);
/* What the guest does before it opens a channel: both control pages to zero, features set. */
void vmbus_ring_format(u8 *const *page);

/* --- reader */

/* OK: *pkt is the next packet; EMPTY, CORRUPT otherwise. Does not consume. */
int vmbus_rx_peek(struct vmbus_rx *rx, struct vmbus_packet *pkt);
/*
 * Copies len bytes of the payload of a packet from peek, from off on. False, and nothing copied,
 * when the packet does not have them. Each call reads shared memory: read every byte once.
 */
bool vmbus_rx_copy(const struct vmbus_rx *rx, const struct vmbus_packet *pkt, u32 off, void *buf,
		   u32 len);
/* The same for the bytes between descriptor and payload; off counts from the packet's start. */
bool vmbus_rx_copy_header(const struct vmbus_rx *rx, const struct vmbus_packet *pkt, u32 off,
			  void *buf, u32 len);
/* Goes on to the next packet. The peer learns it by vmbus_rx_publish. */
void vmbus_rx_consume(struct vmbus_rx *rx, const struct vmbus_packet *pkt);
/* Gives the room back; true: the peer waits for room, signal it. Once per batch. */
bool vmbus_rx_publish(struct vmbus_rx *rx);
/* Asks the peer not to signal; for drains of long rings. */
void vmbus_rx_mask(struct vmbus_rx *rx);
/*
 * Before the reader sleeps, and after vmbus_rx_publish: wants signals again. False: there is more,
 * do not sleep; the mask is set again.
 */
bool vmbus_rx_sleep(struct vmbus_rx *rx);
/* peek, copy of the whole payload (*len its bytes), consume. TOO_BIG leaves the packet. */
int vmbus_rx_read(struct vmbus_rx *rx, struct vmbus_packet *pkt, void *buf, u32 size, u32 *len);

/* Ranges of a GPA-direct packet, copied: range[i] covers pfn[first ...]. */
struct vmbus_range {
	u32 len, offset;
	u32 first, count; /* in the caller's PFN array */
};
/*
 * OK: *ranges and *pfns filled in. TOO_BIG: more than max_ranges or max_pfns, the packet is
 * otherwise unjudged. CORRUPT (and the ring stopped): not such a packet, or malformed.
 */
int vmbus_rx_gpa_direct(struct vmbus_rx *rx, const struct vmbus_packet *pkt,
			struct vmbus_range *range, u32 max_ranges, u64 *pfn, u32 max_pfns,
			u32 *ranges);
/* Ranges of a transfer-page packet (offset and length in the buffer `set`). Results as above. */
int vmbus_rx_xfer_pages(struct vmbus_rx *rx, const struct vmbus_packet *pkt, u16 *set,
			struct vmbus_xfer_range *range, u32 max_ranges, u32 *ranges);
/* Stops the ring: the peer broke a rule of a layer above. `why` must stay valid. */
void vmbus_rx_stop(struct vmbus_rx *rx, const char *why);

/* --- writer */

/* Ring bytes that a packet takes; 0 when no packet can be that big. header: beyond 16 bytes. */
u32 vmbus_packet_room(u32 header, u32 len);
/* Bytes that fit now, as vmbus_packet_room counts. Looks at the peer's index. */
u32 vmbus_tx_room(struct vmbus_tx *tx);
/*
 * Puts in a packet: descriptor, `header` bytes (GPA ranges and the like, a multiple of 8), payload
 * from iov, padded. OK, FULL (nothing put in), TOO_BIG, CORRUPT. The peer learns of it by
 * vmbus_tx_publish.
 */
int vmbus_tx_put(struct vmbus_tx *tx, u16 type, u16 flags, u64 transaction, const void *header,
		 u32 header_len, const struct iovec *iov, unsigned iovs);
int vmbus_tx_inband(struct vmbus_tx *tx, u16 flags, u64 transaction, const void *data, u32 len);
int vmbus_tx_completion(struct vmbus_tx *tx, u64 transaction, const void *data, u32 len);
/* Shows what was put in; true: the peer sleeps, signal it. Once per batch. */
bool vmbus_tx_publish(struct vmbus_tx *tx);
/*
 * After FULL: asks for a signal when `room` bytes (vmbus_packet_room) and preferably a quarter of
 * the ring are free. False: they are free already, put again.
 */
bool vmbus_tx_wait(struct vmbus_tx *tx, u32 room);

/*
 * The guest may have missed a signal: it has not read all, or waits for room that it has. Reads the
 * shared pages alone, so any thread may ask while the rings are in use.
 */
bool vmbus_ring_recheck(const struct vmbus_rx *rx, const struct vmbus_tx *tx);

#endif
