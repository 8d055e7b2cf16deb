/* hv_sock between a guest and programs of its host, over a VMBus server. */
#include "common/vmbus/hvsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/vmbus/pipe.h"

enum conn_state {
	CONN_ASKED,   /* by the guest; the user has not answered */
	CONN_OFFERED, /* the guest has not opened */
	CONN_OPEN,
	CONN_LINGER, /* the user has left */
	CONN_OVER,   /* waits for the guest's release */
};

struct hvsock_conn {
	struct hvsock *h;
	struct hvsock_conn *next;
	enum conn_state state;
	bool stale; /* the guest that asked has gone */
	struct guid service, endpoint;
	struct vmbus_channel *ch;
	struct vmbus_pipe pipe;
	u64 deadline;
	u32 seen_read; /* guest's index when the linger time began */
	void *user;
};

struct hvsock {
	struct vmbus_server *server;
	const struct hvsock_ops *ops;
	void *ctx;
	struct hvsock_conn *conns;
	unsigned count;
};

static const struct vmbus_device_ops conn_ops;

static void unlink_conn(struct hvsock_conn *c)
{
	struct hvsock_conn **at = &c->h->conns;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->h->count--;
	free(c);
}

static struct hvsock_conn *new_conn(struct hvsock *h)
{
	struct hvsock_conn *c;

	if (h->count >= HVSOCK_MAX_CONNECTIONS)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->h = h;
	c->deadline = UINT64_MAX;
	c->next = h->conns;
	h->conns = c;
	h->count++;
	return c;
}

/* The channel goes; c is freed when the guest has released it, at the latest. */
static void rescind(struct hvsock_conn *c)
{
	struct vmbus_channel *ch = c->ch;

	c->state = CONN_OVER;
	c->deadline = UINT64_MAX;
	vmbus_channel_revoke(ch);
}

static void over(struct hvsock_conn *c, const char *why)
{
	struct hvsock *h = c->h;

	if (c->state == CONN_OFFERED || c->state == CONN_OPEN)
		h->ops->closed(h->ctx, c, why);
	if (c->state != CONN_OVER)
		rescind(c);
}

static void signal_guest(struct hvsock_conn *c, bool signal)
{
	if (signal)
		vmbus_channel_signal(c->ch);
}

/*
 * Throws away what comes; ends the connection when the guest has read all. It need not have said
 * all: nobody would read it, and a guest program waits for the end of its peer, not of one half.
 */
static void linger(struct hvsock_conn *c)
{
	bool signal = false;
	u8 waste[4096];
	ssize_t n;

	/* a ring's worth and no more: a guest that writes for ever must not keep us here */
	for (u32 left = c->pipe.rx->size; left; left -= MIN(left, (u32)n)) {
		n = vmbus_pipe_read(&c->pipe, waste, sizeof(waste), &signal);
		if (n <= 0)
			break;
	}
	signal_guest(c, signal);
	if (c->pipe.rx->corrupt || c->pipe.tx->corrupt || vmbus_pipe_drained(&c->pipe))
		rescind(c);
}

/* --- device of the server */

static void on_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct hvsock_conn *c = dev;
	struct hvsock *h = c->h;

	(void)open;
	if (c->state != CONN_OFFERED) {
		vmbus_channel_open_done(ch, VMBUS_STATUS_FAILED);
		return;
	}
	vmbus_pipe_init(&c->pipe, vmbus_channel_rx(ch), vmbus_channel_tx(ch));
	c->state = CONN_OPEN;
	c->deadline = UINT64_MAX;
	vmbus_channel_open_done(ch, VMBUS_STATUS_SUCCESS);
	/* signals are wanted from the start: nobody has read yet */
	vmbus_rx_sleep(c->pipe.rx);
	h->ops->connected(h->ctx, c);
}

static void on_close(void *dev, struct vmbus_channel *ch)
{
	struct hvsock_conn *c = dev;
	struct hvsock *h = c->h;

	(void)ch;
	if (c->state == CONN_OPEN)
		h->ops->closed(h->ctx, c, "closed by the guest");
	if (c->state != CONN_OVER)
		rescind(c);
}

static void on_signal(void *dev, struct vmbus_channel *ch)
{
	struct hvsock_conn *c = dev;

	(void)ch;
	if (c->state == CONN_OPEN)
		c->h->ops->event(c->h->ctx, c);
	else if (c->state == CONN_LINGER)
		linger(c);
}

