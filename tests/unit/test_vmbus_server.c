/* VMBus server: hostile messages first, then Linux' sequences, then devices that answer late. */
#include "tests/unit/vmbus_guest.h"

/* A device that records what it is asked, and answers at once or later. */
struct device {
	struct vmbus_channel *ch;
	bool late;
	u32 status; /* of what it answers */
	struct vmbus_open open_req;
	unsigned opens, closes, gpadls, teardowns, modifies, signals, released;
	u32 gpadl, torn, vp;
	bool revoke_in_open, revoke_in_close, revoke_in_teardown;
};

static void dev_open(void *ctx, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct device *d = ctx;

	d->opens++;
	d->open_req = *open;
	if (d->revoke_in_open)
		vmbus_channel_revoke(ch);
	else if (!d->late)
		vmbus_channel_open_done(ch, d->status);
}

static void dev_close(void *ctx, struct vmbus_channel *ch)
{
	struct device *d = ctx;

	d->closes++;
	if (d->revoke_in_close)
		vmbus_channel_revoke(ch);
	else if (!d->late)
		vmbus_channel_close_done(ch);
}

static void dev_gpadl(void *ctx, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	struct device *d = ctx;

	d->gpadls++;
	d->gpadl = gpadl->id;
	if (!d->late)
		vmbus_channel_gpadl_done(ch, gpadl->id, d->status);
}

static void dev_teardown(void *ctx, struct vmbus_channel *ch, u32 gpadl)
{
	struct device *d = ctx;

	d->teardowns++;
	d->torn = gpadl;
	if (d->revoke_in_teardown)
		vmbus_channel_revoke(ch);
	else if (!d->late)
		vmbus_channel_gpadl_torn_down(ch, gpadl);
}

static void dev_modify(void *ctx, struct vmbus_channel *ch, u32 vp)
{
	struct device *d = ctx;

	d->modifies++;
	d->vp = vp;
	if (!d->late)
		vmbus_channel_modify_done(ch, d->status);
}

static void dev_signal(void *ctx, struct vmbus_channel *ch)
{
	struct device *d = ctx;

	assert_ptr_equal(ch, d->ch);
	d->signals++;
}

static void dev_released(void *ctx)
{
	((struct device *)ctx)->released++;
}

static const struct vmbus_device_ops dev_ops = {
	.open = dev_open,
	.close = dev_close,
	.gpadl = dev_gpadl,
	.gpadl_teardown = dev_teardown,
	.modify = dev_modify,
	.signal = dev_signal,
	.released = dev_released,
};

static struct vmbus_offer offer_of(u32 n)
{
	return (struct vmbus_offer){
		.interface = VMBUS_IF_HEARTBEAT,
		.instance = {.data1 = n},
		.name = "test",
	};
}

static void add_device(struct guest *g, struct device *d, u32 n)
{
	struct vmbus_offer offer = offer_of(n);

	*d = (struct device){0};
	d->ch = vmbus_server_offer(g->s, &offer, &dev_ops, d);
	assert_non_null(d->ch);
}

static const struct vmbus_server_config config = {
	.name = "test", .vps = 2, .features = VMBUS_F_ALL};

/* Connected at `version` with one device on channel 1, offers consumed. */
static void up(struct guest *g, struct device *d, u32 version, u32 features)
{
	guest_init(g, &config, &guest_ops);
	add_device(g, d, 1);
	guest_connect(g, version, features);
	GUEST_SEND(g, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(g, VMBUS_MSG_OFFER, 196);
	guest_expect(g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	guest_expect_nothing(g);
}

static void open_channel(struct guest *g, u32 channel)
{
	guest_gpadl_ok(g, channel, 0xe1e10, 8, 8);
	guest_open(g, channel, 0xe1e10, 0, 4);
	assert_int_equal(guest_open_result(g, channel), 0);
}

static const char *channel_state(struct guest *g, u16 id)
{
	static struct vmbus_channel_info info;

	return vmbus_server_channel(g->s, id, &info) ? info.state : "none";
}

static u64 dropped(struct guest *g)
{
	struct vmbus_server_info info;

	vmbus_server_describe(g->s, &info);
	return info.dropped;
}

/* --- hostile */

static void every_type_without_connection(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	guest_init(&g, &config, &guest_ops);
	add_device(&g, &d, 1);
	for (u32 type = 0; type < 64; type++) {
		for (unsigned len = 0; len <= VMBUS_MESSAGE_MAX; len++) {
			u8 msg[VMBUS_MESSAGE_MAX];

			if (type == VMBUS_MSG_INITIATE_CONTACT && len >= 40)
				continue;
			memset(msg, 0xff, sizeof(msg));
			put_le32(msg, type);
			put_le32(msg + 4, 0);
			assert_int_equal(guest_send(&g, msg, len), 0);
		}
	}
	/* UNLOAD is harmless, and answered */
	while (g.count)
		guest_expect(&g, VMBUS_MSG_UNLOAD_COMPLETE, 8);
	assert_int_equal(d.opens + d.gpadls + d.closes, 0);
	guest_free(&g);
}

static void every_type_with_every_length(void **state)
{
	static const u32 fill[] = {0, 1, 2, 0xffffffff, 0x1000, 2047, 2048};

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(fill); f++) {
		for (unsigned open = 0; open < 2; open++) {
			struct device d;
			struct guest g;

			up(&g, &d, VMBUS_V6_0, VMBUS_F_ALL & ~VMBUS_F_CLIENT_ID);
			if (open && f) {
				d.late = true;
				guest_gpadl(&g, 1, 1, 8, 8);
				vmbus_channel_gpadl_done(d.ch, 1, 0);
			}
			for (u32 type = 0; type < 40; type++) {
				for (unsigned len = 0; len <= VMBUS_MESSAGE_MAX; len++) {
					u8 msg[VMBUS_MESSAGE_MAX];

					for (unsigned i = 0; i < VMBUS_MESSAGE_MAX; i += 4)
						put_le32(msg + i, fill[f]);
					put_le32(msg, type);
					guest_send(&g, msg, len);
					g.count = 0;
				}
			}
			guest_free(&g);
		}
	}
}

static void bad_opens(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	guest_gpadl_ok(&g, 1, 5, 8, 8);
	guest_gpadl_ok(&g, 1, 6, GUEST_PAGES - 4, 8); /* half of it is no memory */
	guest_open(&g, 1, 7, 0, 4);		      /* no such GPADL */
	assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	guest_open(&g, 1, 6, 0, 4);
	assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	for (u32 down = 0; down < 12; down++) {
		if (down >= 2 && down <= 6)
			continue;
		guest_open(&g, 1, 5, 0, down);
		assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	}
	guest_open(&g, 1, 5, 0, 0xffffffff);
	assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	guest_open(&g, 1, 5, 2, 4); /* VP that does not exist */
	assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	put_le32(g.ram[8], 12); /* write index that is no multiple of 8 */
	guest_open(&g, 1, 5, 0, 4);
	assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	put_le32(g.ram[8], 0);
	g.refuse_ports = true;
	guest_open(&g, 1, 5, 0, 4);
	assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	g.refuse_ports = false;
	assert_int_equal(d.opens, 0);
	assert_int_equal(g.ports, 0);
	guest_open(&g, 1, 5, 0, 4);
	assert_int_equal(guest_open_result(&g, 1), 0);
	guest_open(&g, 1, 5, 0, 4); /* twice: ignored */
	guest_open(&g, 2, 5, 0, 4); /* no such channel */
	guest_open(&g, 0, 5, 0, 4);
	guest_open(&g, 0xffffffff, 5, 0, 4);
	guest_expect_nothing(&g);
	assert_int_equal(d.opens, 1);
	assert_int_equal(g.ports, 1);
	GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1);
	GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1);
	assert_int_equal(d.closes, 1);
	assert_int_equal(g.ports, 0);
	guest_free(&g);
}

