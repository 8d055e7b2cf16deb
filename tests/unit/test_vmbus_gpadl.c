/* GPADL collection: hostile totals, ranges and orders; limits; Linux' sizes. */
#include "tests/unit/vmbus_fixture.h"

#include "common/bytes.h"
#include "common/vmbus/gpadl.h"

static enum vmbus_gpadl_result header(struct vmbus_gpadls *t, u32 channel, u32 id, u16 bytes,
				      u16 ranges, const u64 *data, unsigned words, unsigned extra)
{
	size_t len = 20 + words * 8 + extra;
	u8 *msg = calloc(1, len);
	struct vmbus_gpadl *g = NULL;
	enum vmbus_gpadl_result ret;
	u32 got_id = 0, got_channel = 0;

	put_le32(msg, VMBUS_MSG_GPADL_HEADER);
	put_le32(msg + 8, channel);
	put_le32(msg + 12, id);
	put_le16(msg + 16, bytes);
	put_le16(msg + 18, ranges);
	if (words)
		memcpy(msg + 20, data, words * 8);
	ret = vmbus_gpadl_header(t, msg, len, &g, &got_id, &got_channel);
	if (ret != GPADL_IGNORED) {
		assert_int_equal(got_id, id);
		assert_int_equal(got_channel, channel);
	}
	assert_true((ret == GPADL_MORE || ret == GPADL_COMPLETE) == !!g);
	free(msg);
	return ret;
}

static enum vmbus_gpadl_result body(struct vmbus_gpadls *t, u32 id, const u64 *data, unsigned words)
{
	size_t len = 16 + words * 8;
	u8 *msg = calloc(1, len);
	struct vmbus_gpadl *g;
	enum vmbus_gpadl_result ret;
	u32 got_id, channel;

	put_le32(msg, VMBUS_MSG_GPADL_BODY);
	put_le32(msg + 12, id);
	if (words)
		memcpy(msg + 16, data, words * 8);
	ret = vmbus_gpadl_body(t, msg, len, &g, &got_id, &channel);
	free(msg);
	return ret;
}

#define RANGE(len, off) ((u64)(len) | (u64)(off) << 32)

static void malformed(void **state)
{
	static const struct {
		u16 bytes, ranges;
		u64 data[6];
		unsigned words;
		enum vmbus_gpadl_result want;
	} c[] = {
		{0, 0, {0}, 0, GPADL_FAILED},
		{16, 0, {RANGE(4096, 0), 1}, 2, GPADL_FAILED},
		{7, 1, {RANGE(4096, 0), 1}, 2, GPADL_FAILED},
		{8, 1, {RANGE(4096, 0), 1}, 2, GPADL_FAILED},
		{0xffff, 0xffff, {RANGE(4096, 0), 1}, 2, GPADL_FAILED},
		{16, 2, {RANGE(4096, 0), 1}, 2, GPADL_FAILED},
		{16, 1, {RANGE(0, 0), 1}, 2, GPADL_FAILED},
		{16, 1, {RANGE(4096, 4096), 1}, 2, GPADL_FAILED},
		{16, 1, {RANGE(4096, 0xffffffff), 1}, 2, GPADL_FAILED},
		{16, 1, {RANGE(4097, 0), 1}, 2, GPADL_FAILED},
		{16, 1, {RANGE(4096, 1), 1}, 2, GPADL_FAILED},
		{16, 1, {RANGE(0xffffffff, 0), 1}, 2, GPADL_FAILED},
		{32, 2, {RANGE(4096, 0), 1, RANGE(8192, 0), 1}, 4, GPADL_FAILED},
		{16, 1, {RANGE(4096, 0), 1}, 2, GPADL_COMPLETE},
		{20, 1, {RANGE(4096, 0), 1}, 2, GPADL_COMPLETE}, /* part of a word is none */
		{16, 1, {RANGE(4096, 0), 1, 2, 3, 4}, 5, GPADL_COMPLETE}, /* surplus is cut off */
		{24, 1, {RANGE(4096, 0), 1, 2}, 3, GPADL_COMPLETE}, /* spare word in the list */
		{32, 2, {RANGE(4096, 0), 1, RANGE(5, 0xffb), 1}, 4, GPADL_COMPLETE},
		{24, 1, {RANGE(4096, 0), 1}, 2, GPADL_MORE},
	};
	struct vmbus_gpadls t = {0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		assert_int_equal(
			header(&t, 1, i, c[i].bytes, c[i].ranges, c[i].data, c[i].words, 0),
			c[i].want);
		assert_true((c[i].want == GPADL_FAILED) == !vmbus_gpadl_find(&t, i, 1));
	}
	vmbus_gpadl_free_all(&t);
	assert_int_equal(t.count, 0);
	assert_int_equal(t.words, 0);
}

