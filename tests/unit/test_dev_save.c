/* Saved state of the devices: hostile states first, then a restored chipset against its original.
 */
#include "tests/unit/dev_fake.h"

#include "tests/unit/dev_drive.h"

#define START_NS      1000000000ull
#define ABSENT_UART   3
#define STATE_MAX     (1u << 20)
#define INTR	      0
#define SEEDS	      400
#define PART_COM1     11u
#define PART_LAST     15u
#define FIELD_INPUTS  1u
#define FIELD_OUTSIDE 2u

struct machine {
	struct fake f;
	unsigned rooms, unclaimed;
	u64 last_unclaimed;
	struct chipset cs;
};

static struct machine one, two;

static void on_unclaimed(void *ctx, u64 address, unsigned size, bool write, u64 value)
{
	struct machine *m = ctx;

	m->unclaimed++;
	m->last_unclaimed = address + size + write + value;
}

static void on_room(void *ctx)
{
	((struct machine *)ctx)->rooms++;
}

/* As the owner does it, with the time that m->f says. */
static void build(struct machine *m)
{
	struct chipset_cfg cfg = {
		.clock = fake_clock(&m->f),
		.wall = fake_wallclock(&m->f),
		.power = fake_power(&m->f),
		.apic = fake_apic(&m->f),
		.intr = fake_irq(&m->f, INTR),
		.debug = fake_sink(&m->f),
		.unclaimed_pio = {on_unclaimed, m},
		.unclaimed_mmio = {on_unclaimed, m},
	};

	for (unsigned i = 0; i < CHIPSET_UARTS; i++)
		cfg.uart[i] = (struct chipset_uart_cfg){
			.present = i != ABSENT_UART,
			.tx = fake_sink(&m->f),
			.rx_room = on_room,
			.rx_ctx = m,
		};
	assert_true(chipset_init(&m->cs, &cfg));
}

static void start(struct machine *m)
{
	memset(m, 0, sizeof(*m));
	m->f.now = START_NS;
	m->f.wall = 1700000000ull * 1000000000;
	build(m);
}

static int setup(void **state)
{
	(void)state;
	start(&one);
	start(&two);
	return 0;
}

static struct pb_bytes bytes_of(const struct pb_writer *w)
{
	assert_false(w->failed);
	return (struct pb_bytes){w->data, w->used};
}

static void same_bytes(const struct pb_writer *a, const struct pb_writer *b)
{
	assert_false(a->failed || b->failed);
	assert_int_equal(a->used, b->used);
	assert_memory_equal(a->data, b->data, a->used);
}

static u32 in(struct machine *m, u16 port)
{
	return chipset_pio_read(&m->cs, port, 1);
}

static void out(struct machine *m, u16 port, u32 value)
{
	chipset_pio_write(&m->cs, port, 1, value);
}

static void ioapic_set(struct machine *m, unsigned pin, u32 low)
{
	chipset_mmio_write(&m->cs, IOAPIC_BASE, 4, 0x10 + pin * 2);
	chipset_mmio_write(&m->cs, IOAPIC_BASE + 0x10, 4, low);
}

/* --- each device alone --- */

#define DEVICE(id, prefix, member)                                          \
	static void id##_put(const struct chipset *cs, struct pb_writer *w) \
	{                                                                   \
		prefix##_save(&cs->member, w);                              \
	}                                                                   \
	static bool id##_take(struct chipset *cs, struct pb_bytes state)    \
	{                                                                   \
		return prefix##_restore(&cs->member, state);                \
	}

DEVICE(pio, pio, pio)
DEVICE(mmio, mmio, mmio)
DEVICE(pm, acpi_pm, pm)
DEVICE(rtc, rtc, rtc)
DEVICE(kbc, i8042, kbc)
DEVICE(ioapic, ioapic, ioapic)
DEVICE(pic, pic, pic)
DEVICE(pit, pit, pit)
DEVICE(com, serial, uart[1])
DEVICE(sys, sysports, sys)

enum device { PIO, MMIO, PM, RTC, KBC, IOAPIC, PIC, PIT, COM, SYS, DEVICES };

