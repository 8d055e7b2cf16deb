/* Linux direct boot: bad kernels, placement, zero page, page tables, registers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "paravisor/linux_boot.h"

#include <stdlib.h>
#include <string.h>

static struct config config;
static struct shim_measured_vtl0 vtl0;
static u8 head[PAGE_SIZE];
static struct linux_boot_input in;
static struct linux_boot_plan plan;
static const char *reason;

/* 256 MiB guest, VTL2 above; a relocatable bzImage file at 32 MiB, initrd at 64 MiB */
static int set_up(void **state)
{
	(void)state;
	memset(&config, 0, sizeof(config));
	config.vp_count = 1;
	config.range_count = 2;
	config.range[0] = (struct config_range){0, 256 * MiB, SHIM_MEM_VTL0, 0};
	config.range[1] = (struct config_range){256 * MiB, 48 * MiB, SHIM_MEM_VTL2_RAM, 0};
	vtl0 = (struct shim_measured_vtl0){
		.kernel_base_page = 32 * MiB / PAGE_SIZE,
		.kernel_pages = 8 * MiB / PAGE_SIZE,
		.initrd_base_page = 64 * MiB / PAGE_SIZE,
		.initrd_pages = 1024,
		.initrd_size = 1024 * PAGE_SIZE - 7,
	};
	memset(head, 0, sizeof(head));
	head[0x1f1] = 31;
	put_le16(head + 0x1fe, 0xaa55);
	head[0x200] = 0xeb;
	head[0x201] = 0x6a;
	memcpy(head + 0x202, "HdrS", 4);
	put_le16(head + 0x206, 0x20f);
	head[0x211] = 1;
	put_le32(head + 0x22c, 0x7fffffff);
	put_le32(head + 0x230, 2 * MiB);
	head[0x234] = 1;
	put_le16(head + 0x236, 0x3f);
	put_le32(head + 0x238, 2047);
	put_le64(head + 0x258, 16 * MiB);
	put_le32(head + 0x260, 40 * MiB);
	in = (struct linux_boot_input){
		.config = &config,
		.vtl0 = &vtl0,
		.kernel_head = head,
		.kernel_head_size = sizeof(head),
		.cmdline = "console=ttyS0",
		.rsdp = BOOT_ACPI,
	};
	reason = NULL;
	return 0;
}

static void refused(void)
{
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), -1);
	assert_non_null(reason);
	set_up(NULL);
}

static void bad_kernels(void **state)
{
	(void)state;
	put_le16(head + 0x206, 0x20b);
	refused();
	put_le16(head + 0x236, 0);
	refused();
	put_le64(head + 0x258, 0);
	refused();
	put_le64(head + 0x258, UINT64_MAX - 5);
	refused();
	put_le64(head + 0x258, 2 * GiB);
	refused();
	put_le32(head + 0x260, UINT32_MAX);
	refused();
	put_le32(head + 0x260, 250 * MiB);
	refused();
	vtl0.kernel_pages = 4;
	refused();
	vtl0.initrd_base_page = 0;
	refused();
	config.range[0].size = BOOT_LOW_RAM_END;
	refused();
	/* a vmlinux whose entry is elsewhere */
	head[0x202] = 0;
	vtl0.kernel_entry = 0;
	refused();
	head[0x202] = 0;
	vtl0.kernel_entry = UINT64_MAX;
	refused();
	head[0x202] = 0;
	vtl0.kernel_base_page = 0;
	vtl0.kernel_entry = 0x1000;
	refused();
}

/* Every header field at its extremes: refused or a plan inside guest memory. */
static void header_fields(void **state)
{
	(void)state;
	for (size_t at = 0x1f1; at + 8 <= 0x290; at++) {
		static const u64 values[] = {0, UINT64_MAX, 0x8000000000000000, 0x7fffffff};

		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			static u8 low[BOOT_LOW_SIZE];

			set_up(NULL);
			put_le64(head + at, values[v]);
			if (linux_boot_plan(&in, &plan, &reason))
				continue;
			assert_true(config_is_vtl0_ram(&config, plan.kernel_move.to,
						       plan.kernel_move.size));
			assert_true(config_is_vtl0_ram(&config, plan.kernel_move.from,
						       plan.kernel_move.size));
			assert_true(config_is_vtl0_ram(&config, plan.initrd, plan.initrd_size));
			linux_boot_write(&in, &plan, low, &reason);
		}
	}
}

