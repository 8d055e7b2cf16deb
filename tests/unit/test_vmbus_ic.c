/* Integration components against a guest that answers as Linux does, and one that does not. */
#include "tests/unit/vmbus_guest.h"

#include <stdio.h>

#include "common/vmbus/ic.h"

struct rig {
	struct guest g;
	struct vmbus_ic ic;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	struct vmbus_pipe pipe;
	u64 now;
	unsigned ready, unready, done, items, kvp_done;
	u32 status;
	char text[4096];
	u8 msg[8192]; /* last of the host */
	size_t len;
};

static u64 now_ms(void *ctx)
{
	return ((struct rig *)ctx)->now;
}

static u64 filetime(void *ctx)
{
	return FILETIME_UNIX_EPOCH + ((struct rig *)ctx)->now * 10000;
}

static u64 reference(void *ctx)
{
	return ((struct rig *)ctx)->now * 10000;
}

static void on_ready(void *ctx, struct vmbus_ic *ic, bool ready)
{
	struct rig *r = ctx;

	assert_ptr_equal(ic, &r->ic);
	r->ready += ready;
	r->unready += !ready;
}

static void on_done(void *ctx, u32 status)
{
	struct rig *r = ctx;

	r->done++;
	r->status = status;
}

static void on_item(void *ctx, const char *key, const char *value)
{
	struct rig *r = ctx;
	size_t at = strlen(r->text);

	r->items++;
	snprintf(r->text + at, sizeof(r->text) - at, "%s=%s;", key, value);
}

static void on_kvp_done(void *ctx, u32 status)
{
	struct rig *r = ctx;

	r->kvp_done++;
	r->status = status;
}

static const struct vmbus_ic_ops ic_ops = {now_ms,  filetime, reference,  on_ready,
					   on_done, on_item,  on_kvp_done};

static void rig_init(struct rig *r, enum ic_type type)
{
	static const struct vmbus_server_config cfg = {.name = "test"};
	const u8 *m;

	memset(r, 0, sizeof(*r));
	guest_init(&r->g, &cfg, &guest_ops);
	assert_true(vmbus_ic_init(&r->ic, r->g.s, type, &ic_ops, r));
	guest_connect(&r->g, VMBUS_V5_3, 0);
	GUEST_SEND(&r->g, VMBUS_MSG_REQUEST_OFFERS);
	m = guest_expect(&r->g, VMBUS_MSG_OFFER, 196);
	assert_int_equal(get_le16(m + 56), 0x11);
	guest_expect(&r->g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	/* Linux: 4 data pages and a control page each way */
	vmbus_ring_format(&r->g.ram[10]);
	vmbus_ring_format(&r->g.ram[15]);
	guest_gpadl_ok(&r->g, 1, 0xe1e10, 10, 10);
	guest_open(&r->g, 1, 0xe1e10, 0, 5);
	assert_int_equal(guest_open_result(&r->g, 1), 0);
	vmbus_tx_init(&r->tx, &r->g.ram[10], 5);
	vmbus_rx_init(&r->rx, &r->g.ram[15], 5);
	vmbus_pipe_init(&r->pipe, &r->rx, &r->tx);
}

static void rig_free(struct rig *r)
{
	guest_free(&r->g);
}

/* The next message of the host. */
static struct ic_header *take(struct rig *r, unsigned type)
{
	struct ic_header *h = (void *)r->msg;
	bool signal = false;

	assert_int_equal(vmbus_pipe_recv(&r->pipe, r->msg, sizeof(r->msg), &r->len, &signal), 0);
	assert_true(r->len >= sizeof(*h));
	assert_int_equal(h->type, type);
	assert_int_equal(h->size, r->len - sizeof(*h));
	assert_int_equal(h->flags, IC_FLAG_TRANSACTION | IC_FLAG_REQUEST);
	return h;
}

static void nothing(struct rig *r)
{
	bool signal = false;

	assert_int_equal(vmbus_pipe_recv(&r->pipe, r->msg, sizeof(r->msg), &r->len, &signal),
			 -EAGAIN);
}

static void raw(struct rig *r, const void *msg, size_t len)
{
	bool signal = false;

	assert_int_equal(vmbus_pipe_send(&r->pipe, msg, len, &signal), 0);
	if (signal)
		vmbus_server_event(r->g.s, 0x2001);
}

/* Sends the message back as Linux does: in place, same length. */
static void answer(struct rig *r, u32 status)
{
	struct ic_header *h = (void *)r->msg;

	h->flags = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE;
	h->status = status;
	raw(r, r->msg, r->len);
}

static void negotiated(struct rig *r, u16 major, u16 minor)
{
	struct ic_header *h = take(r, IC_NEGOTIATE);
	struct ic_negotiate *n = (void *)(h + 1);

	assert_int_equal(n->frameworks, 2);
	assert_int_equal(r->len, 20 + 8 + 4 * (2 + n->messages));
	n->frameworks = n->messages = 1;
	n->version[0] = (struct ic_version){3, 0};
	n->version[1] = (struct ic_version){major, minor};
	h->size = 0x10;
	answer(r, 0);
	assert_int_equal(r->ic.state, IC_READY);
	assert_int_equal(r->ready, 1);
}

static void hostile_negotiation(void **state)
{
	struct rig r;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct ic_header *h;
		struct ic_negotiate *n;

		rig_init(&r, IC_SHUTDOWN);
		h = take(&r, IC_NEGOTIATE);
		n = (void *)(h + 1);
		n->frameworks = n->messages = 1;
		n->version[0] = (struct ic_version){3, 0};
		n->version[1] = (struct ic_version){3, 2};
		switch (i) {
		case 0: n->frameworks = n->messages = 0; break; /* Linux: none fits */
		case 1: n->messages = 0xffff; break;
		case 2: n->version[1].major = 9; break;
		case 3: n->version[0].minor = 9; break;
		case 4: r.len = 20 + 15; break;
		case 5: r.len = 19; break;
		case 6: h->transaction++; break;
		case 7: h->type = IC_SHUTDOWN; break;
		}
		answer(&r, 0);
		assert_int_equal(r.ready, 0);
		assert_false(vmbus_ic_shutdown(&r.ic, 0, "x"));
		raw(&r, r.msg, 1);
		raw(&r, r.msg, 0);
		GUEST_SEND(&r.g, VMBUS_MSG_CLOSE, 1);
		assert_int_equal(r.unready, 0);
		rig_free(&r);
	}
}

