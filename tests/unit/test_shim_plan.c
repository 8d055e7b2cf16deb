/* Memory plan: both allocation modes, MMIO split, reserved parts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "loader/memory_plan.h"
#include "tests/unit/shim_fixture.h"

static _Alignas(16) u8 tree[FIX_TREE_SIZE];
static struct host_dt dt;
static struct memory_plan plan;
static struct shim_image image;
static struct imported_list imported;
static struct shim_error err;

static int setup(void **state)
{
	struct shim_params p = fix_params();

	(void)state;
	imported.count = 0;
	return fix_image(&image, &p, &err);
}

static int build(const struct fix_tree *t, enum isolation isolation)
{
	fix_tree_write(tree, t);
	if (host_dt_read(&dt, tree, sizeof(tree), &err))
		fail_msg("%s", err.text);
	memset(&err, 0, sizeof(err));
	return memory_plan_build(&plan, &image, &imported, &dt, isolation, &err);
}

/* Ascending, gapless inside each host range, and every byte of the host's RAM is there once. */
static void check_map(void)
{
	u64 ram = 0, host = 0;

	for (u32 i = 0; i < plan.entry_count; i++) {
		const struct plan_entry *e = &plan.entry[i];

		assert_true(e->range.start < e->range.end);
		if (i)
			assert_true(e->range.start >= plan.entry[i - 1].range.end);
		if (!plan_type_is_mmio(e->type))
			ram += range_size(e->range);
	}
	for (u32 i = 0; i < dt.ram_count; i++)
		host += range_size(dt.ram[i].range);
	assert_int_equal(ram, host);
}

static void accepts(const struct fix_tree *t, enum isolation isolation)
{
	if (build(t, isolation))
		fail_msg("%s", err.text);
	check_map();
}

static void rejects(const struct fix_tree *t, enum isolation isolation, const char *reason)
{
	assert_int_equal(build(t, isolation), -1);
	if (!strstr(err.text, reason))
		fail_msg("\"%s\" is not in \"%s\"", reason, err.text);
}

static void assert_range(struct addr_range r, u64 start, u64 end)
{
	assert_int_equal(r.start, start);
	assert_int_equal(r.end, end);
}

static void assert_entry(u32 type, u64 start, u64 end)
{
	for (u32 i = 0; i < plan.entry_count; i++)
		if (plan.entry[i].range.start == start && plan.entry[i].type == type &&
		    plan.entry[i].range.end == end)
			return;
	fail_msg("no entry of type %u at %llx-%llx", type, (unsigned long long)start,
		 (unsigned long long)end);
}

static u64 ram_total(void)
{
	u64 sum = 0;

	for (u32 i = 0; i < plan.ram_count; i++)
		sum += range_size(plan.ram[i].range);
	return sum;
}

/* ---- host mode */

static void host_chooses(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	accepts(&t, ISOLATION_NONE);
	assert_int_equal(plan.ram_count, 1);
	assert_range(plan.ram[0].range, FIX_BASE, FIX_BASE + FIX_MEMORY_SIZE);
	assert_entry(SHIM_MEM_VTL0, 0, FIX_BASE);
	assert_entry(SHIM_MEM_VTL2_PERSISTED_HEADER, FIX_BASE, FIX_BASE + 0x1000);
	assert_entry(SHIM_MEM_VTL2_PERSISTED_PROTOBUF, FIX_BASE + 0x1000, FIX_BASE + 0x14000);
	assert_entry(SHIM_MEM_VTL2_RAM, FIX_BASE + 0x14000, FIX_RESERVED);
	assert_entry(SHIM_MEM_VTL2_RESERVED, FIX_RESERVED, FIX_CONFIG);
	assert_entry(SHIM_MEM_VTL2_CONFIG, FIX_CONFIG, FIX_HOST_DT);
	/* The host's device tree is given back. */
	assert_entry(SHIM_MEM_VTL2_RAM, FIX_HOST_DT, FIX_HOST_DT + FIX_TREE_SIZE);
	assert_entry(SHIM_MEM_VTL2_CONFIG, FIX_HOST_DT + FIX_TREE_SIZE, FIX_LOG);
	assert_entry(SHIM_MEM_VTL2_LOG, FIX_LOG, FIX_HEAP);
	assert_entry(SHIM_MEM_VTL2_RAM, FIX_HEAP, FIX_BASE + FIX_MEMORY_SIZE);
	assert_entry(SHIM_MEM_VTL0_MMIO, 0xf8000000, 0xfc000000);
	assert_entry(SHIM_MEM_VTL2_MMIO, 0x2000000000, 0x2008000000);
	assert_int_equal(plan.mmio0_count, 2);
	assert_int_equal(plan.mmio2_count, 1);
}

