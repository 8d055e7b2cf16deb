/* Rings and pipes whose other side writes what it likes, at every step. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/vmbus/hvsock.h"
#include "common/vmbus/pipe.h"
#include "tests/fuzz/fuzz.h"

#define PAGES 3

static u32 next_be(struct input *in, unsigned bytes)
{
	u32 v = 0;

	while (bytes-- && in->left)
		v = v << 8 | next(in);
	return v;
}

static void poke(struct input *in, u8 **page)
{
	u32 kind = next(in), at;

	switch (kind % 4) {
	case 0: /* an index that is valid, mostly */
		at = (kind & 16 ? VMBUS_RING_READ : VMBUS_RING_WRITE);
		kind = next_be(in, 2) % (2 * PAGE_SIZE) & ~7u;
		memcpy(page[0] + at, &kind, 4);
		break;
	case 1:
		at = next(in) % 17 * 4;
		kind = next_be(in, 4);
		memcpy(page[0] + at, &kind, 4);
		break;
	default:
		at = next_be(in, 2) % (2 * PAGE_SIZE - 64);
		for (unsigned n = next(in) % 64; n && in->left; n--, at++)
			page[1 + at / PAGE_SIZE][at % PAGE_SIZE] = next(in);
		break;
	}
}

static void read_some(struct vmbus_rx *rx)
{
	static u8 buf[2 * PAGE_SIZE];
	struct vmbus_xfer_range xr[8];
	struct vmbus_range range[8];
	struct vmbus_packet pkt;
	u64 pfn[32];
	u32 n;
	u16 set;

	for (unsigned i = 0; i < 64 && !vmbus_rx_peek(rx, &pkt); i++) {
		if (pkt.header < 16 || pkt.header + pkt.len + 8 > rx->size)
			abort();
		if (pkt.type == VMBUS_PACKET_GPA_DIRECT &&
		    !vmbus_rx_gpa_direct(rx, &pkt, range, 8, pfn, 32, &n)) {
			if (!n || n > 8)
				abort();
			for (u32 r = 0; r < n; r++) {
				if (range[r].first + range[r].count > 32 || !range[r].len ||
				    range[r].offset + (u64)range[r].len >
					    (u64)range[r].count * PAGE_SIZE)
					abort();
			}
		} else if (pkt.type == VMBUS_PACKET_XFER_PAGES) {
			vmbus_rx_xfer_pages(rx, &pkt, &set, xr, 8, &n);
		}
		if (rx->corrupt)
			break;
		if (!vmbus_rx_copy(rx, &pkt, 0, buf, pkt.len) ||
		    vmbus_rx_copy(rx, &pkt, 1, buf, pkt.len))
			abort();
		vmbus_rx_consume(rx, &pkt);
	}
	vmbus_rx_publish(rx);
	vmbus_rx_sleep(rx);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static u8 buf[20000];
	struct input in = {data, size};
	struct hybrid_request req;
	u8 *rp[PAGES], *tp[PAGES];
	struct vmbus_pipe pipe;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	bool signal = false;
	size_t len;

	if (size && (data[0] | 0x20) == 'c') {
		ssize_t n = hybrid_parse((const char *)data, size, &req);

		if (n > (ssize_t)size || n > HYBRID_LINE_MAX || (n > 0 && data[n - 1] != '\n'))
			abort();
	}
	for (unsigned i = 0; i < PAGES; i++) {
		rp[i] = calloc(1, PAGE_SIZE);
		tp[i] = calloc(1, PAGE_SIZE);
	}
	poke(&in, rp);
	poke(&in, tp);
	vmbus_rx_init(&rx, rp, PAGES);
	vmbus_tx_init(&tx, tp, PAGES);
	vmbus_pipe_init(&pipe, &rx, &tx);
	while (in.left) {
		switch (next(&in) % 12) {
		case 0:
		case 1:
		case 2: poke(&in, rp); break;
		case 3: poke(&in, tp); break;
		case 4:
			if (!pipe.reading)
				read_some(&rx);
			break;
		case 5: vmbus_tx_inband(&tx, 0, 0, buf, next_be(&in, 2) % sizeof(buf)); break;
		case 6: vmbus_tx_publish(&tx); break;
		case 7: vmbus_tx_wait(&tx, next_be(&in, 2)); break;
		case 8: vmbus_pipe_read(&pipe, buf, 1 + next_be(&in, 2) % 9000, &signal); break;
		case 9: vmbus_pipe_write(&pipe, buf, next_be(&in, 2) % sizeof(buf), &signal); break;
		case 10:
			if (next(&in) & 1)
				vmbus_pipe_recv(&pipe, buf, 1000, &len, &signal);
			else
				vmbus_pipe_send(&pipe, buf, next_be(&in, 2) % 5000, &signal);
			break;
		case 11:
			if (next(&in) == 7)
				vmbus_pipe_finish(&pipe, &signal);
			vmbus_pipe_drained(&pipe);
			vmbus_ring_recheck(&rx, &tx);
			break;
		}
		if (!rx.corrupt && (rx.read >= rx.size || rx.read % 8))
			abort();
		if (!tx.corrupt && (tx.write >= tx.size || tx.write % 8))
			abort();
	}
	for (unsigned i = 0; i < PAGES; i++) {
		free(rp[i]);
		free(tp[i]);
	}
	return 0;
}
