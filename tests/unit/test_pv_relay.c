/* The relay between a host's server and the guest's: one to one, both ends at their worst. */
#include "tests/unit/vmbus_guest.h"

#include <stdio.h>

#include "paravisor/vmbus/relay_inspect.h"

static const struct guid interface = VMBUS_IF_SHUTDOWN, other = VMBUS_IF_HEARTBEAT;

/* The host: a server whose messages go into the relay, and whose devices are recorded. */
struct host {
	struct vmbus_server *s;
	struct relay *relay;
	u32 max_version, features;
	bool full, absent;
	struct vmbus_channel *ch;
	struct vmbus_open open;
	unsigned opens, closes, gpadls, teardowns, modifies, releases, tl_connects;
	u32 open_status, modify_vp;
	bool hold_gpadl, hold_teardown, hold_open;
	u32 last_gpadl;
	u64 first_pfn;
	struct {
		u8 len, data[VMBUS_MESSAGE_MAX];
	} fifo[256];
	unsigned head, count;
};

static struct guest guest;
static struct host host;

/* SINT7 of VTL2 */
static int host_post(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	struct host *h = ctx;
	unsigned at = (h->head + h->count++) % ARRAY_SIZE(h->fifo);

	assert_int_equal(vtl, 2);
	assert_int_equal(vp, 0);
	assert_int_equal(sint, VMBUS_REDIRECT_SINT);
	assert_true(h->count <= ARRAY_SIZE(h->fifo));
	h->fifo[at].len = (u8)len;
	memcpy(h->fifo[at].data, msg, len);
	return 0;
}

static void deliver(void)
{
	while (host.count) {
		unsigned at = host.head;

		host.head = (host.head + 1) % ARRAY_SIZE(host.fifo);
		host.count--;
		relay_message(host.relay, host.fifo[at].data, host.fifo[at].len);
	}
}

static void host_signal(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	(void)ctx;
	/* straight into the guest's SynIC */
	guest_signalled(&guest, vtl, vp, sint, flag);
}

static void host_tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
			    const struct guid *silo)
{
	struct host *h = ctx;

	(void)silo;
	h->tl_connects++;
	vmbus_server_tl_result(h->s, endpoint, service, VMBUS_STATUS_CONN_REFUSED);
}

static const struct vmbus_server_ops host_ops = {
	.post = host_post, .signal = host_signal, .tl_connect = host_tl_connect};

static int to_host(void *ctx, u32 connection, const void *msg, size_t len)
{
	struct host *h = ctx;

	assert_int_equal(connection, VMBUS_CONN_VTL2_REDIRECT);
	if (h->absent)
		return -ENXIO;
	if (h->full)
		return -EAGAIN;
	return vmbus_server_message(h->s, msg, len, VMBUS_VIA_MULTI);
}

static void d_open(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct host *h = dev;

	h->opens++;
	h->open = *open;
	if (!h->hold_open)
		vmbus_channel_open_done(ch, h->open_status);
}

static void d_close(void *dev, struct vmbus_channel *ch)
{
	((struct host *)dev)->closes++;
	vmbus_channel_close_done(ch);
}

static void d_gpadl(void *dev, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	struct host *h = dev;

	h->gpadls++;
	h->last_gpadl = gpadl->id;
	h->first_pfn = gpadl->data[1];
	if (!h->hold_gpadl)
		vmbus_channel_gpadl_done(ch, gpadl->id, VMBUS_STATUS_SUCCESS);
}

static void d_teardown(void *dev, struct vmbus_channel *ch, u32 gpadl)
{
	struct host *h = dev;

	h->teardowns++;
	h->last_gpadl = gpadl;
	if (!h->hold_teardown)
		vmbus_channel_gpadl_torn_down(ch, gpadl);
}

static void d_modify(void *dev, struct vmbus_channel *ch, u32 vp)
{
	struct host *h = dev;

	h->modifies++;
	h->modify_vp = vp;
	vmbus_channel_modify_done(ch, VMBUS_STATUS_SUCCESS);
}

