/* 16550A: hostile accesses, what the Linux 8250 driver probes, interrupts, input credit. */
#include "tests/unit/dev_fake.h"

#include "vtl2-devices/serial16550.h"

static struct fake f;
static struct serial16550 dev;
static unsigned room_calls;

#define IRQ 4

static void on_room(void *ctx)
{
	(void)ctx;
	room_calls++;
}

static int setup(void **state)
{
	struct serial_cfg cfg = {.irq = fake_irq(&f, IRQ), .tx = fake_sink(&f), on_room, NULL};

	(void)state;
	memset(&f, 0, sizeof(f));
	room_calls = 0;
	serial_init(&dev, &cfg);
	return 0;
}

static u8 in(unsigned reg)
{
	return serial_read(&dev, reg);
}

static void out(unsigned reg, u8 value)
{
	serial_write(&dev, reg, value);
}

/* As the driver leaves an open port: FIFO on, OUT2, DTR, RTS, receive interrupt. */
static void open_port(void)
{
	out(2, 0x01);
	out(2, 0x07);
	out(2, 0x00);
	in(5), in(0), in(2), in(6);
	out(3, 0x03);
	out(4, 0x0b);
	out(2, 0x81);
	in(5), in(0), in(2), in(6);
	out(1, 0x05);
}

static void all_registers_all_values(void **state)
{
	(void)state;
	for (unsigned reg = 0; reg < 300; reg++) {
		for (unsigned v = 0; v < 256; v++) {
			serial_write(&dev, reg, (u8)v);
			in(reg);
			in(reg + UINT32_MAX / 2);
		}
		f.text_len = 0;
	}
	assert_int_equal(in(8), 0xff);
	assert_int_equal(in(UINT32_MAX), 0xff);
}

static void no_callbacks(void **state)
{
	struct serial16550 bare;
	struct serial_cfg none = {0};
	u8 bytes[200] = {0};

	(void)state;
	serial_init(&bare, &none);
	serial_write(&bare, 0, 'x');
	assert_int_equal(serial_rx(&bare, bytes, sizeof(bytes)), SERIAL_WIRE);
	serial_write(&bare, 1, 15);
	while (serial_read(&bare, 5) & 1)
		serial_read(&bare, 0);
	assert_int_equal(serial_rx_room(&bare), SERIAL_WIRE);
}

/* The sequence of Linux' autoconfig(): it must end at 16550A and nothing better. */
static void linux_autodetect(void **state)
{
	u8 mcr, status1, status2;

	(void)state;
	out(1, 0);
	assert_int_equal(in(1), 0);
	out(1, 0x0f);
	assert_int_equal(in(1) & 0x0f, 0x0f);
	out(1, 0);
	mcr = in(4);
	out(4, 0x10 | 0x0a);
	assert_int_equal(in(6) & 0xf0, 0x90);
	out(4, mcr);

	out(3, 0xbf);
	out(2, 0); /* EFR of better chips */
	out(3, 0);
	out(2, 1);
	assert_int_equal(in(2) >> 6, 3);
	out(3, 0x80);
	assert_int_not_equal(in(2), 0); /* 16650: EFR reads as 0 */
	out(3, 0xbf);
	assert_int_not_equal(in(2), 0);
	out(3, 0); /* NS16550A with bank registers: bit 4 of 0xe0's offset 2 follows MCR */
	status1 = in(4);
	out(3, 0xe0);
	status2 = in(2);
	assert_false((status2 ^ status1) & 0x10);
	out(3, 0);
	out(4, status1 ^ 0x10);
	out(3, 0xe0);
	status2 = in(2);
	out(3, 0);
	out(4, status1);
	assert_false((status2 ^ status1) & 0x10);
	out(2, 1); /* 16750: 64-byte mode shows in IIR */
	status1 = in(2) >> 5;
	out(2, 0x21);
	out(3, 0x80);
	out(2, 0x21);
	status2 = in(2) >> 5;
	out(3, 0);
	assert_int_equal(status1, 6);
	assert_int_equal(status2, 6);
	out(1, 0x40); /* XScale UUE */
	assert_int_equal(in(1), 0);
	assert_int_equal(f.text_len, 0);
}

