/* ACPI fixed hardware: PM1a event and control, PM timer, GPE0, reset register. */
#include <string.h>

#include "vtl2-devices/acpi_pm.h"

#define PM_TIMER_HZ 3579545u

#define PM1_STS_MASK  0x8531u /* bits that a write of 1 clears: ACPI 6.5 table 4.13 */
#define PM1_EN_MASK   0x0521u
#define PM1_CNT_MASK  0x1c03u /* SLP_TYP, BM_RLD, SCI_EN; GBL_RLS and SLP_EN read as 0 */
#define SLP_TYP_SHIFT 10

/* PM timer without its 32-bit wrap. */
static u64 timer_clocks(const struct acpi_pm *pm, u64 now)
{
	return now > pm->s.epoch_ns ? dev_mul_div(now - pm->s.epoch_ns, PM_TIMER_HZ, NS_PER_S) : 0;
}

/* Brings TMR_STS up to now, drives SCI, and waits for the next timer carry if the guest does. */
static void sync_events(struct acpi_pm *pm)
{
	struct acpi_pm_state *s = &pm->s;
	u64 now = dev_now(&pm->cfg.clock);
	u64 halves = timer_clocks(pm, now) >> 31;
	u64 next = DEV_TIMER_NEVER;

	if (halves != s->seen_halves)
		s->sts |= ACPI_TMR_STS;
	s->seen_halves = halves;
	s->gpe_sts |= s->gpe_lines;

	if ((s->en & ACPI_TMR_STS) && !(s->sts & ACPI_TMR_STS))
		next = s->epoch_ns + dev_mul_div((halves + 1) << 31, NS_PER_S, PM_TIMER_HZ) + 1;
	dev_timer_arm(&pm->timer, next);
	dev_irq_set(&pm->cfg.sci, (s->sts & s->en) || (s->gpe_sts & s->gpe_en));
}

static void on_timer(void *ctx, u64 now_ns)
{
	(void)now_ns;
	sync_events(ctx);
}

/* The 16-bit register that holds offset, or NULL. */
static const u16 *reg16(const struct acpi_pm_state *s, unsigned offset)
{
	switch (offset & ~1u) {
	case ACPI_PM1_STS: return &s->sts;
	case ACPI_PM1_EN: return &s->en;
	case ACPI_PM1_CNT: return &s->cnt;
	case ACPI_GPE0_STS: return &s->gpe_sts;
	case ACPI_GPE0_EN: return &s->gpe_en;
	default: return NULL;
	}
}

u64 acpi_pm_read(struct acpi_pm *pm, unsigned offset, unsigned size)
{
	u32 timer = (u32)timer_clocks(pm, dev_now(&pm->cfg.clock));
	u64 value = 0;

	if (offset == ACPI_PM_TMR && size == 4) /* the hot path: clock source reads */
		return timer;
	sync_events(pm);
	for (unsigned i = 0; i < size; i++) {
		unsigned at = offset + i;
		const u16 *reg = reg16(&pm->s, at);
		u8 byte = 0; /* reserved registers read as zero */

		if (at - ACPI_PM_TMR < 4)
			byte = (u8)(timer >> (at - ACPI_PM_TMR) * 8);
		else if (reg)
			byte = (u8)(*reg >> (at & 1) * 8);
		value |= (u64)byte << i * 8;
	}
	return value;
}

static void sleep_enable(struct acpi_pm *pm)
{
	unsigned type = pm->s.cnt >> SLP_TYP_SHIFT & 7;

	if (type == ACPI_S5_TYP)
		dev_power_request(&pm->cfg.power, DEV_POWER_OFF, "ACPI S5");
	else
		pm->refused_sleeps++;
}

static void write_byte(struct acpi_pm *pm, unsigned offset, u8 byte)
{
	struct acpi_pm_state *s = &pm->s;
	unsigned shift = (offset & 1) * 8;
	u16 bits = (u16)(byte << shift);
	u16 keep = (u16) ~(0xffu << shift);

	switch (offset & ~1u) {
	case ACPI_PM1_STS: s->sts &= (u16) ~(bits & PM1_STS_MASK); break;
	case ACPI_PM1_EN: s->en = ((s->en & keep) | bits) & PM1_EN_MASK; break;
	case ACPI_PM1_CNT:
		s->cnt = (((s->cnt & keep) | bits) & PM1_CNT_MASK) | ACPI_SCI_EN;
		if (bits & ACPI_SLP_EN)
			sleep_enable(pm);
		break;
	case ACPI_GPE0_STS: s->gpe_sts &= (u16)~bits; break;
	case ACPI_GPE0_EN: s->gpe_en = (s->gpe_en & keep) | bits; break;
	default:
		if (offset == ACPI_PM_RESET && byte == ACPI_PM_RESET_VALUE)
			dev_power_request(&pm->cfg.power, DEV_POWER_RESET, "ACPI reset register");
	}
}

