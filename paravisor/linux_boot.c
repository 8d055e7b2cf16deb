/* Linux direct boot: Documentation/arch/x86/{boot,zero-page}.rst give the offsets used here. */
#include "paravisor/linux_boot.h"

#include "common/bytes.h"

#include <string.h>

/* Setup header, offsets in the image and (from 0x1f1 on) in the zero page */
#define HDR_START	       0x1f1
#define HDR_SETUP_SECTS	       0x1f1
#define HDR_BOOT_FLAG	       0x1fe
#define HDR_JUMP	       0x200
#define HDR_MAGIC	       0x202
#define HDR_VERSION	       0x206
#define HDR_TYPE_OF_LOADER     0x210
#define HDR_LOADFLAGS	       0x211
#define HDR_RAMDISK_IMAGE      0x218
#define HDR_RAMDISK_SIZE       0x21c
#define HDR_CMD_LINE_PTR       0x228
#define HDR_INITRD_ADDR_MAX    0x22c
#define HDR_KERNEL_ALIGNMENT   0x230
#define HDR_RELOCATABLE	       0x234
#define HDR_XLOADFLAGS	       0x236
#define HDR_CMDLINE_SIZE       0x238
#define HDR_PREF_ADDRESS       0x258
#define HDR_INIT_SIZE	       0x260
#define HDR_END_MAXIMUM	       0x290
#define HDR_MAGIC_VALUE	       0x53726448 /* "HdrS" */
#define XLOADFLAG_KERNEL_64    BIT(0)
#define BZIMAGE_ENTRY64_OFFSET 0x200

/* Zero page only */
#define ZP_ACPI_RSDP	     0x070
#define ZP_EXT_RAMDISK_IMAGE 0x0c0
#define ZP_EXT_RAMDISK_SIZE  0x0c4
#define ZP_E820_ENTRIES	     0x1e8
#define ZP_E820_TABLE	     0x2d0
#define ZP_E820_MAX	     128
#define ZP_E820_ENTRY_SIZE   20

enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3 };

#define PTE_PRESENT  BIT(0)
#define PTE_WRITABLE BIT(1)
#define PTE_LARGE    BIT(7)

static int fail(const char **reason, const char *text)
{
	*reason = text;
	return -1;
}

static bool overlaps(u64 a, u64 a_size, u64 b, u64 b_size)
{
	return a_size && b_size && a < b + b_size && b < a + a_size;
}

/* Highest page-aligned place for size bytes below limit, clear of the two ranges to keep. */
static bool find_high_place(const struct linux_boot_input *in, u64 size, u64 limit, u64 keep_a,
			    u64 keep_a_size, u64 keep_b, u64 keep_b_size, u64 *place)
{
	for (u32 i = in->config->range_count; i-- > 0;) {
		const struct config_range *range = &in->config->range[i];
		u64 end = MIN(range->base + range->size, limit);
		u64 at;

		if (range->type != SHIM_MEM_VTL0 || end <= range->base || end - range->base < size)
			continue;
		at = ALIGN_DOWN(end - size, PAGE_SIZE);
		/* stepping below each obstacle once each way is enough for two of them */
		for (int tries = 0; tries < 4; tries++) {
			u64 hit;

			if (overlaps(at, size, keep_a, keep_a_size))
				hit = keep_a;
			else if (overlaps(at, size, keep_b, keep_b_size))
				hit = keep_b;
			else
				break;
			at = hit >= size ? ALIGN_DOWN(hit - size, PAGE_SIZE) : 0;
			if (at < range->base)
				break;
		}
		if (at >= range->base && at >= BOOT_LOW_SIZE &&
		    !overlaps(at, size, keep_a, keep_a_size) &&
		    !overlaps(at, size, keep_b, keep_b_size)) {
			*place = at;
			return true;
		}
	}
	return false;
}

