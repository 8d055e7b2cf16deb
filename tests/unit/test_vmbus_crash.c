/* The crash dump device against guests that dump as they should, and those that do not. */
#include "tests/unit/vmbus_guest.h"

#include "common/vmbus/crash.h"

#define MAX_SIZE 100000u

struct rig {
	struct guest g;
	struct vmbus_crash c;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	struct vmbus_pipe pipe;
	unsigned starts, completes, aborts, unwanted, again;
	bool refuse_start, fail_write;
	const char *why;
	u8 data[2 * MAX_SIZE];
	u64 len;
};

static bool on_start(void *ctx)
{
	struct rig *r = ctx;

	assert_int_equal(r->starts, r->completes + r->aborts);
	if (r->refuse_start)
		return false;
	r->starts++;
	r->len = 0;
	return true;
}

static bool on_write(void *ctx, const void *data, u32 len)
{
	struct rig *r = ctx;

	assert_int_equal(r->starts, r->completes + r->aborts + 1);
	assert_true(len && r->len + len <= MAX_SIZE);
	if (r->fail_write)
		return false;
	memcpy(r->data + r->len, data, len);
	r->len += len;
	return true;
}

static void on_complete(void *ctx)
{
	((struct rig *)ctx)->completes++;
}

static void on_abort(void *ctx, const char *why)
{
	struct rig *r = ctx;

	r->aborts++;
	r->why = why;
}

static void on_unwanted(void *ctx)
{
	((struct rig *)ctx)->unwanted++;
}

static void on_again(void *ctx)
{
	((struct rig *)ctx)->again++;
}

static const struct vmbus_crash_ops crash_ops = {on_start, on_write,	on_complete,
						 on_abort, on_unwanted, on_again};

#define RING_PAGES 9 /* and the same for the host's */

static void open_channel(struct rig *r)
{
	vmbus_ring_format(&r->g.ram[10]);
	vmbus_ring_format(&r->g.ram[10 + RING_PAGES]);
	guest_gpadl_ok(&r->g, 1, 0xe1e10, 10, 2 * RING_PAGES);
	guest_open(&r->g, 1, 0xe1e10, 0, RING_PAGES);
	assert_int_equal(guest_open_result(&r->g, 1), 0);
	vmbus_tx_init(&r->tx, &r->g.ram[10], RING_PAGES);
	vmbus_rx_init(&r->rx, &r->g.ram[10 + RING_PAGES], RING_PAGES);
	vmbus_pipe_init(&r->pipe, &r->rx, &r->tx);
}

static void close_channel(struct rig *r)
{
	GUEST_SEND(&r->g, VMBUS_MSG_CLOSE, 1);
	GUEST_SEND(&r->g, VMBUS_MSG_GPADL_TEARDOWN, 1, 0xe1e10);
	guest_expect(&r->g, VMBUS_MSG_GPADL_TORNDOWN, 12);
}

static void rig_init(struct rig *r, u64 max_size)
{
	static const struct vmbus_server_config cfg = {.name = "test"};
	static const struct guid id = CRASH_GUID;
	const u8 *m;

	memset(r, 0, sizeof(*r));
	guest_init(&r->g, &cfg, &guest_ops);
	assert_true(vmbus_crash_init(&r->c, r->g.s, max_size, &crash_ops, r));
	guest_connect(&r->g, VMBUS_V5_3, 0);
	GUEST_SEND(&r->g, VMBUS_MSG_REQUEST_OFFERS);
	m = guest_expect(&r->g, VMBUS_MSG_OFFER, 196);
	assert_memory_equal(m + 8, &id, sizeof(id));
	assert_memory_equal(m + 24, &id, sizeof(id));
	assert_int_equal(get_le16(m + 56), 0x11);
	guest_expect(&r->g, VMBUS_MSG_ALL_OFFERS_DELIVERED, 8);
	open_channel(r);
}

static void rig_free(struct rig *r)
{
	vmbus_crash_end(&r->c);
	assert_int_equal(r->starts, r->completes + r->aborts);
	guest_free(&r->g);
}