static void shutdown_component(void **state)
{
	struct ic_shutdown *s;
	struct rig r;

	(void)state;
	rig_init(&r, IC_SHUTDOWN);
	assert_false(vmbus_ic_shutdown(&r.ic, 0, "too early"));
	negotiated(&r, 3, 2);
	assert_true(vmbus_ic_shutdown(&r.ic, IC_SHUTDOWN_FORCE | IC_SHUTDOWN_RESTART, "because"));
	assert_false(vmbus_ic_shutdown(&r.ic, 0, "twice"));
	take(&r, IC_SHUTDOWN);
	assert_int_equal(r.len, 20 + 2060);
	s = (void *)(r.msg + 20);
	assert_int_equal(s->flags, 3);
	assert_int_equal(s->reason, 0x80000000u);
	assert_string_equal(s->text, "because");
	answer(&r, 0);
	answer(&r, IC_E_FAIL); /* twice */
	assert_int_equal(r.done, 1);
	assert_int_equal(r.status, 0);
	assert_true(vmbus_ic_shutdown(&r.ic, 0, "again"));
	GUEST_SEND(&r.g, VMBUS_MSG_CLOSE, 1);
	assert_int_equal(r.unready, 1);
	assert_false(vmbus_ic_shutdown(&r.ic, 0, "closed"));
	rig_free(&r);
}

static void heartbeat(void **state)
{
	struct ic_heartbeat *b;
	struct rig r;

	(void)state;
	rig_init(&r, IC_HEARTBEAT);
	r.now = 1000;
	negotiated(&r, 3, 0);
	assert_true(vmbus_ic_heartbeat_age(&r.ic) == UINT64_MAX);
	for (unsigned i = 1; i < 10; i++) {
		take(&r, IC_HEARTBEAT);
		b = (void *)(r.msg + 20);
		assert_int_equal(b->sequence, i);
		b->sequence++; /* Linux */
		answer(&r, 0);
		assert_int_equal(vmbus_ic_heartbeat_age(&r.ic), 0);
		nothing(&r);
		assert_int_equal(vmbus_ic_deadline(&r.ic), r.now + 2000);
		r.now += 2000;
		vmbus_ic_tick(&r.ic);
	}
	/* a false count is no sign of life */
	take(&r, IC_HEARTBEAT);
	b = (void *)(r.msg + 20);
	b->sequence += 2;
	answer(&r, 0);
	assert_int_equal(vmbus_ic_heartbeat_age(&r.ic), 2000);
	/* a guest that stands still: the ring fills and nothing happens */
	for (unsigned i = 0; i < 1000; i++) {
		r.now += 2000;
		vmbus_ic_tick(&r.ic);
	}
	assert_int_equal(vmbus_ic_heartbeat_age(&r.ic), 2002000);
	rig_free(&r);
}

