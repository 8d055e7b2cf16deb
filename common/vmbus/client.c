/* A VMBus client: connects to a server as a guest does; its life and requests. */
#include "common/vmbus/client_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const client_state_name[] = {
	[CL_IDLE] = "disconnected",
	[CL_CONTACT] = "connecting",
	[CL_UP] = "connected",
	[CL_UNLOADING] = "unloading",
};

static const u32 versions[] = {
	VMBUS_V6_0, VMBUS_V5_3, VMBUS_V5_2, VMBUS_V5_1, VMBUS_V5_0, VMBUS_V4_1, VMBUS_V4_0,
};

bool vclient_version_known(u32 version)
{
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++) {
		if (versions[i] == version)
			return true;
	}
	return false;
}

/* --- to the host */

static int post(struct vmbus_client *c, u32 connection, const void *msg, size_t len)
{
	int ret = c->ops->post(c->ctx, connection, msg, len);

	if (!ret)
		c->messages_out++;
	else if (ret != -EAGAIN && ret != -ENXIO)
		c->lost++;
	return ret;
}

void vmbus_client_pump(struct vmbus_client *c)
{
	while (c->out.len) {
		struct vmbus_outmsg m = *vmbus_outbox_first(&c->out);

		if (post(c, m.target, m.data, m.len) == -EAGAIN)
			return;
		vmbus_outbox_pop(&c->out);
	}
}

bool vmbus_client_waiting(const struct vmbus_client *c)
{
	return c->out.len;
}

static int send(struct vmbus_client *c, const void *msg, size_t len)
{
	if (!c->out.len && post(c, c->connection, msg, len) != -EAGAIN)
		return 0;
	return vmbus_outbox_put(&c->out, c->connection, 0, 0, msg, len) ? 0 : -ENOBUFS;
}

static int send_plain(struct vmbus_client *c, u32 type)
{
	struct vmbus_msg_header msg = {type, 0};

	return send(c, &msg, sizeof(msg));
}

static int send_channel(struct vmbus_client *c, u32 type, u32 channel)
{
	struct vmbus_msg_channel msg = {{type, 0}, channel};

	return send(c, &msg, sizeof(msg));
}

/* --- what we know of the host's things */

struct client_channel *vclient_known(struct vmbus_client *c, u32 id)
{
	if (id >= VMBUS_MAX_CHANNELS || c->channel[id].state == CC_NONE)
		return NULL;
	return &c->channel[id];
}

/* A channel that requests may name. */
static struct client_channel *usable(struct vmbus_client *c, u32 id)
{
	struct client_channel *ch = vclient_known(c, id);

	return c->state == CL_UP && !c->paused && ch && !ch->rescinded ? ch : NULL;
}

static struct client_gpadl **gpadl_bucket(struct vmbus_client *c, u32 id)
{
	return &c->gpadl[(id ^ id >> 6) % GPADL_BUCKETS];
}

struct client_gpadl *vclient_find_gpadl(struct vmbus_client *c, int channel, u32 id, int state)
{
	struct client_gpadl *g = *gpadl_bucket(c, id);

	while (g && (g->id != id || (channel >= 0 && g->channel != channel) ||
		     (state >= 0 && g->state != state)))
		g = g->next;
	return g;
}

struct client_gpadl *vclient_add_gpadl(struct vmbus_client *c, u16 channel, u32 id)
{
	struct client_gpadl *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->id = id;
	g->channel = channel;
	g->next = *gpadl_bucket(c, id);
	*gpadl_bucket(c, id) = g;
	c->gpadls++;
	return g;
}

void vclient_drop_gpadl(struct vmbus_client *c, struct client_gpadl *g)
{
	struct client_gpadl **at = gpadl_bucket(c, g->id);

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	c->gpadls--;
	free(g);
}