static int plan_bzimage(const struct linux_boot_input *in, struct linux_boot_plan *plan,
			const char **reason)
{
	const u8 *head = in->kernel_head;
	u64 region = in->vtl0->kernel_base_page * PAGE_SIZE;
	u64 region_size = in->vtl0->kernel_pages * PAGE_SIZE;
	u32 sectors = head[HDR_SETUP_SECTS] ? head[HDR_SETUP_SECTS] : 4;
	u64 setup_size = (sectors + 1) * 512ull;
	u64 load = get_le64(head + HDR_PREF_ADDRESS);
	u64 init_size = get_le32(head + HDR_INIT_SIZE);
	u64 payload;

	if (get_le16(head + HDR_VERSION) < 0x20c)
		return fail(reason, "the guest kernel is too old (boot protocol before 2.12)");
	if (!(get_le16(head + HDR_XLOADFLAGS) & XLOADFLAG_KERNEL_64))
		return fail(reason, "the guest kernel has no 64-bit entry point");
	if (setup_size + BZIMAGE_ENTRY64_OFFSET >= region_size)
		return fail(reason, "the guest kernel image is cut short");
	payload = region_size - setup_size;
	/*
	 * The preferred address spares the kernel relocating itself. It must also be free of the
	 * boot data below 1 MiB and inside the identity map.
	 */
	if (load < BOOT_LOW_SIZE || load > 2 * GiB || init_size > 1 * GiB)
		return fail(reason, "the guest kernel has a bad load address or size");
	init_size = MAX(init_size, payload);
	if (!config_is_vtl0_ram(in->config, load, init_size))
		return fail(reason, "too little guest memory for this kernel");
	plan->is_bzimage = true;
	plan->entry = load + BZIMAGE_ENTRY64_OFFSET;
	/* an image builder may have put the payload in its place already */
	if (region + setup_size != load)
		plan->kernel_move = (struct linux_boot_move){
			.from = region + setup_size, .to = load, .size = payload};

	if (overlaps(plan->initrd, plan->initrd_size, load, init_size)) {
		u64 limit = (u64)get_le32(head + HDR_INITRD_ADDR_MAX) + 1;
		u64 place;

		if (!find_high_place(in, plan->initrd_size, limit, load, init_size, region,
				     region_size, &place))
			return fail(reason, "too little guest memory for kernel and initrd");
		plan->initrd_move = (struct linux_boot_move){
			.from = plan->initrd, .to = place, .size = plan->initrd_size};
		plan->initrd = place;
	}
	return 0;
}

int linux_boot_plan(const struct linux_boot_input *in, struct linux_boot_plan *plan,
		    const char **reason)
{
	memset(plan, 0, sizeof(*plan));
	if (in->vtl0->initrd_pages && in->vtl0->initrd_size) {
		plan->initrd = in->vtl0->initrd_base_page * PAGE_SIZE;
		plan->initrd_size = in->vtl0->initrd_size;
	}
	if (!config_is_vtl0_ram(in->config, 0, BOOT_LOW_SIZE))
		return fail(reason, "guest memory does not start at address 0");
	/* a bzImage may lie anywhere, it is moved; these two stay where the image put them */
	if (overlaps(plan->initrd, plan->initrd_size, 0, BOOT_LOW_SIZE))
		return fail(reason, "the guest initrd lies below 1 MiB");
	if (in->kernel_head_size >= BOOT_SETUP_MINIMUM &&
	    get_le32(in->kernel_head + HDR_MAGIC) == HDR_MAGIC_VALUE)
		return plan_bzimage(in, plan, reason);

	if (in->vtl0->kernel_base_page * PAGE_SIZE < BOOT_LOW_SIZE)
		return fail(reason, "the guest kernel lies below 1 MiB");
	plan->entry = in->vtl0->kernel_entry;
	if (plan->entry >= 4 * GiB)
		return fail(reason, "the guest kernel's entry is above 4 GiB");
	if (plan->entry / PAGE_SIZE < in->vtl0->kernel_base_page ||
	    plan->entry / PAGE_SIZE - in->vtl0->kernel_base_page >= in->vtl0->kernel_pages)
		return fail(reason, "the guest kernel's entry lies outside the kernel");
	return 0;
}

