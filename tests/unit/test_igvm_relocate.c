/* Moving the page tables of an image: hostile tables first, then moves near and far. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/igvm.h"

#define BASE	     0x8000000ull
#define MAPPED	     (48 * MiB)
#define TABLES	     0x8d00000ull
#define TABLES_SIZE  0x7000ull
#define TABLE_FLAGS  0x23ull
#define LEAF_FLAGS   0xe3ull
#define ADDRESS_MASK 0x000ffffffffff000ull

static const struct igvm_relocatable_region region = {.mask = 1,
						      .alignment = 2 * MiB,
						      .gpa = BASE,
						      .size = TABLES - BASE,
						      .minimum_gpa = BASE,
						      .maximum_gpa = 1ull << 48};
static const struct igvm_page_table_relocation page_table = {
	.mask = 1, .gpa = TABLES, .size = TABLES_SIZE, .used_size = 0x3000};

struct fixture {
	u8 *tables;
	u64 cr3;
	struct igvm_page_table_relocation pt;
	struct igvm_error err;
};

static void set(struct fixture *f, u32 table, u32 index, u64 entry)
{
	put_le64(f->tables + table * 4096 + index * 8, entry);
}

/* Root, one directory pointer table, one directory: as the image builder makes them */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->tables = calloc(1, TABLES_SIZE);
	f->cr3 = TABLES;
	f->pt = page_table;
	set(f, 0, 0, (TABLES + 0x1000) | TABLE_FLAGS);
	set(f, 1, 0, (TABLES + 0x2000) | TABLE_FLAGS);
	for (u64 gpa = BASE; gpa < BASE + MAPPED; gpa += 2 * MiB)
		set(f, 2, (u32)(gpa / (2 * MiB)), gpa | LEAF_FLAGS);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->tables);
	free(f);
	return 0;
}

static int move(struct fixture *f, u64 offset)
{
	return igvm_relocate_page_tables(f->tables, &f->pt, &region, offset, &f->cr3, &f->err);
}

/* Translates as the processor would, with the tables at TABLES + offset. ~0: not mapped */
static u64 translate(const struct fixture *f, u64 offset, u64 va)
{
	u64 table = f->cr3 - TABLES - offset;

	for (u32 shift = 39; shift >= 12; shift -= 9) {
		u64 entry = get_le64(f->tables + table + (va >> shift & 511) * 8);

		if (!(entry & 1))
			return ~0ull;
		if (shift == 12 || (shift < 39 && (entry & 0x80)))
			return (entry & ADDRESS_MASK & ~(BIT(shift) - 1)) | (va & (BIT(shift) - 1));
		table = (entry & ADDRESS_MASK) - TABLES - offset;
		if (table >= TABLES_SIZE)
			return ~0ull;
	}
	return ~0ull;
}

static void check_moved(struct fixture *f, u64 offset)
{
	/* What the region needs is mapped one to one; the table region's own page too. */
	for (u64 gpa = BASE; gpa < TABLES + TABLES_SIZE; gpa += 0x10000)
		assert_int_equal(translate(f, offset, gpa + offset), gpa + offset);
	assert_int_equal(f->cr3, TABLES + offset);
}

static void cr3_outside(void **state)
{
	struct fixture *f = *state;

	f->cr3 = TABLES + TABLES_SIZE;
	assert_int_equal(move(f, 2 * MiB), -EINVAL);
	f->cr3 = TABLES - 0x1000;
	assert_int_equal(move(f, 2 * MiB), -EINVAL);
}

static void tables_that_loop(void **state)
{
	struct fixture *f = *state;

	set(f, 2, 0, TABLES | TABLE_FLAGS);
	assert_int_equal(move(f, 2 * MiB), -EINVAL);
	assert_non_null(strstr(f->err.text, "twice"));
}

/* Without a limit, three levels that all point to one table would be 512^3 visits. */
static void tables_shared(void **state)
{
	struct fixture *f = *state;

	for (u32 i = 0; i < 512; i++)
		set(f, 0, i, (TABLES + 0x1000) | TABLE_FLAGS);
	assert_int_equal(move(f, 2 * MiB), -EINVAL);
}

static void table_in_free_part(void **state)
{
	struct fixture *f = *state;

	set(f, 1, 5, (TABLES + 0x3000) | TABLE_FLAGS);
	assert_int_equal(move(f, 2 * MiB), -EINVAL);
	assert_non_null(strstr(f->err.text, "behind"));
}

static void no_free_page(void **state)
{
	struct fixture *f = *state;

	f->pt.used_size = TABLES_SIZE;
	assert_int_equal(move(f, 4 * GiB), -EINVAL);
	assert_non_null(strstr(f->err.text, "free page"));
}

static void leaf_too_large_to_move(void **state)
{
	struct fixture *f = *state;

	/* The whole first GiB as one leaf */
	set(f, 1, 0, 0 | LEAF_FLAGS);
	assert_int_equal(move(f, GiB + 2 * MiB), -EINVAL);
	assert_non_null(strstr(f->err.text, "cannot move"));
}