static void open_v2(void **state)
{
	u8 msg[156] = {0};
	struct device d, e;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V6_0, VMBUS_F_SIGNAL_PARAMS | VMBUS_F_REDIRECT);
	add_device(&g, &e, 2);
	guest_expect(&g, VMBUS_MSG_OFFER, 196);
	guest_gpadl_ok(&g, 1, 5, 8, 8);
	guest_gpadl_ok(&g, 2, 6, 16, 8);
	guest_open(&g, 1, 5, 0, 4); /* too short now */
	guest_expect_nothing(&g);
	put_le32(msg, VMBUS_MSG_OPEN);
	put_le32(msg + 8, 1);
	put_le32(msg + 12, 1);
	put_le32(msg + 16, 5);
	put_le32(msg + 24, 4);
	static const struct {
		u32 connection;
		u16 flag;
	} bad[] = {
		{0, 5},	     {1, 5},	     {4, 5},	       {0x800074, 5},
		{0x2000, 5}, {0x2801, 5},    {0x32001, 5},     {0x1002001, 5},
		{0x2001, 0}, {0x2001, 2048}, {0x2001, 0xffff}, {0x5001, 1},
	};
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		put_le32(msg + 148, bad[i].connection);
		put_le16(msg + 152, bad[i].flag);
		guest_send(&g, msg, 156);
		assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	}
	put_le32(msg + 148, 0x27123);
	put_le16(msg + 152, 77);
	put_le16(msg + 154, 1);
	guest_send(&g, msg, 156);
	assert_int_equal(guest_open_result(&g, 1), 0);
	assert_true(d.open_req.redirect);
	vmbus_channel_signal(d.ch);
	assert_int_equal(g.signal_vtl, 2);
	assert_int_equal(g.signal_sint, 7);
	assert_int_equal(g.signal_flag, 77);
	assert_true(vmbus_server_event(g.s, 0x27123));
	assert_false(vmbus_server_event(g.s, 0x2001));
	assert_int_equal(d.signals, 1);
	/* the same connection for a second channel */
	put_le32(msg + 8, 2);
	put_le32(msg + 12, 2);
	put_le32(msg + 16, 6);
	guest_send(&g, msg, 156);
	assert_int_equal(guest_open_result(&g, 2), VMBUS_STATUS_FAILED);
	guest_free(&g);
}

static void bad_contacts(void **state)
{
	static const u32 unknown[] = {0,       1,	0xd,	 0x10001, 0x20004,
				      0x40002, 0x50004, 0x60001, 0x70000, 0xffffffff};
	struct vmbus_msg_contact c = {.hdr = {VMBUS_MSG_INITIATE_CONTACT, 0}, .target_sint = 2};
	struct device d;
	struct guest g;
	const u8 *m;

	(void)state;
	guest_init(&g, &config, &guest_ops);
	add_device(&g, &d, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		c.version = unknown[i];
		guest_send(&g, &c, 40);
		m = guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16);
		for (unsigned j = 8; j < 16; j++)
			assert_int_equal(m[j], 0);
	}
	c.version = VMBUS_V5_3;
	c.target_sint = 7; /* refused on that SINT */
	guest_send(&g, &c, 40);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 0);
	assert_int_equal(guest_last(&g)->sint, 7);
	c.target_sint = 255;
	guest_send(&g, &c, 40);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 0);
	assert_int_equal(guest_last(&g)->sint, 2);
	c.target_sint = 2;
	c.target_vtl = 2;
	guest_send(&g, &c, 40);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 0);
	c.target_vtl = 0;
	c.target_vp = 2;
	guest_send(&g, &c, 40);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 0);
	c.target_vp = 1;
	c.monitor_c2p = 0x1000; /* one page alone */
	guest_send(&g, &c, 40);
	m = guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16);
	assert_int_equal(m[8], 1);
	assert_int_equal(m[9], 2);
	assert_int_equal(g.version, 0);
	c.monitor_p2c = 0x1004; /* not a page */
	guest_send(&g, &c, 40);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16)[9], 2);
	c.monitor_p2c = 0x3000;
	c.version = VMBUS_V6_0;
	c.features = VMBUS_F_CLIENT_ID; /* and no id */
	guest_send(&g, &c, 40);
	guest_send(&g, &c, 55);
	guest_expect_nothing(&g);
	/* all of it, from VP 1; confidential only by the trusted path */
	c.features = 0xffffffff;
	guest_send(&g, &c, 56);
	m = guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 20);
	assert_int_equal(guest_last(&g)->vp, 1);
	assert_int_equal(m[8], 1);
	assert_int_equal(get_le32(m + 12), VMBUS_CONN_MULTI);
	assert_int_equal(get_le32(m + 16),
			 VMBUS_F_ALL & ~(VMBUS_F_CONFIDENTIAL | VMBUS_F_SERVER_MONITOR));
	assert_int_equal(g.monitor_p2c, 0x3000);
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS); /* ignored */
	guest_expect(&g, VMBUS_MSG_OFFER, 196);
	guest_expect(&g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	guest_expect_nothing(&g);
	guest_free(&g);
}

