/* I/O APIC: redirection table, edge and level delivery, remote IRR. */
#include <string.h>

#include "vtl2-devices/ioapic.h"

#define MMIO_INDEX 0x00u
#define MMIO_DATA  0x10u

#define REG_ID	    0x00
#define REG_VERSION 0x01
#define REG_ARB	    0x02
#define REG_RTE	    0x10

#define RTE_VECTOR	 0xffull
#define RTE_DELIVERY(r)	 ((r) >> 8 & 7)
#define RTE_LOGICAL	 BIT(11)
#define RTE_STATUS	 BIT(12) /* delivery is instant: always 0 */
#define RTE_REMOTE_IRR	 BIT(14)
#define RTE_LEVEL	 BIT(15)
#define RTE_MASKED	 BIT(16)
#define RTE_READ_ONLY	 (RTE_STATUS | RTE_REMOTE_IRR)
#define RTE_LOW_WRITABLE 0x1afffull
/* Destination, and its extension as Hyper-V announces it in CPUID 0x40000082 (15-bit ids). */
#define RTE_HIGH_WRITABLE 0xfffe0000ull

#define RTE_RESET RTE_MASKED

#define ID_MASK 0x0fu

static bool is_fixed(u64 rte)
{
	return RTE_DELIVERY(rte) == APIC_FIXED || RTE_DELIVERY(rte) == APIC_LOWEST;
}

/* Level triggering exists for fixed and lowest-priority delivery only. */
static bool is_level(u64 rte)
{
	return (rte & RTE_LEVEL) && is_fixed(rte);
}

/* Sends the pin's message. false: the entry describes nothing that may be sent. */
static bool send(struct ioapic *io, unsigned pin)
{
	u64 rte = io->s.rte[pin];
	struct apic_msg msg = {
		.dest = (u32)(rte >> 56),
		.vector = (u8)rte,
		.delivery = (u8)RTE_DELIVERY(rte),
		.logical = rte & RTE_LOGICAL,
		.level = is_level(rte),
	};

	switch (msg.delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (msg.vector < 16)
			return false;
		break;
	case APIC_SMI:
	case APIC_NMI:
	case APIC_INIT:
	case APIC_EXTINT: break;
	default: return false; /* reserved, and SIPI, which an I/O APIC cannot send */
	}
	if (!msg.logical)
		msg.dest |= (u32)(rte >> 49 & 0x7f) << 8;
	io->sent[pin]++;
	if (io->apic.send)
		io->apic.send(io->apic.ctx, &msg);
	return true;
}

/* A level pin fires while its line is up and the last message was ended. */
static void service_level(struct ioapic *io, unsigned pin)
{
	u64 rte = io->s.rte[pin];

	if (!is_level(rte) || (rte & (RTE_MASKED | RTE_REMOTE_IRR)) || !(io->s.lines & BIT(pin)))
		return;
	if (send(io, pin))
		io->s.rte[pin] |= RTE_REMOTE_IRR;
}

void ioapic_set_line(struct ioapic *io, unsigned pin, bool level)
{
	bool was;

	if (pin >= IOAPIC_PINS)
		return;
	was = io->s.lines & BIT(pin);
	if (level == was)
		return;
	io->s.lines ^= (u32)BIT(pin);
	if (!level)
		return;
	if (is_level(io->s.rte[pin]))
		service_level(io, pin);
	else if (!(io->s.rte[pin] & RTE_MASKED))
		send(io, pin); /* an edge on a masked pin is lost: data sheet, bit 16 */
}

void ioapic_eoi(struct ioapic *io, u8 vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 rte = io->s.rte[pin];

		if (!(rte & RTE_REMOTE_IRR) || (rte & RTE_VECTOR) != vector)
			continue;
		io->s.rte[pin] &= ~RTE_REMOTE_IRR;
		service_level(io, pin);
	}
}

u32 ioapic_remote_irr(const struct ioapic *io)
{
	u32 pins = 0;

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		if (io->s.rte[pin] & RTE_REMOTE_IRR)
			pins |= (u32)BIT(pin);
	return pins;
}

