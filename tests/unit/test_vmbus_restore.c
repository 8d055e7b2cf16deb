/*
 * Saved states of VMBus that no server, client or relay has written, and devices that are not there
 * any more.
 */
#include "tests/unit/vmbus_guest.h"

#include "common/vmbus/client_impl.h"
#include "common/vmbus/save.h"
#include "common/vmbus/server_impl.h"
#include "paravisor/vmbus/relay_impl.h"

#define LIMIT	     (16u << 20)
#define OPEN_CHANNEL 1
#define RING_GPADL   0x10
#define PARTS_GPADL  0x51 /* in the bucket of the one above */
#define SPARE_GPADL  0x12

static const struct vmbus_server_config config = {
	.name = "guest", .vps = 4, .features = VMBUS_F_ALL, .max_queue = 1000};

static struct guest guest;

static struct pb_bytes bytes(const struct pb_writer *w)
{
	return (struct pb_bytes){w->data, w->used};
}

/* --- the server */

static const struct vmbus_device_ops silent = {0};

static struct vmbus_offer offer_of(u8 n)
{
	return (struct vmbus_offer){
		.interface = VMBUS_IF_HEARTBEAT, .instance = {.data1 = n}, .name = "device"};
}

static struct vmbus_channel *offer(u8 n)
{
	struct vmbus_offer o = offer_of(n);
	struct vmbus_channel *ch = vmbus_server_offer(guest.s, &o, &silent, NULL);

	assert_non_null(ch);
	return ch;
}

/*
 * Channel 1 open, with packets and a page list that has not all come; 2 revoked and 4 held behind
 * it; 3 closed with a page list; an answer that waits.
 */
static void set_up_server(void)
{
	struct vmbus_channel *ch[3];
	u8 body[24] = {VMBUS_MSG_GPADL_HEADER};

	guest_init(&guest, &config, &guest_ops);
	for (u8 i = 0; i < 3; i++)
		ch[i] = offer(i);
	guest_connect(&guest, VMBUS_V6_0, VMBUS_F_PAUSE);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	guest.count = 0;
	guest_gpadl(&guest, OPEN_CHANNEL, RING_GPADL, 8, 8);
	guest_gpadl(&guest, 3, SPARE_GPADL, 16, 8);
	guest_gpadl(&guest, 2, RING_GPADL, 24, 8);
	guest_open(&guest, OPEN_CHANNEL, RING_GPADL, 1, 4);
	assert_int_equal(vmbus_tx_inband(vmbus_channel_tx(ch[0]), 0, 1, body, sizeof(body)), 0);
	put_le32(body + 8, OPEN_CHANNEL);
	put_le32(body + 12, PARTS_GPADL);
	put_le16(body + 16, 800);
	put_le16(body + 18, 1);
	assert_int_equal(guest_send(&guest, body, 20), 0);
	vmbus_channel_revoke(ch[1]);
	offer(1);
	guest.busy = true;
	GUEST_SEND(&guest, VMBUS_MSG_MODIFY, 1, 2);
	guest.count = 0;
}

static struct vmbus_gpadl *gpadl(u32 channel, u32 id)
{
	struct vmbus_gpadl *g = vmbus_gpadl_find(&guest.s->gpadls, id, channel);

	assert_non_null(g);
	return g;
}

#define S     guest.s
#define CH(n) guest.s->channel[n]

