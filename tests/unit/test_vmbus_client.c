/* VMBus client: hostile host first, then the bytes of its requests. */
#include "tests/unit/vmbus_fixture.h"

#include <errno.h>

#include "common/bytes.h"
#include "common/vmbus/client.h"
#include "tests/lib/no_log.h"

struct host {
	struct vmbus_client *c;
	u8 msg[512][VMBUS_MESSAGE_MAX];
	u8 len[512];
	u32 connection;
	unsigned head, count;
	int result, redirect_result;
	unsigned connects, offers, delivered, rescinds, opens, created, torn, modified, tl,
		conn_mod, unloads, pauses;
	u32 version, features, status;
	u16 channel;
	u32 gpadl;
};

static int post(void *ctx, u32 connection, const void *msg, size_t len)
{
	struct host *h = ctx;

	assert_true(len >= 8 && len <= VMBUS_MESSAGE_MAX);
	if (connection == VMBUS_CONN_VTL2_REDIRECT && h->redirect_result)
		return h->redirect_result;
	if (h->result)
		return h->result;
	h->connection = connection;
	assert_true(h->count < 512);
	memcpy(h->msg[(h->head + h->count) % 512], msg, len);
	h->len[(h->head + h->count++) % 512] = (u8)len;
	return 0;
}

static void connected(void *ctx, u32 version, u32 features)
{
	struct host *h = ctx;

	h->connects++;
	h->version = version;
	h->features = features;
}

static void offer(void *ctx, const struct vmbus_msg_offer *o)
{
	struct host *h = ctx;

	h->offers++;
	h->channel = (u16)o->channel;
}

static void delivered(void *ctx)
{
	((struct host *)ctx)->delivered++;
}

static void rescinded(void *ctx, u16 channel)
{
	((struct host *)ctx)->rescinds++;
	((struct host *)ctx)->channel = channel;
}

static void opened(void *ctx, u16 channel, u32 status)
{
	struct host *h = ctx;

	h->opens++;
	h->channel = channel;
	h->status = status;
}

static void gpadl_created(void *ctx, u16 channel, u32 gpadl, u32 status)
{
	struct host *h = ctx;

	h->created++;
	h->channel = channel;
	h->gpadl = gpadl;
	h->status = status;
}

static void gpadl_torndown(void *ctx, u16 channel, u32 gpadl)
{
	struct host *h = ctx;

	h->torn++;
	h->channel = channel;
	h->gpadl = gpadl;
}

static void modified(void *ctx, u16 channel, u32 status)
{
	(void)channel;
	((struct host *)ctx)->modified++;
	((struct host *)ctx)->status = status;
}

static void tl_result(void *ctx, const struct guid *e, const struct guid *s, u32 status)
{
	struct host *h = ctx;

	h->tl++;
	h->status = status;
	h->gpadl = e->data1 + s->data1;
}

static void conn_modified(void *ctx, u8 state)
{
	((struct host *)ctx)->conn_mod++;
	((struct host *)ctx)->status = state;
}

static void unloaded(void *ctx)
{
	((struct host *)ctx)->unloads++;
}

static void paused(void *ctx)
{
	((struct host *)ctx)->pauses++;
}

static const struct vmbus_client_ops ops = {
	post,		connected, offer,     delivered,     rescinded, opened, gpadl_created,
	gpadl_torndown, modified,  tl_result, conn_modified, unloaded,	paused};

static void host_init(struct host *h, u32 features)
{
	struct vmbus_client_config cfg = {.connection = VMBUS_CONN_VTL2_REDIRECT,
					  .fallback = VMBUS_CONN_MULTI,
					  .features = features,
					  .client_id = {.data1 = 0xceb1cd55}};

	log_set_sink(no_log);
	memset(h, 0, sizeof(*h));
	h->c = vmbus_client_new(&cfg, &ops, h);
	assert_non_null(h->c);
}

static void host_free(struct host *h)
{
	vmbus_client_free(h->c);
}

