/* ACPI tables: room, checksums, pointers, the fields that a guest acts on, AML lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "paravisor/acpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPA 0xe0000u

static const struct acpi_chipset chipset = {
	.pm1_event_port = 0x400,
	.pm1_control_port = 0x404,
	.pm_timer_port = 0x408,
	.pm_timer_32bit = true,
	.sleep_type_s5 = 5,
	.reset_port = 0x433,
	.reset_value = 1,
	.sci_irq = 9,
	.ioapic_base = 0xfec00000,
	.ioapic_id = 3,
	.timer_gsi = 2,
	.com = {{0x3f8, 4}, {0x2f8, 3}},
	.rtc_port = 0x70,
	.rtc_irq = 8,
	.panic_port = 0x505,
};
static struct config config;
static u8 area[0x20000];
static size_t used;

static int set_up(void **state)
{
	(void)state;
	memset(&config, 0, sizeof(config));
	config.vp_count = 3;
	config.apic_id[1] = 254;
	config.apic_id[2] = 300;
	config.vp_node[2] = 1;
	config.range_count = 4;
	config.range[0] = (struct config_range){0, 1 * GiB, SHIM_MEM_VTL0, 0};
	config.range[1] = (struct config_range){1 * GiB, MiB, SHIM_MEM_VTL2_RAM, 0};
	config.range[2] = (struct config_range){0xe0000000, 0x1ec00000, SHIM_MEM_VTL0_MMIO, 0};
	config.range[3] = (struct config_range){5 * GiB, 512 * MiB, SHIM_MEM_VTL0_MMIO, 0};
	memset(area, 0xcc, sizeof(area));
	used = acpi_build(&config, &chipset, GPA, area, sizeof(area));
	assert_true(used > 0 && used < sizeof(area));
	return 0;
}

static u8 sum(const u8 *p, size_t n)
{
	u8 s = 0;

	while (n--)
		s = (u8)(s + *p++);
	return s;
}

static const u8 *at(u64 gpa)
{
	assert_in_range(gpa, GPA, GPA + used - 8);
	return area + (gpa - GPA);
}

/* A table by signature through RSDP and XSDT, checked on the way. */
static const u8 *find(const char *signature, u32 *length)
{
	const u8 *xsdt = at(get_le64(area + 24));

	assert_memory_equal(xsdt, "XSDT", 4);
	for (u32 i = 36; i < get_le32(xsdt + 4); i += 8) {
		const u8 *t = at(get_le64(xsdt + i));

		*length = get_le32(t + 4);
		assert_in_range(*length, 36, used);
		assert_int_equal(sum(t, *length), 0);
		if (!memcmp(t, signature, 4))
			return t;
	}
	fail_msg("no %s", signature);
	return NULL;
}

static void little_room(void **state)
{
	(void)state;
	for (size_t size = 0; size <= used; size++) {
		u8 *out = malloc(size + 1);
		size_t n = acpi_build(&config, &chipset, GPA, out, size);

		assert_int_equal(n, size < used ? 0 : used);
		free(out);
	}
}

static void root(void **state)
{
	const u8 *xsdt;

	(void)state;
	assert_memory_equal(area, "RSD PTR ", 8);
	assert_int_equal(sum(area, 20), 0);
	assert_int_equal(sum(area, 36), 0);
	xsdt = at(get_le64(area + 24));
	assert_int_equal(sum(xsdt, get_le32(xsdt + 4)), 0);
}

static void fadt(void **state)
{
	u32 length;
	const u8 *t = find("FACP", &length);
	const u8 *facs, *dsdt;

	(void)state;
	assert_int_equal(length, 276);
	assert_int_equal(get_le16(t + 46), 9);
	assert_int_equal(get_le32(t + 48), 0);
	assert_int_equal(get_le32(t + 56), 0x400);
	assert_int_equal(get_le32(t + 64), 0x404);
	assert_int_equal(get_le32(t + 76), 0x408);
	assert_int_equal(t[116], 1);
	assert_int_equal(get_le64(t + 120), 0x433);
	assert_int_equal(t[128], 1);
	assert_int_equal(get_le32(t + 112) & (BIT(8) | BIT(10) | BIT(20)), BIT(8) | BIT(10));
	assert_int_equal(get_le64(t + 212), 0x408);
	facs = at(get_le32(t + 36));
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(get_le32(t + 36) % 64, 0);
	dsdt = at(get_le64(t + 140));
	assert_ptr_equal(dsdt, at(get_le32(t + 40)));
	assert_memory_equal(dsdt, "DSDT", 4);
	assert_int_equal(sum(dsdt, get_le32(dsdt + 4)), 0);
}

