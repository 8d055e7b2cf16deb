/* Port and MMIO dispatch: which device answers an address, and what happens where none does. */
#ifndef PARAPET_VTL2_DEVICES_BUS_H
#define PARAPET_VTL2_DEVICES_BUS_H

#include "vtl2-devices/iface.h"

/*
 * Locking: none inside. The owner holds its chipset lock around every call, so a device never sees
 * two accesses at once. Registration happens before the first access.
 *
 * Sizes are 1, 2 or 4 bytes for ports and 1, 2, 4 or 8 for MMIO; any other size reads as all ones.
 * An access that no region takes as a whole (it crosses a border, or the device has no register of
 * that width) is cut in halves, down to bytes, lowest address first, as a bus bridge does.
 */

struct bus_ops {
	/* offset counts from the region's base; offset + size lies inside. Bits above size are
	 * ignored. NULL: reads as all ones. */
	u64 (*read)(void *ctx, u64 offset, unsigned size);
	/* value has no bits above size. NULL: dropped. */
	void (*write)(void *ctx, u64 offset, unsigned size, u64 value);
};

/* Widths a device accepts: an or of access sizes. Bytes are always accepted. */
#define BUS_BYTE  1u
#define BUS_WORD  2u
#define BUS_DWORD 4u
#define BUS_QWORD 8u

struct bus_region {
	const char *name; /* static */
	u64 base;
	u64 len;
	unsigned widths;
	const struct bus_ops *ops;
	void *ctx;
};

/* One access that nobody claimed, the first at its port or page. Not called again for the same
 * place; the callback may log without limit of its own. */
struct bus_unclaimed {
	void (*first)(void *ctx, u64 address, unsigned size, bool write, u64 value);
	void *ctx;
};

struct bus_stats {
	u64 reads, writes;
	u64 unclaimed_reads, unclaimed_writes;
};

#define PIO_REGIONS_MAX	  64
#define PIO_PORTS	  0x10000u
#define MMIO_REGIONS_MAX  32
#define MMIO_PAGES_LOGGED 64

struct pio_bus {
	struct bus_region region[PIO_REGIONS_MAX];
	unsigned count;
	struct bus_unclaimed unclaimed;
	struct bus_stats stats;
	u8 index[PIO_PORTS];	/* port -> region number + 1, 0 unclaimed */
	u8 seen[PIO_PORTS / 8]; /* unclaimed ports already reported */
};

struct mmio_bus {
	struct bus_region region[MMIO_REGIONS_MAX]; /* sorted by base, disjoint */
	unsigned count;
	struct bus_unclaimed unclaimed;
	struct bus_stats stats;
	u64 page[MMIO_PAGES_LOGGED]; /* unclaimed page numbers already reported */
	unsigned pages;
};

void pio_init(struct pio_bus *bus, const struct bus_unclaimed *unclaimed);
/* Claims ports. The region is copied. false: empty, beyond 0xffff, overlaps, or table full. */
bool pio_register(struct pio_bus *bus, const struct bus_region *region);
/* Any size other than 1, 2, 4 reads as all ones of 4 bytes. */
u32 pio_read(struct pio_bus *bus, u16 port, unsigned size);
void pio_write(struct pio_bus *bus, u16 port, unsigned size, u32 value);

void mmio_init(struct mmio_bus *bus, const struct bus_unclaimed *unclaimed);
/* Claims physical addresses. The region is copied. false as above, or base + len wraps. */
bool mmio_register(struct mmio_bus *bus, const struct bus_region *region);
u64 mmio_read(struct mmio_bus *bus, u64 address, unsigned size);
void mmio_write(struct mmio_bus *bus, u64 address, unsigned size, u64 value);
/* Does any region claim a byte of [address, address + size)? */
bool mmio_claims(const struct mmio_bus *bus, u64 address, u64 size);

/* Counters and the places already reported; regions are wiring. Otherwise as devices (iface.h). */
void pio_save(const struct pio_bus *bus, struct pb_writer *out);
bool pio_restore(struct pio_bus *bus, struct pb_bytes state);
void mmio_save(const struct mmio_bus *bus, struct pb_writer *out);
bool mmio_restore(struct mmio_bus *bus, struct pb_bytes state);

void pio_inspect(const struct pio_bus *bus, const struct dev_inspect *out);
void mmio_inspect(const struct mmio_bus *bus, const struct dev_inspect *out);

/* All ones of size bytes. */
static inline u64 bus_ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : BIT(size * 8) - 1;
}

#endif
