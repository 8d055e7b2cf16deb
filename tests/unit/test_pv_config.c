/* The shim's device tree as the paravisor reads it: hostile trees first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "paravisor/config.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TREE_SIZE 65536

static u8 tree[TREE_SIZE];
static struct config config;
static const char *reason;

struct range {
	u64 base, size;
	u32 type;
};

static void put_range(const struct range *r)
{
	char name[40];
	u8 reg[16];

	for (int i = 0; i < 8; i++) {
		reg[i] = (u8)(r->base >> (56 - 8 * i));
		reg[8 + i] = (u8)(r->size >> (56 - 8 * i));
	}
	snprintf(name, sizeof(name), "memory@%llx", (unsigned long long)r->base);
	fdt_begin_node(tree, name);
	fdt_property_string(tree, "device_type", "memory-openhcl");
	fdt_property(tree, "reg", reg, sizeof(reg));
	fdt_property_u32(tree, "numa-node-id", 0);
	fdt_property_u32(tree, "openhcl,memory-type", r->type);
	fdt_end_node(tree);
}

static size_t build(const struct range *ranges, size_t count, u32 cpus, bool same_id,
		    const char *isolation)
{
	fdt_create(tree, sizeof(tree));
	fdt_finish_reservemap(tree);
	fdt_begin_node(tree, "");
	fdt_begin_node(tree, "cpus");
	for (u32 i = 0; i < cpus; i++) {
		char name[16];

		snprintf(name, sizeof(name), "cpu@%u", i + 1);
		fdt_begin_node(tree, name);
		fdt_property_string(tree, "device_type", "cpu");
		fdt_property_u32(tree, "reg", same_id ? 5 : i * 2);
		fdt_end_node(tree);
	}
	fdt_end_node(tree);
	fdt_begin_node(tree, "openhcl");
	if (isolation)
		fdt_property_string(tree, "isolation-type", isolation);
	for (size_t i = 0; i < count; i++)
		put_range(&ranges[i]);
	fdt_begin_node(tree, "entropy");
	fdt_property(tree, "reg", "0123456789abcdef", 16);
	fdt_end_node(tree);
	fdt_end_node(tree);
	fdt_end_node(tree);
	assert_int_equal(fdt_finish(tree), 0);
	return fdt_totalsize(tree);
}

static const struct range good[] = {
	{0, 128 * MiB, SHIM_MEM_VTL0},
	{128 * MiB, 32 * MiB, SHIM_MEM_VTL2_RAM},
	{160 * MiB, 1 * MiB, SHIM_MEM_VTL2_CONFIG},
	{4 * GiB, 64 * MiB, SHIM_MEM_VTL0_MMIO},
};

static void refuse(const struct range *ranges, size_t count, u32 cpus, bool same_id,
		   const char *isolation)
{
	size_t size = build(ranges, count, cpus, same_id, isolation);

	reason = NULL;
	assert_int_equal(config_parse(tree, size, &config, &reason), -1);
	assert_non_null(reason);
}

static void bad_trees(void **state)
{
	const struct range wraps[] = {{0, 128 * MiB, 0}, {~0xfffull, 2 * PAGE_SIZE, 1}};
	const struct range empty[] = {{0, 128 * MiB, 0}, {1 * GiB, 0, 1}};
	const struct range odd[] = {{0, 128 * MiB, 0}, {1 * GiB + 1, PAGE_SIZE, 1}};
	const struct range overlap[] = {{0, 128 * MiB, 0}, {127 * MiB, 2 * MiB, 1}};
	const struct range no_ram[] = {{0, 128 * MiB, SHIM_MEM_VTL2_RAM}};
	static struct range many[CONFIG_MAX_RANGES + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct range){i * MiB, PAGE_SIZE, SHIM_MEM_VTL0};
	refuse(wraps, 2, 1, false, "none");
	refuse(empty, 2, 1, false, "none");
	refuse(odd, 2, 1, false, "none");
	refuse(overlap, 2, 1, false, "none");
	refuse(no_ram, 1, 1, false, "none");
	refuse(many, ARRAY_SIZE(many), 1, false, "none");
	refuse(good, 4, 0, false, "none");
	refuse(good, 4, CONFIG_MAX_VPS + 1, false, "none");
	refuse(good, 4, 2, true, "none");
	refuse(good, 4, 1, false, "nonex");
	refuse(good, 4, 1, false, "");
	refuse(good, 4, 1, false, NULL);
	assert_int_equal(config_parse("", 0, &config, &reason), -1);
}

/* Whatever one byte is changed to, nothing outside the blob is touched (ASan watches). */
static void damaged_trees(void **state)
{
	size_t size = build(good, ARRAY_SIZE(good), 2, false, "none");
	size_t length;
	u8 *copy;

	(void)state;
	for (size_t cut = 0; cut < size; cut += 13) {
		copy = malloc(cut + 1);
		memcpy(copy, tree, cut);
		config_parse(copy, cut, &config, &reason);
		config_entropy(copy, cut, &length);
		free(copy);
	}
	copy = malloc(size);
	for (size_t i = 0; i < size; i++) {
		static const u8 values[] = {0x00, 0xff, 0x01, 0x80};

		for (size_t v = 0; v < sizeof(values); v++) {
			memcpy(copy, tree, size);
			copy[i] ^= values[v];
			config_parse(copy, size, &config, &reason);
			config_entropy(copy, size, &length);
		}
	}
	free(copy);
}