static void placement(void **state)
{
	u64 setup = 32 * 512;

	(void)state;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	assert_int_equal(plan.kernel_move.from, 32 * MiB + setup);
	assert_int_equal(plan.kernel_move.to, 16 * MiB);
	assert_int_equal(plan.kernel_move.size, 8 * MiB - setup);
	assert_int_equal(plan.entry, 16 * MiB + 0x200);
	assert_int_equal(plan.initrd_move.size, 0);
	assert_int_equal(plan.initrd, 64 * MiB);

	/* in the kernel's way: goes to the top, page aligned */
	vtl0.initrd_base_page = 40 * MiB / PAGE_SIZE;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	assert_int_equal(plan.initrd_move.from, 40 * MiB);
	assert_int_equal(plan.initrd_move.to, 252 * MiB);
	assert_int_equal(plan.initrd, 252 * MiB);

	/* the kernel file itself is in the way up there */
	vtl0.kernel_base_page = 248 * MiB / PAGE_SIZE;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	assert_int_equal(plan.initrd, 244 * MiB);

	/* the kernel's own limit counts */
	put_le32(head + 0x22c, 100 * MiB - 1);
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	assert_int_equal(plan.initrd, 96 * MiB);

	/* no place at all */
	vtl0.initrd_pages = 220 * MiB / PAGE_SIZE;
	vtl0.initrd_size = 220 * MiB;
	vtl0.initrd_base_page = 30 * MiB / PAGE_SIZE;
	put_le32(head + 0x22c, 0x7fffffff);
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), -1);
}

/* Nothing to copy when the image already has the payload where it runs. */
static void in_place(void **state)
{
	(void)state;
	vtl0.kernel_base_page = (16 * MiB - 32 * 512) / PAGE_SIZE;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	assert_int_equal(plan.kernel_move.size, 0);
	assert_int_equal(plan.entry, 16 * MiB + 0x200);
}

static void no_initrd(void **state)
{
	(void)state;
	vtl0.initrd_pages = 0;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	assert_int_equal(plan.initrd_size, 0);
	assert_int_equal(plan.initrd, 0);
}

static void zero_page(void **state)
{
	u8 *low = calloc(1, BOOT_LOW_SIZE);
	const u8 *zp = low + BOOT_ZERO_PAGE;
	const u8 *e820 = zp + 0x2d0;

	(void)state;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	memset(low + BOOT_ZERO_PAGE, 0xff, PAGE_SIZE);
	assert_int_equal(linux_boot_write(&in, &plan, low, &reason), 0);
	assert_memory_equal(zp + 0x202, "HdrS", 4);
	assert_int_equal(zp[0x210], 0xff);
	assert_int_equal(zp[0x1f0], 0);
	/* the header ends where the jump at 0x200 says */
	assert_int_equal(zp[0x26c], 0);
	assert_int_equal(get_le32(zp + 0x228), BOOT_CMDLINE);
	assert_int_equal(get_le32(zp + 0x218), 64 * MiB);
	assert_int_equal(get_le32(zp + 0x21c), 1024 * PAGE_SIZE - 7);
	assert_int_equal(get_le64(zp + 0x70), BOOT_ACPI);
	assert_string_equal((char *)low + BOOT_CMDLINE, "console=ttyS0");
	assert_int_equal(zp[0x1e8], 4);
	assert_int_equal(get_le64(e820 + 8), BOOT_LOW_RAM_END);
	assert_int_equal(get_le64(e820 + 20), BOOT_ACPI);
	assert_int_equal(get_le32(e820 + 20 + 16), 3);
	assert_int_equal(get_le64(e820 + 40), 1 * MiB);
	assert_int_equal(get_le64(e820 + 48), 255 * MiB);
	assert_int_equal(get_le32(e820 + 56), 1);
	assert_int_equal(get_le64(e820 + 60), 256 * MiB);
	assert_int_equal(get_le32(e820 + 76), 2);
	free(low);
}

static void too_much(void **state)
{
	u8 *low = calloc(1, BOOT_LOW_SIZE);
	char *text = malloc(5000);

	(void)state;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	memset(text, 'a', 4999);
	text[2048] = 0;
	in.cmdline = text;
	assert_int_equal(linux_boot_write(&in, &plan, low, &reason), -1);
	text[2047] = 0;
	assert_int_equal(linux_boot_write(&in, &plan, low, &reason), 0);
	put_le32(head + 0x238, UINT32_MAX);
	memset(text, 'a', 4999);
	text[4096] = 0;
	assert_int_equal(linux_boot_write(&in, &plan, low, &reason), -1);
	text[4095] = 0;
	assert_int_equal(linux_boot_write(&in, &plan, low, &reason), 0);

	for (u32 i = 1; i < CONFIG_MAX_RANGES; i++)
		config.range[i] = (struct config_range){(256 + 2ull * i) * MiB, MiB, 0, 0};
	config.range_count = CONFIG_MAX_RANGES;
	assert_int_equal(linux_boot_write(&in, &plan, low, &reason), -1);
	free(low);
	free(text);
}