static void d_released(void *dev)
{
	((struct host *)dev)->releases++;
}

static const struct vmbus_device_ops device = {
	.open = d_open,
	.close = d_close,
	.gpadl = d_gpadl,
	.gpadl_teardown = d_teardown,
	.modify = d_modify,
	.released = d_released,
};

static void relay_tl(void *ctx, const struct guid *endpoint, const struct guid *service,
		     const struct guid *silo)
{
	(void)ctx;
	relay_tl_connect(host.relay, endpoint, service, silo);
}

static struct vmbus_server_ops ops;

static struct vmbus_channel *offer(const struct guid *class, u8 instance)
{
	struct vmbus_offer o = {.interface = *class, .no_map = true, .flags = 0x17, .mmio_mb = 3};

	o.instance.data1 = instance;
	o.user[119] = 0x5a;
	return vmbus_server_offer(host.s, &o, &device, &host);
}

static int set_up(void **state)
{
	const struct vmbus_server_config g = {.name = "guest", .vps = 4, .first_channel = 100};
	struct vmbus_server_config h = {.name = "host",
					.post_vtl = 2,
					.post_sint = VMBUS_REDIRECT_SINT,
					.vps = 4,
					.features = 0x2f,
					.connection = VMBUS_CONN_VTL2_REDIRECT};
	struct relay_config r = {.post = to_host, .ctx = &host};

	memset(&host, 0, sizeof(host));
	if (state && *state)
		h.features = 0x9;
	ops = guest_ops;
	ops.tl_connect = relay_tl;
	guest_init(&guest, &g, &ops);
	host.s = vmbus_server_new(&h, &host_ops, &host);
	r.guest = guest.s;
	host.relay = relay_new(&r);
	assert_non_null(host.relay);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	guest_free(&guest);
	relay_free(host.relay);
	vmbus_server_free(host.s);
	return 0;
}

static void connect_relay(void)
{
	assert_int_equal(relay_connect(host.relay), 0);
	deliver();
}