static void short_messages(void **state)
{
	struct vmbus_gpadls t = {0};
	struct vmbus_gpadl *g;
	u8 msg[300] = {0};
	u32 id, channel;

	(void)state;
	for (unsigned len = 0; len < 20; len++) {
		u8 *p = malloc(len + 1);

		assert_int_equal(vmbus_gpadl_header(&t, p, len, &g, &id, &channel), GPADL_IGNORED);
		if (len < 16)
			assert_int_equal(vmbus_gpadl_body(&t, p, len, &g, &id, &channel),
					 GPADL_IGNORED);
		free(p);
	}
	assert_int_equal(vmbus_gpadl_header(&t, msg, 241, &g, &id, &channel), GPADL_IGNORED);
	assert_int_equal(vmbus_gpadl_body(&t, msg, 300, &g, &id, &channel), GPADL_IGNORED);
}

static void orders(void **state)
{
	u64 data[3] = {RANGE(8192, 0), 7, 8};
	struct vmbus_gpadl_view view;
	struct vmbus_gpadls t = {0};

	(void)state;
	assert_int_equal(body(&t, 1, data, 2), GPADL_IGNORED);
	assert_int_equal(header(&t, 1, 5, 24, 1, data, 1, 0), GPADL_MORE);
	/* twice, and on another channel while the first is in progress */
	assert_int_equal(header(&t, 1, 5, 24, 1, data, 1, 0), GPADL_FAILED);
	assert_int_equal(header(&t, 2, 5, 24, 1, data, 3, 0), GPADL_FAILED);
	assert_false(vmbus_gpadl_range(vmbus_gpadl_find(&t, 5, 1), 0, &view));
	assert_int_equal(body(&t, 5, data, 0), GPADL_MORE);
	assert_int_equal(body(&t, 5, data + 1, 1), GPADL_MORE);
	assert_int_equal(body(&t, 5, data + 2, 1), GPADL_COMPLETE);
	assert_int_equal(body(&t, 5, data, 2), GPADL_IGNORED);
	/* an id belongs to its channel */
	assert_int_equal(header(&t, 2, 5, 24, 1, data, 3, 0), GPADL_COMPLETE);
	assert_int_equal(header(&t, 2, 5, 24, 1, data, 3, 0), GPADL_FAILED);
	assert_int_equal(t.count, 2);
	assert_true(vmbus_gpadl_is_ring(vmbus_gpadl_find(&t, 5, 1), &view));
	assert_int_equal(view.pages, 2);
	assert_int_equal(view.pfn[1], 8);
	assert_false(vmbus_gpadl_range(vmbus_gpadl_find(&t, 5, 1), 1, &view));
	assert_null(vmbus_gpadl_find(&t, 5, 3));
	vmbus_gpadl_free_all(&t);
}

static void rings(void **state)
{
	u64 part[2] = {RANGE(4095, 0), 7}, off[3] = {RANGE(4096, 8), 7, 8};
	u64 two[4] = {RANGE(4096, 0), 7, RANGE(4096, 0), 8};
	struct vmbus_gpadl_view view;
	struct vmbus_gpadls t = {0};

	(void)state;
	assert_int_equal(header(&t, 1, 1, 16, 1, part, 2, 0), GPADL_COMPLETE);
	assert_int_equal(header(&t, 1, 2, 24, 1, off, 3, 0), GPADL_COMPLETE);
	assert_int_equal(header(&t, 1, 3, 32, 2, two, 4, 0), GPADL_COMPLETE);
	for (u32 i = 1; i <= 3; i++)
		assert_false(vmbus_gpadl_is_ring(vmbus_gpadl_find(&t, i, 1), &view));
	assert_true(vmbus_gpadl_range(vmbus_gpadl_find(&t, 3, 1), 1, &view));
	assert_int_equal(view.pfn[0], 8);
	vmbus_gpadl_free_all(&t);
}