static void good_tree(void **state)
{
	size_t size = build(good, ARRAY_SIZE(good), 3, false, "none");
	size_t length;

	(void)state;
	assert_int_equal(config_parse(tree, size, &config, &reason), 0);
	assert_int_equal(config.isolation, ISOLATION_NONE);
	assert_int_equal(config.vp_count, 3);
	assert_int_equal(config.apic_id[2], 4);
	assert_int_equal(config.range_count, 4);
	assert_false(config_is_vtl2_memory(&config.range[0]));
	assert_true(config_is_vtl2_memory(&config.range[1]));
	assert_true(config_is_vtl2_memory(&config.range[2]));
	assert_false(config_is_vtl2_memory(&config.range[3]));
	assert_memory_equal(config_entropy(tree, size, &length), "0123456789abcdef", 16);
	assert_int_equal(length, 16);
}

static void unsorted_ranges(void **state)
{
	const struct range mixed[] = {{2 * GiB, MiB, 0}, {0, MiB, 0}, {1 * GiB, MiB, 1}};
	size_t size = build(mixed, 3, 1, false, "vbs");

	(void)state;
	assert_int_equal(config_parse(tree, size, &config, &reason), 0);
	assert_int_equal(config.range[0].base, 0);
	assert_int_equal(config.range[1].base, 1 * GiB);
	assert_int_equal(config.range[2].base, 2 * GiB);
	assert_int_equal(config.isolation, ISOLATION_VBS);
}

static void ram_check(void **state)
{
	const struct range two[] = {{0, MiB, 0}, {1 * MiB, MiB, 0}, {4 * MiB, MiB, 0}};
	size_t size = build(two, 3, 1, false, "none");

	(void)state;
	assert_int_equal(config_parse(tree, size, &config, &reason), 0);
	assert_true(config_is_vtl0_ram(&config, 0, 2 * MiB));
	assert_true(config_is_vtl0_ram(&config, MiB - 1, 2));
	assert_false(config_is_vtl0_ram(&config, 0, 2 * MiB + 1));
	assert_false(config_is_vtl0_ram(&config, 2 * MiB - 1, 2));
	assert_true(config_is_vtl0_ram(&config, 5 * MiB - 1, 1));
	assert_false(config_is_vtl0_ram(&config, 5 * MiB, 1));
	assert_false(config_is_vtl0_ram(&config, UINT64_MAX, 2));
	assert_false(config_is_vtl0_ram(&config, 1, UINT64_MAX));
}

static void vtl0_payload(void **state)
{
	size_t size = build(good, ARRAY_SIZE(good), 1, false, "none");
	const struct shim_measured_vtl0 fine = {
		.magic = SHIM_MEASURED_VTL0_MAGIC,
		.supported = SHIM_VTL0_LINUX,
		.kernel_base_page = 0x1000,
		.kernel_pages = 0x1000,
		.initrd_base_page = 0x4000,
		.initrd_pages = 1,
		.initrd_size = 5,
		.cmdline_page = 1,
		.cmdline_pages = 1,
	};
	struct shim_measured_vtl0 v = fine;

	(void)state;
	assert_int_equal(config_parse(tree, size, &config, &reason), 0);
	assert_int_equal(config_check_vtl0(&v, &config, &reason), 0);
	v.magic++;
	assert_int_equal(config_check_vtl0(&v, &config, &reason), -1);
	v = fine, v.kernel_pages = 0;
	assert_int_equal(config_check_vtl0(&v, &config, &reason), -1);
	v = fine, v.kernel_pages = UINT64_MAX;
	assert_int_equal(config_check_vtl0(&v, &config, &reason), -1);
	v = fine, v.kernel_base_page = BIT(52);
	assert_int_equal(config_check_vtl0(&v, &config, &reason), -1);
	v = fine, v.kernel_base_page = 128 * MiB / PAGE_SIZE; /* VTL2 */
	assert_int_equal(config_check_vtl0(&v, &config, &reason), -1);
	v = fine, v.initrd_size = PAGE_SIZE + 1;
	assert_int_equal(config_check_vtl0(&v, &config, &reason), -1);
	v = fine, v.cmdline_page = 0x10000;
	assert_int_equal(config_check_vtl0(&v, &config, &reason), -1);
	v = fine, v.supported = SHIM_VTL0_UEFI;
	assert_int_equal(config_check_vtl0(&v, &config, &reason), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_trees), cmocka_unit_test(damaged_trees),
		cmocka_unit_test(good_tree), cmocka_unit_test(unsorted_ranges),
		cmocka_unit_test(ram_check), cmocka_unit_test(vtl0_payload),
	};

	return cmocka_run_group_tests_name("pv_config", tests, NULL, NULL);
}