static void on_released(void *dev)
{
	unlink_conn(dev);
}

static const struct vmbus_device_ops conn_ops = {
	.open = on_open,
	.close = on_close,
	.signal = on_signal,
	.released = on_released,
};

static bool offer(struct hvsock_conn *c, const struct guid *interface, const struct guid *instance,
		  bool for_accept, unsigned ms)
{
	struct vmbus_hvsock_user user = {.for_guest_accept = for_accept, .version = 1};
	struct vmbus_offer o = {
		.interface = *interface,
		.instance = *instance,
		.flags = VMBUS_OFFER_HVSOCK,
		.transient = true,
		.name = "hv_sock",
	};

	memcpy(o.user, &user, sizeof(user));
	c->state = CONN_OFFERED;
	c->deadline = c->h->ops->now(c->h->ctx) + ms;
	c->ch = vmbus_server_offer(c->h->server, &o, &conn_ops, c);
	return c->ch;
}

/* --- guest connects */

void hvsock_tl_connect(struct hvsock *h, const struct guid *endpoint, const struct guid *service)
{
	struct hvsock_conn *c;
	unsigned asked = 0;

	for (c = h->conns; c; c = c->next)
		asked += c->state == CONN_ASKED;
	c = asked < HVSOCK_MAX_CONNECTS ? new_conn(h) : NULL;
	if (!c) {
		vmbus_server_tl_result(h->server, endpoint, service, VMBUS_STATUS_CONN_REFUSED);
		return;
	}
	c->state = CONN_ASKED;
	c->service = *service;
	c->endpoint = *endpoint;
	h->ops->connect(h->ctx, c, &c->service);
}

bool hvsock_accept(struct hvsock_conn *c, void *user)
{
	c->user = user;
	if (!c->stale && offer(c, &c->service, &c->endpoint, false, HVSOCK_OPEN_MS))
		return true;
	hvsock_refuse(c);
	return false;
}

void hvsock_refuse(struct hvsock_conn *c)
{
	struct guid endpoint = c->endpoint, service = c->service;
	struct hvsock *h = c->h;
	bool stale = c->stale;

	unlink_conn(c);
	if (!stale)
		vmbus_server_tl_result(h->server, &endpoint, &service, VMBUS_STATUS_CONN_REFUSED);
}

/* --- host connects */

struct hvsock_conn *hvsock_connect(struct hvsock *h, const struct guid *service,
				   const struct guid *instance, void *user)
{
	struct vmbus_server_info info;
	struct hvsock_conn *c;

	/* hv_sock exists from 4.0 on */
	vmbus_server_describe(h->server, &info);
	if (!info.offers_sent || info.version < VMBUS_V4_0)
		return NULL;
	c = new_conn(h);
	if (!c)
		return NULL;
	c->service = *service;
	c->endpoint = *instance;
	c->user = user;
	if (!offer(c, service, instance, true, HVSOCK_CONNECT_MS)) {
		unlink_conn(c);
		return NULL;
	}
	return c;
}

/* --- bytes */

ssize_t hvsock_read(struct hvsock_conn *c, void *buf, size_t size)
{
	bool signal = false;
	ssize_t n;

	if (c->state != CONN_OPEN)
		return -EAGAIN;
	n = vmbus_pipe_read(&c->pipe, buf, size, &signal);
	signal_guest(c, signal);
	return n;
}

ssize_t hvsock_write(struct hvsock_conn *c, const void *buf, size_t len)
{
	bool signal = false;
	ssize_t n;

	if (c->state != CONN_OPEN)
		return -EAGAIN;
	n = vmbus_pipe_write(&c->pipe, buf, len, &signal);
	signal_guest(c, signal);
	return n;
}

size_t hvsock_room(struct hvsock_conn *c)
{
	return c->state == CONN_OPEN ? vmbus_pipe_room(&c->pipe) : 0;
}

bool hvsock_broken(const struct hvsock_conn *c)
{
	return c->state == CONN_OPEN && (c->pipe.rx->corrupt || c->pipe.tx->corrupt);
}

int hvsock_shutdown(struct hvsock_conn *c)
{
	bool signal = false;
	int ret;

	if (c->state != CONN_OPEN)
		return -ENOTCONN;
	ret = vmbus_pipe_finish(&c->pipe, &signal);
	signal_guest(c, signal);
	return ret;
}