static const struct {
	const char *name;
	void (*put)(const struct chipset *cs, struct pb_writer *w);
	bool (*take)(struct chipset *cs, struct pb_bytes state);
} device[DEVICES] = {
	[PIO] = {"ports", pio_put, pio_take},	    [MMIO] = {"mmio", mmio_put, mmio_take},
	[PM] = {"acpi_pm", pm_put, pm_take},	    [RTC] = {"cmos_rtc", rtc_put, rtc_take},
	[KBC] = {"i8042", kbc_put, kbc_take},	    [IOAPIC] = {"ioapic", ioapic_put, ioapic_take},
	[PIC] = {"pic8259", pic_put, pic_take},	    [PIT] = {"pit8254", pit_put, pit_take},
	[COM] = {"serial16550", com_put, com_take}, [SYS] = {"sysports", sys_put, sys_take},
};

/* Restores it and says how; refused: the device is as before, and nobody was told. */
static bool takes(enum device d, struct pb_bytes state)
{
	struct pb_writer before, after;
	bool taken;

	start(&one);
	pb_writer_init(&before, STATE_MAX);
	pb_writer_init(&after, STATE_MAX);
	device[d].put(&one.cs, &before);
	taken = device[d].take(&one.cs, state);
	device[d].put(&one.cs, &after);
	if (!taken) {
		same_bytes(&before, &after);
		assert_false(one.f.level[INTR]);
	}
	assert_int_equal(one.f.msgs, 0);
	assert_int_equal(one.cs.inputs, 0);
	pb_writer_free(&before);
	pb_writer_free(&after);
	return taken;
}

enum form {
	NUMBER, /* behind a good state, where the last one counts */
	LIST,	/* alone: `at` zeros before it */
	MORE,	/* the same behind a good state that has none */
	INNER,	/* alone: a number of the struct `at` */
};

struct value {
	enum device d;
	u32 field;
	u64 value;
	enum form form;
	u32 at, inner;
};

static bool takes_value(const struct value *v)
{
	struct pb_writer w;
	size_t mark;
	bool taken;

	pb_writer_init(&w, STATE_MAX);
	start(&one);
	if (v->form == NUMBER || v->form == MORE)
		device[v->d].put(&one.cs, &w);
	if (v->form == NUMBER) {
		pb_varint(&w, (u64)v->field << 3 | PB_VARINT); /* also a zero */
		pb_varint(&w, v->value);
	} else if (v->form == INNER) {
		for (u32 i = 0; i < v->at; i++)
			pb_end(&w, pb_begin(&w, v->field));
		mark = pb_begin(&w, v->field);
		pb_put_u64(&w, v->inner, v->value);
		pb_end(&w, mark);
	} else {
		mark = pb_begin(&w, v->field);
		for (u32 i = 0; i < v->at; i++)
			pb_varint(&w, 0);
		pb_varint(&w, v->value);
		pb_end(&w, mark);
	}
	taken = takes(v->d, bytes_of(&w));
	pb_writer_free(&w);
	return taken;
}

