/* VMBus server: contact, versions, and the end of a connection. */
#include "common/vmbus/server_impl.h"

#include <string.h>

#include "common/log.h"

static const u32 versions[] = {
	VMBUS_V3_0, VMBUS_V4_0, VMBUS_V4_1, VMBUS_V5_0,
	VMBUS_V5_1, VMBUS_V5_2, VMBUS_V5_3, VMBUS_V6_0,
};

bool vsrv_version_known(u32 version)
{
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++) {
		if (versions[i] == version)
			return true;
	}
	return false;
}

bool vsrv_monitor_pages_valid(u64 p2c, u64 c2p)
{
	return !p2c == !c2p && p2c % PAGE_SIZE == 0 && c2p % PAGE_SIZE == 0;
}

static void negotiate(struct vmbus_server *s)
{
	const struct vsrv_contact *c = &s->contact;
	struct vmbus_msg_version msg = {.hdr = {VMBUS_MSG_VERSION_RESPONSE, 0}};
	u32 version = c->msg.version, vp = version >= VMBUS_V3_0 ? c->msg.target_vp : 0;
	bool vp_ok = !s->cfg.vps || vp < s->cfg.vps;
	size_t len = VMBUS_VERSION_V1_SIZE;

	s->vp = vp_ok ? vp : 0;
	s->sint = c->sint < 16 ? c->sint : s->cfg.sint;
	s->contacts++;
	if (!vsrv_version_known(version) || version > s->cfg.max_version ||
	    c->sint != s->cfg.sint || c->vtl != s->cfg.vtl || !vp_ok) {
		if (s->lines++ < VSRV_LOGGED_LINES)
			log_info("%s: version %u.%u for VTL%u, SINT%u, VP %u: not supported",
				 s->cfg.name, version >> 16, version & 0xffff, c->vtl, c->sint, vp);
		vsrv_send(s, &msg, len);
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
	if (!vsrv_monitor_pages_valid(c->msg.monitor_p2c, c->msg.monitor_c2p)) {
		msg.state = VMBUS_CONN_STATE_FAILED;
		vsrv_send(s, &msg, len);
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
	vsrv_send(s, &msg, len);
}

bool vchan_idle(const struct vmbus_channel *ch)
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
bool vsrv_disconnect_step(struct vmbus_server *s)
{
	enum conn_next next = s->next;

	if (s->state != CONN_ENDING)
		return false;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		if (s->channel[i] && !vchan_idle(s->channel[i]))
			return false;
	}
	s->state = CONN_NONE;
	s->next = NEXT_NOTHING;
	if (next == NEXT_UNLOADED)
		vsrv_send_plain(s, VMBUS_MSG_UNLOAD_COMPLETE);
	else if (next == NEXT_CONTACT)
		negotiate(s);
	return true;
}

void vsrv_disconnect(struct vmbus_server *s, enum conn_next next, bool reset)
{
	bool was_up = s->state == CONN_UP;

	s->state = CONN_ENDING;
	s->next = next;
	s->version = s->features = 0;
	s->offers_sent = s->paused = s->trusted = false;
	vsrv_queue_drop(s, reset);
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
			vchan_release(ch);
	}
	if (was_up && s->ops->connection)
		s->ops->connection(s->ctx, 0);
}

void vmbus_server_reset(struct vmbus_server *s)
{
	vsrv_enter(s);
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		if (s->channel[i])
			s->channel[i]->answer_reserved_close = false;
	}
	vsrv_disconnect(s, NEXT_NOTHING, true);
	vsrv_leave(s);
}

bool vsrv_contact_read(const void *msg, size_t len, unsigned via, u8 default_sint,
		       struct vsrv_contact *c)
{
	*c = (struct vsrv_contact){.sint = default_sint};
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
	struct vsrv_contact c;

	if (len < sizeof(hdr))
		return -1;
	memcpy(&hdr, msg, sizeof(hdr));
	if (hdr.type != VMBUS_MSG_INITIATE_CONTACT ||
	    !vsrv_contact_read(msg, len, via, VMBUS_SINT, &c))
		return -1;
	return c.vtl;
}
