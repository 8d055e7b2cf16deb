/*
 * Our client against our server over transports that are slow at random, with devices that answer
 * late at random: whatever the order, each request gets its one answer, and both ends agree.
 */
#include "tests/unit/vmbus_fixture.h"

#include <errno.h>

#include "common/bytes.h"
#include "common/vmbus/client.h"
#include "tests/lib/no_log.h"

#define DEVICES 12
#define CHANS	VMBUS_MAX_CHANNELS
#define FIFO	1024

struct fifo {
	struct {
		u8 len, data[VMBUS_MESSAGE_MAX];
	} msg[FIFO];
	unsigned head, count, limit;
};

enum want { W_NOTHING, W_OPEN, W_CLOSE };

/* A device of the server's side. */
struct device {
	struct vmbus_channel *ch;
	unsigned n, generation;
	bool opening, closing, is_open;
	u32 gpadl[64], torn[64];
	unsigned gpadls, torns;
	bool modifying;
	bool waiting_release;
};

/* What the client's side believes of a channel. */
struct chan {
	bool offered, rescinded, opening, open;
	u32 gpadl[4];
	enum { G_NONE, G_CREATING, G_CREATED, G_TEARDOWN } gstate[4];
	bool modifying;
};

struct world {
	u32 seed;
	struct vmbus_server *s;
	struct vmbus_client *c;
	struct fifo to_server, to_client;
	struct device dev[DEVICES];
	struct chan chan[CHANS];
	u32 next_gpadl;
	u32 version;
	bool up, delivered, unloaded, pausing, paused;
	unsigned connects, opens, closes, created, torn, rescinds, releases, modified, pauses;
	u8 *page[32];
};

static u32 rnd(struct world *w, u32 n)
{
	w->seed = w->seed * 1664525 + 1013904223;
	return (w->seed >> 10) % n;
}

static int fifo_put(struct world *w, struct fifo *f, const void *msg, size_t len)
{
	if (f->count >= f->limit || rnd(w, 8) == 0)
		return -EAGAIN;
	f->msg[(f->head + f->count) % FIFO].len = (u8)len;
	memcpy(f->msg[(f->head + f->count) % FIFO].data, msg, len);
	f->count++;
	return 0;
}

/* --- server's side */

static int s_post(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	struct world *w = ctx;

	(void)vtl;
	(void)vp;
	(void)sint;
	return fifo_put(w, &w->to_client, msg, len);
}

static void s_signal(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	(void)ctx;
	(void)vtl;
	(void)vp;
	(void)sint;
	(void)flag;
}

static u8 *s_page(void *ctx, u64 pfn)
{
	struct world *w = ctx;

	return pfn < ARRAY_SIZE(w->page) ? w->page[pfn] : NULL;
}

static const struct vmbus_server_ops s_ops = {.post = s_post, .signal = s_signal, .page = s_page};

static void d_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct device *d = dev;

	(void)open;
	assert_ptr_equal(ch, d->ch);
	assert_false(d->opening || d->is_open || d->closing);
	d->opening = true;
}

static void d_close(void *dev, struct vmbus_channel *ch)
{
	struct device *d = dev;

	assert_ptr_equal(ch, d->ch);
	assert_true(d->is_open && !d->closing);
	assert_non_null(vmbus_channel_rx(ch));
	d->closing = true;
}

static void d_gpadl(void *dev, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	struct device *d = dev;
	struct vmbus_gpadl_view view;

	(void)ch;
	assert_true(vmbus_gpadl_is_ring(gpadl, &view));
	assert_true(d->gpadls < 64);
	d->gpadl[d->gpadls++] = gpadl->id;
}

static void d_teardown(void *dev, struct vmbus_channel *ch, u32 gpadl)
{
	struct device *d = dev;

	(void)ch;
	for (unsigned i = 0; i < d->torns; i++)
		assert_int_not_equal(d->torn[i], gpadl);
	assert_true(d->torns < 64);
	d->torn[d->torns++] = gpadl;
}

