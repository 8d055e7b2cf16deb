/*
 * The VMBus server of one guest: connection, offers, channels, GPADLs.
 *
 * Every call from outside is bracketed by enter() and leave(): channels that end inside are freed,
 * and a disconnect that waited for devices goes on, in the outermost leave() only, so that no
 * function sees a channel vanish under its hands.
 */
#include "common/vmbus/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/vmbus/outbox.h"

#define DEFAULT_QUEUE	64
#define RECHECK_MS	100
#define LOGGED_MISTAKES 10  /* per connection */
#define LOGGED_LINES	100 /* in all: a guest may connect again and again */
#define TRANSIENT_FIRST 1024

enum chan_state {
	CH_RELEASED, /* the guest does not know it */
	CH_CLOSED,
	CH_OPENING,
	CH_OPEN,
	CH_CLOSING,
	CH_CLOSING_REOPEN,
	CH_REVOKED, /* no device any more; the guest has not released it */
	CH_HELD,    /* waits for the release of a revoked one with the same key */
	CH_OPENING_RELEASED,
	CH_CLOSING_RELEASED,
	CH_GONE,
};

static const char *const chan_state_name[] = {
	[CH_RELEASED] = "not offered",
	[CH_CLOSED] = "closed",
	[CH_OPENING] = "opening",
	[CH_OPEN] = "open",
	[CH_CLOSING] = "closing",
	[CH_CLOSING_REOPEN] = "closing, reopen",
	[CH_REVOKED] = "revoked",
	[CH_HELD] = "held",
	[CH_OPENING_RELEASED] = "opening, released",
	[CH_CLOSING_RELEASED] = "closing, released",
	[CH_GONE] = "gone",
};

struct vmbus_channel {
	struct vmbus_server *server;
	struct vmbus_channel *next_dead;
	u16 id;
	enum chan_state state;
	bool offered; /* the guest knows it */
	bool reserved_open;
	bool answer_reserved_close;
	bool port_mapped;
	bool modify_busy, modify_again;
	u32 modify_vp, modify_next;
	u32 reserved_vp; /* to answer a reserved open or close */
	u8 reserved_sint;
	unsigned gpadls;
	struct vmbus_offer offer;
	const struct vmbus_device_ops *ops;
	void *dev;
	struct vmbus_open open, reopen;
	u8 **page; /* of both rings */
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	bool rings; /* rx and tx are set up */
	bool recheck;
	u64 signals_in, signals_out;
};

enum conn_state { CONN_NONE, CONN_UP, CONN_ENDING };
enum conn_next { NEXT_NOTHING, NEXT_UNLOADED, NEXT_CONTACT };

static const char *const conn_state_name[] = {
	[CONN_NONE] = "disconnected",
	[CONN_UP] = "connected",
	[CONN_ENDING] = "disconnecting",
};

struct contact {
	struct vmbus_msg_contact msg;
	u8 sint, vtl;
	bool trusted;
};

struct vmbus_server {
	struct vmbus_server_config cfg;
	const struct vmbus_server_ops *ops;
	void *ctx;
	unsigned depth;

	enum conn_state state;
	enum conn_next next;
	struct contact contact; /* of NEXT_CONTACT */
	u32 version, features;
	u32 vp;
	u8 sint;
	bool offers_sent, paused, trusted;
	u64 monitor_p2c, monitor_c2p;
	struct guid client;

	struct vmbus_channel *channel[VMBUS_MAX_CHANNELS];
	struct vmbus_channel *dead;
	unsigned channels;
	u16 transient_hint;
	struct vmbus_gpadls gpadls;
	u32 gpadl_mark;

	struct vmbus_outbox out;
	u32 sendable; /* while paused: so many may still go */

	unsigned mistakes, lines;
	u64 messages_in, messages_out, refused, dropped, lost, contacts;
};

static void channel_gone(struct vmbus_channel *ch);
static bool disconnect_step(struct vmbus_server *s);
static void start_open(struct vmbus_channel *ch, const struct vmbus_open *open);

__attribute__((format(printf, 2, 3))) static void mistake(struct vmbus_server *s, const char *fmt,
							  ...)
{
	char text[160];
	va_list ap;

	s->dropped++;
	if (s->mistakes >= LOGGED_MISTAKES || s->lines >= LOGGED_LINES)
		return;
	s->lines++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("%s: %s%s", s->cfg.name, text,
		 ++s->mistakes == LOGGED_MISTAKES ? " (no more of these are shown)" : "");
}

static void enter(struct vmbus_server *s)
{
	s->depth++;
}

static void leave(struct vmbus_server *s)
{
	if (s->depth > 1) {
		s->depth--;
		return;
	}
	while (disconnect_step(s))
		;
	while (s->dead) {
		struct vmbus_channel *ch = s->dead;

		s->dead = ch->next_dead;
		free(ch->page);
		free(ch);
	}
	s->depth--;
}

/* --- messages to the guest */

static int post(struct vmbus_server *s, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	int ret = s->ops->post(s->ctx, vtl, vp, sint, msg, len);

	if (!ret)
		s->messages_out++;
	else if (ret != -EAGAIN)
		s->lost++;
	return ret;
}

void vmbus_server_pump(struct vmbus_server *s)
{
	while (vmbus_server_waiting(s)) {
		struct vmbus_outmsg m = *vmbus_outbox_first(&s->out);

		if (post(s, m.vtl, m.target, m.sint, m.data, m.len) == -EAGAIN)
			return;
		vmbus_outbox_pop(&s->out);
		if (s->sendable)
			s->sendable--;
	}
}

bool vmbus_server_waiting(const struct vmbus_server *s)
{
	return s->out.len && (!s->paused || s->sendable);
}

static void queue_put(struct vmbus_server *s, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	if (!vmbus_outbox_put(&s->out, vp, vtl, sint, msg, len))
		s->lost++;
}

/* What a guest that has left would have got; only answers about reserved channels outlive it. */
static void queue_drop(struct vmbus_server *s, bool all)
{
	s->sendable = 0;
	for (u32 n = s->out.len; n; n--) {
		struct vmbus_outmsg m = *vmbus_outbox_first(&s->out);
		struct vmbus_msg_header hdr;

		vmbus_outbox_pop(&s->out);
		memcpy(&hdr, m.data, sizeof(hdr));
		if (!all && hdr.type == VMBUS_MSG_CLOSE_RESERVED_RESPONSE)
			queue_put(s, m.vtl, m.target, m.sint, m.data, m.len);
	}
}

static void send_to(struct vmbus_server *s, u32 vp, u8 sint, const void *msg, size_t len)
{
	u8 vtl = s->cfg.vtl;

	if (s->cfg.post_sint) {
		vtl = s->cfg.post_vtl;
		vp = 0;
		sint = s->cfg.post_sint;
	}
	if (!s->out.len && !s->paused && post(s, vtl, vp, sint, msg, len) != -EAGAIN)
		return;
	queue_put(s, vtl, vp, sint, msg, len);
}

static void send(struct vmbus_server *s, const void *msg, size_t len)
{
	send_to(s, s->vp, s->sint, msg, len);
}

