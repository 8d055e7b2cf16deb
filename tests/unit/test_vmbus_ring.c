/* VMBus rings: hostile indices and packets, exact signalling, wrap, ranges, and two real threads.
 */
#include "tests/unit/vmbus_fixture.h"

#include <pthread.h>
#include <unistd.h>

#include "common/vmbus/ring.h"

/* A ring with nothing in it, and both of its ends. */
static void both_ends(struct ring_pages *r, unsigned pages, struct vmbus_tx *tx,
		      struct vmbus_rx *rx)
{
	ring_pages_init(r, pages);
	assert_true(vmbus_tx_init(tx, r->page, pages));
	assert_true(vmbus_rx_init(rx, r->page, pages));
}

static void bad_indices(void **state)
{
	static const u32 bad[] = {1,	      4,	  7,	     9, PAGE_SIZE, PAGE_SIZE + 8,
				  0x7fffffff, 0xfffffff8, 0xffffffff};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vmbus_packet pkt;
		struct ring_pages r;
		struct vmbus_rx rx;
		struct vmbus_tx tx;

		ring_pages_init(&r, 2);
		/* at start */
		ring_set(&r, VMBUS_RING_WRITE, bad[i]);
		assert_false(vmbus_rx_init(&rx, r.page, 2));
		assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_CORRUPT);
		assert_false(vmbus_tx_init(&tx, r.page, 2));
		assert_int_equal(vmbus_tx_inband(&tx, 0, 0, "x", 1), VMBUS_RING_CORRUPT);
		ring_set(&r, VMBUS_RING_WRITE, 0);
		ring_set(&r, VMBUS_RING_READ, bad[i]);
		assert_false(vmbus_rx_init(&rx, r.page, 2));
		assert_false(vmbus_tx_init(&tx, r.page, 2));
		/* later */
		ring_set(&r, VMBUS_RING_READ, 0);
		assert_true(vmbus_rx_init(&rx, r.page, 2));
		assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_EMPTY);
		ring_set(&r, VMBUS_RING_WRITE, bad[i]);
		assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_CORRUPT);
		assert_non_null(rx.why);
		/* and it stays so */
		ring_set(&r, VMBUS_RING_WRITE, 0);
		assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_CORRUPT);
		assert_false(vmbus_rx_publish(&rx));
		assert_true(vmbus_rx_sleep(&rx));

		assert_true(vmbus_tx_init(&tx, r.page, 2));
		ring_set(&r, VMBUS_RING_MASK, 0);
		ring_set(&r, VMBUS_RING_READ, bad[i]);
		assert_int_equal(vmbus_tx_inband(&tx, 0, 0, "x", 1), VMBUS_RING_OK);
		assert_false(vmbus_tx_publish(&tx));
		assert_true(tx.corrupt);
		assert_int_equal(vmbus_tx_inband(&tx, 0, 0, "x", 1), VMBUS_RING_CORRUPT);
		assert_true(vmbus_tx_wait(&tx, 100));
		ring_pages_free(&r);
	}
}

static void no_data_pages(void **state)
{
	struct ring_pages r;
	struct vmbus_rx rx;
	struct vmbus_tx tx;

	(void)state;
	ring_pages_init(&r, 2);
	assert_false(vmbus_rx_init(&rx, r.page, 0));
	assert_false(vmbus_rx_init(&rx, r.page, 1));
	assert_false(vmbus_tx_init(&tx, r.page, 1));
	ring_pages_free(&r);
}