struct e820 {
	u8 *zero_page;
	u32 count;
	bool full;
};

static void e820_add(struct e820 *map, u64 base, u64 end, enum e820_type type)
{
	u8 *entry;

	if (base >= end)
		return;
	if (map->count == ZP_E820_MAX) {
		map->full = true;
		return;
	}
	entry = map->zero_page + ZP_E820_TABLE + map->count * ZP_E820_ENTRY_SIZE;
	put_le64(entry, base);
	put_le64(entry + 8, end - base);
	put_le32(entry + 16, type);
	map->zero_page[ZP_E820_ENTRIES] = (u8)++map->count;
}

static int build_e820(const struct config *config, u8 *zero_page, const char **reason)
{
	struct e820 map = {.zero_page = zero_page};

	/* the first RAM range starts at 0 and covers the first MiB (linux_boot_plan) */
	e820_add(&map, 0, BOOT_LOW_RAM_END, E820_RAM);
	e820_add(&map, BOOT_ACPI, BOOT_ACPI + BOOT_ACPI_SIZE, E820_ACPI);
	for (u32 i = 0; i < config->range_count; i++) {
		const struct config_range *range = &config->range[i];
		u64 base = MAX(range->base, BOOT_LOW_SIZE);
		u64 end = range->base + range->size;

		if (range->type == SHIM_MEM_VTL0)
			e820_add(&map, base, end, E820_RAM);
		else if (config_is_vtl2_memory(range))
			e820_add(&map, base, end, E820_RESERVED);
	}
	return map.full ? fail(reason, "too many memory ranges for the guest's map") : 0;
}

static void write_page_tables(u8 *low)
{
	u64 pdpt = BOOT_PAGE_TABLES + PAGE_SIZE;

	memset(low + BOOT_PAGE_TABLES, 0, 6 * PAGE_SIZE);
	put_le64(low + BOOT_PAGE_TABLES, pdpt | PTE_PRESENT | PTE_WRITABLE);
	for (u64 i = 0; i < 4; i++) {
		u64 pd = pdpt + (1 + i) * PAGE_SIZE;

		put_le64(low + pdpt + i * 8, pd | PTE_PRESENT | PTE_WRITABLE);
		for (u64 j = 0; j < 512; j++)
			put_le64(low + pd + j * 8,
				 (i * GiB + j * 2 * MiB) | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE);
	}
}

#define GDT_CODE64 0x00af9b000000ffffull /* selector 0x10, __BOOT_CS */
#define GDT_DATA   0x00cf93000000ffffull /* selector 0x18, __BOOT_DS */
#define GDT_TSS	   0x00008b0000000067ull /* selector 0x20 */
#define GDT_LIMIT  0x2f

static void write_gdt(u8 *low)
{
	memset(low + BOOT_GDT, 0, GDT_LIMIT + 1);
	put_le64(low + BOOT_GDT + 0x10, GDT_CODE64);
	put_le64(low + BOOT_GDT + 0x18, GDT_DATA);
	put_le64(low + BOOT_GDT + 0x20, GDT_TSS);
}

/* Copies the setup header of a bzImage, or makes the least one that a bare vmlinux reads. */
static void write_setup_header(const struct linux_boot_input *in,
			       const struct linux_boot_plan *plan, u8 *zp)
{
	if (plan->is_bzimage) {
		/* the jump at 0x200 skips the header: its offset byte is where the header ends */
		size_t end = MIN((size_t)HDR_MAGIC + in->kernel_head[HDR_JUMP + 1],
				 (size_t)HDR_END_MAXIMUM);

		memcpy(zp + HDR_START, in->kernel_head + HDR_START, end - HDR_START);
	} else {
		put_le16(zp + HDR_BOOT_FLAG, 0xaa55);
		put_le32(zp + HDR_MAGIC, HDR_MAGIC_VALUE);
		put_le16(zp + HDR_VERSION, 0x20f);
		zp[HDR_LOADFLAGS] = 1;
	}
	zp[HDR_TYPE_OF_LOADER] = 0xff;
	put_le32(zp + HDR_CMD_LINE_PTR, BOOT_CMDLINE);
	put_le32(zp + HDR_CMDLINE_SIZE, BOOT_CMDLINE_MAX - 1);
	put_le32(zp + HDR_RAMDISK_IMAGE, (u32)plan->initrd);
	put_le32(zp + HDR_RAMDISK_SIZE, (u32)plan->initrd_size);
	put_le32(zp + ZP_EXT_RAMDISK_IMAGE, (u32)(plan->initrd >> 32));
	put_le32(zp + ZP_EXT_RAMDISK_SIZE, (u32)(plan->initrd_size >> 32));
	put_le64(zp + ZP_ACPI_RSDP, in->rsdp);
}

