/* VMBus server: saved and restored, with all that guest and devices still owe each other. */
#include "common/vmbus/server_impl.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/vmbus/save.h"

/* Fields of the server's message behind its numbers. */
enum { SERVER_CONTACT = 40, SERVER_GPADL, SERVER_CHANNEL, SERVER_MESSAGE };
/* Fields of a channel's message behind its numbers. */
enum { CHANNEL_NAME = 40, CHANNEL_OPEN, CHANNEL_REOPEN, CHANNEL_RX, CHANNEL_TX };

/* Not kept: what the config says, unless vmbus_server_limit has changed it. */
static const struct saved_field server_fields[] = {
	SAVED_NUMBER(1, struct vmbus_server, state, CONN_ENDING),
	SAVED_NUMBER(2, struct vmbus_server, next, NEXT_CONTACT),
	SAVED_ANY(3, struct vmbus_server, version),
	SAVED_ANY(4, struct vmbus_server, features),
	SAVED_ANY(5, struct vmbus_server, vp),
	SAVED_NUMBER(6, struct vmbus_server, sint, 15),
	SAVED_BOOL(7, struct vmbus_server, offers_sent),
	SAVED_BOOL(8, struct vmbus_server, paused),
	SAVED_BOOL(9, struct vmbus_server, trusted),
	SAVED_ANY(10, struct vmbus_server, monitor_p2c),
	SAVED_ANY(11, struct vmbus_server, monitor_c2p),
	SAVED_STRUCT(12, struct vmbus_server, client, &vmbus_saved_guid),
	SAVED_NUMBER(13, struct vmbus_server, transient_hint, VMBUS_MAX_CHANNELS - 1),
	SAVED_NUMBER(14, struct vmbus_server, sendable, VMBUS_OUTBOX_LIMIT),
	SAVED_ANY(15, struct vmbus_server, cfg.max_version),
	SAVED_ANY(16, struct vmbus_server, cfg.features),
	SAVED_ANY(17, struct vmbus_server, mistakes),
	SAVED_ANY(18, struct vmbus_server, lines),
	SAVED_ANY(19, struct vmbus_server, messages_in),
	SAVED_ANY(20, struct vmbus_server, messages_out),
	SAVED_ANY(21, struct vmbus_server, refused),
	SAVED_ANY(22, struct vmbus_server, dropped),
	SAVED_ANY(23, struct vmbus_server, lost),
	SAVED_ANY(24, struct vmbus_server, contacts),
};
static const struct saved_layout server_layout = SAVED_LAYOUT(server_fields);

static const struct saved_field contact_fields[] = {
	SAVED_ANY(1, struct vsrv_contact, msg.version),
	SAVED_ANY(2, struct vsrv_contact, msg.target_vp),
	SAVED_ANY(3, struct vsrv_contact, msg.features),
	SAVED_ANY(4, struct vsrv_contact, msg.monitor_p2c),
	SAVED_ANY(5, struct vsrv_contact, msg.monitor_c2p),
	SAVED_STRUCT(6, struct vsrv_contact, msg.client_id, &vmbus_saved_guid),
	SAVED_ANY(7, struct vsrv_contact, sint),
	SAVED_ANY(8, struct vsrv_contact, vtl),
	SAVED_BOOL(9, struct vsrv_contact, trusted),
};
static const struct saved_layout contact_layout = SAVED_LAYOUT(contact_fields);

static const struct saved_field open_fields[] = {
	SAVED_ANY(1, struct vmbus_open, open_id),
	SAVED_ANY(2, struct vmbus_open, gpadl),
	SAVED_ANY(3, struct vmbus_open, target_vp),
	SAVED_ANY(4, struct vmbus_open, downstream),
	SAVED_ANY(5, struct vmbus_open, connection),
	SAVED_NUMBER(6, struct vmbus_open, event_flag, VMBUS_MAX_CHANNELS - 1),
	SAVED_BOOL(7, struct vmbus_open, redirect),
	SAVED_BOOL(8, struct vmbus_open, reserved),
	SAVED_NUMBER(9, struct vmbus_open, reserved_sint, 15),
	SAVED_NUMBERS(10, struct vmbus_open, user, UINT8_MAX),
};
static const struct saved_layout open_layout = SAVED_LAYOUT(open_fields);