static void bad_packets(void **state)
{
	static const struct {
		struct vmbus_packet_desc desc;
		u32 write;
	} bad[] = {
		{{VMBUS_PACKET_INBAND, 2, 3, 0, 0}, 8},	 /* index inside the descriptor */
		{{VMBUS_PACKET_INBAND, 2, 3, 0, 0}, 16}, /* no trailer */
		{{VMBUS_PACKET_INBAND, 2, 3, 0, 0}, 24}, /* one word short */
		{{VMBUS_PACKET_INBAND, 0, 3, 0, 0}, 64}, /* payload in the descriptor */
		{{VMBUS_PACKET_INBAND, 1, 3, 0, 0}, 64},
		{{VMBUS_PACKET_INBAND, 4, 3, 0, 0}, 64}, /* payload behind the end */
		{{VMBUS_PACKET_INBAND, 2, 0, 0, 0}, 64},
		{{VMBUS_PACKET_INBAND, 2, 1, 0, 0}, 64},
		{{VMBUS_PACKET_INBAND, 2, 0xffff, 0, 0}, 64},
		{{VMBUS_PACKET_INBAND, 0xffff, 0xffff, 0, 0}, 64},
		{{VMBUS_PACKET_INBAND, 2, 3, 2, 0}, 64}, /* unknown flag */
		{{VMBUS_PACKET_INBAND, 2, 3, 0x8001, 0}, 64},
		{{0, 2, 3, 0, 0}, 64},
		{{5, 2, 3, 0, 0}, 64},
		{{12, 2, 3, 0, 0}, 64},
		{{0xffff, 2, 3, 0, 0}, 64},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vmbus_packet pkt;
		struct ring_pages r;
		struct vmbus_rx rx;

		ring_pages_init(&r, 3);
		assert_true(vmbus_rx_init(&rx, r.page, 3));
		ring_poke(&r, 0, &bad[i].desc, sizeof(bad[i].desc));
		ring_set(&r, VMBUS_RING_WRITE, bad[i].write);
		assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_CORRUPT);
		assert_true(rx.corrupt);
		ring_pages_free(&r);
	}
}

static void copies_stay_inside(void **state)
{
	struct vmbus_packet pkt;
	struct ring_pages r;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	u8 buf[64];
	u32 len;

	(void)state;
	both_ends(&r, 2, &tx, &rx);
	assert_int_equal(vmbus_tx_inband(&tx, 1, 77, "0123456789", 10), VMBUS_RING_OK);
	assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_EMPTY); /* not published */
	vmbus_tx_publish(&tx);
	assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_OK);
	assert_int_equal(pkt.type, VMBUS_PACKET_INBAND);
	assert_int_equal(pkt.flags, 1);
	assert_int_equal(pkt.transaction, 77);
	assert_int_equal(pkt.len, 16);
	assert_false(vmbus_rx_copy(&rx, &pkt, 0, buf, 17));
	assert_false(vmbus_rx_copy(&rx, &pkt, 16, buf, 1));
	assert_false(vmbus_rx_copy(&rx, &pkt, 0xffffffff, buf, 2));
	assert_false(vmbus_rx_copy_header(&rx, &pkt, 8, buf, 9));
	assert_true(vmbus_rx_copy(&rx, &pkt, 0, buf, 16));
	assert_memory_equal(buf, "0123456789\0\0\0\0\0\0", 16);
	assert_int_equal(vmbus_rx_read(&rx, &pkt, buf, 15, &len), VMBUS_RING_TOO_BIG);
	assert_int_equal(len, 16);
	assert_int_equal(vmbus_rx_read(&rx, &pkt, buf, 16, &len), VMBUS_RING_OK);
	assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_EMPTY);
	ring_pages_free(&r);
}

static void fills_to_the_last_word(void **state)
{
	u32 size = 2 * PAGE_SIZE, len;
	struct vmbus_packet pkt;
	struct ring_pages r;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	u8 *big = calloc(1, size), *back = calloc(1, size);

	(void)state;
	both_ends(&r, 3, &tx, &rx);
	for (u32 i = 0; i < size; i++)
		big[i] = (u8)(i * 7 + i / 256);
	/* need must be less than free: size - 8 is the largest packet */
	assert_int_equal(vmbus_tx_inband(&tx, 0, 0, big, size - 24), VMBUS_RING_TOO_BIG);
	assert_int_equal(vmbus_tx_inband(&tx, 0, 0, big, size - 31), VMBUS_RING_TOO_BIG);
	assert_int_equal(vmbus_tx_inband(&tx, 0, 0, big, size - 32), VMBUS_RING_OK);
	assert_int_equal(vmbus_tx_inband(&tx, 0, 0, big, 0), VMBUS_RING_FULL);
	assert_true(vmbus_tx_publish(&tx) || true);
	assert_int_equal(vmbus_rx_read(&rx, &pkt, back, size, &len), VMBUS_RING_OK);
	assert_int_equal(len, size - 32);
	assert_memory_equal(back, big, len);
	vmbus_rx_publish(&rx);
	/* again, now over the end */
	assert_int_equal(vmbus_tx_inband(&tx, 0, 0, big, size - 32), VMBUS_RING_OK);
	vmbus_tx_publish(&tx);
	assert_int_equal(vmbus_rx_read(&rx, &pkt, back, size, &len), VMBUS_RING_OK);
	assert_memory_equal(back, big, len);
	assert_int_equal(vmbus_tx_inband(&tx, 0, 0, big, 0xfffffff0), VMBUS_RING_TOO_BIG);
	free(big);
	free(back);
	ring_pages_free(&r);
}

