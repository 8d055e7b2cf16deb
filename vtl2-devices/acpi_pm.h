/* ACPI fixed hardware in the layout of Hyper-V's PM block: PM1a, PM timer, GPE0, reset register. */
#ifndef PARAPET_VTL2_DEVICES_ACPI_PM_H
#define PARAPET_VTL2_DEVICES_ACPI_PM_H

#include "vtl2-devices/bus.h"

/* Offsets from the base port. Source: ACPI 6.5 ch. 4.8; layout as Hyper-V's FADT names it. */
#define ACPI_PM_BASE	    0x400u /* usual base port */
#define ACPI_PM_LEN	    0x38u
#define ACPI_PM1_STS	    0x00u
#define ACPI_PM1_EN	    0x02u
#define ACPI_PM1_CNT	    0x04u
#define ACPI_PM_TMR	    0x08u /* 32 bits: set TMR_VAL_EXT in FADT */
#define ACPI_GPE0_STS	    0x0cu
#define ACPI_GPE0_EN	    0x0eu
#define ACPI_PM_RESET	    0x33u
#define ACPI_PM_RESET_VALUE 1u
#define ACPI_S5_TYP	    0u /* \_S5 package value */
#define ACPI_SCI_IRQ	    9u

#define ACPI_TMR_STS	BIT(0)
#define ACPI_GBL_STS	BIT(5)
#define ACPI_PWRBTN_STS BIT(8)
#define ACPI_RTC_STS	BIT(10)
#define ACPI_SCI_EN	BIT(0)
#define ACPI_SLP_EN	BIT(13)

struct acpi_pm_cfg {
	struct dev_irq sci;
	struct dev_clock clock;
	struct dev_timers *timers;
	struct dev_power power;
};

struct acpi_pm_state {
	u16 sts, en, cnt;
	u16 gpe_sts, gpe_en;
	u16 gpe_lines;	 /* level inputs that devices hold */
	u64 epoch_ns;	 /* PM timer is zero here */
	u64 seen_halves; /* how often bit 31 of the timer had toggled when last looked at */
};

struct acpi_pm {
	struct acpi_pm_cfg cfg;
	struct acpi_pm_state s;
	struct dev_timer timer;
	u64 refused_sleeps; /* SLP_EN with a type that does not exist */
};

void acpi_pm_init(struct acpi_pm *pm, const struct acpi_pm_cfg *cfg);
void acpi_pm_reset(struct acpi_pm *pm);
u64 acpi_pm_read(struct acpi_pm *pm, unsigned offset, unsigned size);
void acpi_pm_write(struct acpi_pm *pm, unsigned offset, unsigned size, u32 value);
/* The operator pressed the power button: PWRBTN_STS, and SCI if the guest enabled it. */
void acpi_pm_press_power_button(struct acpi_pm *pm);
/* Drives a general purpose event input (0..15); the status bit latches. */
void acpi_pm_set_gpe(struct acpi_pm *pm, unsigned gpe, bool level);
/* For both see iface.h. */
void acpi_pm_save(const struct acpi_pm *pm, struct pb_writer *out);
bool acpi_pm_restore(struct acpi_pm *pm, struct pb_bytes state);
void acpi_pm_inspect(struct acpi_pm *pm, const struct dev_inspect *out);

extern const struct bus_ops acpi_pm_bus_ops; /* region of ACPI_PM_LEN, any width up to dword */

#endif
