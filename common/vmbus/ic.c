/* Integration components offered to a guest: shutdown, heartbeat, timesync, key-value pairs. */
#include "common/vmbus/ic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/log.h"
#include "common/protobuf.h"

struct packet {
	struct ic_header head;
	union {
		u8 bytes[4096 - sizeof(struct ic_header)];
		struct ic_negotiate negotiate;
		struct ic_heartbeat heartbeat;
		struct ic_shutdown shutdown;
		struct ic_timesync time;
		struct ic_timesync_old time_old;
		struct kvp_body kvp;
	};
} VMBUS_PACKED;

static const struct ic_version frameworks[] = {{1, 0}, {3, 0}};

static const struct kind {
	const char *name;
	struct guid interface, instance;
	unsigned versions;
	struct ic_version version[4];
} kinds[] = {
	[IC_HEARTBEAT] = {"heartbeat",
			  VMBUS_IF_HEARTBEAT,
			  GUID(0xfd149e91, 0x82e0, 0x4a7d, 0xaf, 0xa6, 0x2a, 0x41, 0x66, 0xcb, 0xd7,
			       0xc0),
			  2,
			  {{1, 0}, {3, 0}}},
	[IC_KVP] = {"kvp", VMBUS_IF_KVP, VMBUS_INSTANCE_KVP, 2, {{3, 0}, {4, 0}}},
	[IC_SHUTDOWN] = {"shutdown",
			 VMBUS_IF_SHUTDOWN,
			 VMBUS_INSTANCE_SHUTDOWN,
			 4,
			 {{1, 0}, {3, 0}, {3, 1}, {3, 2}}},
	[IC_TIMESYNC] =
		{"timesync", VMBUS_IF_TIMESYNC, VMBUS_INSTANCE_TIMESYNC, 2, {{3, 0}, {4, 0}}},
};

static u64 now(const struct vmbus_ic *ic)
{
	return ic->ops->now_ms(ic->ctx);
}

/* --- sending */

static bool send(struct vmbus_ic *ic, u16 type, const void *body, u16 len)
{
	struct packet p = {
		.head =
			{
				.framework = ic->framework,
				.type = type,
				.message = ic->message,
				.size = len,
				.transaction = ++ic->transaction,
				.flags = IC_FLAG_TRANSACTION | IC_FLAG_REQUEST,
			},
	};
	bool signal = false;
	int ret;

	memcpy(p.bytes, body, len);
	ret = vmbus_pipe_send(&ic->pipe, &p, sizeof(p.head) + len, &signal);
	if (signal)
		vmbus_channel_signal(ic->ch);
	ic->asked = !ret;
	ic->sent += !ret;
	return !ret;
}

static void negotiate(struct vmbus_ic *ic)
{
	const struct kind *k = &kinds[ic->type];
	struct {
		u16 frameworks, messages;
		u32 reserved;
		struct ic_version version[ARRAY_SIZE(frameworks) + 4];
	} VMBUS_PACKED body = {ARRAY_SIZE(frameworks), (u16)k->versions};

	memcpy(body.version, frameworks, sizeof(frameworks));
	memcpy(body.version + ARRAY_SIZE(frameworks), k->version,
	       k->versions * sizeof(struct ic_version));
	ic->state = IC_NEGOTIATING;
	ic->framework = ic->message = (struct ic_version){0};
	send(ic, IC_NEGOTIATE, &body,
	     (u16)(8 + (ARRAY_SIZE(frameworks) + k->versions) * sizeof(struct ic_version)));
}

static void beat(struct vmbus_ic *ic)
{
	struct ic_heartbeat body = {.sequence = ic->sequence + 1};

	if (send(ic, IC_HEARTBEAT, &body, sizeof(body)))
		ic->sequence++;
}