/* A packet's bytes, as the reference states them. */
static void bytes_of_a_packet(void **state)
{
	static const u8 want[] = {
		6,   0,	  2,   0, 3, 0, 1, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
		'a', 'b', 'c', 0, 0, 0, 0, 0, 0,    0,	  0,	0,    0,    0,	  0,	0,
	};
	static const u8 done[] = {
		11, 0, 2, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0,
	};
	struct ring_pages r;
	struct vmbus_tx tx;

	(void)state;
	ring_pages_init(&r, 2);
	assert_true(vmbus_tx_init(&tx, r.page, 2));
	assert_int_equal(vmbus_tx_inband(&tx, 1, 0x1122334455667788, "abc", 3), VMBUS_RING_OK);
	assert_int_equal(vmbus_tx_completion(&tx, 9, NULL, 0), VMBUS_RING_OK);
	vmbus_tx_publish(&tx);
	assert_memory_equal(r.page[1], want, sizeof(want));
	assert_memory_equal(r.page[1] + sizeof(want), done, sizeof(done));
	assert_int_equal(ring_field(&r, VMBUS_RING_WRITE), sizeof(want) + sizeof(done));
	assert_int_equal(ring_field(&r, VMBUS_RING_FEATURES), 1);
	ring_pages_free(&r);
}

static void signals_the_reader_exactly(void **state)
{
	struct vmbus_packet pkt;
	struct ring_pages r;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	u8 buf[64];
	u32 len;

	(void)state;
	ring_pages_init(&r, 2);
	assert_true(vmbus_tx_init(&tx, r.page, 2));
	/* a reader that has not masked: the empty ring that fills is worth a signal, others not */
	assert_false(vmbus_tx_publish(&tx)); /* nothing new */
	assert_int_equal(vmbus_tx_inband(&tx, 0, 1, "a", 1), VMBUS_RING_OK);
	assert_true(vmbus_tx_publish(&tx));
	assert_int_equal(vmbus_tx_inband(&tx, 0, 2, "b", 1), VMBUS_RING_OK);
	assert_false(vmbus_tx_publish(&tx));
	/* server's reader starts masked */
	assert_true(vmbus_rx_init(&rx, r.page, 2));
	assert_int_equal(ring_field(&r, VMBUS_RING_MASK), 1);
	/* to sleep with packets left is refused */
	assert_false(vmbus_rx_sleep(&rx));
	assert_int_equal(ring_field(&r, VMBUS_RING_MASK), 1);
	for (unsigned i = 1; i <= 2; i++) {
		assert_int_equal(vmbus_rx_read(&rx, &pkt, buf, sizeof(buf), &len), VMBUS_RING_OK);
		assert_int_equal(pkt.transaction, i);
	}
	/* masked: the empty ring fills without a signal */
	assert_false(vmbus_rx_publish(&rx));
	assert_int_equal(vmbus_tx_inband(&tx, 0, 3, "c", 1), VMBUS_RING_OK);
	assert_false(vmbus_tx_publish(&tx));
	assert_false(vmbus_rx_sleep(&rx));
	assert_int_equal(vmbus_rx_read(&rx, &pkt, buf, sizeof(buf), &len), VMBUS_RING_OK);
	vmbus_rx_publish(&rx);
	assert_true(vmbus_rx_sleep(&rx));
	assert_int_equal(ring_field(&r, VMBUS_RING_MASK), 0);
	/* a batch is one signal, judged by the index before it */
	assert_int_equal(vmbus_tx_inband(&tx, 0, 4, "d", 1), VMBUS_RING_OK);
	assert_int_equal(vmbus_tx_inband(&tx, 0, 5, "e", 1), VMBUS_RING_OK);
	assert_true(vmbus_tx_publish(&tx));
	/* consumed but not published: the reader is at work, no signal */
	assert_int_equal(vmbus_rx_read(&rx, &pkt, buf, sizeof(buf), &len), VMBUS_RING_OK);
	assert_int_equal(vmbus_rx_read(&rx, &pkt, buf, sizeof(buf), &len), VMBUS_RING_OK);
	assert_int_equal(vmbus_tx_inband(&tx, 0, 6, "f", 1), VMBUS_RING_OK);
	assert_false(vmbus_tx_publish(&tx));
	vmbus_rx_publish(&rx);
	assert_false(vmbus_rx_sleep(&rx));
	assert_int_equal(tx.signals, 2);
	ring_pages_free(&r);
}