static void out_of_range(void **state)
{
	static const struct value bad[] = {
		{PIO, 2, 0x10000, LIST, 0},
		{PIO, 2, 0xffff, LIST, 1},
		{PIO, 2, UINT64_MAX, LIST, 3},
		{MMIO, 2, 1ull << 52, LIST, 0},
		{MMIO, 2, 0, LIST, MMIO_PAGES_LOGGED},
		{MMIO, 3, MMIO_PAGES_LOGGED + 1},
		{PM, 1, 0x0002},
		{PM, 1, 0x10000},
		{PM, 2, 0x0002},
		{PM, 2, 0x8521},
		{PM, 3, 0x1c00}, /* without SCI_EN */
		{PM, 3, 0x0005},
		{PM, 3, 0x2001}, /* SLP_EN */
		{PM, 4, 0x10000},
		{PM, 5, 0x10000},
		{PM, 6, 0x10000},
		{PM, 7, START_NS + 1},
		{PM, 8, 1},
		{RTC, 1, CMOS_SIZE},
		{RTC, 2, 256, LIST, 0x40},
		{RTC, 2, 0x80, LIST, 0x0a}, /* update in progress */
		{RTC, 2, 0, LIST, CMOS_SIZE},
		{RTC, 3, 0x80},
		{RTC, 3, 0x01},
		{RTC, 4, (1ull << 40) + 1},
		{RTC, 4, 0 - (1ull << 40) - 1},
		{RTC, 4, 1ull << 63},
		{RTC, 5, 1000000000},
		{RTC, 6, (1ull << 40) + 1},
		{RTC, 6, 0 - (1ull << 40) - 1},
		{RTC, 7, 32769},
		{KBC, 1, 256},
		{KBC, 2, 256, MORE, 4},
		{KBC, 2, 0, MORE, 32},
		{KBC, 3, 256},
		{KBC, 4, 0x16},
		{KBC, 4, 0x10},
		{KBC, 4, 0x94},
		{KBC, 5, 0x20},
		{KBC, 5, 0x80},
		{KBC, 5, 0xd0},
		{KBC, 6, 0x02}, /* reset held */
		{KBC, 6, 0x101},
		{IOAPIC, 1, 256},
		{IOAPIC, 2, 16},
		{IOAPIC, 3, 1u << 24},
		{IOAPIC, 4, 0x1000, LIST, 3},  /* delivery status */
		{IOAPIC, 4, 0x20000, LIST, 0}, /* reserved */
		{IOAPIC, 4, 1ull << 48, LIST, 23},
		{IOAPIC, 4, 0x4030, LIST, 5}, /* remote IRR of an edge */
		{IOAPIC, 4, 0xc430, LIST, 5}, /* ... of an NMI */
		{IOAPIC, 4, 0, LIST, IOAPIC_PINS},
		{IOAPIC, 5, 0, LIST, IOAPIC_PINS},
		{PIC, 1, 0, INNER, 2, 1}, /* a third chip */
		{PIC, 1, 256, INNER, 0, 1},
		{PIC, 1, 256, INNER, 1, 2},
		{PIC, 1, 256, INNER, 0, 3},
		{PIC, 1, 0x04, INNER, 0, 4}, /* the cascade */
		{PIC, 1, 256, INNER, 1, 4},
		{PIC, 1, 0x04, INNER, 0, 5},
		{PIC, 1, 0x20, INNER, 1, 5},
		{PIC, 1, 0x09, INNER, 0, 6},
		{PIC, 1, 256, INNER, 0, 6},
		{PIC, 1, 8, INNER, 0, 7},
		{PIC, 1, 1, INNER, 0, 8},
		{PIC, 1, 5, INNER, 1, 8},
		{PIC, 1, 2, INNER, 0, 9},
		{PIC, 1, 2, INNER, 0, 10},
		{PIC, 1, 2, INNER, 0, 11},
		{PIC, 1, 2, INNER, 0, 12},
		{PIC, 1, 2, INNER, 0, 13},
		{PIC, 1, 2, INNER, 0, 14},
		{PIC, 1, 2, INNER, 0, 15},
		{PIC, 1, 2, INNER, 0, 16},
		{PIT, 1, 0, INNER, 3, 1}, /* a fourth channel */
		{PIT, 1, 0x40, INNER, 0, 1},
		{PIT, 1, 2, INNER, 0, 2},
		{PIT, 1, 1, INNER, 0, 3}, /* counts, without a count */
		{PIT, 1, 1, INNER, 2, 3},
		{PIT, 1, 2, INNER, 0, 4},
		{PIT, 1, 2, INNER, 0, 5},
		{PIT, 1, 2, INNER, 0, 6},
		{PIT, 1, 256, INNER, 0, 7},
		{PIT, 1, 2, INNER, 0, 8},
		{PIT, 1, 2, INNER, 0, 9},
		{PIT, 1, 0x10000, INNER, 0, 10},
		{PIT, 1, 256, INNER, 0, 11},
		{PIT, 1, 0x10001, INNER, 0, 12},
		{PIT, 1, START_NS + 1, INNER, 0, 13},
		{PIT, 1, START_NS + 1, INNER, 2, 13},
		{PIT, 1, PIT_HZ + 1, INNER, 2, 14},
		{PIT, 2, 16},
		{PIT, 3, 1},
		{COM, 1, 0x10},
		{COM, 2, 256},
		{COM, 3, 0x20},
		{COM, 4, 256},
		{COM, 5, 256},
		{COM, 6, 256},
		{COM, 7, 0x03},
		{COM, 7, 0x40}, /* a trigger level, FIFO off */
		{COM, 8, 0x01},
		{COM, 8, 0x03},
		{COM, 9, 0x10},
		{COM, 10, 0x10},
		{COM, 10, 0xb1},
		{COM, 11, 2},
		{COM, 12, 2},
		{COM, 13, 2},
		{COM, 14, 33},
		{COM, 15, 2}, /* FIFO off: one byte */
		{COM, 15, SERIAL_FIFO + 1},
		{COM, 16, SERIAL_WIRE + 1},
		{COM, 17, 0x200, LIST, 0},
		{COM, 17, 0, LIST, SERIAL_FIFO},
		{COM, 18, 0x200, LIST, 63},
		{COM, 18, 0, LIST, SERIAL_WIRE},
		{SYS, 1, 1},
		{SYS, 1, 1u << 24},
		{SYS, 1, 1ull << 32},
		{SYS, 2, 0x01},
		{SYS, 2, 0x10},
		{SYS, 3, 256},
		{SYS, 4, 256, LIST, 0},
		{SYS, 4, 0, LIST, 16},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (takes_value(&bad[i]))
			fail_msg("%s: field %u inner %u takes %#llx", device[bad[i].d].name,
				 bad[i].field, bad[i].inner, (unsigned long long)bad[i].value);
}

/* The same places with their largest values: the table above was refused for the right reason. */
static void in_range(void **state)
{
	static const struct value good[] = {
		{PIO, 2, 0xffff, LIST, 0},
		{PIO, 2, 0xfffe, LIST, 1},
		{MMIO, 2, (1ull << 52) - 1, LIST, MMIO_PAGES_LOGGED - 1},
		{MMIO, 3, MMIO_PAGES_LOGGED},
		{PM, 1, 0x8531},
		{PM, 2, 0x0521},
		{PM, 3, 0x1c03},
		{PM, 7, START_NS},
		{PM, 9, 0},
		{RTC, 1, CMOS_SIZE - 1},
		{RTC, 2, 255, LIST, CMOS_SIZE - 1},
		{RTC, 2, 0x7f, LIST, 0x0a},
		{RTC, 3, 0x70},
		{RTC, 4, 1ull << 40},
		{RTC, 4, 0 - (1ull << 40)},
		{RTC, 5, 999999999},
		{RTC, 6, 0 - (1ull << 40)},
		{RTC, 7, 32768},
		{RTC, 8, 0},
		{KBC, 2, 255, MORE, 31},
		{KBC, 4, 0x5d},
		{KBC, 5, 0x7f},
		{KBC, 5, 0xd4},
		{KBC, 6, 0xff},
		{IOAPIC, 2, 15},
		{IOAPIC, 3, 0xffffff},
		{IOAPIC, 4, 0xfffe00000001e9ffull, LIST, 23},
		{IOAPIC, 4, 0xc030, LIST, 5},
		{IOAPIC, 5, UINT64_MAX, LIST, 23},
		{PIC, 1, 0xfb, INNER, 0, 4},
		{PIC, 1, 0xf8, INNER, 0, 5},
		{PIC, 1, 0xde, INNER, 1, 5},
		{PIC, 1, 0xf8, INNER, 0, 6},
		{PIC, 1, 7, INNER, 0, 7},
		{PIC, 1, 4, INNER, 0, 8},
		{PIT, 1, 0x3f, INNER, 0, 1},
		{PIT, 1, 0x10000, INNER, 2, 12},
		{PIT, 1, START_NS, INNER, 2, 13},
		{PIT, 1, PIT_HZ, INNER, 2, 14},
		{PIT, 2, 15},
		{PIT, 4, 0},
		{COM, 1, 0x0f},
		{COM, 3, 0x1f},
		{COM, 7, 0xc1},
		{COM, 8, 2},
		{COM, 9, 15},
		{COM, 10, 0},
		{COM, 14, 32},
		{COM, 15, 1},
		{COM, 16, SERIAL_WIRE},
		{COM, 17, 0x1ff, LIST, SERIAL_FIFO - 1},
		{COM, 18, 0x1ff, LIST, SERIAL_WIRE - 1},
		{SYS, 1, 0x80fffffc},
		{SYS, 2, 0x0e},
		{SYS, 4, 255, LIST, 15},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!takes_value(&good[i]))
			fail_msg("%s: field %u inner %u refuses %#llx", device[good[i].d].name,
				 good[i].field, good[i].inner, (unsigned long long)good[i].value);
}

/* Rules between fields. */
static void contradictions(void **state)
{
	/* the FIFO's byte and a full wire; the same in loopback, where it is no input */
	static const u8 full[] = {0x78, 1, 0x80, 1, SERIAL_WIRE};
	static const u8 looped[] = {0x18, 0x10, 0x78, 1, 0x80, 1, SERIAL_WIRE};
	struct pb_writer w;

	(void)state;
	assert_false(takes(COM, (struct pb_bytes){full, sizeof(full)}));
	assert_true(takes(COM, (struct pb_bytes){looped, sizeof(looped)}));
	/* channel 0 in mode 2, loaded 1000 ns ago with 1: one edge has been, two have not */
	for (unsigned n = 1; n <= 2; n++) {
		size_t mark;

		pb_writer_init(&w, STATE_MAX);
		mark = pb_begin(&w, 1);
		pb_put_u64(&w, 1, 0x34);
		pb_put_u64(&w, 3, 1);
		pb_put_u64(&w, 12, 1);
		pb_put_u64(&w, 13, START_NS - 1000);
		pb_end(&w, mark);
		pb_put_u64(&w, 3, n);
		assert_int_equal(takes(PIT, bytes_of(&w)), n == 1);
		pb_writer_free(&w);
	}
}

/* --- the chipset --- */

/* Everything that a guest's life leaves in the devices. */
static void live(struct machine *m)
{
	static const struct {
		u16 port;
		u8 value;
	} writes[] = {
		{0x20, 0x11},  {0x21, 0x30},  {0x21, 0x04},  {0x21, 0x01},  {0x21, 0x00},
		{0xa0, 0x11},  {0xa1, 0x38},  {0xa1, 0x02},  {0xa1, 0x01},  {0xa1, 0x00},
		{0x4d1, 0x02}, {0x43, 0x34},  {0x40, 0x9c},  {0x40, 0x2e},  {0x43, 0xb0},
		{0x42, 0x55},  {0x42, 0xaa},  {0x61, 0x01},  {0x70, 0x05},  {0x71, 0xc0},
		{0x70, 0x0b},  {0x71, 0x72},  {0x402, 0x21}, {0x403, 0x01}, {0x64, 0x60},
		{0x60, 0x41},  {0x64, 0xd0},  {0x3fa, 0x81}, {0x3f9, 0x07}, {0x3fc, 0x0b},
		{0x2fa, 0x01}, {0x2fc, 0x0b}, {0x80, 0x42},  {0x300, 1},
	};

	for (unsigned pin = 0; pin < 16; pin++)
		ioapic_set(m, pin, 0x30 + pin + (pin & 1 ? 0x8000 : 0));
	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++)
		out(m, writes[i].port, writes[i].value);
	chipset_pio_write(&m->cs, 0xcf8, 4, 0x80001234);
	chipset_mmio_read(&m->cs, 0xfed00000, 4);
	chipset_uart_rx(&m->cs, 0, (const u8 *)"ls\n", 3);
	chipset_uart_rx(&m->cs, 1, (const u8 *)"twenty and one bytes!", 21);
	chipset_set_irq(&m->cs, 20, true);
}