static void d_modify(void *dev, struct vmbus_channel *ch, u32 vp)
{
	struct device *d = dev;

	(void)ch;
	(void)vp;
	d->modifying = true;
}

static void d_released(void *dev)
{
	struct device *d = dev;

	assert_true(d->waiting_release);
	d->waiting_release = false;
}

static const struct vmbus_device_ops d_ops = {
	.open = d_open,
	.close = d_close,
	.gpadl = d_gpadl,
	.gpadl_teardown = d_teardown,
	.modify = d_modify,
	.released = d_released,
};

static void device_offer(struct world *w, struct device *d)
{
	struct vmbus_offer offer = {
		.interface = VMBUS_IF_HEARTBEAT,
		.instance = {.data1 = d->n},
	};
	unsigned n = d->n;

	*d = (struct device){.n = n};
	d->ch = vmbus_server_offer(w->s, &offer, &d_ops, d);
	assert_non_null(d->ch);
}

/* One thing that a device may do now. */
static void device_step(struct world *w, struct device *d, bool may_revoke)
{
	if (!d->ch) {
		if (!d->waiting_release && may_revoke)
			device_offer(w, d);
		return;
	}
	switch (rnd(w, 12)) {
	case 0:
	case 1:
		if (d->opening) {
			u32 status = rnd(w, 4) ? 0 : VMBUS_STATUS_FAILED;

			d->opening = false;
			d->is_open = !status;
			vmbus_channel_open_done(d->ch, status);
		}
		break;
	case 2:
	case 3:
		if (d->closing) {
			d->closing = d->is_open = d->modifying = false;
			vmbus_channel_close_done(d->ch);
		}
		break;
	case 4:
	case 5:
		if (d->gpadls) {
			unsigned i = rnd(w, d->gpadls);
			u32 id = d->gpadl[i];

			d->gpadl[i] = d->gpadl[--d->gpadls];
			vmbus_channel_gpadl_done(d->ch, id, rnd(w, 8) ? 0 : VMBUS_STATUS_FAILED);
		}
		break;
	case 6:
	case 7:
		if (d->torns) {
			unsigned i = rnd(w, d->torns);
			u32 id = d->torn[i];

			d->torn[i] = d->torn[--d->torns];
			vmbus_channel_gpadl_torn_down(d->ch, id);
		}
		break;
	case 8:
		if (d->modifying) {
			d->modifying = false;
			vmbus_channel_modify_done(d->ch, 0);
		}
		break;
	case 9: /* an answer nobody waits for */
		if (!d->opening)
			vmbus_channel_open_done(d->ch, 0);
		if (!d->closing)
			vmbus_channel_close_done(d->ch);
		break;
	case 10:
		if (may_revoke && rnd(w, 6) == 0) {
			struct vmbus_channel *ch = d->ch;

			*d = (struct device){.n = d->n, .waiting_release = true};
			vmbus_channel_revoke(ch);
		}
		break;
	}
}

/* --- client's side */

static int c_post(void *ctx, u32 connection, const void *msg, size_t len)
{
	struct world *w = ctx;

	if (connection == VMBUS_CONN_VTL2_REDIRECT)
		return -ENXIO;
	assert_true(connection == VMBUS_CONN_MULTI || connection == VMBUS_CONN_LEGACY);
	return fifo_put(w, &w->to_server, msg, len);
}

static void c_connected(void *ctx, u32 version, u32 features)
{
	struct world *w = ctx;

	(void)features;
	assert_int_equal(version, w->version);
	w->up = true;
	w->connects++;
	assert_int_equal(vmbus_client_request_offers(w->c), 0);
}

static void c_offer(void *ctx, const struct vmbus_msg_offer *offer)
{
	struct world *w = ctx;
	u32 id = offer->channel;

	assert_true(id && id < CHANS);
	assert_false(w->chan[id].offered);
	w->chan[id] = (struct chan){.offered = true};
}

static void c_delivered(void *ctx)
{
	((struct world *)ctx)->delivered = true;
}