static void trusted_path(void **state)
{
	struct vmbus_msg_contact c = {
		.hdr = {VMBUS_MSG_INITIATE_CONTACT, 0},
		.version = VMBUS_V6_0,
		.target_sint = 2,
		.features = VMBUS_F_CONFIDENTIAL,
	};
	struct vmbus_msg_header request = {VMBUS_MSG_REQUEST_OFFERS, 0};
	struct vmbus_offer offer = offer_of(1);
	struct guest g;
	const u8 *m;

	(void)state;
	guest_init(&g, &config, &guest_ops);
	offer.flags = VMBUS_OFFER_CONFIDENTIAL_RING | VMBUS_OFFER_CONFIDENTIAL_EXTERNAL |
		      VMBUS_OFFER_PINNED | VMBUS_OFFER_ENUMERATE;
	assert_non_null(vmbus_server_offer(g.s, &offer, &(struct vmbus_device_ops){0}, NULL));
	vmbus_server_message(g.s, &c, 40, VMBUS_VIA_MULTI | VMBUS_VIA_TRUSTED);
	m = guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 20);
	assert_int_equal(get_le32(m + 16), VMBUS_F_CONFIDENTIAL);
	/* the host cannot take part, nor end the connection */
	vmbus_server_message(g.s, &request, 8, VMBUS_VIA_MULTI);
	vmbus_server_message(g.s, &c, 40, VMBUS_VIA_MULTI);
	request.type = VMBUS_MSG_UNLOAD;
	vmbus_server_message(g.s, &request, 8, VMBUS_VIA_MULTI);
	guest_expect_nothing(&g);
	request.type = VMBUS_MSG_REQUEST_OFFERS;
	vmbus_server_message(g.s, &request, 8, VMBUS_VIA_MULTI | VMBUS_VIA_TRUSTED);
	m = guest_expect(&g, VMBUS_MSG_OFFER, 196);
	assert_int_equal(get_le16(m + 56), VMBUS_OFFER_CONFIDENTIAL_RING |
						   VMBUS_OFFER_CONFIDENTIAL_EXTERNAL |
						   VMBUS_OFFER_ENUMERATE);
	guest_free(&g);
	/* untrusted: flags are stripped */
	guest_init(&g, &config, &guest_ops);
	assert_non_null(vmbus_server_offer(g.s, &offer, &(struct vmbus_device_ops){0}, NULL));
	guest_connect(&g, VMBUS_V6_0, VMBUS_F_CONFIDENTIAL | VMBUS_F_PINNING);
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	m = guest_expect(&g, VMBUS_MSG_OFFER, 196);
	assert_int_equal(get_le16(m + 56), VMBUS_OFFER_PINNED | VMBUS_OFFER_ENUMERATE);
	guest_free(&g);
}

static void version_gates(void **state)
{
	struct device d;
	struct guest g;
	u64 before;

	(void)state;
	up(&g, &d, VMBUS_V3_0, 0);
	before = dropped(&g);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 1);
	GUEST_SEND(&g, VMBUS_MSG_OPEN_RESERVED, 1, 0, 2, 5, 4);
	GUEST_SEND(&g, VMBUS_MSG_TL_CONNECT, 1, 2, 3, 4, 5, 6, 7, 8);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY_CONN, 0, 0, 0, 0);
	GUEST_SEND(&g, VMBUS_MSG_PAUSE);
	GUEST_SEND(&g, VMBUS_MSG_RESUME);
	guest_expect_nothing(&g);
	assert_int_equal(dropped(&g), before + 6);
	guest_free(&g);
	/* 6.0, flags not asked for */
	up(&g, &d, VMBUS_V6_0, 0);
	before = dropped(&g);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY_CONN, 0, 0, 0, 0);
	GUEST_SEND(&g, VMBUS_MSG_PAUSE);
	assert_int_equal(dropped(&g), before + 2);
	guest_free(&g);
	/* no failure message below 4.1 */
	up(&g, &d, VMBUS_V4_0, 0);
	GUEST_SEND(&g, VMBUS_MSG_TL_CONNECT, 1, 2, 3, 4, 5, 6, 7, 8);
	guest_expect_nothing(&g);
	guest_free(&g);
	up(&g, &d, VMBUS_V4_1, 0);
	GUEST_SEND(&g, VMBUS_MSG_TL_CONNECT, 1, 2, 3, 4, 5, 6, 7, 8);
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_TL_CONNECT_RESULT, 44) + 40),
			 VMBUS_STATUS_CONN_REFUSED);
	guest_free(&g);
}