/* Of an open that waits for a close: checked only when it is its turn. */
static const struct saved_field reopen_fields[] = {
	SAVED_ANY(1, struct vmbus_open, open_id),
	SAVED_ANY(2, struct vmbus_open, gpadl),
	SAVED_ANY(3, struct vmbus_open, target_vp),
	SAVED_ANY(4, struct vmbus_open, downstream),
	SAVED_ANY(5, struct vmbus_open, connection),
	SAVED_ANY(6, struct vmbus_open, event_flag),
	SAVED_BOOL(7, struct vmbus_open, redirect),
	SAVED_NUMBERS(10, struct vmbus_open, user, UINT8_MAX),
};
static const struct saved_layout reopen_layout = SAVED_LAYOUT(reopen_fields);

/* port_mapped, rings, reserved_open and gpadls follow from the rest. */
static const struct saved_field channel_fields[] = {
	SAVED_NUMBER(1, struct vmbus_channel, id, VMBUS_MAX_CHANNELS - 1),
	SAVED_NUMBER(2, struct vmbus_channel, state, CH_CLOSING_RELEASED),
	SAVED_BOOL(3, struct vmbus_channel, offered),
	SAVED_BOOL(4, struct vmbus_channel, answer_reserved_close),
	SAVED_BOOL(5, struct vmbus_channel, modify_busy),
	SAVED_BOOL(6, struct vmbus_channel, modify_again),
	SAVED_ANY(7, struct vmbus_channel, modify_vp),
	SAVED_ANY(8, struct vmbus_channel, modify_next),
	SAVED_ANY(9, struct vmbus_channel, reserved_vp),
	SAVED_NUMBER(10, struct vmbus_channel, reserved_sint, 15),
	SAVED_BOOL(11, struct vmbus_channel, recheck),
	SAVED_ANY(12, struct vmbus_channel, signals_in),
	SAVED_ANY(13, struct vmbus_channel, signals_out),
	SAVED_STRUCT(14, struct vmbus_channel, offer.interface, &vmbus_saved_guid),
	SAVED_STRUCT(15, struct vmbus_channel, offer.instance, &vmbus_saved_guid),
	SAVED_ANY(16, struct vmbus_channel, offer.subchannel),
	SAVED_ANY(17, struct vmbus_channel, offer.flags),
	SAVED_ANY(18, struct vmbus_channel, offer.mmio_mb),
	SAVED_NUMBERS(19, struct vmbus_channel, offer.user, UINT8_MAX),
	SAVED_BOOL(20, struct vmbus_channel, offer.transient),
	SAVED_BOOL(21, struct vmbus_channel, offer.no_map),
};
static const struct saved_layout channel_layout = SAVED_LAYOUT(channel_fields);

/* --- save */

static void save_channel(const struct vmbus_channel *ch, struct pb_writer *w)
{
	size_t mark = pb_begin(w, SERVER_CHANNEL), ring;

	saved_write(w, &channel_layout, ch);
	pb_put_text(w, CHANNEL_NAME, ch->offer.name);
	if (vchan_has_rings(ch))
		saved_put(w, CHANNEL_OPEN, &open_layout, &ch->open);
	if (ch->state == CH_CLOSING_REOPEN)
		saved_put(w, CHANNEL_REOPEN, &reopen_layout, &ch->reopen);
	if (!ch->offer.no_map) {
		ring = pb_begin(w, CHANNEL_RX);
		vmbus_rx_save(&ch->rx, w);
		pb_end(w, ring);
		ring = pb_begin(w, CHANNEL_TX);
		vmbus_tx_save(&ch->tx, w);
		pb_end(w, ring);
	}
	pb_end(w, mark);
}

void vmbus_server_save(const struct vmbus_server *s, struct pb_writer *w)
{
	saved_write(w, &server_layout, s);
	if (s->next == NEXT_CONTACT)
		saved_put(w, SERVER_CONTACT, &contact_layout, &s->contact);
	vmbus_gpadl_save(&s->gpadls, w, SERVER_GPADL);
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++)
		if (s->channel[i])
			save_channel(s->channel[i], w);
	vmbus_outbox_save(&s->out, w, SERVER_MESSAGE);
}

