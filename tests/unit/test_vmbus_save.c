/*
 * VMBus server, client and relay saved and restored. Hostile states first; then the property: a
 * random walk of guest, devices, keeper and host is done again with the process replaced at random
 * moments, and nobody may notice: the same messages, signals and callbacks, the same memory.
 */
#include "tests/unit/vmbus_fixture.h"

#include <errno.h>
#include <stdio.h>

#include "common/bytes.h"
#include "paravisor/vmbus/relay.h"
#include "tests/lib/no_log.h"

#define LIMIT	  (16u << 20)
#define PAGES	  512
#define LOCAL	  5 /* devices of the guest's server */
#define REMOTE	  5 /* devices of the host's server; the last is the keeper's */
#define CHANS	  64
#define SLOTS	  3 /* GPADLs of a channel */
#define RING	  8 /* pages of one */
#define FIFO	  4096
#define KEPT	  (REMOTE - 1)
#define TRANSIENT 1024

/* --- the world */

struct fifo {
	struct {
		u8 len, data[VMBUS_MESSAGE_MAX];
	} msg[FIFO];
	unsigned head, count;
};

/* From its offer to the end of its channel. */
struct device {
	struct world *w;
	unsigned n;
	bool remote; /* at the host's server */
	struct vmbus_offer offer;
	struct vmbus_channel *ch; /* NULL: revoked */
	bool opening, closing, modifying;
	u32 gpadl[256], torn[256];
	unsigned gpadls, torns;
};

enum guest_gpadl { G_NONE, G_PARTS, G_CREATING, G_CREATED, G_TEARDOWN };

/* What the guest believes. */
struct chan {
	bool offered, rescinded, opening, open, reserved;
	u16 id;
	u32 opened_with;
	enum guest_gpadl gpadl[SLOTS];
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	bool rings;
	u8 *page[RING];
};

struct world {
	bool relayed;
	u32 seed, restore_seed, restore_odds; /* a restore in so many steps; 0: none */
	struct vmbus_server_config config;
	struct vmbus_server *s;
	struct relay *relay;
	struct vmbus_server *host;
	struct device *device[LOCAL + REMOTE], *revoked[LOCAL + REMOTE]; /* the host's are last */
	struct fifo to_guest, to_relay, to_host;
	bool guest_busy, host_busy, guest_broken;
	bool timer;
	u32 port[CHANS];
	unsigned ports;
	struct chan chan[CHANS]; /* by id, transient ones in the upper half */
	struct {
		u16 id;
		unsigned slot;
		u32 gpadl, left;
	} parts;
	bool up, paused, trusted;
	u32 version;
	u64 next_tl;
	struct guid tl[8];
	unsigned tls;
	u16 kept; /* the keeper's channel; 0: none */
	bool kept_open, kept_gpadl;
	u8 *page[PAGES];
	char *trace;
	size_t used, size;
	/* what there was at the moments of a restore */
	unsigned seen[24], restores;
};

enum {
	SEEN_OPENING,
	SEEN_CLOSING,
	SEEN_REOPEN,
	SEEN_REVOKED,
	SEEN_HELD,
	SEEN_OPENING_RELEASED,
	SEEN_CLOSING_RELEASED,
	SEEN_OPEN,
	SEEN_RESERVED,
	SEEN_RELEASED,
	SEEN_ENDING,
	SEEN_PAUSED,
	SEEN_QUEUED,
	SEEN_GPADLS,
	SEEN_PARTS,
	SEEN_CORRUPT,
	SEEN_TRANSIENT,
	SEEN_HOST_QUEUED,
	SEEN_KEPT,
	SEEN_TL,
	SEEN_PACKETS,
	SEEN_COUNT
};

static const char *const state_seen[] = {
	[SEEN_OPENING] = "opening",
	[SEEN_CLOSING] = "closing",
	[SEEN_REOPEN] = "closing, reopen",
	[SEEN_REVOKED] = "revoked",
	[SEEN_HELD] = "held",
	[SEEN_OPENING_RELEASED] = "opening, released",
	[SEEN_CLOSING_RELEASED] = "closing, released",
	[SEEN_OPEN] = "open",
};

static u32 draw(u32 *seed, u32 n)
{
	u64 mix = (*seed += 0x9e3779b9) * 0xff51afd7ed558ccdull;

	/* a walk draws in patterns, which a plain LCG would follow */
	mix = (mix ^ mix >> 29) * 0xc4ceb9fe1a85ec53ull;
	return (u32)(mix >> 40) % n;
}

static u32 rnd(struct world *w, u32 n)
{
	return draw(&w->seed, n);
}

__attribute__((format(printf, 2, 3))) static void trace(struct world *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (w->size - w->used < 1024) {
		w->size = w->size ? 2 * w->size : 1 << 20;
		w->trace = realloc(w->trace, w->size);
		assert_non_null(w->trace);
	}
	va_start(ap, fmt);
	n = vsnprintf(w->trace + w->used, w->size - w->used, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && n < 1000);
	w->used += (size_t)n;
}

static void trace_bytes(struct world *w, const char *what, const void *data, size_t len)
{
	char hex[2 * VMBUS_MESSAGE_MAX + 1] = "";

	assert_true(len <= VMBUS_MESSAGE_MAX);
	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", ((const u8 *)data)[i]);
	trace(w, "%s %s\n", what, hex);
}