static void chipset_refuses(struct pb_bytes state)
{
	start(&two);
	if (chipset_restore(&two.cs, state))
		fail_msg("taken");
	assert_int_equal(two.f.msgs + two.f.rises[INTR] + two.unclaimed, 0);
	build(&two);
	assert_true(chipset_next_deadline(&two.cs) == DEV_TIMER_NEVER);
}

static void hostile_chipset(void **state)
{
	static const u8 nothing[1];
	struct pb_writer good, bad;
	struct pb_reader r;
	struct pb_field field;
	size_t mark;

	(void)state;
	live(&one);
	pb_writer_init(&good, STATE_MAX);
	chipset_save(&one.cs, &good);
	chipset_refuses((struct pb_bytes){nothing, 0});
	pb_reader_init(&r, bytes_of(&good));
	while (pb_next(&r, &field)) {
		if (field.type != PB_BYTES)
			continue;
		/* without a part; with one twice; with damage in it; with a number for it */
		for (unsigned how = 0; how < 4; how++) {
			struct pb_reader again;
			struct pb_field f;

			pb_writer_init(&bad, STATE_MAX);
			pb_reader_init(&again, bytes_of(&good));
			while (pb_next(&again, &f)) {
				if (f.type != PB_BYTES) {
					pb_put_u64(&bad, f.number, f.value);
					continue;
				}
				if (how % 3 == 0 && f.number == field.number)
					continue;
				mark = pb_begin(&bad, f.number);
				pb_raw(&bad, f.bytes.data, f.bytes.size);
				if (how == 2 && f.number == field.number)
					pb_raw(&bad, "\x08", 1);
				pb_end(&bad, mark);
			}
			if (how == 1)
				pb_put_bytes_always(&bad, field.number, field.bytes);
			if (how == 3)
				pb_put_u64(&bad, field.number, 1);
			chipset_refuses(bytes_of(&bad));
			pb_writer_free(&bad);
		}
	}
	/* a device more than this machine has, and lines that nobody drives */
	for (unsigned how = 0; how < 5; how++) {
		pb_writer_init(&bad, STATE_MAX);
		pb_raw(&bad, good.data, good.used);
		if (how == 0)
			pb_put_bytes_always(&bad, PART_COM1 + ABSENT_UART, pb_text(""));
		if (how == 1)
			pb_put_u64(&bad, FIELD_INPUTS, BIT(CHIPSET_IN_COM1 + ABSENT_UART));
		if (how == 2)
			pb_put_u64(&bad, FIELD_INPUTS, BIT(CHIPSET_INPUTS));
		if (how == 3)
			pb_put_u64(&bad, FIELD_OUTSIDE, BIT(2));
		if (how == 4)
			pb_put_u64(&bad, FIELD_OUTSIDE, BIT(CHIPSET_IRQS));
		chipset_refuses(bytes_of(&bad));
		pb_writer_free(&bad);
	}
	/* what a later version adds */
	pb_put_u64(&good, PART_LAST + 1, 1);
	start(&two);
	two.f.now = one.f.now;
	assert_true(chipset_restore(&two.cs, bytes_of(&good)));
	pb_writer_free(&good);
}