/* Fills an empty one-page ring with packets of 64 bytes (room 64): 63 fit. */
static void fill(struct vmbus_tx *tx, unsigned want)
{
	u8 data[40] = {0};
	unsigned n = 0;

	while (vmbus_tx_inband(tx, 0, n, data, sizeof(data)) == VMBUS_RING_OK)
		n++;
	assert_int_equal(n, want);
	vmbus_tx_publish(tx);
}

static bool read_one(struct vmbus_rx *rx)
{
	struct vmbus_packet pkt;

	assert_int_equal(vmbus_rx_peek(rx, &pkt), VMBUS_RING_OK);
	vmbus_rx_consume(rx, &pkt);
	return vmbus_rx_publish(rx);
}

static void signals_the_writer_exactly(void **state)
{
	struct ring_pages r;
	struct vmbus_rx rx;
	struct vmbus_tx tx;

	(void)state;
	both_ends(&r, 2, &tx, &rx);
	fill(&tx, 63); /* 64 bytes left, of which 56 can be used */
	/* Linux: strictly more than pending. 128 free after one packet, 192 after two */
	ring_set(&r, VMBUS_RING_PENDING, 128);
	assert_false(read_one(&rx));
	assert_true(read_one(&rx));
	assert_false(read_one(&rx)); /* the edge is over: no throttled guest */
	/* the mask belongs to the other direction */
	ring_set(&r, VMBUS_RING_MASK, 1);
	ring_set(&r, VMBUS_RING_PENDING, 256 + 8);
	assert_true(read_one(&rx));
	/* over several packets at once: judged from what was published last */
	ring_set(&r, VMBUS_RING_PENDING, 400);
	for (unsigned i = 0; i < 5; i++) {
		struct vmbus_packet pkt;

		assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_OK);
		vmbus_rx_consume(&rx, &pkt);
	}
	assert_true(vmbus_rx_publish(&rx));
	/* Windows: one byte less than the ring, or more than it: when it is empty */
	ring_set(&r, VMBUS_RING_PENDING, PAGE_SIZE - 1);
	for (unsigned i = 0; i < 53; i++)
		assert_false(read_one(&rx));
	assert_true(read_one(&rx));
	fill(&tx, 63);
	ring_set(&r, VMBUS_RING_PENDING, 0xffffffff);
	for (unsigned i = 0; i < 62; i++)
		assert_false(read_one(&rx));
	assert_true(read_one(&rx));
	assert_int_equal(rx.signals, 5);
	ring_pages_free(&r);
}

