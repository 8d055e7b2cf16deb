/* The whole chipset under arbitrary ports, MMIO, time, EOIs and input: bounded and consistent. */
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "vtl2-devices/chipset.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static struct chipset cs;
static u64 now_ns, wall_ns;
static unsigned reports, lines;

static u64 get_now(void *ctx)
{
	(void)ctx;
	return now_ns;
}

static u64 get_wall(void *ctx)
{
	(void)ctx;
	return wall_ns;
}

static void on_power(void *ctx, enum dev_power_event event, const char *why)
{
	(void)ctx, (void)event;
	if (!why || !*why)
		abort();
}

static void on_msg(void *ctx, const struct apic_msg *msg)
{
	(void)ctx;
	if (msg->dest > 0x7fff || msg->delivery == APIC_SIPI ||
	    (msg->delivery <= APIC_LOWEST && msg->vector < 16) ||
	    (msg->level && msg->delivery > APIC_LOWEST))
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

/* Ports that a device answers, so that short inputs reach them. */
static u16 pick_port(u8 a, u8 b)
{
	static const u16 base[] = {0x20,  0x40,	 0x60,	0x61,  0x64,  0x70,  0x80,
				   0x92,  0xa0,	 0xe8,	0x2e8, 0x2f8, 0x3e8, 0x3f8,
				   0x400, 0x408, 0x430, 0x4d0, 0xcf8, 0xffff};

	return a & 0x80 ? (u16)((a & 0x7f) << 8 | b) : (u16)(base[a % ARRAY_SIZE(base)] + (b & 7));
}

static u64 pick_address(u8 a, u32 b)
{
	if (a & 0x80)
		return UINT64_MAX - (b & 15);
	return IOAPIC_BASE - 8 + (a & 0x40 ? b & 0x1fff : (b & 7) * 8);
}

static void step(const u8 *op)
{
	static const unsigned sizes[] = {1, 2, 4, 8, 1, 4, 3, 0};
	unsigned size = sizes[op[0] >> 4 & 7];
	u32 value = get_le32(op + 3);
	u64 next;

	switch (op[0] & 15) {
	case 0 ... 3: chipset_pio_write(&cs, pick_port(op[1], op[2]), size, value); break;
	case 4 ... 6: chipset_pio_read(&cs, pick_port(op[1], op[2]), size); break;
	case 7:
		chipset_mmio_write(&cs, pick_address(op[1], op[2]), size, value | (u64)value << 32);
		break;
	case 8: /* IOAPIC by index, as drivers do it */
		chipset_mmio_write(&cs, IOAPIC_BASE, 4, op[1] & 0x3f);
		chipset_mmio_write(&cs, IOAPIC_BASE + 16, 4, value);
		break;
	case 9: chipset_mmio_read(&cs, pick_address(op[1], value), size); break;
	case 10: chipset_set_irq(&cs, op[1], op[2] & 1); break;
	case 11: chipset_eoi(&cs, op[1]); break;
	case 12:
		if (chipset_pic_pending(&cs))
			chipset_pic_acknowledge(&cs);
		break;
	case 13: chipset_uart_rx(&cs, op[1], op + 2, 5); break;
	case 14:
		if (op[1] == 0)
			chipset_reset(&cs);
		else if (op[1] == 1)
			chipset_press_power_button(&cs);
		else if (op[1] == 2)
			acpi_pm_set_gpe(&cs.pm, op[2], op[3] & 1);
		else if (op[1] == 3)
			wall_ns = get_le64(op);
		break;
	default: /* time goes on: little, much, or to the next deadline */
		next = chipset_next_deadline(&cs);
		if (op[1] & 1 && next != DEV_TIMER_NEVER)
			now_ns = MAX(now_ns, next);
		else
			now_ns += op[1] & 2 ? (u64)value << 16 : value;
		wall_ns += value;
		chipset_run_timers(&cs);
		/* A handler that asks for the past would spin its owner. */
		if (chipset_next_deadline(&cs) <= now_ns)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct dev_inspect out = {on_line};
	u8 op[8];

	start();
	for (size_t i = 0; i + 7 <= size; i += 7) {
		memcpy(op, data + i, 7);
		op[7] = 0;
		step(op);
	}
	lines = 0;
	chipset_inspect(&cs, &out);
	if (lines < 20)
		abort();
	return 0;
}