/* Every beginning of the state, in memory of its own; what is taken must work. */
static void cut_short(void **state)
{
	struct pb_writer w;
	u32 taken = 0;

	(void)state;
	live(&one);
	pb_writer_init(&w, STATE_MAX);
	chipset_save(&one.cs, &w);
	for (size_t n = 0; n < w.used; n++) {
		u8 *copy = malloc(n ? n : 1);

		memcpy(copy, w.data, n);
		start(&two);
		taken += chipset_restore(&two.cs, (struct pb_bytes){copy, n});
		free(copy);
	}
	assert_int_equal(taken, 0); /* the last part is complete or missing */
	for (enum device d = 0; d < DEVICES; d++) {
		struct pb_writer part;

		start(&one);
		live(&one);
		pb_writer_init(&part, STATE_MAX);
		device[d].put(&one.cs, &part);
		for (size_t n = 0; n < part.used; n++) {
			u8 *copy = malloc(n ? n : 1);

			memcpy(copy, part.data, n);
			takes(d, (struct pb_bytes){copy, n});
			free(copy);
			one.f.now += 1000;
			chipset_run_timers(&one.cs);
			in(&one, 0x3fd), in(&one, 0x40), in(&one, 0x71), in(&one, 0x20);
		}
		pb_writer_free(&part);
	}
	pb_writer_free(&w);
}