/* Without ranges for VTL2 it is where the image asked for it, and the rest stays VTL0's. */
static void host_names_none(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	t.ram_count = 1;
	t.ram[0] = (struct fix_ram){0, 1 * GiB, 3, -1};
	accepts(&t, ISOLATION_NONE);
	assert_int_equal(plan.ram_count, 1);
	assert_int_equal(plan.ram[0].node, 3);
	assert_range(plan.ram[0].range, FIX_BASE, FIX_BASE + FIX_MEMORY_SIZE);
	assert_entry(SHIM_MEM_VTL0, 0, FIX_BASE);
	assert_entry(SHIM_MEM_VTL0, FIX_BASE + FIX_MEMORY_SIZE, 1 * GiB);
}

static void host_lies(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	/* VTL2 elsewhere than the image */
	t.ram_count = 3;
	t.ram[1].type = 0;
	t.ram[2] = (struct fix_ram){1 * GiB, 64 * MiB, 0, 3};
	rejects(&t, ISOLATION_NONE, "is not in VTL2 RAM");
	/* Too small for what is loaded */
	t = fix_tree_default();
	t.ram[1].size = 4 * MiB;
	rejects(&t, ISOLATION_NONE, "is not in VTL2 RAM");
	/* No RAM there at all */
	t = fix_tree_default();
	t.ram_count = 1;
	rejects(&t, ISOLATION_NONE, "is not in the host's memory map");
	/* A hole inside the image */
	t = fix_tree_default();
	t.ram_count = 3;
	t.ram[1].size = 1 * MiB;
	t.ram[2] = (struct fix_ram){FIX_BASE + 2 * MiB, 30 * MiB, 0, 3};
	rejects(&t, ISOLATION_NONE, "is not in VTL2 RAM");
	/* The same without the hole is good: reserved parts may cross ranges. */
	t.ram[1].size = 2 * MiB;
	accepts(&t, ISOLATION_NONE);
	assert_int_equal(plan.ram_count, 2);
	t.ram[1].size = 0x5000;
	t.ram[2].base = FIX_BASE + 0x5000;
	t.ram[2].node = 1;
	accepts(&t, ISOLATION_NONE);
	assert_entry(SHIM_MEM_VTL2_PERSISTED_PROTOBUF, FIX_BASE + 0x1000, FIX_BASE + 0x5000);
	assert_entry(SHIM_MEM_VTL2_PERSISTED_PROTOBUF, FIX_BASE + 0x5000, FIX_BASE + 0x14000);
}

static void too_many_ranges(void **state)
{
	static fdt64_t reg[2 * 70];
	struct fix_tree t = fix_tree_default();

	(void)state;
	fix_tree_open(tree, &t);
	for (u32 i = 0; i < 70; i++) {
		reg[2 * i] = cpu_to_fdt64(4 * GiB + i * 0x2000ull);
		reg[2 * i + 1] = cpu_to_fdt64(0x1000);
	}
	fdt_setprop(tree, fdt_path_offset(tree, "/memory@0"), "reg", reg, sizeof(reg));
	fdt_setprop_u32(tree, fdt_path_offset(tree, "/memory@0"), "microsoft,igvm-type", 3);
	assert_int_equal(host_dt_read(&dt, tree, sizeof(tree), &err), 0);
	assert_int_equal(memory_plan_build(&plan, &image, &imported, &dt, ISOLATION_NONE, &err),
			 -1);
	assert_non_null(strstr(err.text, "more than 64"));
}