/* Both connected, one channel offered; its id at the guest. */
static u32 start(void)
{
	const u8 *m;
	u32 id;

	host.ch = offer(&interface, 1);
	connect_relay();
	guest_connect(&guest, VMBUS_V5_3, 0);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	m = guest_expect(&guest, VMBUS_MSG_OFFER, 196);
	assert_memory_equal(m + 8, &interface, 16);
	assert_int_equal(get_le32(m + 24), 1);
	assert_int_equal(get_le16(m + 56), 0x11); /* confidential flags are gone, pinning too */
	assert_int_equal(get_le16(m + 58), 3);
	assert_int_equal(m[60 + 119], 0x5a);
	id = get_le32(m + 184);
	guest_expect(&guest, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	assert_int_equal(id, 100);
	assert_int_equal(vmbus_channel_id(host.ch), 1);
	return id;
}

static u32 open_channel(u32 id)
{
	guest_gpadl(&guest, id, 0xe1e10, 7, 4);
	deliver();
	guest_expect(&guest, VMBUS_MSG_GPADL_CREATED, 20);
	guest_open(&guest, id, 0xe1e10, 3, 2);
	deliver();
	return guest_open_result(&guest, id);
}

static struct relay_info info(void)
{
	struct relay_info i;

	relay_describe(host.relay, &i);
	return i;
}

/* What the guest says reaches the host as it is; the signal path does not lead through here. */
static void one_to_one(void **state)
{
	u32 id = start();

	(void)state;
	assert_int_equal(open_channel(id), 0);
	assert_int_equal(host.open.gpadl, 0xe1e10);
	assert_int_equal(host.first_pfn, 7);
	assert_int_equal(host.open.target_vp, 3);
	assert_int_equal(host.open.downstream, 2);
	assert_int_equal(host.open.event_flag, id);
	assert_int_equal(host.open.connection, 0x2000 + id);
	assert_true(vmbus_server_event(host.s, 0x2000 + id));
	vmbus_channel_signal(host.ch);
	assert_int_equal(guest.signal_vtl, 0);
	assert_int_equal(guest.signal_vp, 3);
	assert_int_equal(guest.signal_sint, 2);
	assert_int_equal(guest.signal_flag, id);
	GUEST_SEND(&guest, VMBUS_MSG_MODIFY, id, 1);
	deliver();
	assert_int_equal(get_le32(guest_expect(&guest, VMBUS_MSG_MODIFY_RESPONSE, 16) + 12), 0);
	assert_int_equal(host.modify_vp, 1);
	GUEST_SEND(&guest, VMBUS_MSG_CLOSE, id);
	assert_int_equal(host.closes, 1);
	/* the host keeps the pages for a while */
	host.hold_teardown = true;
	GUEST_SEND(&guest, VMBUS_MSG_GPADL_TEARDOWN, id, 0xe1e10);
	deliver();
	guest_expect_nothing(&guest);
	vmbus_channel_gpadl_torn_down(host.ch, 0xe1e10);
	deliver();
	guest_expect(&guest, VMBUS_MSG_GPADL_TORNDOWN, 12);
	host.hold_teardown = false;
	assert_int_equal(open_channel(id), 0);
	assert_int_equal(info().opens, 2);
}

static void refused_by_the_host(void **state)
{
	u32 id = start();

	(void)state;
	host.open_status = VMBUS_STATUS_FAILED;
	assert_int_equal(open_channel(id), VMBUS_STATUS_FAILED);
	host.open_status = 0;
	guest_open(&guest, id, 0xe1e10, 0, 2);
	deliver();
	assert_int_equal(guest_open_result(&guest, id), 0);
	/* a page list of the same id on two channels at once is what the client cannot tell apart
	 */
	guest_gpadl(&guest, id, 0xe1e10, 1, 2);
	deliver();
	assert_int_not_equal(get_le32(guest_expect(&guest, VMBUS_MSG_GPADL_CREATED, 20) + 16), 0);
}

static void host_takes_back(void **state)
{
	u32 id = start();

	(void)state;
	assert_int_equal(open_channel(id), 0);
	vmbus_channel_revoke(host.ch);
	deliver();
	assert_int_equal(get_le32(guest_expect(&guest, VMBUS_MSG_RESCIND, 12) + 8), id);
	/* the id stays taken until the guest lets go */
	assert_int_equal(host.releases, 0);
	GUEST_SEND(&guest, VMBUS_MSG_CLOSE, id);
	GUEST_SEND(&guest, VMBUS_MSG_GPADL_TEARDOWN, id, 0xe1e10);
	guest_expect(&guest, VMBUS_MSG_GPADL_TORNDOWN, 12);
	GUEST_SEND(&guest, VMBUS_MSG_RELID_RELEASED, id);
	assert_int_equal(host.releases, 1);
	assert_int_equal(info().relayed, 0);
	assert_int_equal(info().host.channels, 0);
	assert_int_equal(info().host.gpadls, 0);
	/* it comes back, under the same names */
	assert_non_null(offer(&interface, 1));
	deliver();
	guest_expect(&guest, VMBUS_MSG_OFFER, 196);
}

static void taken_back_while_opening(void **state)
{
	u32 id = start();

	(void)state;
	host.hold_open = true;
	guest_gpadl(&guest, id, 5, 7, 4);
	deliver();
	guest_expect(&guest, VMBUS_MSG_GPADL_CREATED, 20);
	guest_open(&guest, id, 5, 0, 2);
	vmbus_channel_revoke(host.ch);
	deliver();
	assert_int_not_equal(guest_open_result(&guest, id), 0);
	guest_expect(&guest, VMBUS_MSG_RESCIND, 12);
	GUEST_SEND(&guest, VMBUS_MSG_RELID_RELEASED, id);
	assert_int_equal(host.releases, 1);
}

/* The guest leaves and comes back: the host's connection stays, its channels are closed. */
static void guest_leaves(void **state)
{
	u32 id = start();

	(void)state;
	for (int again = 0; again < 10; again++) {
		assert_int_equal(open_channel(id), 0);
		if (again & 1) {
			/* a crash kernel does not unload */
			guest_contact(&guest, VMBUS_V5_3, 0, 0);
			assert_int_equal(host.closes, again + 1);
			/* ... and is not answered before the host has let go of the pages */
			guest_expect_nothing(&guest);
			deliver();
		} else {
			GUEST_SEND(&guest, VMBUS_MSG_UNLOAD);
			guest_expect_nothing(&guest);
			deliver();
			guest_expect(&guest, VMBUS_MSG_UNLOAD_COMPLETE, 8);
			guest_contact(&guest, VMBUS_V5_3, 0, 0);
		}
		assert_int_equal(guest_expect(&guest, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 1);
		assert_int_equal(info().host.gpadls, 0);
		GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
		guest_expect(&guest, VMBUS_MSG_OFFER, 196);
		guest_expect(&guest, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	}
	assert_int_equal(host.teardowns, 10);
	assert_int_equal(info().host.version, VMBUS_V6_0);
	assert_int_equal(host.releases, 0);
}

/* Taken back while no guest is there: nothing to wait for. */
static void taken_back_without_guest(void **state)
{
	(void)state;
	host.ch = offer(&interface, 1);
	connect_relay();
	assert_int_equal(info().relayed, 1);
	vmbus_channel_revoke(host.ch);
	deliver();
	assert_int_equal(info().relayed, 0);
	assert_int_equal(host.releases, 1);
}

static void host_without_buffers(void **state)
{
	u32 id = start();

	(void)state;
	host.full = true;
	guest_gpadl(&guest, id, 5, 7, 60); /* a header and two bodies */
	assert_true(relay_waiting(host.relay));
	relay_pump(host.relay);
	assert_int_equal(host.gpadls, 0);
	host.full = false;
	relay_pump(host.relay);
	assert_false(relay_waiting(host.relay));
	deliver();
	assert_int_equal(host.gpadls, 1);
	assert_int_equal(get_le32(guest_expect(&guest, VMBUS_MSG_GPADL_CREATED, 20) + 16), 0);
}

static void no_host(void **state)
{
	const u8 *m;

	(void)state;
	host.absent = true;
	assert_int_not_equal(relay_connect(host.relay), 0);
	guest_connect(&guest, VMBUS_V6_0, 0);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&guest, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	GUEST_SEND(&guest, VMBUS_MSG_TL_CONNECT, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
	m = guest_expect(&guest, VMBUS_MSG_TL_CONNECT_RESULT, 44);
	assert_int_equal(get_le32(m + 40), VMBUS_STATUS_CONN_REFUSED);
}

/* It could not signal the guest directly: better no channel than one through VTL2. */
static void host_too_old(void **state)
{
	(void)state;
	offer(&interface, 1);
	connect_relay();
	assert_int_equal(info().relayed, 0);
	assert_int_equal(info().host.version, 0);
}
static void *old_host = &host;

static void sockets(void **state)
{
	struct vmbus_offer o = {.interface = VMBUS_IF_HVSOCK(9),
				.flags = VMBUS_OFFER_HVSOCK,
				.no_map = true,
				.transient = true};
	const u8 *m;

	start();
	(void)state;
	GUEST_SEND(&guest, VMBUS_MSG_TL_CONNECT, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
	deliver();
	assert_int_equal(host.tl_connects, 1);
	m = guest_expect(&guest, VMBUS_MSG_TL_CONNECT_RESULT, 44);
	assert_int_equal(get_le32(m + 8), 1);
	assert_int_equal(get_le32(m + 24), 5);
	assert_int_equal(get_le32(m + 40), VMBUS_STATUS_CONN_REFUSED);
	vmbus_server_offer(host.s, &o, &device, &host);
	deliver();
	m = guest_expect(&guest, VMBUS_MSG_OFFER, 196);
	assert_int_equal(get_le16(m + 56), VMBUS_OFFER_HVSOCK);
	assert_true(get_le32(m + 184) >= 1024);
}

/* --- keepers */

static unsigned kept_opened, kept_created, kept_torn, kept_rescinded;

static bool wants(void *ctx, const struct vmbus_msg_offer *msg)
{
	struct guid g = msg->interface;

	assert_ptr_equal(ctx, &kept_opened);
	return guid_equal(&g, &other);
}

static void k_opened(void *ctx, u16 channel, u32 status)
{
	(void)ctx;
	assert_int_equal(channel, 2);
	assert_int_equal(status, 0);
	kept_opened++;
}

static void k_created(void *ctx, u16 channel, u32 gpadl, u32 status)
{
	(void)ctx;
	(void)channel;
	assert_int_equal(gpadl, 77);
	assert_int_equal(status, 0);
	kept_created++;
}

static void k_torn(void *ctx, u16 channel, u32 gpadl)
{
	(void)ctx;
	(void)channel;
	assert_int_equal(gpadl, 77);
	kept_torn++;
}

static void k_rescinded(void *ctx, u16 channel)
{
	(void)ctx;
	kept_rescinded++;
	relay_keeper_release(host.relay, channel);
}

static const struct relay_keeper keeper = {wants,  k_opened,	k_created,
					   k_torn, k_rescinded, "tester"};

/* One value of the relay's directory, as text; "" where there is none. */
static const char *seen(const char *path)
{
	const struct inspect_query query = {.path = path, .level = INSPECT_SENSITIVE, .depth = 9};
	struct inspect_tree tree;
	struct inspect root, channels;
	static char text[64];

	inspect_begin(&tree, &query, MiB, &root);
	relay_inspect(&root, host.relay);
	if (inspect_enter(&root, "channels", &channels)) {
		for (u16 i = 0; i < VMBUS_MAX_CHANNELS + 1; i++)
			relay_inspect_channel(&channels, host.relay, i);
	}
	inspect_finish(&tree);
	text[0] = 0;
	if (tree.result->kind == INSPECT_VALUE && tree.result->type == INSPECT_STRING)
		snprintf(text, sizeof(text), "%.*s", (int)tree.result->data.size,
			 (const char *)tree.result->data.data);
	else if (tree.result->kind == INSPECT_VALUE)
		snprintf(text, sizeof(text), "%llu", (unsigned long long)tree.result->number);
	inspect_free(&tree);
	return text;
}

static void kept_for_vtl2(void **state)
{
	const u64 pages[] = {2 * PAGE_SIZE, 40, 41};
	struct vmbus_open open = {
		.gpadl = 77, .open_id = 1, .downstream = 1, .event_flag = 2, .connection = 0x27002};
	struct vmbus_client *c = relay_host(host.relay);
	struct vmbus_channel *ch;

	(void)state;
	kept_opened = kept_created = kept_torn = kept_rescinded = 0;
	for (int i = 0; i < RELAY_KEEPERS; i++)
		assert_true(relay_add_keeper(host.relay, &keeper, &kept_opened));
	assert_false(relay_add_keeper(host.relay, &keeper, &kept_opened));
	start();
	ch = offer(&other, 2);
	deliver();
	guest_expect_nothing(&guest);
	assert_int_equal(info().kept, 1);
	assert_string_equal(seen("relayed"), "1");
	assert_string_equal(seen("kept"), "1");
	assert_string_equal(seen("channels/1/interface_name"), "shutdown_ic");
	assert_string_equal(seen("channels/1/guest_channel_id"), "100");
	assert_string_equal(seen("channels/1/kept_by"), "");
	assert_string_equal(seen("channels/2/instance_id"), "00000002-0000-0000-0000-000000000000");
	assert_string_equal(seen("channels/2/guest_channel_id"), "");
	assert_string_equal(seen("channels/2/kept_by"), "tester");
	assert_int_equal(vmbus_client_gpadl(c, 2, 77, 1, pages, 3), 0);
	deliver();
	assert_int_equal(kept_created, 1);
	assert_int_equal(vmbus_client_open(c, 2, &open), 0);
	deliver();
	assert_int_equal(kept_opened, 1);
	vmbus_client_close(c, 2);
	vmbus_client_gpadl_teardown(c, 2, 77);
	deliver();
	assert_int_equal(kept_torn, 1);
	vmbus_channel_revoke(ch);
	deliver();
	assert_int_equal(kept_rescinded, 1);
	assert_int_equal(info().kept, 0);
	/* what is relayed is no keeper's to release */
	relay_keeper_release(host.relay, 1);
	relay_keeper_release(host.relay, 0xffff);
	assert_int_equal(info().relayed, 1);
	guest_expect_nothing(&guest);
}

/* --- hostile ends */

/* The guest's messages, any type and any words; then an honest guest must get through. */
static void hostile_guest(void **state)
{
	u32 seed = 1, id = start();
	u8 msg[VMBUS_MESSAGE_MAX];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		size_t len = 8 + (seed >> 8) % 233;

		for (unsigned k = 0; k < sizeof(msg); k += 4) {
			seed = seed * 1664525 + 1013904223;
			put_le32(msg + k, seed >> 16 & 3 ? seed >> 24 & 7 : seed);
		}
		put_le32(msg, (seed >> 20) % 31);
		if (seed & 0x100)
			put_le32(msg + 8, id);
		guest_send(&guest, msg, len);
		if (seed & 0x200)
			deliver();
		guest.count = 0;
	}
	deliver();
	GUEST_SEND(&guest, VMBUS_MSG_RESUME);
	GUEST_SEND(&guest, VMBUS_MSG_UNLOAD);
	deliver();
	guest.count = 0;
	guest_connect(&guest, VMBUS_V5_3, 0);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	guest_expect(&guest, VMBUS_MSG_OFFER, 196);
	guest_expect(&guest, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	assert_int_equal(info().host.gpadls, 0);
	assert_int_equal(open_channel(id), 0);
}

static void hostile_host(void **state)
{
	u32 seed = 7, id = start();
	u8 msg[VMBUS_MESSAGE_MAX];

	(void)state;
	assert_int_equal(open_channel(id), 0);
	for (int i = 0; i < 200000; i++) {
		for (unsigned k = 0; k < sizeof(msg); k += 4) {
			seed = seed * 1664525 + 1013904223;
			put_le32(msg + k, seed >> 16 & 3 ? seed >> 24 & 7 : seed);
		}
		put_le32(msg, (seed >> 20) % 31);
		if (seed >> 28 == 0)
			put_le32(msg + 184, (seed >> 12) % 2100);
		relay_message(host.relay, msg, (seed >> 8) % 241);
		guest.count = 0;
		host.count = 0;
	}
	/* the guest can still leave; that the host has to let go of pages is known */
	GUEST_SEND(&guest, VMBUS_MSG_UNLOAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_to_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused_by_the_host, set_up, tear_down),
		cmocka_unit_test_setup_teardown(host_takes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(taken_back_while_opening, set_up, tear_down),
		cmocka_unit_test_setup_teardown(guest_leaves, set_up, tear_down),
		cmocka_unit_test_setup_teardown(taken_back_without_guest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(host_without_buffers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_host, set_up, tear_down),
		cmocka_unit_test_prestate_setup_teardown(host_too_old, set_up, tear_down,
							 &old_host),
		cmocka_unit_test_setup_teardown(sockets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(kept_for_vtl2, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hostile_guest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hostile_host, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("pv_relay", tests, NULL, NULL);
}
