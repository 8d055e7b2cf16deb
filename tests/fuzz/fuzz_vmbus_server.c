/* The VMBus server under arbitrary messages, orders, busy slots and devices; hv_sock on top. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/vmbus/hvsock.h"
#include "tests/fuzz/fuzz.h"

#define PAGES 16

struct world {
	struct vmbus_server *s;
	struct hvsock *h;
	struct input in;
	u8 *page[PAGES];
	bool busy, late;
	struct vmbus_channel *ch[4];
	struct hvsock_conn *conn[4];
	unsigned posts;
	u64 now;
};

static int post(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	struct world *w = ctx;

	if (len < 8 || len > VMBUS_MESSAGE_MAX || vtl > 2 || sint > 15)
		abort();
	(void)vp;
	touch(msg, len);
	w->posts++;
	return w->busy ? -EAGAIN : 0;
}

static void signal_guest(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	(void)ctx;
	if (vtl > 2 || sint > 15 || flag >= 2048 || !flag || vp == VMBUS_VP_INTERRUPT_DISABLED)
		abort();
}

static u8 *page(void *ctx, u64 pfn)
{
	return pfn < PAGES ? ((struct world *)ctx)->page[pfn] : NULL;
}

static void connection(void *ctx, u32 version)
{
	if (!version)
		hvsock_reset(((struct world *)ctx)->h);
}

static void tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
		       const struct guid *silo)
{
	(void)silo;
	hvsock_tl_connect(((struct world *)ctx)->h, endpoint, service);
}

static const struct vmbus_server_ops ops = {
	.post = post,
	.signal = signal_guest,
	.page = page,
	.connection = connection,
	.tl_connect = tl_connect,
};

static void dev_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct world *w = dev;

	(void)open;
	if (!w->late)
		vmbus_channel_open_done(ch, next(&w->in) % 4 == 3);
}

static void dev_close(void *dev, struct vmbus_channel *ch)
{
	if (!((struct world *)dev)->late)
		vmbus_channel_close_done(ch);
}

static void dev_gpadl(void *dev, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	struct vmbus_gpadl_view view;

	for (unsigned i = 0; i < gpadl->ranges; i++) {
		if (!vmbus_gpadl_range(gpadl, i, &view) || !view.pages)
			abort();
		if (view.pfn + view.pages > gpadl->data + gpadl->words)
			abort();
	}
	if (!((struct world *)dev)->late)
		vmbus_channel_gpadl_done(ch, gpadl->id, 0);
}

static void dev_teardown(void *dev, struct vmbus_channel *ch, u32 gpadl)
{
	if (!((struct world *)dev)->late)
		vmbus_channel_gpadl_torn_down(ch, gpadl);
}

static void dev_signal(void *dev, struct vmbus_channel *ch)
{
	struct vmbus_rx *rx = vmbus_channel_rx(ch);
	struct vmbus_packet pkt;

	(void)dev;
	while (!vmbus_rx_peek(rx, &pkt)) {
		vmbus_rx_consume(rx, &pkt);
		vmbus_tx_completion(vmbus_channel_tx(ch), pkt.transaction, "x", 1);
	}
	if (vmbus_rx_publish(rx))
		vmbus_channel_signal(ch);
	if (vmbus_tx_publish(vmbus_channel_tx(ch)))
		vmbus_channel_signal(ch);
}

static const struct vmbus_device_ops dev_ops = {
	.open = dev_open,
	.close = dev_close,
	.gpadl = dev_gpadl,
	.gpadl_teardown = dev_teardown,
	.signal = dev_signal,
};

static void add(struct world *w, unsigned i)
{
	struct vmbus_offer offer = {.instance = {.data1 = i + 1}, .name = "fuzz"};

	w->ch[i] = vmbus_server_offer(w->s, &offer, &dev_ops, w);
}

/* --- hv_sock */

static void forget(struct world *w, const struct hvsock_conn *c)
{
	for (unsigned i = 0; i < 4; i++) {
		if (w->conn[i] == c)
			w->conn[i] = NULL;
	}
}