static void send_channel(struct vmbus_server *s, u32 type, u32 channel)
{
	struct vmbus_msg_channel msg = {{type, 0}, channel};

	send(s, &msg, sizeof(msg));
}

static void send_plain(struct vmbus_server *s, u32 type)
{
	struct vmbus_msg_header msg = {type, 0};

	send(s, &msg, sizeof(msg));
}

static void send_gpadl_created(struct vmbus_server *s, u32 channel, u32 gpadl, u32 status)
{
	struct vmbus_msg_gpadl_created msg = {{VMBUS_MSG_GPADL_CREATED, 0}, channel, gpadl, status};

	send(s, &msg, sizeof(msg));
}

static void send_gpadl_torndown(struct vmbus_server *s, u32 gpadl)
{
	struct vmbus_msg_gpadl_torndown msg = {{VMBUS_MSG_GPADL_TORNDOWN, 0}, gpadl};

	send(s, &msg, sizeof(msg));
}

static void send_open_result(struct vmbus_channel *ch, const struct vmbus_open *open, u32 status)
{
	struct vmbus_msg_open_result msg = {
		{VMBUS_MSG_OPEN_RESULT, 0},
		ch->id,
		open->open_id,
		status,
	};

	if (open->reserved)
		send_to(ch->server, ch->reserved_vp, ch->reserved_sint, &msg, sizeof(msg));
	else
		send(ch->server, &msg, sizeof(msg));
}

static void send_offer(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_msg_offer msg = {
		.hdr = {VMBUS_MSG_OFFER, 0},
		.interface = ch->offer.interface,
		.instance = ch->offer.instance,
		.flags = ch->offer.flags,
		.mmio_mb = ch->offer.mmio_mb,
		.subchannel = ch->offer.subchannel,
		.channel = ch->id,
		.monitor_id = 0xff,
		.dedicated = 1,
		.connection = VMBUS_EVENT_CONN(s->cfg.vtl, s->cfg.sint, ch->id),
	};

	if (!(s->features & VMBUS_F_CONFIDENTIAL))
		msg.flags &= (u16) ~(VMBUS_OFFER_CONFIDENTIAL_RING |
				     VMBUS_OFFER_CONFIDENTIAL_EXTERNAL);
	/* Linux loses count of its offers when external comes without ring */
	if (!(msg.flags & VMBUS_OFFER_CONFIDENTIAL_RING))
		msg.flags &= (u16)~VMBUS_OFFER_CONFIDENTIAL_EXTERNAL;
	if (!(s->features & VMBUS_F_PINNING))
		msg.flags &= (u16)~VMBUS_OFFER_PINNED;
	memcpy(msg.user, ch->offer.user, sizeof(msg.user));
	ch->offered = true;
	send(s, &msg, sizeof(msg));
}

/* --- rings and ports of a channel */

static void unmap(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;

	if (ch->port_mapped && s->ops->unmap_port)
		s->ops->unmap_port(s->ctx, ch->open.connection);
	ch->port_mapped = false;
	free(ch->page);
	ch->page = NULL;
	ch->rings = false;
	ch->recheck = false;
	ch->modify_busy = ch->modify_again = false;
}

static bool map_rings(struct vmbus_channel *ch, const struct vmbus_gpadl_view *view)
{
	struct vmbus_server *s = ch->server;
	u32 downstream = ch->open.downstream;

	if (!s->ops->page)
		return false;
	ch->page = calloc(view->pages, sizeof(*ch->page));
	if (!ch->page)
		return false;
	for (u32 i = 0; i < view->pages; i++) {
		ch->page[i] = s->ops->page(s->ctx, view->pfn[i]);
		if (!ch->page[i]) {
			mistake(s, "channel %u: page %#llx of its ring is no memory", ch->id,
				(unsigned long long)view->pfn[i]);
			return false;
		}
	}
	ch->rings = vmbus_rx_init(&ch->rx, ch->page, downstream) &&
		    vmbus_tx_init(&ch->tx, ch->page + downstream, view->pages - downstream);
	return ch->rings;
}

static bool connection_taken(const struct vmbus_server *s, u32 connection)
{
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		const struct vmbus_channel *ch = s->channel[i];

		if (ch && ch->port_mapped && ch->open.connection == connection)
			return true;
	}
	return false;
}

/* Ids that a guest may choose for its signals: those of channels, not the message ports. */
static bool connection_allowed(u32 connection)
{
	u32 id = connection & 0xfff, sint = connection >> 12 & 0xf, vtl = connection >> 16;

	return id && id < VMBUS_MAX_CHANNELS && vtl <= 2 &&
	       (sint == VMBUS_SINT || sint == VMBUS_REDIRECT_SINT);
}

/* --- GPADLs of a channel */

static void gpadl_drop(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	ch->gpadls--;
	vmbus_gpadl_free(&ch->server->gpadls, g);
}

static bool ring_in_use(const struct vmbus_channel *ch, u32 gpadl)
{
	switch (ch->state) {
	case CH_OPENING:
	case CH_OPEN:
	case CH_CLOSING:
	case CH_CLOSING_REOPEN:
	case CH_OPENING_RELEASED:
	case CH_CLOSING_RELEASED: return ch->open.gpadl == gpadl;
	default: return false;
	}
}

/* Asks the device to let go, unless its open rings still lie there. */
static void gpadl_try_teardown(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	if (g->asked || ring_in_use(ch, g->id))
		return;
	g->asked = true;
	if (ch->ops->gpadl_teardown)
		ch->ops->gpadl_teardown(ch->dev, ch, g->id);
	else
		vmbus_channel_gpadl_torn_down(ch, g->id);
}

/*
 * Calls fn once for each. Devices that fn asks may let go of any of them, or of the channel, so the
 * search starts anew after each call; marks tell what was seen.
 */
static void for_each_gpadl(struct vmbus_channel *ch,
			   void (*fn)(struct vmbus_channel *ch, struct vmbus_gpadl *g))
{
	struct vmbus_server *s = ch->server;
	u32 mark = ++s->gpadl_mark;

	for (unsigned i = 0; i < GPADL_BUCKETS && ch->gpadls && ch->state != CH_GONE; i++) {
		struct vmbus_gpadl *g = s->gpadls.bucket[i];

		while (g) {
			if (g->channel != ch->id || g->mark == mark) {
				g = g->next;
				continue;
			}
			g->mark = mark;
			fn(ch, g);
			if (ch->state == CH_GONE)
				break;
			g = s->gpadls.bucket[i];
		}
	}
}

static void gpadl_release(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	g->announce = false;
	switch (g->state) {
	case GPADL_IN_PROGRESS: gpadl_drop(ch, g); break;
	case GPADL_OFFERED: g->state = GPADL_OFFERED_TEARING_DOWN; break;
	case GPADL_ACCEPTED:
		g->state = GPADL_TEARING_DOWN;
		gpadl_try_teardown(ch, g);
		break;
	case GPADL_TEARING_DOWN:
	case GPADL_OFFERED_TEARING_DOWN: break;
	}
}

