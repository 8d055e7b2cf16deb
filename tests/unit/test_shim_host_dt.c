/* Host device tree reader: every rule broken once, then the valid trees. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "loader/host_dt.h"
#include "tests/unit/shim_fixture.h"

static _Alignas(16) u8 tree[FIX_TREE_SIZE];
static struct host_dt dt;
static struct shim_error err;

static int open_default(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	fix_tree_open(tree, &t);
	return 0;
}

static int node(const char *path)
{
	int n = fdt_path_offset(tree, path);

	assert_true(n >= 0);
	return n;
}

static void set_u32(const char *path, const char *name, u32 value)
{
	assert_int_equal(fdt_setprop_u32(tree, node(path), name, value), 0);
}

static void set_bytes(const char *path, const char *name, const void *data, int length)
{
	assert_int_equal(fdt_setprop(tree, node(path), name, data, length), 0);
}

static void set_pair(const char *path, const char *name, u64 a, u64 b)
{
	fdt64_t v[2] = {cpu_to_fdt64(a), cpu_to_fdt64(b)};

	set_bytes(path, name, v, sizeof(v));
}

static void drop(const char *path, const char *name)
{
	assert_int_equal(fdt_delprop(tree, node(path), name), 0);
}

static void rejects(const char *reason)
{
	memset(&err, 0, sizeof(err));
	assert_int_equal(host_dt_read(&dt, tree, sizeof(tree), &err), -1);
	if (!strstr(err.text, reason))
		fail_msg("\"%s\" is not in \"%s\"", reason, err.text);
}

static void accepts(void)
{
	if (host_dt_read(&dt, tree, sizeof(tree), &err))
		fail_msg("%s", err.text);
}

/* Undoes what a case changed. */
#define again() open_default(NULL)

/* ---- hostile */

static void header(void **state)
{
	(void)state;
	tree[0] = 0;
	rejects("there is none");
	tree[0] = 0xd1;
	rejects("bad magic");
	again();
	fdt_set_totalsize(tree, FIX_TREE_SIZE + 1);
	rejects("do not fit");
	fdt_set_totalsize(tree, 0xffffffff);
	rejects("do not fit");
	fdt_set_totalsize(tree, 8);
	rejects("malformed");
	again();
	fdt_set_version(tree, 16);
	rejects("version 16");
	again();
	fdt_set_last_comp_version(tree, 17);
	rejects("compatible to 17");
	again();
	fdt_set_off_dt_struct(tree, 0xfffffff0);
	rejects("malformed");
	again();
	fdt_set_off_dt_strings(tree, 0x7fffffff);
	rejects("malformed");
	again();
	fdt_set_size_dt_struct(tree, fdt_size_dt_struct(tree) - 4);
	rejects("malformed");
	again();
	fdt_set_off_mem_rsvmap(tree, FIX_TREE_SIZE - 8);
	rejects("malformed");
	assert_int_equal(host_dt_read(&dt, tree, 8, &err), -1);
	assert_int_equal(host_dt_read(&dt, tree, 0, &err), -1);
}

/* The reserve map must end before the tree does. */
static void endless_reserve_map(void **state)
{
	(void)state;
	u32 at = fdt_off_mem_rsvmap(tree);

	memset(tree + at, 0xff, sizeof(tree) - at);
	rejects("malformed");
}

static void put_be(u8 **p, u32 v)
{
	put_le32(*p, __builtin_bswap32(v));
	*p += 4;
}

/* Tree with the given tokens as its structure block and one property name "x" */
static void raw_tree(const u32 *tokens, u32 count)
{
	struct fdt_header *h = (void *)tree;
	u8 *p = tree + 64;

	memset(tree, 0, sizeof(tree));
	for (u32 i = 0; i < count; i++)
		put_be(&p, tokens[i]);
	memcpy(p, "x", 2);
	fdt_set_magic(tree, FDT_MAGIC);
	fdt_set_totalsize(tree, (u32)(p + 2 - tree));
	fdt_set_version(tree, 17);
	fdt_set_last_comp_version(tree, 16);
	fdt_set_off_mem_rsvmap(tree, sizeof(*h));
	fdt_set_off_dt_struct(tree, 64);
	fdt_set_size_dt_struct(tree, count * 4);
	fdt_set_off_dt_strings(tree, (u32)(p - tree));
	fdt_set_size_dt_strings(tree, 2);
}
#define raw(...) raw_tree((const u32[]){__VA_ARGS__}, sizeof((u32[]){__VA_ARGS__}) / 4)

