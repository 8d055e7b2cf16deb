/* Device tree and boot parameters for Linux, read back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "loader/boot_params.h"
#include "loader/linux_dt.h"
#include "tests/unit/shim_fixture.h"

static _Alignas(16) u8 tree[FIX_TREE_SIZE];
static _Alignas(16) u8 output[FIX_TREE_SIZE];
static struct host_dt dt;
static struct memory_plan plan;
static struct shim_image image;
static struct imported_list imported;
static struct shim_error err;

static const struct linux_dt_input input = {
	.host = &dt,
	.plan = &plan,
	.imported = &imported,
	.has_times = true,
	.boot_start = 1000,
	.boot_end = 2000,
};

static void prepare(const struct fix_tree *t)
{
	struct shim_params p = fix_params();

	imported.count = 1;
	imported.entry[0].range = (struct addr_range){FIX_BASE, FIX_USED_END};
	imported.entry[0].accepted = true;
	fix_tree_write(tree, t);
	fdt_set_boot_cpuid_phys(tree, 1);
	if (fix_image(&image, &p, &err) || host_dt_read(&dt, tree, sizeof(tree), &err) ||
	    memory_plan_build(&plan, &image, &imported, &dt, ISOLATION_NONE, &err))
		fail_msg("%s", err.text);
}

static int prepare_default(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	prepare(&t);
	return 0;
}

static const u8 *prop(const char *path, const char *name, int length)
{
	int node = fdt_path_offset(output, path), got;
	const u8 *p;

	if (node < 0)
		fail_msg("no node %s", path);
	p = fdt_getprop(output, node, name, &got);
	if (!p || got != length)
		fail_msg("%s/%s: %d bytes", path, name, got);
	return p;
}

static void assert_u32(const char *path, const char *name, u32 value)
{
	assert_int_equal(get_be32(prop(path, name, 4)), value);
}

static void assert_u64(const char *path, const char *name, u64 value)
{
	assert_int_equal(get_be64(prop(path, name, 8)), value);
}

static void assert_text(const char *path, const char *name, const char *value)
{
	assert_string_equal((const char *)prop(path, name, (int)strlen(value) + 1), value);
}

static void assert_reg(const char *path, u64 base, u64 size)
{
	const u8 *p = prop(path, "reg", 16);

	assert_int_equal(get_be64(p), base);
	assert_int_equal(get_be64(p + 8), size);
}

static void contents(void **state)
{
	const u8 *p;
	s64 size = linux_dt_write(output, sizeof(output), &input, &err);

	(void)state;
	assert_true(size > 0);
	assert_int_equal(fdt_check_full(output, (size_t)size), 0);
	assert_int_equal(fdt_boot_cpuid_phys(output), 1);
	assert_u32("/", "#address-cells", 2);
	assert_u32("/", "#size-cells", 2);
	assert_text("/", "compatible", "microsoft,openvmm");
	assert_u64("/", "reftime_boot_start", 1000);
	assert_u64("/", "reftime_boot_end", 2000);
	assert_text("/hypervisor", "compatible", "microsoft,hyperv");
	assert_u32("/cpus", "#address-cells", 1);
	assert_u32("/cpus", "#size-cells", 0);
	assert_u32("/cpus/cpu@2", "reg", 1);
	assert_text("/cpus/cpu@2", "device_type", "cpu");
	assert_text("/cpus/cpu@2", "status", "okay");
	assert_u32("/cpus/cpu@2", "numa-node-id", 0);
	assert_reg("/memory@8000000", FIX_BASE, FIX_MEMORY_SIZE);
	assert_text("/memory@8000000", "device_type", "memory");
	assert_text("/bus", "compatible", "simple-bus");
	prop("/bus", "ranges", 0);
	assert_text("/bus/vmbus", "compatible", "microsoft,vmbus");
	assert_u32("/bus/vmbus", "microsoft,vtl", 2);
	assert_u32("/bus/vmbus", "microsoft,message-connection-id", 4);
	prop("/bus/vmbus", "dma-coherent", 0);
	p = prop("/bus/vmbus", "ranges", 24);
	assert_int_equal(get_be64(p), 0x2000000000);
	assert_int_equal(get_be64(p + 8), 0x2000000000);
	assert_int_equal(get_be64(p + 16), 0x8000000);
	assert_true(fdt_path_offset(output, "/chosen") < 0);
}

static void openhcl_node(void **state)
{
	u32 header = 0, state_ranges = 0, reserved = 0, log = 0, config = 0, vtl0_mmio = 0;
	int node, parent;

	(void)state;
	assert_true(linux_dt_write(output, sizeof(output), &input, &err) > 0);
	assert_text("/openhcl", "isolation-type", "none");
	assert_text("/openhcl", "memory-allocation-mode", "host");
	prop("/openhcl/entropy", "reg", 64);
	assert_reg("/openhcl/accepted-memory@8000000", FIX_BASE, FIX_USED_END - FIX_BASE);
	assert_reg("/openhcl/memory@f8000000", 0xf8000000, 0x4000000);
	assert_reg("/openhcl/memory@0", 0, FIX_BASE);
	assert_u32("/openhcl/memory@0", "microsoft,igvm-type", 0);
	assert_u32("/openhcl/memory@8000000", "microsoft,igvm-type", 3);
	parent = fdt_path_offset(output, "/openhcl");
	fdt_for_each_subnode(node, output, parent)
	{
		const char *name = fdt_get_name(output, node, NULL);
		const void *type;

		if (strncmp(name, "memory@", 7))
			continue;
		assert_string_equal(fdt_getprop(output, node, "device_type", NULL),
				    "memory-openhcl");
		type = fdt_getprop(output, node, "openhcl,memory-type", NULL);
		assert_non_null(type);
		header += get_be32(type) == SHIM_MEM_VTL2_PERSISTED_HEADER;
		state_ranges += get_be32(type) == SHIM_MEM_VTL2_PERSISTED_PROTOBUF;
		reserved += get_be32(type) == SHIM_MEM_VTL2_RESERVED;
		log += get_be32(type) == SHIM_MEM_VTL2_LOG;
		config += get_be32(type) == SHIM_MEM_VTL2_CONFIG;
		vtl0_mmio += get_be32(type) == SHIM_MEM_VTL0_MMIO;
		if (plan_type_is_mmio(get_be32(type)))
			assert_null(fdt_getprop(output, node, "numa-node-id", NULL));
		else
			assert_non_null(fdt_getprop(output, node, "numa-node-id", NULL));
	}
	/* What user space insists on */
	assert_int_equal(header, 1);
	assert_int_equal(state_ranges, 1);
	assert_int_equal(reserved, 1);
	assert_int_equal(log, 1);
	assert_int_equal(config, 2);
	assert_int_equal(vtl0_mmio, 2);
	/* One reservation per range that is VTL2's but not for Linux */
	assert_int_equal(fdt_num_mem_rsv(output), 6);
}