/* channel < 0: of all */
static void drop_gpadls(struct vmbus_client *c, int channel)
{
	for (unsigned i = 0; i < GPADL_BUCKETS; i++) {
		struct client_gpadl *g = c->gpadl[i], *next;

		for (; g; g = next) {
			next = g->next;
			if (channel < 0 || g->channel == channel)
				vclient_drop_gpadl(c, g);
		}
	}
}

void vclient_forget_all(struct vmbus_client *c)
{
	drop_gpadls(c, -1);
	memset(c->channel, 0, sizeof(c->channel));
	c->channels = 0;
	c->version = c->features = 0;
	c->offers_requested = c->pausing = c->paused = c->conn_modifying = false;
}

/* --- requests */

static int contact(struct vmbus_client *c, u32 version)
{
	struct vmbus_msg_contact msg = {
		.hdr = {VMBUS_MSG_INITIATE_CONTACT, 0},
		.version = version,
		.target_vp = c->cfg.target_vp,
		.target_sint = version >= VMBUS_V5_0 ? VMBUS_SINT : 0,
		.target_vtl = version >= VMBUS_V5_1 ? c->cfg.target_vtl : 0,
		.monitor_p2c = c->cfg.monitor_p2c,
		.monitor_c2p = c->cfg.monitor_c2p,
	};
	size_t len = VMBUS_CONTACT_V1_SIZE;
	int ret;

	if (version >= VMBUS_V6_0) {
		msg.features = c->cfg.features;
		msg.client_id = c->cfg.client_id;
		if (msg.features & VMBUS_F_CLIENT_ID)
			len = sizeof(msg);
	}
	c->state = CL_CONTACT;
	c->version = version;
	/* before 5.0 there is one port for all */
	if (version < VMBUS_V5_0)
		c->connection = VMBUS_CONN_LEGACY;
	ret = c->out.len ? -EAGAIN : post(c, c->connection, &msg, len);
	if (ret == -ENXIO && c->cfg.fallback && c->connection != c->cfg.fallback &&
	    version >= VMBUS_V5_0) {
		c->connection = c->cfg.fallback;
		ret = post(c, c->connection, &msg, len);
	}
	if (ret == -EAGAIN)
		ret = vmbus_outbox_put(&c->out, c->connection, 0, 0, &msg, len) ? 0 : -ENOBUFS;
	return ret;
}

bool vclient_try_next(struct vmbus_client *c, u32 below)
{
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++) {
		if (versions[i] >= below || versions[i] > c->cfg.max_version ||
		    versions[i] < c->cfg.min_version)
			continue;
		if (!contact(c, versions[i]))
			return true;
	}
	c->state = CL_IDLE;
	c->version = 0;
	return false;
}

int vmbus_client_connect(struct vmbus_client *c)
{
	if (c->state != CL_IDLE)
		return -EINVAL;
	c->connection = c->cfg.connection;
	c->mistakes = 0;
	return vclient_try_next(c, UINT32_MAX) ? 0 : -ENXIO;
}

int vmbus_client_request_offers(struct vmbus_client *c)
{
	if (c->state != CL_UP || c->paused || c->offers_requested)
		return -EINVAL;
	c->offers_requested = true;
	return send_plain(c, VMBUS_MSG_REQUEST_OFFERS);
}

int vmbus_client_open(struct vmbus_client *c, u16 channel, const struct vmbus_open *open)
{
	bool v2 = c->features & (VMBUS_F_SIGNAL_PARAMS | VMBUS_F_REDIRECT);
	struct client_channel *ch = usable(c, channel);
	struct vmbus_msg_open msg = {
		.hdr = {VMBUS_MSG_OPEN, 0},
		.channel = channel,
		.open_id = open->open_id,
		.gpadl = open->gpadl,
		.target_vp = open->target_vp,
		.downstream = open->downstream,
	};

	if (!ch || ch->state != CC_CLOSED ||
	    !vclient_find_gpadl(c, channel, open->gpadl, CG_CREATED))
		return -EINVAL;
	if (open->redirect && !(c->features & VMBUS_F_REDIRECT))
		return -EOPNOTSUPP;
	memcpy(msg.user, open->user, sizeof(msg.user));
	if (v2) {
		msg.connection = open->connection;
		msg.event_flag = open->event_flag;
		msg.flags = open->redirect ? VMBUS_OPEN_REDIRECT : 0;
	}
	ch->state = CC_OPENING;
	ch->open_id = open->open_id;
	return send(c, &msg, v2 ? sizeof(msg) : VMBUS_OPEN_V1_SIZE);
}