static void fifo_put(struct fifo *f, const void *msg, size_t len)
{
	unsigned at = (f->head + f->count) % FIFO;

	assert_true(f->count < FIFO && len >= 8 && len <= VMBUS_MESSAGE_MAX);
	f->msg[at].len = (u8)len;
	memcpy(f->msg[at].data, msg, len);
	f->count++;
}

static const u8 *fifo_take(struct fifo *f, size_t *len)
{
	const u8 *data = f->msg[f->head].data;

	if (!f->count)
		return NULL;
	*len = f->msg[f->head].len;
	f->head = (f->head + 1) % FIFO;
	f->count--;
	return data;
}

/* --- devices, of either server */

static void d_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct device *d = dev;

	(void)ch;
	trace(d->w,
	      "open %u: gpadl %#x vp %u connection %#x flag %u reserved %d redirect %d user %u\n",
	      d->n, open->gpadl, open->target_vp, open->connection, open->event_flag,
	      open->reserved, open->redirect, open->user[7]);
	d->opening = true;
}

static void d_close(void *dev, struct vmbus_channel *ch)
{
	const struct vmbus_rx *rx = vmbus_channel_rx(ch);
	const struct vmbus_tx *tx = vmbus_channel_tx(ch);
	struct device *d = dev;

	trace(d->w, "close %u\n", d->n);
	if (rx)
		trace(d->w, "signalled for room %llu, for packets %llu\n",
		      (unsigned long long)rx->signals, (unsigned long long)tx->signals);
	d->closing = true;
}

static void d_gpadl(void *dev, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	struct device *d = dev;

	(void)ch;
	trace(d->w, "gpadl %u: %#x words %u %#llx\n", d->n, gpadl->id, gpadl->words,
	      (unsigned long long)gpadl->data[gpadl->words - 1]);
	assert_true(d->gpadls < ARRAY_SIZE(d->gpadl));
	d->gpadl[d->gpadls++] = gpadl->id;
}

static void d_teardown(void *dev, struct vmbus_channel *ch, u32 gpadl)
{
	struct device *d = dev;

	(void)ch;
	trace(d->w, "teardown %u: %#x\n", d->n, gpadl);
	assert_true(d->torns < ARRAY_SIZE(d->torn));
	d->torn[d->torns++] = gpadl;
}

static void d_modify(void *dev, struct vmbus_channel *ch, u32 vp)
{
	struct device *d = dev;

	(void)ch;
	trace(d->w, "modify %u: %u\n", d->n, vp);
	d->modifying = true;
}

static void d_signal(void *dev, struct vmbus_channel *ch)
{
	struct device *d = dev;

	(void)ch;
	trace(d->w, "signalled %u\n", d->n);
}

static void d_released(void *dev)
{
	struct device *d = dev;

	trace(d->w, "released %u\n", d->n);
	assert_ptr_equal(d->w->revoked[d->n], d);
	d->w->revoked[d->n] = NULL;
	free(d);
}

static const struct vmbus_device_ops d_ops = {d_open,	d_close,  d_gpadl,   d_teardown,
					      d_modify, d_signal, d_released};

static void device_offer(struct world *w, unsigned n)
{
	struct device *d = calloc(1, sizeof(*d));
	bool remote = n >= LOCAL;

	assert_non_null(d);
	d->w = w;
	d->n = n;
	d->remote = remote;
	d->offer = (struct vmbus_offer){
		.interface = VMBUS_IF_HEARTBEAT,
		.instance = {.data1 = n == LOCAL + KEPT ? 0x4b : n + 1, .data4 = {9, 8}},
		.subchannel = n == 2 ? 1 : 0, /* of 1 */
		.flags = n == LOCAL + 1 ? VMBUS_OFFER_TLNPI | VMBUS_OFFER_PIPE : (u16)n,
		.mmio_mb = (u16)n,
		.transient = n == 3,
		.no_map = remote || n == 4,
		.name = "test",
	};
	if (n == 2)
		d->offer.instance.data1 = 2;
	d->offer.user[100] = (u8)n;
	w->device[n] = d;
	d->ch = vmbus_server_offer(remote ? w->host : w->s, &d->offer, &d_ops, d);
	assert_non_null(d->ch);
}

static void device_revoke(struct world *w, unsigned n)
{
	struct device *d = w->device[n];
	struct vmbus_channel *ch = d->ch;

	/* a primary takes its subchannels along */
	if (n == 1 && w->device[2]) {
		if (w->revoked[2])
			return;
		w->revoked[2] = w->device[2];
		w->device[2]->ch = NULL;
		w->device[2] = NULL;
	}
	d->ch = NULL;
	w->device[n] = NULL;
	assert_null(w->revoked[n]);
	w->revoked[n] = d;
	vmbus_channel_revoke(ch);
}

/* Both ends of a ring are driven a little. */
static void device_packets(struct world *w, struct device *d)
{
	struct vmbus_rx *rx = vmbus_channel_rx(d->ch);
	struct vmbus_tx *tx = vmbus_channel_tx(d->ch);
	struct vmbus_packet pkt;
	u8 data[600];
	u32 len = 1 + rnd(w, sizeof(data) - 1);
	bool wake = false;

	if (!rx || d->opening || d->closing)
		return;
	memset(data, (int)len, sizeof(data));
	for (unsigned i = rnd(w, 3); i; i--)
		trace(w, "read %d\n", vmbus_rx_read(rx, &pkt, data, sizeof(data), &len));
	if (rnd(w, 2))
		wake |= vmbus_rx_publish(rx);
	if (rnd(w, 4) == 0)
		trace(w, "sleep %d\n", vmbus_rx_sleep(rx));
	for (unsigned i = rnd(w, rnd(w, 3) ? 4 : 30); i; i--) {
		int ret = vmbus_tx_inband(tx, 0, i, data, len);

		trace(w, "write %d\n", ret);
		if (ret == VMBUS_RING_FULL)
			trace(w, "wait %d\n", vmbus_tx_wait(tx, vmbus_packet_room(0, len)));
		if (ret)
			break;
	}
	if (rnd(w, 2))
		wake |= vmbus_tx_publish(tx);
	if (wake)
		vmbus_channel_signal(d->ch);
}

