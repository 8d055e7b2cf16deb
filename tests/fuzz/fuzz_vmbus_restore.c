/*
 * VMBus server, client and relay from arbitrary saved states, then a few messages. Input: a message
 * with the server's state (1), the relay's (2; without it there is none) and a script (3). What is
 * accepted must be saved and accepted again as the same, and must not get stuck.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/vmbus/save.h"
#include "paravisor/vmbus/relay.h"
#include "tests/fuzz/fuzz.h"

#define PAGES	16
#define PFNS	512
#define DEVICES 5
#define LIMIT	(64u << 20)

struct device {
	struct world *w;
	struct vmbus_channel *ch;
};

struct world {
	struct vmbus_server *s;
	struct relay *relay;
	struct input in; /* the script */
	u8 *page[PAGES];
	bool busy, late;
	struct device dev[DEVICES];
};

static int to_guest(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	if (vtl || vp >= 4 || sint >= 16)
		abort();
	check_message(msg, len);
	return ((struct world *)ctx)->busy ? -EAGAIN : 0;
}

static int to_host(void *ctx, u32 connection, const void *msg, size_t len)
{
	(void)connection;
	check_message(msg, len);
	return ((struct world *)ctx)->busy ? -EAGAIN : 0;
}

static void signal_guest(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	(void)ctx;
	if (vtl > 2 || sint > 15 || flag >= 2048 || !flag || vp >= 4)
		abort();
}

static u8 *page(void *ctx, u64 pfn)
{
	return pfn < PFNS ? ((struct world *)ctx)->page[pfn % PAGES] : NULL;
}

static void tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
		       const struct guid *silo)
{
	struct world *w = ctx;

	if (w->relay)
		relay_tl_connect(w->relay, endpoint, service, silo);
}

static const struct vmbus_server_ops ops = {
	.post = to_guest, .signal = signal_guest, .page = page, .tl_connect = tl_connect};

/* --- devices */

static void dev_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	(void)open;
	if (!((struct device *)dev)->w->late)
		vmbus_channel_open_done(ch, 0);
}

static void dev_close(void *dev, struct vmbus_channel *ch)
{
	if (!((struct device *)dev)->w->late)
		vmbus_channel_close_done(ch);
}

static void dev_gpadl(void *dev, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	if (!((struct device *)dev)->w->late)
		vmbus_channel_gpadl_done(ch, gpadl->id, 0);
}

static void dev_teardown(void *dev, struct vmbus_channel *ch, u32 gpadl)
{
	if (!((struct device *)dev)->w->late)
		vmbus_channel_gpadl_torn_down(ch, gpadl);
}

static void dev_signal(void *dev, struct vmbus_channel *ch)
{
	struct vmbus_rx *rx = vmbus_channel_rx(ch);
	struct vmbus_tx *tx = vmbus_channel_tx(ch);
	struct vmbus_packet pkt;
	u8 data[256];
	bool wake;
	u32 len;

	(void)dev;
	if (!rx)
		return;
	for (unsigned i = 0; i < 4; i++) {
		if (vmbus_rx_read(rx, &pkt, data, sizeof(data), &len))
			break;
		if (vmbus_tx_completion(tx, pkt.transaction, data, len) == VMBUS_RING_FULL)
			vmbus_tx_wait(tx, vmbus_packet_room(0, len));
	}
	vmbus_tx_inband(tx, 0, 1, data, 16);
	wake = vmbus_rx_publish(rx);
	wake |= vmbus_tx_publish(tx);
	wake |= !vmbus_rx_sleep(rx);
	if (wake)
		vmbus_channel_signal(ch);
}

/* Also of a subchannel whose primary nobody has adopted. */
static void dev_released(void *dev)
{
	((struct device *)dev)->ch = NULL;
}

static const struct vmbus_device_ops dev_ops = {
	.open = dev_open,
	.close = dev_close,
	.gpadl = dev_gpadl,
	.gpadl_teardown = dev_teardown,
	.signal = dev_signal,
	.released = dev_released,
};

/* --- a keeper */

static bool wants(void *ctx, const struct vmbus_msg_offer *offer)
{
	(void)ctx;
	return offer->instance.data1 == 0x4b;
}

static void rescinded(void *ctx, u16 channel)
{
	relay_keeper_release(((struct world *)ctx)->relay, channel);
}

static const struct relay_keeper keeper = {.wants = wants, .rescinded = rescinded, .name = "test"};

/* --- the process */

static void end(struct world *w)
{
	vmbus_server_free(w->s);
	relay_free(w->relay);
	w->s = NULL;
	w->relay = NULL;
}

static bool restore(struct world *w, struct pb_bytes server, struct pb_bytes relay)
{
	const struct vmbus_server_config config = {.name = "guest", .vps = 4, .features = 0xff};
	struct relay_config to = {.post = to_host, .ctx = w};

	w->s = vmbus_server_new(&config, &ops, w);
	if (!w->s)
		abort();
	if (!vmbus_server_restore(w->s, server)) {
		end(w);
		return false;
	}
	if (!relay.data)
		return true;
	to.guest = w->s;
	w->relay = relay_new(&to);
	if (!w->relay || !relay_add_keeper(w->relay, &keeper, w))
		abort();
	if (relay_restore(w->relay, relay))
		return true;
	end(w);
	return false;
}

