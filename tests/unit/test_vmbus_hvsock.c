/* hv_sock and pipes: hostile packets and orders, both directions, half close, request lines. */
#include "tests/unit/vmbus_guest.h"

#include "common/vmbus/hvsock.h"
#include "common/vmbus/pipe.h"

struct host {
	struct guest g;
	struct hvsock *h;
	u64 now;
	struct hvsock_conn *asked[32], *conn;
	unsigned asks, connects, events, closes;
	const char *why;
	struct guid service;
	enum { KEEP, ACCEPT, REFUSE } answer;
};

static void host_tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
			    const struct guid *silo)
{
	struct host *h = ctx;

	(void)silo;
	hvsock_tl_connect(h->h, endpoint, service);
}

static void host_connection(void *ctx, u32 version)
{
	struct host *h = ctx;

	if (!version)
		hvsock_reset(h->h);
}

static void on_connect(void *ctx, struct hvsock_conn *c, const struct guid *service)
{
	struct host *h = ctx;

	h->service = *service;
	if (h->answer == ACCEPT) {
		h->conn = c;
		hvsock_accept(c, h);
	} else if (h->answer == REFUSE) {
		hvsock_refuse(c);
	} else {
		h->asked[h->asks] = c;
	}
	h->asks++;
}

static void on_connected(void *ctx, struct hvsock_conn *c)
{
	struct host *h = ctx;

	assert_ptr_equal(c, h->conn);
	assert_ptr_equal(hvsock_user(c), h);
	h->connects++;
}

static void on_event(void *ctx, struct hvsock_conn *c)
{
	struct host *h = ctx;

	assert_ptr_equal(c, h->conn);
	h->events++;
}

static void on_closed(void *ctx, struct hvsock_conn *c, const char *why)
{
	struct host *h = ctx;

	assert_ptr_equal(c, h->conn);
	h->conn = NULL;
	h->why = why;
	h->closes++;
}

static u64 host_now(void *ctx)
{
	return ((struct host *)ctx)->now;
}

static const struct hvsock_ops ops = {on_connect, on_connected, on_event, on_closed, host_now};

