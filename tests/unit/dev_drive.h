/* One act on a chipset by a few arbitrary bytes: what unit tests and fuzz targets share. */
#ifndef PARAPET_TESTS_UNIT_DEV_DRIVE_H
#define PARAPET_TESTS_UNIT_DEV_DRIVE_H

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "vtl2-devices/chipset.h"

#define DRIVE_BYTES  7
#define DRIVE_FAR_NS (1ull << 50) /* a hostile state may wait for the end of time */

/* Ports that a device answers, so that short inputs reach them. */
static inline u16 drive_port(u8 a, u8 b)
{
	static const u16 base[] = {0x20,  0x40,	 0x60,	0x61,  0x64,  0x70,  0x80,
				   0x92,  0xa0,	 0xe8,	0x2e8, 0x2f8, 0x3e8, 0x3f8,
				   0x400, 0x408, 0x430, 0x4d0, 0xcf8, 0xffff};

	return a & 0x80 ? (u16)((a & 0x7f) << 8 | b) : (u16)(base[a % ARRAY_SIZE(base)] + (b & 7));
}

static inline u64 drive_address(u8 a, u32 b)
{
	if (a & 0x80)
		return UINT64_MAX - (b & 15);
	return IOAPIC_BASE - 8 + (a & 0x40 ? b & 0x1fff : (b & 7) * 8);
}

/* A guest's access, an event from outside, or time that goes on. Returns what was read. */
static inline u64 drive(struct chipset *cs, const u8 bytes[DRIVE_BYTES], u64 *now_ns, u64 *wall_ns)
{
	static const unsigned sizes[] = {1, 2, 4, 8, 1, 4, 3, 0};
	u8 op[DRIVE_BYTES + 1] = {0};
	unsigned size = sizes[bytes[0] >> 4 & 7];
	u32 value = get_le32(bytes + 3);
	u64 next;

	memcpy(op, bytes, DRIVE_BYTES);
	switch (op[0] & 15) {
	case 0 ... 3: chipset_pio_write(cs, drive_port(op[1], op[2]), size, value); break;
	case 4 ... 6: return chipset_pio_read(cs, drive_port(op[1], op[2]), size);
	case 7:
		chipset_mmio_write(cs, drive_address(op[1], op[2]), size, value | (u64)value << 32);
		break;
	case 8: /* IOAPIC by index, as drivers do it */
		chipset_mmio_write(cs, IOAPIC_BASE, 4, op[1] & 0x3f);
		chipset_mmio_write(cs, IOAPIC_BASE + 16, 4, value);
		break;
	case 9: return chipset_mmio_read(cs, drive_address(op[1], value), size);
	case 10: chipset_set_irq(cs, op[1], op[2] & 1); break;
	case 11: chipset_eoi(cs, op[1]); break;
	case 12: return chipset_pic_pending(cs) ? chipset_pic_acknowledge(cs) : 0x100;
	case 13: return chipset_uart_rx(cs, op[1], op + 2, 5);
	case 14:
		if (op[1] == 0)
			chipset_reset(cs);
		else if (op[1] == 1)
			chipset_press_power_button(cs);
		else if (op[1] == 2)
			acpi_pm_set_gpe(&cs->pm, op[2], op[3] & 1);
		else if (op[1] == 3)
			*wall_ns = get_le64(op);
		break;
	default: /* time goes on: little, much, or to the next deadline */
		next = chipset_next_deadline(cs);
		if (op[1] & 1 && next < *now_ns + DRIVE_FAR_NS)
			*now_ns = MAX(*now_ns, next);
		else
			*now_ns += op[1] & 2 ? (u64)value << 16 : value;
		*wall_ns += value;
		chipset_run_timers(cs);
		/* A handler that asks for the past would spin its owner. */
		if (chipset_next_deadline(cs) <= *now_ns)
			abort();
	}
	return 0;
}

#endif