void hvsock_close(struct hvsock_conn *c, bool now)
{
	c->user = NULL;
	switch (c->state) {
	case CONN_ASKED: hvsock_refuse(c); return;
	case CONN_LINGER:
	case CONN_OVER: return;
	case CONN_OFFERED: rescind(c); return;
	case CONN_OPEN: break;
	}
	if (now || hvsock_shutdown(c)) {
		rescind(c);
		return;
	}
	c->state = CONN_LINGER;
	c->seen_read = c->pipe.tx->read;
	c->deadline = c->h->ops->now(c->h->ctx) + HVSOCK_LINGER_MS;
	linger(c);
}

void *hvsock_user(const struct hvsock_conn *c)
{
	return c->user;
}

u16 hvsock_channel(const struct hvsock_conn *c)
{
	return c->ch ? vmbus_channel_id(c->ch) : 0;
}

/* --- time, life */

u64 hvsock_deadline(const struct hvsock *h)
{
	u64 first = UINT64_MAX;

	for (const struct hvsock_conn *c = h->conns; c; c = c->next)
		first = MIN(first, c->deadline);
	return first;
}

/* One that is due, as op closed may change the list. */
static struct hvsock_conn *due(struct hvsock *h, u64 now)
{
	struct hvsock_conn *c = h->conns;

	while (c && c->deadline > now)
		c = c->next;
	return c;
}

void hvsock_expire(struct hvsock *h)
{
	u64 now = h->ops->now(h->ctx);
	struct hvsock_conn *c;

	while ((c = due(h, now))) {
		if (c->state == CONN_LINGER && !vmbus_pipe_drained(&c->pipe) &&
		    c->pipe.tx->read != c->seen_read) {
			/* slow, but it reads */
			c->seen_read = c->pipe.tx->read;
			c->deadline = now + HVSOCK_LINGER_MS;
			continue;
		}
		over(c, "the guest does not open");
	}
}

void hvsock_reset(struct hvsock *h)
{
	struct hvsock_conn *c = h->conns;

	while (c) {
		if (c->state == CONN_OVER) {
			c = c->next;
			continue;
		}
		if (c->state == CONN_ASKED) {
			/* the user's answer still has to come */
			c->stale = true;
			c = c->next;
			continue;
		}
		over(c, "the guest has disconnected");
		c = h->conns;
	}
}

struct hvsock *hvsock_new(struct vmbus_server *server, const struct hvsock_ops *ops, void *ctx)
{
	struct hvsock *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->server = server;
	h->ops = ops;
	h->ctx = ctx;
	return h;
}

void hvsock_free(struct hvsock *h)
{
	if (!h)
		return;
	while (h->conns) {
		struct hvsock_conn *c = h->conns;

		h->conns = c->next;
		free(c);
	}
	free(h);
}

unsigned hvsock_count(const struct hvsock *h)
{
	return h->count;
}

/* --- hybrid vsock */

static bool parse_port(const char *text, size_t len, u32 *port)
{
	u64 value = 0;

	if (!len || len > 10)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (u64)(text[i] - '0');
	}
	*port = (u32)value;
	return value <= UINT32_MAX;
}

ssize_t hybrid_parse(const char *buf, size_t len, struct hybrid_request *req)
{
	static const char keyword[] = "CONNECT ";
	const size_t skip = sizeof(keyword) - 1;
	const char *end = memchr(buf, '\n', MIN(len, (size_t)HYBRID_LINE_MAX));
	size_t line;
	u32 port;

	if (!end) {
		/* refuse early what can not become a request */
		if (len >= HYBRID_LINE_MAX || strncasecmp(buf, keyword, MIN(len, skip)))
			return -EINVAL;
		return -EAGAIN;
	}
	line = (size_t)(end - buf);
	if (line < skip || strncasecmp(buf, keyword, skip))
		return -EINVAL;
	if (parse_port(buf + skip, line - skip, &port)) {
		req->service = VMBUS_IF_HVSOCK(port);
		req->by_port = true;
	} else if (guid_parse(buf + skip, line - skip, &req->service)) {
		req->by_port = false;
	} else {
		return -EINVAL;
	}
	return (ssize_t)line + 1;
}

size_t hybrid_ok(const struct hybrid_request *req, const struct guid *instance,
		 char out[HYBRID_OK_MAX])
{
	char text[GUID_TEXT];

	if (req->by_port)
		return (size_t)snprintf(out, HYBRID_OK_MAX, "OK %u\n", instance->data1);
	return (size_t)snprintf(out, HYBRID_OK_MAX, "OK %s\n", guid_format(&req->service, text));
}