static void writer_waits(void **state)
{
	u32 room = vmbus_packet_room(0, 40);
	struct ring_pages r;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	unsigned signals = 0, reads = 0;

	(void)state;
	assert_int_equal(room, 64);
	assert_int_equal(vmbus_packet_room(0, 0xffffffff), 0);
	both_ends(&r, 2, &tx, &rx);
	assert_false(vmbus_tx_wait(&tx, room)); /* there is room: nothing to wait for */
	assert_int_equal(ring_field(&r, VMBUS_RING_PENDING), 0);
	fill(&tx, 63);
	assert_true(vmbus_tx_wait(&tx, room));
	assert_int_equal(ring_field(&r, VMBUS_RING_PENDING), PAGE_SIZE / 4);
	while (!signals) {
		signals += read_one(&rx);
		reads++;
	}
	assert_int_equal(reads, 16); /* 64 + 16 * 64 > 1024 */
	assert_int_equal(vmbus_tx_inband(&tx, 0, 0, "x", 1), VMBUS_RING_OK);
	vmbus_tx_publish(&tx);
	assert_int_equal(ring_field(&r, VMBUS_RING_PENDING), 0);
	/* the largest packet waits for the empty ring */
	fill(&tx, 16);
	assert_true(vmbus_tx_wait(&tx, PAGE_SIZE - 8));
	assert_int_equal(ring_field(&r, VMBUS_RING_PENDING), PAGE_SIZE - 8);
	for (reads = 1; !read_one(&rx); reads++)
		;
	assert_int_equal(reads, 47 + 1 + 16);
	assert_int_equal(vmbus_tx_room(&tx), PAGE_SIZE - 8);
	ring_pages_free(&r);
}

static int put_gpa(struct vmbus_tx *tx, u32 count, const u64 *words, unsigned n)
{
	u64 ext[32];
	struct vmbus_gpa_direct head = {0xdeadbeef, count};
	struct iovec iov = {"payload", 8};

	memcpy(ext, &head, 8);
	memcpy(ext + 1, words, n * 8);
	return vmbus_tx_put(tx, VMBUS_PACKET_GPA_DIRECT, 1, 5, ext, 8 + n * 8, &iov, 1);
}

#define RANGE(len, off) ((u64)(len) | (u64)(off) << 32)

static void gpa_ranges(void **state)
{
	static const struct {
		u32 count;
		u64 words[8];
		unsigned n;
		int want;
	} c[] = {
		{1, {RANGE(1, 0), 7}, 2, VMBUS_RING_OK},
		{1, {RANGE(4096, 1), 7, 8}, 3, VMBUS_RING_OK},
		{2, {RANGE(4096, 1), 7, 8, RANGE(512, 0xfff), 1, 2}, 6, VMBUS_RING_OK},
		{1, {RANGE(1, 0), 7, 8, 9}, 4, VMBUS_RING_OK}, /* spare words */
		{0, {RANGE(1, 0), 7}, 2, VMBUS_RING_CORRUPT},
		{1, {RANGE(0, 0), 7}, 2, VMBUS_RING_CORRUPT},
		{1, {RANGE(1, 4096), 7}, 2, VMBUS_RING_CORRUPT},
		{1, {RANGE(1, 0xffffffff), 7}, 2, VMBUS_RING_CORRUPT},
		{1, {RANGE(4097, 0), 7}, 2, VMBUS_RING_CORRUPT}, /* PFN missing */
		{1, {RANGE(0xffffffff, 0xfff), 7}, 2, VMBUS_RING_CORRUPT},
		{2, {RANGE(1, 0), 7}, 2, VMBUS_RING_CORRUPT},
		{0xffffffff, {RANGE(1, 0), 7}, 2, VMBUS_RING_CORRUPT},
		{3, {RANGE(1, 0), 7, RANGE(1, 0), 8, RANGE(1, 0), 9}, 6, VMBUS_RING_TOO_BIG},
		{1, {RANGE(5 * 4096, 0), 7, 8, 9, 10, 11}, 6, VMBUS_RING_TOO_BIG},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		struct vmbus_range range[2];
		struct vmbus_packet pkt;
		struct ring_pages r;
		struct vmbus_rx rx;
		struct vmbus_tx tx;
		u32 ranges;
		u64 pfn[4];
		char text[8];

		both_ends(&r, 2, &tx, &rx);
		assert_int_equal(put_gpa(&tx, c[i].count, c[i].words, c[i].n), VMBUS_RING_OK);
		vmbus_tx_publish(&tx);
		assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_OK);
		assert_int_equal(vmbus_rx_gpa_direct(&rx, &pkt, range, 2, pfn, 4, &ranges),
				 c[i].want);
		assert_int_equal(rx.corrupt, c[i].want == VMBUS_RING_CORRUPT);
		if (c[i].want == VMBUS_RING_OK) {
			assert_int_equal(ranges, c[i].count);
			assert_int_equal(pfn[0], 7);
			assert_true(vmbus_rx_copy(&rx, &pkt, 0, text, 8));
			assert_string_equal(text, "payload");
		}
		if (c[i].count == 2 && c[i].want == VMBUS_RING_OK) {
			assert_int_equal(range[1].first, 2);
			assert_int_equal(range[1].count, 2);
			assert_int_equal(range[1].offset, 0xfff);
			assert_int_equal(pfn[3], 2);
		}
		ring_pages_free(&r);
	}
}