/* Walks the tables like the processor does. */
static u64 translate(const u8 *low, u64 address)
{
	u64 entry = get_le64(low + BOOT_PAGE_TABLES + (address >> 39 & 511) * 8);

	assert_true(entry & 1);
	entry = get_le64(low + (entry & ~0xfffull) + (address >> 30 & 511) * 8);
	assert_true(entry & 1);
	entry = get_le64(low + (entry & ~0xfffull) + (address >> 21 & 511) * 8);
	assert_int_equal(entry & 0x83, 0x83);
	return (entry & ~0x1fffffull) | (address & 0x1fffff);
}

static void page_tables(void **state)
{
	u8 *low = calloc(1, BOOT_LOW_SIZE);

	(void)state;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	assert_int_equal(linux_boot_write(&in, &plan, low, &reason), 0);
	for (u64 a = 0; a < 4 * GiB; a += 2 * MiB)
		assert_int_equal(translate(low, a + 5), a + 5);
	/* the code descriptor is 64 bit, present, readable code */
	assert_int_equal(get_le64(low + BOOT_GDT + 0x10), 0x00af9b000000ffff);
	free(low);
}

static void registers(void **state)
{
	struct hv_register_assoc reg[LINUX_BOOT_REGISTERS];
	struct hv_segment cs = {0};
	u64 cr0 = 0, efer = 0, rip = 0;
	size_t n;

	(void)state;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	n = linux_boot_registers(&plan, reg);
	for (size_t i = 0; i < n; i++) {
		switch (reg[i].name) {
		case HV_REG_CR0: cr0 = reg[i].value.low; break;
		case HV_REG_EFER: efer = reg[i].value.low; break;
		case HV_REG_RIP: rip = reg[i].value.low; break;
		case HV_REG_CS: memcpy(&cs, &reg[i].value, sizeof(cs)); break;
		case HV_REG_GDTR: {
			struct hv_table gdtr;

			memcpy(&gdtr, &reg[i].value, sizeof(gdtr));
			assert_int_equal(gdtr.base, BOOT_GDT);
			assert_int_equal(gdtr.limit, 0x2f);
			break;
		}
		}
	}
	assert_int_equal(cr0 & 0x80000001, 0x80000001);
	assert_int_equal(efer & 0x500, 0x500);
	assert_int_equal(rip, plan.entry);
	assert_int_equal(cs.selector, 0x10);
	assert_int_equal(cs.base, 0);
	assert_int_equal(cs.limit, 0xffffffff);
	assert_int_equal(cs.attributes, 0xa09b);
}

static void vmlinux(void **state)
{
	u8 *low = calloc(1, BOOT_LOW_SIZE);

	(void)state;
	memset(head, 0, sizeof(head));
	vtl0.kernel_entry = 33 * MiB;
	assert_int_equal(linux_boot_plan(&in, &plan, &reason), 0);
	assert_false(plan.is_bzimage);
	assert_int_equal(plan.kernel_move.size, 0);
	assert_int_equal(plan.entry, 33 * MiB);
	assert_int_equal(linux_boot_write(&in, &plan, low, &reason), 0);
	assert_memory_equal(low + BOOT_ZERO_PAGE + 0x202, "HdrS", 4);
	free(low);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bad_kernels, set_up),
		cmocka_unit_test_setup(header_fields, set_up),
		cmocka_unit_test_setup(placement, set_up),
		cmocka_unit_test_setup(in_place, set_up),
		cmocka_unit_test_setup(no_initrd, set_up),
		cmocka_unit_test_setup(zero_page, set_up),
		cmocka_unit_test_setup(too_much, set_up),
		cmocka_unit_test_setup(page_tables, set_up),
		cmocka_unit_test_setup(registers, set_up),
		cmocka_unit_test_setup(vmlinux, set_up),
	};

	return cmocka_run_group_tests_name("pv_linux_boot", tests, NULL, NULL);
}