static void host_init(struct host *h, u32 version)
{
	static struct vmbus_server_ops server_ops;
	static const struct vmbus_server_config cfg = {.name = "test"};

	memset(h, 0, sizeof(*h));
	server_ops = guest_ops;
	server_ops.tl_connect = host_tl_connect;
	server_ops.connection = host_connection;
	guest_init(&h->g, &cfg, &server_ops);
	h->h = hvsock_new(h->g.s, &ops, h);
	assert_non_null(h->h);
	guest_connect(&h->g, version, 0);
	GUEST_SEND(&h->g, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&h->g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
}

static void host_free(struct host *h)
{
	hvsock_free(h->h);
	guest_free(&h->g);
}

/* TL_CONNECT of guest port 1000 to host port 5000. */
static void guest_asks(struct host *h, u32 from, unsigned len)
{
	u8 msg[56] = {0};
	struct guid endpoint = VMBUS_IF_HVSOCK(from), service = VMBUS_IF_HVSOCK(5000);

	put_le32(msg, VMBUS_MSG_TL_CONNECT);
	memcpy(msg + 8, &endpoint, 16);
	memcpy(msg + 24, &service, 16);
	assert_int_equal(guest_send(&h->g, msg, len), 0);
}

/* The guest's end of an open channel: rings of 8 pages from page `first`. */
struct end {
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	struct vmbus_pipe pipe;
	u32 channel;
};

static void guest_opens(struct host *h, struct end *e, u32 channel, u32 first)
{
	u8 **ram = &h->g.ram[first];

	e->channel = channel;
	vmbus_ring_format(ram);
	vmbus_ring_format(ram + 8);
	guest_gpadl_ok(&h->g, channel, 0xe1e10 + first, first, 16);
	guest_open(&h->g, channel, 0xe1e10 + first, 0, 8);
	assert_int_equal(guest_open_result(&h->g, channel), 0);
	assert_true(vmbus_tx_init(&e->tx, ram, 8));
	assert_true(vmbus_rx_init(&e->rx, ram + 8, 8));
	vmbus_rx_sleep(&e->rx);
	vmbus_pipe_init(&e->pipe, &e->rx, &e->tx);
}

static void guest_signals(struct host *h, const struct end *e, bool signal)
{
	if (signal)
		vmbus_server_event(h->g.s, 0x2000 + e->channel);
}

static u32 expect_offer(struct host *h, bool accept, const struct guid *interface,
			const struct guid *instance)
{
	const u8 *m = guest_expect(&h->g, VMBUS_MSG_OFFER, 196);

	assert_memory_equal(m + 8, interface, 16);
	assert_memory_equal(m + 24, instance, 16);
	assert_int_equal(get_le16(m + 56), 0x2011);
	assert_int_equal(get_le32(m + 60), 0);
	assert_int_equal(m[64], accept);
	assert_true(get_le32(m + 184) >= 1024);
	return get_le32(m + 184);
}

/* A connection that the guest asked for, open. */
static void establish(struct host *h, struct end *e)
{
	u32 channel;

	host_init(h, VMBUS_V5_3);
	h->answer = ACCEPT;
	guest_asks(h, 1000, 56);
	channel = expect_offer(h, false, &VMBUS_IF_HVSOCK(5000), &VMBUS_IF_HVSOCK(1000));
	guest_opens(h, e, channel, 8);
	assert_int_equal(h->connects, 1);
}

static void guest_releases(struct host *h, u32 channel)
{
	assert_int_equal(get_le32(guest_expect(&h->g, VMBUS_MSG_RESCIND, 12) + 8), channel);
	GUEST_SEND(&h->g, VMBUS_MSG_CLOSE, channel);
	GUEST_SEND(&h->g, VMBUS_MSG_RELID_RELEASED, channel);
	assert_int_equal(hvsock_count(h->h), 0);
}

/* --- hostile */

static void lines(void **state)
{
	static const struct {
		const char *text;
		ssize_t want;
		u32 port;
	} c[] = {
		{"", -EAGAIN, 0},
		{"C", -EAGAIN, 0},
		{"CONNECT", -EAGAIN, 0},
		{"CONNECT 12", -EAGAIN, 0},
		{"GET / HTTP/1.1", -EINVAL, 0},
		{"X", -EINVAL, 0},
		{"\n", -EINVAL, 0},
		{"CONNECT\n", -EINVAL, 0},
		{"CONNECT \n", -EINVAL, 0},
		{"CONNECT 1", -EAGAIN, 0},
		{"CONNECT 1x\n", -EINVAL, 0},
		{"CONNECT -1\n", -EINVAL, 0},
		{"CONNECT +1\n", -EINVAL, 0},
		{"CONNECT  1\n", -EINVAL, 0},
		{"CONNECT 1 \n", -EINVAL, 0},
		{"CONNECT 4294967296\n", -EINVAL, 0},
		{"CONNECT 99999999999\n", -EINVAL, 0},
		{"CONNECT 00000000000001\n", -EINVAL, 0},
		{"CONNECT 0000115c-facb-11e6-bd58-64006a7986d\n", -EINVAL, 0},
		{"CONNECT 0000115cxfacb-11e6-bd58-64006a7986d3\n", -EINVAL, 0},
		{"CONNECT 0000115c-facb-11e6-bd58-64006a7986d33\n", -EINVAL, 0},
		{"CONNECT 0000115c-facb-11e6-bd58-64006a7986d3 ", -EINVAL, 0},
		{"CONNECT 4294967295\n", 19, 4294967295u},
		{"CONNECT 0\n", 10, 0},
		{"connect 4444\nhello", 13, 4444},
		{"ConNect 1\n\n", 10, 1},
		{"CONNECT 0000115C-facb-11e6-bd58-64006a7986d3\nx", 45, 4444},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		size_t len = strlen(c[i].text);
		struct hybrid_request req;
		char *copy = malloc(len + 1), ok[HYBRID_OK_MAX];
		ssize_t ret;

		/* no NUL behind it */
		copy = realloc(copy, len ? len : 1);
		memcpy(copy, c[i].text, len);
		ret = hybrid_parse(copy, len, &req);
		assert_int_equal(ret, c[i].want);
		if (ret > 0) {
			struct guid want = VMBUS_IF_HVSOCK(c[i].port), instance = {.data1 = 7};
			size_t n = hybrid_ok(&req, &instance, ok);

			assert_true(guid_equal(&req.service, &want));
			assert_int_equal(req.by_port, ret != 45);
			assert_string_equal(ok, ret != 45 ? "OK 7\n"
							  : "OK 0000115c-facb-11e6-bd58-"
							    "64006a7986d3\n");
			assert_int_equal(n, strlen(ok));
		}
		free(copy);
	}
}

static void bad_pipe_packets(void **state)
{
	static const struct {
		u16 type;
		u32 pipe_type, len;
		unsigned bytes;
	} bad[] = {
		{VMBUS_PACKET_INBAND, 0, 8, 16},
		{VMBUS_PACKET_INBAND, 2, 8, 16},
		{VMBUS_PACKET_INBAND, 0xffffffff, 8, 16},
		{VMBUS_PACKET_INBAND, 1, 9, 16},
		{VMBUS_PACKET_INBAND, 1, 0xffffffff, 16},
		{VMBUS_PACKET_INBAND, 1, 0xfffffff8, 16},
		{VMBUS_PACKET_INBAND, 1, 16385, 16400},
		{VMBUS_PACKET_INBAND, 1, 0, 0}, /* no header at all */
		{VMBUS_PACKET_COMPLETION, 1, 8, 16},
		{VMBUS_PACKET_GPA_DIRECT, 1, 8, 16},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		u8 *data = calloc(1, 16400), buf[64];
		struct iovec iov = {data, bad[i].bytes};
		struct host h;
		struct end e;

		establish(&h, &e);
		put_le32(data, bad[i].pipe_type);
		put_le32(data + 4, bad[i].len);
		assert_int_equal(vmbus_tx_put(&e.tx, bad[i].type, 0, 0, NULL, 0, &iov, 1),
				 VMBUS_RING_OK);
		guest_signals(&h, &e, vmbus_tx_publish(&e.tx));
		assert_int_equal(h.events, 1);
		assert_int_equal(hvsock_read(h.conn, buf, sizeof(buf)), -EIO);
		assert_int_equal(hvsock_read(h.conn, buf, sizeof(buf)), -EIO);
		hvsock_close(h.conn, false);
		guest_releases(&h, e.channel);
		assert_int_equal(h.closes, 0);
		host_free(&h);
		free(data);
	}
}

static void too_many_connects(void **state)
{
	struct host h;

	(void)state;
	host_init(&h, VMBUS_V5_3);
	for (unsigned i = 0; i < 20; i++)
		guest_asks(&h, 1000 + i, 40);
	assert_int_equal(h.asks, HVSOCK_MAX_CONNECTS);
	for (unsigned i = HVSOCK_MAX_CONNECTS; i < 20; i++)
		guest_expect(&h.g, VMBUS_MSG_TL_CONNECT_RESULT, 44);
	guest_expect_nothing(&h.g);
	/* the guest goes, then the answers come */
	guest_connect(&h.g, VMBUS_V5_3, 0);
	for (unsigned i = 0; i < h.asks; i++) {
		if (i % 2)
			hvsock_refuse(h.asked[i]);
		else
			assert_false(hvsock_accept(h.asked[i], &h));
	}
	guest_expect_nothing(&h.g);
	assert_int_equal(hvsock_count(h.h), 0);
	host_free(&h);
}

/* Guest that asks, and neither opens nor releases: time and number are bounded. */
static void never_opens(void **state)
{
	struct host h;
	const u8 *m;

	(void)state;
	host_init(&h, VMBUS_V5_3);
	h.answer = ACCEPT;
	guest_asks(&h, 1000, 56);
	guest_expect(&h.g, VMBUS_MSG_OFFER, 196);
	/* one instance, one connection */
	struct hvsock_conn *first = h.conn;
	guest_asks(&h, 1000, 56);
	m = guest_expect(&h.g, VMBUS_MSG_TL_CONNECT_RESULT, 44);
	assert_int_equal(get_le32(m + 40), 0xc0000236);
	h.conn = first;
	assert_int_equal(hvsock_deadline(h.h), 5000);
	h.now = 4999;
	hvsock_expire(h.h);
	assert_int_equal(h.closes, 0);
	h.now = 5000;
	hvsock_expire(h.h);
	assert_int_equal(h.closes, 1);
	guest_expect(&h.g, VMBUS_MSG_RESCIND, 12);
	assert_int_equal(hvsock_deadline(h.h), UINT64_MAX);
	assert_int_equal(hvsock_count(h.h), 1);
	for (unsigned i = 0; i < 600; i++) {
		guest_asks(&h, 2000 + i, 56);
		if (i < HVSOCK_MAX_CONNECTIONS - 1)
			guest_expect(&h.g, VMBUS_MSG_OFFER, 196);
		else
			guest_expect(&h.g, VMBUS_MSG_TL_CONNECT_RESULT, 44);
	}
	host_free(&h);
}

static void guest_writes_without_end(void **state)
{
	u8 data[4000] = {0};
	bool signal = false;
	struct host h;
	struct end e;

	(void)state;
	establish(&h, &e);
	assert_int_equal(hvsock_write(h.conn, "last", 4), 4);
	hvsock_close(h.conn, false);
	/* thrown away as it comes, until the guest has read what it was sent */
	for (unsigned i = 0; i < 200; i++) {
		assert_true(vmbus_pipe_write(&e.pipe, data, sizeof(data), &signal) > 0);
		guest_signals(&h, &e, signal);
	}
	guest_expect_nothing(&h.g);
	assert_int_equal(vmbus_pipe_read(&e.pipe, data, sizeof(data), &signal), 4);
	guest_signals(&h, &e, true);
	guest_releases(&h, e.channel);
	host_free(&h);
}

/* --- both directions */

static void refused(void **state)
{
	struct host h;
	const u8 *m;

	(void)state;
	host_init(&h, VMBUS_V5_3);
	h.answer = REFUSE;
	guest_asks(&h, 1000, 40); /* v1 body at a newer version */
	m = guest_expect(&h.g, VMBUS_MSG_TL_CONNECT_RESULT, 44);
	assert_memory_equal(m + 8, &VMBUS_IF_HVSOCK(1000), 16);
	assert_memory_equal(m + 24, &VMBUS_IF_HVSOCK(5000), 16);
	assert_int_equal(get_le32(m + 40), 0xc0000236);
	assert_true(guid_equal(&h.service, &VMBUS_IF_HVSOCK(5000)));
	host_free(&h);
}

static void host_connects(void **state)
{
	struct guid service = VMBUS_IF_HVSOCK(1), instance = {.data1 = 0x1234};
	struct host h;
	struct end e;
	u8 buf[16];
	u32 channel;

	(void)state;
	host_init(&h, VMBUS_V3_0);
	assert_null(hvsock_connect(h.h, &service, &instance, &h)); /* no hv_sock there */
	host_free(&h);
	host_init(&h, VMBUS_V5_3);
	h.conn = hvsock_connect(h.h, &service, &instance, &h);
	channel = expect_offer(&h, true, &service, &instance);
	/* the guest does not listen: nothing comes */
	h.now = HVSOCK_CONNECT_MS;
	hvsock_expire(h.h);
	assert_int_equal(h.closes, 1);
	guest_releases(&h, channel);
	instance.data1++;
	h.conn = hvsock_connect(h.h, &service, &instance, &h);
	channel = expect_offer(&h, true, &service, &instance);
	guest_opens(&h, &e, channel, 8);
	assert_int_equal(h.connects, 1);
	assert_int_equal(hvsock_write(h.conn, "hello", 5), 5);
	assert_int_equal(h.g.signals, 1);
	bool signal = false;
	assert_int_equal(vmbus_pipe_read(&e.pipe, buf, sizeof(buf), &signal), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(vmbus_pipe_read(&e.pipe, buf, sizeof(buf), &signal), -EAGAIN);
	/* the user leaves before the guest has opened: rescinded at once */
	instance.data1++;
	struct hvsock_conn *c = hvsock_connect(h.h, &service, &instance, &h);
	channel = expect_offer(&h, true, &service, &instance);
	hvsock_close(c, false);
	guest_expect(&h.g, VMBUS_MSG_RESCIND, 12);
	/* the open was on its way */
	guest_gpadl_ok(&h.g, channel, 77, 40, 8);
	guest_open(&h.g, channel, 77, 0, 4);
	GUEST_SEND(&h.g, VMBUS_MSG_RELID_RELEASED, channel);
	/* disconnect ends the rest */
	GUEST_SEND(&h.g, VMBUS_MSG_UNLOAD);
	assert_int_equal(h.closes, 2);
	assert_int_equal(hvsock_count(h.h), 0);
	assert_null(hvsock_connect(h.h, &service, &instance, &h));
	host_free(&h);
}

static void pump(struct host *h, struct end *e, bool to_guest, u64 total)
{
	static u8 out[40000], in[40000];
	u64 sent = 0, got = 0;
	u32 seed = 7;

	while (got < total) {
		size_t n = (seed = seed * 1664525 + 1013904223) % sizeof(out);
		bool signal = false;
		ssize_t ret;

		n = MIN(n + 1, total - sent);
		for (size_t i = 0; i < n; i++)
			out[i] = (u8)((sent + i) * 31 + ((sent + i) >> 8));
		ret = 0;
		if (n)
			ret = to_guest ? hvsock_write(h->conn, out, n)
				       : vmbus_pipe_write(&e->pipe, out, n, &signal);
		assert_true(ret >= 0 || ret == -EAGAIN);
		if (ret > 0)
			sent += (u64)ret;
		guest_signals(h, e, signal);
		signal = false;
		ret = to_guest
			      ? vmbus_pipe_read(&e->pipe, in, 1 + (seed >> 8) % sizeof(in), &signal)
			      : hvsock_read(h->conn, in, 1 + (seed >> 8) % sizeof(in));
		guest_signals(h, e, signal);
		assert_true(ret > 0 || ret == -EAGAIN);
		for (ssize_t i = 0; i < ret; i++)
			assert_int_equal(in[i], (u8)((got + (u64)i) * 31 + ((got + (u64)i) >> 8)));
		if (ret > 0)
			got += (u64)ret;
	}
	assert_int_equal(sent, total);
}

static void bytes_both_ways(void **state)
{
	struct host h;
	struct end e;

	(void)state;
	establish(&h, &e);
	pump(&h, &e, true, 1000000);
	pump(&h, &e, false, 1000000);
	host_free(&h);
}

/* A writer that fills the ring is woken once a quarter is free; the end still has room. */
static void full_ring(void **state)
{
	static u8 data[65536];
	bool signal = false;
	unsigned events;
	struct host h;
	struct end e;
	ssize_t n;

	(void)state;
	establish(&h, &e);
	n = hvsock_write(h.conn, data, sizeof(data));
	assert_true(n > 6 * (int)PAGE_SIZE && n < 7 * (int)PAGE_SIZE);
	assert_int_equal(hvsock_write(h.conn, data, sizeof(data)), -EAGAIN);
	assert_int_equal(hvsock_room(h.conn), 0);
	events = h.events;
	assert_true(vmbus_pipe_read(&e.pipe, data, 20000, &signal) > 0);
	assert_true(signal);
	guest_signals(&h, &e, signal);
	assert_int_equal(h.events, events + 1);
	assert_true(hvsock_room(h.conn) > 0);
	while (hvsock_write(h.conn, data, sizeof(data)) > 0)
		;
	assert_int_equal(hvsock_shutdown(h.conn), 0);
	assert_int_equal(hvsock_write(h.conn, data, 1), -EPIPE);
	while ((n = vmbus_pipe_read(&e.pipe, data, sizeof(data), &signal)) > 0)
		;
	assert_int_equal(n, 0);
	assert_int_equal(vmbus_pipe_read(&e.pipe, data, sizeof(data), &signal), 0);
	host_free(&h);
}

/* A guest that writes a wild index for the ring that it reads: seen without a byte to pass. */
static void broken_ring(void **state)
{
	struct host h;
	struct end e;

	(void)state;
	establish(&h, &e);
	hvsock_room(h.conn);
	assert_false(hvsock_broken(h.conn));
	*(u32 *)(void *)(e.pipe.rx->page[0] + VMBUS_RING_READ) = e.pipe.rx->size;
	assert_int_equal(hvsock_room(h.conn), 0);
	assert_true(hvsock_broken(h.conn));
	hvsock_close(h.conn, true);
	host_free(&h);
}

/* Guest ends first, reads on, host ends: rescinded when the guest has read all but the end. */
static void half_close(void **state)
{
	static u8 data[20000];
	bool signal = false;
	struct vmbus_packet pkt;
	struct host h;
	struct end e;

	(void)state;
	establish(&h, &e);
	assert_int_equal(vmbus_pipe_finish(&e.pipe, &signal), 0);
	guest_signals(&h, &e, signal);
	assert_int_equal(h.events, 1);
	assert_int_equal(hvsock_read(h.conn, data, 10), 0);
	assert_int_equal(hvsock_read(h.conn, data, 10), 0);
	assert_int_equal(hvsock_write(h.conn, data, sizeof(data)), sizeof(data));
	hvsock_close(h.conn, false);
	guest_expect_nothing(&h.g); /* not before it was read */
	/* slow, but it reads: the time starts anew */
	signal = false;
	assert_int_equal(vmbus_pipe_read(&e.pipe, data, 16384, &signal), 16384);
	guest_signals(&h, &e, signal);
	h.now = HVSOCK_LINGER_MS;
	hvsock_expire(h.h);
	guest_expect_nothing(&h.g);
	signal = false;
	assert_int_equal(vmbus_pipe_read(&e.pipe, data, sizeof(data) - 16384, &signal),
			 sizeof(data) - 16384);
	/* Linux: the end stays in the ring */
	assert_int_equal(vmbus_rx_peek(&e.rx, &pkt), VMBUS_RING_OK);
	assert_int_equal(pkt.len, 8);
	assert_true(signal);
	guest_signals(&h, &e, signal);
	guest_releases(&h, e.channel);
	assert_int_equal(h.closes, 0);
	host_free(&h);
}

/* Host ends first, the guest answers with its end. */
static void host_ends_first(void **state)
{
	bool signal = false;
	struct host h;
	struct end e;
	u8 buf[16];

	(void)state;
	establish(&h, &e);
	assert_int_equal(hvsock_shutdown(h.conn), 0);
	assert_int_equal(hvsock_shutdown(h.conn), 0);
	vmbus_pipe_write(&e.pipe, "last", 4, &signal);
	guest_signals(&h, &e, signal);
	assert_int_equal(hvsock_read(h.conn, buf, sizeof(buf)), 4);
	assert_int_equal(hvsock_read(h.conn, buf, sizeof(buf)), -EAGAIN);
	signal = false;
	vmbus_pipe_finish(&e.pipe, &signal);
	guest_signals(&h, &e, signal);
	assert_int_equal(hvsock_read(h.conn, buf, sizeof(buf)), 0);
	guest_expect_nothing(&h.g);
	hvsock_close(h.conn, false);
	guest_releases(&h, e.channel);
	host_free(&h);
}

static void guest_closes(void **state)
{
	struct host h;
	struct end e;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		establish(&h, &e);
		if (i == 2)
			hvsock_close(h.conn, false);
		if (i == 1) {
			guest_connect(&h.g, VMBUS_V5_2, 0);
			assert_int_equal(hvsock_count(h.h), 0);
		} else {
			GUEST_SEND(&h.g, VMBUS_MSG_CLOSE, e.channel);
			guest_releases(&h, e.channel);
		}
		assert_int_equal(h.closes, i != 2);
		host_free(&h);
	}
}

static void messages(void **state)
{
	static u8 big[VMBUS_PIPE_MAX + 1];
	struct ring_pages a, b;
	struct vmbus_rx rx[2];
	struct vmbus_tx tx[2];
	struct vmbus_pipe p[2];
	bool signal = false;
	size_t len;
	u8 buf[64];

	(void)state;
	ring_pages_init(&a, 4);
	ring_pages_init(&b, 4);
	vmbus_rx_init(&rx[0], a.page, 4);
	vmbus_tx_init(&tx[0], b.page, 4);
	vmbus_rx_init(&rx[1], b.page, 4);
	vmbus_tx_init(&tx[1], a.page, 4);
	vmbus_pipe_init(&p[0], &rx[0], &tx[0]);
	vmbus_pipe_init(&p[1], &rx[1], &tx[1]);
	assert_int_equal(vmbus_pipe_recv(&p[1], buf, sizeof(buf), &len, &signal), -EAGAIN);
	assert_int_equal(vmbus_pipe_send(&p[0], big, sizeof(big), &signal), -EMSGSIZE);
	assert_int_equal(vmbus_pipe_send(&p[0], big, VMBUS_PIPE_MAX, &signal), -EMSGSIZE);
	assert_int_equal(vmbus_pipe_send(&p[0], big, 65, &signal), 0);
	assert_true(signal);
	assert_int_equal(vmbus_pipe_send(&p[0], "one", 3, &signal), 0);
	assert_int_equal(vmbus_pipe_send(&p[0], "", 0, &signal), 0);
	assert_int_equal(vmbus_pipe_recv(&p[1], buf, sizeof(buf), &len, &signal), -EMSGSIZE);
	assert_int_equal(vmbus_pipe_recv(&p[1], buf, sizeof(buf), &len, &signal), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(buf, "one", 3);
	assert_int_equal(vmbus_pipe_recv(&p[1], buf, sizeof(buf), &len, &signal), 0);
	assert_int_equal(len, 0);
	while (vmbus_pipe_send(&p[0], big, 1000, &signal) == 0)
		;
	assert_int_equal(vmbus_pipe_send(&p[0], big, 1000, &signal), -EAGAIN);
	signal = false;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(vmbus_pipe_recv(&p[1], big, sizeof(big), &len, &signal), 0);
	assert_true(signal);
	ring_pages_free(&a);
	ring_pages_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(bad_pipe_packets),
		cmocka_unit_test(too_many_connects),
		cmocka_unit_test(never_opens),
		cmocka_unit_test(guest_writes_without_end),
		cmocka_unit_test(refused),
		cmocka_unit_test(host_connects),
		cmocka_unit_test(bytes_both_ways),
		cmocka_unit_test(full_ring),
		cmocka_unit_test(broken_ring),
		cmocka_unit_test(half_close),
		cmocka_unit_test(host_ends_first),
		cmocka_unit_test(guest_closes),
		cmocka_unit_test(messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