static void limits(void **state)
{
	struct vmbus_gpadls t = {.max_count = 3, .max_words = 100};
	u64 data[2] = {RANGE(4096, 0), 7};

	(void)state;
	assert_int_equal(header(&t, 1, 1, 90 * 8, 1, data, 2, 0), GPADL_MORE);
	assert_int_equal(header(&t, 1, 2, 11 * 8, 1, data, 2, 0), GPADL_FAILED);
	assert_int_equal(header(&t, 1, 3, 16, 1, data, 2, 0), GPADL_COMPLETE);
	assert_int_equal(header(&t, 1, 4, 16, 1, data, 2, 0), GPADL_COMPLETE);
	assert_int_equal(header(&t, 1, 5, 16, 1, data, 2, 0), GPADL_FAILED);
	vmbus_gpadl_free(&t, vmbus_gpadl_find(&t, 1, 1));
	assert_int_equal(t.words, 4);
	assert_int_equal(header(&t, 1, 5, 16, 1, data, 2, 0), GPADL_COMPLETE);
	vmbus_gpadl_free_all(&t);
}

/* The largest list of one range: 8190 pages in 26 + 28 * n. */
static void largest(void **state)
{
	u64 first[27] = {RANGE(8190u * 4096u, 0)}, data[28];
	enum vmbus_gpadl_result ret;
	struct vmbus_gpadls t = {0};
	struct vmbus_gpadl_view view;
	u32 pfn = 0, bodies = 0;

	(void)state;
	for (unsigned i = 1; i < 27; i++)
		first[i] = pfn++;
	assert_int_equal(header(&t, 9, 0xe1e10, 8191 * 8, 1, first, 27, 0), GPADL_MORE);
	do {
		for (unsigned i = 0; i < 28; i++)
			data[i] = pfn++;
		ret = body(&t, 0xe1e10, data, 28);
		bodies++;
	} while (ret == GPADL_MORE);
	assert_int_equal(ret, GPADL_COMPLETE);
	assert_int_equal(bodies, (8190 - 26 + 27) / 28);
	assert_true(vmbus_gpadl_is_ring(vmbus_gpadl_find(&t, 0xe1e10, 9), &view));
	assert_int_equal(view.pages, 8190);
	for (u32 i = 0; i < 8190; i++)
		assert_int_equal(view.pfn[i], i);
	vmbus_gpadl_free_all(&t);
}

static void saved(void **state)
{
	u64 data[3] = {RANGE(8192, 0), 7, 8}, bad[2] = {RANGE(8192, 0), 7};
	struct vmbus_gpadls t = {0};
	struct vmbus_gpadl *g;

	(void)state;
	assert_null(vmbus_gpadl_add(&t, 1, 1, 1, bad, 2, 2));
	assert_null(vmbus_gpadl_add(&t, 1, 1, 1, data, 2, 3));
	assert_null(vmbus_gpadl_add(&t, 1, 1, 0, data, 3, 3));
	g = vmbus_gpadl_add(&t, 1, 1, 1, data, 3, 3);
	assert_non_null(g);
	assert_int_equal(g->state, GPADL_OFFERED);
	assert_null(vmbus_gpadl_add(&t, 1, 1, 1, data, 3, 3));
	g = vmbus_gpadl_add(&t, 2, 1, 1, data, 3, 2);
	assert_int_equal(g->state, GPADL_IN_PROGRESS);
	assert_int_equal(body(&t, 2, data + 2, 1), GPADL_COMPLETE);
	vmbus_gpadl_free_all(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed), cmocka_unit_test(short_messages),
		cmocka_unit_test(orders),    cmocka_unit_test(rings),
		cmocka_unit_test(limits),    cmocka_unit_test(largest),
		cmocka_unit_test(saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