static void structure(void **state)
{
	u32 deep[200];
	u32 n = 0;

	(void)state;
	raw(FDT_BEGIN_NODE, 0, FDT_END_NODE, FDT_END);
	rejects("no processors");
	raw(FDT_END);
	rejects("");
	raw(FDT_BEGIN_NODE, 0, FDT_END_NODE, FDT_BEGIN_NODE, 0, FDT_END_NODE, FDT_END);
	rejects("");
	raw(FDT_BEGIN_NODE, 0, FDT_END_NODE, FDT_END_NODE, FDT_END);
	rejects("");
	raw(FDT_BEGIN_NODE, 0, FDT_BEGIN_NODE, 0x61000000, FDT_END_NODE, FDT_PROP, 0, 0,
	    FDT_END_NODE, FDT_END);
	rejects("property behind a child node");
	raw(FDT_PROP, 0, 0, FDT_BEGIN_NODE, 0, FDT_END_NODE, FDT_END);
	rejects("");
	raw(FDT_BEGIN_NODE, 0, 7, FDT_END_NODE, FDT_END);
	rejects("");
	raw(FDT_BEGIN_NODE, 0, FDT_END_NODE, FDT_END, FDT_NOP);
	rejects("");
	raw(FDT_BEGIN_NODE, 0, FDT_PROP, 0xfffffff0, 0, FDT_END_NODE, FDT_END);
	rejects("");
	raw(FDT_BEGIN_NODE, 0, FDT_PROP, 0, 0x7fffffff, FDT_END_NODE, FDT_END);
	rejects("");
	raw(FDT_BEGIN_NODE, 0);
	rejects("");
	while (n < 40) {
		deep[n++] = FDT_BEGIN_NODE;
		deep[n] = n == 1 ? 0 : 0x61000000;
		n++;
	}
	while (n < 60)
		deep[n++] = FDT_END_NODE;
	deep[n++] = FDT_END;
	raw_tree(deep, n);
	rejects("deeper");
}

static void processors(void **state)
{
	(void)state;
	drop("/cpus", "#address-cells");
	rejects("cpus/#address-cells is missing");
	set_u32("/cpus", "#address-cells", 3);
	rejects("#address-cells is 3");
	again();
	drop("/cpus/cpu@1", "status");
	rejects("no status");
	again();
	set_bytes("/cpus/cpu@1", "status", "okay", 4); /* not terminated */
	rejects("no status");
	again();
	drop("/cpus/cpu@1", "reg");
	rejects("no usable reg");
	again();
	set_bytes("/cpus/cpu@1", "reg", "abcde", 5);
	rejects("5 bytes");
	again();
	set_bytes("/cpus/cpu@1", "reg", "", 0);
	rejects("empty");
	again();
	set_u32("/cpus", "#address-cells", 2); /* reg has 4 bytes only */
	rejects("4 bytes");
	again();
	set_u32("/cpus", "#address-cells", 2);
	set_pair("/cpus/cpu@1", "reg", 1ull << 32, 0);
	rejects("no usable reg");
	again();
	drop("/cpus/cpu@1", "numa-node-id");
	rejects("numa-node-id is missing");
	again();
	set_u32("/cpus/cpu@1", "numa-node-id", 64);
	rejects("NUMA node 64");
	again();
	assert_int_equal(fdt_del_node(tree, node("/cpus")), 0);
	rejects("no processors");
}

static void too_many_processors(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	t.cpus = HOST_DT_MAX_CPUS;
	fix_tree_write(tree, &t);
	accepts();
	assert_int_equal(dt.cpu_count, HOST_DT_MAX_CPUS);
	assert_int_equal(dt.cpu[HOST_DT_MAX_CPUS - 1].apic_id, HOST_DT_MAX_CPUS - 1);
	t.cpus++;
	fix_tree_write(tree, &t);
	rejects("more than 2048 processors");
}

