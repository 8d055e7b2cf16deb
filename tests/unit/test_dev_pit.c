/* 8254: hostile programming, Linux' calibration loops, modes, latches, IRQ 0 by timers. */
#include "tests/unit/dev_fake.h"

#include "vtl2-devices/pit8254.h"

#define IRQ 0
#define S   1000000000ull

static struct fake f;
static struct dev_timers timers;
static struct pit8254 pit;

static int setup(void **state)
{
	struct pit_cfg cfg = {fake_irq(&f, IRQ), fake_clock(&f), &timers};

	(void)state;
	memset(&f, 0, sizeof(f));
	memset(&timers, 0, sizeof(timers));
	f.now = 12345;
	pit_init(&pit, &cfg);
	return 0;
}

static void count(unsigned ch, u8 control, u16 value)
{
	pit_write(&pit, 3, (u8)(ch << 6 | control));
	pit_write(&pit, ch, (u8)value);
	pit_write(&pit, ch, (u8)(value >> 8));
}

static u16 latched(unsigned ch)
{
	u8 low;

	pit_write(&pit, 3, (u8)(ch << 6));
	low = pit_read(&pit, ch);
	return (u16)(low | pit_read(&pit, ch) << 8);
}

static void clocks(u64 n)
{
	fake_run(&f, &timers, f.now + (n * S + PIT_HZ - 1) / PIT_HZ);
}

static void every_control_word(void **state)
{
	(void)state;
	for (unsigned control = 0; control < 256; control++) {
		for (unsigned v = 0; v < 5; v++) {
			static const u8 values[] = {0, 1, 2, 0x9f, 0xff};

			pit_write(&pit, 3, (u8)control);
			for (unsigned port = 0; port < 3; port++) {
				pit_write(&pit, port, values[v]);
				pit_read(&pit, port);
				pit_write(&pit, port, v & 1 ? 0 : values[v]);
			}
			pit_port61_write(&pit, (u8)(control ^ v));
			clocks(70000 * (v + 1));
			for (unsigned port = 0; port < 5; port++)
				pit_read(&pit, port);
			pit_port61_read(&pit);
			assert_true(dev_timers_next(&timers) > f.now);
		}
	}
	f.now = UINT64_MAX - 1;
	pit_read(&pit, 0);
	dev_timers_run(&timers, f.now);
}

static void silent_after_reset(void **state)
{
	(void)state;
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	count(0, 0x34, 11932);
	assert_true(dev_timers_next(&timers) != DEV_TIMER_NEVER);
	pit_reset(&pit);
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	assert_int_equal(pit_read(&pit, 3), 0xff);
}

/* quick_pit_calibrate(): channel 2 in mode 0 with 0xffff, reads without latching. */
static void linux_quick_calibration(void **state)
{
	(void)state;
	pit_port61_write(&pit, (pit_port61_read(&pit) & (u8)~2) | 1);
	count(2, 0x30, 0xffff);
	pit_read(&pit, 2);
	assert_int_equal(pit_read(&pit, 2), 0xff);
	for (unsigned msb = 0xff; msb > 0xf0; msb--) {
		unsigned reads = 0;

		do { /* two port reads of 2 us each */
			clocks(5);
			pit_read(&pit, 2);
			assert_true(++reads < 100);
		} while (pit_read(&pit, 2) == msb);
		assert_in_range(reads, 45, 60);
	}
}

/* pit_calibrate_tsc(): waits for OUT of channel 2 in port 0x61. */
static void linux_slow_calibration(void **state)
{
	u64 start;

	(void)state;
	pit_port61_write(&pit, 1);
	count(2, 0x30, PIT_HZ / 20);
	start = f.now;
	while (!(pit_port61_read(&pit) & 0x20))
		f.now += 10000;
	assert_in_range(f.now - start, 49990000, 50020000);
}

static void gate_stops_channel_2(void **state)
{
	u16 before;

	(void)state;
	count(2, 0x30, 1000); /* gate low: loaded, not counting */
	clocks(100);
	assert_int_equal(latched(2), 1000);
	pit_port61_write(&pit, 1);
	clocks(100);
	before = latched(2);
	assert_in_range(before, 898, 900);
	pit_port61_write(&pit, 0);
	clocks(100);
	assert_in_range(latched(2), before - 1, before);
	pit_port61_write(&pit, 1);
	clocks(1000);
	assert_true(pit_port61_read(&pit) & 0x20);
	count(2, 0x32, 500); /* mode 1: waits for a gate edge */
	clocks(1000);
	assert_true(pit_port61_read(&pit) & 0x20);
	pit_port61_write(&pit, 0);
	pit_port61_write(&pit, 1);
	assert_false(pit_port61_read(&pit) & 0x20);
	clocks(501);
	assert_true(pit_port61_read(&pit) & 0x20);
}