static void timesync(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, IC_TIMESYNC);
	r.now = 5;
	negotiated(&r, 4, 0);
	for (unsigned i = 0; i < 5; i++) {
		struct ic_timesync *t;

		take(&r, IC_TIMESYNC);
		assert_true(r.len >= 20 + 22); /* what Linux wants */
		t = (void *)(r.msg + 20);
		assert_int_equal(t->flags, i == 0 || i == 4 ? IC_TIME_SYNC : IC_TIME_SAMPLE);
		assert_true(t->time == FILETIME_UNIX_EPOCH + r.now * 10000);
		assert_true(t->reference == r.now * 10000);
		answer(&r, 0);
		nothing(&r);
		if (i == 3) {
			vmbus_ic_timesync_step(&r.ic); /* restored */
			continue;
		}
		r.now += 5000;
		vmbus_ic_tick(&r.ic);
	}
	rig_free(&r);
	rig_init(&r, IC_TIMESYNC);
	negotiated(&r, 3, 0);
	take(&r, IC_TIMESYNC);
	assert_int_equal(r.len, 20 + 25);
	rig_free(&r);
}

static void put16(u8 *out, u32 *size, const char *text)
{
	for (*size = 0; *text; text++, *size += 2)
		put_le16(out + *size, (u8)*text);
	put_le16(out + *size, 0);
	*size += 2;
}

static void kvp(void **state)
{
	static const char *const keys[] = {"FullyQualifiedDomainName", "IntegrationServicesVersion",
					   "OSName"};
	struct rig r;

	(void)state;
	rig_init(&r, IC_KVP);
	assert_false(vmbus_ic_kvp_enumerate(&r.ic, KVP_POOL_AUTO));
	negotiated(&r, 4, 0);
	assert_true(vmbus_ic_kvp_enumerate(&r.ic, KVP_POOL_AUTO));
	assert_false(vmbus_ic_kvp_enumerate(&r.ic, KVP_POOL_AUTO));
	for (unsigned i = 0; i < 4; i++) {
		struct kvp_body *b = (void *)(r.msg + 20);
		u32 size;

		take(&r, IC_KVP);
		assert_int_equal(r.len, 20 + 2580);
		assert_int_equal(b->op, KVP_ENUMERATE);
		assert_int_equal(b->pool, KVP_POOL_AUTO);
		assert_int_equal(b->enumerate.index, i);
		if (i == 3) {
			answer(&r, IC_E_NO_MORE);
			break;
		}
		put16(b->enumerate.value.key, &size, keys[i]);
		b->enumerate.value.key_size = size;
		put16(b->enumerate.value.value, &size, i == 2 ? "Debian" : "x");
		b->enumerate.value.value_size = size;
		b->enumerate.value.type = KVP_STRING;
		answer(&r, 0);
	}
	assert_int_equal(r.kvp_done, 1);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.text, "FullyQualifiedDomainName=x;IntegrationServicesVersion=x;"
				    "OSName=Debian;");
	rig_free(&r);
}

