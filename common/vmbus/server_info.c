/* VMBus server: what inspection sees. */
#include "common/vmbus/server_impl.h"

const char *const vchan_state_name[] = {
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

static const char *const conn_state_name[] = {
	[CONN_NONE] = "disconnected",
	[CONN_UP] = "connected",
	[CONN_ENDING] = "disconnecting",
};

static const char *const conn_next_name[] = {
	[NEXT_NOTHING] = NULL,
	[NEXT_UNLOADED] = "unload",
	[NEXT_CONTACT] = "reconnect",
};

static bool has_twin(const struct vmbus_server *s, const struct vmbus_channel *ch)
{
	for (unsigned i = 1; i < ch->id; i++) {
		const struct vmbus_channel *other = s->channel[i];

		if (other && other->offer.subchannel == ch->offer.subchannel &&
		    guid_equal(&other->offer.instance, &ch->offer.instance))
			return true;
	}
	return false;
}

static u32 ring_pages(const struct vmbus_channel *ch)
{
	const struct vmbus_gpadl *g;
	struct vmbus_gpadl_view view;

	g = vmbus_gpadl_find(&ch->server->gpadls, ch->open.gpadl, ch->id);
	return g && vmbus_gpadl_is_ring(g, &view) ? view.pages : 0;
}

bool vmbus_server_channel(const struct vmbus_server *s, u16 id, struct vmbus_channel_info *info)
{
	const struct vmbus_channel *ch = id < VMBUS_MAX_CHANNELS ? s->channel[id] : NULL;

	if (!ch)
		return false;
	*info = (struct vmbus_channel_info){
		.id = id,
		.name = ch->offer.name,
		.state = vchan_state_name[ch->state],
		.interface = ch->offer.interface,
		.instance = ch->offer.instance,
		.subchannel = ch->offer.subchannel,
		.flags = ch->offer.flags,
		.mmio_mb = ch->offer.mmio_mb,
		.connection = VMBUS_EVENT_CONN(s->cfg.vtl, s->cfg.sint, id),
		.offered = ch->offered,
		.no_map = ch->offer.no_map,
		.open = ch->open,
		.is_open = ch->state == CH_OPEN,
		.reserved = ch->reserved_open,
		.reserved_vp = ch->reserved_vp,
		.signals_in = ch->signals_in,
		.signals_out = ch->signals_out,
		.gpadls = ch->gpadls,
	};
	info->twin = has_twin(s, ch);
	if (info->is_open)
		info->ring_pages = ring_pages(ch);
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
		.next = conn_next_name[s->next],
		.vp = s->vp,
		.sint = s->sint,
		.monitor_p2c = s->monitor_p2c,
		.monitor_c2p = s->monitor_c2p,
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