static void self_allocated(void **state)
{
	struct fix_tree t = fix_tree_default();
	struct linux_dt_input in = input;

	(void)state;
	t.mode = "vtl2";
	t.memory_size = 48 * MiB;
	t.mmio_size = 128 * MiB;
	t.ram_count = 1;
	t.ram[0] = (struct fix_ram){0, 1 * GiB, 0, -1};
	t.entropy = 0;
	prepare(&t);
	in.has_times = false;
	in.has_alias_map = true;
	in.alias_map = 1ull << 45;
	assert_true(linux_dt_write(output, sizeof(output), &in, &err) > 0);
	assert_text("/openhcl", "memory-allocation-mode", "vtl2");
	assert_u64("/openhcl", "memory-size", 48 * MiB);
	assert_u64("/openhcl", "mmio-size", 128 * MiB);
	assert_u64("/openhcl", "vtl0-alias-map", 1ull << 45);
	assert_reg("/memory@3f000000", 1 * GiB - 16 * MiB, 16 * MiB);
	assert_true(fdt_path_offset(output, "/openhcl/entropy") < 0);
	assert_null(fdt_getprop(output, 0, "reftime_boot_start", NULL));
}

/* A full host tree may not fit; every smaller buffer gives an error too. */
static void too_small(void **state)
{
	static u8 guarded[4096 + 64];
	struct fix_tree t = fix_tree_default();
	s64 size = linux_dt_write(output, sizeof(output), &input, &err);

	(void)state;
	assert_true(size < 4096);
	for (size_t n = 0; n < (size_t)size; n += 8) {
		memset(guarded, 0x5a, sizeof(guarded));
		assert_int_equal(linux_dt_write(guarded, n, &input, &err), -1);
		for (size_t i = n; i < sizeof(guarded); i++)
			assert_int_equal(guarded[i], 0x5a);
	}
	assert_non_null(strstr(err.text, "2 processors"));
	t.cpus = HOST_DT_MAX_CPUS;
	prepare(&t);
	assert_true(linux_dt_write(output, sizeof(output), &input, &err) > 0);
}