/* --- devices, until they are there again: requests wait */

static void no_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	(void)dev;
	(void)ch;
	(void)open;
}

static void no_close(void *dev, struct vmbus_channel *ch)
{
	(void)dev;
	(void)ch;
}

static void no_gpadl(void *dev, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	(void)dev;
	(void)ch;
	(void)gpadl;
}

static void no_number(void *dev, struct vmbus_channel *ch, u32 number)
{
	(void)dev;
	(void)ch;
	(void)number;
}

static const struct vmbus_device_ops nobody = {
	.open = no_open,
	.close = no_close,
	.gpadl = no_gpadl,
	.gpadl_teardown = no_number,
	.modify = no_number,
};

static struct vmbus_channel *find_orphan(struct vmbus_server *s, const struct vmbus_offer *offer,
					 bool revoked)
{
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel *ch = s->channel[i];

		if (ch && ch->ops == &nobody && (ch->state == CH_REVOKED) == revoked &&
		    ch->offer.subchannel == offer->subchannel &&
		    vchan_same_device(&ch->offer, offer))
			return ch->offer.no_map == offer->no_map ? ch : NULL;
	}
	return NULL;
}

static void adopt(struct vmbus_channel *ch, const struct vmbus_offer *offer,
		  const struct vmbus_device_ops *ops, void *dev)
{
	if (offer->name)
		ch->offer.name = offer->name;
	ch->ops = ops;
	ch->dev = dev;
}

struct vmbus_channel *vmbus_server_adopt(struct vmbus_server *s, const struct vmbus_offer *offer,
					 const struct vmbus_device_ops *ops, void *dev)
{
	struct vmbus_channel *ch = find_orphan(s, offer, false);

	if (!ch)
		return NULL;
	if (vchan_has_rings(ch)) {
		if (s->ops->map_port && s->ops->map_port(s->ctx, ch->open.connection, ch))
			return NULL;
		ch->port_mapped = true;
	}
	adopt(ch, offer, ops, dev);
	return ch;
}

bool vmbus_server_adopt_revoked(struct vmbus_server *s, const struct vmbus_offer *offer,
				const struct vmbus_device_ops *ops, void *dev)
{
	struct vmbus_channel *ch = find_orphan(s, offer, true);

	if (ch)
		adopt(ch, offer, ops, dev);
	return ch;
}

void vmbus_server_restore_done(struct vmbus_server *s)
{
	bool recheck = false;

	vsrv_enter(s);
	s->restoring = false;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel *ch = s->channel[i];

		if (ch && ch->ops == &nobody && ch->state != CH_REVOKED) {
			log_warn("%s: channel %u (%s) has no device any more", s->cfg.name, ch->id,
				 ch->offer.name);
			vmbus_channel_revoke(ch);
		}
		ch = s->channel[i];
		recheck |= ch && ch->recheck;
	}
	if (recheck && s->ops->timer)
		s->ops->timer(s->ctx, VSRV_RECHECK_MS);
	vsrv_leave(s);
}

/* --- restore */

static bool vp_valid(const struct vmbus_server *s, u32 vp)
{
	return !s->cfg.vps || vp < s->cfg.vps;
}

static bool connection_valid(const struct vmbus_server *s)
{
	if (s->next != NEXT_NOTHING && s->state != CONN_ENDING)
		return false;
	if (!vp_valid(s, s->vp) || s->transient_hint < VSRV_TRANSIENT_FIRST ||
	    !vsrv_monitor_pages_valid(s->monitor_p2c, s->monitor_c2p))
		return false;
	if (s->state != CONN_UP)
		return !s->version && !s->features && !s->offers_sent && !s->paused &&
		       !s->trusted && !s->monitor_p2c;
	if (!vsrv_version_known(s->version) || (s->features && s->version < VMBUS_V6_0) ||
	    (s->features & VMBUS_F_CONFIDENTIAL && !s->trusted))
		return false;
	return !s->paused || s->features & VMBUS_F_PAUSE;
}