static bool put(struct rig *r, const void *msg, size_t len)
{
	bool signal = false;
	int ret = vmbus_pipe_send(&r->pipe, msg, len, &signal);

	if (signal)
		vmbus_server_event(r->g.s, 0x2001);
	assert_true(ret == 0 || ret == -EAGAIN);
	return !ret;
}

/* A request of len bytes that begins with a header. */
static void request(struct rig *r, u64 type, size_t len)
{
	u8 msg[512] = {0x77};

	put_le64(msg + 16, type);
	assert_true(put(r, msg, len));
}

static size_t take(struct rig *r, u8 msg[64])
{
	bool signal = false;
	size_t len = 0;

	if (vmbus_pipe_recv(&r->pipe, msg, 64, &len, &signal))
		return 0;
	if (signal)
		vmbus_server_event(r->g.s, 0x2001);
	return len;
}

static void nothing(struct rig *r)
{
	u8 msg[64];

	assert_int_equal(take(r, msg), 0);
}

/* The status of the answer to a request of that type. */
static s32 status(struct rig *r, u64 type)
{
	u8 msg[64];

	assert_int_equal(take(r, msg), 28);
	assert_int_equal(msg[0], 0x77);
	assert_int_equal(get_le64(msg + 16), type + 0x10000);
	return (s32)get_le32(msg + 24);
}

static void start(struct rig *r)
{
	request(r, CRASH_START, 24);
	assert_int_equal(status(r, CRASH_START), 0);
}

static void announce(struct rig *r, u64 offset, u32 size)
{
	u8 msg[36] = {0x77};

	put_le64(msg + 16, CRASH_WRITE);
	put_le64(msg + 24, offset);
	put_le32(msg + 32, size);
	assert_true(put(r, msg, sizeof(msg)));
}

static void write_chunk(struct rig *r, u64 offset, u32 size)
{
	static u8 data[CRASH_CHUNK];

	for (u32 i = 0; i < size; i++)
		data[i] = (u8)((offset + i) * 7);
	announce(r, offset, size);
	assert_true(put(r, data, size));
}

/* --- hostile */

static void test_sizes(void **state)
{
	static const struct {
		u64 type;
		size_t right;
	} kinds[] = {{CRASH_CAPABILITIES, 24},
		     {CRASH_CONFIG, 24},
		     {CRASH_START, 24},
		     {CRASH_WRITE, 36},
		     {CRASH_COMPLETE, 289}};
	static struct rig r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (size_t len = 0; len < 300; len += len < 40 ? 1 : 83) {
			if (len == kinds[i].right)
				continue;
			rig_init(&r, MAX_SIZE);
			start(&r);
			request(&r, kinds[i].type, len);
			nothing(&r);
			assert_int_equal(r.aborts, 1);
			assert_int_equal(r.c.bad, 1);
			/* what follows belongs to no dump */
			request(&r, CRASH_COMPLETE, 289);
			assert_int_equal(r.completes, 0);
			rig_free(&r);
		}
	}
	/* requests of Windows, answers, nonsense */
	for (u64 type = 0; type < 0x20000; type += type < 0x10 ? 1 : 0x7f) {
		if (type == CRASH_CAPABILITIES || (type >= CRASH_CONFIG && type <= CRASH_COMPLETE))
			continue;
		rig_init(&r, MAX_SIZE);
		start(&r);
		request(&r, type, 24);
		nothing(&r);
		assert_int_equal(r.aborts, 1);
		rig_free(&r);
	}
}

