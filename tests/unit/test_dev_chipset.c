/* The whole machine by its ports: wiring, what a booting Linux touches, every port at once. */
#include "tests/unit/dev_fake.h"

#include "vtl2-devices/chipset.h"

static struct fake f;
static struct chipset cs;
static unsigned reports;

static void on_unclaimed(void *ctx, u64 address, unsigned size, bool write, u64 value)
{
	(void)ctx, (void)address, (void)size, (void)write, (void)value;
	reports++;
}

static int setup(void **state)
{
	struct chipset_cfg cfg = {
		.clock = fake_clock(&f),
		.wall = fake_wallclock(&f),
		.power = fake_power(&f),
		.apic = fake_apic(&f),
		.intr = fake_irq(&f, 0),
		.debug = fake_sink(&f),
		.unclaimed_pio = {on_unclaimed, NULL},
		.unclaimed_mmio = {on_unclaimed, NULL},
		.uart = {{.present = true, .tx = fake_sink(&f)},
			 {.present = true, .tx = fake_sink(&f)},
			 {.present = true}},
	};

	(void)state;
	memset(&f, 0, sizeof(f));
	reports = 0;
	f.now = 1000;
	f.wall = 1700000000ull * 1000000000;
	assert_true(chipset_init(&cs, &cfg));
	return 0;
}

static u32 in(u16 port)
{
	return chipset_pio_read(&cs, port, 1);
}

static void out(u16 port, u32 value)
{
	chipset_pio_write(&cs, port, 1, value);
}

static void ioapic_set(unsigned pin, u32 low)
{
	chipset_mmio_write(&cs, IOAPIC_BASE, 4, 0x10 + pin * 2);
	chipset_mmio_write(&cs, IOAPIC_BASE + 0x10, 4, low);
}

/* A guest that tries everything: nothing breaks, and each unclaimed place is told once. */
static void every_port(void **state)
{
	unsigned told;

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned port = 0; port < 0x10000; port++) {
			for (unsigned size = 1; size <= 4; size *= 2) {
				chipset_pio_read(&cs, (u16)port, size);
				chipset_pio_write(&cs, (u16)port, size, UINT32_MAX);
				chipset_pio_write(&cs, (u16)port, size, 0);
				f.text_len = 0;
			}
			f.now += 1000;
			chipset_run_timers(&cs);
		}
		if (round == 0)
			told = reports;
	}
	assert_true(told < 0x10000);
	assert_int_equal(reports, told);
	assert_int_equal(f.offs, 0); /* all ones asks for a sleep type that does not exist */
}

static void absent_places(void **state)
{
	(void)state;
	assert_int_equal(chipset_pio_read(&cs, 0x1f0, 2), 0xffff);
	assert_int_equal(in(0x2e8 + 5), 0xff); /* COM4 */
	assert_int_equal(chipset_pio_read(&cs, 0x5658, 4), UINT32_MAX);
	assert_true(chipset_mmio_read(&cs, 0xfed00000, 8) == UINT64_MAX); /* no HPET */
	chipset_mmio_write(&cs, 0xfed00000, 4, 1);
	assert_int_equal(reports, 4);
	assert_int_equal(chipset_uart_rx(&cs, 3, (const u8 *)"x", 1), 0);
	assert_int_equal(chipset_uart_rx(&cs, 4, (const u8 *)"x", 1), 0);
	assert_int_equal(in(0xed), 0xff); /* the delay port is not worth a line */
	assert_int_equal(reports, 4);
}

/* pci_check_type1() and type2: the mechanism answers, the bus is empty. */
static void pci_probe(void **state)
{
	(void)state;
	out(0xcfb, 1);
	chipset_pio_write(&cs, 0xcf8, 4, 0x80000000);
	assert_int_equal(chipset_pio_read(&cs, 0xcf8, 4), 0x80000000);
	assert_int_equal(chipset_pio_read(&cs, 0xcfc, 4), UINT32_MAX);
	assert_int_equal(chipset_pio_read(&cs, 0xcfe, 2), 0xffff);
	chipset_pio_write(&cs, 0xcfc, 4, 0);
	out(0xcf8, 0);
	out(0xcfa, 0);
	assert_int_not_equal(in(0xcf8) | in(0xcfa), 0);
	chipset_pio_write(&cs, 0xcf8, 4, UINT32_MAX);
	assert_int_equal(f.resets, 0); /* the dword covers 0xcf9 but is not a write to it */
	assert_int_equal(chipset_pio_read(&cs, 0xcf8, 4), 0x80fffffc);
}