static void send_time(struct vmbus_ic *ic, u8 flags)
{
	if (ic->message.major >= 4) {
		struct ic_timesync body = {
			.time = ic->ops->filetime(ic->ctx),
			.reference = ic->ops->reference(ic->ctx),
			.flags = flags,
			.stratum = 1,
		};

		send(ic, IC_TIMESYNC, &body, sizeof(body));
	} else {
		struct ic_timesync_old body = {.parent = ic->ops->filetime(ic->ctx),
					       .flags = flags};

		send(ic, IC_TIMESYNC, &body, sizeof(body));
	}
}

static void kvp_send(struct vmbus_ic *ic, const struct kvp_body *body)
{
	ic->deadline = now(ic) + IC_KVP_MS;
	if (!send(ic, IC_KVP, body, sizeof(*body)))
		ic->deadline = now(ic); /* the ring is full: over */
}

static void kvp_ask(struct vmbus_ic *ic)
{
	const struct kvp_body body = {
		.op = KVP_ENUMERATE,
		.pool = ic->kvp_pool,
		.enumerate = {.index = ic->kvp_index},
	};

	kvp_send(ic, &body);
}

static void kvp_end(struct vmbus_ic *ic, u32 status)
{
	if (!ic->kvp_running)
		return;
	ic->kvp_running = false;
	ic->deadline = UINT64_MAX;
	if (ic->ops->kvp_done)
		ic->ops->kvp_done(ic->ctx, status);
}

/* --- answers */

static char *put_utf8(char *out, u32 c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

/* len bytes of UTF-16 up to a NUL; out has room for len * 3 / 2 + 1. */
static void to_utf8(const u8 *in, u32 len, char *out)
{
	for (u32 i = 0; i + 2 <= len; i += 2) {
		u32 c = get_le16(in + i);

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xe000) {
			u32 low = i + 4 <= len ? get_le16(in + i + 2) : 0;

			if (c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				i += 2;
			} else {
				c = 0xfffd;
			}
		}
		out = put_utf8(out, c);
	}
	*out = '\0';
}

/* asked NULL: as the guest has it */
static void kvp_item(struct vmbus_ic *ic, const struct kvp_value *v, const char *asked)
{
	char key[KVP_TEXT_MAX(KVP_KEY_MAX)], value[KVP_TEXT_MAX(KVP_VALUE_MAX)];

	to_utf8(v->key, MIN(v->key_size, (u32)KVP_KEY_MAX), key);
	switch (v->type) {
	case KVP_DWORD: snprintf(value, sizeof(value), "%u", get_le32(v->value)); break;
	case KVP_QWORD:
	case KVP_QWORD2:
		snprintf(value, sizeof(value), "%llu", (unsigned long long)get_le64(v->value));
		break;
	default: to_utf8(v->value, MIN(v->value_size, (u32)KVP_VALUE_MAX), value); break;
	}
	if (ic->ops->kvp_item)
		ic->ops->kvp_item(ic->ctx, asked ? asked : key, value);
}

/* Of a get the body is wanted, of set and delete the status only. */
static void on_kvp_single(struct vmbus_ic *ic, const struct packet *p, size_t len)
{
	u32 status = p->head.status;

	if (!status && ic->kvp_op == KVP_GET) {
		if (len < sizeof(struct kvp_body) || p->kvp.op != KVP_GET) {
			status = IC_E_FAIL;
		} else {
			struct kvp_value v = p->kvp.value;

			kvp_item(ic, &v, ic->kvp_key);
		}
	}
	kvp_end(ic, status);
}

static void on_kvp(struct vmbus_ic *ic, const struct packet *p, size_t len)
{
	if (!ic->kvp_running)
		return;
	if (ic->kvp_op != KVP_ENUMERATE) {
		on_kvp_single(ic, p, len);
	} else if (p->head.status == IC_E_NO_MORE) {
		kvp_end(ic, IC_S_OK);
	} else if (p->head.status) {
		/* Linux' daemon ends a list with a failure too */
		kvp_end(ic,
			ic->kvp_index && p->head.status == IC_E_FAIL ? IC_S_OK : p->head.status);
	} else if (len < sizeof(struct kvp_body) || p->kvp.op != KVP_ENUMERATE) {
		kvp_end(ic, IC_E_FAIL);
	} else {
		struct kvp_value v = p->kvp.enumerate.value;

		kvp_item(ic, &v, NULL);
		if (++ic->kvp_index < IC_KVP_ITEMS)
			kvp_ask(ic);
		else
			kvp_end(ic, IC_S_OK);
	}
}