int linux_boot_write(const struct linux_boot_input *in, const struct linux_boot_plan *plan, u8 *low,
		     const char **reason)
{
	u32 limit = plan->is_bzimage ? get_le32(in->kernel_head + HDR_CMDLINE_SIZE) : 2047;
	size_t length = strlen(in->cmdline);
	u8 *zp = low + BOOT_ZERO_PAGE;

	if (length > MIN(limit, BOOT_CMDLINE_MAX - 1))
		return fail(reason, "the guest command line is longer than its kernel takes");
	memset(zp, 0, PAGE_SIZE);
	write_setup_header(in, plan, zp);
	if (build_e820(in->config, zp, reason))
		return -1;
	memcpy(low + BOOT_CMDLINE, in->cmdline, length + 1);
	write_gdt(low);
	write_page_tables(low);
	return 0;
}

static struct hv_register_assoc value(u32 name, u64 low)
{
	return (struct hv_register_assoc){.name = name, .value = {.low = low}};
}

static struct hv_register_assoc segment(u32 name, u16 selector, u32 limit, u16 attributes)
{
	return (struct hv_register_assoc){
		.name = name,
		.value.high = limit | (u64)selector << 32 | (u64)attributes << 48,
	};
}

static struct hv_register_assoc table(u32 name, u64 base, u16 limit)
{
	return (struct hv_register_assoc){
		.name = name,
		.value = {.low = (u64)limit << 48, .high = base},
	};
}

size_t linux_boot_registers(const struct linux_boot_plan *plan,
			    struct hv_register_assoc reg[LINUX_BOOT_REGISTERS])
{
	/* paging needs CR4.PAE and EFER.LME first, should the hypervisor apply one by one */
	const struct hv_register_assoc list[] = {
		value(HV_REG_CR3, BOOT_PAGE_TABLES),
		value(HV_REG_CR4, 0x20),
		value(HV_REG_EFER, 0xd00),     /* NXE, LMA, LME */
		value(HV_REG_CR0, 0x80000033), /* PG, NE, ET, MP, PE */
		value(HV_REG_PAT, 0x0007040600070406),
		segment(HV_REG_CS, 0x10, 0xffffffff, 0xa09b),
		segment(HV_REG_DS, 0x18, 0xffffffff, 0xc093),
		segment(HV_REG_ES, 0x18, 0xffffffff, 0xc093),
		segment(HV_REG_FS, 0x18, 0xffffffff, 0xc093),
		segment(HV_REG_GS, 0x18, 0xffffffff, 0xc093),
		segment(HV_REG_SS, 0x18, 0xffffffff, 0xc093),
		segment(HV_REG_TR, 0x20, 0x67, 0x8b),
		table(HV_REG_GDTR, BOOT_GDT, GDT_LIMIT),
		table(HV_REG_IDTR, 0, 0),
		value(HV_REG_RSP, 0),
		value(HV_REG_RFLAGS, 2),
		value(HV_REG_RIP, plan->entry),
	};

	_Static_assert(ARRAY_SIZE(list) <= LINUX_BOOT_REGISTERS, "room");
	memcpy(reg, list, sizeof(list));
	return ARRAY_SIZE(list);
}
