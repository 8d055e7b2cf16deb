/* The state that one paravisor process leaves to the next: malformed first, then there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "paravisor/boot.h"
#include "paravisor/console.h"
#include "paravisor/servicing/state.h"
#include "paravisor/stats.h"
#include "tests/unit/hex.h"

static bool found(const char *text)
{
	struct pb_bytes state = hex(text), unit;

	return servicing_find(state, "a", &unit);
}

static void malformed_state(void **state)
{
	(void)state;
	assert_false(found(""));
	assert_false(found("12 03 0a 01"));			   /* cut */
	assert_false(found("12 03 0a 01 62"));			   /* another name */
	assert_false(found("10 01"));				   /* a number for a unit */
	assert_false(found("12 02 08 01"));			   /* a number for a name */
	assert_false(found("12 05 0a 01 61 10 01"));		   /* a number for a state */
	assert_false(found("12 07 0a 01 61 12 02 10 01"));	   /* a number for a value */
	assert_false(found("12 03 0a 01 61 12 03 0a 01 61"));	   /* twice */
	assert_false(found("12 03 0a 01 61 12 05"));		   /* damage behind it */
	assert_true(found("12 03 0a 01 61"));			   /* empty */
	assert_true(found("12 03 0a 01 62 78 05 12 03 0a 01 61")); /* behind another, and new */
}

static void units(void **state)
{
	struct pb_writer w;
	struct servicing_unit unit;
	struct pb_bytes found_unit;
	/* openvmm's ServicingState, by hand: no firmware, stop time 5, two units */
	struct pb_bytes expected = hex(
		"0a 06 0a 02 1a 00 10 05"
		"12 2a 0a 03 6f 6e 65 12 23 0a 1f 747970652e676f6f676c65617069732e636f6d2f"
		"706172617065742e6f6e65 12 00"
		"12 2c 0a 03 74 77 6f 12 25 0a 1f 747970652e676f6f676c65617069732e636f6d2f"
		"706172617065742e74776f 12 02 68 69");

	(void)state;
	pb_writer_init(&w, 4096);
	servicing_begin(&w, 5);
	unit = servicing_begin_unit(&w, "one");
	servicing_end_unit(&w, unit);
	unit = servicing_begin_unit(&w, "two");
	pb_raw(&w, "hi", 2);
	servicing_end_unit(&w, unit);
	assert_false(w.failed);
	assert_int_equal(w.used, expected.size);
	assert_memory_equal(w.data, expected.data, w.used);
	assert_true(servicing_find((struct pb_bytes){w.data, w.used}, "one", &found_unit));
	assert_int_equal(found_unit.size, 0);
	assert_true(servicing_find((struct pb_bytes){w.data, w.used}, "two", &found_unit));
	assert_true(pb_equal(found_unit, "hi"));
	assert_false(servicing_find((struct pb_bytes){w.data, w.used}, "tw", &found_unit));
	pb_writer_free(&w);
}

static void handover(void **state)
{
	const struct servicing_handover given = {
		.listener = 0,
		.client = -1,
		.request_id = UINT32_MAX,
		.request_op = 3,
	};
	struct servicing_handover taken;
	struct pb_writer w;
	size_t mark;

	(void)state;
	assert_false(servicing_get_handover(hex("10 80 80 80 80 08"), &taken)); /* 2^31 */
	assert_false(servicing_get_handover(hex("18 80 80 80 80 08"), &taken));
	assert_false(servicing_get_handover(hex("20 80 80 80 80 10"), &taken)); /* 2^32 */
	assert_false(servicing_get_handover(hex("28 80 80 04"), &taken));	/* 2^16 */
	assert_false(servicing_get_handover(hex("12 00"), &taken));
	assert_false(servicing_get_handover(hex("0a 01"), &taken));

	pb_writer_init(&w, 4096);
	mark = servicing_begin_handover(&w, &given);
	pb_raw(&w, "state", 5);
	servicing_end_handover(&w, mark);
	assert_true(servicing_get_handover((struct pb_bytes){w.data, w.used}, &taken));
	assert_int_equal(taken.listener, 0);
	assert_int_equal(taken.client, -1);
	assert_int_equal(taken.request_id, UINT32_MAX);
	assert_int_equal(taken.request_op, 3);
	assert_true(pb_equal(taken.state, "state"));
	pb_writer_free(&w);
}