/* A guest that never frees its slot gets no memory out of us. */
static void deaf_guest(void **state)
{
	u8 msg[28] = {0};
	struct vmbus_server_info info;
	struct device d;
	unsigned taken = 0;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	g.busy = true;
	put_le32(msg, VMBUS_MSG_GPADL_HEADER); /* each gives a failure answer */
	put_le32(msg + 8, 999);
	while (guest_send(&g, msg, 28) == 0)
		taken++;
	assert_int_equal(taken, 64);
	assert_true(vmbus_server_waiting(g.s));
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(guest_send(&g, msg, 28), -EAGAIN);
	vmbus_server_describe(g.s, &info);
	assert_int_equal(info.queued, 64);
	/* a new kernel comes: what the old one has not read is void */
	guest_contact(&g, VMBUS_V5_3, 0, 0);
	g.busy = false;
	vmbus_server_pump(g.s);
	guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16);
	guest_expect_nothing(&g);
	assert_false(vmbus_server_waiting(g.s));
	guest_free(&g);
}

/* Order is kept over a busy slot. */
static void busy_slot(void **state)
{
	struct device d[40];
	struct guest g;

	(void)state;
	guest_init(&g, &config, &guest_ops);
	for (unsigned i = 0; i < 40; i++)
		add_device(&g, &d[i], i);
	guest_connect(&g, VMBUS_V5_3, 0);
	g.busy = true;
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect_nothing(&g);
	g.busy = false;
	vmbus_server_pump(g.s);
	for (unsigned i = 1; i <= 40; i++)
		assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_OFFER, 196) + 184), i);
	guest_expect(&g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	guest_free(&g);
	/* a transport that is gone loses messages, and nothing else */
	guest_init(&g, &config, &guest_ops);
	g.broken = true;
	guest_contact(&g, VMBUS_V5_3, 0, 0);
	assert_false(vmbus_server_waiting(g.s));
	guest_free(&g);
}

/* --- Linux */

/* Versions from the newest down, offers, GPADL of 2 * 16 KiB + control pages, open, close, unload.
 */
static void linux_sequence(void **state)
{
	struct vmbus_server_config cfg = config;
	struct vmbus_packet pkt;
	struct vmbus_tx tx;
	struct device d;
	struct guest g;
	const u8 *m;

	(void)state;
	cfg.max_version = VMBUS_V5_2;
	guest_init(&g, &cfg, &guest_ops);
	add_device(&g, &d, 1);
	guest_contact(&g, VMBUS_V6_0, 0, 0);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 0);
	guest_contact(&g, VMBUS_V5_3, 0, 0);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 0);
	guest_contact(&g, VMBUS_V5_2, 0, 0);
	m = guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16);
	assert_int_equal(m[8], 1);
	assert_int_equal(get_le32(m + 12), 4);
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	m = guest_expect(&g, VMBUS_MSG_OFFER, 196);
	assert_memory_equal(m + 8, &VMBUS_IF_HEARTBEAT, 16);
	assert_int_equal(get_le16(m + 56), 0);
	assert_int_equal(get_le32(m + 184), 1);
	assert_int_equal(m[188], 0xff);
	assert_int_equal(m[189], 0);
	assert_int_equal(get_le16(m + 190), 1);
	assert_int_equal(get_le32(m + 192), 0x2001);
	guest_expect(&g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);

	/* util driver: two rings of 4 pages and a control page each, 10 PFNs in the header */
	vmbus_ring_format(&g.ram[10]);
	vmbus_ring_format(&g.ram[15]);
	guest_gpadl_ok(&g, 1, 0xe1e10, 10, 10);
	guest_open(&g, 1, 0xe1e10, 0, 5);
	assert_int_equal(guest_open_result(&g, 1), 0);
	assert_int_equal(g.ports, 1);
	assert_int_equal(g.port[0], 0x2001);
	assert_int_equal(d.open_req.downstream, 5);
	assert_int_equal(vmbus_channel_rx(d.ch)->size, 4 * PAGE_SIZE);
	assert_int_equal(vmbus_channel_tx(d.ch)->size, 4 * PAGE_SIZE);

	/* data both ways */
	vmbus_tx_init(&tx, &g.ram[10], 5);
	vmbus_tx_inband(&tx, 0, 1, "hello", 6);
	vmbus_tx_publish(&tx);
	assert_true(vmbus_server_event(g.s, 0x2001));
	assert_int_equal(d.signals, 1);
	assert_int_equal(vmbus_rx_peek(vmbus_channel_rx(d.ch), &pkt), VMBUS_RING_OK);
	assert_int_equal(vmbus_tx_inband(vmbus_channel_tx(d.ch), 0, 2, "world", 6), VMBUS_RING_OK);
	if (vmbus_tx_publish(vmbus_channel_tx(d.ch)))
		vmbus_channel_signal(d.ch);
	assert_int_equal(g.signals, 1);
	assert_int_equal(g.signal_flag, 1);
	assert_int_equal(g.signal_sint, 2);
	assert_int_equal(g.signal_vtl, 0);
	/* nobody has read it after 100 ms: signalled again, once */
	assert_int_equal(g.timers, 1);
	vmbus_server_timer(g.s);
	vmbus_server_timer(g.s);
	assert_int_equal(g.signals, 2);

	GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1);
	assert_int_equal(d.closes, 1);
	assert_null(vmbus_channel_rx(d.ch));
	guest_expect_nothing(&g);
	GUEST_SEND(&g, VMBUS_MSG_GPADL_TEARDOWN, 1, 0xe1e10);
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_GPADL_TORNDOWN, 12) + 8), 0xe1e10);
	assert_int_equal(d.teardowns, 1);
	GUEST_SEND(&g, VMBUS_MSG_UNLOAD);
	guest_expect(&g, VMBUS_MSG_UNLOAD_COMPLETE, 8);
	assert_int_equal(g.version, 0);
	guest_free(&g);
}