static void hardware_isolated(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	/* Only the sum of the host's ranges counts; the place is measured. */
	t.ram_count = 2;
	t.ram[0] = (struct fix_ram){0, 1 * GiB, 0, 0};
	t.ram[1] = (struct fix_ram){4 * GiB, 48 * MiB, 1, 3};
	accepts(&t, ISOLATION_SNP);
	assert_int_equal(plan.ram_count, 1);
	assert_range(plan.ram[0].range, FIX_BASE, FIX_BASE + 48 * MiB);
	t.ram[1].size = 2 * MiB;
	accepts(&t, ISOLATION_TDX);
	assert_range(plan.ram[0].range, FIX_BASE, FIX_BASE + FIX_MEMORY_SIZE);
	t.ram[1].size = 2 * GiB;
	rejects(&t, ISOLATION_SNP, "is not in the host's memory map");
}

/* ---- imported regions */

static void import(u64 start, u64 end, bool accepted)
{
	imported.entry[imported.count].range = (struct addr_range){start, end};
	imported.entry[imported.count++].accepted = accepted;
}

static void imported_regions(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	import(0, 0x2000, true);
	import(FIX_BASE, FIX_USED_END, false);
	accepts(&t, ISOLATION_NONE);
	imported.entry[0].accepted = false;
	rejects(&t, ISOLATION_NONE, "not accepted");
	imported.entry[0].accepted = true;
	t.mode = "vtl2";
	t.ram_count = 1;
	t.ram[0] = (struct fix_ram){0, 1 * GiB, 0, -1};
	accepts(&t, ISOLATION_NONE);
	imported.entry[0].range.start = FIX_BASE - 0x1000;
	imported.entry[0].range.end = FIX_BASE + 0x1000;
	rejects(&t, ISOLATION_NONE, "straddles");
	imported.entry[0].range = (struct addr_range){0xfffff000, 0x100000000};
	rejects(&t, ISOLATION_NONE, "not free host memory");
	accepts(&t, ISOLATION_TDX);
}

/* ---- self-allocation */

static struct fix_tree self_tree(void)
{
	struct fix_tree t = fix_tree_default();

	t.mode = "vtl2";
	t.ram_count = 1;
	t.ram[0] = (struct fix_ram){0, 1 * GiB, 0, -1};
	return t;
}

static void self_allocates(void **state)
{
	struct fix_tree t = self_tree();

	(void)state;
	accepts(&t, ISOLATION_NONE);
	assert_int_equal(plan.ram_count, 1);
	assert_range(plan.ram[0].range, FIX_BASE, FIX_BASE + FIX_MEMORY_SIZE);
	/* More than the image's range: from the top */
	t.memory_size = 64 * MiB;
	accepts(&t, ISOLATION_NONE);
	assert_int_equal(plan.ram_count, 2);
	assert_range(plan.ram[1].range, 1 * GiB - 32 * MiB, 1 * GiB);
	t.memory_size = 31 * MiB;
	rejects(&t, ISOLATION_NONE, "host gives VTL2");
	t.memory_size = 2 * GiB;
	rejects(&t, ISOLATION_NONE, "too little for VTL2");
	t.memory_size = BIT(52) - PAGE_SIZE;
	rejects(&t, ISOLATION_NONE, "too little for VTL2");
	/* The image not on usable memory */
	t = self_tree();
	t.ram[0].type = 1;
	rejects(&t, ISOLATION_NONE, "no usable memory");
	t = self_tree();
	t.ram[0].base = FIX_BASE + 0x1000;
	rejects(&t, ISOLATION_NONE, "not free host memory");
}