static void resets(void **state)
{
	(void)state;
	out(0xcf9, 0x02);
	assert_int_equal(f.resets, 0);
	out(0xcf9, 0x06);
	assert_int_equal(f.resets, 1);
	assert_int_equal(in(0xcf9), 0x06);
	out(0x64, 0xfe);
	assert_int_equal(f.resets, 2);
	out(0x64, 0xff);
	assert_int_equal(f.resets, 2);
	out(0x64, 0xd1);
	out(0x60, 0x02);
	assert_int_equal(f.resets, 3);
	out(0x92, 0x03);
	assert_int_equal(f.resets, 4);
	out(ACPI_PM_BASE + ACPI_PM_RESET, ACPI_PM_RESET_VALUE);
	assert_int_equal(f.resets, 5);
	assert_int_equal(f.offs, 0);
	chipset_reset(&cs);
	assert_int_equal(in(0xcf9), 0);
	assert_int_equal(in(0x92), 2);
}

/* Linux' i8042 without ACPI's word on it: commands end at once, no keyboard, no mouse. */
static void keyboard_probe(void **state)
{
	(void)state;
	assert_int_equal(in(0x64) & 3, 0);
	out(0x64, 0x20);
	assert_int_equal(in(0x64) & 1, 1);
	assert_int_equal(in(0x60) & 0x31, 0x30);
	assert_int_equal(in(0x64) & 1, 0);
	out(0x64, 0x60);
	out(0x60, 0x45);
	out(0x64, 0x20);
	assert_int_equal(in(0x60), 0x45);
	out(0x64, 0xaa);
	assert_int_equal(in(0x60), 0x55);
	out(0x64, 0xd3);
	out(0x60, 0x5a);
	assert_int_not_equal(in(0x60), 0x5a);
	out(0x64, 0xa9);
	assert_int_equal(in(0x60), 2);
	ioapic_set(1, 0x21);
	out(0x60, 0xf2); /* identify: nobody there */
	assert_int_equal(f.msgs, 1);
	assert_int_equal(in(0x64) & 0x41, 0x41);
	assert_int_equal(in(0x60), 0xfe);
	for (unsigned cmd = 0; cmd < 0xf0; cmd++)
		out(0x64, cmd), in(0x60), out(0x60, 1), in(0x60);
	assert_int_equal(f.resets, 0);
}

static void uart_interrupts(void **state)
{
	(void)state;
	ioapic_set(4, 0x24);
	out(0x3fc, 0x0b);
	out(0x3f9, 0x02);
	assert_int_equal(f.msgs, 1);
	assert_int_equal(f.msg[0].vector, 0x24);
	out(0x3f8, 'A');
	assert_int_equal(f.msgs, 1); /* not yet seen by a read of IIR */
	out(0x2f8, 'B');
	assert_int_equal(f.text_len, 2);
	assert_int_equal(in(0x3fa), 0x02);
	/* COM3 shares the line: no second edge while one of them holds it. */
	out(0x3ec, 0x0b);
	out(0x3e9, 0x02);
	assert_int_equal(f.msgs, 2);
	out(0x3f9, 0x00);
	out(0x3f9, 0x02);
	assert_int_equal(f.msgs, 2);
	in(0x3fa);
	in(0x3ea);
	assert_int_equal(chipset_uart_rx(&cs, 0, (const u8 *)"hi", 2), 2);
	out(0x3f9, 0x01);
	assert_int_equal(f.msgs, 3);
	assert_int_equal(in(0x3f8), 'h');
	assert_int_equal(chipset_pio_read(&cs, 0x3f8, 2) & 0xff, 'i');
}

static void timer_by_both_controllers(void **state)
{
	static const u16 port[] = {0x20, 0x21, 0x21, 0x21, 0x21};
	static const u8 word[] = {0x11, 0x30, 0x04, 0x01, 0xfe};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(port); i++)
		out(port[i], word[i]);
	ioapic_set(2, 0x30);
	out(0x43, 0x34);
	out(0x40, 0x9c);
	out(0x40, 0x2e);
	assert_true(chipset_next_deadline(&cs) != DEV_TIMER_NEVER);
	f.now = chipset_next_deadline(&cs);
	chipset_run_timers(&cs);
	assert_int_equal(f.msgs, 1);
	assert_true(f.level[0]);
	assert_true(chipset_pic_pending(&cs));
	assert_int_equal(chipset_pic_acknowledge(&cs), 0x30);
}