static void c_rescinded(void *ctx, u16 id)
{
	struct world *w = ctx;

	assert_true(w->chan[id].offered && !w->chan[id].rescinded && !w->chan[id].opening);
	w->chan[id].rescinded = true;
	w->rescinds++;
}

static void c_opened(void *ctx, u16 id, u32 status)
{
	struct world *w = ctx;

	assert_true(w->chan[id].opening);
	w->chan[id].opening = false;
	w->chan[id].open = !status;
	w->opens += !status;
}

static unsigned slot_of(struct world *w, u16 id, u32 gpadl)
{
	for (unsigned i = 0; i < 4; i++) {
		if (w->chan[id].gstate[i] && w->chan[id].gpadl[i] == gpadl)
			return i;
	}
	fail();
	return 0;
}

static void c_created(void *ctx, u16 id, u32 gpadl, u32 status)
{
	struct world *w = ctx;
	unsigned i = slot_of(w, id, gpadl);

	assert_int_equal(w->chan[id].gstate[i], G_CREATING);
	w->chan[id].gstate[i] = status ? G_NONE : G_CREATED;
	w->created += !status;
}

static void c_torndown(void *ctx, u16 id, u32 gpadl)
{
	struct world *w = ctx;
	unsigned i = slot_of(w, id, gpadl);

	assert_int_equal(w->chan[id].gstate[i], G_TEARDOWN);
	w->chan[id].gstate[i] = G_NONE;
	w->torn++;
}

static void c_modified(void *ctx, u16 id, u32 status)
{
	struct world *w = ctx;

	(void)status;
	assert_true(w->chan[id].modifying);
	w->chan[id].modifying = false;
	w->modified++;
}

static void c_unloaded(void *ctx)
{
	struct world *w = ctx;

	w->unloaded = true;
	w->up = w->delivered = false;
	memset(w->chan, 0, sizeof(w->chan));
}

static void c_paused(void *ctx)
{
	struct world *w = ctx;

	assert_true(w->pausing);
	w->pausing = false;
	w->paused = true;
	w->pauses++;
}

static const struct vmbus_client_ops c_ops = {
	.post = c_post,
	.connected = c_connected,
	.offer = c_offer,
	.offers_delivered = c_delivered,
	.rescinded = c_rescinded,
	.opened = c_opened,
	.gpadl_created = c_created,
	.gpadl_torndown = c_torndown,
	.modified = c_modified,
	.unloaded = c_unloaded,
	.paused = c_paused,
};

static void client_step(struct world *w)
{
	u16 id = (u16)(1 + rnd(w, 2 * DEVICES));
	struct chan *ch = &w->chan[id];
	unsigned slot = rnd(w, 4);
	u64 data[80];
	u32 pages;

	if (!w->up || w->pausing)
		return;
	if (w->paused) {
		if (rnd(w, 4) == 0) {
			assert_int_equal(vmbus_client_resume(w->c), 0);
			w->paused = false;
		}
		return;
	}
	if (rnd(w, 300) == 0 && w->version >= VMBUS_V6_0) {
		assert_int_equal(vmbus_client_pause(w->c), 0);
		w->pausing = true;
		return;
	}
	if (!ch->offered)
		return;
	if (ch->rescinded) {
		if (rnd(w, 3))
			return;
		assert_int_equal(vmbus_client_release(w->c, id), 0);
		*ch = (struct chan){0};
		w->releases++;
		return;
	}
	switch (rnd(w, 8)) {
	case 0:
	case 1:
		if (ch->gstate[slot])
			break;
		/* up to three messages */
		pages = 4 + rnd(w, 70);
		data[0] = pages * (u64)PAGE_SIZE;
		for (u32 i = 0; i < pages; i++)
			data[1 + i] = i % ARRAY_SIZE(w->page);
		ch->gpadl[slot] = w->next_gpadl++;
		ch->gstate[slot] = G_CREATING;
		assert_int_equal(
			vmbus_client_gpadl(w->c, id, ch->gpadl[slot], 1, data, (u16)(pages + 1)),
			0);
		break;
	case 2:
		if (ch->gstate[slot] == G_CREATED) {
			assert_int_equal(vmbus_client_gpadl_teardown(w->c, id, ch->gpadl[slot]), 0);
			ch->gstate[slot] = G_TEARDOWN;
		}
		break;
	case 3:
	case 4:
		if (!ch->opening && !ch->open && ch->gstate[slot] == G_CREATED) {
			struct vmbus_open open = {
				.open_id = id,
				.gpadl = ch->gpadl[slot],
				.downstream = 2,
				.connection = 0x2000u + id,
				.event_flag = id,
			};

			assert_int_equal(vmbus_client_open(w->c, id, &open), 0);
			ch->opening = true;
		}
		break;
	case 5:
		if (ch->open) {
			assert_int_equal(vmbus_client_close(w->c, id), 0);
			ch->open = false;
			ch->modifying = false;
			w->closes++;
		}
		break;
	case 6:
		if (ch->open && !ch->modifying && w->version >= VMBUS_V4_1) {
			int ret = vmbus_client_modify(w->c, id, rnd(w, 4));

			/* the answer to one before the last close may be under way */
			assert_true(!ret || ret == -EINVAL);
			ch->modifying = !ret && w->version >= VMBUS_V5_3;
		}
		break;
	}
}

