/* ACPI PM block: hostile accesses, timer, power-off, reset, power button, events. */
#include "tests/unit/dev_fake.h"

#include "vtl2-devices/acpi_pm.h"

#define SCI 9
#define S   1000000000ull

static struct fake f;
static struct dev_timers timers;
static struct acpi_pm pm;

static int setup(void **state)
{
	struct acpi_pm_cfg cfg = {fake_irq(&f, SCI), fake_clock(&f), &timers, fake_power(&f)};

	(void)state;
	memset(&f, 0, sizeof(f));
	memset(&timers, 0, sizeof(timers));
	f.now = 77;
	acpi_pm_init(&pm, &cfg);
	return 0;
}

static void every_offset(void **state)
{
	(void)state;
	for (unsigned offset = 0; offset < ACPI_PM_LEN; offset++) {
		for (unsigned size = 1; size <= 4; size *= 2) {
			acpi_pm_read(&pm, offset, size);
			acpi_pm_write(&pm, offset, size, UINT32_MAX);
			acpi_pm_write(&pm, offset, size, 0);
			acpi_pm_read(&pm, offset, size);
		}
	}
	assert_int_equal(f.offs, 0); /* all ones is sleep type 7, which does not exist */
	assert_int_equal(f.resets, 0);
	assert_true(pm.refused_sleeps > 0);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM1_CNT, 2) & 1, 1); /* SCI_EN cannot be cleared */
}

static void timer_counts(void **state)
{
	(void)state;
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM_TMR, 4), 0);
	f.now += S;
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM_TMR, 4), 3579545);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM_TMR, 2), 3579545 & 0xffff);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM_TMR + 2, 1), 3579545 >> 16 & 0xff);
	acpi_pm_write(&pm, ACPI_PM_TMR, 4, 0);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM_TMR, 4), 3579545);
	f.now = 77 + 1200ull * S; /* past 32 bits */
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM_TMR, 4), (u32)(3579545ull * 1200));
	f.now = UINT64_MAX; /* 584 years */
	acpi_pm_read(&pm, ACPI_PM_TMR, 4);
	f.now = 0; /* never, but must not count backwards from the sky */
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM_TMR, 4), 0);
}

static void timer_carry(void **state)
{
	(void)state;
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	acpi_pm_write(&pm, ACPI_PM1_EN, 2, 1);
	fake_run(&f, &timers, f.now + 599 * S);
	assert_false(f.level[SCI]);
	fake_run(&f, &timers, f.now + 2 * S); /* bit 31 toggles after 599.93 s */
	assert_true(f.level[SCI]);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM1_STS, 2), 1);
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	acpi_pm_write(&pm, ACPI_PM1_STS, 2, 1);
	assert_false(f.level[SCI]);
	assert_true(dev_timers_next(&timers) < f.now + 600 * S);
}

static void power_off(void **state)
{
	(void)state;
	acpi_pm_write(&pm, ACPI_PM1_CNT, 2, ACPI_S5_TYP << 10);
	assert_int_equal(f.offs, 0);
	acpi_pm_write(&pm, ACPI_PM1_CNT, 2, ACPI_S5_TYP << 10 | 0x2001);
	assert_int_equal(f.offs, 1);
	assert_string_equal(f.why, "ACPI S5");
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM1_CNT, 2), 1);
	acpi_pm_write(&pm, ACPI_PM1_CNT + 1, 1, 0x20); /* by byte */
	assert_int_equal(f.offs, 2);
	acpi_pm_write(&pm, ACPI_PM1_CNT, 2, 3 << 10 | 0x2000);
	assert_int_equal(f.offs, 2);
	assert_int_equal(pm.refused_sleeps, 1);
}

static void reset_register(void **state)
{
	(void)state;
	acpi_pm_write(&pm, ACPI_PM_RESET, 1, 0);
	acpi_pm_write(&pm, ACPI_PM_RESET, 1, 2);
	assert_int_equal(f.resets, 0);
	acpi_pm_write(&pm, ACPI_PM_RESET, 1, ACPI_PM_RESET_VALUE);
	assert_int_equal(f.resets, 1);
}

static void power_button(void **state)
{
	(void)state;
	acpi_pm_press_power_button(&pm);
	assert_false(f.level[SCI]);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM1_STS, 2), 0x100);
	acpi_pm_write(&pm, ACPI_PM1_STS, 4, 0x01000000 | 0x100); /* clear and enable in one */
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM1_STS, 4), 0x01000000);
	acpi_pm_press_power_button(&pm);
	assert_true(f.level[SCI]);
	acpi_pm_write(&pm, ACPI_PM1_STS + 1, 1, 0x01);
	assert_false(f.level[SCI]);
	acpi_pm_press_power_button(&pm);
	acpi_pm_reset(&pm);
	assert_false(f.level[SCI]);
	assert_int_equal(acpi_pm_read(&pm, ACPI_PM1_STS, 4), 0);
}

static void general_purpose_events(void **state)
{
	(void)state;
	acpi_pm_set_gpe(&pm, 16, true);
	acpi_pm_set_gpe(&pm, UINT32_MAX, true);
	acpi_pm_set_gpe(&pm, 9, true);
	assert_false(f.level[SCI]);
	acpi_pm_write(&pm, ACPI_GPE0_EN, 2, BIT(9));
	assert_true(f.level[SCI]);
	acpi_pm_write(&pm, ACPI_GPE0_STS, 2, BIT(9));
	assert_true(f.level[SCI]); /* the device still holds it */
	acpi_pm_set_gpe(&pm, 9, false);
	assert_true(f.level[SCI]); /* latched */
	acpi_pm_write(&pm, ACPI_GPE0_STS, 2, BIT(9));
	assert_false(f.level[SCI]);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_offset),
		T(timer_counts),
		T(timer_carry),
		T(power_off),
		T(reset_register),
		T(power_button),
		T(general_purpose_events),
	};

	return cmocka_run_group_tests_name("dev_acpi", tests, NULL, NULL);
}
