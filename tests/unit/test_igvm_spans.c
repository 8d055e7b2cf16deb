/* Ranges of guest pages: orders that are hard to sort, joining, overlaps. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "igvm/internal.h"

#define COUNT 20000u

/* The i-th of `count` numbers in some order */
typedef u64 (*order_fn)(u64 i, u64 count);

static u64 ascending(u64 i, u64 count)
{
	(void)count;
	return i;
}
static u64 descending(u64 i, u64 count)
{
	return count - i;
}
static u64 organ_pipe(u64 i, u64 count)
{
	return i < count / 2 ? 2 * i : 2 * (count - i) + 1;
}
static u64 saw(u64 i, u64 count)
{
	return i % 100 * count + i / 100;
}
static u64 scattered(u64 i, u64 count)
{
	(void)count;
	return i * 0x9e3779b1ull % BIT(32);
}
static u64 equal(u64 i, u64 count)
{
	(void)i;
	(void)count;
	return 7;
}
/* Known to make quicksort with a median of three slow */
static u64 killer(u64 i, u64 count)
{
	u64 half = count / 2;

	if (i >= half)
		return 2 * (i - half + 1);
	return i % 2 ? half + i + (half % 2) : i + 1;
}

static void sorts_every_order(void **state)
{
	static const order_fn orders[] = {ascending, descending, organ_pipe, saw,
					  scattered, equal,	 killer};

	(void)state;
	for (size_t o = 0; o < ARRAY_SIZE(orders); o++) {
		for (u32 count = 1; count <= COUNT; count = count * 3 + 5) {
			struct igvm_spans s = {0};
			u64 sum = 0, sorted = 0;

			for (u32 i = 0; i < count; i++) {
				u64 start = orders[o](i, count) * 8192;

				assert_int_equal(igvm_spans_add(&s, start, 4096, 1, i), 0);
				sum += start * 31 + i;
			}
			assert_int_equal(s.count, count);
			igvm_spans_sort(&s);
			for (u32 i = 0; i < count; i++) {
				sorted += s.v[i].start * 31 + s.v[i].header;
				if (i && (s.v[i - 1].start > s.v[i].start ||
					  (s.v[i - 1].start == s.v[i].start &&
					   s.v[i - 1].header >= s.v[i].header)))
					fail_msg("order %zu, %u: not sorted at %u", o, count, i);
			}
			assert_true(sum == sorted);
			igvm_spans_free(&s);
		}
	}
}

static void joins_neighbours(void **state)
{
	struct igvm_spans s = {0};
	u32 other;

	(void)state;
	/* Three platforms take turns: a range for each */
	for (u32 i = 0; i < 300; i++)
		assert_int_equal(igvm_spans_add(&s, i / 3 * 4096, 4096, 1u << (i % 3), i), 0);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.v[2].end, 100 * 4096);
	/* A gap, another platform, a step back: new ranges */
	assert_int_equal(igvm_spans_add(&s, 102 * 4096, 4096, 1, 300), 0);
	assert_int_equal(igvm_spans_add(&s, 103 * 4096, 4096, 3, 301), 0);
	assert_int_equal(igvm_spans_add(&s, 101 * 4096, 4096, 1, 302), 0);
	assert_int_equal(s.count, 6);
	igvm_spans_sort(&s);
	assert_null(igvm_spans_overlap(&s, &other));
	assert_int_equal(igvm_spans_add(&s, 99 * 4096, 4096, 2, 303), 0);
	igvm_spans_sort(&s);
	assert_int_equal(igvm_spans_overlap(&s, &other)->header, 303);
	assert_int_equal(other, 1);
	igvm_spans_free(&s);
}

static void has_a_limit(void **state)
{
	struct igvm_spans s = {0};
	int ret = 0;

	(void)state;
	for (u64 i = 0; i <= IGVM_MAX_SPANS && !ret; i++)
		ret = igvm_spans_add(&s, i * 8192, 4096, 1, (u32)i);
	assert_int_equal(ret, -E2BIG);
	assert_true(s.count >= IGVM_MAX_SPANS &&
		    s.count < IGVM_MAX_SPANS + IGVM_MAX_SPANS / 4 + 64);
	igvm_spans_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorts_every_order),
		cmocka_unit_test(joins_neighbours),
		cmocka_unit_test(has_a_limit),
	};

	return cmocka_run_group_tests_name("igvm spans", tests, NULL, NULL);
}
