/* IGVM parameters that the host fills: no room first, then each value, the tree read by the shim.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "host/params.h"
#include "igvm/igvm.h"
#include "loader/host_dt.h"
#include "tests/unit/host_fixture.h"

static struct host_fix *f;
static struct host_dt dt;

static int setup(void **state)
{
	(void)state;
	f = host_fix_new(64 * MiB, 4 * MiB);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_fix_free(f);
	return 0;
}

/* Every size from nothing to enough: refused or written, never a byte behind. */
static void every_room(void **state)
{
	static const u32 types[] = {IGVM_VP_COUNT,   IGVM_ENVIRONMENT_INFO, IGVM_MMIO_RANGES,
				    IGVM_MEMORY_MAP, IGVM_COMMAND_LINE,	    IGVM_MADT,
				    IGVM_SRAT,	     IGVM_DEVICE_TREE};

	(void)state;
	f->config.bootargs = "console=ttyS2";
	f->config.vtl2_serial = true;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		bool fitted = false;

		for (u64 room = 0; room < 4096; room++) {
			u8 *area = malloc(room ? room : 1); /* exact: ASan sees what is behind */
			int r = params_write(&f->vm, types[i], area, room);

			assert_true(r == 0 || r == -1);
			if (fitted)
				assert_int_equal(r, 0);
			fitted |= !r;
			free(area);
		}
		assert_true(fitted);
	}
}

static void simple_values(void **state)
{
	u8 p[256];

	(void)state;
	assert_int_equal(params_write(&f->vm, IGVM_VP_COUNT, p, 4), 0);
	assert_int_equal(get_le32(p), HOST_FIX_VPS);
	assert_int_equal(params_write(&f->vm, IGVM_ENVIRONMENT_INFO, p, 4), 0);
	assert_int_equal(get_le32(p), 0);
	assert_int_equal(params_write(&f->vm, IGVM_MMIO_RANGES, p, 32), 0);
	assert_int_equal(get_le64(p) * 4096, LOW_MMIO_BASE);
	assert_int_equal((get_le64(p) + get_le64(p + 8)) * 4096, LOW_MMIO_END);
	assert_int_equal(get_le64(p + 16) * 4096, f->vm.mem.high_mmio);
	assert_int_equal(params_write(&f->vm, IGVM_MEMORY_MAP, p, sizeof(p)), 0);
	assert_int_equal(get_le64(p), 0);
	assert_int_equal(get_le64(p + 8), 64 * MiB / 4096);
	assert_int_equal(get_le16(p + 16), 0);
	assert_int_equal(get_le64(p + 24) * 4096, f->vm.mem.vtl2_base);
	assert_int_equal(get_le64(p + 32) * 4096, 4 * MiB);
	assert_int_equal(get_le16(p + 40), 3);
	assert_int_equal(get_le64(p + 56), 0); /* the end: no pages */
	f->config.bootargs = "a=b";
	assert_int_equal(params_write(&f->vm, IGVM_COMMAND_LINE, p, 3), -1);
	assert_int_equal(params_write(&f->vm, IGVM_COMMAND_LINE, p, 4), 0);
	assert_string_equal((char *)p, "a=b");
	f->config.bootargs = NULL;
	assert_int_equal(params_write(&f->vm, IGVM_COMMAND_LINE, p, 1), 0);
	assert_int_equal(p[0], 0);
	assert_int_equal(params_write(&f->vm, 0x7ffffff0, p, 0), 0); /* unknown: left as it is */
}

static void check_table(const u8 *t, const char *signature, u32 len)
{
	u8 sum = 0;

	assert_memory_equal(t, signature, 4);
	assert_int_equal(get_le32(t + 4), len);
	for (u32 i = 0; i < len; i++)
		sum = (u8)(sum + t[i]);
	assert_int_equal(sum, 0);
}

static void acpi(void **state)
{
	u8 t[4096];

	(void)state;
	assert_int_equal(params_write(&f->vm, IGVM_MADT, t, sizeof(t)), 0);
	check_table(t, "APIC", 44 + 8 * HOST_FIX_VPS);
	assert_int_equal(get_le32(t + 36), 0xfee00000);
	for (u8 i = 0; i < HOST_FIX_VPS; i++) {
		assert_int_equal(t[44 + 8 * i + 1], 8);
		assert_int_equal(t[44 + 8 * i + 3], i);
		assert_int_equal(get_le32(t + 44 + 8 * i + 4), 1);
	}
	assert_int_equal(params_write(&f->vm, IGVM_SRAT, t, sizeof(t)), 0);
	check_table(t, "SRAT", 48 + 16 * HOST_FIX_VPS + 2 * 40);
	assert_int_equal(get_le64(t + 48 + 16 * HOST_FIX_VPS + 40 + 8), f->vm.mem.vtl2_base);
}

