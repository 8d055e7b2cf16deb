/* The PC that a VTL0 guest sees: all legacy devices wired to a port bus, an MMIO bus and IRQs. */
#ifndef PARAPET_VTL2_DEVICES_CHIPSET_H
#define PARAPET_VTL2_DEVICES_CHIPSET_H

#include "vtl2-devices/acpi_pm.h"
#include "vtl2-devices/bus.h"
#include "vtl2-devices/cmos_rtc.h"
#include "vtl2-devices/i8042.h"
#include "vtl2-devices/ioapic.h"
#include "vtl2-devices/pic8259.h"
#include "vtl2-devices/pit8254.h"
#include "vtl2-devices/serial16550.h"
#include "vtl2-devices/sysports.h"

/*
 * Locking: the owner has one lock for the whole struct and holds it for every function here, from
 * any thread; callbacks of the configuration run under it (iface.h). Lock order: it is a leaf.
 *
 * After each access ask chipset_next_deadline() again: the access may have moved it.
 */

#define CHIPSET_UARTS 4
#define CHIPSET_IRQS  24

struct chipset_uart_cfg {
	bool present;
	struct dev_char_sink tx;
	void (*rx_room)(void *ctx); /* see struct serial_cfg */
	void *rx_ctx;
};

struct chipset_cfg {
	struct dev_clock clock;
	struct dev_wallclock wall;
	struct dev_power power;
	struct dev_apic apic;	    /* messages of the I/O APIC */
	struct dev_irq intr;	    /* PIC output, for LINT0 in ExtINT mode */
	struct dev_char_sink debug; /* port 0xe9 */
	struct bus_unclaimed unclaimed_pio;
	struct bus_unclaimed unclaimed_mmio;
	struct chipset_uart_cfg
		uart[CHIPSET_UARTS]; /* COM1 3f8/4, COM2 2f8/3, COM3 3e8/4, COM4 2e8/3 */
};

/* Who drives an interrupt line; lines with several drivers are asserted while any of them is. */
enum chipset_input {
	CHIPSET_IN_PIT,
	CHIPSET_IN_KBD,
	CHIPSET_IN_COM1,
	CHIPSET_IN_COM2,
	CHIPSET_IN_COM3,
	CHIPSET_IN_COM4,
	CHIPSET_IN_RTC,
	CHIPSET_IN_SCI,
	CHIPSET_INPUTS,
};

struct chipset {
	struct pio_bus pio; /* further devices may be registered on both after chipset_init() */
	struct mmio_bus mmio;
	struct dev_timers timers;
	struct dev_clock clock;
	u32 inputs;   /* asserted drivers, by enum chipset_input */
	u32 external; /* asserted by chipset_set_irq(), by IRQ */
	struct pic8259 pic;
	struct ioapic ioapic;
	struct pit8254 pit;
	struct cmos_rtc rtc;
	struct acpi_pm pm;
	struct i8042 kbc;
	struct sysports sys;
	struct serial16550 uart[CHIPSET_UARTS];
	bool uart_present[CHIPSET_UARTS];
};

/* Builds the machine in cs (about 100 KiB, caller's storage, must not move). cfg is copied.
 * false only on a wiring mistake. */
bool chipset_init(struct chipset *cs, const struct chipset_cfg *cfg);
/* Machine reset of every device; registered extra regions are the caller's to reset. */
void chipset_reset(struct chipset *cs);

u32 chipset_pio_read(struct chipset *cs, u16 port, unsigned size);
void chipset_pio_write(struct chipset *cs, u16 port, unsigned size, u32 value);
u64 chipset_mmio_read(struct chipset *cs, u64 address, unsigned size);
void chipset_mmio_write(struct chipset *cs, u64 address, unsigned size, u64 value);

/* When chipset_run_timers() must be called: ns of cfg.clock, DEV_TIMER_NEVER if nothing waits. */
u64 chipset_next_deadline(const struct chipset *cs);
void chipset_run_timers(struct chipset *cs);

/* An outside device drives IRQ 0..23 (level; reaches the PIC for 0..15 and the I/O APIC). */
void chipset_set_irq(struct chipset *cs, unsigned irq, bool level);
/* A local APIC of the guest ended a vector (X64ApicEoi message). */
void chipset_eoi(struct chipset *cs, u8 vector);
/* ExtINT: see pic8259.h. */
bool chipset_pic_pending(const struct chipset *cs);
u8 chipset_pic_acknowledge(struct chipset *cs);
/* Input for COM port 0..3; returns how many bytes were taken. */
size_t chipset_uart_rx(struct chipset *cs, unsigned port, const u8 *data, size_t len);
void chipset_press_power_button(struct chipset *cs);
/*
 * The state of every device and of what is between them, a message inside for each. The restore
 * takes a chipset that was just initialised with the same devices present; it drives the PIC's
 * output if that is up, and makes no other call. False: malformed, or no state that a chipset can
 * have; nothing was called, and cs must be initialised anew. Owners of further regions save theirs.
 */
void chipset_save(const struct chipset *cs, struct pb_writer *out);
bool chipset_restore(struct chipset *cs, struct pb_bytes state);
/* The whole state as text lines. */
void chipset_inspect(struct chipset *cs, const struct dev_inspect *out);

#endif
