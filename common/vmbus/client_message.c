/* VMBus client: the messages of the host, each judged from a copy. */
#include "common/vmbus/client_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"

#define LOGGED_MISTAKES 20

__attribute__((format(printf, 2, 3))) static void mistake(struct vmbus_client *c, const char *fmt,
							  ...)
{
	char text[160];
	va_list ap;

	c->dropped++;
	if (c->mistakes >= LOGGED_MISTAKES)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("%s: %s%s", c->cfg.name, text,
		 ++c->mistakes == LOGGED_MISTAKES ? " (no more of these are shown)" : "");
}

#define CALL(c, op, ...)                                       \
	do {                                                   \
		if ((c)->ops->op)                              \
			(c)->ops->op((c)->ctx, ##__VA_ARGS__); \
	} while (0)

static void on_version(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_version msg = {0};
	u32 want = c->version;

	if (c->state != CL_CONTACT) {
		mistake(c, "version response, and nothing asked");
		return;
	}
	memcpy(&msg, data, MIN(len, sizeof(msg)));
	if (!msg.supported || msg.state != VMBUS_CONN_STATE_OK ||
	    (want >= VMBUS_V6_0 && len < VMBUS_VERSION_V2_SIZE)) {
		if (!vclient_try_next(c, want))
			CALL(c, connected, 0, 0);
		return;
	}
	c->state = CL_UP;
	c->features = want >= VMBUS_V6_0 ? msg.features & c->cfg.features : 0;
	if (want >= VMBUS_V5_0)
		c->connection = msg.connection;
	CALL(c, connected, c->version, c->features);
}

static void on_offer(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_offer msg;

	(void)len;
	memcpy(&msg, data, sizeof(msg));
	if (!c->offers_requested || !msg.channel || msg.channel >= VMBUS_MAX_CHANNELS ||
	    vclient_known(c, msg.channel)) {
		mistake(c, "offer of channel %u", msg.channel);
		return;
	}
	c->channel[msg.channel] = (struct client_channel){.state = CC_CLOSED};
	c->channels++;
	CALL(c, offer, &msg);
}

static void on_rescind(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_channel msg;
	struct client_channel *ch;
	bool opening;

	(void)len;
	memcpy(&msg, data, sizeof(msg));
	ch = vclient_known(c, msg.channel);
	if (!ch || ch->rescinded) {
		mistake(c, "rescind of channel %u", msg.channel);
		return;
	}
	opening = ch->state == CC_OPENING;
	ch->rescinded = true;
	/* no answer will come to what was asked: the rescind is the answer */
	if (opening) {
		ch->state = CC_CLOSED;
		CALL(c, opened, (u16)msg.channel, VMBUS_STATUS_FAILED);
	}
	CALL(c, rescinded, (u16)msg.channel);
}

static void on_all_offers(struct vmbus_client *c, const void *data, size_t len)
{
	(void)data;
	(void)len;
	if (!c->offers_requested)
		mistake(c, "end of offers that were not asked for");
	else
		CALL(c, offers_delivered);
}

static void on_open_result(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_open_result msg;
	struct client_channel *ch;

	(void)len;
	memcpy(&msg, data, sizeof(msg));
	ch = vclient_known(c, msg.channel);
	if (!ch || ch->state != CC_OPENING || msg.open_id != ch->open_id) {
		mistake(c, "open result of channel %u", msg.channel);
		return;
	}
	ch->state = msg.status ? CC_CLOSED : CC_OPEN;
	CALL(c, opened, (u16)msg.channel, msg.status);
}

static void on_gpadl_created(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_gpadl_created msg;
	struct client_gpadl *g;

	(void)len;
	memcpy(&msg, data, sizeof(msg));
	g = msg.channel < VMBUS_MAX_CHANNELS
		    ? vclient_find_gpadl(c, (int)msg.channel, msg.gpadl, CG_CREATING)
		    : NULL;
	if (!g) {
		if (vclient_known(c, msg.channel))
			mistake(c, "GPADL %#x of channel %u created", msg.gpadl, msg.channel);
		else
			c->stale++;
		return;
	}
	if (msg.status)
		vclient_drop_gpadl(c, g);
	else
		g->state = CG_CREATED;
	CALL(c, gpadl_created, (u16)msg.channel, msg.gpadl, msg.status);
}

static void on_gpadl_torndown(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_gpadl_torndown msg;
	struct client_gpadl *g;
	u16 channel;

	(void)len;
	memcpy(&msg, data, sizeof(msg));
	g = vclient_find_gpadl(c, -1, msg.gpadl, CG_TEARDOWN);
	if (!g) {
		/* of a channel that we have released, as a rule */
		c->stale++;
		return;
	}
	channel = g->channel;
	vclient_drop_gpadl(c, g);
	CALL(c, gpadl_torndown, channel, msg.gpadl);
}

static void on_modify_response(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_modify_response msg;
	struct client_channel *ch;

	(void)len;
	memcpy(&msg, data, sizeof(msg));
	ch = vclient_known(c, msg.channel);
	if (!ch) {
		c->stale++;
		return;
	}
	if (!ch->modifying) {
		mistake(c, "modify response for channel %u", msg.channel);
		return;
	}
	ch->modifying = false;
	if (!ch->modify_void)
		CALL(c, modified, (u16)msg.channel, msg.status);
	ch->modify_void = false;
}

static void on_tl_result(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_tl_result msg;
	struct guid endpoint, service;

	(void)len;
	memcpy(&msg, data, sizeof(msg));
	endpoint = msg.endpoint;
	service = msg.service;
	CALL(c, tl_result, &endpoint, &service, msg.status);
}

static void on_conn_modified(struct vmbus_client *c, const void *data, size_t len)
{
	struct vmbus_msg_modify_conn_response msg;

	(void)len;
	memcpy(&msg, data, sizeof(msg));
	if (!c->conn_modifying) {
		mistake(c, "connection modified, and nothing asked");
		return;
	}
	c->conn_modifying = false;
	CALL(c, conn_modified, msg.state);
}

static void on_unload_complete(struct vmbus_client *c, const void *data, size_t len)
{
	(void)data;
	(void)len;
	if (c->state != CL_UNLOADING) {
		mistake(c, "unload complete, and nothing asked");
		return;
	}
	vclient_forget_all(c);
	c->state = CL_IDLE;
	CALL(c, unloaded);
}

static void on_pause_response(struct vmbus_client *c, const void *data, size_t len)
{
	(void)data;
	(void)len;
	if (!c->pausing) {
		mistake(c, "pause response, and nothing asked");
		return;
	}
	c->pausing = false;
	CALL(c, paused);
}

static const struct handler {
	u16 min_len;
	bool any_state;
	void (*fn)(struct vmbus_client *c, const void *data, size_t len);
} handlers[VMBUS_MSG_COUNT] = {
	[VMBUS_MSG_OFFER] = {196, false, on_offer},
	[VMBUS_MSG_RESCIND] = {12, false, on_rescind},
	[VMBUS_MSG_ALL_OFFERS_DELIVERED] = {8, false, on_all_offers},
	[VMBUS_MSG_OPEN_RESULT] = {20, false, on_open_result},
	[VMBUS_MSG_GPADL_CREATED] = {20, false, on_gpadl_created},
	[VMBUS_MSG_GPADL_TORNDOWN] = {12, false, on_gpadl_torndown},
	[VMBUS_MSG_VERSION_RESPONSE] = {16, true, on_version},
	[VMBUS_MSG_UNLOAD_COMPLETE] = {8, true, on_unload_complete},
	[VMBUS_MSG_TL_CONNECT_RESULT] = {44, false, on_tl_result},
	[VMBUS_MSG_MODIFY_RESPONSE] = {16, false, on_modify_response},
	[VMBUS_MSG_MODIFY_CONN_RESPONSE] = {9, false, on_conn_modified},
	[VMBUS_MSG_PAUSE_RESPONSE] = {8, false, on_pause_response},
};

void vmbus_client_message(struct vmbus_client *c, const void *msg, size_t len)
{
	const struct handler *h = NULL;
	struct vmbus_msg_header hdr;

	if (len < sizeof(hdr) || len > VMBUS_MESSAGE_MAX) {
		mistake(c, "message of %zu bytes", len);
		return;
	}
	memcpy(&hdr, msg, sizeof(hdr));
	if (hdr.type < VMBUS_MSG_COUNT)
		h = &handlers[hdr.type];
	if (!h || !h->fn || len < h->min_len) {
		mistake(c, "message of type %u, %zu bytes", hdr.type, len);
		return;
	}
	/* what was under way when the connection ended */
	if (!h->any_state && c->state != CL_UP) {
		c->stale++;
		return;
	}
	c->messages_in++;
	h->fn(c, msg, len);
}
