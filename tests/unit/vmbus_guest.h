/*
 * A guest for the VMBus server, as tests script it: message slots that can be busy, memory of
 * single pages, signals and ports recorded.
 */
#ifndef PARAPET_TESTS_UNIT_VMBUS_GUEST_H
#define PARAPET_TESTS_UNIT_VMBUS_GUEST_H

#include "tests/lib/no_log.h"
#include "tests/unit/vmbus_fixture.h"

#include <errno.h>

#include "common/bytes.h"
#include "common/vmbus/server.h"

#define GUEST_PAGES 64
#define GUEST_INBOX 4096

struct guest_msg {
	u8 vtl, sint, len;
	u32 vp;
	u8 data[VMBUS_MESSAGE_MAX];
};

struct guest {
	struct vmbus_server *s;
	u8 *ram[GUEST_PAGES];
	bool busy; /* the slot is taken: posts must wait */
	bool broken;
	struct guest_msg *inbox;
	unsigned head, count;
	u8 signal_vtl, signal_sint;
	u16 signal_flag;
	u32 signal_vp;
	unsigned signals;
	u32 port[64];
	unsigned ports;
	bool refuse_ports;
	unsigned timers;
	u32 version;
	u64 monitor_p2c, monitor_c2p;
	unsigned tl_connects;
	struct guid tl_endpoint, tl_service, tl_silo;
};

static inline int guest_post(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	struct guest *g = ctx;
	struct guest_msg *m;

	assert_true(len >= 8 && len <= VMBUS_MESSAGE_MAX);
	if (g->broken)
		return -EIO;
	if (g->busy)
		return -EAGAIN;
	assert_true(g->count < GUEST_INBOX);
	m = &g->inbox[(g->head + g->count++) % GUEST_INBOX];
	*m = (struct guest_msg){.vtl = vtl, .sint = sint, .len = (u8)len, .vp = vp};
	memcpy(m->data, msg, len);
	return 0;
}

static inline void guest_signalled(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	struct guest *g = ctx;

	g->signals++;
	g->signal_vtl = vtl;
	g->signal_vp = vp;
	g->signal_sint = sint;
	g->signal_flag = flag;
}

static inline int guest_map_port(void *ctx, u32 connection, struct vmbus_channel *ch)
{
	struct guest *g = ctx;

	assert_non_null(ch);
	if (g->refuse_ports)
		return -EBUSY;
	for (unsigned i = 0; i < g->ports; i++)
		assert_int_not_equal(g->port[i], connection);
	assert_true(g->ports < ARRAY_SIZE(g->port));
	g->port[g->ports++] = connection;
	return 0;
}

static inline void guest_unmap_port(void *ctx, u32 connection)
{
	struct guest *g = ctx;

	for (unsigned i = 0; i < g->ports; i++) {
		if (g->port[i] == connection) {
			g->port[i] = g->port[--g->ports];
			return;
		}
	}
	fail();
}

static inline u8 *guest_page(void *ctx, u64 pfn)
{
	return pfn < GUEST_PAGES ? ((struct guest *)ctx)->ram[pfn] : NULL;
}

static inline void guest_timer(void *ctx, unsigned ms)
{
	((struct guest *)ctx)->timers += ms != 0;
}

static inline void guest_connection(void *ctx, u32 version)
{
	((struct guest *)ctx)->version = version;
}

static inline void guest_monitor(void *ctx, u64 p2c, u64 c2p)
{
	struct guest *g = ctx;

	g->monitor_p2c = p2c;
	g->monitor_c2p = c2p;
}

static const struct vmbus_server_ops guest_ops = {
	.post = guest_post,
	.signal = guest_signalled,
	.map_port = guest_map_port,
	.unmap_port = guest_unmap_port,
	.page = guest_page,
	.timer = guest_timer,
	.connection = guest_connection,
	.monitor = guest_monitor,
};

static inline void guest_init(struct guest *g, const struct vmbus_server_config *cfg,
			      const struct vmbus_server_ops *ops)
{
	log_set_sink(no_log);
	memset(g, 0, sizeof(*g));
	g->inbox = calloc(GUEST_INBOX, sizeof(*g->inbox));
	for (unsigned i = 0; i < GUEST_PAGES; i++) {
		g->ram[i] = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
		memset(g->ram[i], 0, PAGE_SIZE);
	}
	g->s = vmbus_server_new(cfg, ops, g);
	assert_non_null(g->s);
}

static inline void guest_free(struct guest *g)
{
	vmbus_server_free(g->s);
	for (unsigned i = 0; i < GUEST_PAGES; i++)
		free(g->ram[i]);
	free(g->inbox);
}

static inline int guest_send(struct guest *g, const void *msg, size_t len)
{
	/* its own allocation, exactly as long: ASan sees a read behind it */
	u8 *copy = malloc(len ? len : 1);
	int ret;

	memcpy(copy, msg, len);
	ret = vmbus_server_message(g->s, copy, len, VMBUS_VIA_MULTI);
	free(copy);
	return ret;
}

