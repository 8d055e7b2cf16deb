/* The whole chipset under arbitrary ports, MMIO, time, EOIs and input: bounded and consistent. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/chipset.h"

static struct chipset cs;
static unsigned reports, lines;

static void on_power(void *ctx, enum dev_power_event event, const char *why)
{
	(void)ctx, (void)event;
	if (!why || !*why)
		abort();
}

static void on_intr(void *ctx, unsigned line, bool level)
{
	(void)ctx, (void)line, (void)level;
}

static void on_char(void *ctx, const u8 *data, size_t len)
{
	(void)ctx, (void)data;
	if (len != 1)
		abort();
}

static void on_unclaimed(void *ctx, u64 address, unsigned size, bool write, u64 value)
{
	(void)ctx, (void)write;
	if (size == 0 || size > 8 || (size < 8 && value >> size * 8))
		abort();
	if (ctx == &cs.mmio && ++reports > MMIO_PAGES_LOGGED)
		abort();
	if (ctx == &cs.pio && address >= PIO_PORTS)
		abort();
}

static void on_line(void *ctx, const char *text)
{
	(void)ctx;
	lines += strlen(text) < 160;
}

static void start(void)
{
	struct chipset_cfg cfg = {
		.clock = {get_now},
		.wall = {get_wall},
		.power = {on_power},
		.apic = {on_msg},
		.intr = {on_intr},
		.debug = {on_char},
		.unclaimed_pio = {on_unclaimed, &cs.pio},
		.unclaimed_mmio = {on_unclaimed, &cs.mmio},
	};

	for (unsigned i = 0; i < 3; i++)
		cfg.uart[i] = (struct chipset_uart_cfg){.present = true, .tx = {on_char}};
	now_ns = 1000;
	wall_ns = 1700000000ull * 1000000000;
	reports = 0;
	if (!chipset_init(&cs, &cfg))
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct dev_inspect out = {on_line};

	start();
	for (size_t i = 0; i + DRIVE_BYTES <= size; i += DRIVE_BYTES)
		drive(&cs, data + i, &now_ns, &wall_ns);
	lines = 0;
	chipset_inspect(&cs, &out);
	if (lines < 20)
		abort();
	return 0;
}