/* serial8250_do_startup(): no TXEN bug, no THRE bug. */
static void linux_tx_interrupt_tests(void **state)
{
	(void)state;
	out(1, 2);
	assert_false(in(2) & 1);
	out(1, 0);
	out(1, 2);
	assert_false(in(2) & 1); /* asserts again on a new enable */
	assert_true(in(2) & 1);	 /* and reading IIR has cleared it */
	out(1, 0);
	out(1, 2);
	assert_int_equal(in(5) & 0x60, 0x60);
	assert_false(in(2) & 1);
}

static void divisor_latch(void **state)
{
	(void)state;
	out(1, 5);
	out(3, 0x83);
	out(0, 1);
	out(1, 0x77);
	assert_int_equal(in(0), 1);
	assert_int_equal(in(1), 0x77);
	out(3, 3);
	assert_int_equal(in(1), 5);
	assert_int_equal(f.text_len, 0);
	out(7, 0x5a);
	assert_int_equal(in(7), 0x5a);
}

static void transmit(void **state)
{
	(void)state;
	open_port();
	out(1, 7);
	assert_true(f.level[IRQ]);
	assert_int_equal(in(2), 0xc2);
	assert_false(f.level[IRQ]);
	for (unsigned i = 0; i < 5; i++) {
		unsigned rises = f.rises[IRQ];

		out(0, (u8)("Hello"[i]));
		/* one edge until the driver has seen it */
		assert_int_equal(f.rises[IRQ], rises + (i == 0));
		assert_int_equal(in(5) & 0x60, 0x60);
	}
	for (unsigned i = 0; i < 3; i++) {
		unsigned rises = f.rises[IRQ];

		assert_int_equal(in(2), 0xc2);
		out(0, '!');
		assert_int_equal(f.rises[IRQ], rises + 1); /* seen, so there is another */
	}
	assert_memory_equal(f.text, "Hello!!!", 8);
	out(1, 5);
	assert_false(f.level[IRQ]);
	assert_int_equal(in(2), 0xc1);
}

static void out2_gates_the_line(void **state)
{
	(void)state;
	out(1, 2);
	assert_false(f.level[IRQ]);
	out(4, 8);
	assert_true(f.level[IRQ]);
	out(4, 0x18);
	assert_false(f.level[IRQ]);
}

static void receive_and_trigger(void **state)
{
	u8 bytes[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)(i + 1);
	open_port(); /* trigger level 8 */
	assert_int_equal(serial_rx(&dev, bytes, 7), 7);
	assert_true(f.level[IRQ]);
	assert_int_equal(in(2), 0xcc);
	assert_int_equal(serial_rx(&dev, bytes + 7, 1), 1);
	assert_int_equal(in(2), 0xc4);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(in(5) & 1);
		assert_int_equal(in(0), i + 1);
	}
	assert_false(in(5) & 1);
	assert_int_equal(in(0), 0);
	assert_false(f.level[IRQ]);
}

static void interrupt_priority(void **state)
{
	(void)state;
	open_port();
	out(1, 0x0f);
	serial_set_connected(&dev, false);
	assert_true(serial_rx_break(&dev));
	assert_int_equal(in(2), 0xc6);
	assert_int_equal(in(5), 0xf1); /* FIFO error, empty transmitter, break, data */
	assert_int_equal(in(5), 0x61);
	assert_int_equal(in(2), 0xcc);
	assert_int_equal(in(0), 0);
	assert_int_equal(in(2), 0xc2);
	assert_int_equal(in(2), 0xc0);
	assert_int_equal(in(6), 0x0b);
	assert_int_equal(in(6), 0x00);
	assert_int_equal(in(2), 0xc1);
	serial_set_connected(&dev, true);
	assert_int_equal(in(6), 0xbb);
}

static void input_is_never_lost(void **state)
{
	u8 bytes[256], next = 0;
	size_t given = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)i;
	/* Typed before the port is open: the blind reads and FIFO resets must not eat it. */
	given += serial_rx(&dev, bytes, sizeof(bytes));
	assert_int_equal(given, SERIAL_WIRE);
	assert_int_equal(serial_rx_room(&dev), 0);
	for (unsigned i = 0; i < 200; i++) { /* console output polls once per byte */
		in(5);
		out(0, 'x');
	}
	f.text_len = 0;
	linux_autodetect(state);
	open_port();
	while (next < 255) {
		if (room_calls) {
			room_calls = 0;
			given += serial_rx(&dev, bytes + given, sizeof(bytes) - given);
		}
		assert_true(in(5) & 1);
		assert_int_equal(in(0), next++);
		if (next == 100) /* reopened in the middle */
			out(1, 0), open_port();
	}
	assert_int_equal(given, 256);
}