/* VTL2's kernel: ids and connection of its own. */
static void vtl2_ids(void **state)
{
	struct vmbus_server_config cfg = config;
	struct device d;
	struct guest g;
	const u8 *m;
	u8 msg[56];

	(void)state;
	cfg.vtl = 2;
	cfg.connection = VMBUS_CONN_VTL2;
	guest_init(&g, &cfg, &guest_ops);
	add_device(&g, &d, 1);
	guest_contact(&g, VMBUS_V6_0, 0, 0);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 0);
	guest_contact(&g, VMBUS_V6_0, 2, 0);
	m = guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 20);
	assert_int_equal(get_le32(m + 12), 0x800024);
	assert_int_equal(guest_last(&g)->vtl, 2);
	assert_int_equal(guest_last(&g)->sint, 2);
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	m = guest_expect(&g, VMBUS_MSG_OFFER, 196);
	assert_int_equal(get_le32(m + 192), 0x22001);
	guest_free(&g);
	/* redirected: the relay in VTL2 stands in for VTL0 */
	cfg.vtl = 0;
	cfg.connection = VMBUS_CONN_VTL2_REDIRECT;
	cfg.post_vtl = 2;
	cfg.post_sint = 7;
	guest_init(&g, &cfg, &guest_ops);
	add_device(&g, &d, 1);
	guest_connect(&g, VMBUS_V6_0, 0x107);
	assert_int_equal(guest_last(&g)->vtl, 2);
	assert_int_equal(guest_last(&g)->sint, 7);
	assert_int_equal(get_le32(guest_last(&g)->data + 12), 0x800074);
	guest_free(&g);
	/* who is meant */
	memset(msg, 0, sizeof(msg));
	put_le32(msg, VMBUS_MSG_INITIATE_CONTACT);
	put_le32(msg + 8, VMBUS_V5_1);
	msg[17] = 2;
	assert_int_equal(vmbus_contact_vtl(msg, 40, VMBUS_VIA_MULTI), 2);
	assert_int_equal(vmbus_contact_vtl(msg, 40, 0), 0);
	assert_int_equal(vmbus_contact_vtl(msg, 39, VMBUS_VIA_MULTI), -1);
	put_le32(msg + 8, VMBUS_V5_0);
	assert_int_equal(vmbus_contact_vtl(msg, 40, VMBUS_VIA_MULTI), 0);
	put_le32(msg, VMBUS_MSG_UNLOAD);
	assert_int_equal(vmbus_contact_vtl(msg, 40, VMBUS_VIA_MULTI), -1);
	assert_int_equal(VMBUS_MESSAGE_CONN(2, 7, 0), VMBUS_CONN_VTL2_REDIRECT);
	assert_int_equal(VMBUS_MESSAGE_CONN(2, 2, 0), VMBUS_CONN_VTL2);
}

/* The guest's kernel is replaced under open channels (kexec, crash): contact ends them all. */
static void reconnect_over_open_channels(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	open_channel(&g, 1);
	guest_gpadl_ok(&g, 1, 99, 20, 2);
	d.late = true;
	guest_contact(&g, VMBUS_V5_2, 0, 0);
	assert_int_equal(d.closes, 1);
	assert_int_equal(d.teardowns, 1); /* the buffer; the ring waits for the close */
	assert_int_equal(d.torn, 99);
	guest_expect_nothing(&g);
	/* it asks again with another version: the latest counts */
	guest_contact(&g, VMBUS_V5_1, 0, 0);
	assert_int_equal(d.closes, 1);
	vmbus_channel_gpadl_torn_down(d.ch, 99);
	guest_expect_nothing(&g);
	vmbus_channel_gpadl_torn_down(d.ch, 0xe1e10); /* not asked: ignored */
	vmbus_channel_close_done(d.ch);
	assert_int_equal(d.torn, 0xe1e10);
	guest_expect_nothing(&g);
	vmbus_channel_gpadl_torn_down(d.ch, 0xe1e10);
	guest_expect(&g, VMBUS_MSG_VERSION_RESPONSE, 16);
	assert_int_equal(g.version, VMBUS_V5_1);
	guest_expect_nothing(&g);
	assert_int_equal(g.ports, 0);
	d.late = false;
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&g, VMBUS_MSG_OFFER, 196);
	guest_expect(&g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	open_channel(&g, 1);
	guest_free(&g);
}

static void unload_while_opening(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	for (u32 status = 0; status < 2; status++) {
		up(&g, &d, VMBUS_V5_3, 0);
		guest_gpadl_ok(&g, 1, 5, 8, 8);
		d.late = true;
		guest_open(&g, 1, 5, 0, 4);
		GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1); /* not before the result */
		GUEST_SEND(&g, VMBUS_MSG_UNLOAD);
		GUEST_SEND(&g, VMBUS_MSG_UNLOAD);
		guest_open(&g, 1, 5, 0, 4);
		guest_expect_nothing(&g);
		assert_int_equal(d.closes, 0);
		d.late = false;
		vmbus_channel_open_done(d.ch, status);
		vmbus_channel_open_done(d.ch, status); /* once too many */
		assert_int_equal(d.closes, !status);
		assert_int_equal(d.teardowns, 1);
		guest_expect(&g, VMBUS_MSG_UNLOAD_COMPLETE, 8);
		guest_expect_nothing(&g);
		guest_free(&g);
	}
}

/* OPEN right behind CLOSE, while the device still closes. */
static void reopen_while_closing(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	open_channel(&g, 1);
	guest_gpadl_ok(&g, 1, 6, 16, 8);
	d.late = true;
	GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1);
	GUEST_SEND(&g, VMBUS_MSG_GPADL_TEARDOWN, 1, 0xe1e10);
	GUEST_SEND(&g, VMBUS_MSG_GPADL_TEARDOWN, 1, 0xe1e10);
	guest_open(&g, 1, 6, 0, 4);
	guest_expect_nothing(&g); /* the ring may still be written */
	assert_int_equal(d.teardowns, 0);
	vmbus_channel_close_done(d.ch);
	assert_int_equal(d.teardowns, 1);
	assert_int_equal(d.opens, 2);
	assert_int_equal(d.open_req.gpadl, 6);
	vmbus_channel_open_done(d.ch, 0);
	assert_int_equal(guest_open_result(&g, 1), 0);
	vmbus_channel_gpadl_torn_down(d.ch, 0xe1e10);
	guest_expect(&g, VMBUS_MSG_GPADL_TORNDOWN, 12);
	guest_free(&g);
}