static void say(struct host *h, u32 type, unsigned n, const u32 *words, unsigned len)
{
	u8 *msg = calloc(1, len);

	put_le32(msg, type);
	for (unsigned i = 0; i < n && 12 + 4 * i <= len; i++)
		put_le32(msg + 8 + 4 * i, words[i]);
	vmbus_client_message(h->c, msg, len);
	free(msg);
}

#define SAY(h, type, len, ...)                                                                   \
	say(h, type, sizeof((u32[]){0, ##__VA_ARGS__}) / 4 - 1, &((u32[]){0, ##__VA_ARGS__})[1], \
	    len)

static const u8 *expect(struct host *h, u32 type, unsigned len)
{
	unsigned at = h->head;

	assert_true(h->count > 0);
	assert_int_equal(get_le32(h->msg[at]), type);
	assert_int_equal(h->len[at], len);
	h->head = (h->head + 1) % 512;
	h->count--;
	return h->msg[at];
}

static void say_offer(struct host *h, u32 channel)
{
	u8 msg[196] = {VMBUS_MSG_OFFER};

	put_le32(msg + 184, channel);
	vmbus_client_message(h->c, msg, sizeof(msg));
}

static void up(struct host *h, u32 features)
{
	host_init(h, features);
	assert_int_equal(vmbus_client_connect(h->c), 0);
	expect(h, VMBUS_MSG_INITIATE_CONTACT, features & VMBUS_F_CLIENT_ID ? 56 : 40);
	SAY(h, VMBUS_MSG_VERSION_RESPONSE, 20, 1, VMBUS_CONN_VTL2_REDIRECT, 0xffffffff);
	assert_int_equal(h->version, VMBUS_V6_0);
	assert_int_equal(h->features, features);
	assert_int_equal(vmbus_client_request_offers(h->c), 0);
	expect(h, VMBUS_MSG_REQUEST_OFFERS, 8);
	say_offer(h, 5);
	SAY(h, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	assert_int_equal(h->offers, 1);
	assert_int_equal(h->delivered, 1);
}

static u64 dropped(struct host *h)
{
	struct vmbus_client_info info;

	vmbus_client_describe(h->c, &info);
	return info.dropped + info.stale;
}

/* Every type and length, in each state: nothing that was not asked for comes through. */
static void unasked(void **state)
{
	static const u32 fill[] = {0, 1, 5, 0xffffffff, 2048};

	(void)state;
	for (unsigned s = 0; s < 2; s++) {
		for (unsigned f = 0; f < ARRAY_SIZE(fill); f++) {
			struct host h;

			if (s)
				up(&h, VMBUS_F_ALL);
			else
				host_init(&h, VMBUS_F_ALL);
			for (u32 type = 0; type < 40; type++) {
				for (unsigned len = 0; len <= 250; len++) {
					u8 *msg = malloc(len + 1);

					for (unsigned i = 0; i < len; i++)
						msg[i] = (u8)(fill[f] >> 8 * (i % 4));
					if (len >= 4)
						put_le32(msg, type);
					vmbus_client_message(h.c, msg, len);
					free(msg);
				}
			}
			assert_int_equal(h.connects, s);
			assert_int_equal(h.opens + h.created + h.torn + h.modified + h.conn_mod +
						 h.unloads + h.pauses,
					 0);
			assert_int_equal(h.count, 0);
			host_free(&h);
		}
	}
}

static void bad_offers(void **state)
{
	struct host h;

	(void)state;
	up(&h, 0);
	say_offer(&h, 5); /* twice */
	say_offer(&h, 0);
	say_offer(&h, 2048);
	say_offer(&h, 0xffffffff);
	assert_int_equal(h.offers, 1);
	assert_int_equal(dropped(&h), 4);
	SAY(&h, VMBUS_MSG_RESCIND, 12, 6);
	SAY(&h, VMBUS_MSG_RESCIND, 12, 5);
	SAY(&h, VMBUS_MSG_RESCIND, 12, 5);
	assert_int_equal(h.rescinds, 1);
	say_offer(&h, 5); /* not released yet */
	assert_int_equal(h.offers, 1);
	assert_int_equal(vmbus_client_release(h.c, 5), 0);
	assert_int_equal(vmbus_client_release(h.c, 5), -EINVAL);
	expect(&h, VMBUS_MSG_RELID_RELEASED, 12);
	say_offer(&h, 5);
	assert_int_equal(h.offers, 2);
	host_free(&h);
}

static void versions_downward(void **state)
{
	static const u32 want[] = {VMBUS_V6_0, VMBUS_V5_3, VMBUS_V5_2, VMBUS_V5_1,
				   VMBUS_V5_0, VMBUS_V4_1, VMBUS_V4_0};
	struct host h;
	const u8 *m;

	(void)state;
	host_init(&h, VMBUS_F_CLIENT_ID);
	h.redirect_result = -ENXIO; /* the port does not exist: the other one */
	assert_int_equal(vmbus_client_connect(h.c), 0);
	assert_int_equal(vmbus_client_connect(h.c), -EINVAL);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		m = expect(&h, VMBUS_MSG_INITIATE_CONTACT, i ? 40 : 56);
		assert_int_equal(get_le32(m + 8), want[i]);
		assert_int_equal(h.connection,
				 want[i] >= VMBUS_V5_0 ? VMBUS_CONN_MULTI : VMBUS_CONN_LEGACY);
		assert_int_equal(m[16], want[i] >= VMBUS_V5_0 ? 2 : 0);
		assert_int_equal(get_le32(m + 20), i ? 0 : VMBUS_F_CLIENT_ID);
		assert_int_equal(h.connects, 0);
		SAY(&h, VMBUS_MSG_VERSION_RESPONSE, 16, 0, 0);
	}
	assert_int_equal(h.connects, 1);
	assert_int_equal(h.version, 0);
	/* no port at all */
	h.result = -ENXIO;
	assert_int_equal(vmbus_client_connect(h.c), -ENXIO);
	h.result = 0;
	h.redirect_result = 0;
	assert_int_equal(vmbus_client_connect(h.c), 0);
	expect(&h, VMBUS_MSG_INITIATE_CONTACT, 56);
	SAY(&h, VMBUS_MSG_VERSION_RESPONSE, 16, 1, 1); /* 6.0 without its flags */
	expect(&h, VMBUS_MSG_INITIATE_CONTACT, 40);
	SAY(&h, VMBUS_MSG_VERSION_RESPONSE, 16, 0x201, 1); /* supported, and failed */
	expect(&h, VMBUS_MSG_INITIATE_CONTACT, 40);
	SAY(&h, VMBUS_MSG_VERSION_RESPONSE, 16, 1, 0x800024);
	assert_int_equal(h.version, VMBUS_V5_2);
	assert_int_equal(vmbus_client_request_offers(h.c), 0);
	assert_int_equal(h.connection, 0x800024);
	host_free(&h);
}

static void gpadl_and_open(void **state)
{
	static u64 data[100] = {99 * 4096};
	struct vmbus_open open = {.open_id = 9,
				  .gpadl = 0xe1e10,
				  .downstream = 4,
				  .connection = 0x2005,
				  .event_flag = 77,
				  .redirect = true,
				  .user = {1}};
	struct host h;
	const u8 *m;

	(void)state;
	up(&h, VMBUS_F_SIGNAL_PARAMS | VMBUS_F_REDIRECT);
	for (unsigned i = 1; i < 100; i++)
		data[i] = i;
	assert_int_equal(vmbus_client_open(h.c, 5, &open), -EINVAL);
	assert_int_equal(vmbus_client_gpadl(h.c, 6, 0xe1e10, 1, data, 100), -EINVAL);
	assert_int_equal(vmbus_client_gpadl(h.c, 5, 0xe1e10, 1, data, 0), -EINVAL);
	assert_int_equal(vmbus_client_gpadl(h.c, 5, 0xe1e10, 1, data, 100), 0);
	assert_int_equal(vmbus_client_gpadl(h.c, 5, 0xe1e10, 1, data, 100), -EINVAL);
	m = expect(&h, VMBUS_MSG_GPADL_HEADER, 20 + 27 * 8);
	assert_int_equal(get_le32(m + 8), 5);
	assert_int_equal(get_le32(m + 12), 0xe1e10);
	assert_int_equal(get_le16(m + 16), 800);
	assert_int_equal(get_le16(m + 18), 1);
	assert_int_equal(get_le64(m + 20), 99 * 4096);
	m = expect(&h, VMBUS_MSG_GPADL_BODY, 16 + 28 * 8);
	assert_int_equal(get_le64(m + 16), 27);
	m = expect(&h, VMBUS_MSG_GPADL_BODY, 16 + 28 * 8);
	m = expect(&h, VMBUS_MSG_GPADL_BODY, 16 + 17 * 8);
	assert_int_equal(get_le32(m + 12), 0xe1e10);
	assert_int_equal(get_le64(m + 16 + 16 * 8), 99);
	assert_int_equal(vmbus_client_open(h.c, 5, &open), -EINVAL);
	SAY(&h, VMBUS_MSG_GPADL_CREATED, 20, 6, 0xe1e10, 0);
	SAY(&h, VMBUS_MSG_GPADL_CREATED, 20, 5, 0xe1e11, 0);
	assert_int_equal(h.created, 0);
	SAY(&h, VMBUS_MSG_GPADL_CREATED, 20, 5, 0xe1e10, 0);
	SAY(&h, VMBUS_MSG_GPADL_CREATED, 20, 5, 0xe1e10, 1);
	assert_int_equal(h.created, 1);
	assert_int_equal(vmbus_client_open(h.c, 5, &open), 0);
	m = expect(&h, VMBUS_MSG_OPEN, 156);
	assert_int_equal(get_le32(m + 12), 9);
	assert_int_equal(get_le32(m + 24), 4);
	assert_int_equal(m[28], 1);
	assert_int_equal(get_le32(m + 148), 0x2005);
	assert_int_equal(get_le16(m + 152), 77);
	assert_int_equal(get_le16(m + 154), 1);
	SAY(&h, VMBUS_MSG_OPEN_RESULT, 20, 5, 8, 0); /* another open's */
	assert_int_equal(h.opens, 0);
	assert_int_equal(vmbus_client_close(h.c, 5), -EINVAL);
	SAY(&h, VMBUS_MSG_OPEN_RESULT, 20, 5, 9, 0);
	SAY(&h, VMBUS_MSG_OPEN_RESULT, 20, 5, 9, 0);
	assert_int_equal(h.opens, 1);
	assert_int_equal(vmbus_client_close(h.c, 5), 0);
	expect(&h, VMBUS_MSG_CLOSE, 12);
	assert_int_equal(vmbus_client_gpadl_teardown(h.c, 5, 0xe1e10), 0);
	assert_int_equal(vmbus_client_gpadl_teardown(h.c, 5, 0xe1e10), -EINVAL);
	expect(&h, VMBUS_MSG_GPADL_TEARDOWN, 16);
	SAY(&h, VMBUS_MSG_GPADL_TORNDOWN, 12, 0xe1e11);
	SAY(&h, VMBUS_MSG_GPADL_TORNDOWN, 12, 0xe1e10);
	SAY(&h, VMBUS_MSG_GPADL_TORNDOWN, 12, 0xe1e10);
	assert_int_equal(h.torn, 1);
	assert_int_equal(h.channel, 5);
	host_free(&h);
}

static void rescind_while_opening(void **state)
{
	u64 data[3] = {8192, 1, 2};
	struct vmbus_open open = {.gpadl = 1, .downstream = 1};
	struct host h;

	(void)state;
	up(&h, 0);
	assert_int_equal(vmbus_client_gpadl(h.c, 5, 1, 1, data, 3), 0);
	SAY(&h, VMBUS_MSG_GPADL_CREATED, 20, 5, 1, 0);
	assert_int_equal(vmbus_client_open(h.c, 5, &open), 0);
	assert_int_equal(vmbus_client_release(h.c, 5), -EINVAL); /* the answer first */
	SAY(&h, VMBUS_MSG_RESCIND, 12, 5);
	assert_int_equal(h.opens, 1);
	assert_int_equal(h.status, VMBUS_STATUS_FAILED);
	assert_int_equal(h.rescinds, 1);
	SAY(&h, VMBUS_MSG_OPEN_RESULT, 20, 5, 0, 0);
	assert_int_equal(h.opens, 1);
	assert_int_equal(vmbus_client_open(h.c, 5, &open), -EINVAL);
	assert_int_equal(vmbus_client_release(h.c, 5), 0);
	host_free(&h);
}

static void the_rest(void **state)
{
	struct guid e = {.data1 = 1}, s = {.data1 = 2};
	struct host h;
	const u8 *m;

	(void)state;
	up(&h, VMBUS_F_PAUSE | VMBUS_F_MODIFY_CONN);
	assert_int_equal(vmbus_client_modify(h.c, 5, 1), -EINVAL);
	assert_int_equal(vmbus_client_tl_connect(h.c, &e, &s, NULL), 0);
	m = expect(&h, VMBUS_MSG_TL_CONNECT, 56);
	assert_int_equal(get_le32(m + 24), 2);
	SAY(&h, VMBUS_MSG_TL_CONNECT_RESULT, 44, 1, 0, 0, 0, 2, 0, 0, 0, VMBUS_STATUS_CONN_REFUSED);
	assert_int_equal(h.tl, 1);
	assert_int_equal(h.gpadl, 3);
	assert_int_equal(h.status, VMBUS_STATUS_CONN_REFUSED);
	assert_int_equal(vmbus_client_modify_conn(h.c, 0x1000, 0x2000), 0);
	assert_int_equal(vmbus_client_modify_conn(h.c, 0x1000, 0x2000), -EINVAL);
	m = expect(&h, VMBUS_MSG_MODIFY_CONN, 24);
	assert_int_equal(get_le64(m + 16), 0x2000);
	SAY(&h, VMBUS_MSG_MODIFY_CONN_RESPONSE, 9);
	assert_int_equal(h.conn_mod, 1);
	assert_int_equal(vmbus_client_pause(h.c), 0);
	expect(&h, VMBUS_MSG_PAUSE, 8);
	assert_int_equal(vmbus_client_tl_connect(h.c, &e, &s, NULL), -EINVAL);
	say_offer(&h, 7); /* was under way */
	assert_int_equal(h.offers, 2);
	SAY(&h, VMBUS_MSG_PAUSE_RESPONSE, 8);
	SAY(&h, VMBUS_MSG_PAUSE_RESPONSE, 8);
	assert_int_equal(h.pauses, 1);
	assert_int_equal(vmbus_client_resume(h.c), 0);
	expect(&h, VMBUS_MSG_RESUME, 8);
	/* a busy host: order is kept */
	h.result = -EAGAIN;
	assert_int_equal(vmbus_client_tl_connect(h.c, &e, &s, NULL), 0);
	assert_int_equal(vmbus_client_unload(h.c), 0);
	assert_true(vmbus_client_waiting(h.c));
	h.result = 0;
	vmbus_client_pump(h.c);
	expect(&h, VMBUS_MSG_TL_CONNECT, 56);
	expect(&h, VMBUS_MSG_UNLOAD, 8);
	say_offer(&h, 8); /* too late */
	assert_int_equal(h.offers, 2);
	SAY(&h, VMBUS_MSG_UNLOAD_COMPLETE, 8);
	SAY(&h, VMBUS_MSG_UNLOAD_COMPLETE, 8);
	assert_int_equal(h.unloads, 1);
	assert_int_equal(vmbus_client_connect(h.c), 0);
	host_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unasked),
		cmocka_unit_test(bad_offers),
		cmocka_unit_test(versions_downward),
		cmocka_unit_test(gpadl_and_open),
		cmocka_unit_test(rescind_while_opening),
		cmocka_unit_test(the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
