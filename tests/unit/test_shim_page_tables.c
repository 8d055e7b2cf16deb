/* The shim's page tables: refusals first, then what a processor finds in them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "loader/page_tables.h"

#define TABLES	32
#define ADDRESS 0x7ffff000ull /* where the processor sees the pool; not where it is */

#define PRESENT BIT(0)
#define WRITE	BIT(1)
#define USER	BIT(2)
#define A_AND_D (BIT(5) | BIT(6))
#define LARGE	BIT(7)
#define NX	BIT(63)

#define MiB2 (2 * MiB)
#define TiB  BIT(40)

static u64 pool[TABLES + 1][PAGE_TABLE_ENTRIES];
static struct shim_tables pt;
static struct shim_error err;

static int setup(void **state)
{
	(void)state;
	memset(pool, 0xa5, sizeof(pool));
	memset(&err, 0, sizeof(err));
	shim_tables_init(&pt, pool, ADDRESS, TABLES);
	return 0;
}

static int map(u64 start, u64 end, u32 access)
{
	return shim_tables_map(&pt, (struct addr_range){start, end}, access, &err);
}

static void refused(u64 start, u64 end, const char *reason)
{
	assert_int_equal(map(start, end, PAGE_WRITE), -1);
	if (!strstr(err.text, reason))
		fail_msg("\"%s\" is not in \"%s\"", reason, err.text);
}

/* The leaf for an address, as a processor finds it; 0: none */
static u64 leaf(u64 at, u32 *shift)
{
	u64 physical = ADDRESS, entry;

	for (*shift = 39;; *shift -= 9) {
		u64 index = (physical - ADDRESS) / PAGE_SIZE;

		assert_true(physical >= ADDRESS && index < pt.used);
		entry = pool[index][at >> *shift & 511];
		if (!(entry & PRESENT) || *shift == 12 || entry & LARGE)
			return entry;
		/* Nothing that would take access away, nothing for user mode, no reserved bit */
		assert_int_equal(entry & ~0xffffffff000ull, 0x23);
		physical = entry & 0xffffffff000ull;
	}
}

/* -1: not mapped, else PAGE_* */
static int access_of(u64 at)
{
	u32 shift;
	u64 entry = leaf(at, &shift);

	if (!entry)
		return -1;
	assert_int_equal(entry & 0x7ffffffff000 & ~((1ull << shift) - 1), at >> shift << shift);
	assert_int_equal(!!(entry & LARGE), shift == 21);
	assert_int_equal(entry & (USER | BIT(3) | BIT(4) | BIT(8)), 0);
	/* The processor never has to write to an entry. */
	assert_int_equal(entry & A_AND_D, entry & WRITE ? A_AND_D : BIT(5));
	return (int)((entry & WRITE ? PAGE_WRITE : 0) | (entry & NX ? 0 : PAGE_EXEC));
}

static void bad_ranges(void **state)
{
	(void)state;
	refused(0x1001, 0x3000, "cannot be mapped");
	refused(0x1000, 0x2fff, "cannot be mapped");
	refused(0x3000, 0x1000, "cannot be mapped");
	refused(0, PAGE_SIZE, "cannot be mapped");
	refused(0, 4 * GiB, "cannot be mapped");
	refused(BIT(47) - PAGE_SIZE, BIT(47) + PAGE_SIZE, "cannot be mapped");
	refused(BIT(47), BIT(47) + PAGE_SIZE, "cannot be mapped");
	refused(BIT(51), BIT(51) + PAGE_SIZE, "cannot be mapped");
	refused(~0xfffull, 0, "cannot be mapped");
	refused(0x1000, ~0xfffull, "cannot be mapped");
	assert_int_equal(pt.used, 1);
}

/* Whichever is the large one, and whichever comes first */
static void mapped_twice(void **state)
{
	(void)state;
	assert_int_equal(map(MiB2, 2 * MiB2, PAGE_EXEC), 0);
	assert_int_equal(map(0x5000, 0x6000, 0), 0);
	refused(MiB2, 2 * MiB2, "200000 is mapped twice");
	refused(MiB2 + 0x1000, MiB2 + 0x2000, "201000 is mapped twice");
	refused(0x5000, 0x6000, "5000 is mapped twice");
	refused(MiB2 - PAGE_SIZE, 2 * MiB2, "200000 is mapped twice");
	assert_int_equal(map(GiB + 0x1ff000, GiB + 0x200000, 0), 0);
	refused(GiB, GiB + MiB2, "40000000 is mapped twice");
	/* The first mapping is what counts. */
	assert_int_equal(access_of(MiB2), PAGE_EXEC);
	assert_int_equal(access_of(0x5000), 0);
}