static void save(const struct world *w, struct pb_writer *server, struct pb_writer *relay)
{
	pb_writer_init(server, LIMIT);
	pb_writer_init(relay, LIMIT);
	vmbus_server_save(w->s, server);
	if (w->relay)
		relay_save(w->relay, relay);
	if (server->failed || relay->failed)
		abort();
}

static bool equal(const struct pb_writer *a, const struct pb_writer *b)
{
	return a->used == b->used && (!a->used || !memcmp(a->data, b->data, a->used));
}

static void again(struct world *w)
{
	struct pb_writer server[2], relay[2];

	save(w, &server[0], &relay[0]);
	end(w);
	if (!restore(w, (struct pb_bytes){server[0].data, server[0].used},
		     (struct pb_bytes){relay[0].data, relay[0].used}))
		abort();
	save(w, &server[1], &relay[1]);
	if (!equal(&server[0], &server[1]) || !equal(&relay[0], &relay[1]))
		abort();
	for (unsigned i = 0; i < 2; i++) {
		pb_writer_free(&server[i]);
		pb_writer_free(&relay[i]);
	}
}

static struct vmbus_offer offer(unsigned n)
{
	return (struct vmbus_offer){
		.interface = VMBUS_IF_HEARTBEAT,
		.instance = {.data1 = n == 2 ? 2 : n + 1, .data4 = {9, 8}},
		.subchannel = n == 2,
		.no_map = n == 4,
		.name = "fuzz",
	};
}

static void adopt(struct world *w)
{
	for (unsigned i = 0; i < DEVICES; i++) {
		struct vmbus_offer o = offer(i);

		w->dev[i].w = w;
		w->dev[i].ch = vmbus_server_adopt(w->s, &o, &dev_ops, &w->dev[i]);
	}
	vmbus_server_restore_done(w->s);
	if (w->relay)
		relay_restore_done(w->relay);
}

static void message(struct world *w, bool host)
{
	u8 len = next(&w->in) % (VMBUS_MESSAGE_MAX - 7), *copy = calloc(1, len + 8u);

	if (!copy)
		abort();
	/* the type by itself, so that the fuzzer need not find the padding */
	copy[0] = next(&w->in) % 32;
	for (unsigned i = 0; i < len; i++)
		copy[8 + i] = next(&w->in);
	if (!host)
		vmbus_server_message(w->s, copy, len + 8u, VMBUS_VIA_MULTI);
	else if (w->relay)
		relay_message(w->relay, copy, len + 8u);
	free(copy);
}

static void step(struct world *w)
{
	u8 op = next(&w->in), arg = next(&w->in);
	struct vmbus_channel *ch = w->dev[arg % DEVICES].ch;

	switch (op % 16) {
	default: message(w, op & 16); break;
	case 6: w->busy = arg & 1; break;
	case 7: w->late = arg & 1; break;
	case 8:
		vmbus_server_pump(w->s);
		if (w->relay)
			relay_pump(w->relay);
		break;
	case 9:
		if (ch)
			vmbus_channel_open_done(ch, arg >> 7);
		break;
	case 10:
		if (ch)
			vmbus_channel_close_done(ch);
		break;
	case 11:
		if (ch)
			vmbus_channel_gpadl_done(ch, vmbus_channel_id(ch) * 16u + (op >> 6),
						 arg >> 7);
		break;
	case 12:
		if (ch)
			vmbus_channel_gpadl_torn_down(ch, vmbus_channel_id(ch) * 16u + (op >> 6));
		break;
	case 13:
		if (ch)
			vmbus_channel_modify_done(ch, arg >> 7);
		break;
	case 14:
		if (ch)
			dev_signal(w, ch);
		vmbus_server_event(w->s, 0x2000u + arg);
		break;
	case 15:
		vmbus_server_timer(w->s);
		w->page[arg % PAGES][next(&w->in)] = next(&w->in);
		break;
	}
}

/* When all devices have gone, nothing may hang or stay. */
static void finish(struct world *w)
{
	struct vmbus_server_info info;

	for (unsigned i = 0; i < DEVICES; i++)
		if (w->dev[i].ch)
			vmbus_channel_revoke(w->dev[i].ch);
	vmbus_server_reset(w->s);
	vmbus_server_describe(w->s, &info);
	if (!w->relay && (!vmbus_server_idle(w->s) || info.gpadls || info.channels))
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct pb_bytes all = {data, size}, server, relay, script;
	struct world w = {0};

	log_set_sink(no_log);
	if (!pb_find_bytes(all, 1, &server) || !pb_find_bytes(all, 2, &relay) ||
	    !pb_find_bytes(all, 3, &script))
		return -1;
	w.in = (struct input){script.data, script.size};
	for (unsigned i = 0; i < PAGES; i++)
		w.page[i] = calloc(1, PAGE_SIZE);
	if (restore(&w, server, relay)) {
		again(&w);
		adopt(&w);
		while (w.in.left)
			step(&w);
		finish(&w);
	}
	end(&w);
	for (unsigned i = 0; i < PAGES; i++)
		free(w.page[i]);
	return 0;
}
