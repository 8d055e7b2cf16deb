/* Console queues and VP counters: overflow, batching, credit, text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "paravisor/console.h"
#include "paravisor/regs.h"
#include "paravisor/stats.h"

#include <string.h>

static struct console c;

static int set_up(void **state)
{
	(void)state;
	console_init(&c);
	return 0;
}

static void overflow(void **state)
{
	static u8 big[CONSOLE_OUT_SIZE + 100];
	size_t n;

	(void)state;
	assert_true(console_write(&c, big, sizeof(big), 0));
	assert_int_equal(c.dropped, 100);
	assert_int_equal(console_take(&c, big, sizeof(big)), CONSOLE_OUT_SIZE);
	assert_int_equal(console_take(&c, big, sizeof(big)), 0);
	console_input(&c, big, CONSOLE_IN_SIZE + 1);
	assert_int_equal(c.dropped, 101);
	console_peek(&c, &n);
	assert_int_equal(n, CONSOLE_IN_SIZE);
	console_consume(&c, UINT32_MAX);
	console_peek(&c, &n);
	assert_int_equal(n, 0);
}

static void batching(void **state)
{
	u8 data[300];

	(void)state;
	assert_int_equal(c.deadline, CONSOLE_NEVER);
	assert_false(console_write(&c, (const u8 *)"ab", 2, 1000));
	assert_int_equal(c.deadline, 1000 + CONSOLE_DELAY_NS);
	/* later bytes do not push the deadline away */
	assert_false(console_write(&c, (const u8 *)"c", 1, 5000));
	assert_int_equal(c.deadline, 1000 + CONSOLE_DELAY_NS);
	assert_true(console_write(&c, (const u8 *)"\n", 1, 6000));
	assert_int_equal(console_take(&c, data, sizeof(data)), 4);
	assert_memory_equal(data, "abc\n", 4);
	assert_int_equal(c.deadline, CONSOLE_NEVER);
	memset(data, 'x', sizeof(data));
	for (u32 i = 0; i + 1 < CONSOLE_BATCH; i++)
		assert_false(console_write(&c, data, 1, 0));
	assert_true(console_write(&c, data, 1, 0));
}

static void wraps(void **state)
{
	u8 out[100], next = 0, expect = 0;

	(void)state;
	for (int round = 0; round < 500; round++) {
		for (int i = 0; i < 37; i++, next++)
			console_write(&c, &next, 1, 0);
		assert_int_equal(console_take(&c, out, sizeof(out)), 37);
		for (int i = 0; i < 37; i++)
			assert_int_equal(out[i], expect++);
	}
}

static void credit(void **state)
{
	static u8 data[CONSOLE_IN_SIZE];
	size_t n;

	(void)state;
	assert_int_equal(console_take_credit(&c), CONSOLE_IN_SIZE);
	assert_int_equal(console_take_credit(&c), 0);
	console_input(&c, data, CONSOLE_IN_SIZE);
	assert_int_equal(console_take_credit(&c), 0);
	console_peek(&c, &n);
	console_consume(&c, CONSOLE_IN_SIZE / 2 - 1);
	assert_int_equal(console_take_credit(&c), 0);
	console_consume(&c, 1);
	assert_int_equal(console_take_credit(&c), CONSOLE_IN_SIZE / 2);
	assert_int_equal(c.dropped, 0);
}

static void rax_merge(void **state)
{
	(void)state;
	assert_int_equal(regs_merge_in(0x1122334455667788, 0xffffffaa, 1), 0x11223344556677aa);
	assert_int_equal(regs_merge_in(0x1122334455667788, 0xffffaabb, 2), 0x112233445566aabb);
	assert_int_equal(regs_merge_in(0x1122334455667788, 0xffffaabb, 4), 0xffffaabb);
}

static void next_rip(void **state)
{
	struct hv_intercept_header h = {.rip = 0xffffffff};

	(void)state;
	assert_int_equal(regs_next_rip(&h, 2), 1);
	h.execution_state = HV_EXEC_EFER_LMA;
	assert_int_equal(regs_next_rip(&h, 2), 1); /* compatibility mode */
	h.cs.attributes = 0xa09b;
	assert_int_equal(regs_next_rip(&h, 2), 0x100000001);
}

static void events(void **state)
{
	(void)state;
	assert_int_equal(regs_exception_event(13, true, 0), 0xd0101);
	assert_int_equal(regs_exception_event(6, false, 0), 0x60001);
	assert_int_equal(regs_exception_event(14, true, 9), 0x9000e0101);
	assert_int_equal(regs_external_event(0x30), 0x300b);
}

static void counters(void **state)
{
	struct vp_stats stats = {.runs = 7, .exits = {[EXIT_PORT_IN] = 5}};
	char text[200], tiny[12];

	(void)state;
	for (u16 code = 1; code <= STATS_HYPERCALLS + 2; code++)
		stats_count_hypercall(&stats, code);
	stats_count_hypercall(&stats, 1);
	assert_int_equal(stats.hypercall[0].count, 2);
	assert_int_equal(stats.hypercall_other, 2);
	memset(stats.hypercall, 0, sizeof(stats.hypercall));
	stats_format(2, &stats, text, sizeof(text));
	assert_string_equal(text, "vp2.runs 7\nvp2.port_in 5\nvp2.hypercall_other 2\n");
	assert_int_equal(stats_format(2, &stats, tiny, sizeof(tiny)), sizeof(tiny) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(overflow, set_up),
		cmocka_unit_test_setup(batching, set_up),
		cmocka_unit_test_setup(wraps, set_up),
		cmocka_unit_test_setup(credit, set_up),
		cmocka_unit_test(rax_merge),
		cmocka_unit_test(next_rip),
		cmocka_unit_test(events),
		cmocka_unit_test(counters),
	};

	return cmocka_run_group_tests_name("pv_console", tests, NULL, NULL);
}
