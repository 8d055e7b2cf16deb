/* MC146818: hostile registers, date arithmetic, what Linux reads and sets, interrupts. */
#include "tests/unit/dev_fake.h"

#include <time.h>

#include "vtl2-devices/cmos_rtc.h"

#define IRQ 8
#define S   1000000000ull

static struct fake f;
static struct dev_timers timers;
static struct cmos_rtc rtc;

static void start(u64 unix_s)
{
	struct rtc_cfg cfg = {fake_irq(&f, IRQ), fake_clock(&f), fake_wallclock(&f), &timers};

	memset(&f, 0, sizeof(f));
	memset(&timers, 0, sizeof(timers));
	f.now = 5 * S;
	f.wall = unix_s * S;
	rtc_init(&rtc, &cfg);
}

static int setup(void **state)
{
	(void)state;
	start(1700000000); /* 2023-11-14 22:13:20 UTC, a Tuesday */
	return 0;
}

static u8 get(u8 reg)
{
	rtc_write(&rtc, 0, reg);
	return rtc_read(&rtc, 1);
}

static void set(u8 reg, u8 value)
{
	rtc_write(&rtc, 0, reg);
	rtc_write(&rtc, 1, value);
}

static unsigned bcd(u8 v)
{
	return (v >> 4) * 10u + (v & 15);
}

static void hostile_values(void **state)
{
	(void)state;
	for (unsigned b = 0; b < 256; b++) {
		for (unsigned v = 0; v < 256; v += 5) {
			for (u8 reg = 0; reg < 128; reg++)
				if (reg != 11)
					set(reg, (u8)v);
			set(11, (u8)b);
			for (u8 reg = 0; reg < 128; reg++)
				get(reg);
			f.now += 7 * S;
			f.wall += 7 * S + v;
			if (dev_timers_next(&timers) != DEV_TIMER_NEVER)
				assert_true(dev_timers_next(&timers) > f.now - 7 * S);
			dev_timers_run(&timers, f.now);
			assert_true(dev_timers_next(&timers) > f.now);
		}
	}
}

static void hostile_clock(void **state)
{
	static const u64 walls[] = {0, 1, UINT64_MAX, UINT64_MAX / 2, 1ull << 63, 5};

	(void)state;
	set(11, 0x72);
	for (unsigned i = 0; i < ARRAY_SIZE(walls); i++) {
		f.wall = walls[i];
		for (u8 reg = 0; reg < 14; reg++)
			get(reg);
		dev_timers_run(&timers, f.now += S);
		assert_true(dev_timers_next(&timers) > f.now);
	}
	assert_int_equal(rtc_read(&rtc, 0), 0xff);
}

static void read_as_linux(void **state)
{
	(void)state;
	assert_int_equal(get(13), 0x80);
	assert_int_equal(get(11), 0x02); /* BCD, 24 hours: rtc_cmos wants nothing else */
	assert_int_equal(get(10), 0x26);
	assert_int_equal(get(0), 0x20);
	assert_int_equal(get(2), 0x13);
	assert_int_equal(get(4), 0x22);
	assert_int_equal(get(6), 3);
	assert_int_equal(get(7), 0x14);
	assert_int_equal(get(8), 0x11);
	assert_int_equal(get(9), 0x23);
	assert_int_equal(get(0x32), 0x20);
}

static void dates_agree_with_libc(void **state)
{
	static const u64 times[] = {
		0,	    951782399,	951782400,  951868799,	951868800,  1709164800,	 1709251199,
		1735689599, 1735689600, 4102444799, 4102444800, 4107542400, 13569465600,
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(times); i++) {
		time_t t = (time_t)times[i];
		struct tm tm;

		start(times[i]);
		gmtime_r(&t, &tm);
		assert_int_equal(bcd(get(0)), tm.tm_sec);
		assert_int_equal(bcd(get(2)), tm.tm_min);
		assert_int_equal(bcd(get(4)), tm.tm_hour);
		assert_int_equal(get(6), tm.tm_wday + 1);
		assert_int_equal(bcd(get(7)), tm.tm_mday);
		assert_int_equal(bcd(get(8)), tm.tm_mon + 1);
		assert_int_equal(bcd(get(9)), tm.tm_year % 100);
		assert_int_equal(bcd(get(0x32)), 19 + tm.tm_year / 100);
	}
}

static void formats(void **state)
{
	(void)state;
	set(11, 0x06);
	assert_int_equal(get(4), 22);
	assert_int_equal(get(9), 23);
	set(11, 0x00);
	assert_int_equal(get(4), 0x90); /* 10 pm */
	f.wall += 2 * 3600 * S;
	assert_int_equal(get(4), 0x12); /* midnight */
	f.wall += 12 * 3600 * S;
	assert_int_equal(get(4), 0x92); /* noon */
}