/* ---- boot parameters */

static u8 zero_page[PAGE_SIZE];
static struct boot_setup_data dtb;
static struct boot_e820_ext ext;

static int fill(void)
{
	const struct boot_params_input in = {
		.plan = &plan,
		.initrd = {0x123456000, 0x123456000 + 77777},
		.cmdline = 0xabcdef0010,
		.dtb = &dtb,
		.dtb_address = 0x1122334455,
		.dtb_size = 4711,
		.e820_ext = &ext,
		.e820_ext_address = 0x7788,
	};

	memset(zero_page, 0xee, sizeof(zero_page));
	return boot_params_fill(zero_page, &in, &err);
}

static void zero_page_fields(void **state)
{
	u64 ram = 0;

	(void)state;
	assert_int_equal(fill(), 0);
	assert_int_equal(get_le32(zero_page + 0x218), 0x23456000);
	assert_int_equal(get_le32(zero_page + 0x0c0), 1);
	assert_int_equal(get_le32(zero_page + 0x21c), 77777);
	assert_int_equal(get_le32(zero_page + 0x228), 0xcdef0010);
	assert_int_equal(get_le32(zero_page + 0x0c8), 0xab);
	assert_int_equal(get_le64(zero_page + 0x250), 0x1122334455);
	assert_int_equal(zero_page[0x210], 0xff);
	assert_int_equal(get_le32(zero_page + 0x23c), 1);
	assert_int_equal(zero_page[0x1ef], 0); /* sentinel */
	assert_int_equal(get_le32(zero_page + 0x202), 0);
	assert_int_equal(dtb.type, BOOT_SETUP_DTB);
	assert_int_equal(dtb.len, 4711);
	assert_int_equal(dtb.next, 0);

	assert_int_equal(zero_page[0x1e8], 6);
	for (u32 i = 0; i < zero_page[0x1e8]; i++) {
		const u8 *e = zero_page + 0x2d0 + i * 20;

		assert_true(get_le64(e) >= FIX_BASE);
		assert_true(get_le64(e) + get_le64(e + 8) <= FIX_BASE + FIX_MEMORY_SIZE);
		if (get_le32(e + 16) == 1)
			ram += get_le64(e + 8);
		else
			assert_int_equal(get_le32(e + 16), 2);
	}
	/* All of VTL2 but 20 persisted pages, reserved region, configuration and log */
	assert_int_equal(ram, FIX_MEMORY_SIZE - (20 + SHIM_RESERVED_PAGES + SHIM_CONFIG_PAGES -
						 SHIM_CONFIG_DT_PAGES + SHIM_LOG_PAGES) *
							PAGE_SIZE);
}

static void long_map(void **state)
{
	(void)state;
	plan.entry_count = 0;
	for (u32 i = 0; i < BOOT_E820_MAX + BOOT_E820_EXT_MAX; i++)
		plan.entry[plan.entry_count++] = (struct plan_entry){
			.range = {i * 0x2000ull, i * 0x2000ull + 0x1000},
			.type = SHIM_MEM_VTL2_RAM};
	assert_int_equal(fill(), 0);
	assert_int_equal(zero_page[0x1e8], 128);
	assert_int_equal(dtb.next, 0x7788);
	assert_int_equal(ext.header.next, 0);
	assert_int_equal(ext.header.type, BOOT_SETUP_E820_EXT);
	assert_int_equal(ext.header.len, 512 * 20);
	assert_int_equal(get_le64(ext.entries), 128 * 0x2000);
	assert_int_equal(get_le64(ext.entries + 511 * 20), 639 * 0x2000);
	plan.entry[plan.entry_count++] = (struct plan_entry){.range = {1ull << 40, 2ull << 40},
							     .type = SHIM_MEM_VTL2_LOG};
	assert_int_equal(fill(), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(too_small, prepare_default),
		cmocka_unit_test_setup(contents, prepare_default),
		cmocka_unit_test_setup(openhcl_node, prepare_default),
		cmocka_unit_test(self_allocated),
		cmocka_unit_test_setup(zero_page_fields, prepare_default),
		cmocka_unit_test_setup(long_map, prepare_default),
	};

	return cmocka_run_group_tests_name("shim_linux_dt", tests, NULL, NULL);
}