int vmbus_client_close(struct vmbus_client *c, u16 channel)
{
	struct client_channel *ch = vclient_known(c, channel);

	if (c->state != CL_UP || c->paused || !ch || ch->state != CC_OPEN)
		return -EINVAL;
	ch->state = CC_CLOSED;
	ch->modify_void = ch->modifying;
	return send_channel(c, VMBUS_MSG_CLOSE, channel);
}

int vmbus_client_gpadl(struct vmbus_client *c, u16 channel, u32 gpadl, u16 ranges, const u64 *data,
		       u16 words)
{
	struct vmbus_msg_gpadl_header head = {
		{VMBUS_MSG_GPADL_HEADER, 0}, channel, gpadl, (u16)(words * sizeof(u64)), ranges,
	};
	struct vmbus_msg_gpadl_body body = {{VMBUS_MSG_GPADL_BODY, 0}, 0, gpadl};
	u8 msg[VMBUS_MESSAGE_MAX];
	u16 done = MIN(words, VMBUS_GPADL_HEADER_DATA);
	int ret;

	if (!usable(c, channel) || !words || words > 0xffff / 8 ||
	    vclient_find_gpadl(c, channel, gpadl, -1) ||
	    vclient_find_gpadl(c, -1, gpadl, CG_CREATING))
		return -EINVAL;
	if (c->gpadls >= CLIENT_MAX_GPADLS ||
	    c->out.len + words / VMBUS_GPADL_BODY_DATA + 2u > VMBUS_OUTBOX_LIMIT / 2)
		return -ENOBUFS;
	if (!vclient_add_gpadl(c, channel, gpadl))
		return -ENOBUFS;
	memcpy(msg, &head, sizeof(head));
	memcpy(msg + sizeof(head), data, done * sizeof(u64));
	ret = send(c, msg, sizeof(head) + done * sizeof(u64));
	while (!ret && done < words) {
		u16 n = MIN((u16)(words - done), VMBUS_GPADL_BODY_DATA);

		memcpy(msg, &body, sizeof(body));
		memcpy(msg + sizeof(body), data + done, n * sizeof(u64));
		ret = send(c, msg, sizeof(body) + n * sizeof(u64));
		body.number++;
		done += n;
	}
	return ret;
}

int vmbus_client_gpadl_teardown(struct vmbus_client *c, u16 channel, u32 gpadl)
{
	struct vmbus_msg_gpadl_teardown msg = {{VMBUS_MSG_GPADL_TEARDOWN, 0}, channel, gpadl};
	struct client_gpadl *g = vclient_find_gpadl(c, channel, gpadl, CG_CREATED);

	if (c->state != CL_UP || c->paused || !g)
		return -EINVAL;
	g->state = CG_TEARDOWN;
	return send(c, &msg, sizeof(msg));
}

int vmbus_client_release(struct vmbus_client *c, u16 channel)
{
	struct client_channel *ch = vclient_known(c, channel);

	if (c->state != CL_UP || c->paused || !ch || ch->state == CC_OPENING)
		return -EINVAL;
	if (ch->state == CC_OPEN)
		vmbus_client_close(c, channel);
	*ch = (struct client_channel){0};
	c->channels--;
	drop_gpadls(c, channel);
	return send_channel(c, VMBUS_MSG_RELID_RELEASED, channel);
}

