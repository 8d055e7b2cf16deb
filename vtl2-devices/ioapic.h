/* I/O APIC with 24 pins; its messages go to the guest's local APICs through struct dev_apic. */
#ifndef PARAPET_VTL2_DEVICES_IOAPIC_H
#define PARAPET_VTL2_DEVICES_IOAPIC_H

#include "vtl2-devices/bus.h"

/* Source: Intel 82093AA data sheet; version 0x11 has no EOI register. */
#define IOAPIC_BASE    0xfec00000ull
#define IOAPIC_LEN     0x1000u /* decoded page; registers are in its first 32 bytes */
#define IOAPIC_PINS    24u
#define IOAPIC_VERSION 0x11u

struct ioapic_state {
	u8 index;
	u8 id;
	u32 lines;	      /* level of each pin */
	u64 rte[IOAPIC_PINS]; /* redirection entries, remote IRR included */
};

struct ioapic {
	struct dev_apic apic;
	struct ioapic_state s;
	u64 sent[IOAPIC_PINS];
};

void ioapic_init(struct ioapic *io, const struct dev_apic *apic);
void ioapic_reset(struct ioapic *io);
u32 ioapic_read(struct ioapic *io, u32 offset);
void ioapic_write(struct ioapic *io, u32 offset, u32 value);
/* Drives a pin; pins that do not exist are ignored. */
void ioapic_set_line(struct ioapic *io, unsigned pin, bool level);
/* A local APIC ended this vector (EOI intercept): level pins may fire again. */
void ioapic_eoi(struct ioapic *io, u8 vector);
/* Bit per pin: unmasked, level triggered and waiting for an EOI. */
u32 ioapic_remote_irr(const struct ioapic *io);
/* For both see iface.h. */
void ioapic_save(const struct ioapic *io, struct pb_writer *out);
bool ioapic_restore(struct ioapic *io, struct pb_bytes state);
void ioapic_inspect(const struct ioapic *io, const struct dev_inspect *out);

extern const struct bus_ops ioapic_bus_ops; /* MMIO region of IOAPIC_LEN */

#endif