/* What the guest knows of it, against the channel's state and the connection's. */
static bool state_valid(const struct vmbus_channel *ch)
{
	const struct vmbus_server *s = ch->server;

	if (ch->offered && (s->state != CONN_UP || !s->offers_sent))
		return false;
	switch (ch->state) {
	case CH_RELEASED:
	case CH_HELD:
	case CH_OPENING_RELEASED:
	case CH_CLOSING_RELEASED: return !ch->offered;
	case CH_CLOSED:
	case CH_REVOKED: return ch->offered;
	case CH_OPENING:
	case CH_OPEN:
	case CH_CLOSING: return ch->offered || ch->reserved_open;
	case CH_CLOSING_REOPEN: return ch->offered && !ch->reserved_open;
	default: return false;
	}
}

static bool requests_valid(const struct vmbus_channel *ch)
{
	const struct vmbus_server *s = ch->server;

	if (!vp_valid(s, ch->reserved_vp))
		return false;
	if (ch->answer_reserved_close && (ch->state != CH_CLOSING || !ch->reserved_open))
		return false;
	if (ch->modify_again && !(ch->modify_busy && vp_valid(s, ch->modify_next) &&
				  ch->modify_next != VMBUS_VP_INTERRUPT_DISABLED))
		return false;
	return !ch->modify_busy ||
	       (vchan_has_rings(ch) && !ch->reserved_open && vp_valid(s, ch->modify_vp) &&
		ch->modify_vp != VMBUS_VP_INTERRUPT_DISABLED);
}

static bool connection_taken(const struct vmbus_channel *ch)
{
	const struct vmbus_server *s = ch->server;

	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		const struct vmbus_channel *other = s->channel[i];

		if (other && other != ch && vchan_has_rings(other) &&
		    other->open.connection == ch->open.connection)
			return true;
	}
	return false;
}

/* What map_open has checked once, and the rings as their device left them. */
static bool restore_rings(struct vmbus_channel *ch, struct pb_bytes rx, struct pb_bytes tx)
{
	struct vmbus_server *s = ch->server;
	const struct vmbus_open *open = &ch->open;
	struct vmbus_gpadl_view view;
	struct vmbus_gpadl *g;

	if ((open->target_vp != VMBUS_VP_INTERRUPT_DISABLED && !vp_valid(s, open->target_vp)) ||
	    !open->event_flag || !vsrv_connection_allowed(open->connection) || connection_taken(ch))
		return false;
	g = vmbus_gpadl_find(&s->gpadls, open->gpadl, ch->id);
	if (!g || (g->state != GPADL_ACCEPTED && g->state != GPADL_TEARING_DOWN) ||
	    !vmbus_gpadl_is_ring(g, &view) || !open->downstream || open->downstream >= view.pages)
		return false;
	if (ch->offer.no_map)
		return true;
	ch->rings = vchan_map_pages(ch, &view) &&
		    vmbus_rx_restore(&ch->rx, rx, ch->page, open->downstream) &&
		    vmbus_tx_restore(&ch->tx, tx, ch->page + open->downstream,
				     view.pages - open->downstream);
	return ch->rings;
}

static bool restore_open(struct vmbus_channel *ch, struct pb_bytes state)
{
	struct pb_bytes open, reopen, rx, tx;

	if (!pb_find_bytes(state, CHANNEL_OPEN, &open) ||
	    !pb_find_bytes(state, CHANNEL_REOPEN, &reopen) ||
	    !pb_find_bytes(state, CHANNEL_RX, &rx) || !pb_find_bytes(state, CHANNEL_TX, &tx) ||
	    !saved_read(open, &open_layout, &ch->open) ||
	    !saved_read(reopen, &reopen_layout, &ch->reopen))
		return false;
	if (vchan_has_rings(ch)) {
		ch->reserved_open = ch->open.reserved;
		return restore_rings(ch, rx, tx);
	}
	return vmbus_rx_restore(&ch->rx, rx, NULL, 0) && vmbus_tx_restore(&ch->tx, tx, NULL, 0);
}

static bool restore_channel(void *server, struct pb_bytes state)
{
	struct vmbus_channel *ch = calloc(1, sizeof(*ch));
	struct vmbus_server *s = server;

	if (!ch)
		return false;
	if (!saved_read(state, &channel_layout, ch) || !ch->id || s->channel[ch->id]) {
		free(ch);
		return false;
	}
	s->channel[ch->id] = ch;
	s->channels++;
	ch->server = s;
	ch->ops = &nobody;
	ch->offer.name = ch->saved_name;
	if (!vmbus_saved_text(state, CHANNEL_NAME, ch->saved_name, sizeof(ch->saved_name)) ||
	    !restore_open(ch, state))
		return false;
	ch->recheck = ch->recheck && ch->rings;
	return state_valid(ch) && requests_valid(ch);
}