#define BREAKS(X)                                                                               \
	X(S->state = CONN_NONE)                                                                 \
	X(S->state = CONN_ENDING + 1)                                                           \
	X(S->next = NEXT_CONTACT)                                                               \
	X(S->version = 0x12345)                                                                 \
	X(S->version = VMBUS_V5_3)                                                              \
	X(S->features |= VMBUS_F_CONFIDENTIAL)                                                  \
	X(S->vp = 4)                                                                            \
	X(S->sint = 16)                                                                         \
	X(S->monitor_p2c = 0)                                                                   \
	X(S->monitor_c2p = 0x6001)                                                              \
	X(S->transient_hint = VSRV_TRANSIENT_FIRST - 1)                                         \
	X(S->offers_sent = false)                                                               \
	X(S->sendable = 1)                                                                      \
	X((S->paused = true, S->sendable = 9))                                                  \
	X((S->paused = true, S->features = 0))                                                  \
	X(S->out.msg[0].target = 4)                                                             \
	X(S->out.msg[0].vtl = 1)                                                                \
	X(S->out.msg[0].sint = 16)                                                              \
	X(S->out.msg[0].len = 7)                                                                \
	X(CH(1)->id = 0)                                                                        \
	X(CH(1)->id = 3)                                                                        \
	X(CH(1)->id = VMBUS_MAX_CHANNELS)                                                       \
	X(CH(1)->state = CH_GONE)                                                               \
	X(CH(1)->state = CH_RELEASED)                                                           \
	X(CH(1)->state = CH_CLOSING_RELEASED)                                                   \
	X(CH(1)->offered = false)                                                               \
	X(CH(1)->answer_reserved_close = true)                                                  \
	X(CH(1)->modify_again = true)                                                           \
	X((CH(1)->modify_busy = true, CH(1)->modify_vp = 4))                                    \
	X((CH(1)->modify_busy = CH(1)->modify_again = true,                                     \
	   CH(1)->modify_next = VMBUS_VP_INTERRUPT_DISABLED))                                   \
	X(CH(3)->modify_busy = true)                                                            \
	X(CH(3)->reserved_vp = 4)                                                               \
	X(CH(3)->reserved_sint = 16)                                                            \
	X((CH(3)->state = CH_OPEN))                                                             \
	X((CH(3)->state = CH_OPEN, CH(3)->open = CH(1)->open))                                  \
	X((CH(3)->state = CH_OPEN, CH(3)->open = CH(1)->open, CH(3)->open.gpadl = SPARE_GPADL)) \
	X((CH(1)->state = CH_CLOSING_REOPEN, CH(1)->open.reserved = true))                      \
	X(CH(1)->open.gpadl = PARTS_GPADL)                                                      \
	X(CH(1)->open.gpadl = SPARE_GPADL)                                                      \
	X(CH(1)->open.downstream = 0)                                                           \
	X(CH(1)->open.downstream = 1)                                                           \
	X(CH(1)->open.downstream = 7)                                                           \
	X(CH(1)->open.downstream = 8)                                                           \
	X(CH(1)->open.connection = VMBUS_CONN_MULTI)                                            \
	X(CH(1)->open.event_flag = 0)                                                           \
	X(CH(1)->open.event_flag = VMBUS_MAX_CHANNELS)                                          \
	X(CH(1)->open.target_vp = 4)                                                            \
	X(CH(1)->rx.read = 4)                                                                   \
	X(CH(1)->rx.read = CH(1)->rx.size)                                                      \
	X(CH(1)->rx.published = CH(1)->rx.size)                                                 \
	X(CH(1)->rx.write = CH(1)->rx.size)                                                     \
	X(CH(1)->tx.read = 4)                                                                   \
	X(CH(1)->tx.write = CH(1)->tx.size)                                                     \
	X(CH(1)->tx.published = CH(1)->tx.size)                                                 \
	X(CH(1)->tx.pending = CH(1)->tx.size)                                                   \
	X((CH(1)->rx.corrupt = true, CH(1)->rx.why = "\xff"))                                   \
	X((CH(1)->rx.corrupt = true, CH(1)->rx.why = "two\nlines"))                             \
	X(CH(1)->offer.name = "\x1b[2J")                                                        \
	X(CH(2)->offered = false)                                                               \
	X((CH(2)->state = CH_CLOSED))                                                           \
	X(CH(2)->offer.instance.data1 = 77)                                                     \
	X(CH(3)->offer.instance.data1 = 0)                                                      \
	X(CH(4)->state = CH_RELEASED)                                                           \
	X(CH(4)->offered = true)                                                                \
	X(gpadl(OPEN_CHANNEL, RING_GPADL)->state = GPADL_OFFERED)                               \
	X(gpadl(OPEN_CHANNEL, RING_GPADL)->state = GPADL_IN_PROGRESS)                           \
	X(gpadl(OPEN_CHANNEL, RING_GPADL)->state = GPADL_OFFERED_TEARING_DOWN + 1)              \
	X(gpadl(OPEN_CHANNEL, RING_GPADL)->announce = true)                                     \
	X(gpadl(OPEN_CHANNEL, RING_GPADL)->ranges = 0)                                          \
	X(gpadl(OPEN_CHANNEL, RING_GPADL)->ranges = 2)                                          \
	X(gpadl(OPEN_CHANNEL, RING_GPADL)->data[0] = 9 * PAGE_SIZE)                             \
	X(gpadl(OPEN_CHANNEL, RING_GPADL)->data[1] = GUEST_PAGES)                               \
	X(gpadl(OPEN_CHANNEL, PARTS_GPADL)->state = GPADL_ACCEPTED)                             \
	X(gpadl(OPEN_CHANNEL, PARTS_GPADL)->words = 0x2000)                                     \
	X(gpadl(OPEN_CHANNEL, PARTS_GPADL)->id = RING_GPADL)                                    \
	X(gpadl(3, SPARE_GPADL)->channel = 0)                                                   \
	X(gpadl(3, SPARE_GPADL)->channel = 5)                                                   \
	X(gpadl(3, SPARE_GPADL)->channel = 4)                                                   \
	X(gpadl(3, SPARE_GPADL)->channel = VMBUS_MAX_CHANNELS)                                  \
	X(gpadl(2, RING_GPADL)->state = GPADL_TEARING_DOWN)