static void hostile_kvp(void **state)
{
	struct kvp_body *b;
	struct rig r;

	(void)state;
	rig_init(&r, IC_KVP);
	negotiated(&r, 4, 0);
	assert_true(vmbus_ic_kvp_enumerate(&r.ic, KVP_POOL_AUTO));
	take(&r, IC_KVP);
	b = (void *)(r.msg + 20);
	/* sizes beyond everything, no NUL, halves of surrogates */
	memset(&b->enumerate.value, 0xff, sizeof(b->enumerate.value));
	memset(b->enumerate.value.key, 0xd8, KVP_KEY_MAX);
	answer(&r, 0);
	assert_int_equal(r.items, 1);
	take(&r, IC_KVP);
	r.len--; /* too short */
	answer(&r, 0);
	assert_int_equal(r.kvp_done, 1);
	assert_int_equal(r.status, IC_E_FAIL);
	/* no answer: over after its time */
	assert_true(vmbus_ic_kvp_enumerate(&r.ic, KVP_POOL_AUTO));
	take(&r, IC_KVP);
	r.now += IC_KVP_MS;
	vmbus_ic_tick(&r.ic);
	assert_int_equal(r.kvp_done, 2);
	answer(&r, 0); /* too late */
	assert_int_equal(r.items, 1);
	/* a list without end */
	assert_true(vmbus_ic_kvp_enumerate(&r.ic, KVP_POOL_AUTO));
	while (r.kvp_done == 2) {
		take(&r, IC_KVP);
		answer(&r, 0);
	}
	assert_int_equal(r.items, 1 + IC_KVP_ITEMS);
	/* closed in the middle */
	assert_true(vmbus_ic_kvp_enumerate(&r.ic, KVP_POOL_AUTO));
	GUEST_SEND(&r.g, VMBUS_MSG_CLOSE, 1);
	assert_int_equal(r.kvp_done, 4);
	rig_free(&r);
}

/* One pair: what goes out, what the guest may answer. */
static void kvp_pairs(void **state)
{
	static const u8 wide[] = {'k', 0, 0xe4, 0, 0x3d, 0xd8, 0x00, 0xde, 0, 0};
	const char *key = "k\xc3\xa4\xf0\x9f\x98\x80";
	struct kvp_body *b;
	struct rig r;
	u32 size;

	(void)state;
	rig_init(&r, IC_KVP);
	assert_false(vmbus_ic_kvp_set(&r.ic, KVP_POOL_EXTERNAL, "a", "b"));
	negotiated(&r, 4, 0);
	b = (void *)(r.msg + 20);
	assert_true(vmbus_ic_kvp_set(&r.ic, KVP_POOL_EXTERNAL, key, ""));
	assert_false(vmbus_ic_kvp_get(&r.ic, KVP_POOL_EXTERNAL, key));
	assert_false(vmbus_ic_kvp_delete(&r.ic, KVP_POOL_EXTERNAL, key));
	assert_false(vmbus_ic_kvp_set(&r.ic, KVP_POOL_EXTERNAL, key, ""));
	take(&r, IC_KVP);
	assert_int_equal(r.len, 20 + 2580);
	assert_int_equal(b->op, KVP_SET);
	assert_int_equal(b->pool, KVP_POOL_EXTERNAL);
	assert_int_equal(b->value.type, KVP_STRING);
	assert_int_equal(b->value.key_size, sizeof(wide));
	assert_memory_equal(b->value.key, wide, sizeof(wide));
	assert_int_equal(b->value.value_size, 2);
	answer(&r, 0);
	assert_int_equal(r.kvp_done, 1);
	assert_int_equal(r.status, 0);
	assert_int_equal(r.items, 0);

	assert_true(vmbus_ic_kvp_get(&r.ic, KVP_POOL_GUEST, key));
	take(&r, IC_KVP);
	assert_int_equal(b->op, KVP_GET);
	assert_int_equal(b->pool, KVP_POOL_GUEST);
	assert_memory_equal(b->value.key, wide, sizeof(wide));
	/* another key than the one asked for is not believed */
	put16(b->value.key, &size, "other");
	b->value.key_size = size;
	put16(b->value.value, &size, "is so");
	b->value.value_size = size;
	answer(&r, 0);
	assert_int_equal(r.kvp_done, 2);
	assert_string_equal(r.text, "k\xc3\xa4\xf0\x9f\x98\x80=is so;");

	assert_true(vmbus_ic_kvp_delete(&r.ic, KVP_POOL_EXTERNAL, "a"));
	take(&r, IC_KVP);
	assert_int_equal(b->op, KVP_DELETE);
	assert_int_equal(b->remove.key_size, 4);
	assert_memory_equal(b->remove.key, "a\0\0\0", 4);
	answer(&r, IC_E_NO_MORE); /* Linux: not there */
	assert_int_equal(r.kvp_done, 3);
	assert_int_equal(r.status, IC_E_NO_MORE);
	rig_free(&r);
}