/* The order of Linux' mc146818_set_time(): SET, divider reset, registers, SET off, divider on. */
static void set_as_linux(void **state)
{
	static const u8 reg[] = {9, 8, 7, 4, 2, 0, 0x32};
	static const u8 val[] = {0x24, 0x02, 0x28, 0x23, 0x59, 0x58, 0x20};

	(void)state;
	f.wall += S / 3;
	set(11, 0x82);
	set(10, 0x76);
	for (unsigned i = 0; i < ARRAY_SIZE(reg); i++)
		set(reg[i], val[i]);
	f.wall += 30 * S; /* stands still meanwhile */
	assert_int_equal(get(0), 0x58);
	assert_int_equal(get(10) & 0x80, 0);
	set(11, 0x02);
	assert_int_equal(get(0), 0x58);
	set(10, 0x26);
	assert_int_equal(get(0), 0x58);
	f.wall += S * 49 / 100;
	assert_int_equal(get(0), 0x58);
	f.wall += S * 2 / 100; /* half a second after the divider: first update */
	assert_int_equal(get(0), 0x59);
	f.wall += S;
	assert_int_equal(get(0), 0x00);
	assert_int_equal(get(4), 0x00);
	assert_int_equal(get(7), 0x29);
	assert_int_equal(get(8), 0x02);
	assert_int_equal(get(6), 5); /* a Thursday */
	rtc_reset(&rtc);
	assert_int_equal(get(7), 0x29); /* the setting survives a reset */
}

static void write_while_running(void **state)
{
	(void)state;
	set(2, 0x45);
	assert_int_equal(get(2), 0x45);
	assert_int_equal(get(0), 0x20);
	f.wall += 10 * S;
	assert_int_equal(get(0), 0x30);
}

static void update_in_progress(void **state)
{
	(void)state;
	assert_false(get(10) & 0x80);
	f.wall += S - 2000000;
	assert_true(get(10) & 0x80);
	f.wall += 2000000;
	assert_false(get(10) & 0x80);
	assert_int_equal(get(0), 0x21);
}

static void update_interrupt(void **state)
{
	(void)state;
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	set(11, 0x12);
	assert_true(dev_timers_next(&timers) <= f.now + S);
	fake_run(&f, &timers, f.now + 5 * S);
	assert_int_equal(f.rises[IRQ], 1); /* nobody read C: no more timers either */
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	assert_int_equal(get(12) & 0x90, 0x90);
	assert_false(f.level[IRQ]);
	assert_int_equal(get(12), 0);
	for (unsigned i = 0; i < 10; i++) {
		fake_run(&f, &timers, f.now + S);
		assert_true(get(12) & 0x10);
	}
	assert_int_equal(f.rises[IRQ], 11);
}

static void flags_without_interrupts(void **state)
{
	(void)state;
	get(12);
	f.now += S + 1;
	f.wall += S + 1;
	assert_int_equal(get(12), 0x50); /* polled: UF and PF without IRQF */
	assert_false(f.level[IRQ]);
}

static void periodic_interrupt(void **state)
{
	unsigned seen = 0;

	(void)state;
	set(10, 0x2a); /* 64 Hz */
	set(11, 0x42);
	get(12);
	for (unsigned i = 0; i < 64; i++) {
		fake_run(&f, &timers, f.now + S / 64);
		seen += (get(12) & 0xc0) == 0xc0;
	}
	assert_in_range(seen, 63, 64);
	set(10, 0x20); /* rate 0: off */
	get(12);
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
}

static void alarm(void **state)
{
	(void)state;
	set(1, 0x10); /* 22:14:10, in 50 seconds */
	set(3, 0x14);
	set(5, 0x22);
	set(11, 0x22);
	get(12);
	fake_run(&f, &timers, f.now + 49 * S);
	assert_int_equal(f.rises[IRQ], 0);
	fake_run(&f, &timers, f.now + 2 * S);
	assert_int_equal(f.rises[IRQ], 1);
	assert_int_equal(get(12) & 0xa0, 0xa0);

	set(1, 0x05); /* each minute at :05 */
	set(3, 0xff);
	set(5, 0xc0);
	for (unsigned i = 0; i < 3; i++) {
		fake_run(&f, &timers, f.now + 60 * S);
		assert_true(get(12) & 0x20);
	}
	set(1, 0x77); /* never */
	get(12);
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	set(1, 0xff);
	set(5, 0x99);
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
}

static void alarm_in_12_hours(void **state)
{
	(void)state;
	set(11, 0x20);
	set(1, 0);
	set(3, 0);
	set(5, 0x12); /* midnight */
	get(12);
	/* 22:13:20, so noon is not meant and midnight is 1 h 46 min 40 s away. */
	fake_run(&f, &timers, f.now + (106 * 60 + 39) * S);
	assert_int_equal(f.rises[IRQ], 0);
	fake_run(&f, &timers, f.now + 2 * S);
	assert_int_equal(f.rises[IRQ], 1);
}

static void ram(void **state)
{
	(void)state;
	for (u8 i = 14; i < 128; i++)
		if (i != 0x32)
			set(i | 0x80, (u8)(i ^ 0x55)); /* bit 7 is the NMI mask */
	for (u8 i = 14; i < 128; i++)
		if (i != 0x32)
			assert_int_equal(get(i), i ^ 0x55);
	rtc_set_ram(&rtc, 0x0b, 0xff);
	rtc_set_ram(&rtc, 0xff, 0xff);
	rtc_set_ram(&rtc, 0x10, 0x12);
	assert_int_equal(get(0x0b), 0x02);
	assert_int_equal(get(0x10), 0x12);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(hostile_values),
		T(hostile_clock),
		T(read_as_linux),
		T(dates_agree_with_libc),
		T(formats),
		T(set_as_linux),
		T(write_while_running),
		T(update_in_progress),
		T(update_interrupt),
		T(flags_without_interrupts),
		T(periodic_interrupt),
		T(alarm),
		T(alarm_in_12_hours),
		T(ram),
	};

	return cmocka_run_group_tests_name("dev_rtc", tests, NULL, NULL);
}
