/* VMBus server: the life of a channel after its offer: open, close, modify, release. */
#include "common/vmbus/server_impl.h"

#include <stdlib.h>

/* --- rings and ports of a channel */

void vchan_unmap(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;

	if (ch->port_mapped && s->ops->unmap_port)
		s->ops->unmap_port(s->ctx, ch->open.connection);
	ch->port_mapped = false;
	free(ch->page);
	ch->page = NULL;
	ch->rx.page = ch->tx.page = NULL;
	ch->rings = false;
	ch->recheck = false;
	ch->modify_busy = ch->modify_again = false;
}

bool vchan_map_pages(struct vmbus_channel *ch, const struct vmbus_gpadl_view *view)
{
	struct vmbus_server *s = ch->server;

	if (!s->ops->page)
		return false;
	ch->page = calloc(view->pages, sizeof(*ch->page));
	if (!ch->page)
		return false;
	for (u32 i = 0; i < view->pages; i++) {
		ch->page[i] = s->ops->page(s->ctx, view->pfn[i]);
		if (!ch->page[i]) {
			vsrv_mistake(s, "channel %u: page %#llx of its ring is no memory", ch->id,
				     (unsigned long long)view->pfn[i]);
			return false;
		}
	}
	return true;
}

static bool map_rings(struct vmbus_channel *ch, const struct vmbus_gpadl_view *view)
{
	u32 downstream = ch->open.downstream;

	if (!vchan_map_pages(ch, view))
		return false;
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

bool vsrv_connection_allowed(u32 connection)
{
	u32 id = connection & 0xfff, sint = connection >> 12 & 0xf, vtl = connection >> 16;

	return id && id < VMBUS_MAX_CHANNELS && vtl <= 2 &&
	       (sint == VMBUS_SINT || sint == VMBUS_REDIRECT_SINT);
}

bool vchan_same_device(const struct vmbus_offer *a, const struct vmbus_offer *b)
{
	return guid_equal(&a->interface, &b->interface) && guid_equal(&a->instance, &b->instance);
}

/* A channel that neither device nor guest knows any more. */
void vchan_gone(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;

	vchan_each_gpadl(ch, vchan_gpadl_drop);
	vchan_unmap(ch);
	ch->state = CH_GONE;
	ch->next_dead = s->dead;
	s->dead = ch;
	s->channel[ch->id] = NULL;
	s->channels--;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel *held = s->channel[i];

		if (!held || held->state != CH_HELD ||
		    !vchan_same_device(&held->offer, &ch->offer) ||
		    held->offer.subchannel != ch->offer.subchannel)
			continue;
		held->state = CH_RELEASED;
		if (s->state == CONN_UP && s->offers_sent) {
			held->state = CH_CLOSED;
			vchan_send_offer(held);
		}
	}
	if (ch->ops->released)
		ch->ops->released(ch->dev);
}

/* Rings are no longer in use; the channel is closed for the guest, or the guest has gone. */
static void channel_closed(struct vmbus_channel *ch)
{
	vchan_unmap(ch);
	ch->reserved_open = false;
	ch->state = ch->offered ? CH_CLOSED : CH_RELEASED;
	vchan_each_gpadl(ch, ch->offered ? vchan_gpadl_resume_teardown : vchan_gpadl_release);
	if (!ch->offered)
		vchan_each_gpadl(ch, vchan_gpadl_resume_teardown);
}

void vchan_start_close(struct vmbus_channel *ch, enum chan_state state)
{
	ch->state = state;
	if (ch->ops->close)
		ch->ops->close(ch->dev, ch);
	else
		vmbus_channel_close_done(ch);
}

/* The channel ends before the device has answered. */
void vchan_fail_modify(struct vmbus_channel *ch)
{
	if (ch->modify_busy)
		vchan_send_modified(ch, VMBUS_STATUS_FAILED);
	ch->modify_busy = ch->modify_again = false;
}

void vmbus_channel_close_done(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;
	bool reopen = ch->state == CH_CLOSING_REOPEN;

	if (ch->state != CH_CLOSING && ch->state != CH_CLOSING_REOPEN &&
	    ch->state != CH_CLOSING_RELEASED)
		return;
	vsrv_enter(s);
	vchan_fail_modify(ch);
	channel_closed(ch);
	if (ch->answer_reserved_close) {
		struct vmbus_msg_channel msg = {{VMBUS_MSG_CLOSE_RESERVED_RESPONSE, 0}, ch->id};

		ch->answer_reserved_close = false;
		vsrv_send_to(s, ch->reserved_vp, ch->reserved_sint, &msg, sizeof(msg));
	}
	if (reopen && ch->state == CH_CLOSED) {
		struct vmbus_open open = ch->reopen;

		vchan_start_open(ch, &open);
	}
	vsrv_leave(s);
}