static void console_queues(void **state)
{
	struct console a, b;
	struct pb_writer w;
	u8 out[CONSOLE_OUT_SIZE];
	const u8 *in;
	size_t n;

	(void)state;
	console_init(&a);
	console_init(&b);
	assert_int_equal(console_take_credit(&a), CONSOLE_IN_SIZE);
	/* both queues wrapped around */
	for (unsigned i = 0; i < CONSOLE_OUT_SIZE - 100; i++)
		console_write(&a, (const u8 *)"x", 1, 7);
	assert_int_equal(console_take(&a, out, sizeof(out)), CONSOLE_OUT_SIZE - 100);
	memset(out, 'y', 200);
	console_write(&a, out, 200, 7);
	console_input(&a, out, 150);
	console_consume(&a, 50);

	assert_false(console_restore(&b, hex("08 80 20"))); /* head of 4096 */
	assert_false(console_restore(&b, hex("10 81 20"))); /* 4097 bytes */
	assert_false(console_restore(&b, hex("18 80 08"))); /* head of 1024 */
	assert_false(console_restore(&b, hex("20 81 08")));
	assert_false(console_restore(&b, hex("42 02 80 02"))); /* 256 as a byte */
	assert_int_equal(b.deadline, CONSOLE_NEVER);

	pb_writer_init(&w, 64 * 1024);
	console_save(&a, &w);
	assert_true(console_restore(&b, (struct pb_bytes){w.data, w.used}));
	assert_int_equal(b.deadline, 7 + CONSOLE_DELAY_NS);
	assert_int_equal(console_take(&b, out, sizeof(out)), 200);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(out[i], 'y');
	in = console_peek(&b, &n);
	assert_int_equal(n, 100);
	assert_int_equal(in[99], 'y');
	assert_int_equal(b.credit_owed, a.credit_owed);
	pb_writer_free(&w);
}

static void boot_and_counters(void **state)
{
	struct vp_stats a = {.runs = 3, .exits[EXIT_CPUID] = 9}, b = {.cancelled = 1};
	struct pb_writer w, again;

	(void)state;
	stats_count_hypercall(&a, 0x5c);
	stats_count_hypercall(&a, 0x5d);
	pb_writer_init(&w, 4096);
	saved_write(&w, &stats_layout, &a);
	assert_true(saved_read((struct pb_bytes){w.data, w.used}, &stats_layout, &b));
	assert_int_equal(b.runs, 3);
	assert_int_equal(b.cancelled, 0);
	assert_int_equal(b.exits[EXIT_CPUID], 9);
	assert_int_equal(b.hypercall[1].code, 0x5d);
	assert_int_equal(b.hypercall[1].count, 1);
	pb_writer_free(&w);

	pb_writer_init(&w, 4096);
	pb_writer_init(&again, 4096);
	boot_reached_at(BOOT_CONFIG, 123456);
	boot_save(&w);
	assert_true(boot_restore((struct pb_bytes){NULL, 0}));
	boot_reached_at(BOOT_CONFIG, 9);
	assert_true(boot_restore((struct pb_bytes){w.data, w.used}));
	boot_reached_at(BOOT_CONFIG, 10);
	boot_save(&again);
	assert_int_equal(again.used, w.used);
	assert_memory_equal(again.data, w.data, w.used);
	assert_false(boot_restore(hex("0a 0b 00 00 00 00 00 00 00 00 00 00 00")));
	pb_writer_free(&w);
	pb_writer_free(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_state),   cmocka_unit_test(units),
		cmocka_unit_test(handover),	     cmocka_unit_test(console_queues),
		cmocka_unit_test(boot_and_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