/* A name for each, and the function that does it. */
#define BREAK_NAME(change) #change,
static const char *const break_names[] = {BREAKS(BREAK_NAME)};

static void break_server(unsigned n)
{
	unsigned i = 0;

#define BREAK_CASE(change) \
	if (i++ == n)      \
		(void)(change);
	BREAKS(BREAK_CASE)
#undef BREAK_CASE
	assert_int_equal(i, ARRAY_SIZE(break_names));
}

static bool server_accepts(struct pb_bytes state, struct vmbus_server **out)
{
	struct vmbus_server *s = vmbus_server_new(&config, &guest_ops, &guest);
	bool ok;

	assert_non_null(s);
	guest.ports = 0;
	ok = vmbus_server_restore(s, state);
	if (ok && out)
		*out = s;
	else
		vmbus_server_free(s);
	return ok;
}

static void states_of_no_server(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= ARRAY_SIZE(break_names); n++) {
		bool whole = n == ARRAY_SIZE(break_names);
		struct pb_writer w;

		set_up_server();
		if (!whole)
			break_server(n);
		pb_writer_init(&w, LIMIT);
		vmbus_server_save(guest.s, &w);
		if (server_accepts(bytes(&w), NULL) != whole)
			fail_msg("%s", whole ? "untouched" : break_names[n]);
		pb_writer_free(&w);
		guest_free(&guest);
	}
}

/* Cut anywhere, or with a byte changed: refused, or a server that works. */
static void damaged_states(void **state)
{
	struct pb_writer w;
	u32 seed = 1;
	unsigned accepted = 0;

	(void)state;
	set_up_server();
	pb_writer_init(&w, LIMIT);
	vmbus_server_save(guest.s, &w);
	for (size_t i = 0; i < 6000; i++) {
		size_t len = i < w.used ? i : w.used;
		u8 *copy = malloc(len ? len : 1);
		struct vmbus_server *s;

		memcpy(copy, w.data, len);
		seed = seed * 1664525 + 1013904223;
		if (i >= w.used)
			copy[(seed >> 8) % len] ^= (u8)(1u << (seed >> 5 & 7));
		if (server_accepts((struct pb_bytes){copy, len}, &s)) {
			struct vmbus_server *old = guest.s;

			accepted++;
			guest.s = s;
			guest.busy = false;
			guest.count = 0;
			vmbus_server_restore_done(s);
			vmbus_server_pump(s);
			guest_contact(&guest, VMBUS_V5_3, 0, 0);
			GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
			guest.s = old;
			vmbus_server_free(s);
		}
		free(copy);
	}
	assert_true(accepted > 500);
	pb_writer_free(&w);
	guest_free(&guest);
}

static void device_that_is_gone(void **state)
{
	struct vmbus_offer o = offer_of(0);
	struct vmbus_server *s;
	struct pb_writer w;

	(void)state;
	set_up_server();
	pb_writer_init(&w, LIMIT);
	vmbus_server_save(guest.s, &w);
	vmbus_server_free(guest.s);
	assert_true(server_accepts(bytes(&w), &s));
	guest.s = s;
	guest.busy = false;
	/* nothing of the guest's is taken before the devices are there */
	assert_int_equal(vmbus_server_message(s, "\3\0\0\0\0\0\0", 8, 0), -EAGAIN);
	assert_false(vmbus_server_event(s, 0x2001));
	guest.refuse_ports = true;
	assert_null(vmbus_server_adopt(s, &o, &silent, NULL));
	guest.refuse_ports = false;
	o.no_map = true;
	assert_null(vmbus_server_adopt(s, &o, &silent, NULL));
	o.no_map = false;
	o.subchannel = 1;
	assert_null(vmbus_server_adopt(s, &o, &silent, NULL));
	assert_false(vmbus_server_adopt_revoked(s, &o, &silent, NULL));
	o = offer_of(2);
	assert_false(vmbus_server_adopt_revoked(s, &o, &silent, NULL));
	assert_non_null(vmbus_server_adopt(s, &o, &silent, NULL));
	guest_expect_nothing(&guest);
	vmbus_server_restore_done(s);
	vmbus_server_pump(s);
	/* what waited comes first; of the held one the guest has never heard */
	guest_expect(&guest, VMBUS_MSG_MODIFY_RESPONSE, 16);
	assert_int_equal(get_le32(guest_expect(&guest, VMBUS_MSG_RESCIND, 12) + 8), 1);
	guest_expect_nothing(&guest);
	assert_int_equal(guest.ports, 0);
	/* the revoked one has nobody to tell */
	GUEST_SEND(&guest, VMBUS_MSG_RELID_RELEASED, 2);
	assert_null(CH(2));
	assert_null(CH(4));
	assert_non_null(CH(3));
	pb_writer_free(&w);
	guest_free(&guest);
}