static void gpadl_revoke(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	switch (g->state) {
	case GPADL_OFFERED:
		send_gpadl_created(ch->server, ch->id, g->id, VMBUS_STATUS_FAILED);
		gpadl_drop(ch, g);
		break;
	case GPADL_TEARING_DOWN:
		if (g->announce)
			send_gpadl_torndown(ch->server, g->id);
		gpadl_drop(ch, g);
		break;
	case GPADL_OFFERED_TEARING_DOWN: gpadl_drop(ch, g); break;
	/* the guest's to unwind */
	case GPADL_IN_PROGRESS:
	case GPADL_ACCEPTED: break;
	}
}

static void gpadl_resume_teardown(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	if (g->state == GPADL_TEARING_DOWN)
		gpadl_try_teardown(ch, g);
}

static void gpadl_complete(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	if (ch->state == CH_REVOKED) {
		g->state = GPADL_ACCEPTED;
		send_gpadl_created(ch->server, ch->id, g->id, VMBUS_STATUS_SUCCESS);
	} else if (ch->ops->gpadl) {
		ch->ops->gpadl(ch->dev, ch, g);
	} else {
		vmbus_channel_gpadl_done(ch, g->id, VMBUS_STATUS_SUCCESS);
	}
}

void vmbus_channel_gpadl_done(struct vmbus_channel *ch, u32 gpadl, u32 status)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_gpadl *g = vmbus_gpadl_find(&s->gpadls, gpadl, ch->id);

	if (!g)
		return;
	enter(s);
	if (g->state == GPADL_OFFERED) {
		send_gpadl_created(s, ch->id, gpadl, status);
		if (status)
			gpadl_drop(ch, g);
		else
			g->state = GPADL_ACCEPTED;
	} else if (g->state == GPADL_OFFERED_TEARING_DOWN) {
		if (status) {
			gpadl_drop(ch, g);
		} else {
			g->state = GPADL_TEARING_DOWN;
			gpadl_try_teardown(ch, g);
		}
	}
	leave(s);
}

void vmbus_channel_gpadl_torn_down(struct vmbus_channel *ch, u32 gpadl)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_gpadl *g = vmbus_gpadl_find(&s->gpadls, gpadl, ch->id);

	if (!g || g->state != GPADL_TEARING_DOWN || !g->asked)
		return;
	enter(s);
	if (g->announce)
		send_gpadl_torndown(s, gpadl);
	gpadl_drop(ch, g);
	leave(s);
}

const struct vmbus_gpadl *vmbus_channel_gpadl(struct vmbus_channel *ch, u32 id)
{
	const struct vmbus_gpadl *g = vmbus_gpadl_find(&ch->server->gpadls, id, ch->id);

	return g && g->state == GPADL_ACCEPTED ? g : NULL;
}

/* --- channel states */

static void gpadl_free_one(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	gpadl_drop(ch, g);
}

static bool same_device(const struct vmbus_offer *a, const struct vmbus_offer *b)
{
	return guid_equal(&a->interface, &b->interface) && guid_equal(&a->instance, &b->instance);
}

/* A channel that neither device nor guest knows any more. */
static void channel_gone(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;

	for_each_gpadl(ch, gpadl_free_one);
	unmap(ch);
	ch->state = CH_GONE;
	ch->next_dead = s->dead;
	s->dead = ch;
	s->channel[ch->id] = NULL;
	s->channels--;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel *held = s->channel[i];

		if (!held || held->state != CH_HELD || !same_device(&held->offer, &ch->offer) ||
		    held->offer.subchannel != ch->offer.subchannel)
			continue;
		held->state = CH_RELEASED;
		if (s->state == CONN_UP && s->offers_sent) {
			held->state = CH_CLOSED;
			send_offer(held);
		}
	}
	if (ch->ops->released)
		ch->ops->released(ch->dev);
}

/* Rings are no longer in use; the channel is closed for the guest, or the guest has gone. */
static void channel_closed(struct vmbus_channel *ch)
{
	unmap(ch);
	ch->reserved_open = false;
	ch->state = ch->offered ? CH_CLOSED : CH_RELEASED;
	for_each_gpadl(ch, ch->offered ? gpadl_resume_teardown : gpadl_release);
	if (!ch->offered)
		for_each_gpadl(ch, gpadl_resume_teardown);
}

static void start_close(struct vmbus_channel *ch, enum chan_state state)
{
	ch->state = state;
	if (ch->ops->close)
		ch->ops->close(ch->dev, ch);
	else
		vmbus_channel_close_done(ch);
}

static void send_modified(struct vmbus_channel *ch, u32 status)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_msg_modify_response msg = {
		{VMBUS_MSG_MODIFY_RESPONSE, 0},
		ch->id,
		status,
	};

	if (s->state == CONN_UP && s->version >= VMBUS_V5_3 && ch->offered)
		send(s, &msg, sizeof(msg));
}

/* The channel ends before the device has answered. */
static void fail_modify(struct vmbus_channel *ch)
{
	if (ch->modify_busy)
		send_modified(ch, VMBUS_STATUS_FAILED);
	ch->modify_busy = ch->modify_again = false;
}

void vmbus_channel_close_done(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;
	bool reopen = ch->state == CH_CLOSING_REOPEN;

	if (ch->state != CH_CLOSING && ch->state != CH_CLOSING_REOPEN &&
	    ch->state != CH_CLOSING_RELEASED)
		return;
	enter(s);
	fail_modify(ch);
	channel_closed(ch);
	if (ch->answer_reserved_close) {
		struct vmbus_msg_channel msg = {{VMBUS_MSG_CLOSE_RESERVED_RESPONSE, 0}, ch->id};

		ch->answer_reserved_close = false;
		send_to(s, ch->reserved_vp, ch->reserved_sint, &msg, sizeof(msg));
	}
	if (reopen && ch->state == CH_CLOSED) {
		struct vmbus_open open = ch->reopen;

		start_open(ch, &open);
	}
	leave(s);
}

/* The guest lets go of a channel that still has a device. */
static void channel_release(struct vmbus_channel *ch)
{
	bool was_offered = ch->offered;

	ch->offered = false;
	switch (ch->state) {
	case CH_RELEASED:
	case CH_HELD:
	case CH_GONE:
	case CH_OPENING_RELEASED:
	case CH_CLOSING_RELEASED: break;
	case CH_CLOSED: ch->state = CH_RELEASED; break;
	case CH_OPENING: ch->state = CH_OPENING_RELEASED; break;
	case CH_OPEN: start_close(ch, CH_CLOSING_RELEASED); break;
	case CH_CLOSING:
	case CH_CLOSING_REOPEN: ch->state = CH_CLOSING_RELEASED; break;
	case CH_REVOKED: channel_gone(ch); return;
	}
	if (was_offered || ch->gpadls)
		for_each_gpadl(ch, gpadl_release);
}