static void test_order(void **state)
{
	static struct rig r;
	u8 big[CRASH_CHUNK] = {0};

	(void)state;
	rig_init(&r, MAX_SIZE);
	/* without a start */
	request(&r, CRASH_COMPLETE, 289);
	write_chunk(&r, 0, 100);
	assert_int_equal(status(&r, CRASH_WRITE), CRASH_REFUSED);
	assert_int_equal(r.completes + r.aborts, 0);
	/* a second one */
	start(&r);
	write_chunk(&r, 0, 100);
	request(&r, CRASH_START, 24);
	assert_int_equal(status(&r, CRASH_START), CRASH_REFUSED);
	assert_int_equal(r.aborts, 1);
	write_chunk(&r, 100, 100);
	assert_int_equal(status(&r, CRASH_WRITE), CRASH_REFUSED);
	request(&r, CRASH_COMPLETE, 289);
	assert_int_equal(r.completes, 0);
	/* and then all over again */
	start(&r);
	write_chunk(&r, 0, 100);
	request(&r, CRASH_COMPLETE, 289);
	assert_int_equal(r.completes, 1);
	/* complete twice */
	request(&r, CRASH_COMPLETE, 289);
	assert_int_equal(r.completes, 1);
	/* data that looks like a start is data */
	start(&r);
	announce(&r, 0, 24);
	request(&r, CRASH_START, 24);
	nothing(&r);
	assert_int_equal(r.len, 24);
	/* ... also when it belongs to a dump that has failed */
	announce(&r, 7, 24);
	assert_string_equal(r.why, "a write in the wrong place");
	request(&r, CRASH_START, 24);
	assert_int_equal(status(&r, CRASH_WRITE), CRASH_REFUSED);
	nothing(&r);
	/* longer and shorter than announced */
	for (u32 i = 0; i < 2; i++) {
		start(&r);
		announce(&r, 0, 100);
		assert_true(put(&r, big, i ? 101 : 99));
		assert_int_equal(status(&r, CRASH_WRITE), CRASH_REFUSED);
		assert_int_equal(r.aborts, 3 + i);
	}
	/* the longest message that the pipe has */
	start(&r);
	announce(&r, 0, CRASH_CHUNK + 1);
	assert_string_equal(r.why, "a write that is too long");
	assert_true(put(&r, big, sizeof(big)));
	assert_int_equal(status(&r, CRASH_WRITE), CRASH_REFUSED);
	/* too long for a request */
	start(&r);
	assert_true(put(&r, big, sizeof(big)));
	assert_int_equal(r.aborts, 6);
	nothing(&r);
	rig_free(&r);
}

static void test_limits(void **state)
{
	static const u64 wrong[] = {1, MAX_SIZE, UINT64_MAX, UINT64_MAX - 99, 1ull << 32};
	static struct rig r;
	u64 at = 0;

	(void)state;
	rig_init(&r, MAX_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		start(&r);
		announce(&r, wrong[i], 100);
		assert_int_equal(r.aborts, i + 1);
		assert_true(put(&r, "", 0));
		assert_int_equal(status(&r, CRASH_WRITE), CRASH_REFUSED);
	}
	/* to the last byte, and one more */
	start(&r);
	for (u32 n; at < MAX_SIZE; at += n) {
		n = (u32)MIN((u64)CRASH_CHUNK, MAX_SIZE - at);
		write_chunk(&r, at, n);
	}
	assert_int_equal(r.len, MAX_SIZE);
	write_chunk(&r, at, 0);
	nothing(&r);
	write_chunk(&r, at, 1);
	assert_int_equal(status(&r, CRASH_WRITE), CRASH_REFUSED);
	assert_string_equal(r.why, "it is too large");
	rig_free(&r);
}

/* Answers that nobody reads: nothing more is taken, and it goes on when there is room. */
static void test_no_room(void **state)
{
	static struct rig r;
	unsigned asked = 0, answered = 0;
	u8 msg[64] = {0x77};

	(void)state;
	rig_init(&r, MAX_SIZE);
	put_le64(msg + 16, CRASH_CAPABILITIES);
	while (put(&r, msg, 24)) {
		asked++;
		vmbus_server_event(r.g.s, 0x2001);
		assert_true(asked < 5000);
	}
	assert_true(asked > 500);
	while (take(&r, msg)) {
		answered++;
		vmbus_server_event(r.g.s, 0x2001);
	}
	while (answered < asked) {
		vmbus_crash_run(&r.c);
		while (take(&r, msg))
			answered++;
	}
	assert_int_equal(answered, asked);
	rig_free(&r);
}

static void test_broken_ring(void **state)
{
	static struct rig r;

	(void)state;
	rig_init(&r, MAX_SIZE);
	start(&r);
	put_le32(r.g.ram[10], 3); /* the write index */
	vmbus_server_event(r.g.s, 0x2001);
	assert_int_equal(r.aborts, 1);
	close_channel(&r);
	rig_free(&r);
}