/* A ring goes on where it was, and the guest's page does not show it. */
static void rings_go_on(void **state)
{
	static u8 before[PAGE_SIZE];
	struct vmbus_channel_info info;
	struct vmbus_offer o = offer_of(0);
	struct vmbus_channel *ch;
	struct vmbus_server *s;
	struct pb_writer w;

	(void)state;
	set_up_server();
	vmbus_tx_wait(vmbus_channel_tx(CH(1)), 0x3000);
	assert_true(vmbus_rx_sleep(vmbus_channel_rx(CH(1))));
	vmbus_rx_stop(vmbus_channel_rx(CH(1)), "a reason");
	memcpy(before, guest.ram[8], PAGE_SIZE);
	pb_writer_init(&w, LIMIT);
	vmbus_server_save(guest.s, &w);
	vmbus_server_free(guest.s);
	assert_true(server_accepts(bytes(&w), &s));
	guest.s = s;
	ch = vmbus_server_adopt(s, &o, &silent, NULL);
	assert_non_null(ch);
	vmbus_server_restore_done(s);
	assert_memory_equal(before, guest.ram[8], PAGE_SIZE);
	assert_true(vmbus_server_channel(s, 1, &info));
	assert_string_equal(info.ring_error, "a reason");
	assert_int_equal(info.tx_packets, 1);
	assert_int_equal(guest.ports, 1);
	/* put in before, shown after */
	assert_int_equal(get_le32(guest.ram[12]), 0);
	vmbus_tx_publish(vmbus_channel_tx(ch));
	assert_int_equal(get_le32(guest.ram[12]), 48);
	assert_true(guest.timers >= 2);
	pb_writer_free(&w);
	guest_free(&guest);
}

static void later(void *dev, struct vmbus_channel *ch, u32 gpadl)
{
	(void)dev;
	(void)ch;
	(void)gpadl;
}

/* Values that a walk seldom needs. */
static void rare_values_stay(void **state)
{
	struct vmbus_server *s;
	struct pb_writer w;

	(void)state;
	set_up_server();
	CH(1)->rx.signals = 5;
	CH(1)->tx.signals = 6;
	CH(1)->state = CH_CLOSING_REOPEN;
	CH(1)->reopen = CH(1)->open;
	CH(1)->reopen.redirect = true;
	CH(1)->reopen.user[VMBUS_USER_DATA - 1] = 7;
	pb_writer_init(&w, LIMIT);
	vmbus_server_save(guest.s, &w);
	assert_true(server_accepts(bytes(&w), &s));
	assert_int_equal(s->channel[1]->rx.signals, 5);
	assert_int_equal(s->channel[1]->tx.signals, 6);
	assert_memory_equal(&s->channel[1]->reopen, &CH(1)->reopen, sizeof(struct vmbus_open));
	vmbus_server_free(s);
	pb_writer_free(&w);
	guest_free(&guest);
}

/* What a relay's host grants holds for the next contact, here as there. */
static void limits_stay(void **state)
{
	struct vmbus_server *s;
	struct pb_writer w;

	(void)state;
	guest_init(&guest, &config, &guest_ops);
	vmbus_server_limit(guest.s, VMBUS_V5_3, 0);
	pb_writer_init(&w, LIMIT);
	vmbus_server_save(guest.s, &w);
	vmbus_server_free(guest.s);
	assert_true(server_accepts(bytes(&w), &s));
	guest.s = s;
	vmbus_server_restore_done(s);
	guest_contact(&guest, VMBUS_V6_0, 0, 0);
	assert_int_equal(guest_expect(&guest, VMBUS_MSG_VERSION_RESPONSE, 16)[8], 0);
	guest_connect(&guest, VMBUS_V5_3, 0);
	pb_writer_free(&w);
	guest_free(&guest);
}

