/* VMBus server: offers of devices, their ids, and their end. */
#include "common/vmbus/server_impl.h"

#include <stdlib.h>

static u16 free_id(struct vmbus_server *s, const struct vmbus_offer *offer)
{
	u16 first = s->cfg.first_channel;

	if (offer->channel)
		return offer->channel >= VMBUS_MAX_CHANNELS || s->channel[offer->channel]
			       ? 0
			       : offer->channel;
	if (offer->transient) {
		/* not the one used last: what the guest still sends for that must miss */
		for (unsigned i = 0; i < VMBUS_MAX_CHANNELS - VSRV_TRANSIENT_FIRST; i++) {
			u16 id = s->transient_hint++;

			if (s->transient_hint >= VMBUS_MAX_CHANNELS)
				s->transient_hint = VSRV_TRANSIENT_FIRST;
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

		if (!other || !vchan_same_device(&other->offer, offer) ||
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
	vsrv_enter(s);
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
		vchan_send_offer(ch);
	}
	vsrv_leave(s);
	return ch;
}

void vmbus_channel_revoke(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;

	if (ch->state == CH_REVOKED || ch->state == CH_GONE)
		return;
	vsrv_enter(s);
	if (!ch->offer.subchannel) {
		for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
			struct vmbus_channel *sub = s->channel[i];

			if (sub && sub->offer.subchannel &&
			    vchan_same_device(&sub->offer, &ch->offer))
				vmbus_channel_revoke(sub);
		}
	}
	vchan_each_gpadl(ch, vchan_gpadl_revoke);
	vchan_fail_modify(ch);
	vchan_unmap(ch);
	if (!ch->offered || s->state != CONN_UP) {
		vchan_gone(ch);
	} else {
		ch->state = CH_REVOKED;
		ch->reserved_open = ch->answer_reserved_close = false;
		vsrv_send_channel(s, VMBUS_MSG_RESCIND, ch->id);
	}
	vsrv_leave(s);
}