static void madt(void **state)
{
	u32 length, lapics = 0, x2apics = 0, ioapics = 0, overrides = 0;
	const u8 *t = find("APIC", &length);

	(void)state;
	for (u32 i = 44; i < length; i += t[i + 1]) {
		assert_true(t[i + 1] >= 2 && i + t[i + 1] <= length);
		switch (t[i]) {
		case 0: lapics++; break;
		case 9:
			x2apics++;
			assert_int_equal(get_le32(t + i + 4), 300);
			assert_int_equal(get_le32(t + i + 12), 2);
			break;
		case 1:
			ioapics++;
			assert_int_equal(get_le32(t + i + 4), 0xfec00000);
			break;
		case 2: overrides++; break;
		}
	}
	assert_int_equal(lapics, 2);
	assert_int_equal(x2apics, 1);
	assert_int_equal(ioapics, 1);
	assert_int_equal(overrides, 2);
}

static void srat(void **state)
{
	u32 length, memory = 0, cpus = 0;
	const u8 *t = find("SRAT", &length);

	(void)state;
	for (u32 i = 48; i < length; i += t[i + 1]) {
		assert_true(t[i + 1] >= 2 && i + t[i + 1] <= length);
		if (t[i] == 1) {
			memory++;
			assert_int_equal(get_le64(t + i + 16), 1 * GiB);
		} else {
			cpus++;
		}
	}
	assert_int_equal(memory, 1);
	assert_int_equal(cpus, 3);
}

/* Follows package lengths: each object ends inside its parent. */
static void aml(void **state)
{
	u32 length;
	const u8 *f = find("FACP", &length);
	const u8 *t = at(get_le64(f + 140));
	u32 end = get_le32(t + 4), i = 36, devices = 0;
	u32 n;

	(void)state;
	assert_memory_equal(t + i, "\x08_S5_\x12", 6);
	n = (t[i + 6] & 0xf) | (u32)t[i + 7] << 4;
	assert_int_equal(t[i + 8], 4);
	assert_int_equal(t[i + 10], 5);
	i += 6 + n;
	assert_int_equal(t[i], 0x10);
	n = (t[i + 1] & 0xf) | (u32)t[i + 2] << 4;
	assert_int_equal(i + 1 + n, end);
	i += 3;
	assert_memory_equal(t + i, "\\_SB_", 5);
	for (i += 5; i < end;) {
		assert_memory_equal(t + i, "\x5b\x82", 2);
		n = (t[i + 2] & 0xf) | (u32)t[i + 3] << 4;
		assert_true(i + 2 + n <= end);
		i += 2 + n;
		devices++;
	}
	assert_int_equal(i, end);
	assert_int_equal(devices, 5);
}

/* Intel's compiler as a second opinion, where it is installed (acpica-tools). */
static void disassembler(void **state)
{
	static const char *const names[] = {"FACP", "APIC", "SRAT", "DSDT"};
	char dir[] = "/tmp/parapet-acpi-XXXXXX";
	char command[256];
	u32 length;

	(void)state;
	if (system("command -v iasl >/dev/null 2>&1") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const u8 *t = i < 3 ? find(names[i], &length)
				    : at(get_le64(find("FACP", &length) + 140));
		FILE *f;

		snprintf(command, sizeof(command), "%s/%s.dat", dir, names[i]);
		f = fopen(command, "wb");
		assert_non_null(f);
		assert_int_equal(fwrite(t, 1, get_le32(t + 4), f), get_le32(t + 4));
		fclose(f);
		snprintf(command, sizeof(command),
			 "cd %s && iasl -d %s.dat >%s.log 2>&1 && ! grep -i -e '^Error' -e "
			 "'invalid' -e 'mismatch' -e 'should be' %s.log %s.dsl",
			 dir, names[i], names[i], names[i], names[i]);
		assert_int_equal(system(command), 0);
	}
	/* 6033: the name of the VMBus node is shorter than the specification has it */
	snprintf(command, sizeof(command), "cd %s && iasl -vw 3073 -vw 6033 DSDT.dsl >c.log 2>&1",
		 dir);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(little_room, set_up),  cmocka_unit_test_setup(root, set_up),
		cmocka_unit_test_setup(fadt, set_up),	      cmocka_unit_test_setup(madt, set_up),
		cmocka_unit_test_setup(srat, set_up),	      cmocka_unit_test_setup(aml, set_up),
		cmocka_unit_test_setup(disassembler, set_up),
	};

	return cmocka_run_group_tests_name("pv_acpi", tests, NULL, NULL);
}