static bool map_open(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_open *open = &ch->open;
	struct vmbus_gpadl_view view;
	struct vmbus_gpadl *g;

	if (open->target_vp != VMBUS_VP_INTERRUPT_DISABLED && s->cfg.vps &&
	    open->target_vp >= s->cfg.vps) {
		mistake(s, "open of channel %u for VP %u", ch->id, open->target_vp);
		return false;
	}
	if (!open->event_flag || open->event_flag >= VMBUS_MAX_CHANNELS ||
	    !connection_allowed(open->connection) || connection_taken(s, open->connection)) {
		mistake(s, "open of channel %u with event flag %u, connection %#x", ch->id,
			open->event_flag, open->connection);
		return false;
	}
	g = vmbus_gpadl_find(&s->gpadls, open->gpadl, ch->id);
	if (!g || g->state != GPADL_ACCEPTED || !vmbus_gpadl_is_ring(g, &view) ||
	    !open->downstream || open->downstream >= view.pages) {
		mistake(s, "open of channel %u with GPADL %#x as ring, page %u", ch->id,
			open->gpadl, open->downstream);
		return false;
	}
	if (!ch->offer.no_map && !map_rings(ch, &view)) {
		mistake(s, "open of channel %u with a bad ring", ch->id);
		return false;
	}
	if (s->ops->map_port && s->ops->map_port(s->ctx, open->connection, ch)) {
		mistake(s, "open of channel %u: connection %#x refused", ch->id, open->connection);
		return false;
	}
	ch->port_mapped = true;
	return true;
}

static void start_open(struct vmbus_channel *ch, const struct vmbus_open *open)
{
	ch->open = *open;
	if (!map_open(ch)) {
		unmap(ch);
		send_open_result(ch, open, VMBUS_STATUS_FAILED);
		return;
	}
	ch->state = CH_OPENING;
	ch->reserved_open = open->reserved;
	if (ch->ops->open)
		ch->ops->open(ch->dev, ch, &ch->open);
	else
		vmbus_channel_open_done(ch, VMBUS_STATUS_SUCCESS);
}

void vmbus_channel_open_done(struct vmbus_channel *ch, u32 status)
{
	struct vmbus_server *s = ch->server;

	if (ch->state != CH_OPENING && ch->state != CH_OPENING_RELEASED)
		return;
	enter(s);
	if (ch->state == CH_OPENING) {
		if (status) {
			channel_closed(ch);
		} else {
			ch->state = CH_OPEN;
			ch->recheck = ch->rings;
			if (ch->rings && s->ops->timer)
				s->ops->timer(s->ctx, RECHECK_MS);
		}
		send_open_result(ch, &ch->open, status);
	} else if (status) {
		channel_closed(ch);
	} else {
		start_close(ch, CH_CLOSING_RELEASED);
	}
	leave(s);
}

void vmbus_server_timer(struct vmbus_server *s)
{
	enter(s);
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel *ch = s->channel[i];

		if (!ch || !ch->recheck)
			continue;
		ch->recheck = false;
		if (ch->rings && vmbus_ring_recheck(&ch->rx, &ch->tx))
			vmbus_channel_signal(ch);
	}
	leave(s);
}

void vmbus_channel_modify_done(struct vmbus_channel *ch, u32 status)
{
	struct vmbus_server *s = ch->server;

	if (!ch->modify_busy)
		return;
	enter(s);
	ch->modify_busy = false;
	if (!status)
		__atomic_store_n(&ch->open.target_vp, ch->modify_vp, __ATOMIC_RELEASE);
	send_modified(ch, status);
	if (ch->modify_again) {
		ch->modify_again = false;
		ch->modify_busy = true;
		ch->modify_vp = ch->modify_next;
		if (ch->ops->modify)
			ch->ops->modify(ch->dev, ch, ch->modify_vp);
		else
			vmbus_channel_modify_done(ch, VMBUS_STATUS_SUCCESS);
	}
	leave(s);
}

/* --- offers */

static u16 free_id(struct vmbus_server *s, const struct vmbus_offer *offer)
{
	u16 first = s->cfg.first_channel;

	if (offer->channel)
		return offer->channel >= VMBUS_MAX_CHANNELS || s->channel[offer->channel]
			       ? 0
			       : offer->channel;
	if (offer->transient) {
		/* not the one used last: what the guest still sends for that must miss */
		for (unsigned i = 0; i < VMBUS_MAX_CHANNELS - TRANSIENT_FIRST; i++) {
			u16 id = s->transient_hint++;

			if (s->transient_hint >= VMBUS_MAX_CHANNELS)
				s->transient_hint = TRANSIENT_FIRST;
			if (id >= first && !s->channel[id])
				return id;
		}
		return 0;
	}
	for (u16 id = first; id < VMBUS_MAX_CHANNELS; id++) {
		if (!s->channel[id])
			return id;
	}
	return 0;
}

struct vmbus_channel *vmbus_server_offer(struct vmbus_server *s, const struct vmbus_offer *offer,
					 const struct vmbus_device_ops *ops, void *dev)
{
	bool held = false;
	struct vmbus_channel *ch;
	u16 id;

	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		const struct vmbus_channel *other = s->channel[i];

		if (!other || !same_device(&other->offer, offer) ||
		    other->offer.subchannel != offer->subchannel)
			continue;
		if (other->state != CH_REVOKED)
			return NULL;
		held = true;
	}
	id = free_id(s, offer);
	ch = id ? calloc(1, sizeof(*ch)) : NULL;
	if (!ch)
		return NULL;
	enter(s);
	ch->server = s;
	ch->id = id;
	ch->offer = *offer;
	if (!ch->offer.name)
		ch->offer.name = "device";
	ch->ops = ops;
	ch->dev = dev;
	ch->state = held ? CH_HELD : CH_RELEASED;
	s->channel[id] = ch;
	s->channels++;
	if (!held && s->state == CONN_UP && s->offers_sent) {
		ch->state = CH_CLOSED;
		send_offer(ch);
	}
	leave(s);
	return ch;
}

void vmbus_channel_revoke(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;

	if (ch->state == CH_REVOKED || ch->state == CH_GONE)
		return;
	enter(s);
	if (!ch->offer.subchannel) {
		for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
			struct vmbus_channel *sub = s->channel[i];

			if (sub && sub->offer.subchannel && same_device(&sub->offer, &ch->offer))
				vmbus_channel_revoke(sub);
		}
	}
	for_each_gpadl(ch, gpadl_revoke);
	fail_modify(ch);
	unmap(ch);
	if (!ch->offered || s->state != CONN_UP) {
		channel_gone(ch);
	} else {
		ch->state = CH_REVOKED;
		ch->reserved_open = false;
		send_channel(s, VMBUS_MSG_RESCIND, ch->id);
	}
	leave(s);
}

/* --- connection */

static const u32 versions[] = {
	VMBUS_V3_0, VMBUS_V4_0, VMBUS_V4_1, VMBUS_V5_0,
	VMBUS_V5_1, VMBUS_V5_2, VMBUS_V5_3, VMBUS_V6_0,
};

static bool version_known(u32 version)
{
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++) {
		if (versions[i] == version)
			return true;
	}
	return false;
}

static bool monitor_pages_valid(u64 p2c, u64 c2p)
{
	return !p2c == !c2p && p2c % PAGE_SIZE == 0 && c2p % PAGE_SIZE == 0;
}