static void ranges_of_other_packets(void **state)
{
	struct vmbus_xfer_range xr[2];
	struct vmbus_range range[2];
	struct vmbus_packet pkt;
	struct ring_pages r;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	u32 ranges, ext[6] = {0xaabb0005, 2, 100, 200, 300, 400};
	u64 pfn[4];
	u16 set;

	(void)state;
	both_ends(&r, 2, &tx, &rx);
	assert_int_equal(vmbus_tx_put(&tx, VMBUS_PACKET_XFER_PAGES, 0, 0, ext, 24, NULL, 0),
			 VMBUS_RING_OK);
	assert_int_equal(vmbus_tx_put(&tx, VMBUS_PACKET_XFER_PAGES, 0, 0, ext, 16, NULL, 0),
			 VMBUS_RING_OK);
	vmbus_tx_publish(&tx);
	assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_OK);
	assert_int_equal(vmbus_rx_xfer_pages(&rx, &pkt, &set, xr, 1, &ranges), VMBUS_RING_TOO_BIG);
	assert_int_equal(vmbus_rx_xfer_pages(&rx, &pkt, &set, xr, 2, &ranges), VMBUS_RING_OK);
	assert_int_equal(set, 5);
	assert_int_equal(ranges, 2);
	assert_int_equal(xr[1].len, 300);
	vmbus_rx_consume(&rx, &pkt);
	assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_OK);
	assert_int_equal(vmbus_rx_xfer_pages(&rx, &pkt, &set, xr, 2, &ranges), VMBUS_RING_CORRUPT);
	ring_pages_free(&r);

	both_ends(&r, 2, &tx, &rx);
	assert_int_equal(vmbus_tx_inband(&tx, 0, 0, ext, 24), VMBUS_RING_OK);
	vmbus_tx_publish(&tx);
	assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_OK);
	assert_int_equal(vmbus_rx_gpa_direct(&rx, &pkt, range, 2, pfn, 4, &ranges),
			 VMBUS_RING_CORRUPT);
	ring_pages_free(&r);
}

/* A saved ring goes on where it was. */
static void restart_in_the_middle(void **state)
{
	struct vmbus_packet pkt;
	struct ring_pages r;
	struct vmbus_rx rx;
	struct vmbus_tx tx;

	(void)state;
	both_ends(&r, 2, &tx, &rx);
	fill(&tx, 63);
	for (unsigned i = 0; i < 40; i++)
		read_one(&rx);
	assert_true(vmbus_tx_init(&tx, r.page, 2));
	assert_true(vmbus_rx_init(&rx, r.page, 2));
	fill(&tx, 40);
	for (unsigned i = 0; i < 23; i++) {
		assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_OK);
		assert_int_equal(pkt.transaction, 40 + i);
		vmbus_rx_consume(&rx, &pkt);
	}
	assert_int_equal(vmbus_rx_peek(&rx, &pkt), VMBUS_RING_OK);
	assert_int_equal(pkt.transaction, 0);
	ring_pages_free(&r);
}

/* --- two threads: each sleeps only by the ring's rules; a lost signal is a hang */

#define STRESS_PACKETS 200000

struct event {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool set;
};

struct stress {
	struct ring_pages r;
	struct event to_reader, to_writer;
	u64 sent, got;
	bool mask;
};

static void event_set(struct event *e)
{
	pthread_mutex_lock(&e->lock);
	e->set = true;
	pthread_cond_signal(&e->cond);
	pthread_mutex_unlock(&e->lock);
}

static void event_wait(struct event *e)
{
	pthread_mutex_lock(&e->lock);
	while (!e->set)
		pthread_cond_wait(&e->cond, &e->lock);
	e->set = false;
	pthread_mutex_unlock(&e->lock);
}