static void deliver(struct world *w, struct fifo *f)
{
	if (!f->count)
		return;
	if (f == &w->to_server) {
		if (vmbus_server_message(w->s, f->msg[f->head].data, f->msg[f->head].len,
					 VMBUS_VIA_MULTI) == -EAGAIN)
			return;
	} else {
		vmbus_client_message(w->c, f->msg[f->head].data, f->msg[f->head].len);
	}
	f->head = (f->head + 1) % FIFO;
	f->count--;
}

static void transport_step(struct world *w)
{
	switch (rnd(w, 4)) {
	case 0: deliver(w, &w->to_server); break;
	case 1: deliver(w, &w->to_client); break;
	case 2: vmbus_server_pump(w->s); break;
	case 3: vmbus_client_pump(w->c); break;
	}
}

/* Everything answered, nothing under way. */
static bool quiet(struct world *w)
{
	if (w->to_server.count || w->to_client.count || vmbus_client_waiting(w->c) ||
	    vmbus_server_waiting(w->s))
		return false;
	for (unsigned i = 0; i < DEVICES; i++) {
		const struct device *d = &w->dev[i];

		if (d->ch && (d->opening || d->closing || d->gpadls || d->torns || d->modifying))
			return false;
	}
	return true;
}

static void settle(struct world *w)
{
	for (unsigned n = 0; !quiet(w); n++) {
		assert_true(n < 1000000);
		transport_step(w);
		device_step(w, &w->dev[rnd(w, DEVICES)], false);
	}
}

static void both_agree(struct world *w)
{
	unsigned gpadls = 0, offered = 0;
	struct vmbus_server_info si;
	struct vmbus_client_info ci;

	for (u16 id = 1; id < CHANS; id++) {
		struct vmbus_channel_info info;
		struct chan *ch = &w->chan[id];

		assert_false(ch->opening || ch->modifying);
		for (unsigned i = 0; i < 4; i++) {
			if (ch->rescinded)
				continue;
			assert_int_not_equal(ch->gstate[i], G_CREATING);
			/* the ring of an open channel is let go with the close */
			assert_true(ch->gstate[i] != G_TEARDOWN || ch->open);
			gpadls += ch->gstate[i] != G_NONE;
		}
		if (!ch->offered)
			continue;
		offered++;
		assert_true(vmbus_server_channel(w->s, id, &info));
		if (!ch->rescinded)
			assert_int_equal(info.is_open, ch->open);
		else
			assert_string_equal(info.state, "revoked");
	}
	vmbus_server_describe(w->s, &si);
	vmbus_client_describe(w->c, &ci);
	assert_int_equal(ci.channels, offered);
	assert_true(si.gpadls >= gpadls);
	assert_int_equal(si.lost, 0);
	assert_int_equal(ci.lost, 0);
	assert_int_equal(ci.dropped, 0);
}