static void port61(void **state)
{
	unsigned toggles = 0;
	u8 last;

	(void)state;
	pit_port61_write(&pit, 0xff);
	assert_int_equal(pit_port61_read(&pit) & 0xcf, 0x0f);
	last = pit_port61_read(&pit) & 0x10;
	for (unsigned i = 0; i < 1000; i++) {
		f.now += 1000;
		if ((pit_port61_read(&pit) & 0x10) != last)
			toggles++, last ^= 0x10;
	}
	assert_in_range(toggles, 65, 67);
}

static void periodic_interrupt(void **state)
{
	(void)state;
	count(0, 0x34, 11932); /* 100 Hz */
	fake_run(&f, &timers, f.now + S);
	assert_in_range(f.rises[IRQ], 99, 100);
	count(0, 0x36, 11932);
	fake_run(&f, &timers, f.now + S);
	assert_in_range(f.rises[IRQ], 198, 200);
	pit_write(&pit, 3, 0x30); /* Linux' shutdown: mode 0, no count */
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	assert_false(f.level[IRQ]);
}

static void late_ticks_are_merged(void **state)
{
	(void)state;
	count(0, 0x34, 11932);
	f.now += 10 * S;
	dev_timers_run(&timers, f.now);
	assert_int_equal(f.rises[IRQ], 1);
	assert_true(dev_timers_next(&timers) > f.now);
	count(0, 0x34, 2); /* 600 kHz */
	f.rises[IRQ] = 0;
	fake_run(&f, &timers, f.now + S);
	assert_in_range(f.rises[IRQ], 1000, 20001);
}

static void one_shot(void **state)
{
	(void)state;
	count(0, 0x30, 1000);
	assert_int_equal(f.rises[IRQ], 0);
	clocks(900);
	assert_int_equal(f.rises[IRQ], 0);
	clocks(200);
	assert_int_equal(f.rises[IRQ], 1);
	assert_true(dev_timers_next(&timers) == DEV_TIMER_NEVER);
	count(0, 0x38, 5000); /* mode 4: Linux' one-shot clock event */
	clocks(6000);
	assert_int_equal(f.rises[IRQ], 2);
	pit_write(&pit, 0, 0x88);
	pit_write(&pit, 0, 0x13);
	clocks(6000);
	assert_int_equal(f.rises[IRQ], 3);
	pit_write(&pit, 0, 0x88); /* half a count does nothing in mode 4 */
	clocks(6000);
	assert_int_equal(f.rises[IRQ], 3);
}

static void latches_and_read_back(void **state)
{
	u8 low;

	(void)state;
	count(0, 0x34, 50000);
	clocks(1000);
	pit_write(&pit, 3, 0x00);
	clocks(10000);
	pit_write(&pit, 3, 0x00); /* ignored: the first latch is unread */
	low = pit_read(&pit, 0);
	assert_in_range(low | pit_read(&pit, 0) << 8, 48998, 49000);
	assert_in_range(latched(0), 38990, 39001);
	pit_write(&pit, 3, 0xc2); /* count and status of channel 0 */
	assert_int_equal(pit_read(&pit, 0), 0xb4);
	pit_read(&pit, 0), pit_read(&pit, 0);
	pit_write(&pit, 3, 0x74);
	pit_write(&pit, 3, 0xe4); /* status of channel 1: count not loaded */
	assert_int_equal(pit_read(&pit, 1), 0xf4);
}

static void byte_modes_and_bcd(void **state)
{
	(void)state;
	pit_write(&pit, 3, 0x54); /* channel 1, low byte, mode 2 */
	pit_write(&pit, 1, 18);
	assert_int_equal(pit_read(&pit, 1), 18);
	clocks(20);
	assert_in_range(pit_read(&pit, 1), 1, 18);
	pit_write(&pit, 3, 0x64); /* high byte */
	pit_write(&pit, 1, 0x40);
	assert_int_equal(pit_read(&pit, 1), 0x40);
	count(1, 0x31, 0x1000); /* BCD, mode 0 */
	clocks(1);
	assert_int_equal(latched(1), 0x0999);
	count(1, 0x31, 0);
	clocks(1);
	assert_int_equal(latched(1), 0x9999);
	count(1, 0x30, 0);
	clocks(1);
	assert_int_equal(latched(1), 0xffff);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_control_word),	   T(silent_after_reset),    T(linux_quick_calibration),
		T(linux_slow_calibration), T(gate_stops_channel_2),  T(port61),
		T(periodic_interrupt),	   T(late_ticks_are_merged), T(one_shot),
		T(latches_and_read_back),  T(byte_modes_and_bcd),
	};

	return cmocka_run_group_tests_name("dev_pit", tests, NULL, NULL);
}
