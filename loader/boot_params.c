/* Zero page for the 64-bit entry of Linux (Documentation/arch/x86/{boot,zero-page}.rst). */
#include "loader/boot_params.h"

#include <string.h>

#include "common/bytes.h"

#define EXT_RAMDISK_IMAGE 0x0c0
#define EXT_RAMDISK_SIZE  0x0c4
#define EXT_CMD_LINE_PTR  0x0c8
#define E820_COUNT	  0x1e8
#define TYPE_OF_LOADER	  0x210
#define RAMDISK_IMAGE	  0x218
#define RAMDISK_SIZE	  0x21c
#define CMD_LINE_PTR	  0x228
#define HARDWARE_SUBARCH  0x23c
#define SETUP_DATA	  0x250
#define E820_TABLE	  0x2d0

#define LOADER_UNKNOWN 0xff
/* Any but the PC: keeps Linux from reserving and probing BIOS areas, which are VTL0's. */
#define SUBARCH_NOT_PC 1

#define E820_RAM      1
#define E820_RESERVED 2

static u32 e820_type(u32 type)
{
	if (type == SHIM_MEM_VTL2_RAM)
		return E820_RAM;
	return plan_type_is_reserved(type) ? E820_RESERVED : 0;
}

struct e820 {
	u8 *table;
	struct boot_e820_ext *ext;
	u32 count;
};

static u8 *e820_slot(const struct e820 *map, u32 i)
{
	return i < BOOT_E820_MAX ? map->table + i * BOOT_E820_ENTRY_SIZE
				 : map->ext->entries + (i - BOOT_E820_MAX) * BOOT_E820_ENTRY_SIZE;
}

static int e820_add(struct e820 *map, struct addr_range range, u32 type)
{
	u8 *slot;

	/* Neighbours of one type are one entry: VTL2's map has many reserved pieces in a row. */
	if (map->count) {
		slot = e820_slot(map, map->count - 1);
		if (get_le64(slot) + get_le64(slot + 8) == range.start &&
		    get_le32(slot + 16) == type) {
			put_le64(slot + 8, get_le64(slot + 8) + range_size(range));
			return 0;
		}
	}
	if (map->count == BOOT_E820_MAX + BOOT_E820_EXT_MAX)
		return -1;
	slot = e820_slot(map, map->count++);
	put_le64(slot, range.start);
	put_le64(slot + 8, range_size(range));
	put_le32(slot + 16, type);
	return 0;
}

static void put_split(u8 *page, u32 low_at, u32 high_at, u64 value)
{
	put_le32(page + low_at, (u32)value);
	put_le32(page + high_at, (u32)(value >> 32));
}

int boot_params_fill(u8 page[PAGE_SIZE], const struct boot_params_input *in, struct shim_error *err)
{
	struct e820 map = {.table = page + E820_TABLE, .ext = in->e820_ext};

	memset(page, 0, PAGE_SIZE);
	for (u32 i = 0; i < in->plan->entry_count; i++) {
		u32 type = e820_type(in->plan->entry[i].type);

		if (type && e820_add(&map, in->plan->entry[i].range, type))
			return shim_fail(err, "VTL2's memory map has more than %d pieces",
					 BOOT_E820_MAX + BOOT_E820_EXT_MAX);
	}
	page[E820_COUNT] = (u8)MIN(map.count, BOOT_E820_MAX);
	page[TYPE_OF_LOADER] = LOADER_UNKNOWN;
	put_le32(page + HARDWARE_SUBARCH, SUBARCH_NOT_PC);
	put_split(page, CMD_LINE_PTR, EXT_CMD_LINE_PTR, in->cmdline);
	if (range_size(in->initrd)) {
		put_split(page, RAMDISK_IMAGE, EXT_RAMDISK_IMAGE, in->initrd.start);
		put_split(page, RAMDISK_SIZE, EXT_RAMDISK_SIZE, range_size(in->initrd));
	}
	put_le64(page + SETUP_DATA, in->dtb_address);
	*in->dtb = (struct boot_setup_data){.type = BOOT_SETUP_DTB, .len = in->dtb_size};
	if (map.count > BOOT_E820_MAX) {
		in->dtb->next = in->e820_ext_address;
		in->e820_ext->header = (struct boot_setup_data){.type = BOOT_SETUP_E820_EXT,
								.len = (map.count - BOOT_E820_MAX) *
								       BOOT_E820_ENTRY_SIZE};
	}
	return 0;
}