static void write_rte(struct ioapic *io, unsigned pin, bool high, u32 value)
{
	u64 *rte = &io->s.rte[pin];

	if (high) {
		*rte = (u32)*rte | (value & RTE_HIGH_WRITABLE) << 32;
		return;
	}
	*rte = (*rte & ~RTE_LOW_WRITABLE) | (value & RTE_LOW_WRITABLE);
	/* Software without an EOI register ends a level interrupt by switching to edge and back. */
	if (!is_level(*rte))
		*rte &= ~RTE_REMOTE_IRR;
	service_level(io, pin);
}

u32 ioapic_read(struct ioapic *io, u32 offset)
{
	unsigned index = io->s.index;

	if (offset == MMIO_INDEX)
		return index;
	if (offset != MMIO_DATA)
		return UINT32_MAX;
	switch (index) {
	case REG_ID:
	case REG_ARB: return (u32)io->s.id << 24;
	case REG_VERSION: return IOAPIC_VERSION | (IOAPIC_PINS - 1) << 16;
	}
	if (index - REG_RTE < IOAPIC_PINS * 2)
		return (u32)(io->s.rte[(index - REG_RTE) / 2] >> (index & 1) * 32);
	return UINT32_MAX;
}

void ioapic_write(struct ioapic *io, u32 offset, u32 value)
{
	unsigned index = io->s.index;

	if (offset == MMIO_INDEX)
		io->s.index = (u8)value;
	else if (offset != MMIO_DATA)
		return;
	else if (index == REG_ID)
		io->s.id = value >> 24 & ID_MASK;
	else if (index - REG_RTE < IOAPIC_PINS * 2)
		write_rte(io, (index - REG_RTE) / 2, index & 1, value);
}

void ioapic_reset(struct ioapic *io)
{
	/* Lines belong to the devices; they fall when those are reset. */
	io->s.index = 0;
	io->s.id = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		io->s.rte[pin] = RTE_RESET;
}

void ioapic_init(struct ioapic *io, const struct dev_apic *apic)
{
	memset(io, 0, sizeof(*io));
	io->apic = *apic;
	ioapic_reset(io);
}

static const struct saved_field fields[] = {
	SAVED_ANY(1, struct ioapic, s.index),
	SAVED_NUMBER(2, struct ioapic, s.id, ID_MASK),
	SAVED_NUMBER(3, struct ioapic, s.lines, BIT(IOAPIC_PINS) - 1),
	SAVED_NUMBERS(4, struct ioapic, s.rte, UINT64_MAX),
	SAVED_NUMBERS(5, struct ioapic, sent, UINT64_MAX),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void ioapic_save(const struct ioapic *io, struct pb_writer *out)
{
	saved_write(out, &layout, io);
}

bool ioapic_restore(struct ioapic *io, struct pb_bytes state)
{
	struct ioapic next = *io;

	if (!saved_read(state, &layout, &next))
		return false;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 rte = next.s.rte[pin];

		if ((rte & ~(RTE_HIGH_WRITABLE << 32 | RTE_LOW_WRITABLE | RTE_REMOTE_IRR)) ||
		    ((rte & RTE_REMOTE_IRR) && !is_level(rte)))
			return false;
	}
	*io = next;
	return true;
}

void ioapic_inspect(const struct ioapic *io, const struct dev_inspect *out)
{
	dev_inspect_line(out, "  id %u index %02x lines %06x", io->s.id, io->s.index, io->s.lines);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 rte = io->s.rte[pin];

		if (rte == RTE_RESET && !io->sent[pin])
			continue;
		dev_inspect_line(out, "  pin %2u rte %016llx vector %02x %s%s%s sent %llu", pin,
				 (unsigned long long)rte, (u8)rte, is_level(rte) ? "level" : "edge",
				 rte & RTE_MASKED ? " masked" : "",
				 rte & RTE_REMOTE_IRR ? " waits for EOI" : "",
				 (unsigned long long)io->sent[pin]);
	}
}

/* The chip wants dwords; other widths see the right bytes on reads, and write at the register's
 * first byte only. */
static u64 bus_read(void *ctx, u64 offset, unsigned size)
{
	(void)size;
	return ioapic_read(ctx, (u32)offset & ~3u) >> (offset & 3) * 8;
}

static void bus_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)size;
	if ((offset & 3) == 0)
		ioapic_write(ctx, (u32)offset, (u32)value);
}

const struct bus_ops ioapic_bus_ops = {.read = bus_read, .write = bus_write};