static void keep(struct world *w, struct hvsock_conn *c)
{
	for (unsigned i = 0; i < 4; i++) {
		if (!w->conn[i]) {
			w->conn[i] = c;
			return;
		}
	}
	hvsock_close(c, true);
}

static void hs_connect(void *ctx, struct hvsock_conn *c, const struct guid *service)
{
	(void)service;
	switch (next(&((struct world *)ctx)->in) % 3) {
	case 0: hvsock_refuse(c); break;
	case 1:
		if (hvsock_accept(c, ctx))
			keep(ctx, c);
		break;
	default: keep(ctx, c); break;
	}
}

static void hs_event(void *ctx, struct hvsock_conn *c)
{
	u8 buf[256];

	(void)ctx;
	while (hvsock_read(c, buf, sizeof(buf)) > 0)
		hvsock_write(c, buf, sizeof(buf));
}

static void hs_closed(void *ctx, struct hvsock_conn *c, const char *why)
{
	(void)why;
	forget(ctx, c);
}

static u64 hs_now(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static const struct hvsock_ops hs_ops = {hs_connect, hs_event, hs_event, hs_closed, hs_now};

static void message(struct world *w)
{
	u8 op = next(&w->in), msg[VMBUS_MESSAGE_MAX] = {0};
	size_t len = next(&w->in), n;
	u8 *copy;

	if (len > sizeof(msg) + 2)
		len %= sizeof(msg);
	n = MIN(MIN(len, w->in.left), sizeof(msg) - 4);
	/* the type by itself, so that the fuzzer need not find the padding */
	msg[0] = op % 32;
	if (n > 4) {
		memcpy(msg + 8, w->in.data, MIN(n, sizeof(msg) - 8));
		w->in.data += n;
		w->in.left -= n;
	}
	copy = malloc(len ? len : 1);
	memset(copy, 0, len);
	memcpy(copy, msg, MIN(len, sizeof(msg)));
	vmbus_server_message(w->s, copy, len,
			     VMBUS_VIA_MULTI | (op & 0x80 ? VMBUS_VIA_TRUSTED : 0));
	free(copy);
}

/* A good sequence, so that deep states are within reach: page list and open of a channel. */
static void good_open(struct world *w, u16 channel, unsigned kind)
{
	struct vmbus_msg_contact contact = {.hdr = {VMBUS_MSG_INITIATE_CONTACT, 0},
					    .version = kind & 1 ? VMBUS_V5_3 : VMBUS_V6_0,
					    .target_sint = 2,
					    .features = kind & 2 ? VMBUS_F_PAUSE : 0};
	struct vmbus_msg_header request = {VMBUS_MSG_REQUEST_OFFERS, 0};
	u8 list[20 + 9 * 8] = {VMBUS_MSG_GPADL_HEADER};
	struct vmbus_msg_open open = {
		.hdr = {VMBUS_MSG_OPEN, 0}, .channel = channel, .gpadl = 1, .downstream = 4};

	if (kind & 4) {
		vmbus_server_message(w->s, &contact, 40, VMBUS_VIA_MULTI);
		vmbus_server_message(w->s, &request, 8, VMBUS_VIA_MULTI);
	}
	memcpy(list + 8, &channel, 2);
	list[12] = 1;
	list[16] = 9 * 8;
	list[18] = 1;
	list[21] = 0x80;
	for (unsigned i = 0; i < 8; i++)
		list[28 + 8 * i] = (u8)i;
	vmbus_server_message(w->s, list, sizeof(list), VMBUS_VIA_MULTI);
	vmbus_server_message(w->s, &open, sizeof(open), VMBUS_VIA_MULTI);
}

static void step(struct world *w)
{
	u8 op = next(&w->in), arg = next(&w->in);
	struct vmbus_channel *ch = w->ch[arg % 4];
	struct hvsock_conn *c = w->conn[arg % 4];
	u32 id = next(&w->in);

	switch (op % 24) {
	default: message(w); break;
	case 8: w->busy = arg & 1; break;
	case 9: w->late = arg & 1; break;
	case 10: vmbus_server_pump(w->s); break;
	case 11:
		if (ch)
			vmbus_channel_open_done(ch, id & 1);
		break;
	case 12:
		if (ch)
			vmbus_channel_close_done(ch);
		break;
	case 13:
		if (ch)
			vmbus_channel_gpadl_done(ch, id, arg >> 7);
		break;
	case 14:
		if (ch)
			vmbus_channel_gpadl_torn_down(ch, id);
		break;
	case 15:
		if (ch)
			vmbus_channel_revoke(ch);
		w->ch[arg % 4] = NULL;
		break;
	case 16:
		if (!ch)
			add(w, arg % 4);
		break;
	case 17: vmbus_server_event(w->s, 0x2000 + id + (arg & 0x80 ? 1024 : 0)); break;
	case 18: /* ring contents */
		for (unsigned i = 0; i < 16 && w->in.left; i++)
			w->page[id % PAGES][(arg & 0x80 ? 0 : arg * 32) + i] = next(&w->in);
		break;
	case 19: good_open(w, (u16)(arg & 0x80 ? 1024 + id : 1 + arg % 4), id); break;
	case 20:
		w->now += id * 100;
		vmbus_server_timer(w->s);
		hvsock_expire(w->h);
		break;
	case 21: vmbus_server_reset(w->s); break;
	case 22: {
		struct guid service = VMBUS_IF_HVSOCK(1), instance = {.data1 = id};
		struct hvsock_conn *mine = hvsock_connect(w->h, &service, &instance, w);

		if (mine)
			keep(w, mine);
		break;
	}
	case 23:
		if (!c)
			break;
		switch (id % 6) {
		case 0:
			w->conn[arg % 4] = NULL;
			hvsock_close(c, arg & 0x80);
			break;
		case 1: hvsock_shutdown(c); break;
		case 2: hvsock_write(c, w->page[0], 1 + arg * 16); break;
		default: hs_event(w, c); break;
		}
		break;
	}
}

/* Wherever the server gets, another process can take over. */
static void take_over(struct world *w, const struct vmbus_server_config *cfg)
{
	struct vmbus_server *other = vmbus_server_new(cfg, &ops, w);
	struct pb_writer state;

	pb_writer_init(&state, 16 * MiB);
	vmbus_server_save(w->s, &state);
	if (!vmbus_server_restore(other, (struct pb_bytes){state.data, state.used}))
		abort();
	vmbus_server_free(other);
	pb_writer_free(&state);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const struct vmbus_server_config cfg = {.name = "fuzz", .vps = 4, .features = 0xff};
	struct world w = {.in = {data, size}};
	struct vmbus_server_info info;
	struct vmbus_channel_info ci;

	log_set_sink(no_log);
	w.s = vmbus_server_new(&cfg, &ops, &w);
	w.h = hvsock_new(w.s, &hs_ops, &w);
	for (unsigned i = 0; i < PAGES; i++)
		w.page[i] = calloc(1, PAGE_SIZE);
	for (unsigned i = 0; i < 3; i++)
		add(&w, i);
	if (size && data[0] & 1)
		good_open(&w, 1, 4 | data[0] >> 1);
	while (w.in.left)
		step(&w);
	vmbus_server_describe(w.s, &info);
	if (info.queued > 64 + 2048 || info.gpadls > GPADL_MAX_COUNT)
		abort();
	for (u16 i = 0; i < VMBUS_MAX_CHANNELS; i++)
		vmbus_server_channel(w.s, i, &ci);
	take_over(&w, &cfg);
	/* devices answer, the VM resets: nothing may hang or stay */
	w.late = false;
	for (unsigned i = 0; i < 4; i++) {
		if (w.ch[i]) {
			vmbus_channel_revoke(w.ch[i]);
			w.ch[i] = NULL;
		}
	}
	vmbus_server_reset(w.s);
	vmbus_server_describe(w.s, &info);
	if (!vmbus_server_idle(w.s) || info.gpadls || info.channels)
		abort();
	hvsock_free(w.h);
	vmbus_server_free(w.s);
	for (unsigned i = 0; i < PAGES; i++)
		free(w.page[i]);
	return 0;
}