static bool offered(const struct ic_version *list, unsigned n, struct ic_version v)
{
	for (unsigned i = 0; i < n; i++) {
		if (list[i].major == v.major && list[i].minor == v.minor)
			return true;
	}
	return false;
}

static void on_negotiated(struct vmbus_ic *ic, const struct packet *p, size_t len)
{
	const struct kind *k = &kinds[ic->type];
	struct ic_version framework, message;

	if (ic->state != IC_NEGOTIATING)
		return;
	if (len < 16 || p->negotiate.frameworks != 1 || p->negotiate.messages != 1) {
		log_info("%s component: the guest takes none of our versions", k->name);
		ic->state = IC_FAILED;
		return;
	}
	framework = p->negotiate.version[0];
	message = p->negotiate.version[1];
	if (!offered(frameworks, ARRAY_SIZE(frameworks), framework) ||
	    !offered(k->version, k->versions, message)) {
		ic->state = IC_FAILED;
		return;
	}
	ic->framework = framework;
	ic->message = message;
	ic->state = IC_READY;
	if (ic->type == IC_HEARTBEAT || ic->type == IC_TIMESYNC) {
		ic->deadline = now(ic);
		vmbus_ic_tick(ic);
	}
	if (ic->ops->ready)
		ic->ops->ready(ic->ctx, ic, true);
}

static void on_message(struct vmbus_ic *ic, const struct packet *p, size_t len)
{
	/* answers only, to what was asked last */
	if (len < sizeof(p->head) || !(p->head.flags & IC_FLAG_RESPONSE) || !ic->asked ||
	    p->head.transaction != ic->transaction)
		return;
	len -= sizeof(p->head);
	ic->received++;
	ic->asked = false;
	if (p->head.type == IC_NEGOTIATE) {
		on_negotiated(ic, p, len);
		return;
	}
	if (ic->state != IC_READY || p->head.type != ic->type)
		return;
	switch (ic->type) {
	case IC_HEARTBEAT:
		/* Linux counts one up, others return it as it was */
		if (len >= sizeof(p->heartbeat) && p->heartbeat.sequence - ic->sequence <= 1)
			ic->last_beat = MAX(now(ic), 1ull);
		break;
	case IC_SHUTDOWN:
		if (ic->ops->shutdown_done)
			ic->ops->shutdown_done(ic->ctx, p->head.status);
		break;
	case IC_KVP: on_kvp(ic, p, len); break;
	default: break;
	}
}

/* --- device of the server */

static void on_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct vmbus_ic *ic = dev;

	(void)open;
	vmbus_pipe_init(&ic->pipe, vmbus_channel_rx(ch), vmbus_channel_tx(ch));
	ic->last_beat = 0;
	ic->synced = false;
	vmbus_channel_open_done(ch, VMBUS_STATUS_SUCCESS);
	vmbus_rx_sleep(ic->pipe.rx);
	negotiate(ic);
}

static void on_close(void *dev, struct vmbus_channel *ch)
{
	struct vmbus_ic *ic = dev;
	bool was_ready = ic->state == IC_READY;

	ic->state = IC_CLOSED;
	ic->asked = ic->more = false;
	ic->deadline = UINT64_MAX;
	kvp_end(ic, IC_E_FAIL);
	vmbus_channel_close_done(ch);
	if (was_ready && ic->ops->ready)
		ic->ops->ready(ic->ctx, ic, false);
}