/* m goes on in `to` as after a restart: saved, built anew and restored, at the same time. */
static void replace(struct machine *m, struct machine *to)
{
	struct pb_writer w, again;
	unsigned rises = m->f.rises[INTR];

	pb_writer_init(&w, STATE_MAX);
	pb_writer_init(&again, STATE_MAX);
	chipset_save(&m->cs, &w);
	to->f = m->f;
	to->rooms = m->rooms;
	to->unclaimed = m->unclaimed;
	to->last_unclaimed = m->last_unclaimed;
	to->f.level[INTR] = false; /* the new owner has not heard of it */
	build(to);
	assert_true(chipset_restore(&to->cs, bytes_of(&w)));
	/* INTR once if it is up, and nothing else */
	assert_int_equal(to->f.rises[INTR] - rises, m->f.level[INTR]);
	to->f.rises[INTR] = rises;
	assert_memory_equal(&to->f, &m->f, sizeof(m->f));
	assert_int_equal(to->rooms, m->rooms);
	assert_int_equal(to->unclaimed, m->unclaimed);
	chipset_save(&to->cs, &again);
	same_bytes(&w, &again);
	pb_writer_free(&w);
	pb_writer_free(&again);
}

static void pending_interrupts(void **state)
{
	(void)state;
	live(&one);
	assert_true(chipset_pic_pending(&one.cs));
	one.f.msgs = 0;
	replace(&one, &two);
	/* a level line that waits for its EOI: not again now, but then */
	ioapic_set(&two, 20, 0x8060);
	assert_int_equal(two.f.msgs, 1);
	replace(&two, &one);
	assert_int_equal(one.f.msgs, 1);
	chipset_eoi(&one.cs, 0x60);
	assert_int_equal(one.f.msgs, 2);
	/* what the PIC had latched is there: the keyboard's answer */
	assert_true(chipset_pic_pending(&one.cs));
	assert_int_equal(chipset_pic_acknowledge(&one.cs), 0x31);
	replace(&one, &two);
	assert_int_equal(in(&two, 0x60), 0x03);
}