void acpi_pm_write(struct acpi_pm *pm, unsigned offset, unsigned size, u32 value)
{
	sync_events(pm);
	for (unsigned i = 0; i < size; i++)
		write_byte(pm, offset + i, (u8)(value >> i * 8));
	sync_events(pm);
}

void acpi_pm_press_power_button(struct acpi_pm *pm)
{
	pm->s.sts |= ACPI_PWRBTN_STS;
	sync_events(pm);
}

void acpi_pm_set_gpe(struct acpi_pm *pm, unsigned gpe, bool level)
{
	if (gpe > 15)
		return;
	if (level)
		pm->s.gpe_lines |= (u16)BIT(gpe);
	else
		pm->s.gpe_lines &= (u16)~BIT(gpe);
	sync_events(pm);
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	pm->s.sts = pm->s.en = pm->s.gpe_sts = pm->s.gpe_en = 0;
	pm->s.cnt = ACPI_SCI_EN; /* there is no SMI command port: always in ACPI mode */
	sync_events(pm);
	pm->s.sts = 0;
	sync_events(pm);
}

void acpi_pm_init(struct acpi_pm *pm, const struct acpi_pm_cfg *cfg)
{
	memset(pm, 0, sizeof(*pm));
	pm->cfg = *cfg;
	dev_timer_register(cfg->timers, &pm->timer, on_timer, pm);
	pm->s.epoch_ns = dev_now(&cfg->clock);
	acpi_pm_reset(pm);
}

static const struct saved_field fields[] = {
	SAVED_ANY(1, struct acpi_pm, s.sts),	      SAVED_ANY(2, struct acpi_pm, s.en),
	SAVED_ANY(3, struct acpi_pm, s.cnt),	      SAVED_ANY(4, struct acpi_pm, s.gpe_sts),
	SAVED_ANY(5, struct acpi_pm, s.gpe_en),	      SAVED_ANY(6, struct acpi_pm, s.gpe_lines),
	SAVED_ANY(7, struct acpi_pm, s.epoch_ns),     SAVED_ANY(8, struct acpi_pm, s.seen_halves),
	SAVED_ANY(9, struct acpi_pm, timer.deadline), SAVED_ANY(10, struct acpi_pm, refused_sleeps),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void acpi_pm_save(const struct acpi_pm *pm, struct pb_writer *out)
{
	saved_write(out, &layout, pm);
}

static bool state_valid(const struct acpi_pm *pm)
{
	const struct acpi_pm_state *s = &pm->s;
	u64 now = dev_now(&pm->cfg.clock);

	return !(s->sts & ~PM1_STS_MASK) && !(s->en & ~PM1_EN_MASK) && !(s->cnt & ~PM1_CNT_MASK) &&
	       (s->cnt & ACPI_SCI_EN) && s->epoch_ns <= now &&
	       s->seen_halves <= timer_clocks(pm, now) >> 31;
}

bool acpi_pm_restore(struct acpi_pm *pm, struct pb_bytes state)
{
	struct acpi_pm next = *pm;

	if (!saved_read(state, &layout, &next) || !state_valid(&next))
		return false;
	*pm = next;
	return true;
}

void acpi_pm_inspect(struct acpi_pm *pm, const struct dev_inspect *out)
{
	const struct acpi_pm_state *s = &pm->s;

	dev_inspect_line(out, "  pm1 status %04x enable %04x control %04x timer %08x", s->sts,
			 s->en, s->cnt, (u32)timer_clocks(pm, dev_now(&pm->cfg.clock)));
	dev_inspect_line(out, "  gpe0 status %04x enable %04x lines %04x refused sleeps %llu",
			 s->gpe_sts, s->gpe_en, s->gpe_lines,
			 (unsigned long long)pm->refused_sleeps);
}

static u64 bus_read(void *ctx, u64 offset, unsigned size)
{
	return acpi_pm_read(ctx, (unsigned)offset, size);
}

static void bus_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	acpi_pm_write(ctx, (unsigned)offset, size, (u32)value);
}

const struct bus_ops acpi_pm_bus_ops = {.read = bus_read, .write = bus_write};
