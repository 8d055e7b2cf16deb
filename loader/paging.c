/* The shim's own address space. */
#include "loader/paging.h"

#include "loader/cpu.h"
#include "loader/page_tables.h"

#define CR0_WRITE_PROTECT BIT(16)
#define MSR_EFER	  0xc0000080u
#define EFER_NXE	  BIT(11)

/*
 * Enough for an image of 4 GiB anywhere: the root, two tables for 512 GiB each, five for 1 GiB
 * each, and two for 2 MiB each at the ends of every range below.
 */
#define TABLES 32

/* From shim.lds; all page aligned */
#define HIDDEN __attribute__((visibility("hidden")))
extern HIDDEN const char __image_start[], __rodata_start[], __data_start[], __hypercall_page[],
	__stack_guard[], __stack_start[], __image_end[];

static struct addr_range between(const char *start, const char *end)
{
	return (struct addr_range){(u64)(uintptr_t)start, (u64)(uintptr_t)end};
}

int paging_enter(const struct shim_image *image, struct shim_error *err)
{
	static u64 pool[TABLES][PAGE_TABLE_ENTRIES]
		__attribute__((section(".noinit"), aligned(PAGE_SIZE)));
	const u64 imported = image->config.start + SHIM_CONFIG_IMPORTED * PAGE_SIZE;
	const struct {
		struct addr_range range;
		u32 access;
	} parts[] = {
		{between(__image_start, __rodata_start), PAGE_EXEC},
		{between(__rodata_start, __data_start), 0},
		{between(__data_start, __hypercall_page), PAGE_WRITE},
		{between(__hypercall_page, __stack_guard), PAGE_EXEC},
		{between(__stack_start, __image_end), PAGE_WRITE},
		{image->kernel, PAGE_WRITE | PAGE_EXEC},
		{image->cmdline, 0},
		{{image->initrd.start, ALIGN_UP(image->initrd.end, PAGE_SIZE)}, 0},
		{image_host_dt(image), 0},
		{{imported, imported + PAGE_SIZE}, 0},
		{image->log, PAGE_WRITE},
	};
	struct shim_tables pt;

	_Static_assert(1 + 2 + 5 + 2 * ARRAY_SIZE(parts) <= TABLES, "room for an image of 4 GiB");
	shim_tables_init(&pt, pool, (u64)(uintptr_t)pool, TABLES);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (shim_tables_map(&pt, parts[i].range, parts[i].access, err))
			return -1;
	/* Without it, the no-execute bit would be a reserved one. */
	if (!(rdmsr(MSR_EFER) & EFER_NXE))
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	write_cr0(read_cr0() | CR0_WRITE_PROTECT);
	write_cr3(pt.address);
	return 0;
}