static void self_allocates_over_nodes(void **state)
{
	struct fix_tree t = self_tree();

	(void)state;
	t.ram_count = 3;
	t.ram[0] = (struct fix_ram){0, 512 * MiB, 0, -1};
	t.ram[1] = (struct fix_ram){512 * MiB, 512 * MiB, 1, -1};
	t.ram[2] = (struct fix_ram){4 * GiB, 8 * MiB, 1, -1};
	t.memory_size = 96 * MiB;
	accepts(&t, ISOLATION_NONE);
	/* Node 0: 32 MiB of image and 16 more; node 1: its small high range, then below. */
	assert_int_equal(ram_total(), 96 * MiB);
	assert_int_equal(plan.ram_count, 4);
	assert_range(plan.ram[0].range, FIX_BASE, FIX_BASE + FIX_MEMORY_SIZE);
	assert_range(plan.ram[1].range, 496 * MiB, 512 * MiB);
	assert_range(plan.ram[2].range, 984 * MiB, 1024 * MiB);
	assert_range(plan.ram[3].range, 4 * GiB, 4 * GiB + 8 * MiB);
	assert_int_equal(plan.ram[0].node, 0);
	assert_int_equal(plan.ram[3].node, 1);
	/* Starts are multiples of 8 pages, imported pages are left out. */
	t.memory_size = 96 * MiB + 4 * PAGE_SIZE;
	import(1024 * MiB - 0x3000, 1024 * MiB - 0x1000, true);
	accepts(&t, ISOLATION_NONE);
	assert_true(ram_total() >= t.memory_size);
	for (u32 i = 0; i < plan.ram_count; i++) {
		assert_true(plan.ram[i].range.start % 0x8000 == 0 ||
			    plan.ram[i].range.start == 1024 * MiB - 0x1000);
		assert_false(range_overlaps(plan.ram[i].range, imported.entry[0].range));
	}
}

/* ---- MMIO */

static void mmio(void **state)
{
	struct fix_tree t = self_tree();

	(void)state;
	/* VTL2's own ranges are taken when they are enough. */
	t.mmio_size = 0x8000000;
	accepts(&t, ISOLATION_NONE);
	assert_range(plan.mmio2[0], 0x2000000000, 0x2008000000);
	t.mmio_size = 0x8001000;
	rejects(&t, ISOLATION_NONE, "wanted");
	/* None: cut from the end of VTL0's high range, at most 1 GiB by default */
	t.mmio2_count = 0;
	t.mmio_size = 0;
	accepts(&t, ISOLATION_NONE);
	assert_range(plan.mmio0[1], 0x1000000000, 0x2000000000 - 1 * GiB);
	assert_range(plan.mmio2[0], 0x2000000000 - 1 * GiB, 0x2000000000);
	t.mmio_size = 2 * GiB;
	accepts(&t, ISOLATION_NONE);
	assert_range(plan.mmio2[0], 0x2000000000 - 2 * GiB, 0x2000000000);
	t.mmio_size = 0;
	t.mmio0[1][1] = 400 * MiB;
	accepts(&t, ISOLATION_NONE);
	assert_int_equal(range_size(plan.mmio2[0]), 200 * MiB);
	t.mmio0[1][1] = 140 * MiB;
	accepts(&t, ISOLATION_NONE);
	assert_int_equal(range_size(plan.mmio2[0]), 128 * MiB);
	t.mmio0[1][1] = 128 * MiB;
	rejects(&t, ISOLATION_NONE, "cannot give");
	t.mmio0[1][0] = 0xe0000000;
	t.mmio0[1][1] = 256 * MiB;
	rejects(&t, ISOLATION_NONE, "cannot give");
	t.mmio0_count = 1;
	rejects(&t, ISOLATION_NONE, "1 MMIO ranges, not 2");
	/* In host mode none of this applies; isolated it does. */
	t.mode = "host";
	t.ram_count = 2;
	t.ram[0] = (struct fix_ram){0, FIX_BASE, 0, -1};
	t.ram[1] = (struct fix_ram){FIX_BASE, FIX_MEMORY_SIZE, 0, 3};
	accepts(&t, ISOLATION_NONE);
	assert_int_equal(plan.mmio2_count, 0);
	rejects(&t, ISOLATION_VBS, "not 2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(host_lies, setup),
		cmocka_unit_test_setup(too_many_ranges, setup),
		cmocka_unit_test_setup(host_chooses, setup),
		cmocka_unit_test_setup(host_names_none, setup),
		cmocka_unit_test_setup(hardware_isolated, setup),
		cmocka_unit_test_setup(imported_regions, setup),
		cmocka_unit_test_setup(self_allocates, setup),
		cmocka_unit_test_setup(self_allocates_over_nodes, setup),
		cmocka_unit_test_setup(mmio, setup),
	};

	return cmocka_run_group_tests_name("shim_plan", tests, NULL, NULL);
}