/* The guest lets go of a channel that still has a device. */
void vchan_release(struct vmbus_channel *ch)
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
	case CH_OPEN: vchan_start_close(ch, CH_CLOSING_RELEASED); break;
	case CH_CLOSING:
	case CH_CLOSING_REOPEN: ch->state = CH_CLOSING_RELEASED; break;
	case CH_REVOKED: vchan_gone(ch); return;
	}
	if (was_offered || ch->gpadls)
		vchan_each_gpadl(ch, vchan_gpadl_release);
}

static bool map_open(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_open *open = &ch->open;
	struct vmbus_gpadl_view view;
	struct vmbus_gpadl *g;

	if (open->target_vp != VMBUS_VP_INTERRUPT_DISABLED && s->cfg.vps &&
	    open->target_vp >= s->cfg.vps) {
		vsrv_mistake(s, "open of channel %u for VP %u", ch->id, open->target_vp);
		return false;
	}
	if (!open->event_flag || open->event_flag >= VMBUS_MAX_CHANNELS ||
	    !vsrv_connection_allowed(open->connection) || connection_taken(s, open->connection)) {
		vsrv_mistake(s, "open of channel %u with event flag %u, connection %#x", ch->id,
			     open->event_flag, open->connection);
		return false;
	}
	g = vmbus_gpadl_find(&s->gpadls, open->gpadl, ch->id);
	if (!g || g->state != GPADL_ACCEPTED || !vmbus_gpadl_is_ring(g, &view) ||
	    !open->downstream || open->downstream >= view.pages) {
		vsrv_mistake(s, "open of channel %u with GPADL %#x as ring, page %u", ch->id,
			     open->gpadl, open->downstream);
		return false;
	}
	if (!ch->offer.no_map && !map_rings(ch, &view)) {
		vsrv_mistake(s, "open of channel %u with a bad ring", ch->id);
		return false;
	}
	if (s->ops->map_port && s->ops->map_port(s->ctx, open->connection, ch)) {
		vsrv_mistake(s, "open of channel %u: connection %#x refused", ch->id,
			     open->connection);
		return false;
	}
	ch->port_mapped = true;
	return true;
}

void vchan_start_open(struct vmbus_channel *ch, const struct vmbus_open *open)
{
	ch->open = *open;
	if (!map_open(ch)) {
		vchan_unmap(ch);
		vchan_send_open_result(ch, open, VMBUS_STATUS_FAILED);
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
	vsrv_enter(s);
	if (ch->state == CH_OPENING) {
		if (status) {
			channel_closed(ch);
		} else {
			ch->state = CH_OPEN;
			ch->recheck = ch->rings;
			if (ch->rings && s->ops->timer)
				s->ops->timer(s->ctx, VSRV_RECHECK_MS);
		}
		vchan_send_open_result(ch, &ch->open, status);
	} else if (status) {
		channel_closed(ch);
	} else {
		vchan_start_close(ch, CH_CLOSING_RELEASED);
	}
	vsrv_leave(s);
}

void vmbus_server_timer(struct vmbus_server *s)
{
	vsrv_enter(s);
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct vmbus_channel *ch = s->channel[i];

		if (!ch || !ch->recheck)
			continue;
		ch->recheck = false;
		if (ch->rings && vmbus_ring_recheck(&ch->rx, &ch->tx))
			vmbus_channel_signal(ch);
	}
	vsrv_leave(s);
}

void vmbus_channel_modify_done(struct vmbus_channel *ch, u32 status)
{
	struct vmbus_server *s = ch->server;

	if (!ch->modify_busy)
		return;
	vsrv_enter(s);
	ch->modify_busy = false;
	if (!status)
		__atomic_store_n(&ch->open.target_vp, ch->modify_vp, __ATOMIC_RELEASE);
	vchan_send_modified(ch, status);
	if (ch->modify_again) {
		ch->modify_again = false;
		ch->modify_busy = true;
		ch->modify_vp = ch->modify_next;
		if (ch->ops->modify)
			ch->ops->modify(ch->dev, ch, ch->modify_vp);
		else
			vmbus_channel_modify_done(ch, VMBUS_STATUS_SUCCESS);
	}
	vsrv_leave(s);
}
