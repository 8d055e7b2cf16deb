/* ACPI tables for a direct-booted guest (ACPI 6.4): RSDP, XSDT, FADT, FACS, MADT, SRAT, DSDT. */
#ifndef PARAPET_PARAVISOR_ACPI_H
#define PARAPET_PARAVISOR_ACPI_H

#include "paravisor/config.h"

/* The chipset that the tables describe; ports of 0 are absent. */
struct acpi_chipset {
	u16 pm1_event_port;   /* status and enable, 4 bytes */
	u16 pm1_control_port; /* 2 bytes */
	u16 pm_timer_port;    /* 4 bytes */
	bool pm_timer_32bit;
	u8 sleep_type_s5; /* SLP_TYP that powers off */
	u16 reset_port;
	u8 reset_value;
	u8 sci_irq;
	u32 ioapic_base;
	u8 ioapic_id;
	u8 timer_gsi; /* where ISA interrupt 0 arrives */
	struct {
		u16 port;
		u8 irq;
	} com[2];
	u16 rtc_port;
	u8 rtc_irq;
	u16 panic_port; /* pvpanic: one byte */
};

/*
 * Writes all tables into out, which the guest sees at gpa (64-byte aligned; the RSDP is first).
 * Returns the bytes used, 0 if they do not fit into size.
 */
size_t acpi_build(const struct config *config, const struct acpi_chipset *chipset, u64 gpa, u8 *out,
		  size_t size);

#endif