static void device_step(struct world *w, unsigned n)
{
	u32 status = rnd(w, 6) ? 0 : VMBUS_STATUS_FAILED;
	struct device *d = w->device[n];
	struct vmbus_channel *ch;

	if (!d) {
		/* also while the guest has not released the one before: then it is held back */
		if (rnd(w, 4) == 0)
			device_offer(w, n);
		return;
	}
	ch = d->ch;
	switch (rnd(w, 9)) {
	case 0:
		if (d->opening) {
			d->opening = false;
			vmbus_channel_open_done(ch, status);
		}
		break;
	case 1:
		if (d->closing && rnd(w, 3) == 0) {
			d->closing = d->modifying = false;
			vmbus_channel_close_done(ch);
		}
		break;
	case 2:
	case 3:
		if (d->gpadls) {
			unsigned i = rnd(w, d->gpadls);
			u32 id = d->gpadl[i];

			d->gpadl[i] = d->gpadl[--d->gpadls];
			vmbus_channel_gpadl_done(ch, id, status);
		}
		break;
	case 4:
	case 5:
		if (d->torns) {
			unsigned i = rnd(w, d->torns);
			u32 id = d->torn[i];

			d->torn[i] = d->torn[--d->torns];
			vmbus_channel_gpadl_torn_down(ch, id);
		}
		break;
	case 6:
		if (d->modifying) {
			d->modifying = false;
			vmbus_channel_modify_done(ch, status);
		}
		break;
	case 7: device_packets(w, d); break;
	case 8:
		/* while one waits for its release, the next of its kind stays */
		if (rnd(w, 40) == 0 && !w->revoked[n])
			device_revoke(w, n);
		break;
	}
}

/* --- the guest's server: what leaves it */

static int s_post(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	struct world *w = ctx;

	if (w->guest_busy)
		return -EAGAIN;
	trace(w, "to VTL %u VP %u SINT %u", vtl, vp, sint);
	trace_bytes(w, w->guest_broken ? ", lost" : "", msg, len);
	if (w->guest_broken)
		return -EIO;
	fifo_put(&w->to_guest, msg, len);
	return 0;
}

static void s_signal(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	trace(ctx, "signal VTL %u VP %u SINT %u flag %u\n", vtl, vp, sint, flag);
}

static int s_map_port(void *ctx, u32 connection, struct vmbus_channel *ch)
{
	struct world *w = ctx;

	assert_non_null(ch);
	for (unsigned i = 0; i < w->ports; i++)
		assert_int_not_equal(w->port[i], connection);
	assert_true(w->ports < CHANS);
	w->port[w->ports++] = connection;
	return 0;
}

static void s_unmap_port(void *ctx, u32 connection)
{
	struct world *w = ctx;

	for (unsigned i = 0; i < w->ports; i++) {
		if (w->port[i] == connection) {
			w->port[i] = w->port[--w->ports];
			return;
		}
	}
	fail();
}

static u8 *s_page(void *ctx, u64 pfn)
{
	return pfn < PAGES ? ((struct world *)ctx)->page[pfn] : NULL;
}

static void s_timer(void *ctx, unsigned ms)
{
	assert_int_equal(ms, 100);
	((struct world *)ctx)->timer = true;
}

static void s_connection(void *ctx, u32 version)
{
	trace(ctx, "connection %#x\n", version);
}

static void s_monitor(void *ctx, u64 p2c, u64 c2p)
{
	trace(ctx, "monitor %#llx %#llx\n", (unsigned long long)p2c, (unsigned long long)c2p);
}

static void s_tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
			 const struct guid *silo)
{
	struct world *w = ctx;

	trace(w, "connect %#x %#x %#x\n", endpoint->data1, service->data1, silo->data1);
	if (w->relayed)
		relay_tl_connect(w->relay, endpoint, service, silo);
	else if (w->tls < ARRAY_SIZE(w->tl))
		w->tl[w->tls++] = *endpoint;
}

static const struct vmbus_server_ops s_ops = {s_post,	    s_signal,  s_map_port,
					      s_unmap_port, s_page,    s_timer,
					      s_connection, s_monitor, s_tl_connect};

/* --- the relay and its host */

static int to_host(void *ctx, u32 connection, const void *msg, size_t len)
{
	struct world *w = ctx;

	if (w->host_busy)
		return -EAGAIN;
	trace(w, "to host %#x", connection);
	trace_bytes(w, "", msg, len);
	fifo_put(&w->to_host, msg, len);
	return 0;
}

static int host_post(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	(void)vtl;
	(void)vp;
	(void)sint;
	fifo_put(&((struct world *)ctx)->to_relay, msg, len);
	return 0;
}

static void host_tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
			    const struct guid *silo)
{
	struct world *w = ctx;

	(void)service;
	(void)silo;
	if (w->tls < ARRAY_SIZE(w->tl))
		w->tl[w->tls++] = *endpoint;
}

static const struct vmbus_server_ops host_ops = {
	.post = host_post, .signal = s_signal, .tl_connect = host_tl_connect};