static void hostile_kvp_pairs(void **state)
{
	char text[1100], exact[1024];
	struct kvp_body *b;
	struct rig r;

	(void)state;
	rig_init(&r, IC_KVP);
	negotiated(&r, 4, 0);
	b = (void *)(r.msg + 20);
	/* what the guest would cut or misread is not sent */
	memset(text, 'x', sizeof(text));
	text[256] = 0;
	assert_false(vmbus_ic_kvp_key_valid(""));
	assert_false(vmbus_ic_kvp_key_valid("\xff"));
	assert_false(vmbus_ic_kvp_key_valid("\xed\xa0\x80")); /* half a surrogate */
	assert_false(vmbus_ic_kvp_key_valid(text));
	assert_false(vmbus_ic_kvp_get(&r.ic, KVP_POOL_EXTERNAL, text));
	assert_false(vmbus_ic_kvp_delete(&r.ic, KVP_POOL_EXTERNAL, text));
	text[255] = 0;
	assert_true(vmbus_ic_kvp_key_valid(text));
	memset(exact, 'y', sizeof(exact));
	exact[1023] = 0;
	assert_true(vmbus_ic_kvp_value_valid(exact));
	assert_false(vmbus_ic_kvp_set(&r.ic, KVP_POOL_EXTERNAL, text, "\xc3"));
	assert_true(vmbus_ic_kvp_set(&r.ic, KVP_POOL_EXTERNAL, text, exact));
	take(&r, IC_KVP);
	assert_int_equal(b->value.key_size, KVP_KEY_MAX);
	assert_int_equal(b->value.value_size, KVP_VALUE_MAX);
	memset(text, 'z', sizeof(text));
	text[1024] = 0;
	assert_false(vmbus_ic_kvp_value_valid(text));
	answer(&r, 0);
	/* the answer to a get: too short, of another kind, with sizes beyond everything */
	assert_true(vmbus_ic_kvp_get(&r.ic, KVP_POOL_EXTERNAL, "a"));
	take(&r, IC_KVP);
	r.len--;
	answer(&r, 0);
	assert_int_equal(r.status, IC_E_FAIL);
	assert_true(vmbus_ic_kvp_get(&r.ic, KVP_POOL_EXTERNAL, "a"));
	take(&r, IC_KVP);
	b->op = KVP_ENUMERATE;
	answer(&r, 0);
	assert_int_equal(r.status, IC_E_FAIL);
	assert_int_equal(r.items, 0);
	assert_true(vmbus_ic_kvp_get(&r.ic, KVP_POOL_EXTERNAL, "a"));
	take(&r, IC_KVP);
	memset(&b->value, 0xff, sizeof(b->value));
	answer(&r, 0);
	assert_int_equal(r.items, 1);
	assert_int_equal(r.kvp_done, 4);
	/* no answer, then one that is late */
	assert_true(vmbus_ic_kvp_set(&r.ic, KVP_POOL_EXTERNAL, "a", "b"));
	take(&r, IC_KVP);
	r.now += IC_KVP_MS;
	vmbus_ic_tick(&r.ic);
	assert_int_equal(r.kvp_done, 5);
	assert_int_equal(r.status, IC_E_FAIL);
	answer(&r, 0);
	assert_int_equal(r.kvp_done, 5);
	/* the guest's driver leaves */
	assert_true(vmbus_ic_kvp_delete(&r.ic, KVP_POOL_EXTERNAL, "a"));
	GUEST_SEND(&r.g, VMBUS_MSG_CLOSE, 1);
	assert_int_equal(r.kvp_done, 6);
	rig_free(&r);
}

/* More messages at once than any driver sends: the clock goes on with them. */
static void flood(void **state)
{
	bool signal = false;
	u8 msg[20] = {0};
	unsigned n = 0;
	struct rig r;

	(void)state;
	rig_init(&r, IC_SHUTDOWN);
	negotiated(&r, 3, 2);
	while (vmbus_pipe_send(&r.pipe, msg, sizeof(msg), &signal) == 0)
		n++;
	assert_true(n > 128);
	vmbus_server_event(r.g.s, 0x2001);
	assert_int_equal(vmbus_ic_deadline(&r.ic), 0);
	for (unsigned i = 0; i < n / 64 + 1; i++)
		vmbus_ic_tick(&r.ic);
	assert_true(vmbus_ic_deadline(&r.ic) == UINT64_MAX);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_negotiation),
		cmocka_unit_test(hostile_kvp),
		cmocka_unit_test(hostile_kvp_pairs),
		cmocka_unit_test(flood),
		cmocka_unit_test(shutdown_component),
		cmocka_unit_test(heartbeat),
		cmocka_unit_test(timesync),
		cmocka_unit_test(kvp),
		cmocka_unit_test(kvp_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