static void check_tree(u64 vtl0_bytes, unsigned vps)
{
	struct guest_memory *m = &f->vm.mem;
	static _Alignas(8) u8 area[64 * 4096];
	struct shim_error err;
	u64 vtl0 = 0, vtl2 = 0;

	memory_destroy(m);
	assert_int_equal(memory_plan(m, vtl0_bytes, 48 * MiB, 2 * MiB, 0x8000000), 0);
	f->vm.vps = vps;
	memset(area, 0, sizeof(area));
	assert_int_equal(params_write(&f->vm, IGVM_DEVICE_TREE, area, sizeof(area)), 0);
	if (host_dt_read(&dt, area, sizeof(area), &err))
		fail_msg("%s", err.text);
	assert_int_equal(dt.cpu_count, vps);
	assert_int_equal(dt.bsp_apic_id, 0);
	for (u32 i = 0; i < vps; i++)
		assert_int_equal(dt.cpu[i].apic_id, f->vm.vp[i].apic_id);
	assert_int_equal(dt.ram_count, m->ram_count);
	for (u32 i = 0; i < dt.ram_count; i++) {
		assert_int_equal(dt.ram[i].range.start, m->ram[i].gpa);
		assert_int_equal(range_size(dt.ram[i].range), m->ram[i].size);
		if (dt.ram[i].type == HOST_RAM_VTL2_PROTECTABLE)
			vtl2 += m->ram[i].size;
		else if (dt.ram[i].type == HOST_RAM_MEMORY)
			vtl0 += m->ram[i].size;
	}
	assert_int_equal(vtl0, vtl0_bytes);
	assert_int_equal(vtl2, 48 * MiB);
	assert_int_equal(dt.vtl0.connection_id, HV_CONNECTION_VMBUS_VTL0);
	assert_int_equal(dt.vtl0.mmio_count, 2);
	assert_int_equal(dt.vtl0.mmio[0].start, LOW_MMIO_BASE);
	assert_int_equal(dt.vtl0.mmio[0].end, LOW_MMIO_END);
	assert_int_equal(dt.vtl0.mmio[1].start, m->high_mmio);
	assert_int_equal(range_size(dt.vtl0.mmio[1]), HIGH_MMIO_SIZE);
	assert_int_equal(dt.vtl2.connection_id, HV_CONNECTION_VMBUS_MULTI);
	assert_int_equal(dt.vtl2.mmio_count, 1);
	assert_int_equal(dt.vtl2.mmio[0].start, m->vtl2_mmio);
	assert_int_equal(range_size(dt.vtl2.mmio[0]), VTL2_MMIO_SIZE);
	assert_false(dt.self_allocate);
	assert_int_equal(dt.entropy_length, 64);
	assert_int_equal(dt.com3, f->config.vtl2_serial);
	assert_int_equal(dt.bootargs_length, strlen(f->config.bootargs ? f->config.bootargs : ""));
	if (f->config.bootargs)
		assert_string_equal(dt.bootargs, f->config.bootargs);
}

/* The shim's strict reader takes what the host writes, and reads the same. */
static void tree(void **state)
{
	static const u64 sizes[] = {64 * MiB, 3584 * MiB, 4608 * MiB, 64 * GiB, 1024 * GiB};
	u8 entropy[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned vps = 1; vps <= HOST_FIX_VPS; vps++) {
			f->config.vtl2_serial = vps & 1;
			f->config.bootargs = vps & 2 ? "loglevel=8 x" : NULL;
			memcpy(entropy, dt.entropy, sizeof(entropy));
			check_tree(sizes[i], vps);
			assert_memory_not_equal(entropy, dt.entropy, sizeof(entropy));
		}
}

static void tree_of_64(void **state)
{
	struct vp *vps = calloc(MAX_VPS, sizeof(*vps));

	(void)state;
	for (unsigned i = 0; i < MAX_VPS; i++)
		vps[i].apic_id = i;
	f->vm.vp = vps;
	check_tree(64 * GiB, MAX_VPS);
	f->vm.vp = f->vp;
	free(vps);
}

/* Text from the command line cannot break the tree: too long is an error of the image load. */
static void long_bootargs(void **state)
{
	static _Alignas(8) u8 area[64 * 4096];
	char *text = malloc(300000);

	(void)state;
	memset(text, 'x', 299999);
	text[299999] = 0;
	f->config.bootargs = text;
	assert_int_equal(params_write(&f->vm, IGVM_DEVICE_TREE, area, sizeof(area)), -1);
	assert_int_equal(params_write(&f->vm, IGVM_COMMAND_LINE, area, sizeof(area)), -1);
	f->config.bootargs = NULL;
	free(text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_room), T(simple_values), T(acpi), T(tree), T(tree_of_64), T(long_bootargs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