static void failing_device(void **state)
{
	struct device d;
	struct guest g;
	const u8 *m;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	d.status = VMBUS_STATUS_FAILED;
	guest_gpadl(&g, 1, 5, 8, 8);
	m = guest_expect(&g, VMBUS_MSG_GPADL_CREATED, 20);
	assert_int_equal(get_le32(m + 16), VMBUS_STATUS_FAILED);
	d.status = 0;
	guest_gpadl_ok(&g, 1, 5, 8, 8); /* the id is free again */
	d.status = VMBUS_STATUS_FAILED;
	guest_open(&g, 1, 5, 0, 4);
	assert_int_equal(guest_open_result(&g, 1), VMBUS_STATUS_FAILED);
	assert_int_equal(g.ports, 0);
	d.status = 0;
	guest_open(&g, 1, 5, 0, 4);
	assert_int_equal(guest_open_result(&g, 1), 0);
	guest_free(&g);
}

/* --- revoke */

static void revoke_and_release(void **state)
{
	struct device d, e;
	struct guest g;
	const u8 *m;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	open_channel(&g, 1);
	d.late = true;
	guest_gpadl(&g, 1, 6, 16, 2); /* not answered */
	d.late = false;
	guest_gpadl_ok(&g, 1, 7, 16, 2);
	d.late = true;
	GUEST_SEND(&g, VMBUS_MSG_GPADL_TEARDOWN, 1, 7); /* not answered */
	vmbus_channel_revoke(d.ch);
	/* bucket order is not protocol: both answers come before the rescind */
	for (unsigned i = 0; i < 2; i++) {
		if (get_le32(g.inbox[g.head].data) == VMBUS_MSG_GPADL_CREATED) {
			m = guest_expect(&g, VMBUS_MSG_GPADL_CREATED, 20);
			assert_int_equal(get_le32(m + 16), VMBUS_STATUS_FAILED);
		} else {
			guest_expect(&g, VMBUS_MSG_GPADL_TORNDOWN, 12);
		}
	}
	m = guest_expect(&g, VMBUS_MSG_RESCIND, 12);
	assert_int_equal(get_le32(m + 8), 1);
	assert_int_equal(g.ports, 0);
	/* Linux: close, and teardowns that were under way; new GPADLs unwind */
	GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1);
	guest_open(&g, 1, 0xe1e10, 0, 4);
	GUEST_SEND(&g, VMBUS_MSG_GPADL_TEARDOWN, 1, 0xe1e10);
	guest_expect(&g, VMBUS_MSG_GPADL_TORNDOWN, 12);
	guest_gpadl_ok(&g, 1, 8, 16, 2);
	GUEST_SEND(&g, VMBUS_MSG_GPADL_TEARDOWN, 1, 8);
	guest_expect(&g, VMBUS_MSG_GPADL_TORNDOWN, 12);
	guest_expect_nothing(&g);
	/* the same device comes back before the release: offered after it, under another id */
	add_device(&g, &e, 1);
	guest_expect_nothing(&g);
	assert_string_equal(channel_state(&g, 2), "held");
	assert_int_equal(d.released, 0);
	GUEST_SEND(&g, VMBUS_MSG_RELID_RELEASED, 1);
	assert_int_equal(d.released, 1);
	m = guest_expect(&g, VMBUS_MSG_OFFER, 196);
	assert_int_equal(get_le32(m + 184), 2);
	assert_string_equal(channel_state(&g, 1), "none");
	GUEST_SEND(&g, VMBUS_MSG_RELID_RELEASED, 1);
	assert_int_equal(d.opens, 1);
	assert_int_equal(d.closes, 0);
	guest_free(&g);
}

static void revoke_inside_callbacks(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		up(&g, &d, VMBUS_V5_3, 0);
		d.revoke_in_open = i == 0;
		guest_gpadl_ok(&g, 1, 5, 8, 8);
		guest_gpadl_ok(&g, 1, 6, 8, 8);
		guest_gpadl_ok(&g, 1, 5 + 64, 8, 8);
		guest_open(&g, 1, 5, 0, 4);
		if (i)
			assert_int_equal(guest_open_result(&g, 1), 0);
		d.revoke_in_close = i == 1 || i == 2;
		d.revoke_in_teardown = i >= 3;
		switch (i) {
		case 1: GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1); break;
		case 3: GUEST_SEND(&g, VMBUS_MSG_GPADL_TEARDOWN, 1, 6); break;
		case 4: guest_contact(&g, VMBUS_V5_3, 0, 0); break;
		case 5: vmbus_server_reset(g.s); break;
		case 2: GUEST_SEND(&g, VMBUS_MSG_UNLOAD); break;
		default: break;
		}
		g.count = 0;
		GUEST_SEND(&g, VMBUS_MSG_RELID_RELEASED, 1);
		assert_string_equal(channel_state(&g, 1), "none");
		assert_int_equal(d.released, 1);
		assert_int_equal(g.ports, 0);
		guest_free(&g);
	}
}

static void revoke_unoffered(void **state)
{
	struct vmbus_offer offer = offer_of(1);
	struct device d;
	struct guest g;

	(void)state;
	guest_init(&g, &config, &guest_ops);
	add_device(&g, &d, 1);
	assert_null(vmbus_server_offer(g.s, &offer, &dev_ops, &d)); /* key in use */
	vmbus_channel_revoke(d.ch);
	assert_int_equal(d.released, 1);
	add_device(&g, &d, 1);
	assert_int_equal(vmbus_channel_id(d.ch), 1);
	guest_connect(&g, VMBUS_V5_3, 0);
	vmbus_channel_revoke(d.ch); /* connected, but not yet told of it */
	guest_expect_nothing(&g);
	guest_free(&g);
}