static void polling_reader_gets_input(void **state)
{
	unsigned tries = 0;

	(void)state;
	out(2, 7);
	serial_rx(&dev, (const u8 *)"ab", 2);
	while (!(in(5) & 1))
		assert_true(++tries < 100);
	assert_int_equal(in(0), 'a');
	assert_int_equal(in(5) & 1, 1);
	assert_int_equal(in(0), 'b');
}

static void room_is_told_in_time(void **state)
{
	u8 bytes[SERIAL_WIRE + 1] = {0};

	(void)state;
	open_port();
	assert_int_equal(serial_rx(&dev, bytes, SERIAL_WIRE), SERIAL_WIRE);
	while (in(5) & 1)
		in(0);
	assert_int_equal(room_calls, 0); /* nobody was refused */
	assert_int_equal(serial_rx(&dev, bytes, SERIAL_WIRE + 1), SERIAL_WIRE);
	while (in(5) & 1)
		in(0);
	assert_int_equal(room_calls, 1);
	assert_int_equal(serial_rx(&dev, bytes, 0), 0);
}

static void loopback(void **state)
{
	(void)state;
	open_port();
	serial_rx(&dev, (const u8 *)"host", 4);
	out(4, 0x10);
	assert_false(in(5) & 1);
	for (unsigned i = 0; i < 16; i++)
		out(0, (u8)(0x80 + i));
	assert_int_equal(in(5) & 3, 1);
	out(0, 0xff);
	assert_int_equal(in(5) & 3, 3); /* overrun */
	assert_int_equal(in(5) & 3, 1);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(in(0), 0x80 + i);
	assert_int_equal(f.text_len, 0);
	for (unsigned mcr = 0; mcr < 16; mcr++) {
		static const u8 to_msr[4] = {0x20, 0x10, 0x40, 0x80};
		u8 want = 0;

		out(4, (u8)(0x10 | mcr));
		for (unsigned b = 0; b < 4; b++)
			want |= mcr & BIT(b) ? to_msr[b] : 0;
		assert_int_equal(in(6) & 0xf0, want);
	}
	in(6);
	out(4, 0x14);
	in(6);
	out(4, 0x10);
	assert_int_equal(in(6), 0x04); /* trailing edge of RI */
	out(0, 'z');
	out(4, 0x0b);
	assert_int_equal(in(0), 'h'); /* looped bytes do not leak into the input */
	assert_int_equal(in(0), 'o');
}

static void without_fifo(void **state)
{
	(void)state;
	out(4, 8);
	out(1, 1);
	serial_rx(&dev, (const u8 *)"abc", 3);
	assert_int_equal(dev.s.fifo_count, 1);
	assert_int_equal(in(2), 0x04);
	assert_int_equal(in(0), 'a');
	assert_int_equal(in(0), 'b');
	assert_int_equal(in(0), 'c');
	assert_int_equal(in(2), 0x01);
}

static void reset_keeps_input(void **state)
{
	(void)state;
	open_port();
	serial_rx(&dev, (const u8 *)"abc", 3);
	serial_reset(&dev);
	assert_false(f.level[IRQ]);
	assert_int_equal(in(1) | in(3) | in(4), 0);
	open_port();
	assert_int_equal(in(0), 'a');
}

static void inspect(void **state)
{
	struct dev_inspect to = {fake_line, &f};

	(void)state;
	serial_inspect(&dev, &to);
	f.text[f.text_len] = 0;
	assert_non_null(strstr(f.text, "divisor 12"));
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_registers_all_values),
		T(no_callbacks),
		T(linux_autodetect),
		T(linux_tx_interrupt_tests),
		T(divisor_latch),
		T(transmit),
		T(out2_gates_the_line),
		T(receive_and_trigger),
		T(interrupt_priority),
		T(input_is_never_lost),
		T(polling_reader_gets_input),
		T(room_is_told_in_time),
		T(loopback),
		T(without_fifo),
		T(reset_keeps_input),
		T(inspect),
	};

	return cmocka_run_group_tests_name("dev_serial", tests, NULL, NULL);
}