static void memory(void **state)
{
	fdt64_t many[2 * (HOST_DT_MAX_RAM + 1)];

	(void)state;
	drop("/memory@0", "reg");
	rejects("memory@0 has no reg");
	again();
	drop("/memory@0", "numa-node-id");
	rejects("numa-node-id is missing");
	again();
	set_u32("/memory@0", "numa-node-id", 0xffffffff);
	rejects("NUMA node");
	again();
	set_bytes("/memory@0", "reg", "12345678", 8);
	rejects("8 bytes");
	again();
	set_pair("/memory@0", "reg", 0x800, 0x1000);
	rejects("not valid");
	set_pair("/memory@0", "reg", 0, 0x1001);
	rejects("not valid");
	set_pair("/memory@0", "reg", 0xfffffffffffff000, 0x2000);
	rejects("not valid");
	set_pair("/memory@0", "reg", FIX_BASE + FIX_MEMORY_SIZE - 0x1000, 0x2000);
	rejects("overlap");
	set_pair("/memory@0", "reg", 0, ~0xfffull);
	rejects("overlap");
	again();
	set_u32("/memory@0", "microsoft,igvm-type", 6);
	rejects("type 6");
	again();
	set_pair("/memory@0", "reg", 0xf8000000, 0x1000);
	rejects("MMIO and memory overlap");
	again();
	for (u32 i = 0; i <= HOST_DT_MAX_RAM; i++) {
		many[2 * i] = cpu_to_fdt64(i * 0x2000ull);
		many[2 * i + 1] = cpu_to_fdt64(0x1000ull);
	}
	set_bytes("/memory@0", "reg", many, sizeof(many));
	rejects("more than 1024 memory ranges");
	again();
	fdt_del_node(tree, node("/memory@0"));
	fdt_del_node(tree, node("/memory@8000000"));
	rejects("no memory");
}

static void vmbus(void **state)
{
	fdt64_t ranges[9] = {0};

	(void)state;
	drop("/bus", "ranges");
	rejects("bus has no ranges");
	again();
	set_bytes("/bus", "ranges", "12345678", 8); /* translating: not looked at */
	rejects("no VMBus for VTL0");
	again();
	drop("/bus/vmbus-vtl2", "microsoft,vtl");
	rejects("microsoft,vtl is missing");
	set_u32("/bus/vmbus-vtl2", "microsoft,vtl", 1);
	rejects("VTL 1");
	set_u32("/bus/vmbus-vtl2", "microsoft,vtl", 0);
	rejects("two VMBus nodes for VTL0");
	again();
	set_u32("/bus/vmbus-vtl2", "#size-cells", 1);
	rejects("cells are 2 and 1");
	drop("/bus/vmbus-vtl2", "#size-cells");
	rejects("#size-cells is missing");
	again();
	drop("/bus/vmbus-vtl2", "#address-cells");
	rejects("#address-cells is missing");
	again();
	drop("/bus/vmbus-vtl0", "microsoft,message-connection-id");
	rejects("connection-id is missing");
	again();
	set_bytes("/bus/vmbus-vtl0", "ranges", ranges, 20);
	rejects("20 bytes");
	set_bytes("/bus/vmbus-vtl0", "ranges", ranges, 72);
	rejects("3 MMIO ranges");
	ranges[1] = cpu_to_fdt64(0x1000);
	set_bytes("/bus/vmbus-vtl0", "ranges", ranges, 24);
	rejects("translated");
	ranges[0] = ranges[1];
	ranges[2] = cpu_to_fdt64(0x10);
	set_bytes("/bus/vmbus-vtl0", "ranges", ranges, 24);
	rejects("not valid");
	ranges[0] = ranges[1] = cpu_to_fdt64(0x2000000000);
	ranges[2] = cpu_to_fdt64(0x1000);
	set_bytes("/bus/vmbus-vtl0", "ranges", ranges, 24);
	rejects("MMIO ranges overlap");
	again();
	fdt_del_node(tree, node("/bus/vmbus-vtl2"));
	rejects("no VMBus for VTL2");
}

