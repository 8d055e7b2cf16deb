/* The crash dump device behind a real server, fed with arbitrary messages, packets and ring bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/vmbus/crash.h"
#include "tests/fuzz/fuzz.h"

#define MAX_SIZE   40000u
#define RING_PAGES 3u
#define PAGES	   (2 * RING_PAGES)

struct world {
	struct vmbus_server *s;
	struct vmbus_crash c;
	u8 *page[PAGES];
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	struct vmbus_pipe pipe;
	struct input in;
	bool dumping, refuse, again;
	u64 len;
};

static u8 *page(void *ctx, u64 pfn)
{
	return pfn < PAGES ? ((struct world *)ctx)->page[pfn] : NULL;
}

static const struct vmbus_server_ops server_ops = {
	.post = post_nothing, .signal = signal_nothing, .page = page};

static bool on_start(void *ctx)
{
	struct world *w = ctx;

	if (w->dumping)
		abort();
	w->len = 0;
	return w->dumping = !w->refuse;
}

static bool on_write(void *ctx, const void *data, u32 len)
{
	struct world *w = ctx;

	w->len += len;
	if (!w->dumping || !len || len > CRASH_CHUNK || w->len > MAX_SIZE)
		abort();
	touch(data, len);
	return !w->refuse;
}

static void on_end(struct world *w)
{
	if (!w->dumping)
		abort();
	w->dumping = false;
}

static void on_complete(void *ctx)
{
	on_end(ctx);
}

static void on_abort(void *ctx, const char *why)
{
	if (!why)
		abort();
	on_end(ctx);
}

static void on_again(void *ctx)
{
	((struct world *)ctx)->again = true;
}

static const struct vmbus_crash_ops ops = {
	.start = on_start,
	.write = on_write,
	.complete = on_complete,
	.abort = on_abort,
	.again = on_again,
};

static void message(struct world *w, const u8 *msg, size_t len)
{
	vmbus_server_message(w->s, msg, len, VMBUS_VIA_MULTI);
}

static void open_channel(struct world *w)
{
	u8 contact[40] = {VMBUS_MSG_INITIATE_CONTACT}, offers[8] = {VMBUS_MSG_REQUEST_OFFERS};
	u8 gpadl[28 + 8 * PAGES] = {VMBUS_MSG_GPADL_HEADER}, open[148] = {VMBUS_MSG_OPEN};

	put_le32(contact + 8, VMBUS_V5_3);
	contact[16] = 2;
	message(w, contact, sizeof(contact));
	message(w, offers, sizeof(offers));
	gpadl[8] = 1;
	gpadl[12] = 9;
	put_le16(gpadl + 16, 8 + 8 * PAGES);
	gpadl[18] = 1;
	put_le32(gpadl + 20, PAGES * PAGE_SIZE);
	for (u8 i = 0; i < PAGES; i++)
		gpadl[28 + 8 * i] = i;
	message(w, gpadl, sizeof(gpadl));
	vmbus_ring_format(&w->page[0]);
	vmbus_ring_format(&w->page[RING_PAGES]);
	open[8] = open[12] = 1;
	open[16] = 9;
	open[24] = RING_PAGES;
	message(w, open, sizeof(open));
	vmbus_tx_init(&w->tx, &w->page[0], RING_PAGES);
	vmbus_rx_init(&w->rx, &w->page[RING_PAGES], RING_PAGES);
	vmbus_pipe_init(&w->pipe, &w->rx, &w->tx);
}

/* A request of a kind, possibly of a wrong length or with a wrong number. */
static void request(struct world *w, u8 kind)
{
	static const u8 sizes[] = {24, 24, 24, 36, 255};
	u8 msg[320] = {0};
	size_t len = kind < 5 ? sizes[kind] : next(&w->in);
	bool signal = false;

	if (kind == 4)
		len = 289;
	put_le64(msg + 16, kind ? 0x101u + kind : CRASH_CAPABILITIES);
	if (kind == 3) {
		put_le64(msg + 24, next(&w->in) & 1 ? w->len : next(&w->in) * 0x123456789ull);
		put_le32(msg + 32, next(&w->in) * 64u);
	}
	vmbus_pipe_send(&w->pipe, msg, len, &signal);
}

static void step(struct world *w)
{
	static u8 bytes[CRASH_CHUNK];
	u8 close[16] = {VMBUS_MSG_CLOSE}, op = next(&w->in), at;
	bool signal = false;
	size_t len;

	switch (op & 7) {
	case 0:
	case 1: request(w, op >> 3 & 7); break;
	case 2: vmbus_pipe_send(&w->pipe, bytes, next(&w->in) * 64u, &signal); break;
	case 3: vmbus_channel_signalled(w->c.ch); break;
	case 4: vmbus_pipe_recv(&w->pipe, bytes, 64, &len, &signal); break;
	case 5:
		/* anything anywhere in the ring or its indices */
		at = next(&w->in);
		w->page[next(&w->in) % PAGES][(at < 16 ? at : at * 16u)] = next(&w->in);
		break;
	case 6: w->refuse = op & 8; break;
	default:
		close[8] = 1;
		if (op & 8) {
			message(w, close, 12);
			open_channel(w);
		}
		break;
	}
	for (unsigned i = 0; w->again && i < 100; i++) {
		w->again = false;
		vmbus_crash_run(&w->c);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const struct vmbus_server_config config = {.name = "fuzz"};
	static struct world w;

	log_set_sink(no_log);
	w = (struct world){.in = {data, size}};
	for (unsigned i = 0; i < PAGES; i++) {
		w.page[i] = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
		memset(w.page[i], 0, PAGE_SIZE);
	}
	w.s = vmbus_server_new(&config, &server_ops, &w);
	if (w.s && vmbus_crash_init(&w.c, w.s, MAX_SIZE, &ops, &w)) {
		open_channel(&w);
		while (w.in.left)
			step(&w);
		vmbus_crash_end(&w.c);
		if (w.dumping)
			abort();
	}
	if (w.s)
		vmbus_server_free(w.s);
	for (unsigned i = 0; i < PAGES; i++)
		free(w.page[i]);
	return 0;
}