/* The controller drives its output without the chipset around it. */
static void pic_alone(void **state)
{
	struct pb_writer w;

	(void)state;
	live(&one);
	pb_writer_init(&w, STATE_MAX);
	pic_save(&one.cs.pic, &w);
	assert_true(pic_restore(&two.cs.pic, bytes_of(&w)));
	assert_int_equal(two.f.rises[INTR], 1);
	assert_true(two.f.level[INTR]);
	pb_writer_free(&w);
}

static void type_and_read(struct machine *m, const char *text)
{
	size_t size = strlen(text);

	out(m, 0x3fa, 0x01);
	out(m, 0x3f9, 0x01);
	assert_int_equal(chipset_uart_rx(&m->cs, 0, (const u8 *)text, size), size);
	while (m->cs.uart[0].s.fifo_count)
		in(m, 0x3f8);
	assert_int_equal(m->cs.uart[0].s.wire_count, 0);
}

/* What the guest has read leaves nothing behind in the state. */
static void read_input(void **state)
{
	struct pb_writer a, b;

	(void)state;
	type_and_read(&one, "a password of more than 16 bytes");
	type_and_read(&two, "another one, quite the same size");
	pb_writer_init(&a, STATE_MAX);
	pb_writer_init(&b, STATE_MAX);
	serial_save(&one.cs.uart[0], &a);
	serial_save(&two.cs.uart[0], &b);
	same_bytes(&a, &b);
	pb_writer_free(&a);
	pb_writer_free(&b);
}

/* The chipset's word on a line counts: what a controller holds against it is an edge. */
static void contradicting_lines(void **state)
{
	struct pb_writer w;

	(void)state;
	ioapic_set(&one, 20, 0x60);
	pb_writer_init(&w, STATE_MAX);
	chipset_save(&one.cs, &w);
	pb_put_u64(&w, FIELD_OUTSIDE, BIT(20));
	assert_true(chipset_restore(&two.cs, bytes_of(&w)));
	assert_int_equal(two.f.msgs, 1);
	assert_int_equal(two.f.msg[0].vector, 0x60);
	chipset_set_irq(&two.cs, 20, true);
	assert_int_equal(two.f.msgs, 1);
	pb_writer_free(&w);
}

/* A tick that fell into the time without an owner comes once. */
static void overdue_timer(void **state)
{
	struct machine *m = &two;

	(void)state;
	out(&one, 0x43, 0x34);
	out(&one, 0x40, 0xa9);
	out(&one, 0x40, 0x04); /* 1 ms */
	ioapic_set(&one, 2, 0x30);
	one.f.now += 700000000;
	replace(&one, m);
	assert_true(chipset_next_deadline(&m->cs) <= m->f.now);
	assert_int_equal(m->f.msgs, 0);
	chipset_run_timers(&m->cs);
	chipset_run_timers(&m->cs);
	assert_int_equal(m->f.msgs, 1);
	assert_true(chipset_next_deadline(&m->cs) > m->f.now);
	assert_true(chipset_next_deadline(&m->cs) <= m->f.now + 1001000);
}

/* --- the original and the restored one, side by side --- */

static u32 next_random(u64 *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(*seed >> 33);
}