static void subchannels(void **state)
{
	struct vmbus_offer offer = offer_of(1);
	struct device d, sub[3];
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	for (unsigned i = 0; i < 3; i++) {
		const u8 *m;

		offer.subchannel = (u16)(i + 1);
		sub[i] = (struct device){0};
		sub[i].ch = vmbus_server_offer(g.s, &offer, &dev_ops, &sub[i]);
		m = guest_expect(&g, VMBUS_MSG_OFFER, 196);
		assert_int_equal(get_le16(m + 180), i + 1);
	}
	vmbus_channel_revoke(d.ch);
	for (unsigned i = 2; i <= 5; i++)
		assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_RESCIND, 12) + 8),
				 i == 5 ? 1 : i);
	guest_free(&g);
}

static void release_of_a_closed_channel(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	guest_gpadl_ok(&g, 1, 5, 8, 8);
	GUEST_SEND(&g, VMBUS_MSG_RELID_RELEASED, 1);
	assert_int_equal(d.teardowns, 1);
	guest_expect_nothing(&g);
	guest_open(&g, 1, 5, 0, 4);
	guest_expect_nothing(&g);
	/* comes again with the next connection */
	guest_connect(&g, VMBUS_V5_3, 0);
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&g, VMBUS_MSG_OFFER, 196);
	guest_free(&g);
}

static void ids_run_out(void **state)
{
	struct vmbus_offer offer = offer_of(0);
	unsigned n = 0;
	struct guest g;

	(void)state;
	guest_init(&g, &config, &guest_ops);
	for (;; n++) {
		offer.instance.data1 = n + 1;
		offer.transient = n % 2;
		if (!vmbus_server_offer(g.s, &offer, &(struct vmbus_device_ops){0}, NULL))
			break;
	}
	assert_true(n >= 2000 && n <= 2047);
	guest_connect(&g, VMBUS_V5_3, 0);
	g.busy = true;
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	g.busy = false;
	vmbus_server_pump(g.s);
	assert_int_equal(g.count, n + 1);
	guest_free(&g);
}

/* --- modify, reserved channels, pause, reset */

static void modify(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 1); /* closed */
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_MODIFY_RESPONSE, 16) + 12),
			 VMBUS_STATUS_FAILED);
	open_channel(&g, 1);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 2); /* no such VP */
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_MODIFY_RESPONSE, 16) + 12),
			 VMBUS_STATUS_FAILED);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 0xffffffff);
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_MODIFY_RESPONSE, 16) + 12),
			 VMBUS_STATUS_FAILED);
	assert_int_equal(d.modifies, 0);
	d.late = true;
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 1);
	vmbus_channel_signal(d.ch);
	assert_int_equal(g.signal_vp, 0);
	guest_expect_nothing(&g);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 0); /* one at a time */
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_MODIFY_RESPONSE, 16) + 12),
			 VMBUS_STATUS_FAILED);
	vmbus_channel_modify_done(d.ch, 0);
	vmbus_channel_modify_done(d.ch, 0);
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_MODIFY_RESPONSE, 16) + 12), 0);
	guest_expect_nothing(&g);
	vmbus_channel_signal(d.ch);
	assert_int_equal(g.signal_vp, 1);
	/* closed meanwhile: failure comes with the close */
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 0);
	d.late = false;
	GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1);
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_MODIFY_RESPONSE, 16) + 12),
			 VMBUS_STATUS_FAILED);
	vmbus_channel_modify_done(d.ch, 0);
	guest_expect_nothing(&g);
	guest_free(&g);
	/* 4.1: no answers, the newest wins */
	up(&g, &d, VMBUS_V4_1, 0);
	open_channel(&g, 1);
	d.late = true;
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 1);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 1);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY, 1, 0);
	assert_int_equal(d.modifies, 1);
	vmbus_channel_modify_done(d.ch, 0);
	assert_int_equal(d.modifies, 2);
	assert_int_equal(d.vp, 0);
	vmbus_channel_modify_done(d.ch, 0);
	guest_expect_nothing(&g);
	guest_free(&g);
}

