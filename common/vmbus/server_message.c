/* VMBus server: the messages of the guest, each judged from a copy. */
#include "common/vmbus/server_impl.h"

#include <errno.h>
#include <string.h>

struct in {
	const void *msg;
	size_t len;
	unsigned via;
};

static void on_contact(struct vmbus_server *s, const struct in *in)
{
	struct vsrv_contact c;

	vsrv_contact_read(in->msg, in->len, in->via, s->cfg.sint, &c);
	if (c.msg.features & VMBUS_F_CLIENT_ID && in->len < sizeof(c.msg)) {
		vsrv_mistake(s, "contact without its client id");
		return;
	}
	s->contact = c;
	vsrv_disconnect(s, NEXT_CONTACT, false);
}

static void on_unload(struct vmbus_server *s, const struct in *in)
{
	(void)in;
	vsrv_disconnect(s, NEXT_UNLOADED, false);
}

static void on_request_offers(struct vmbus_server *s, const struct in *in)
{
	(void)in;
	if (s->offers_sent) {
		vsrv_mistake(s, "second request of offers");
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
		vchan_send_offer(ch);
	}
	vsrv_send_plain(s, VMBUS_MSG_ALL_OFFERS_DELIVERED);
}

/* The channel that a message names, if the guest has been told of it. */
static struct vmbus_channel *offered_channel(struct vmbus_server *s, u32 id, const char *what)
{
	struct vmbus_channel *ch = id < VMBUS_MAX_CHANNELS ? s->channel[id] : NULL;

	if (!ch || !ch->offered) {
		vsrv_mistake(s, "%s of channel %u, which is not offered", what, id);
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
		vsrv_mistake(s, "open message is too short");
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
		vchan_start_open(ch, &open);
	} else if (ch->state == CH_CLOSING && !ch->reserved_open) {
		ch->reopen = open;
		ch->state = CH_CLOSING_REOPEN;
	} else {
		vsrv_mistake(s, "open of channel %u, which is %s", ch->id,
			     vchan_state_name[ch->state]);
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
		vchan_start_close(ch, CH_CLOSING);
	else
		vsrv_mistake(s, "close of channel %u, which is %s", ch->id,
			     vchan_state_name[ch->state]);
}

static void gpadl_result(struct vmbus_server *s, enum vmbus_gpadl_result result,
			 struct vmbus_channel *ch, struct vmbus_gpadl *g, u32 id, u32 channel)
{
	switch (result) {
	case GPADL_MORE: break;
	case GPADL_COMPLETE: vchan_gpadl_complete(ch, g); break;
	case GPADL_FAILED:
		vsrv_mistake(s, "GPADL %#x of channel %u is malformed, known, or too much", id,
			     channel);
		vsrv_send_gpadl_created(s, channel, id, VMBUS_STATUS_FAILED);
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
		vsrv_send_gpadl_created(s, head.channel, head.gpadl, VMBUS_STATUS_FAILED);
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
		vsrv_mistake(s, "part of an unknown GPADL");
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
			vsrv_mistake(s, "teardown of GPADL %#x of channel %u", msg.gpadl,
				     msg.channel);
		return;
	}
	if (ch->state == CH_REVOKED) {
		vsrv_send_gpadl_torndown(s, g->id);
		vchan_gpadl_drop(ch, g);
		return;
	}
	g->state = GPADL_TEARING_DOWN;
	g->announce = true;
	vchan_gpadl_try_teardown(ch, g);
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
		vchan_gone(ch);
	else if (!ch->reserved_open && (ch->state == CH_CLOSED || ch->state == CH_CLOSING))
		vchan_release(ch);
	else
		vsrv_mistake(s, "release of channel %u, which is %s", ch->id,
			     vchan_state_name[ch->state]);
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
		vsrv_mistake(s, "reserved open of channel %u, which is %s", ch->id,
			     vchan_state_name[ch->state]);
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
	vchan_start_open(ch, &open);
}

static void on_close_reserved(struct vmbus_server *s, const struct in *in)
{
	struct vmbus_msg_close_reserved msg;
	struct vmbus_channel *ch;

	memcpy(&msg, in->msg, sizeof(msg));
	ch = msg.channel < VMBUS_MAX_CHANNELS ? s->channel[msg.channel] : NULL;
	if (!ch || ch->state != CH_OPEN || !ch->reserved_open || msg.target_sint >= 16 ||
	    (s->cfg.vps && msg.target_vp >= s->cfg.vps)) {
		vsrv_mistake(s, "reserved close of channel %u", msg.channel);
		return;
	}
	ch->reserved_vp = msg.target_vp;
	ch->reserved_sint = (u8)msg.target_sint;
	ch->answer_reserved_close = true;
	vchan_start_close(ch, CH_CLOSING);
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
		vsrv_mistake(s, "modify of channel %u to VP %u", ch->id, msg.target_vp);
		vchan_send_modified(ch, VMBUS_STATUS_FAILED);
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
	if (vsrv_monitor_pages_valid(msg.monitor_p2c, msg.monitor_c2p)) {
		s->monitor_p2c = msg.monitor_p2c;
		s->monitor_c2p = msg.monitor_c2p;
		if (s->ops->monitor)
			s->ops->monitor(s->ctx, msg.monitor_p2c, msg.monitor_c2p);
	} else {
		resp.state = VMBUS_CONN_STATE_FAILED;
	}
	vsrv_send(s, &resp, sizeof(resp));
}

static void on_pause(struct vmbus_server *s, const struct in *in)
{
	(void)in;
	vsrv_send_plain(s, VMBUS_MSG_PAUSE_RESPONSE);
	s->paused = true;
	s->sendable = s->out.len;
}

static void on_resume(struct vmbus_server *s, const struct in *in)
{
	(void)in;
	if (!s->paused) {
		vsrv_mistake(s, "resume without pause");
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

	if (s->restoring)
		return -EAGAIN;
	if (len < sizeof(hdr) || len > VMBUS_MESSAGE_MAX) {
		vsrv_mistake(s, "message of %zu bytes", len);
		return 0;
	}
	memcpy(&hdr, msg, sizeof(hdr));
	if (hdr.type < VMBUS_MSG_COUNT)
		h = &handlers[hdr.type];
	if (!h || !h->fn) {
		vsrv_mistake(s, "message of type %u", hdr.type);
		return 0;
	}
	if (len < h->min_len) {
		vsrv_mistake(s, "%s message of %zu bytes", h->name, len);
		return 0;
	}
	if (!(h->flags & ANY_TIME) && (s->state != CONN_UP || s->version < h->version ||
				       (h->feature && !(s->features & h->feature)))) {
		vsrv_mistake(s, "%s message is out of place", h->name);
		return 0;
	}
	if (s->paused && !(h->flags & WHILE_PAUSED)) {
		vsrv_mistake(s, "%s message while paused", h->name);
		return 0;
	}
	/* from then on only the trusted path counts */
	if (s->state == CONN_UP && s->trusted && !(via & VMBUS_VIA_TRUSTED)) {
		vsrv_mistake(s, "%s message by an untrusted path", h->name);
		return 0;
	}
	if (s->out.len >= s->cfg.max_queue && !(h->flags & WHILE_FULL)) {
		s->refused++;
		return -EAGAIN;
	}
	s->messages_in++;
	vsrv_enter(s);
	h->fn(s, &in);
	vsrv_leave(s);
	return 0;
}