static void negotiate(struct vmbus_server *s)
{
	const struct contact *c = &s->contact;
	struct vmbus_msg_version msg = {.hdr = {VMBUS_MSG_VERSION_RESPONSE, 0}};
	u32 version = c->msg.version, vp = version >= VMBUS_V3_0 ? c->msg.target_vp : 0;
	bool vp_ok = !s->cfg.vps || vp < s->cfg.vps;
	size_t len = VMBUS_VERSION_V1_SIZE;

	s->vp = vp_ok ? vp : 0;
	s->sint = c->sint < 16 ? c->sint : s->cfg.sint;
	s->contacts++;
	if (!version_known(version) || version > s->cfg.max_version || c->sint != s->cfg.sint ||
	    c->vtl != s->cfg.vtl || !vp_ok) {
		if (s->lines++ < LOGGED_LINES)
			log_info("%s: version %u.%u for VTL%u, SINT%u, VP %u: not supported",
				 s->cfg.name, version >> 16, version & 0xffff, c->vtl, c->sint, vp);
		send(s, &msg, len);
		s->sint = s->cfg.sint;
		return;
	}
	msg.supported = 1;
	msg.connection = version >= VMBUS_V5_0 ? s->cfg.connection : version;
	if (version >= VMBUS_V6_0) {
		len = VMBUS_VERSION_V2_SIZE;
		msg.features = c->msg.features & s->cfg.features & ~VMBUS_F_SERVER_MONITOR;
		if (!c->trusted)
			msg.features &= ~VMBUS_F_CONFIDENTIAL;
	}
	if (!monitor_pages_valid(c->msg.monitor_p2c, c->msg.monitor_c2p)) {
		msg.state = VMBUS_CONN_STATE_FAILED;
		send(s, &msg, len);
		return;
	}
	s->state = CONN_UP;
	s->version = version;
	s->features = msg.features;
	s->trusted = c->trusted;
	s->offers_sent = false;
	s->monitor_p2c = c->msg.monitor_p2c;
	s->monitor_c2p = c->msg.monitor_c2p;
	s->client = s->features & VMBUS_F_CLIENT_ID ? c->msg.client_id : (struct guid){0};
	s->mistakes = 0;
	if (s->ops->monitor)
		s->ops->monitor(s->ctx, s->monitor_p2c, s->monitor_c2p);
	if (s->ops->connection)
		s->ops->connection(s->ctx, version);
	send(s, &msg, len);
}

static bool channel_idle(const struct vmbus_channel *ch)
{
	if (ch->reserved_open && ch->state == CH_OPEN)
		return true;
	return (ch->state == CH_RELEASED || ch->state == CH_HELD) && !ch->gpadls;
}

bool vmbus_server_idle(const struct vmbus_server *s)
{
	return s->state == CONN_NONE;
}

/* Ends a disconnect when no device owes an answer; true: it did. */
static bool disconnect_step(struct vmbus_server *s)
{
	enum conn_next next = s->next;

	if (s->state != CONN_ENDING)
		return false;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		if (s->channel[i] && !channel_idle(s->channel[i]))
			return false;
	}
	s->state = CONN_NONE;
	s->next = NEXT_NOTHING;
	if (next == NEXT_UNLOADED)
		send_plain(s, VMBUS_MSG_UNLOAD_COMPLETE);
	else if (next == NEXT_CONTACT)
		negotiate(s);
	return true;
}

static void disconnect(struct vmbus_server *s, enum conn_next next, bool reset)
{
	bool was_up = s->state == CONN_UP;

	s->state = CONN_ENDING;
	s->next = next;
	s->version = s->features = 0;
	s->offers_sent = s->paused = s->trusted = false;
	queue_drop(s, reset);
	if (was_up && s->ops->monitor && (s->monitor_p2c || s->monitor_c2p))
		s->ops->monitor(s->ctx, 0, 0);
	s->monitor_p2c = s->monitor_c2p = 0;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel *ch = s->channel[i];

		if (!ch)
			continue;
		if (ch->reserved_open && !reset)
			ch->offered = false;
		else
			channel_release(ch);
	}
	if (was_up && s->ops->connection)
		s->ops->connection(s->ctx, 0);
}

void vmbus_server_reset(struct vmbus_server *s)
{
	enter(s);
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		if (s->channel[i])
			s->channel[i]->answer_reserved_close = false;
	}
	disconnect(s, NEXT_NOTHING, true);
	leave(s);
}

static bool contact_read(const void *msg, size_t len, unsigned via, u8 default_sint,
			 struct contact *c)
{
	*c = (struct contact){.sint = default_sint};
	if (len < VMBUS_CONTACT_V1_SIZE)
		return false;
	memcpy(&c->msg, msg, MIN(len, sizeof(c->msg)));
	if (c->msg.version < VMBUS_V6_0)
		c->msg.features = 0;
	if (via & VMBUS_VIA_MULTI) {
		if (c->msg.version >= VMBUS_V5_0)
			c->sint = c->msg.target_sint;
		if (c->msg.version >= VMBUS_V5_1)
			c->vtl = c->msg.target_vtl;
	}
	c->trusted = via & VMBUS_VIA_TRUSTED;
	return true;
}

int vmbus_contact_vtl(const void *msg, size_t len, unsigned via)
{
	struct vmbus_msg_header hdr;
	struct contact c;

	if (len < sizeof(hdr))
		return -1;
	memcpy(&hdr, msg, sizeof(hdr));
	if (hdr.type != VMBUS_MSG_INITIATE_CONTACT || !contact_read(msg, len, via, VMBUS_SINT, &c))
		return -1;
	return c.vtl;
}

/* --- messages of the guest */

struct in {
	const void *msg;
	size_t len;
	unsigned via;
};

static void on_contact(struct vmbus_server *s, const struct in *in)
{
	struct contact c;

	contact_read(in->msg, in->len, in->via, s->cfg.sint, &c);
	if (c.msg.features & VMBUS_F_CLIENT_ID && in->len < sizeof(c.msg)) {
		mistake(s, "contact without its client id");
		return;
	}
	s->contact = c;
	disconnect(s, NEXT_CONTACT, false);
}

static void on_unload(struct vmbus_server *s, const struct in *in)
{
	(void)in;
	disconnect(s, NEXT_UNLOADED, false);
}

static void on_request_offers(struct vmbus_server *s, const struct in *in)
{
	(void)in;
	if (s->offers_sent) {
		mistake(s, "second request of offers");
		return;
	}
	s->offers_sent = true;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel *ch = s->channel[i];

		if (!ch)
			continue;
		if (ch->state == CH_RELEASED)
			ch->state = CH_CLOSED;
		else if (!ch->reserved_open)
			continue;
		send_offer(ch);
	}
	send_plain(s, VMBUS_MSG_ALL_OFFERS_DELIVERED);
}

/* The channel that a message names, if the guest has been told of it. */
static struct vmbus_channel *offered_channel(struct vmbus_server *s, u32 id, const char *what)
{
	struct vmbus_channel *ch = id < VMBUS_MAX_CHANNELS ? s->channel[id] : NULL;

	if (!ch || !ch->offered) {
		mistake(s, "%s of channel %u, which is not offered", what, id);
		return NULL;
	}
	return ch;
}