int vmbus_client_modify(struct vmbus_client *c, u16 channel, u32 vp)
{
	struct vmbus_msg_modify msg = {{VMBUS_MSG_MODIFY, 0}, channel, vp};
	struct client_channel *ch = usable(c, channel);

	if (c->version < VMBUS_V4_1)
		return -EOPNOTSUPP;
	if (!ch || ch->state != CC_OPEN || ch->modifying)
		return -EINVAL;
	ch->modifying = c->version >= VMBUS_V5_3; /* before, there is no answer */
	return send(c, &msg, sizeof(msg));
}

int vmbus_client_tl_connect(struct vmbus_client *c, const struct guid *endpoint,
			    const struct guid *service, const struct guid *silo)
{
	struct vmbus_msg_tl_connect msg = {{VMBUS_MSG_TL_CONNECT, 0}, *endpoint, *service, {0}};

	if (c->state != CL_UP || c->paused)
		return -EINVAL;
	if (silo)
		msg.silo = *silo;
	return send(c, &msg, c->version >= VMBUS_V5_2 ? sizeof(msg) : VMBUS_TL_CONNECT_V1_SIZE);
}

int vmbus_client_modify_conn(struct vmbus_client *c, u64 monitor_p2c, u64 monitor_c2p)
{
	struct vmbus_msg_modify_conn msg = {{VMBUS_MSG_MODIFY_CONN, 0}, monitor_p2c, monitor_c2p};

	if (c->state != CL_UP || c->paused || c->conn_modifying)
		return -EINVAL;
	if (!(c->features & VMBUS_F_MODIFY_CONN))
		return -EOPNOTSUPP;
	c->conn_modifying = true;
	return send(c, &msg, sizeof(msg));
}

int vmbus_client_unload(struct vmbus_client *c)
{
	if (c->state != CL_UP)
		return -EINVAL;
	c->state = CL_UNLOADING;
	return send_plain(c, VMBUS_MSG_UNLOAD);
}

int vmbus_client_pause(struct vmbus_client *c)
{
	if (c->state != CL_UP || c->paused)
		return -EINVAL;
	if (!(c->features & VMBUS_F_PAUSE))
		return -EOPNOTSUPP;
	c->pausing = c->paused = true;
	return send_plain(c, VMBUS_MSG_PAUSE);
}

int vmbus_client_resume(struct vmbus_client *c)
{
	if (c->state != CL_UP || !c->paused)
		return -EINVAL;
	c->pausing = c->paused = false;
	return send_plain(c, VMBUS_MSG_RESUME);
}

/* --- life */

struct vmbus_client *vmbus_client_new(const struct vmbus_client_config *config,
				      const struct vmbus_client_ops *ops, void *ctx)
{
	struct vmbus_client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->cfg = *config;
	c->ops = ops;
	c->ctx = ctx;
	if (!c->cfg.name)
		c->cfg.name = "VMBus client";
	if (!c->cfg.min_version)
		c->cfg.min_version = VMBUS_V4_0;
	if (!c->cfg.max_version)
		c->cfg.max_version = VMBUS_V6_0;
	return c;
}

void vmbus_client_free(struct vmbus_client *c)
{
	if (!c)
		return;
	drop_gpadls(c, -1);
	vmbus_outbox_free(&c->out);
	free(c);
}

bool vmbus_client_knows(const struct vmbus_client *c, u16 channel)
{
	return channel < VMBUS_MAX_CHANNELS && c->channel[channel].state != CC_NONE;
}

void vmbus_client_describe(const struct vmbus_client *c, struct vmbus_client_info *info)
{
	*info = (struct vmbus_client_info){
		.state = client_state_name[c->state],
		.version = c->state == CL_UP ? c->version : 0,
		.features = c->features,
		.connection = c->connection,
		.channels = c->channels,
		.gpadls = c->gpadls,
		.queued = c->out.len,
		.messages_in = c->messages_in,
		.messages_out = c->messages_out,
		.dropped = c->dropped,
		.stale = c->stale,
		.lost = c->lost,
	};
}
