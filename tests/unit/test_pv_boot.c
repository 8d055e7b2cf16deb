/* Boot timeline: the kernel's record of the first program, points that count once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "paravisor/boot.h"

static void hostile_records(void **state)
{
	static const char *const bad[] = {
		"",
		";",
		";Run /init as init process",
		",;Run /init as init process",
		"6;Run /init as init process",
		"6,;Run /init as init process",
		"6,5;Run ,9 as init process",
		"6,5,;Run /init as init process",
		"6,5,x,-;Run /init as init process",
		"6,5,7",
		"6,5,7,-;Run /init",
		"6,5,7,-;init: Run /init as init process",
		/* a program's, not the kernel's */
		"30,5,7,-;Run /init as init process",
		"4294967302,5,7,-;Run /init as init process",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		u64 us = 1;

		assert_false(boot_init_record(bad[i], &us));
	}
}

static void record(void **state)
{
	u64 us = 0;

	(void)state;
	assert_true(boot_init_record("6,212,183456,-;Run /init as init process\n", &us));
	assert_int_equal(us, 183456);
	assert_true(boot_init_record("6,212,9,-,caller=T1;Run /sbin/init as init process", &us));
	assert_int_equal(us, 9);
}

static u64 value(const char *path, enum inspect_level level)
{
	const struct inspect_query query = {.path = path, .level = level, .depth = 1};
	struct inspect_tree tree;
	struct inspect root, dir;
	u64 number = 0;

	inspect_begin(&tree, &query, MiB, &root);
	if (inspect_enter(&root, "boot", &dir))
		boot_inspect(&dir);
	inspect_finish(&tree);
	if (tree.result->kind == INSPECT_VALUE)
		number = tree.result->number;
	inspect_free(&tree);
	return number;
}

static void points(void **state)
{
	u64 first;

	(void)state;
	assert_int_equal(value("boot/devices_us", INSPECT_SENSITIVE), 0);
	boot_reached(BOOT_DEVICES);
	first = value("boot/devices_us", INSPECT_SENSITIVE);
	assert_true(first > 0);
	boot_reached_at(BOOT_DEVICES, first + 5);
	boot_reached(BOOT_DEVICES);
	assert_int_equal(value("boot/devices_us", INSPECT_SENSITIVE), first);
	boot_reached_at(BOOT_INIT, 42);
	assert_int_equal(value("boot/init_us", INSPECT_SENSITIVE), 42);
	assert_true(value("boot/uptime_us", INSPECT_SENSITIVE) >= first);
	assert_int_equal(value("boot/devices_us", INSPECT_SAFE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_records),
		cmocka_unit_test(record),
		cmocka_unit_test(points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