static void on_open(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_open msg = {0};
	struct vmbus_channel *ch;
	struct vmbus_open open;
	bool v2 = s->features & (VMBUS_F_SIGNAL_PARAMS | VMBUS_F_REDIRECT);

	if (v2 && in->len < sizeof(msg)) {
		mistake(s, "open message is too short");
		return;
	}
	memcpy(&msg, in->msg, v2 ? sizeof(msg) : VMBUS_OPEN_V1_SIZE);
	ch = offered_channel(s, msg.channel, "open");
	if (!ch || ch->state == CH_REVOKED)
		return;
	open = (struct vmbus_open){
		.open_id = msg.open_id,
		.gpadl = msg.gpadl,
		.target_vp = msg.target_vp,
		.downstream = msg.downstream,
		.connection = VMBUS_EVENT_CONN(s->cfg.vtl, s->cfg.sint, ch->id),
		.event_flag = ch->id,
	};
	memcpy(open.user, msg.user, sizeof(open.user));
	if (s->features & VMBUS_F_SIGNAL_PARAMS) {
		open.connection = msg.connection;
		open.event_flag = msg.event_flag;
	}
	if (s->features & VMBUS_F_REDIRECT)
		open.redirect = msg.flags & VMBUS_OPEN_REDIRECT;
	if (ch->state == CH_CLOSED) {
		start_open(ch, &open);
	} else if (ch->state == CH_CLOSING && !ch->reserved_open) {
		ch->reopen = open;
		ch->state = CH_CLOSING_REOPEN;
	} else {
		mistake(s, "open of channel %u, which is %s", ch->id, chan_state_name[ch->state]);
	}
}

static void on_close(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_channel msg;
	struct vmbus_channel *ch;

	memcpy(&msg, in->msg, sizeof(msg));
	ch = offered_channel(s, msg.channel, "close");
	if (!ch || ch->state == CH_REVOKED)
		return;
	if (ch->state == CH_OPEN && !ch->reserved_open)
		start_close(ch, CH_CLOSING);
	else
		mistake(s, "close of channel %u, which is %s", ch->id, chan_state_name[ch->state]);
}

static void gpadl_result(struct vmbus_server *s, enum vmbus_gpadl_result result,
			 struct vmbus_channel *ch, struct vmbus_gpadl *g, u32 id, u32 channel)
{
	switch (result) {
	case GPADL_MORE: break;
	case GPADL_COMPLETE: gpadl_complete(ch, g); break;
	case GPADL_FAILED:
		mistake(s, "GPADL %#x of channel %u is malformed, known, or too much", id, channel);
		send_gpadl_created(s, channel, id, VMBUS_STATUS_FAILED);
		break;
	case GPADL_IGNORED: break; /* too short, which was checked */
	}
}

static void on_gpadl_header(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_gpadl_header head;
	enum vmbus_gpadl_result result;
	struct vmbus_gpadl *g = NULL;
	struct vmbus_channel *ch;
	u32 id = 0, channel = 0;

	memcpy(&head, in->msg, sizeof(head));
	ch = offered_channel(s, head.channel, "GPADL");
	if (!ch || ch->reserved_open) {
		send_gpadl_created(s, head.channel, head.gpadl, VMBUS_STATUS_FAILED);
		return;
	}
	result = vmbus_gpadl_header(&s->gpadls, in->msg, in->len, &g, &id, &channel);
	if (result == GPADL_MORE || result == GPADL_COMPLETE)
		ch->gpadls++;
	gpadl_result(s, result, ch, g, id, channel);
}

static void on_gpadl_body(struct vmbus_server *s, const struct in *in)
{
	enum vmbus_gpadl_result result;
	struct vmbus_gpadl *g = NULL;
	struct vmbus_channel *ch;
	u32 id = 0, channel = 0;

	result = vmbus_gpadl_body(&s->gpadls, in->msg, in->len, &g, &id, &channel);
	if (result == GPADL_IGNORED) {
		mistake(s, "part of an unknown GPADL");
		return;
	}
	/* a list in progress goes with its channel, so there is one */
	ch = s->channel[channel];
	if (result == GPADL_FAILED)
		ch->gpadls--;
	gpadl_result(s, result, ch, g, id, channel);
}

static void on_gpadl_teardown(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_gpadl_teardown msg;
	struct vmbus_channel *ch;
	struct vmbus_gpadl *g;

	memcpy(&msg, in->msg, sizeof(msg));
	ch = offered_channel(s, msg.channel, "GPADL teardown");
	if (!ch)
		return;
	g = vmbus_gpadl_find(&s->gpadls, msg.gpadl, msg.channel);
	if (ch->reserved_open || !g || g->state != GPADL_ACCEPTED) {
		/* of a revoked channel it may have been answered before */
		if (ch->state != CH_REVOKED)
			mistake(s, "teardown of GPADL %#x of channel %u", msg.gpadl, msg.channel);
		return;
	}
	if (ch->state == CH_REVOKED) {
		send_gpadl_torndown(s, g->id);
		gpadl_drop(ch, g);
		return;
	}
	g->state = GPADL_TEARING_DOWN;
	g->announce = true;
	gpadl_try_teardown(ch, g);
}

static void on_released(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_channel msg;
	struct vmbus_channel *ch;

	memcpy(&msg, in->msg, sizeof(msg));
	ch = offered_channel(s, msg.channel, "release");
	if (!ch)
		return;
	if (ch->state == CH_REVOKED)
		channel_gone(ch);
	else if (!ch->reserved_open && (ch->state == CH_CLOSED || ch->state == CH_CLOSING))
		channel_release(ch);
	else
		mistake(s, "release of channel %u, which is %s", ch->id,
			chan_state_name[ch->state]);
}

static void on_open_reserved(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_open_reserved msg;
	struct vmbus_channel *ch;
	struct vmbus_open open;

	memcpy(&msg, in->msg, sizeof(msg));
	ch = offered_channel(s, msg.channel, "reserved open");
	if (!ch || ch->state == CH_REVOKED)
		return;
	if (ch->state != CH_CLOSED || msg.target_sint >= 16 ||
	    (s->cfg.vps && msg.target_vp >= s->cfg.vps)) {
		mistake(s, "reserved open of channel %u, which is %s", ch->id,
			chan_state_name[ch->state]);
		return;
	}
	ch->reserved_vp = msg.target_vp;
	ch->reserved_sint = (u8)msg.target_sint;
	open = (struct vmbus_open){
		.gpadl = msg.gpadl,
		.target_vp = VMBUS_VP_INTERRUPT_DISABLED,
		.downstream = msg.downstream,
		.connection = VMBUS_EVENT_CONN(s->cfg.vtl, s->cfg.sint, ch->id),
		.event_flag = ch->id,
		.reserved = true,
		.reserved_sint = (u8)msg.target_sint,
	};
	start_open(ch, &open);
}