static bool k_wants(void *ctx, const struct vmbus_msg_offer *offer)
{
	if (offer->instance.data1 != 0x4b)
		return false;
	((struct world *)ctx)->kept = (u16)offer->channel;
	return true;
}

static void k_opened(void *ctx, u16 channel, u32 status)
{
	struct world *w = ctx;

	trace(w, "kept %u opened %#x\n", channel, status);
	w->kept_open = !status;
}

static void k_created(void *ctx, u16 channel, u32 gpadl, u32 status)
{
	struct world *w = ctx;

	trace(w, "kept %u gpadl %#x created %#x\n", channel, gpadl, status);
	w->kept_gpadl = !status;
}

static void k_torndown(void *ctx, u16 channel, u32 gpadl)
{
	trace(ctx, "kept %u gpadl %#x torn down\n", channel, gpadl);
}

static void k_rescinded(void *ctx, u16 channel)
{
	struct world *w = ctx;

	trace(w, "kept %u rescinded\n", channel);
	w->kept = 0;
	w->kept_open = w->kept_gpadl = false;
	relay_keeper_release(w->relay, channel);
}

static const struct relay_keeper keeper = {k_wants,    k_opened,    k_created,
					   k_torndown, k_rescinded, "test"};

static void keeper_step(struct world *w)
{
	struct vmbus_client *c = relay_host(w->relay);
	struct vmbus_open open = {
		.gpadl = 7, .downstream = 2, .connection = 0x7700, .event_flag = 7};
	u64 data[60] = {59 * PAGE_SIZE};

	if (!w->kept)
		return;
	switch (rnd(w, 6)) {
	case 0:
		if (!w->kept_gpadl)
			trace(w, "kept gpadl %d\n", vmbus_client_gpadl(c, w->kept, 7, 1, data, 60));
		break;
	case 2:
		if (rnd(w, 4))
			break;
		trace(w, "kept close %d\n", vmbus_client_close(c, w->kept));
		w->kept_open = false;
		break;
	case 3:
		if (!w->kept_open && w->kept_gpadl && !vmbus_client_gpadl_teardown(c, w->kept, 7)) {
			trace(w, "kept teardown\n");
			w->kept_gpadl = false;
		}
		break;
	default: trace(w, "kept open %d\n", vmbus_client_open(c, w->kept, &open)); break;
	}
}

/* --- the guest */

static struct chan *chan_of(struct world *w, u32 id)
{
	u32 at = id < TRANSIENT ? id : id - TRANSIENT + CHANS / 2;

	/* transient ids go round; what is beyond is ignored by this guest */
	return at < CHANS ? &w->chan[at] : NULL;
}

static void send(struct world *w, void *msg, size_t len)
{
	u8 *copy = malloc(len);
	int ret;

	memcpy(copy, msg, len);
	ret = vmbus_server_message(w->s, copy, len,
				   VMBUS_VIA_MULTI | (w->trusted ? VMBUS_VIA_TRUSTED : 0));
	trace(w, "guest sends %u: %d\n", get_le32(msg), ret);
	free(copy);
}

static void send_words(struct world *w, u32 type, unsigned n, const u32 *words)
{
	u8 msg[VMBUS_MESSAGE_MAX] = {0};

	put_le32(msg, type);
	for (unsigned i = 0; i < n; i++)
		put_le32(msg + 8 + 4 * i, words[i]);
	send(w, msg, 8 + 4 * n);
}