static inline void guest_send_words(struct guest *g, u32 type, unsigned n, const u32 *words)
{
	u8 msg[VMBUS_MESSAGE_MAX] = {0};

	put_le32(msg, type);
	for (unsigned i = 0; i < n; i++)
		put_le32(msg + 8 + 4 * i, words[i]);
	assert_int_equal(guest_send(g, msg, 8 + 4 * n), 0);
}

#define GUEST_SEND(g, type, ...)                                             \
	guest_send_words(g, type, sizeof((u32[]){0, ##__VA_ARGS__}) / 4 - 1, \
			 &((u32[]){0, ##__VA_ARGS__})[1])

/* The next message, which must be of this type and length. */
static inline const u8 *guest_expect(struct guest *g, u32 type, unsigned len)
{
	const struct guest_msg *m = &g->inbox[g->head % GUEST_INBOX];

	assert_true(g->count > 0);
	assert_int_equal(get_le32(m->data), type);
	assert_int_equal(get_le32(m->data + 4), 0);
	assert_int_equal(m->len, len);
	g->head = (g->head + 1) % GUEST_INBOX;
	g->count--;
	return m->data;
}

static inline const struct guest_msg *guest_last(struct guest *g)
{
	return &g->inbox[(g->head + GUEST_INBOX - 1) % GUEST_INBOX];
}

static inline void guest_expect_nothing(struct guest *g)
{
	assert_int_equal(g->count, 0);
}

/* INITIATE_CONTACT; SINT 2 and this VTL in it from 5.0 on, as Linux does. */
static inline void guest_contact(struct guest *g, u32 version, u8 vtl, u32 features)
{
	struct vmbus_msg_contact c = {
		.hdr = {VMBUS_MSG_INITIATE_CONTACT, 0},
		.version = version,
		.target_sint = 2,
		.target_vtl = vtl,
		.features = features,
		.monitor_p2c = 0x5000,
		.monitor_c2p = 0x6000,
	};

	assert_int_equal(guest_send(g, &c, features & VMBUS_F_CLIENT_ID ? 56 : 40), 0);
}

static inline void guest_connect(struct guest *g, u32 version, u32 features)
{
	const u8 *m;

	guest_contact(g, version, 0, features);
	m = guest_expect(g, VMBUS_MSG_VERSION_RESPONSE, version >= VMBUS_V6_0 ? 20 : 16);
	assert_int_equal(m[8], 1);
	assert_int_equal(m[9], 0);
}

/* A GPADL of `pages` pages from PFN first, in as many messages as Linux sends. */
static inline void guest_gpadl(struct guest *g, u32 channel, u32 gpadl, u64 first, u32 pages)
{
	u8 msg[VMBUS_MESSAGE_MAX] = {0};
	u32 done = MIN(pages, 26);

	put_le32(msg, VMBUS_MSG_GPADL_HEADER);
	put_le32(msg + 8, channel);
	put_le32(msg + 12, gpadl);
	put_le16(msg + 16, (u16)(8 + pages * 8));
	put_le16(msg + 18, 1);
	put_le32(msg + 20, pages * PAGE_SIZE);
	for (u32 i = 0; i < done; i++)
		put_le64(msg + 28 + 8 * i, first + i);
	assert_int_equal(guest_send(g, msg, 28 + 8 * done), 0);
	while (done < pages) {
		u32 n = MIN(pages - done, 28);

		memset(msg, 0, sizeof(msg));
		put_le32(msg, VMBUS_MSG_GPADL_BODY);
		put_le32(msg + 12, gpadl);
		for (u32 i = 0; i < n; i++)
			put_le64(msg + 16 + 8 * i, first + done + i);
		assert_int_equal(guest_send(g, msg, 16 + 8 * n), 0);
		done += n;
	}
}

static inline void guest_gpadl_ok(struct guest *g, u32 channel, u32 gpadl, u64 first, u32 pages)
{
	const u8 *m;

	guest_gpadl(g, channel, gpadl, first, pages);
	m = guest_expect(g, VMBUS_MSG_GPADL_CREATED, 20);
	assert_int_equal(get_le32(m + 8), channel);
	assert_int_equal(get_le32(m + 12), gpadl);
	assert_int_equal(get_le32(m + 16), 0);
}

static inline void guest_open(struct guest *g, u32 channel, u32 gpadl, u32 vp, u32 downstream)
{
	u8 msg[VMBUS_MESSAGE_MAX] = {0};

	put_le32(msg, VMBUS_MSG_OPEN);
	put_le32(msg + 8, channel);
	put_le32(msg + 12, channel); /* Linux: open id = relid */
	put_le32(msg + 16, gpadl);
	put_le32(msg + 20, vp);
	put_le32(msg + 24, downstream);
	assert_int_equal(guest_send(g, msg, 148), 0);
}

static inline u32 guest_open_result(struct guest *g, u32 channel)
{
	const u8 *m = guest_expect(g, VMBUS_MSG_OPEN_RESULT, 20);

	assert_int_equal(get_le32(m + 8), channel);
	assert_int_equal(get_le32(m + 12), channel);
	return get_le32(m + 16);
}

#endif