static void place_is_taken(void **state)
{
	struct fixture *f = *state;

	/* A foreign mapping exactly where the first leaf goes */
	set(f, 2, 256, 0x12400000 | LEAF_FLAGS);
	assert_int_equal(move(f, 512 * MiB - BASE), -EINVAL);
	assert_non_null(strstr(f->err.text, "mapped already"));
}

static void offset_not_possible(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(move(f, 0x123), -EINVAL);
	assert_int_equal(move(f, BIT(52)), -EINVAL);
	assert_int_equal(move(f, -(TABLES + 0x1000)), -EINVAL);
}

static void random_tables(void **state)
{
	struct fixture *f = *state;
	u64 x = 88172645463325252ull;

	for (u32 round = 0; round < 2000; round++) {
		for (u32 i = 0; i < TABLES_SIZE / 8; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			/* Mostly pointers into the region and leaves that touch it */
			put_le64(f->tables + i * 8,
				 x % 64	       ? 0
				 : x & BIT(20) ? (TABLES + (x >> 32) % TABLES_SIZE) | 0x23
					       : (BASE + (x >> 32) % MAPPED) | (x & 0xfff) | 1);
		}
		f->cr3 = TABLES;
		f->pt.used_size = 0x3000 + (x >> 40) % 5 * 0x1000;
		move(f, (x >> 8) % 1024 * 2 * MiB - (x & 1 ? 64 * MiB : 0));
	}
}

static void moves_by_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(move(f, 0), 0);
	check_moved(f, 0);
}

/* Old and new place overlap: leaves of 2 MiB move into slots that others leave. */
static void moves_by_one_leaf(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(move(f, 2 * MiB), 0);
	check_moved(f, 2 * MiB);
	/* Nothing is left at the old place, unless a neighbour moved there. */
	assert_int_equal(translate(f, 2 * MiB, BASE), ~0ull);
}

static void moves_far(void **state)
{
	static const u64 offsets[] = {16 * MiB,
				      GiB - BASE - 16 * MiB, /* across a directory */
				      4 * GiB,
				      512 * GiB,
				      512 * GiB - BASE - 16 * MiB,
				      BIT(46)};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		void *fresh;
		struct fixture *f;

		setup(&fresh);
		f = fresh;
		assert_int_equal(move(f, offsets[i]), 0);
		check_moved(f, offsets[i]);
		assert_int_equal(translate(f, offsets[i], BASE), ~0ull);
		teardown(&fresh);
	}
}

static void moves_down(void **state)
{
	struct fixture *f = *state;
	u64 offset = -(u64)(64 * MiB);

	assert_int_equal(move(f, offset), 0);
	check_moved(f, offset);
}

/* A move by less than the leaf: one leaf still covers both places. */
static void large_leaf_stays(void **state)
{
	struct fixture *f = *state;

	set(f, 1, 0, 0 | LEAF_FLAGS);
	assert_int_equal(move(f, 64 * MiB), 0);
	check_moved(f, 64 * MiB);
}

static void keeps_flags_and_foreign_entries(void **state)
{
	struct fixture *f = *state;
	u64 outside = 0x100000000ull | TABLE_FLAGS, nx = BIT(63);

	set(f, 0, 3, outside);
	set(f, 2, 64, BASE | LEAF_FLAGS | nx);
	f->cr3 |= 0x18;
	assert_int_equal(move(f, 256 * MiB), 0);
	assert_int_equal(get_le64(f->tables + 3 * 8), outside);
	assert_int_equal(f->cr3, (TABLES + 256 * MiB) | 0x18);
	assert_int_equal(get_le64(f->tables + 0x2000 + 192 * 8),
			 (BASE + 256 * MiB) | LEAF_FLAGS | nx);
}

static void valid_bases(void **state)
{
	struct igvm_relocatable_region r = region;

	(void)state;
	assert_true(igvm_base_is_valid(&r, BASE));
	assert_true(igvm_base_is_valid(&r, BASE + 2 * MiB));
	assert_false(igvm_base_is_valid(&r, BASE + MiB));
	assert_false(igvm_base_is_valid(&r, BASE - 2 * MiB));
	assert_false(igvm_base_is_valid(&r, r.maximum_gpa));
	assert_false(igvm_base_is_valid(&r, ~(u64)(2 * MiB - 1)));
	assert_true(igvm_base_is_valid(&r, r.maximum_gpa - 16 * MiB));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(cr3_outside),
		TEST(tables_that_loop),
		TEST(tables_shared),
		TEST(table_in_free_part),
		TEST(no_free_page),
		TEST(leaf_too_large_to_move),
		TEST(place_is_taken),
		TEST(offset_not_possible),
		TEST(random_tables),
		TEST(moves_by_nothing),
		TEST(moves_by_one_leaf),
		TEST(moves_far),
		TEST(moves_down),
		TEST(large_leaf_stays),
		TEST(keeps_flags_and_foreign_entries),
		TEST(valid_bases),
	};

	return cmocka_run_group_tests_name("igvm_relocate", tests, NULL, NULL);
}