static void test_failures(void **state)
{
	static struct rig r;

	(void)state;
	rig_init(&r, MAX_SIZE);
	r.refuse_start = true;
	request(&r, CRASH_START, 24);
	assert_int_equal(status(&r, CRASH_START), CRASH_REFUSED);
	r.refuse_start = false;
	start(&r);
	r.fail_write = true;
	write_chunk(&r, 0, 100);
	assert_int_equal(status(&r, CRASH_WRITE), CRASH_REFUSED);
	assert_int_equal(r.aborts, 1);
	rig_free(&r);
	/* the machine ends in the middle */
	rig_init(&r, MAX_SIZE);
	start(&r);
	write_chunk(&r, 0, 100);
	rig_free(&r);
	assert_int_equal(r.aborts, 1);
}

/* --- as it should be */

static void test_dump(void **state)
{
	static struct rig r;
	u8 msg[64];

	(void)state;
	rig_init(&r, MAX_SIZE);
	request(&r, CRASH_CAPABILITIES, 24);
	assert_int_equal(take(&r, msg), 32);
	assert_int_equal(get_le64(msg + 16), 0x10001);
	assert_int_equal(get_le64(msg + 24), 2);
	request(&r, CRASH_CONFIG, 24);
	assert_int_equal(take(&r, msg), 36);
	assert_int_equal(get_le64(msg + 16), 0x10102);
	assert_int_equal(get_le64(msg + 24), MAX_SIZE);
	assert_int_equal(get_le32(msg + 32), 1);
	start(&r);
	write_chunk(&r, 0, CRASH_CHUNK);
	write_chunk(&r, CRASH_CHUNK, 1000);
	request(&r, CRASH_COMPLETE, 289);
	nothing(&r);
	assert_int_equal(r.completes, 1);
	assert_int_equal(r.len, CRASH_CHUNK + 1000);
	for (u64 i = 0; i < r.len; i++)
		assert_int_equal(r.data[i], (u8)(i * 7));
	rig_free(&r);
}

/* The writer puts all into the ring and leaves, before the host looks. */
static void test_leaves(void **state)
{
	static struct rig r;
	u8 msg[320] = {0x77};
	bool signal = false;

	(void)state;
	rig_init(&r, MAX_SIZE);
	start(&r);
	for (unsigned complete = 0; complete < 2; complete++) {
		put_le64(msg + 16, CRASH_WRITE);
		put_le64(msg + 24, 0);
		put_le32(msg + 32, 5);
		assert_int_equal(vmbus_pipe_send(&r.pipe, msg, 36, &signal), 0);
		assert_int_equal(vmbus_pipe_send(&r.pipe, "hello", 5, &signal), 0);
		put_le64(msg + 16, CRASH_COMPLETE);
		if (complete)
			assert_int_equal(vmbus_pipe_send(&r.pipe, msg, 289, &signal), 0);
		close_channel(&r);
		assert_int_equal(r.completes, complete);
		assert_int_equal(r.aborts, 1);
		assert_int_equal(r.len, 5);
		/* the next one finds nothing of it */
		open_channel(&r);
		start(&r);
	}
	rig_free(&r);
}

static void test_unwanted(void **state)
{
	static struct rig r;
	u8 msg[64];

	(void)state;
	rig_init(&r, 0);
	request(&r, CRASH_CAPABILITIES, 24);
	assert_int_equal(take(&r, msg), 32);
	request(&r, CRASH_CONFIG, 24);
	assert_int_equal(take(&r, msg), 36);
	assert_int_equal(get_le64(msg + 24), 0);
	assert_int_equal(get_le32(msg + 32), 0);
	assert_int_equal(r.unwanted, 1);
	request(&r, CRASH_START, 24);
	assert_int_equal(status(&r, CRASH_START), CRASH_REFUSED);
	assert_int_equal(r.starts, 0);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),	    cmocka_unit_test(test_order),
		cmocka_unit_test(test_limits),	    cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_broken_ring), cmocka_unit_test(test_failures),
		cmocka_unit_test(test_dump),	    cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_unwanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