static void on_close_reserved(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_close_reserved msg;
	struct vmbus_channel *ch;

	memcpy(&msg, in->msg, sizeof(msg));
	ch = msg.channel < VMBUS_MAX_CHANNELS ? s->channel[msg.channel] : NULL;
	if (!ch || ch->state != CH_OPEN || !ch->reserved_open || msg.target_sint >= 16 ||
	    (s->cfg.vps && msg.target_vp >= s->cfg.vps)) {
		mistake(s, "reserved close of channel %u", msg.channel);
		return;
	}
	ch->reserved_vp = msg.target_vp;
	ch->reserved_sint = (u8)msg.target_sint;
	ch->answer_reserved_close = true;
	start_close(ch, CH_CLOSING);
}

static void on_tl_connect(struct vmbus_server *s, const struct in *in)
{
	struct guid guid[3] = {0}; /* endpoint, service, silo */
	size_t len = sizeof(struct vmbus_msg_tl_connect);

	if (s->version < VMBUS_V5_2 || in->len < len)
		len = VMBUS_TL_CONNECT_V1_SIZE;
	memcpy(guid, (const u8 *)in->msg + sizeof(struct vmbus_msg_header),
	       len - sizeof(struct vmbus_msg_header));
	if (s->ops->tl_connect && s->offers_sent)
		s->ops->tl_connect(s->ctx, &guid[0], &guid[1], &guid[2]);
	else
		vmbus_server_tl_result(s, &guid[0], &guid[1], VMBUS_STATUS_CONN_REFUSED);
}

void vmbus_server_tl_result(struct vmbus_server *s, const struct guid *endpoint,
			    const struct guid *service, u32 status)
{
	struct vmbus_msg_tl_result msg = {
		{VMBUS_MSG_TL_CONNECT_RESULT, 0},
		*endpoint,
		*service,
		status,
	};

	if (s->state != CONN_UP || s->version < VMBUS_V4_1)
		return;
	enter(s);
	send(s, &msg, sizeof(msg));
	leave(s);
}

static void on_modify(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_modify msg;
	struct vmbus_channel *ch;

	memcpy(&msg, in->msg, sizeof(msg));
	ch = offered_channel(s, msg.channel, "modify");
	if (!ch)
		return;
	if (ch->state != CH_OPEN || ch->reserved_open ||
	    ch->open.target_vp == VMBUS_VP_INTERRUPT_DISABLED ||
	    msg.target_vp == VMBUS_VP_INTERRUPT_DISABLED ||
	    (s->cfg.vps && msg.target_vp >= s->cfg.vps) ||
	    (ch->modify_busy && s->version >= VMBUS_V5_3)) {
		mistake(s, "modify of channel %u to VP %u", ch->id, msg.target_vp);
		send_modified(ch, VMBUS_STATUS_FAILED);
		return;
	}
	if (ch->modify_busy) {
		ch->modify_again = true;
		ch->modify_next = msg.target_vp;
		return;
	}
	ch->modify_busy = true;
	ch->modify_vp = msg.target_vp;
	if (ch->ops->modify)
		ch->ops->modify(ch->dev, ch, msg.target_vp);
	else
		vmbus_channel_modify_done(ch, VMBUS_STATUS_SUCCESS);
}

static void on_modify_conn(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_modify_conn_response resp = {
		{VMBUS_MSG_MODIFY_CONN_RESPONSE, 0},
		VMBUS_CONN_STATE_OK,
	};
	struct vmbus_msg_modify_conn msg;

	memcpy(&msg, in->msg, sizeof(msg));
	if (monitor_pages_valid(msg.monitor_p2c, msg.monitor_c2p)) {
		s->monitor_p2c = msg.monitor_p2c;
		s->monitor_c2p = msg.monitor_c2p;
		if (s->ops->monitor)
			s->ops->monitor(s->ctx, msg.monitor_p2c, msg.monitor_c2p);
	} else {
		resp.state = VMBUS_CONN_STATE_FAILED;
	}
	send(s, &resp, sizeof(resp));
}

static void on_pause(struct vmbus_server *s, const struct in *in)
{
	(void)in;
	send_plain(s, VMBUS_MSG_PAUSE_RESPONSE);
	s->paused = true;
	s->sendable = s->out.len;
}

static void on_resume(struct vmbus_server *s, const struct in *in)
{
	(void)in;
	if (!s->paused) {
		mistake(s, "resume without pause");
		return;
	}
	s->paused = false;
	s->sendable = 0;
	vmbus_server_pump(s);
}

#define ANY_TIME     1u /* without connection too */
#define WHILE_PAUSED 2u
#define WHILE_FULL   4u /* though answers wait: it drops them, or adds none */

static const struct handler {
	const char *name;
	u16 min_len;
	u32 version;
	u32 feature;
	unsigned flags;
	void (*fn)(struct vmbus_server *s, const struct in *in);
} handlers[VMBUS_MSG_COUNT] = {
	[VMBUS_MSG_REQUEST_OFFERS] = {"request offers", 8, 0, 0, 0, on_request_offers},
	[VMBUS_MSG_OPEN] = {"open", VMBUS_OPEN_V1_SIZE, 0, 0, 0, on_open},
	[VMBUS_MSG_CLOSE] = {"close", 12, 0, 0, 0, on_close},
	[VMBUS_MSG_GPADL_HEADER] = {"GPADL header", 20, 0, 0, 0, on_gpadl_header},
	[VMBUS_MSG_GPADL_BODY] = {"GPADL body", 16, 0, 0, 0, on_gpadl_body},
	[VMBUS_MSG_GPADL_TEARDOWN] = {"GPADL teardown", 16, 0, 0, 0, on_gpadl_teardown},
	[VMBUS_MSG_RELID_RELEASED] = {"release", 12, 0, 0, 0, on_released},
	[VMBUS_MSG_INITIATE_CONTACT] = {"contact", VMBUS_CONTACT_V1_SIZE, 0, 0,
					ANY_TIME | WHILE_PAUSED | WHILE_FULL, on_contact},
	[VMBUS_MSG_UNLOAD] = {"unload", 8, 0, 0, ANY_TIME | WHILE_PAUSED | WHILE_FULL, on_unload},
	[VMBUS_MSG_OPEN_RESERVED] = {"reserved open", 28, VMBUS_V4_0, 0, 0, on_open_reserved},
	[VMBUS_MSG_CLOSE_RESERVED] = {"reserved close", 20, 0, 0, ANY_TIME, on_close_reserved},
	[VMBUS_MSG_TL_CONNECT] = {"hv_sock connect", 40, VMBUS_V4_0, 0, 0, on_tl_connect},
	[VMBUS_MSG_MODIFY] = {"modify", 16, VMBUS_V4_1, 0, 0, on_modify},
	[VMBUS_MSG_MODIFY_CONN] = {"modify connection", 24, VMBUS_V6_0, VMBUS_F_MODIFY_CONN, 0,
				   on_modify_conn},
	[VMBUS_MSG_PAUSE] = {"pause", 8, VMBUS_V6_0, VMBUS_F_PAUSE, 0, on_pause},
	[VMBUS_MSG_RESUME] = {"resume", 8, VMBUS_V6_0, VMBUS_F_PAUSE, WHILE_PAUSED | WHILE_FULL,
			      on_resume},
};