static void other_nodes(void **state)
{
	static char text[HOST_DT_MAX_BOOTARGS + 2];

	(void)state;
	drop("/pio-bus/serial@3e8", "current-speed");
	rejects("current-speed is missing");
	again();
	drop("/pio-bus/serial@3e8", "reg");
	rejects("no reg pair");
	set_bytes("/pio-bus/serial@3e8", "reg", "12345678", 8);
	rejects("no reg pair");
	set_bytes("/pio-bus/serial@3e8", "reg", "1234", 4);
	rejects("4 bytes");
	again();
	set_bytes("/chosen", "bootargs", "abc", 3);
	rejects("bootargs");
	set_bytes("/chosen", "bootargs", "a\0c", 4);
	rejects("bootargs");
	set_bytes("/chosen", "bootargs", "", 0);
	rejects("bootargs");
	memset(text, 'a', HOST_DT_MAX_BOOTARGS + 1);
	set_bytes("/chosen", "bootargs", text, sizeof(text));
	rejects("bootargs");
	again();
	drop("/openhcl", "memory-allocation-mode");
	rejects("memory-allocation-mode");
	set_bytes("/openhcl", "memory-allocation-mode", "vtl0", 5);
	rejects("memory-allocation-mode");
	set_bytes("/openhcl", "memory-allocation-mode", "vtl2", 5);
	set_bytes("/openhcl", "memory-size", "1234", 4);
	rejects("memory-size has 4 bytes");
	set_bytes("/openhcl", "memory-size", "12345678", 8);
	rejects("memory-size is");
	again();
	set_bytes("/openhcl", "vtl0-alias-map", "123", 3);
	rejects("vtl0-alias-map");
	again();
	drop("/openhcl/entropy", "reg");
	rejects("entropy has no reg");
	again();
	assert_true(fdt_add_subnode(tree, 0, "chosen2") > 0);
	assert_int_equal(fdt_set_name(tree, node("/chosen2"), "chosen"), 0);
	rejects("two chosen");
}

/* ---- valid */

static void reads_all(void **state)
{
	(void)state;
	fdt_set_boot_cpuid_phys(tree, 1);
	accepts();
	assert_int_equal(dt.bsp_apic_id, 1);
	assert_int_equal(dt.cpu_count, 2);
	assert_int_equal(dt.cpu[1].apic_id, 1);
	assert_int_equal(dt.ram_count, 2);
	assert_int_equal(dt.ram[0].range.start, 0);
	assert_int_equal(dt.ram[0].type, HOST_RAM_MEMORY);
	assert_int_equal(dt.ram[1].range.start, FIX_BASE);
	assert_int_equal(dt.ram[1].range.end, FIX_BASE + FIX_MEMORY_SIZE);
	assert_int_equal(dt.ram[1].type, HOST_RAM_VTL2_PROTECTABLE);
	assert_int_equal(dt.vtl0.connection_id, 1);
	assert_int_equal(dt.vtl0.mmio_count, 2);
	assert_int_equal(dt.vtl2.connection_id, 4);
	assert_int_equal(dt.vtl2.mmio[0].start, 0x2000000000);
	assert_true(dt.com3);
	assert_int_equal(dt.com3_speed, 115200);
	assert_false(dt.self_allocate);
	assert_string_equal(dt.bootargs, "loglevel=4");
	assert_int_equal(dt.bootargs_length, 10);
	assert_int_equal(dt.entropy_length, 64);
	assert_int_equal(dt.entropy[2], 3);
	assert_true(dt.nvme_keep_alive);
}

