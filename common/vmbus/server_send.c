/* VMBus server: messages to the guest, and those that wait for a slot. */
#include "common/vmbus/server_impl.h"

#include <errno.h>
#include <string.h>

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
void vsrv_queue_drop(struct vmbus_server *s, bool all)
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

void vsrv_send_to(struct vmbus_server *s, u32 vp, u8 sint, const void *msg, size_t len)
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

void vsrv_send(struct vmbus_server *s, const void *msg, size_t len)
{
	vsrv_send_to(s, s->vp, s->sint, msg, len);
}

void vsrv_send_channel(struct vmbus_server *s, u32 type, u32 channel)
{
	struct vmbus_msg_channel msg = {{type, 0}, channel};

	vsrv_send(s, &msg, sizeof(msg));
}

void vsrv_send_plain(struct vmbus_server *s, u32 type)
{
	struct vmbus_msg_header msg = {type, 0};

	vsrv_send(s, &msg, sizeof(msg));
}

void vsrv_send_gpadl_created(struct vmbus_server *s, u32 channel, u32 gpadl, u32 status)
{
	struct vmbus_msg_gpadl_created msg = {{VMBUS_MSG_GPADL_CREATED, 0}, channel, gpadl, status};

	vsrv_send(s, &msg, sizeof(msg));
}

void vsrv_send_gpadl_torndown(struct vmbus_server *s, u32 gpadl)
{
	struct vmbus_msg_gpadl_torndown msg = {{VMBUS_MSG_GPADL_TORNDOWN, 0}, gpadl};

	vsrv_send(s, &msg, sizeof(msg));
}

void vchan_send_open_result(struct vmbus_channel *ch, const struct vmbus_open *open, u32 status)
{
	struct vmbus_msg_open_result msg = {
		{VMBUS_MSG_OPEN_RESULT, 0},
		ch->id,
		open->open_id,
		status,
	};

	if (open->reserved)
		vsrv_send_to(ch->server, ch->reserved_vp, ch->reserved_sint, &msg, sizeof(msg));
	else
		vsrv_send(ch->server, &msg, sizeof(msg));
}

void vchan_send_offer(struct vmbus_channel *ch)
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
	vsrv_send(s, &msg, sizeof(msg));
}

void vchan_send_modified(struct vmbus_channel *ch, u32 status)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_msg_modify_response msg = {
		{VMBUS_MSG_MODIFY_RESPONSE, 0},
		ch->id,
		status,
	};

	if (s->state == CONN_UP && s->version >= VMBUS_V5_3 && ch->offered)
		vsrv_send(s, &msg, sizeof(msg));
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
	vsrv_enter(s);
	vsrv_send(s, &msg, sizeof(msg));
	vsrv_leave(s);
}