int vmbus_server_message(struct vmbus_server *s, const void *msg, size_t len, unsigned via)
{
	const struct handler *h = NULL;
	struct in in = {msg, len, via};
	struct vmbus_msg_header hdr;

	if (len < sizeof(hdr) || len > VMBUS_MESSAGE_MAX) {
		mistake(s, "message of %zu bytes", len);
		return 0;
	}
	memcpy(&hdr, msg, sizeof(hdr));
	if (hdr.type < VMBUS_MSG_COUNT)
		h = &handlers[hdr.type];
	if (!h || !h->fn) {
		mistake(s, "message of type %u", hdr.type);
		return 0;
	}
	if (len < h->min_len) {
		mistake(s, "%s message of %zu bytes", h->name, len);
		return 0;
	}
	if (!(h->flags & ANY_TIME) && (s->state != CONN_UP || s->version < h->version ||
				       (h->feature && !(s->features & h->feature)))) {
		mistake(s, "%s message is out of place", h->name);
		return 0;
	}
	if (s->paused && !(h->flags & WHILE_PAUSED)) {
		mistake(s, "%s message while paused", h->name);
		return 0;
	}
	/* from then on only the trusted path counts */
	if (s->state == CONN_UP && s->trusted && !(via & VMBUS_VIA_TRUSTED)) {
		mistake(s, "%s message by an untrusted path", h->name);
		return 0;
	}
	if (s->out.len >= s->cfg.max_queue && !(h->flags & WHILE_FULL)) {
		s->refused++;
		return -EAGAIN;
	}
	s->messages_in++;
	enter(s);
	h->fn(s, &in);
	leave(s);
	return 0;
}

/* --- signals */

void vmbus_channel_signal(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;
	u32 vp = __atomic_load_n(&ch->open.target_vp, __ATOMIC_ACQUIRE);

	if (vp == VMBUS_VP_INTERRUPT_DISABLED)
		return;
	__atomic_fetch_add(&ch->signals_out, 1, __ATOMIC_RELAXED);
	if (ch->open.redirect)
		s->ops->signal(s->ctx, 2, 0, VMBUS_REDIRECT_SINT, ch->open.event_flag);
	else
		s->ops->signal(s->ctx, s->cfg.vtl, vp, s->cfg.sint, ch->open.event_flag);
}

void vmbus_channel_signalled(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;

	if (ch->state != CH_OPEN && ch->state != CH_OPENING)
		return;
	enter(s);
	ch->signals_in++;
	if (ch->ops->signal)
		ch->ops->signal(ch->dev, ch);
	leave(s);
}

bool vmbus_server_event(struct vmbus_server *s, u32 connection)
{
	struct vmbus_channel *ch = s->channel[connection & (VMBUS_MAX_CHANNELS - 1)];

	/* nearly always the id itself */
	if (!ch || !ch->port_mapped || ch->open.connection != connection) {
		ch = NULL;
		for (unsigned i = 1; i < VMBUS_MAX_CHANNELS && !ch; i++) {
			struct vmbus_channel *c = s->channel[i];

			if (c && c->port_mapped && c->open.connection == connection)
				ch = c;
		}
	}
	if (!ch)
		return false;
	vmbus_channel_signalled(ch);
	return true;
}

/* --- life, and looking at it */

struct vmbus_server *vmbus_server_new(const struct vmbus_server_config *config,
				      const struct vmbus_server_ops *ops, void *ctx)
{
	struct vmbus_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->cfg = *config;
	s->ops = ops;
	s->ctx = ctx;
	if (!s->cfg.name)
		s->cfg.name = "VMBus";
	if (!s->cfg.sint)
		s->cfg.sint = VMBUS_SINT;
	if (!s->cfg.max_version)
		s->cfg.max_version = VMBUS_V6_0;
	if (!s->cfg.connection)
		s->cfg.connection = VMBUS_CONN_MULTI;
	if (!s->cfg.first_channel)
		s->cfg.first_channel = 1;
	if (!s->cfg.max_queue)
		s->cfg.max_queue = DEFAULT_QUEUE;
	s->sint = s->cfg.sint;
	s->transient_hint = TRANSIENT_FIRST;
	return s;
}

void vmbus_server_free(struct vmbus_server *s)
{
	if (!s)
		return;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		if (s->channel[i]) {
			free(s->channel[i]->page);
			free(s->channel[i]);
		}
	}
	vmbus_gpadl_free_all(&s->gpadls);
	vmbus_outbox_free(&s->out);
	free(s);
}

void vmbus_server_limit(struct vmbus_server *s, u32 max_version, u32 features)
{
	s->cfg.max_version = max_version;
	s->cfg.features = features;
}

struct vmbus_rx *vmbus_channel_rx(struct vmbus_channel *ch)
{
	return ch->rings ? &ch->rx : NULL;
}

struct vmbus_tx *vmbus_channel_tx(struct vmbus_channel *ch)
{
	return ch->rings ? &ch->tx : NULL;
}

u16 vmbus_channel_id(const struct vmbus_channel *ch)
{
	return ch->id;
}

struct vmbus_server *vmbus_channel_server(const struct vmbus_channel *ch)
{
	return ch->server;
}

void *vmbus_channel_device(const struct vmbus_channel *ch)
{
	return ch->dev;
}

bool vmbus_server_channel(const struct vmbus_server *s, u16 id, struct vmbus_channel_info *info)
{
	const struct vmbus_channel *ch = id < VMBUS_MAX_CHANNELS ? s->channel[id] : NULL;

	if (!ch)
		return false;
	*info = (struct vmbus_channel_info){
		.id = id,
		.name = ch->offer.name,
		.state = chan_state_name[ch->state],
		.interface = ch->offer.interface,
		.instance = ch->offer.instance,
		.subchannel = ch->offer.subchannel,
		.flags = ch->offer.flags,
		.open = ch->open,
		.is_open = ch->state == CH_OPEN,
		.signals_in = ch->signals_in,
		.signals_out = ch->signals_out,
		.gpadls = ch->gpadls,
	};
	if (ch->rings) {
		info->rx_size = ch->rx.size;
		info->tx_size = ch->tx.size;
		info->ring_error = ch->rx.corrupt ? ch->rx.why : ch->tx.why;
	}
	/* of a closed channel: what the last open left */
	info->rx_packets = ch->rx.packets;
	info->rx_bytes = ch->rx.bytes;
	info->tx_packets = ch->tx.packets;
	info->tx_bytes = ch->tx.bytes;
	info->tx_full = ch->tx.full;
	return true;
}

void vmbus_server_describe(const struct vmbus_server *s, struct vmbus_server_info *info)
{
	*info = (struct vmbus_server_info){
		.state = conn_state_name[s->state],
		.version = s->version,
		.features = s->features,
		.offers_sent = s->offers_sent,
		.paused = s->paused,
		.trusted = s->trusted,
		.client = s->client,
		.channels = s->channels,
		.gpadls = s->gpadls.count,
		.queued = s->out.len,
		.messages_in = s->messages_in,
		.messages_out = s->messages_out,
		.refused = s->refused,
		.dropped = s->dropped,
		.lost = s->lost,
		.contacts = s->contacts,
	};
}