static void no_table_left(void **state)
{
	u64 at = TiB;

	(void)state;
	/* Each GiB takes a table of 2 MiB leaves, each 512 of them one more. */
	refused(TiB, 2 * TiB, "in 32 tables");
	assert_int_equal(pt.used, TABLES);
	while (at < 2 * TiB && access_of(at) == PAGE_WRITE)
		at += GiB;
	assert_int_equal(at - TiB, (TABLES - 2) * GiB);
	/* What needs no new table still goes. */
	assert_int_equal(access_of(2 * TiB), -1);
	refused(TiB + 40 * GiB, TiB + 40 * GiB + PAGE_SIZE, "in 32 tables");
	/* Nothing behind the pool is touched. */
	for (u32 i = 0; i < PAGE_TABLE_ENTRIES; i++)
		assert_int_equal(pool[TABLES][i], 0xa5a5a5a5a5a5a5a5);
}

static void one_table(void **state)
{
	(void)state;
	shim_tables_init(&pt, pool, ADDRESS, 1);
	refused(0x1000, 0x2000, "no room for 1000 in 1 tables");
	assert_int_equal(access_of(0x1000), -1);
}

static void empty_ranges(void **state)
{
	(void)state;
	assert_int_equal(map(0, 0, PAGE_WRITE), 0);
	assert_int_equal(map(0x1234, 0x1234, PAGE_WRITE), 0);
	assert_int_equal(pt.used, 1);
	assert_int_equal(access_of(0), -1);
}

/* Every combination of access; pages around stay unmapped. */
static void access(void **state)
{
	u64 at = 0x7ff000; /* the last page of its table */

	(void)state;
	for (u32 a = 0; a < 4; a++) {
		assert_int_equal(map(at, at + PAGE_SIZE, a), 0);
		assert_int_equal(access_of(at), (int)a);
		assert_int_equal(access_of(at - PAGE_SIZE), -1);
		assert_int_equal(access_of(at + PAGE_SIZE), -1);
		at += 2 * MiB2;
	}
}

static void leaf_sizes(void **state)
{
	u64 start = 3 * GiB - PAGE_SIZE, end = 3 * GiB + 2 * MiB2 + PAGE_SIZE;
	u32 shift;

	(void)state;
	assert_int_equal(map(start, end, PAGE_EXEC), 0);
	for (u64 at = start - PAGE_SIZE; at <= end; at += PAGE_SIZE) {
		bool inside = at >= start && at < end;

		assert_int_equal(access_of(at), inside ? (int)PAGE_EXEC : -1);
		if (inside) {
			leaf(at, &shift);
			assert_int_equal(shift, at >= 3 * GiB && at < end - PAGE_SIZE ? 21 : 12);
		}
	}
	/* Root, one of the second level, two of the third, two of pages */
	assert_int_equal(pt.used, 6);
}

/* Pieces far apart, at each end of what can be addressed and across every table's border */
static void far_apart(void **state)
{
	const u64 at[] = {PAGE_SIZE,
			  GiB,
			  512 * GiB - PAGE_SIZE,
			  TiB + 5 * PAGE_SIZE,
			  64 * TiB - PAGE_SIZE,
			  BIT(47) - 2 * PAGE_SIZE};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(at); i++)
		assert_int_equal(map(at[i], at[i] + 2 * PAGE_SIZE, i % 4), 0);
	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		assert_int_equal(access_of(at[i]), i % 4);
		assert_int_equal(access_of(at[i] + PAGE_SIZE), i % 4);
		assert_int_equal(access_of((at[i] + 2 * PAGE_SIZE) % BIT(47)), -1);
	}
	assert_true(pt.used <= TABLES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bad_ranges, setup),
		cmocka_unit_test_setup(mapped_twice, setup),
		cmocka_unit_test_setup(no_table_left, setup),
		cmocka_unit_test_setup(one_table, setup),
		cmocka_unit_test_setup(empty_ranges, setup),
		cmocka_unit_test_setup(access, setup),
		cmocka_unit_test_setup(leaf_sizes, setup),
		cmocka_unit_test_setup(far_apart, setup),
	};

	return cmocka_run_group_tests_name("shim_page_tables", tests, NULL, NULL);
}