static u32 next_random(u32 *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void *stress_writer(void *arg)
{
	struct stress *s = arg;
	struct vmbus_tx tx;
	u8 data[1024];
	u32 seed = 1;

	if (!vmbus_tx_init(&tx, s->r.page, s->r.count))
		abort();
	for (u64 i = 0; i < STRESS_PACKETS;) {
		u32 len = 8 + next_random(&seed) % 1000;
		unsigned batch = 1 + next_random(&seed) % 4;
		int ret;

		memcpy(data, &i, 8);
		memset(data + 8, (int)(i & 0xff), len - 8);
		while ((ret = vmbus_tx_inband(&tx, 0, i, data, len)) == VMBUS_RING_FULL) {
			if (vmbus_tx_publish(&tx))
				event_set(&s->to_reader);
			if (vmbus_tx_wait(&tx, vmbus_packet_room(0, len)))
				event_wait(&s->to_writer);
		}
		if (ret)
			abort();
		i++;
		if (i % batch == 0 && vmbus_tx_publish(&tx))
			event_set(&s->to_reader);
	}
	if (vmbus_tx_publish(&tx))
		event_set(&s->to_reader);
	s->sent = tx.signals;
	return NULL;
}

static void *stress_reader(void *arg)
{
	struct stress *s = arg;
	u32 seed = 2, len;
	u8 data[1024];
	struct vmbus_packet pkt;
	struct vmbus_rx rx;

	if (!vmbus_rx_init(&rx, s->r.page, s->r.count))
		abort();
	if (!s->mask)
		ring_set(&s->r, VMBUS_RING_MASK, 0);
	for (u64 i = 0; i < STRESS_PACKETS;) {
		int ret = vmbus_rx_read(&rx, &pkt, data, sizeof(data), &len);
		u64 id;

		if (ret == VMBUS_RING_EMPTY) {
			if (vmbus_rx_publish(&rx))
				event_set(&s->to_writer);
			if (vmbus_rx_sleep(&rx)) {
				event_wait(&s->to_reader);
				if (s->mask)
					vmbus_rx_mask(&rx);
			}
			continue;
		}
		if (ret)
			abort();
		memcpy(&id, data, 8);
		if (pkt.transaction != i || id != i || (len > 16 && data[8] != (i & 0xff)))
			abort();
		i++;
		if (next_random(&seed) % 3 == 0 && vmbus_rx_publish(&rx))
			event_set(&s->to_writer);
	}
	s->got = rx.packets;
	return NULL;
}

static void two_threads(void **state)
{
	for (unsigned pages = 2; pages <= 8; pages += 3) {
		for (unsigned mask = 0; mask < 2; mask++) {
			struct stress s = {.mask = mask};
			pthread_t w, r;

			ring_pages_init(&s.r, pages);
			pthread_mutex_init(&s.to_reader.lock, NULL);
			pthread_mutex_init(&s.to_writer.lock, NULL);
			pthread_cond_init(&s.to_reader.cond, NULL);
			pthread_cond_init(&s.to_writer.cond, NULL);
			alarm(120); /* a lost wake-up ends here */
			assert_int_equal(pthread_create(&r, NULL, stress_reader, &s), 0);
			assert_int_equal(pthread_create(&w, NULL, stress_writer, &s), 0);
			pthread_join(w, NULL);
			pthread_join(r, NULL);
			alarm(0);
			assert_int_equal(s.got, STRESS_PACKETS);
			ring_pages_free(&s.r);
		}
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_indices),
		cmocka_unit_test(no_data_pages),
		cmocka_unit_test(bad_packets),
		cmocka_unit_test(copies_stay_inside),
		cmocka_unit_test(fills_to_the_last_word),
		cmocka_unit_test(bytes_of_a_packet),
		cmocka_unit_test(signals_the_reader_exactly),
		cmocka_unit_test(signals_the_writer_exactly),
		cmocka_unit_test(writer_waits),
		cmocka_unit_test(gpa_ranges),
		cmocka_unit_test(ranges_of_other_packets),
		cmocka_unit_test(restart_in_the_middle),
		cmocka_unit_test(two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