static u64 act_on_device(struct machine *m, u64 *seed)
{
	static const u16 com[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
	static const u16 pic[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
	static const u16 board[] = {0x60, 0x64, 0x61, 0x92, 0xcf9, 0x80, 0x8f, 0x60, 0x64};
	static const u8 rtc[] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 12, 13, 0x32, 0x40};
	u32 kind = next_random(seed) % 10, pick = next_random(seed), value = next_random(seed);
	bool write = next_random(seed) % 2;
	u16 port = 0;
	unsigned size = 1;

	switch (kind) {
	case 0:
		out(m, 0x70, rtc[pick % ARRAY_SIZE(rtc)]);
		port = 0x71;
		break;
	case 1: port = (u16)(0x40 + pick % 4); break;
	case 2:
	case 3: port = (u16)(com[pick % 4] + (pick >> 4) % 8); break;
	case 4: port = pic[pick % ARRAY_SIZE(pic)]; break;
	case 5:
		port = (u16)(0x400 + pick % 8 * 2);
		size = 2;
		break;
	case 6: port = board[pick % ARRAY_SIZE(board)]; break;
	case 7:
		if (write)
			ioapic_set(m, pick % 24, value % 0x10000 | 0x20);
		chipset_mmio_write(&m->cs, IOAPIC_BASE, 4, pick % 0x40);
		return chipset_mmio_read(&m->cs, IOAPIC_BASE + 0x10, 4);
	case 8:
		return chipset_uart_rx(&m->cs, pick % 4, (const u8 *)"0123456789abcdefghij",
				       value % 21);
	default:
		if (pick % 4 == 0)
			chipset_pio_write(&m->cs, 0xcf8, 4, value);
		else if (pick % 4 == 1)
			return serial_rx_break(&m->cs.uart[value % ABSENT_UART]);
		else if (pick % 4 == 2)
			serial_set_connected(&m->cs.uart[value % ABSENT_UART], write);
		else
			return chipset_pio_read(&m->cs, 0xcf8, 4);
		return 0;
	}
	if (!write)
		return chipset_pio_read(&m->cs, port, size);
	chipset_pio_write(&m->cs, port, size, value >> 8);
	return 0;
}

/* Any act; the same seed gives the same one. Returns what was read. */
static u64 act(struct machine *m, u64 *seed)
{
	u8 op[DRIVE_BYTES];

	m->f.text_len = 0;
	if (next_random(seed) % 3)
		return act_on_device(m, seed);
	for (unsigned i = 0; i < DRIVE_BYTES; i++)
		op[i] = (u8)(next_random(seed) >> 7);
	if (op[2] % 8)
		op[1] &= 0x7f; /* the ports where something is */
	op[6] &= 3;	       /* not much more than a second at a time */
	return drive(&m->cs, op, &m->f.now, &m->f.wall);
}

static void hash_line(void *ctx, const char *text)
{
	u64 *hash = ctx;

	for (; *text; text++)
		*hash = (*hash ^ (u8)*text) * 0x100000001b3ull;
}

static u64 inspected(struct machine *m)
{
	u64 hash = 0xcbf29ce484222325ull;
	struct dev_inspect to = {hash_line, &hash};

	chipset_inspect(&m->cs, &to);
	return hash;
}

static void side_by_side(u64 seed)
{
	u64 other, a, b;
	struct pb_writer w, v;

	setup(NULL);
	if (seed % 4)
		live(&one);
	other = seed;
	for (u32 n = next_random(&other) % 500; n; n--)
		act(&one, &other);
	one.f.now += next_random(&other) % 3000000; /* the time without an owner */
	one.f.wall += next_random(&other) % 3000000;
	replace(&one, &two);
	assert_true(inspected(&one) == inspected(&two));
	seed = other;
	for (unsigned n = 0; n < 400; n++) {
		a = act(&one, &seed);
		b = act(&two, &other);
		assert_true(seed == other);
		assert_true(a == b);
		assert_true(chipset_next_deadline(&one.cs) == chipset_next_deadline(&two.cs));
		assert_memory_equal(&one.f, &two.f, sizeof(one.f));
		assert_int_equal(one.rooms, two.rooms);
		assert_int_equal(one.unclaimed, two.unclaimed);
		assert_true(one.last_unclaimed == two.last_unclaimed);
	}
	assert_true(inspected(&one) == inspected(&two));
	pb_writer_init(&w, STATE_MAX);
	pb_writer_init(&v, STATE_MAX);
	chipset_save(&one.cs, &w);
	chipset_save(&two.cs, &v);
	same_bytes(&w, &v);
	pb_writer_free(&w);
	pb_writer_free(&v);
}

static void like_the_original(void **state)
{
	(void)state;
	for (u64 seed = 0; seed < SEEDS; seed++)
		side_by_side(seed);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(out_of_range),    T(in_range),	  T(contradictions),
		T(hostile_chipset), T(cut_short),	  T(pending_interrupts),
		T(pic_alone),	    T(read_input),	  T(contradicting_lines),
		T(overdue_timer),   T(like_the_original),
	};

	return cmocka_run_group_tests_name("dev_save", tests, NULL, NULL);
}