static void lenient_parts(void **state)
{
	fdt64_t swapped[6] = {cpu_to_fdt64(0x3000), cpu_to_fdt64(0x3000), cpu_to_fdt64(0x1000),
			      cpu_to_fdt64(0x1000), cpu_to_fdt64(0x1000), cpu_to_fdt64(0x1000)};
	fdt64_t reg[6] = {cpu_to_fdt64(0x5000), cpu_to_fdt64(0x1000), cpu_to_fdt64(0x10000),
			  cpu_to_fdt64(0),	cpu_to_fdt64(0),      cpu_to_fdt64(0x1000)};
	int n;

	(void)state;
	/* A processor that is off, unknown nodes, bad optional hints */
	set_bytes("/cpus/cpu@1", "status", "disabled", 9);
	drop("/cpus/cpu@1", "reg");
	set_bytes("/openhcl/keep-alive", "device-types", "\xff", 1);
	n = fdt_add_subnode(tree, node("/openhcl"), "device-dma");
	fdt_setprop(tree, n, "total-pages", "123", 3);
	fdt_add_subnode(tree, 0, "unknown");
	fdt_add_subnode(tree, node("/bus"), "unknown");
	set_bytes("/memory@0", "reg", reg, sizeof(reg));
	set_bytes("/bus/vmbus-vtl0", "ranges", swapped, sizeof(swapped));
	accepts();
	assert_int_equal(dt.cpu_count, 1);
	assert_int_equal(dt.cpu[0].apic_id, 1);
	assert_false(dt.nvme_keep_alive);
	assert_int_equal(dt.dma_pages, 0);
	assert_int_equal(dt.ram_count, 3);
	assert_int_equal(dt.ram[0].range.start, 0);
	assert_int_equal(dt.ram[1].range.start, 0x5000);
	assert_int_equal(dt.vtl0.mmio[0].start, 0x1000);
	assert_int_equal(dt.vtl0.mmio[1].start, 0x3000);

	/* Nothing optional at all; a port that is not COM3 */
	again();
	fdt_del_node(tree, node("/chosen"));
	fdt_del_node(tree, node("/openhcl"));
	drop("/bus/vmbus-vtl0", "ranges");
	set_pair("/pio-bus/serial@3e8", "reg", 0x2f8, 8);
	accepts();
	assert_int_equal(dt.bootargs_length, 0);
	assert_int_equal(dt.entropy_length, 0);
	assert_int_equal(dt.vtl0.mmio_count, 0);
	assert_false(dt.self_allocate);
	assert_false(dt.com3);
}

static void self_allocation(void **state)
{
	struct fix_tree t = fix_tree_default();

	(void)state;
	t.mode = "vtl2";
	t.memory_size = 64 * MiB;
	t.entropy = 300;
	fix_tree_write(tree, &t);
	accepts();
	assert_true(dt.self_allocate);
	assert_true(dt.has_memory_size);
	assert_int_equal(dt.memory_size, 64 * MiB);
	assert_false(dt.has_mmio_size);
	assert_int_equal(dt.entropy_length, HOST_DT_MAX_ENTROPY);
	/* Sizes count in that mode only. */
	t.mode = "host";
	fix_tree_write(tree, &t);
	accepts();
	assert_false(dt.has_memory_size);
}

static void sorts(void **state)
{
	static fdt64_t reg[2 * (HOST_DT_MAX_RAM - 1)];
	u32 n = HOST_DT_MAX_RAM - 1;

	(void)state;
	for (u32 i = 0; i < n; i++) {
		u64 slot = (i * 577ull) % n; /* 577 and 1023 share no factor */

		reg[2 * i] = cpu_to_fdt64(slot * 0x2000);
		reg[2 * i + 1] = cpu_to_fdt64(0x1000);
	}
	set_bytes("/memory@0", "reg", reg, sizeof(reg));
	accepts();
	assert_int_equal(dt.ram_count, HOST_DT_MAX_RAM);
	for (u32 i = 0; i < n; i++)
		assert_int_equal(dt.ram[i].range.start, i * 0x2000ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(header, open_default),
		cmocka_unit_test_setup(endless_reserve_map, open_default),
		cmocka_unit_test(structure),
		cmocka_unit_test_setup(processors, open_default),
		cmocka_unit_test(too_many_processors),
		cmocka_unit_test_setup(memory, open_default),
		cmocka_unit_test_setup(vmbus, open_default),
		cmocka_unit_test_setup(other_nodes, open_default),
		cmocka_unit_test_setup(reads_all, open_default),
		cmocka_unit_test_setup(lenient_parts, open_default),
		cmocka_unit_test(self_allocation),
		cmocka_unit_test_setup(sorts, open_default),
	};

	return cmocka_run_group_tests_name("shim_host_dt", tests, NULL, NULL);
}