/* A reserved channel is closed without a connection, and its device takes its time. */
static void reserved_after_the_guest_left(void **state)
{
	static const struct vmbus_device_ops slow = {.gpadl_teardown = later};
	const struct vmbus_offer o = offer_of(0);
	struct vmbus_channel *ch;
	struct vmbus_server *s;
	struct pb_writer w;

	(void)state;
	guest_init(&guest, &config, &guest_ops);
	assert_non_null(vmbus_server_offer(guest.s, &o, &slow, NULL));
	guest_connect(&guest, VMBUS_V5_3, 0);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	guest_gpadl(&guest, 1, RING_GPADL, 8, 8);
	GUEST_SEND(&guest, VMBUS_MSG_OPEN_RESERVED, 1, 0, 2, RING_GPADL, 4);
	GUEST_SEND(&guest, VMBUS_MSG_UNLOAD);
	GUEST_SEND(&guest, VMBUS_MSG_CLOSE_RESERVED, 1, 0, 2);
	assert_int_equal(S->state, CONN_NONE);
	assert_int_equal(CH(1)->gpadls, 1);
	pb_writer_init(&w, LIMIT);
	vmbus_server_save(guest.s, &w);
	assert_true(server_accepts(bytes(&w), &s));
	vmbus_server_free(guest.s);
	guest.s = s;
	ch = vmbus_server_adopt(s, &o, &slow, NULL);
	assert_non_null(ch);
	vmbus_server_restore_done(s);
	vmbus_channel_gpadl_torn_down(ch, RING_GPADL);
	assert_int_equal(ch->gpadls, 0);
	guest.count = 0;
	guest_connect(&guest, VMBUS_V5_3, 0);
	pb_writer_free(&w);
	guest_free(&guest);
}

/* --- client and relay */

#define LATE_GPADL 0x40 /* in the bucket of 1 */

static struct relay *relay;
static struct {
	u8 len, data[VMBUS_MESSAGE_MAX];
} sent[64];
static unsigned sends;

static int to_host(void *ctx, u32 connection, const void *msg, size_t len)
{
	(void)ctx;
	(void)connection;
	assert_true(sends < ARRAY_SIZE(sent));
	sent[sends].len = (u8)len;
	memcpy(sent[sends++].data, msg, len);
	return 0;
}

static bool wants(void *ctx, const struct vmbus_msg_offer *msg)
{
	(void)ctx;
	return msg->instance.data1 == 0x4b;
}

static const struct relay_keeper keeper = {.wants = wants, .name = "keeper"};

static struct relay *new_relay(bool kept)
{
	const struct relay_config c = {.post = to_host, .guest = guest.s};
	struct relay *r = relay_new(&c);

	assert_non_null(r);
	if (kept)
		assert_true(relay_add_keeper(r, &keeper, NULL));
	return r;
}

static void host_offers(u32 id, u32 instance)
{
	struct vmbus_msg_offer msg = {
		.hdr = {VMBUS_MSG_OFFER, 0}, .instance = {.data1 = instance}, .channel = id};

	msg.subchannel = id == 5 ? 2 : 0;

	relay_message(relay, &msg, sizeof(msg));
}

/* Host's channel 5 offered, 6 kept with a page list, 7 revoked. */
static void set_up_relay(void)
{
	struct vmbus_msg_version version = {.hdr = {VMBUS_MSG_VERSION_RESPONSE, 0},
					    .supported = 1,
					    .connection = 9,
					    .features = VMBUS_F_ALL};
	struct vmbus_msg_channel rescind = {{VMBUS_MSG_RESCIND, 0}, 7};
	struct vmbus_msg_gpadl_created created = {{VMBUS_MSG_GPADL_CREATED, 0}, 6, 1, 0};
	u64 data[3] = {2 * PAGE_SIZE};

	guest_init(&guest, &config, &guest_ops);
	relay = new_relay(true);
	sends = 0;
	assert_int_equal(relay_connect(relay), 0);
	relay_message(relay, &version, sizeof(version));
	host_offers(5, 1);
	host_offers(6, 0x4b);
	host_offers(7, 3);
	guest_connect(&guest, VMBUS_V6_0, 0);
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	relay_message(relay, &rescind, sizeof(rescind));
	assert_int_equal(vmbus_client_gpadl(relay_host(relay), 6, 1, 1, data, 3), 0);
	relay_message(relay, &created, sizeof(created));
	assert_int_equal(vmbus_client_gpadl(relay_host(relay), 6, LATE_GPADL, 1, data, 3), 0);
	guest.count = 0;
	sends = 0;
}

static void tear_down_relay(void)
{
	guest_free(&guest);
	relay_free(relay);
}

/* The relay's state and the server's, into new ones. */
static bool replace_relay(bool kept)
{
	struct pb_writer w, server;
	struct vmbus_server *s;
	bool ok;

	pb_writer_init(&w, LIMIT);
	pb_writer_init(&server, LIMIT);
	vmbus_server_save(guest.s, &server);
	relay_save(relay, &w);
	assert_true(server_accepts(bytes(&server), &s));
	vmbus_server_free(guest.s);
	relay_free(relay);
	guest.s = s;
	relay = new_relay(kept);
	ok = relay_restore(relay, bytes(&w));
	pb_writer_free(&w);
	pb_writer_free(&server);
	return ok;
}

static struct client_gpadl *client_gpadl(u32 id)
{
	return vclient_find_gpadl(relay->client, 6, id, -1);
}

static void drop_channel(u16 id)
{
	free(relay->channel[id]);
	relay->channel[id] = NULL;
}