#define SEND(w, type, ...)                                             \
	send_words(w, type, sizeof((u32[]){0, ##__VA_ARGS__}) / 4 - 1, \
		   &((u32[]){0, ##__VA_ARGS__})[1])

/* The pages of a channel's GPADL, the same for all its users. */
static u64 first_pfn(const struct chan *c, unsigned slot)
{
	return (c->id % 16 * SLOTS + slot) * RING;
}

static void guest_gpadl(struct world *w, struct chan *c, unsigned slot)
{
	bool ring = rnd(w, 5) != 0;
	u32 pages = ring ? RING : 60 + rnd(w, 20), gpadl = c->id * 16u + slot;
	u8 msg[VMBUS_MESSAGE_MAX] = {0};
	u32 now = ring ? RING : 26;

	if (!ring && w->parts.left)
		return;
	put_le32(msg, VMBUS_MSG_GPADL_HEADER);
	put_le32(msg + 8, c->id);
	put_le32(msg + 12, gpadl);
	put_le16(msg + 16, (u16)(8 + pages * 8));
	put_le16(msg + 18, 1);
	put_le32(msg + 20, pages * PAGE_SIZE);
	for (u32 i = 0; i < now; i++)
		put_le64(msg + 28 + 8 * i, first_pfn(c, slot) + i);
	send(w, msg, 28 + 8 * now);
	c->gpadl[slot] = G_CREATING;
	if (ring)
		return;
	w->parts.id = c->id;
	w->parts.slot = slot;
	w->parts.gpadl = gpadl;
	w->parts.left = pages - now;
}

static void guest_parts(struct world *w)
{
	u32 n = MIN(w->parts.left, 28u);
	u8 msg[VMBUS_MESSAGE_MAX] = {0};

	if (!n)
		return;
	put_le32(msg, VMBUS_MSG_GPADL_BODY);
	put_le32(msg + 12, w->parts.gpadl);
	for (u32 i = 0; i < n; i++)
		put_le64(msg + 16 + 8 * i, i);
	send(w, msg, 16 + 8 * n);
	w->parts.left -= n;
}

static void guest_open(struct world *w, struct chan *c, unsigned slot)
{
	u32 gpadl = c->id * 16u + slot;
	struct vmbus_msg_open msg = {
		.hdr = {VMBUS_MSG_OPEN, 0},
		.channel = c->id,
		.open_id = rnd(w, 1000),
		.gpadl = gpadl,
		.target_vp = rnd(w, 4),
		.downstream = 4,
		.connection = 0x2000u + c->id,
		.event_flag = c->id,
	};

	msg.user[7] = (u8)gpadl;
	msg.flags = rnd(w, 3) ? 0 : VMBUS_OPEN_REDIRECT;
	if (rnd(w, 20) == 0)
		msg.target_vp = VMBUS_VP_INTERRUPT_DISABLED;
	for (unsigned i = 0; i < RING; i++)
		c->page[i] = w->page[first_pfn(c, slot) + i];
	if (!c->open && !c->opening && c->gpadl[slot] == G_CREATED) {
		vmbus_ring_format(c->page);
		vmbus_ring_format(c->page + 4);
		c->rings = vmbus_tx_init(&c->tx, c->page, 4) &&
			   vmbus_rx_init(&c->rx, c->page + 4, 4);
		assert_true(c->rings);
		c->opening = true;
		c->opened_with = gpadl;
	}
	if (w->version >= VMBUS_V4_0 && rnd(w, 6) == 0) {
		SEND(w, VMBUS_MSG_OPEN_RESERVED, c->id, msg.target_vp, rnd(w, 16), gpadl, 4);
		c->reserved = true;
	} else {
		send(w, &msg, sizeof(msg));
	}
}

static void guest_packets(struct world *w, struct chan *c)
{
	struct vmbus_packet pkt;
	u8 data[600];
	u32 len = 1 + rnd(w, sizeof(data) - 1);
	bool wake = false;

	if (!(c->open || c->opening) || !c->rings)
		return;
	memset(data, (int)len, sizeof(data));
	for (unsigned i = rnd(w, 4); i; i--)
		trace(w, "guest reads %d\n", vmbus_rx_read(&c->rx, &pkt, data, sizeof(data), &len));
	wake |= vmbus_rx_publish(&c->rx);
	for (unsigned i = rnd(w, 20); i; i--) {
		int ret = vmbus_tx_inband(&c->tx, 0, i, data, len);

		trace(w, "guest writes %d\n", ret);
		if (ret == VMBUS_RING_FULL) {
			vmbus_tx_wait(&c->tx, vmbus_packet_room(0, len));
			break;
		}
	}
	wake |= vmbus_tx_publish(&c->tx);
	/* a guest that breaks its rings */
	if (rnd(w, 8) == 0)
		put_le32(c->page[0] + VMBUS_RING_WRITE, 5);
	if (rnd(w, 8) == 0)
		put_le32(c->page[4] + VMBUS_RING_READ, 5);
	if (wake || rnd(w, 8) == 0)
		trace(w, "event %d\n", vmbus_server_event(w->s, 0x2000u + c->id));
}

static void guest_contact(struct world *w)
{
	static const u32 versions[] = {VMBUS_V6_0, VMBUS_V6_0, VMBUS_V5_3, VMBUS_V5_0,
				       VMBUS_V4_0, VMBUS_V3_0, 0x70000};
	struct vmbus_msg_contact msg = {
		.hdr = {VMBUS_MSG_INITIATE_CONTACT, 0},
		.version = versions[rnd(w, ARRAY_SIZE(versions))],
		.target_vp = rnd(w, 4),
		.target_sint = VMBUS_SINT,
		.target_vtl = rnd(w, 12) == 0,
		.features = VMBUS_F_PAUSE | VMBUS_F_MODIFY_CONN | VMBUS_F_CLIENT_ID |
			    (rnd(w, 2) ? VMBUS_F_SIGNAL_PARAMS : 0) |
			    (rnd(w, 2) ? VMBUS_F_REDIRECT : 0),
		.monitor_p2c = rnd(w, 2) ? 0x5000 : 0,
		.client_id = {.data1 = rnd(w, 100), .data4 = {1}},
	};

	msg.monitor_c2p = msg.monitor_p2c;
	w->trusted = rnd(w, 3) == 0;
	if (w->trusted)
		msg.features |= VMBUS_F_CONFIDENTIAL;
	send(w, &msg, sizeof(msg));
	memset(w->chan, 0, sizeof(w->chan));
	w->parts.left = 0;
	w->up = w->paused = false;
	w->version = msg.version;
}

static void guest_read(struct world *w)
{
	size_t len;
	const u8 *m = fifo_take(&w->to_guest, &len);
	u32 at_offer = offsetof(struct vmbus_msg_offer, channel);
	struct chan *c;
	u32 gpadl;

	if (!m)
		return;
	switch (get_le32(m)) {
	case VMBUS_MSG_VERSION_RESPONSE: w->up = m[8] && !m[9]; break;
	case VMBUS_MSG_OFFER:
		c = chan_of(w, get_le32(m + at_offer));
		if (c && !c->reserved)
			*c = (struct chan){.offered = true, .id = (u16)get_le32(m + at_offer)};
		break;
	case VMBUS_MSG_RESCIND:
		c = chan_of(w, get_le32(m + 8));
		if (c)
			c->rescinded = true;
		break;
	case VMBUS_MSG_OPEN_RESULT:
		c = chan_of(w, get_le32(m + 8));
		if (!c)
			break;
		c->opening = false;
		c->open = !get_le32(m + 16);
		c->reserved &= c->open;
		break;
	case VMBUS_MSG_CLOSE_RESERVED_RESPONSE:
		c = chan_of(w, get_le32(m + 8));
		if (c)
			c->open = c->reserved = false;
		break;
	case VMBUS_MSG_GPADL_CREATED:
		c = chan_of(w, get_le32(m + 8));
		gpadl = get_le32(m + 12) % 16;
		if (c && gpadl < SLOTS)
			c->gpadl[gpadl] = get_le32(m + 16) ? G_NONE : G_CREATED;
		break;
	case VMBUS_MSG_GPADL_TORNDOWN:
		c = chan_of(w, get_le32(m + 8) / 16);
		gpadl = get_le32(m + 8) % 16;
		if (c && gpadl < SLOTS)
			c->gpadl[gpadl] = G_NONE;
		break;
	}
}

static void guest_step(struct world *w)
{
	struct chan *c = &w->chan[rnd(w, 3) ? 1 + rnd(w, 10) : rnd(w, CHANS)];
	unsigned slot = rnd(w, SLOTS);
	struct vmbus_msg_tl_connect tl = {{VMBUS_MSG_TL_CONNECT, 0}, {0}, {0}, {0}};

	if (rnd(w, 200) == 0) {
		bool trusted = w->trusted;

		w->trusted = false;
		SEND(w, VMBUS_MSG_MODIFY, 1, 1);
		w->trusted = trusted;
	}
	if (!w->up || rnd(w, 800) == 0) {
		if (rnd(w, 6) == 0)
			guest_contact(w);
		return;
	}
	if (w->paused || rnd(w, 50) == 0) {
		w->paused = !w->paused || rnd(w, 4);
		SEND(w, w->paused && rnd(w, 4) ? VMBUS_MSG_PAUSE : VMBUS_MSG_RESUME);
		return;
	}
	switch (rnd(w, 20)) {
	case 0: SEND(w, VMBUS_MSG_REQUEST_OFFERS); break;
	case 1:
	case 2:
	case 3: guest_parts(w); break;
	case 4:
		if (rnd(w, 60) == 0) {
			SEND(w, VMBUS_MSG_UNLOAD);
			memset(w->chan, 0, sizeof(w->chan));
			w->up = false;
		}
		break;
	case 5:
		tl.endpoint.data1 = ++w->next_tl & 0xffff;
		if (rnd(w, 10) == 0)
			send(w, &tl, sizeof(tl));
		break;
	case 6:
		if (rnd(w, 10) == 0)
			SEND(w, VMBUS_MSG_MODIFY_CONN, 0x7000, 0, 0x8000, 0);
		break;
	default:
		if (!c->offered)
			return;
		if (c->rescinded) {
			if (rnd(w, 3) == 0) {
				SEND(w, VMBUS_MSG_RELID_RELEASED, c->id);
				*c = (struct chan){0};
			}
			return;
		}
		switch (rnd(w, 14)) {
		case 0:
		case 1:
		case 2:
			if (c->gpadl[slot] == G_NONE)
				guest_gpadl(w, c, slot);
			break;
		case 3:
		case 4:
		case 5:
			if (c->gpadl[slot] == G_CREATED || rnd(w, 10) == 0)
				guest_open(w, c, slot);
			break;
		case 6:
			if (c->open) {
				if (c->reserved)
					SEND(w, VMBUS_MSG_CLOSE_RESERVED, c->id, rnd(w, 4),
					     rnd(w, 16));
				else
					SEND(w, VMBUS_MSG_CLOSE, c->id);
				c->open = c->reserved;
				/* without waiting for the teardown, as on a reload */
				if (!c->open && rnd(w, 3) == 0)
					guest_open(w, c, c->opened_with % 16);
			}
			break;
		case 7:
			if (c->gpadl[slot] == G_CREATED) {
				SEND(w, VMBUS_MSG_GPADL_TEARDOWN, c->id, c->id * 16u + slot);
				c->gpadl[slot] = G_TEARDOWN;
			}
			break;
		case 8:
			/* before the first is answered, too */
			for (unsigned i = 1 + rnd(w, 2); i; i--)
				SEND(w, VMBUS_MSG_MODIFY, c->id, rnd(w, 4));
			break;
		case 9:
			if (rnd(w, 30) == 0) {
				SEND(w, VMBUS_MSG_RELID_RELEASED, c->id);
				*c = (struct chan){0};
			}
			break;
		default: guest_packets(w, c); break;
		}
		break;
	}
}

/* --- the process is replaced */

static struct relay *new_relay(struct world *w)
{
	const struct relay_config config = {.post = to_host, .ctx = w, .guest = w->s};
	struct relay *r = relay_new(&config);

	assert_non_null(r);
	assert_true(relay_add_keeper(r, &keeper, w));
	return r;
}

static void save(const struct world *w, struct pb_writer *server, struct pb_writer *relay)
{
	pb_writer_init(server, LIMIT);
	pb_writer_init(relay, LIMIT);
	vmbus_server_save(w->s, server);
	if (w->relay)
		relay_save(w->relay, relay);
	assert_false(server->failed || relay->failed);
}

static struct pb_bytes bytes(const struct pb_writer *out)
{
	return (struct pb_bytes){out->data, out->used};
}

static void same_bytes(const struct pb_writer *a, const struct pb_writer *b)
{
	assert_int_equal(a->used, b->used);
	if (a->used)
		assert_memory_equal(a->data, b->data, a->used);
}

static void look(struct world *w)
{
	struct vmbus_server_info server;

	vmbus_server_describe(w->s, &server);
	w->seen[SEEN_ENDING] += !strcmp(server.state, "disconnecting");
	w->seen[SEEN_PAUSED] += server.paused;
	w->seen[SEEN_QUEUED] += server.queued != 0;
	w->seen[SEEN_GPADLS] += server.gpadls > 5;
	w->seen[SEEN_PARTS] += w->parts.left != 0;
	w->seen[SEEN_TL] += w->tls != 0;
	w->seen[SEEN_KEPT] += w->kept_open;
	w->seen[SEEN_HOST_QUEUED] += w->relay && relay_waiting(w->relay);
	for (u16 i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel_info info;

		if (!vmbus_server_channel(w->s, i, &info))
			continue;
		for (unsigned n = 0; n < ARRAY_SIZE(state_seen); n++)
			if (state_seen[n])
				w->seen[n] += !strcmp(info.state, state_seen[n]);
		w->seen[SEEN_RESERVED] += info.reserved;
		w->seen[SEEN_RELEASED] += !info.offered && server.offers_sent;
		w->seen[SEEN_CORRUPT] += info.ring_error != NULL;
		w->seen[SEEN_TRANSIENT] += i >= TRANSIENT;
		w->seen[SEEN_PACKETS] += info.is_open && info.rx_packets && info.tx_packets;
	}
}

/* What inspection shows. Texts of it may lie elsewhere afterwards. */
struct shown {
	struct vmbus_server_info server;
	struct relay_info relay;
	unsigned channels;
	struct {
		u16 id;
		struct vmbus_channel_info info;
		char name[32], error[48];
	} channel[LOCAL + 2 * REMOTE + 8];
	struct relay_channel_info relayed[CHANS];
};

static struct shown *show(const struct world *w)
{
	struct shown *shown = calloc(1, sizeof(*shown));

	vmbus_server_describe(w->s, &shown->server);
	for (u16 i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel_info *info = &shown->channel[shown->channels].info;

		if (!vmbus_server_channel(w->s, i, info))
			continue;
		snprintf(shown->channel[shown->channels].name, 32, "%s", info->name);
		if (info->ring_error)
			snprintf(shown->channel[shown->channels].error, 48, "%s", info->ring_error);
		info->name = info->ring_error = NULL;
		shown->channel[shown->channels++].id = i;
		assert_true(shown->channels < ARRAY_SIZE(shown->channel));
		if (!info->is_open)
			memset(&info->open, 0, sizeof(info->open));
	}
	if (w->relayed) {
		relay_describe(w->relay, &shown->relay);
		for (u16 i = 1; i < CHANS; i++)
			relay_channel(w->relay, i, &shown->relayed[i]);
	}
	return shown;
}

static void replace(struct world *w)
{
	struct pb_writer server, relay, server2, relay2;
	struct shown *before = show(w), *after;
	unsigned ports = w->ports;
	u32 port[CHANS];

	look(w);
	memcpy(port, w->port, sizeof(port));
	save(w, &server, &relay);
	vmbus_server_free(w->s);
	relay_free(w->relay);
	w->ports = 0;
	w->s = vmbus_server_new(&w->config, &s_ops, w);
	assert_true(vmbus_server_restore(w->s, bytes(&server)));
	if (w->relayed) {
		w->relay = new_relay(w);
		assert_true(relay_restore(w->relay, bytes(&relay)));
	}
	/* nothing comes in between */
	assert_int_equal(vmbus_server_message(w->s, "\3\0\0\0\0\0\0\0", 8, 0), -EAGAIN);
	for (unsigned i = 0; i < LOCAL; i++) {
		struct device *d = w->device[i];

		if (w->revoked[i])
			assert_true(vmbus_server_adopt_revoked(w->s, &w->revoked[i]->offer, &d_ops,
							       w->revoked[i]));
		if (!d)
			continue;
		d->ch = vmbus_server_adopt(w->s, &d->offer, &d_ops, d);
		assert_non_null(d->ch);
		assert_ptr_equal(vmbus_channel_device(d->ch), d);
		/* nobody else can have it */
		assert_null(vmbus_server_adopt(w->s, &d->offer, &d_ops, d));
	}
	vmbus_server_restore_done(w->s);
	if (w->relayed)
		relay_restore_done(w->relay);
	assert_int_equal(w->ports, ports);
	for (unsigned i = 0; i < ports; i++) {
		unsigned n = 0;

		while (n < ports && w->port[n] != port[i])
			n++;
		assert_true(n < ports);
	}
	after = show(w);
	assert_memory_equal(before, after, sizeof(*before));
	free(before);
	free(after);
	save(w, &server2, &relay2);
	same_bytes(&server, &server2);
	same_bytes(&relay, &relay2);
	pb_writer_free(&server);
	pb_writer_free(&server2);
	pb_writer_free(&relay);
	pb_writer_free(&relay2);
	w->restores++;
}

static void others_step(struct world *w)
{
	const u8 *m;
	size_t len;

	switch (rnd(w, 12)) {
	case 0:
	case 1:
		if (w->relay)
			keeper_step(w);
		break;
	case 2: vmbus_server_pump(w->s); break;
	case 3:
		if (w->relay)
			relay_pump(w->relay);
		break;
	case 4:
	case 5:
		m = fifo_take(&w->to_relay, &len);
		if (m)
			relay_message(w->relay, m, len);
		break;
	case 6:
	case 7:
		m = fifo_take(&w->to_host, &len);
		if (m)
			assert_int_equal(vmbus_server_message(w->host, m, len, VMBUS_VIA_MULTI), 0);
		break;
	case 8:
		w->guest_busy = rnd(w, 4) == 0;
		w->host_busy = rnd(w, 4) == 0;
		w->guest_broken = rnd(w, 100) == 0;
		break;
	case 9:
		if (w->timer && rnd(w, 10) == 0) {
			w->timer = false;
			vmbus_server_timer(w->s);
		}
		break;
	case 10:
		if (w->tls && rnd(w, 4) == 0) {
			const struct guid service = {0};

			w->tls--;
			vmbus_server_tl_result(w->relayed ? w->host : w->s, &w->tl[w->tls],
					       &service, VMBUS_STATUS_CONN_REFUSED);
		}
		break;
	case 11:
		if (rnd(w, 300) == 0) {
			vmbus_server_reset(w->s);
			memset(w->chan, 0, sizeof(w->chan));
			w->up = false;
		}
		break;
	}
}

static struct world *walk(u32 seed, u32 odds)
{
	const struct vmbus_server_config host = {.name = "host",
						 .post_vtl = 2,
						 .post_sint = VMBUS_REDIRECT_SINT,
						 .vps = 4,
						 .features = VMBUS_F_ALL,
						 .max_queue = 4096,
						 .connection = VMBUS_CONN_VTL2_REDIRECT};
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->seed = seed;
	w->restore_seed = seed + 1000;
	w->restore_odds = odds;
	w->relayed = seed % 2;
	w->config = (struct vmbus_server_config){.name = "guest",
						 .vps = 4,
						 .features = VMBUS_F_ALL,
						 .max_queue = 8,
						 .post_vtl = 2,
						 .post_sint = seed % 7 == 0 ? 7 : 0};
	for (unsigned i = 0; i < PAGES; i++) {
		w->page[i] = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
		memset(w->page[i], 0, PAGE_SIZE);
	}
	w->s = vmbus_server_new(&w->config, &s_ops, w);
	for (unsigned i = 0; i < LOCAL; i++)
		device_offer(w, i);
	if (w->relayed) {
		w->host = vmbus_server_new(&host, &host_ops, w);
		for (unsigned i = 0; i < REMOTE; i++)
			device_offer(w, LOCAL + i);
		w->relay = new_relay(w);
		assert_int_equal(relay_connect(w->relay), 0);
	}
	for (unsigned i = 0; i < 9000; i++) {
		switch (rnd(w, 9)) {
		case 0:
		case 1:
		case 2: guest_step(w); break;
		case 3:
		case 4: guest_read(w); break;
		case 5:
		case 6:
			for (unsigned n = 0; n < 5; n++)
				device_step(w, rnd(w, LOCAL + (w->relayed ? REMOTE : 0)));
			break;
		default: others_step(w); break;
		}
		if (w->restore_odds && draw(&w->restore_seed, w->restore_odds) == 0)
			replace(w);
	}
	return w;
}

static void world_free(struct world *w)
{
	vmbus_server_free(w->s);
	relay_free(w->relay);
	vmbus_server_free(w->host);
	for (unsigned i = 0; i < LOCAL + REMOTE; i++) {
		free(w->device[i]);
		free(w->revoked[i]);
	}
	for (unsigned i = 0; i < PAGES; i++)
		free(w->page[i]);
	free(w->trace);
	free(w);
}

/* Where two traces part, with what came before. */
static void same_trace(const struct world *a, const struct world *b)
{
	size_t n = MIN(a->used, b->used), at = 0, from;

	while (at < n && a->trace[at] == b->trace[at])
		at++;
	if (at == a->used && at == b->used)
		return;
	from = at > 600 ? at - 600 : 0;
	print_error("without:\n%.*s\n--- with:\n%.*s\n", (int)MIN(a->used - from, (size_t)900),
		    a->trace + from, (int)MIN(b->used - from, (size_t)900), b->trace + from);
	fail();
}

static void nobody_notices(void **state)
{
	static const u32 odds[] = {4, 12, 60};
	unsigned seen[SEEN_COUNT] = {0};
	struct pb_writer server[2], relay[2];
	size_t trace_size = 0;

	(void)state;
	for (u32 seed = 1; seed <= 12; seed++) {
		struct world *a = walk(seed, 0), *b = walk(seed, odds[seed % ARRAY_SIZE(odds)]);

		same_trace(a, b);
		save(a, &server[0], &relay[0]);
		save(b, &server[1], &relay[1]);
		same_bytes(&server[0], &server[1]);
		same_bytes(&relay[0], &relay[1]);
		for (unsigned i = 0; i < 2; i++) {
			pb_writer_free(&server[i]);
			pb_writer_free(&relay[i]);
		}
		for (unsigned i = 0; i < PAGES; i++)
			assert_memory_equal(a->page[i], b->page[i], PAGE_SIZE);
		for (unsigned i = 0; i < SEEN_COUNT; i++)
			seen[i] += b->seen[i];
		trace_size += b->used;
		world_free(a);
		world_free(b);
	}
	/* the walk has been everywhere */
	for (unsigned i = 0; i < SEEN_COUNT; i++)
		if (seen[i] < 20 || getenv("SHOW_SEEN"))
			print_message("state %u was met %u times\n", i, seen[i]);
	for (unsigned i = 0; i < SEEN_COUNT; i++)
		assert_true(seen[i] >= 20);
	assert_true(trace_size > 1 << 18);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_notices),
	};

	log_set_sink(no_log);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