static void level_irq_and_eoi(void **state)
{
	(void)state;
	ioapic_set(9, 0x8039);
	out(ACPI_PM_BASE + ACPI_PM1_EN + 1, 0x01);
	chipset_press_power_button(&cs);
	assert_int_equal(f.msgs, 1);
	chipset_eoi(&cs, 0x39);
	assert_int_equal(f.msgs, 2);
	chipset_pio_write(&cs, ACPI_PM_BASE, 2, 0x100);
	chipset_eoi(&cs, 0x39);
	assert_int_equal(f.msgs, 2);
	ioapic_set(20, 0x8040);
	chipset_set_irq(&cs, 20, true);
	chipset_set_irq(&cs, 20, true);
	chipset_set_irq(&cs, 24, true);
	chipset_set_irq(&cs, 2, true);
	chipset_set_irq(&cs, UINT32_MAX, true);
	assert_int_equal(f.msgs, 3);
}

static void ioapic_by_odd_widths(void **state)
{
	(void)state;
	chipset_mmio_write(&cs, IOAPIC_BASE, 1, 1);
	assert_int_equal(chipset_mmio_read(&cs, IOAPIC_BASE + 0x10, 4), 0x00170011);
	assert_int_equal(chipset_mmio_read(&cs, IOAPIC_BASE + 0x12, 1), 0x17);
	assert_true(chipset_mmio_read(&cs, IOAPIC_BASE + 0x10, 8) == 0xffffffff00170011ull);
	assert_true(chipset_mmio_read(&cs, IOAPIC_BASE - 4, 8) == 0x1ffffffffull);
	chipset_mmio_write(&cs, IOAPIC_BASE + IOAPIC_LEN - 4, 8, UINT64_MAX);
}

static void board_ports(void **state)
{
	(void)state;
	assert_int_equal(in(0xe9), 0xe9);
	out(0xe9, 'd');
	assert_int_equal(f.text[0], 'd');
	out(0x80, 0x42);
	assert_int_equal(in(0x80), 0x42);
	assert_int_equal(reports, 0);
	out(0x70, 0x0d);
	assert_int_equal(in(0x71), 0x80);
	assert_int_equal(chipset_pio_read(&cs, 0x408, 4) >> 16, 0);
}

static void extra_region(void **state)
{
	static const struct bus_ops none = {NULL, NULL};
	struct bus_region r = {"taken", 0x3f8, 1, 0, &none, NULL};

	(void)state;
	assert_false(pio_register(&cs.pio, &r));
	r.base = 0x28;
	assert_true(pio_register(&cs.pio, &r));
	in(0x28);
	assert_int_equal(reports, 0);
}

static void reset_is_quiet(void **state)
{
	(void)state;
	ioapic_set(4, 0x24);
	out(0x3fc, 0x0b);
	out(0x3f9, 0x02);
	out(0x43, 0x34);
	out(0x40, 0);
	out(0x40, 1);
	f.msgs = 0;
	chipset_reset(&cs);
	assert_int_equal(f.msgs, 0);
	assert_int_equal(cs.inputs, 0);
	assert_true(chipset_next_deadline(&cs) == DEV_TIMER_NEVER);
}

static void inspect(void **state)
{
	struct dev_inspect to = {fake_line, &f};

	(void)state;
	chipset_inspect(&cs, &to);
	f.text[f.text_len] = 0;
	assert_non_null(strstr(f.text, "2023-11-14 22:13:20"));
	assert_non_null(strstr(f.text, "ACPI PM"));
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_port),
		T(absent_places),
		T(pci_probe),
		T(resets),
		T(keyboard_probe),
		T(uart_interrupts),
		T(timer_by_both_controllers),
		T(level_irq_and_eoi),
		T(ioapic_by_odd_widths),
		T(board_ports),
		T(extra_region),
		T(reset_is_quiet),
		T(inspect),
	};

	return cmocka_run_group_tests_name("dev_chipset", tests, NULL, NULL);
}