#define C relay->client

#define RELAY_BREAKS(X)                                                  \
	X(C->state = CL_IDLE)                                            \
	X(C->state = CL_UNLOADING + 1)                                   \
	X((C->state = CL_IDLE, C->version = 0))                          \
	X(C->state = CL_CONTACT)                                         \
	X(C->version = 0x12345)                                          \
	X(C->pausing = true)                                             \
	X(C->offers_requested = false)                                   \
	X(C->channel[5].state = CC_NONE)                                 \
	X(C->channel[5].state = CC_OPEN + 1)                             \
	X(C->channel[5].modify_void = true)                              \
	X(C->channel[7].state = CC_OPENING)                              \
	X(C->channel[8].state = CC_CLOSED)                               \
	X(client_gpadl(1)->channel = 8)                                  \
	X(client_gpadl(1)->channel = 0)                                  \
	X(client_gpadl(1)->id = LATE_GPADL)                              \
	X(client_gpadl(1)->state = CG_TEARDOWN + 1)                      \
	X(relay->channel[5]->host = 6)                                   \
	X(relay->channel[5]->host = 9)                                   \
	X(relay->channel[5]->host = VMBUS_MAX_CHANNELS)                  \
	X(relay->channel[5]->instance.data1 = 9)                         \
	X(relay->channel[5]->subchannel = 9)                             \
	X(relay->channel[5]->ch = NULL)                                  \
	X(relay->channel[7]->ch = guest.s->channel[1])                   \
	X(((struct keeper *)relay->channel[6]->keeper)->ops = &bad_name) \
	X((drop_channel(6), 0))

static const struct relay_keeper bad_name = {.wants = wants, .name = "\xc0"};

static const char *const relay_break_names[] = {RELAY_BREAKS(BREAK_NAME)};

static void break_relay(unsigned n)
{
	unsigned i = 0;

#define BREAK_CASE(change) \
	if (i++ == n)      \
		(void)(change);
	RELAY_BREAKS(BREAK_CASE)
#undef BREAK_CASE
}

static void states_of_no_relay(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= ARRAY_SIZE(relay_break_names); n++) {
		bool whole = n == ARRAY_SIZE(relay_break_names);

		set_up_relay();
		if (!whole)
			break_relay(n);
		if (replace_relay(true) != whole)
			fail_msg("%s", whole ? "untouched" : relay_break_names[n]);
		assert_int_equal(sends, 0);
		tear_down_relay();
	}
}

/* What the relay itself does not use of its client, and counters of rare things. */
static void client_goes_on(void **state)
{
	const struct vmbus_msg_header paused = {VMBUS_MSG_PAUSE_RESPONSE, 0};
	const struct vmbus_msg_modify_conn_response modified = {{VMBUS_MSG_MODIFY_CONN_RESPONSE, 0},
								VMBUS_CONN_STATE_OK};
	struct relay_channel_info channel;
	struct relay_info info;

	(void)state;
	set_up_relay();
	relay->dropped_offers = 11;
	C->mistakes = 12;
	C->dropped = 13;
	C->stale = 14;
	C->lost = 15;
	assert_int_equal(vmbus_client_modify_conn(C, 0x1000, 0x2000), 0);
	assert_int_equal(vmbus_client_pause(C), 0);
	assert_true(replace_relay(true));
	vmbus_server_restore_done(guest.s);
	relay_restore_done(relay);
	assert_int_equal(vmbus_client_modify(C, 5, 1), -EINVAL);
	relay_message(relay, &modified, sizeof(modified));
	relay_message(relay, &paused, sizeof(paused));
	relay_describe(relay, &info);
	assert_int_equal(info.dropped_offers, 11);
	assert_int_equal(C->mistakes, 12);
	assert_int_equal(info.host.dropped, 13);
	assert_int_equal(info.host.stale, 14);
	assert_int_equal(info.host.lost, 15);
	/* one answer each */
	relay_message(relay, &modified, sizeof(modified));
	relay_message(relay, &paused, sizeof(paused));
	relay_describe(relay, &info);
	assert_int_equal(info.host.dropped, 15);
	assert_int_equal(vmbus_client_resume(C), 0);
	assert_true(relay_channel(relay, 5, &channel));
	assert_int_equal(channel.subchannel, 2);
	tear_down_relay();
}