static void reserved_channel(void **state)
{
	struct device d;
	struct guest g;
	const u8 *m;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	GUEST_SEND(&g, VMBUS_MSG_CLOSE_RESERVED, 1, 0, 3); /* not open */
	guest_expect_nothing(&g);
	guest_gpadl_ok(&g, 1, 5, 8, 8);
	GUEST_SEND(&g, VMBUS_MSG_OPEN_RESERVED, 1, 9, 3, 5, 4);	 /* VP */
	GUEST_SEND(&g, VMBUS_MSG_OPEN_RESERVED, 1, 1, 16, 5, 4); /* SINT */
	guest_expect_nothing(&g);
	GUEST_SEND(&g, VMBUS_MSG_OPEN_RESERVED, 1, 1, 3, 5, 4);
	m = guest_expect(&g, VMBUS_MSG_OPEN_RESULT, 20);
	assert_int_equal(get_le32(m + 16), 0);
	assert_int_equal(guest_last(&g)->vp, 1);
	assert_int_equal(guest_last(&g)->sint, 3);
	vmbus_channel_signal(d.ch);
	assert_int_equal(g.signals, 0);
	/* neither the plain close nor its GPADL's teardown */
	GUEST_SEND(&g, VMBUS_MSG_CLOSE, 1);
	GUEST_SEND(&g, VMBUS_MSG_GPADL_TEARDOWN, 1, 5);
	GUEST_SEND(&g, VMBUS_MSG_RELID_RELEASED, 1);
	guest_expect_nothing(&g);
	guest_gpadl(&g, 1, 6, 8, 8);
	assert_int_equal(get_le32(guest_expect(&g, VMBUS_MSG_GPADL_CREATED, 20) + 16),
			 VMBUS_STATUS_FAILED);
	/* it outlives the connection */
	GUEST_SEND(&g, VMBUS_MSG_UNLOAD);
	guest_expect(&g, VMBUS_MSG_UNLOAD_COMPLETE, 8);
	assert_int_equal(d.closes, 0);
	assert_true(vmbus_server_event(g.s, 0x2001));
	GUEST_SEND(&g, VMBUS_MSG_CLOSE_RESERVED, 1, 0, 4);
	assert_int_equal(d.closes, 1);
	assert_int_equal(d.teardowns, 1);
	m = guest_expect(&g, VMBUS_MSG_CLOSE_RESERVED_RESPONSE, 12);
	assert_int_equal(guest_last(&g)->sint, 4);
	guest_expect_nothing(&g);
	/* open over a new connection, and a reset ends it */
	guest_connect(&g, VMBUS_V5_3, 0);
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&g, VMBUS_MSG_OFFER, 196);
	guest_expect(&g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	guest_gpadl_ok(&g, 1, 5, 8, 8);
	GUEST_SEND(&g, VMBUS_MSG_OPEN_RESERVED, 1, 1, 3, 5, 4);
	guest_expect(&g, VMBUS_MSG_OPEN_RESULT, 20);
	guest_connect(&g, VMBUS_V5_3, 0);
	GUEST_SEND(&g, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&g, VMBUS_MSG_OFFER, 196);
	guest_expect(&g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	assert_int_equal(d.closes, 1);
	vmbus_server_reset(g.s);
	assert_int_equal(d.closes, 2);
	assert_true(vmbus_server_idle(g.s));
	guest_expect_nothing(&g);
	guest_free(&g);
}

static void pause_and_resume(void **state)
{
	struct device d, e;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V6_0, VMBUS_F_PAUSE);
	GUEST_SEND(&g, VMBUS_MSG_RESUME); /* not paused */
	g.busy = true;
	guest_gpadl(&g, 1, 5, 8, 8);
	GUEST_SEND(&g, VMBUS_MSG_PAUSE);
	add_device(&g, &e, 2);
	g.busy = false;
	vmbus_server_pump(g.s);
	guest_expect(&g, VMBUS_MSG_GPADL_CREATED, 20);
	guest_expect(&g, VMBUS_MSG_PAUSE_RESPONSE, 8);
	guest_expect_nothing(&g); /* the offer stays */
	assert_false(vmbus_server_waiting(g.s));
	guest_open(&g, 1, 5, 0, 4); /* an error while paused */
	assert_int_equal(d.opens, 0);
	GUEST_SEND(&g, VMBUS_MSG_RESUME);
	guest_expect(&g, VMBUS_MSG_OFFER, 196);
	GUEST_SEND(&g, VMBUS_MSG_PAUSE);
	guest_expect(&g, VMBUS_MSG_PAUSE_RESPONSE, 8);
	vmbus_channel_revoke(e.ch);
	GUEST_SEND(&g, VMBUS_MSG_UNLOAD);
	guest_expect(&g, VMBUS_MSG_UNLOAD_COMPLETE, 8);
	guest_expect_nothing(&g);
	guest_free(&g);
}

static void monitor_pages(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V6_0, VMBUS_F_MODIFY_CONN);
	assert_int_equal(g.monitor_c2p, 0x6000);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY_CONN, 0x7000, 0, 0x8000, 0);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_MODIFY_CONN_RESPONSE, 9)[8], 0);
	assert_int_equal(g.monitor_p2c, 0x7000);
	GUEST_SEND(&g, VMBUS_MSG_MODIFY_CONN, 0x7000, 0, 0, 0);
	assert_int_equal(guest_expect(&g, VMBUS_MSG_MODIFY_CONN_RESPONSE, 9)[8], 2);
	assert_int_equal(g.monitor_p2c, 0x7000);
	GUEST_SEND(&g, VMBUS_MSG_UNLOAD);
	assert_int_equal(g.monitor_p2c, 0);
	guest_free(&g);
}

static void reset(void **state)
{
	struct device d;
	struct guest g;

	(void)state;
	up(&g, &d, VMBUS_V5_3, 0);
	open_channel(&g, 1);
	d.late = true;
	GUEST_SEND(&g, VMBUS_MSG_UNLOAD);
	vmbus_server_reset(g.s);
	assert_false(vmbus_server_idle(g.s));
	vmbus_channel_close_done(d.ch);
	vmbus_channel_gpadl_torn_down(d.ch, 0xe1e10);
	assert_true(vmbus_server_idle(g.s));
	guest_expect_nothing(&g); /* no answer to the unload of before */
	d.late = false;
	vmbus_server_reset(g.s);
	assert_true(vmbus_server_idle(g.s));
	guest_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_without_connection),
		cmocka_unit_test(every_type_with_every_length),
		cmocka_unit_test(bad_opens),
		cmocka_unit_test(open_v2),
		cmocka_unit_test(bad_contacts),
		cmocka_unit_test(trusted_path),
		cmocka_unit_test(version_gates),
		cmocka_unit_test(deaf_guest),
		cmocka_unit_test(busy_slot),
		cmocka_unit_test(linux_sequence),
		cmocka_unit_test(vtl2_ids),
		cmocka_unit_test(reconnect_over_open_channels),
		cmocka_unit_test(unload_while_opening),
		cmocka_unit_test(reopen_while_closing),
		cmocka_unit_test(failing_device),
		cmocka_unit_test(revoke_and_release),
		cmocka_unit_test(revoke_inside_callbacks),
		cmocka_unit_test(revoke_unoffered),
		cmocka_unit_test(subchannels),
		cmocka_unit_test(release_of_a_closed_channel),
		cmocka_unit_test(ids_run_out),
		cmocka_unit_test(modify),
		cmocka_unit_test(reserved_channel),
		cmocka_unit_test(pause_and_resume),
		cmocka_unit_test(monitor_pages),
		cmocka_unit_test(reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
