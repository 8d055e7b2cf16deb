/* Board ports without a device of their own: an empty PCI bus, resets, POST, debug output. */
#include <string.h>

#include "vtl2-devices/sysports.h"

#define PCI_BASE	 0xcf8u
#define PCI_ADDRESS_MASK 0x80fffffcu
#define RESET_CONTROL	 1u /* 0xcf9, inside the address register when read by byte */
#define RESET_KEPT	 0x0e
#define RESET_CPU	 0x04

#define PORT92_RESET 0x01
#define PORT92_A20   0x02

#define DEBUG_PORT 0xe9u

/* The address register answers dwords only; 0xcf9 is a byte port of its own; no device answers. */
static u64 pci_read(void *ctx, u64 offset, unsigned size)
{
	const struct sysports *sys = ctx;

	if (offset == 0 && size == 4)
		return sys->s.pci_address;
	if (offset == RESET_CONTROL && size == 1)
		return sys->s.reset_control;
	return bus_ones(size);
}

static void pci_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct sysports *sys = ctx;

	if (offset == 0 && size == 4) {
		sys->s.pci_address = (u32)value & PCI_ADDRESS_MASK;
	} else if (offset == RESET_CONTROL && size == 1) {
		bool rising = (value & RESET_CPU) && !(sys->s.reset_control & RESET_CPU);

		sys->s.reset_control = value & RESET_KEPT;
		if (rising)
			dev_power_request(&sys->cfg.power, DEV_POWER_RESET, "port 0xcf9");
	}
}

static u64 port92_read(void *ctx, u64 offset, unsigned size)
{
	const struct sysports *sys = ctx;

	(void)offset, (void)size; /* one port, bytes only */
	return sys->s.port92;
}

/* A20 is remembered and has no effect: no guest of today wants addresses to wrap at 1 MiB. */
static void port92_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct sysports *sys = ctx;
	bool rising = (value & PORT92_RESET) && !(sys->s.port92 & PORT92_RESET);

	(void)offset, (void)size;
	sys->s.port92 = (u8)value;
	if (rising)
		dev_power_request(&sys->cfg.power, DEV_POWER_RESET, "port 0x92");
}

static u64 page_read(void *ctx, u64 offset, unsigned size)
{
	const struct sysports *sys = ctx;

	(void)size; /* bytes only */
	return sys->s.dma_page[offset & 15];
}

static void page_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct sysports *sys = ctx;

	(void)size;
	sys->s.dma_page[offset & 15] = (u8)value;
}

/* Reads as its own number: that is how a guest finds the debug port. */
static u64 debug_read(void *ctx, u64 offset, unsigned size)
{
	(void)ctx, (void)offset, (void)size;
	return DEBUG_PORT;
}

static void debug_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	const struct sysports *sys = ctx;
	u8 byte = (u8)value;

	(void)offset, (void)size;
	if (sys->cfg.debug.write)
		sys->cfg.debug.write(sys->cfg.debug.ctx, &byte, 1);
}

static const struct bus_ops pci_ops = {.read = pci_read, .write = pci_write};
static const struct bus_ops port92_ops = {.read = port92_read, .write = port92_write};
static const struct bus_ops page_ops = {.read = page_read, .write = page_write};
static const struct bus_ops debug_ops = {.read = debug_read, .write = debug_write};
static const struct bus_ops delay_ops = {NULL, NULL};

bool sysports_register(struct sysports *sys, struct pio_bus *pio)
{
	const struct bus_region regions[] = {
		{"PCI configuration, reset", PCI_BASE, 8, BUS_WORD | BUS_DWORD, &pci_ops, sys},
		{"system control", 0x92, 1, 0, &port92_ops, sys},
		{"POST, DMA pages", 0x80, 16, 0, &page_ops, sys},
		{"debug", DEBUG_PORT, 1, 0, &debug_ops, sys},
		{"I/O delay", 0xed, 1, 0, &delay_ops, sys},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(regions); i++)
		if (!pio_register(pio, &regions[i]))
			return false;
	return true;
}

void sysports_reset(struct sysports *sys)
{
	memset(&sys->s, 0, sizeof(sys->s));
	sys->s.port92 = PORT92_A20;
}

void sysports_init(struct sysports *sys, const struct sysports_cfg *cfg)
{
	sys->cfg = *cfg;
	sysports_reset(sys);
}

static const struct saved_field fields[] = {
	SAVED_ANY(1, struct sysports, s.pci_address),
	SAVED_ANY(2, struct sysports, s.reset_control),
	SAVED_ANY(3, struct sysports, s.port92),
	SAVED_NUMBERS(4, struct sysports, s.dma_page, UINT8_MAX),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void sysports_save(const struct sysports *sys, struct pb_writer *out)
{
	saved_write(out, &layout, sys);
}

bool sysports_restore(struct sysports *sys, struct pb_bytes state)
{
	struct sysports next = *sys;

	if (!saved_read(state, &layout, &next) || (next.s.pci_address & ~PCI_ADDRESS_MASK) ||
	    (next.s.reset_control & ~RESET_KEPT))
		return false;
	*sys = next;
	return true;
}

void sysports_inspect(const struct sysports *sys, const struct dev_inspect *out)
{
	dev_inspect_line(out, "  pci address %08x reset control %02x port 92 %02x post code %02x",
			 sys->s.pci_address, sys->s.reset_control, sys->s.port92,
			 sys->s.dma_page[0]);
}