/* One of a key, apart from a revoked one and who waits for its end. */
static bool key_valid(const struct vmbus_channel *ch)
{
	const struct vmbus_server *s = ch->server;
	unsigned revoked = 0, held = 0, others = 0;

	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		const struct vmbus_channel *c = s->channel[i];

		if (!c || c->offer.subchannel != ch->offer.subchannel ||
		    !vchan_same_device(&c->offer, &ch->offer))
			continue;
		revoked += c->state == CH_REVOKED;
		held += c->state == CH_HELD;
		others += c->state != CH_REVOKED && c->state != CH_HELD;
	}
	return others ? others == 1 && !revoked && !held : revoked == 1 && held <= 1;
}

static bool gpadl_valid(struct vmbus_gpadl *g, const struct vmbus_channel *ch)
{
	bool let_go = g->state == GPADL_TEARING_DOWN || g->state == GPADL_OFFERED_TEARING_DOWN;

	if (g->announce && g->state != GPADL_TEARING_DOWN)
		return false;
	/* the device has been asked, unless it has its rings there */
	g->asked = g->state == GPADL_TEARING_DOWN &&
		   !(vchan_has_rings(ch) && ch->open.gpadl == g->id);
	switch (ch->state) {
	case CH_HELD: return false;
	case CH_REVOKED: return g->state == GPADL_IN_PROGRESS || g->state == GPADL_ACCEPTED;
	default: return ch->offered || ch->reserved_open || let_go;
	}
}

/*
 * Without a connection only what the guest opened as reserved may go on, also to its end: its
 * device may still hold page lists.
 */
static bool outlives_connection(const struct vmbus_channel *ch)
{
	switch (ch->state) {
	case CH_RELEASED:
	case CH_HELD: return true;
	case CH_OPEN:
	case CH_CLOSING: return ch->reserved_open;
	default: return false;
	}
}

static bool all_valid(struct vmbus_server *s)
{
	for (unsigned i = 0; i < GPADL_BUCKETS; i++) {
		for (struct vmbus_gpadl *g = s->gpadls.bucket[i]; g; g = g->next) {
			struct vmbus_channel *ch = s->channel[g->channel];

			if (!ch || !gpadl_valid(g, ch))
				return false;
			ch->gpadls++;
		}
	}
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		const struct vmbus_channel *ch = s->channel[i];

		if (ch && (!key_valid(ch) || (s->state == CONN_NONE && !outlives_connection(ch))))
			return false;
	}
	return s->sendable <= (s->paused ? s->out.len : 0);
}

static bool restore_gpadl(void *server, struct pb_bytes state)
{
	struct vmbus_server *s = server;

	return vmbus_gpadl_restore(&s->gpadls, state);
}

static bool restore_message(void *server, struct pb_bytes state)
{
	struct vmbus_server *s = server;
	u8 vtl = s->cfg.post_sint ? s->cfg.post_vtl : s->cfg.vtl;
	struct vmbus_outmsg m;

	return vmbus_outmsg_restore(state, &m) && m.vtl == vtl && vp_valid(s, m.target) &&
	       vmbus_outbox_put(&s->out, m.target, m.vtl, m.sint, m.data, m.len);
}

bool vmbus_server_restore(struct vmbus_server *s, struct pb_bytes state)
{
	struct pb_bytes contact;

	s->restoring = true;
	return saved_read(state, &server_layout, s) &&
	       pb_find_bytes(state, SERVER_CONTACT, &contact) &&
	       saved_read(contact, &contact_layout, &s->contact) && connection_valid(s) &&
	       /* in this order, as the later ones are checked against the former */
	       saved_each(state, SERVER_GPADL, restore_gpadl, s) &&
	       saved_each(state, SERVER_CHANNEL, restore_channel, s) &&
	       saved_each(state, SERVER_MESSAGE, restore_message, s) && all_valid(s);
}
