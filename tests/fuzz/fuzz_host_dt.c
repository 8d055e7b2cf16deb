/*
 * Host device tree, from any bytes to what Linux gets: read, memory plan, kernel tree, boot
 * parameters. The low bits of boot_cpuid_phys, which no rule restricts, choose the isolation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/boot_params.h"
#include "loader/cmdline.h"
#include "loader/linux_dt.h"
#include "tests/unit/shim_fixture.h"

#define MUST(condition)                                                                 \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static struct host_dt dt;
static struct memory_plan plan;
static _Alignas(16) u8 output[FIX_TREE_SIZE];
static struct boot_e820_ext ext;
static u8 zero_page[PAGE_SIZE];
static char line[CMDLINE_SIZE];

static void check_plan(const struct shim_image *image)
{
	u64 vtl2 = 0, reserved = 0, sum = 0;

	for (u32 i = 0; i < plan.entry_count; i++) {
		const struct plan_entry *e = &plan.entry[i];

		MUST(e->range.start < e->range.end);
		MUST(!i || plan.entry[i - 1].range.end <= e->range.start);
		if (plan_type_is_reserved(e->type))
			reserved += range_size(e->range);
		if (plan_type_is_reserved(e->type) || e->type == SHIM_MEM_VTL2_RAM)
			vtl2 += range_size(e->range);
	}
	for (u32 i = 0; i < plan.ram_count; i++) {
		MUST(!i || plan.ram[i - 1].range.end <= plan.ram[i].range.start);
		sum += range_size(plan.ram[i].range);
	}
	MUST(vtl2 == sum);
	MUST(reserved == (20 + SHIM_RESERVED_PAGES + SHIM_CONFIG_PAGES - SHIM_CONFIG_DT_PAGES +
			  SHIM_LOG_PAGES) *
				 PAGE_SIZE);
	MUST(sum >= range_size(image->used));
}

static void describe(const struct shim_image *image, const struct imported_list *imported,
		     enum isolation isolation)
{
	const struct linux_dt_input in = {
		.host = &dt, .plan = &plan, .imported = imported, .isolation = isolation};
	const struct cmdline_input words = {.isolation = isolation,
					    .measured = {.append_allowed = true, .text = ""},
					    .bootargs = dt.bootargs,
					    .com3 = dt.com3,
					    .com3_speed = dt.com3_speed};
	struct boot_setup_data header;
	const struct boot_params_input boot = {
		.plan = &plan, .initrd = image->initrd, .dtb = &header, .e820_ext = &ext};
	struct shim_error err;
	s64 size = linux_dt_write(output, sizeof(output), &in, &err);

	if (size >= 0)
		MUST(fdt_check_full(output, (size_t)size) == 0);
	MUST(boot_params_fill(zero_page, &boot, &err) == 0);
	if (cmdline_build(line, &words, &err) == 0)
		MUST(strlen(line) < sizeof(line));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct imported_list imported;
	struct shim_params params = fix_params();
	struct shim_image image;
	struct shim_error err;
	enum isolation isolation;
	void *area;

	if (size > FIX_TREE_SIZE)
		return 0;
	/* Exactly as large as the input, so that a byte too many is seen. */
	area = malloc(size ? size : 1);
	memcpy(area, data, size);
	MUST(fix_image(&image, &params, &err) == 0);
	imported.count = 2;
	imported.entry[0].range = (struct addr_range){0, PAGE_SIZE};
	imported.entry[0].accepted = true;
	imported.entry[1].range = image.used;
	if (host_dt_read(&dt, area, size, &err) == 0) {
		free(area);
		area = NULL;
		isolation = (enum isolation)(dt.bsp_apic_id & 3);
		if (memory_plan_build(&plan, &image, &imported, &dt, isolation, &err) == 0) {
			check_plan(&image);
			describe(&image, &imported, isolation);
		}
	}
	free(area);
	return 0;
}