static void keeper_that_is_there(void **state)
{
	struct vmbus_msg_gpadl_created created = {{VMBUS_MSG_GPADL_CREATED, 0}, 6, LATE_GPADL, 0};
	struct relay_info info;

	(void)state;
	set_up_relay();
	assert_true(replace_relay(true));
	relay_restore_done(relay);
	vmbus_server_restore_done(guest.s);
	/* asked for before, answered after */
	relay_message(relay, &created, sizeof(created));
	relay_describe(relay, &info);
	assert_int_equal(info.kept, 1);
	assert_int_equal(info.host.gpadls, 2);
	assert_int_equal(info.host.dropped, 0);
	assert_int_equal(info.offers, 3);
	assert_int_equal(vmbus_client_gpadl_teardown(relay_host(relay), 6, LATE_GPADL), 0);
	/* the guest lets go of the revoked one: it is the host's again */
	GUEST_SEND(&guest, VMBUS_MSG_RELID_RELEASED, 2);
	assert_int_equal(get_le32(sent[1].data), VMBUS_MSG_RELID_RELEASED);
	assert_int_equal(get_le32(sent[1].data + 8), 7);
	guest_expect_nothing(&guest);
	tear_down_relay();
}

static void keeper_that_is_gone(void **state)
{
	struct relay_info info;

	(void)state;
	set_up_relay();
	assert_true(replace_relay(false));
	assert_int_equal(sends, 0);
	vmbus_server_restore_done(guest.s);
	relay_restore_done(relay);
	assert_int_equal(sends, 1);
	assert_int_equal(get_le32(sent[0].data), VMBUS_MSG_RELID_RELEASED);
	assert_int_equal(get_le32(sent[0].data + 8), 6);
	relay_describe(relay, &info);
	assert_int_equal(info.kept, 0);
	assert_int_equal(info.host.channels, 2);
	assert_int_equal(info.host.gpadls, 0);
	guest_expect_nothing(&guest);
	tear_down_relay();
}

/* The host may be using an open that it has not answered: the id is given back when it has. */
static void keeper_that_is_gone_while_opening(void **state)
{
	struct vmbus_msg_open_result result = {{VMBUS_MSG_OPEN_RESULT, 0}, 6, 3, 0};
	struct vmbus_msg_gpadl_created created = {{VMBUS_MSG_GPADL_CREATED, 0}, 6, LATE_GPADL, 0};
	struct vmbus_open open = {.gpadl = 1, .open_id = 3};
	struct relay_info info;

	(void)state;
	set_up_relay();
	assert_int_equal(vmbus_client_open(relay_host(relay), 6, &open), 0);
	sends = 0;
	for (unsigned i = 0; i < 2; i++) {
		/* again, before the answer: still nobody's */
		assert_true(replace_relay(false));
		vmbus_server_restore_done(guest.s);
		relay_restore_done(relay);
		assert_int_equal(sends, 0);
		relay_describe(relay, &info);
		assert_int_equal(info.kept, 1);
	}
	relay_message(relay, &created, sizeof(created));
	relay_message(relay, &result, sizeof(result));
	assert_int_equal(sends, 2);
	assert_int_equal(get_le32(sent[0].data), VMBUS_MSG_CLOSE);
	assert_int_equal(get_le32(sent[1].data), VMBUS_MSG_RELID_RELEASED);
	relay_describe(relay, &info);
	assert_int_equal(info.kept, 0);
	assert_int_equal(info.host.dropped, 0);
	tear_down_relay();
}

/* A primary channel takes its subchannels along before the host says so of each. */
static void subchannel_of_a_revoked_channel(void **state)
{
	struct vmbus_msg_offer msg = {.hdr = {VMBUS_MSG_OFFER, 0}, .instance = {.data1 = 8}};
	struct vmbus_msg_channel rescind = {{VMBUS_MSG_RESCIND, 0}, 8};

	(void)state;
	set_up_relay();
	for (u16 i = 0; i < 2; i++) {
		msg.channel = 8 + i;
		msg.subchannel = i;
		relay_message(relay, &msg, sizeof(msg));
	}
	relay_message(relay, &rescind, sizeof(rescind));
	guest.count = 0;
	assert_true(replace_relay(true));
	vmbus_server_restore_done(guest.s);
	relay_restore_done(relay);
	rescind.channel = 9;
	relay_message(relay, &rescind, sizeof(rescind));
	guest_expect_nothing(&guest);
	assert_int_equal(sends, 0);
	for (unsigned i = 0; i < 2; i++) {
		GUEST_SEND(&guest, VMBUS_MSG_RELID_RELEASED, 3 + i);
		assert_int_equal(sends, i + 1);
		assert_int_equal(get_le32(sent[i].data), VMBUS_MSG_RELID_RELEASED);
		assert_int_equal(get_le32(sent[i].data + 8), 8 + i);
	}
	tear_down_relay();
}