static void run(u32 seed, u32 version, unsigned totals[8])
{
	const struct vmbus_server_config scfg = {.name = "server",
						 .features = VMBUS_F_ALL,
						 .max_version = version,
						 .max_queue = (u16)(8 + seed % 60)};
	struct vmbus_client_config ccfg = {.name = "client",
					   .connection = VMBUS_CONN_VTL2_REDIRECT,
					   .fallback = VMBUS_CONN_MULTI,
					   .features = seed % 2 ? VMBUS_F_PAUSE : VMBUS_F_ALL};
	struct world *w = calloc(1, sizeof(*w));

	w->seed = seed;
	w->version = version;
	w->next_gpadl = 0xe1e10;
	w->to_server.limit = w->to_client.limit = 1 + seed % 5;
	w->s = vmbus_server_new(&scfg, &s_ops, w);
	w->c = vmbus_client_new(&ccfg, &c_ops, w);
	for (unsigned i = 0; i < ARRAY_SIZE(w->page); i++) {
		w->page[i] = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
		memset(w->page[i], 0, PAGE_SIZE);
	}
	for (unsigned i = 0; i < DEVICES; i++) {
		w->dev[i].n = i + 1;
		device_offer(w, &w->dev[i]);
	}
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(vmbus_client_connect(w->c), 0);
		for (unsigned i = 0; i < 4000; i++) {
			client_step(w);
			device_step(w, &w->dev[rnd(w, DEVICES)], true);
			transport_step(w);
			transport_step(w);
		}
		if (w->paused) {
			assert_int_equal(vmbus_client_resume(w->c), 0);
			w->paused = false;
		}
		settle(w);
		if (w->paused) {
			assert_int_equal(vmbus_client_resume(w->c), 0);
			w->paused = false;
			settle(w);
		}
		assert_true(w->up && w->delivered);
		both_agree(w);
		/* in the middle of things again */
		for (unsigned i = 0; i < 300 || w->paused || w->pausing; i++) {
			client_step(w);
			device_step(w, &w->dev[rnd(w, DEVICES)], true);
			transport_step(w);
		}
		w->unloaded = false;
		assert_int_equal(vmbus_client_unload(w->c), 0);
		w->up = false;
		settle(w);
		assert_true(w->unloaded);
		assert_true(vmbus_server_idle(w->s));
		struct vmbus_server_info si;

		vmbus_server_describe(w->s, &si);
		assert_int_equal(si.gpadls, 0);
		for (unsigned i = 0; i < DEVICES; i++)
			assert_false(w->dev[i].is_open || w->dev[i].waiting_release);
	}
	totals[0] += w->connects;
	totals[1] += w->opens;
	totals[2] += w->closes;
	totals[3] += w->torn;
	totals[4] += w->rescinds;
	totals[5] += w->releases;
	totals[6] += w->modified;
	totals[7] += w->pauses;
	vmbus_client_free(w->c);
	vmbus_server_free(w->s);
	for (unsigned i = 0; i < ARRAY_SIZE(w->page); i++)
		free(w->page[i]);
	free(w);
}

static void random_orders(void **state)
{
	static const u32 versions[] = {VMBUS_V6_0, VMBUS_V5_3, VMBUS_V5_0, VMBUS_V4_1, VMBUS_V4_0};
	unsigned totals[8] = {0};

	(void)state;
	log_set_sink(no_log);
	for (u32 seed = 1; seed <= 40; seed++)
		run(seed, versions[seed % ARRAY_SIZE(versions)], totals);
	/* the walk has been everywhere */
	for (unsigned i = 0; i < ARRAY_SIZE(totals); i++)
		assert_true(totals[i] >= 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_orders)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