static void drain(struct vmbus_ic *ic)
{
	bool signal = false;
	struct packet p;
	unsigned left = 64;
	size_t len;
	int ret = 0;

	while (ic->state != IC_CLOSED && left--) {
		ret = vmbus_pipe_recv(&ic->pipe, &p, sizeof(p), &len, &signal);
		if (ret == -EAGAIN || ret == -EIO)
			break;
		if (!ret)
			on_message(ic, &p, len);
	}
	/* a guest that writes without end is served by the clock */
	ic->more = ic->state != IC_CLOSED && ret != -EAGAIN && ret != -EIO;
	if (ic->state != IC_CLOSED && signal)
		vmbus_channel_signal(ic->ch);
}

static void on_signal(void *dev, struct vmbus_channel *ch)
{
	(void)ch;
	drain(dev);
}

static const struct vmbus_device_ops ic_device = {
	.open = on_open,
	.close = on_close,
	.signal = on_signal,
};

bool vmbus_ic_init(struct vmbus_ic *ic, struct vmbus_server *server, enum ic_type type,
		   const struct vmbus_ic_ops *ops, void *ctx)
{
	struct vmbus_offer offer = {
		.flags = VMBUS_OFFER_ENUMERATE | VMBUS_OFFER_PIPE,
	};

	if ((size_t)type >= ARRAY_SIZE(kinds) || !kinds[type].name)
		return false;
	offer.interface = kinds[type].interface;
	offer.instance = kinds[type].instance;
	offer.name = kinds[type].name;
	offer.user[0] = 4; /* pipe in message mode */
	*ic = (struct vmbus_ic){
		.server = server,
		.ops = ops,
		.ctx = ctx,
		.type = type,
		.deadline = UINT64_MAX,
	};
	ic->ch = vmbus_server_offer(server, &offer, &ic_device, ic);
	return ic->ch;
}

u64 vmbus_ic_deadline(const struct vmbus_ic *ic)
{
	return ic->more ? 0 : ic->deadline;
}

void vmbus_ic_tick(struct vmbus_ic *ic)
{
	u64 t = now(ic);

	if (ic->more)
		drain(ic);
	if (ic->state == IC_CLOSED || t < ic->deadline)
		return;
	ic->deadline = UINT64_MAX;
	switch (ic->type) {
	case IC_HEARTBEAT:
		beat(ic);
		ic->deadline = t + IC_HEARTBEAT_MS;
		break;
	case IC_TIMESYNC:
		send_time(ic, ic->synced ? IC_TIME_SAMPLE : IC_TIME_SYNC);
		ic->synced = true;
		ic->deadline = t + IC_TIMESYNC_MS;
		break;
	case IC_KVP:
		ic->asked = false;
		kvp_end(ic, IC_E_FAIL);
		break;
	default: break;
	}
}

bool vmbus_ic_shutdown(struct vmbus_ic *ic, u32 flags, const char *reason)
{
	struct ic_shutdown body = {.reason = IC_SHUTDOWN_PLANNED, .flags = flags};

	if (ic->type != IC_SHUTDOWN || ic->state != IC_READY || ic->asked)
		return false;
	snprintf(body.text, sizeof(body.text), "%s", reason);
	return send(ic, IC_SHUTDOWN, &body, sizeof(body));
}

static bool kvp_free(const struct vmbus_ic *ic)
{
	return ic->type == IC_KVP && ic->state == IC_READY && !ic->kvp_running;
}

static void kvp_start(struct vmbus_ic *ic, enum kvp_op op, enum kvp_pool pool)
{
	ic->kvp_running = true;
	ic->kvp_op = (u8)op;
	ic->kvp_pool = (u8)pool;
	ic->kvp_index = 0;
}

bool vmbus_ic_kvp_enumerate(struct vmbus_ic *ic, enum kvp_pool pool)
{
	if (!kvp_free(ic))
		return false;
	kvp_start(ic, KVP_ENUMERATE, pool);
	kvp_ask(ic);
	return true;
}