/* The same while it is being opened, and the guest lets go before the host has answered. */
static void subchannel_given_back_while_opening(void **state)
{
	struct vmbus_msg_offer msg = {.hdr = {VMBUS_MSG_OFFER, 0}, .instance = {.data1 = 8}};
	struct vmbus_msg_gpadl_created created = {{VMBUS_MSG_GPADL_CREATED, 0}, 9, RING_GPADL, 0};
	struct vmbus_msg_channel rescind = {{VMBUS_MSG_RESCIND, 0}, 8};
	struct vmbus_msg_open_result result = {{VMBUS_MSG_OPEN_RESULT, 0}, 9, 4, 0};

	(void)state;
	for (unsigned replaced = 0; replaced < 2; replaced++) {
		set_up_relay();
		for (u16 i = 0; i < 2; i++) {
			msg.channel = 8 + i;
			msg.subchannel = i;
			relay_message(relay, &msg, sizeof(msg));
		}
		guest_gpadl(&guest, 4, RING_GPADL, 8, 8);
		relay_message(relay, &created, sizeof(created));
		guest_open(&guest, 4, RING_GPADL, 1, 4);
		relay_message(relay, &rescind, sizeof(rescind));
		sends = 0;
		GUEST_SEND(&guest, VMBUS_MSG_RELID_RELEASED, 4);
		assert_int_equal(sends, 0);
		if (replaced) {
			assert_true(replace_relay(true));
			vmbus_server_restore_done(guest.s);
			relay_restore_done(relay);
		}
		relay_message(relay, &result, sizeof(result));
		assert_int_equal(sends, 2);
		assert_int_equal(get_le32(sent[0].data), VMBUS_MSG_CLOSE);
		assert_int_equal(get_le32(sent[1].data), VMBUS_MSG_RELID_RELEASED);
		assert_int_equal(get_le32(sent[1].data + 8), 9);
		assert_false(vmbus_client_knows(C, 9));
		tear_down_relay();
	}
}

/* A guest cannot make a state so large that it does not fit. */
static void largest_state(void **state)
{
	u8 msg[VMBUS_MESSAGE_MAX] = {VMBUS_MSG_GPADL_HEADER};
	struct vmbus_server_info info;
	struct pb_writer w;

	(void)state;
	guest_init(&guest, &config, &guest_ops);
	for (u16 i = 0; i < VMBUS_MAX_CHANNELS - 1; i++) {
		struct vmbus_offer o = offer_of(0);

		o.instance.data1 = i;
		memset(o.user, 0xff, sizeof(o.user));
		assert_non_null(vmbus_server_offer(guest.s, &o, &silent, NULL));
	}
	guest_connect(&guest, VMBUS_V6_0, 0);
	guest.busy = true;
	GUEST_SEND(&guest, VMBUS_MSG_REQUEST_OFFERS);
	guest.s->cfg.max_queue = UINT16_MAX;
	for (u32 i = 0; i < GPADL_MAX_COUNT; i++) {
		put_le32(msg + 8, 1);
		put_le32(msg + 12, i);
		put_le16(msg + 16, 128 * 8);
		put_le16(msg + 18, 1);
		put_le32(msg + 20, 127 * PAGE_SIZE);
		memset(msg + 28, 0xff, sizeof(msg) - 28);
		guest_send(&guest, msg, 28 + 26 * 8);
		for (unsigned n = 27; n < 128; n += 28) {
			u8 body[VMBUS_MESSAGE_MAX];

			memset(body, 0xff, sizeof(body));
			put_le64(body, VMBUS_MSG_GPADL_BODY);
			put_le32(body + 12, i);
			guest_send(&guest, body, sizeof(body));
		}
	}
	while (guest.s->out.len < VMBUS_OUTBOX_LIMIT) {
		msg[0] = VMBUS_MSG_TL_CONNECT;
		guest_send(&guest, msg, 56);
	}
	vmbus_server_describe(guest.s, &info);
	assert_int_equal(info.gpadls, GPADL_MAX_COUNT);
	pb_writer_init(&w, LIMIT);
	vmbus_server_save(guest.s, &w);
	assert_false(w.failed);
	/* as vmbus.h says, with room for the client */
	assert_true(w.used < 11u << 20);
	assert_true(server_accepts(bytes(&w), NULL));
	pb_writer_free(&w);
	guest_free(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_of_no_server),
		cmocka_unit_test(damaged_states),
		cmocka_unit_test(device_that_is_gone),
		cmocka_unit_test(rings_go_on),
		cmocka_unit_test(rare_values_stay),
		cmocka_unit_test(limits_stay),
		cmocka_unit_test(reserved_after_the_guest_left),
		cmocka_unit_test(states_of_no_relay),
		cmocka_unit_test(client_goes_on),
		cmocka_unit_test(keeper_that_is_there),
		cmocka_unit_test(keeper_that_is_gone),
		cmocka_unit_test(keeper_that_is_gone_while_opening),
		cmocka_unit_test(subchannel_of_a_revoked_channel),
		cmocka_unit_test(subchannel_given_back_while_opening),
		cmocka_unit_test(largest_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
