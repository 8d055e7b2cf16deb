/* The guest's chipset, wired to hypervisor, host link, timers and clocks. */
#ifndef PARAPET_PARAVISOR_MACHINE_H
#define PARAPET_PARAVISOR_MACHINE_H

#include "paravisor/acpi.h"
#include "common/protobuf.h"
#include "vtl2-devices/iface.h"

/*
 * Any thread may call these. One lock around the whole chipset (vtl2-devices/chipset.h) is taken
 * inside; see machine.c for what it covers. A call does not return once the guest has been powered
 * off or reset.
 */

/* Builds the chipset and starts its timer thread. */
bool machine_init(void);

/* What ACPI tells the guest about it. */
extern const struct acpi_chipset machine_acpi;

u32 machine_pio_read(u16 port, unsigned size);
void machine_pio_write(u16 port, unsigned size, u32 value);
u64 machine_mmio_read(u64 gpa, unsigned size);
void machine_mmio_write(u64 gpa, unsigned size, u64 value);

/* A local APIC of the guest finished a level-triggered vector. */
void machine_eoi(u8 vector);
/* The PIC waits to interrupt the boot processor; no lock is taken. */
bool machine_pic_pending(void);
/* Takes the PIC's vector; false when it does not wait any more. */
bool machine_pic_acknowledge(u8 *vector);

/* From the host: bytes typed on a serial port, the wall clock, the power button. */
void machine_console_input(unsigned port, const u8 *data, size_t size);
void machine_set_wall_clock(u64 unix_ns);
void machine_press_power_button(void);

/* Sends what is left of the guest's console output. */
void machine_flush(void);

void machine_inspect(const struct dev_inspect *out);

/* Between the two all other calls wait. */
void machine_stop(void);
void machine_go_on(void);
/* The state of chipset, consoles and clock; while stopped. */
void machine_save(struct pb_writer *out);
/* Right after machine_init. False: malformed. */
bool machine_restore(struct pb_bytes state);

#endif