/* One character of valid UTF-8; it moves on. */
static u32 next_character(const u8 **text)
{
	const u8 *at = *text;
	unsigned more = *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : *at >= 0xc0 ? 1 : 0;
	u32 c = more ? *at & (0x3fu >> more) : *at;

	for (at++; more--; at++)
		c = c << 6 | (*at & 0x3f);
	*text = at;
	return c;
}

/* Bytes of UTF-16 with its NUL, written to out unless that is NULL; 0: not UTF-8, or above max. */
static u32 to_utf16(const char *text, u8 *out, u32 max)
{
	const u8 *at = (const u8 *)text;
	u32 used = 0;

	if (!pb_is_utf8(pb_text(text)))
		return 0;
	for (;;) {
		u32 c = next_character(&at), n = c >= 0x10000 ? 4 : 2;

		if (max - used < n)
			return 0;
		if (out && n == 4) {
			put_le16(out + used, (u16)(0xd800 + ((c - 0x10000) >> 10)));
			put_le16(out + used + 2, (u16)(0xdc00 + (c & 0x3ff)));
		} else if (out) {
			put_le16(out + used, (u16)c);
		}
		used += n;
		if (!c)
			return used;
	}
}

bool vmbus_ic_kvp_key_valid(const char *key)
{
	return *key && to_utf16(key, NULL, KVP_KEY_MAX);
}

bool vmbus_ic_kvp_value_valid(const char *value)
{
	return to_utf16(value, NULL, KVP_VALUE_MAX);
}

bool vmbus_ic_kvp_get(struct vmbus_ic *ic, enum kvp_pool pool, const char *key)
{
	struct kvp_body body = {.op = KVP_GET, .pool = (u8)pool};

	if (!kvp_free(ic) || !vmbus_ic_kvp_key_valid(key))
		return false;
	body.value.type = KVP_STRING;
	body.value.key_size = to_utf16(key, body.value.key, KVP_KEY_MAX);
	snprintf(ic->kvp_key, sizeof(ic->kvp_key), "%s", key);
	kvp_start(ic, KVP_GET, pool);
	kvp_send(ic, &body);
	return true;
}

bool vmbus_ic_kvp_set(struct vmbus_ic *ic, enum kvp_pool pool, const char *key, const char *value)
{
	struct kvp_body body = {.op = KVP_SET, .pool = (u8)pool};

	if (!kvp_free(ic) || !vmbus_ic_kvp_key_valid(key) || !vmbus_ic_kvp_value_valid(value))
		return false;
	body.value.type = KVP_STRING;
	body.value.key_size = to_utf16(key, body.value.key, KVP_KEY_MAX);
	body.value.value_size = to_utf16(value, body.value.value, KVP_VALUE_MAX);
	kvp_start(ic, KVP_SET, pool);
	kvp_send(ic, &body);
	return true;
}

bool vmbus_ic_kvp_delete(struct vmbus_ic *ic, enum kvp_pool pool, const char *key)
{
	struct kvp_body body = {.op = KVP_DELETE, .pool = (u8)pool};

	if (!kvp_free(ic) || !vmbus_ic_kvp_key_valid(key))
		return false;
	body.remove.key_size = to_utf16(key, body.remove.key, KVP_KEY_MAX);
	kvp_start(ic, KVP_DELETE, pool);
	kvp_send(ic, &body);
	return true;
}

void vmbus_ic_timesync_step(struct vmbus_ic *ic)
{
	if (ic->type != IC_TIMESYNC || ic->state != IC_READY)
		return;
	ic->synced = false;
	ic->deadline = 0;
	vmbus_ic_tick(ic);
}

u64 vmbus_ic_heartbeat_age(const struct vmbus_ic *ic)
{
	return ic->state == IC_READY && ic->last_beat ? now(ic) - ic->last_beat : UINT64_MAX;
}
