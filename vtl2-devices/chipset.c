/* Wires the devices of a PC to the buses and to the interrupt controllers. */
#include <string.h>

#include "vtl2-devices/chipset.h"

#define CASCADE_IRQ 2

static const u16 uart_port[CHIPSET_UARTS] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};

static const u8 input_irq[CHIPSET_INPUTS] = {
	[CHIPSET_IN_PIT] = 0,  [CHIPSET_IN_KBD] = 1,
	[CHIPSET_IN_COM1] = 4, [CHIPSET_IN_COM2] = 3,
	[CHIPSET_IN_COM3] = 4, [CHIPSET_IN_COM4] = 3,
	[CHIPSET_IN_RTC] = 8,  [CHIPSET_IN_SCI] = ACPI_SCI_IRQ,
};

/* Recomputes one IRQ from everybody who may drive it. */
static void drive_irq(struct chipset *cs, unsigned irq)
{
	bool level = cs->external & BIT(irq);

	for (unsigned i = 0; i < CHIPSET_INPUTS; i++)
		if (input_irq[i] == irq && (cs->inputs & BIT(i)))
			level = true;
	pic_set_line(&cs->pic, irq, level);
	/* On the I/O APIC the timer sits on pin 2; pin 0 belongs to the PIC and is left open. */
	ioapic_set_line(&cs->ioapic, irq == 0 ? 2 : irq, level);
}

static void set_input(void *ctx, unsigned input, bool level)
{
	struct chipset *cs = ctx;
	u32 bit = (u32)BIT(input);

	if (!!(cs->inputs & bit) == level)
		return;
	cs->inputs ^= bit;
	drive_irq(cs, input_irq[input]);
}

void chipset_set_irq(struct chipset *cs, unsigned irq, bool level)
{
	u32 bit = (u32)BIT(irq & 31);

	if (irq >= CHIPSET_IRQS || irq == CASCADE_IRQ || !!(cs->external & bit) == level)
		return;
	cs->external ^= bit;
	drive_irq(cs, irq);
}

static struct dev_irq input(struct chipset *cs, enum chipset_input in)
{
	return (struct dev_irq){.set = set_input, .ctx = cs, .line = in};
}

static bool claim(struct chipset *cs, const char *name, u16 base, u16 len, unsigned widths,
		  const struct bus_ops *ops, void *ctx)
{
	struct bus_region region = {
		.name = name,
		.base = base,
		.len = len,
		.widths = widths,
		.ops = ops,
		.ctx = ctx,
	};

	return pio_register(&cs->pio, &region);
}

static bool init_interrupts(struct chipset *cs, const struct chipset_cfg *cfg)
{
	struct bus_region region = {
		.name = "I/O APIC",
		.base = IOAPIC_BASE,
		.len = IOAPIC_LEN,
		.widths = BUS_WORD | BUS_DWORD,
		.ops = &ioapic_bus_ops,
		.ctx = &cs->ioapic,
	};

	pic_init(&cs->pic, &cfg->intr);
	ioapic_init(&cs->ioapic, &cfg->apic);
	return claim(cs, "PIC master", 0x20, 2, 0, &pic_master_bus_ops, &cs->pic) &&
	       claim(cs, "PIC slave", 0xa0, 2, 0, &pic_slave_bus_ops, &cs->pic) &&
	       claim(cs, "ELCR", 0x4d0, 2, 0, &pic_elcr_bus_ops, &cs->pic) &&
	       mmio_register(&cs->mmio, &region);
}

static bool init_time(struct chipset *cs, const struct chipset_cfg *cfg)
{
	struct pit_cfg pit = {
		.irq = input(cs, CHIPSET_IN_PIT),
		.clock = cfg->clock,
		.timers = &cs->timers,
	};
	struct rtc_cfg rtc = {
		.irq = input(cs, CHIPSET_IN_RTC),
		.clock = cfg->clock,
		.wall = cfg->wall,
		.timers = &cs->timers,
	};
	struct acpi_pm_cfg pm = {
		.sci = input(cs, CHIPSET_IN_SCI),
		.clock = cfg->clock,
		.timers = &cs->timers,
		.power = cfg->power,
	};

	pit_init(&cs->pit, &pit);
	rtc_init(&cs->rtc, &rtc);
	acpi_pm_init(&cs->pm, &pm);
	return claim(cs, "PIT", PIT_PORT, 4, 0, &pit_bus_ops, &cs->pit) &&
	       claim(cs, "port 61", 0x61, 1, 0, &pit_port61_bus_ops, &cs->pit) &&
	       claim(cs, "CMOS", 0x70, 2, 0, &rtc_bus_ops, &cs->rtc) &&
	       claim(cs, "ACPI PM", ACPI_PM_BASE, ACPI_PM_LEN, BUS_WORD | BUS_DWORD,
		     &acpi_pm_bus_ops, &cs->pm);
}

static bool init_uarts(struct chipset *cs, const struct chipset_cfg *cfg)
{
	for (unsigned i = 0; i < CHIPSET_UARTS; i++) {
		const struct chipset_uart_cfg *u = &cfg->uart[i];
		struct serial_cfg serial = {
			.irq = input(cs, CHIPSET_IN_COM1 + i),
			.tx = u->tx,
			.rx_room = u->rx_room,
			.rx_ctx = u->rx_ctx,
		};

		cs->uart_present[i] = u->present;
		if (!u->present)
			continue;
		serial_init(&cs->uart[i], &serial);
		if (!claim(cs, "UART", uart_port[i], SERIAL_PORTS, 0, &serial_bus_ops,
			   &cs->uart[i]))
			return false;
	}
	return true;
}

static bool init_board(struct chipset *cs, const struct chipset_cfg *cfg)
{
	struct i8042_cfg kbc = {.irq = input(cs, CHIPSET_IN_KBD), .power = cfg->power};
	struct sysports_cfg sys = {.power = cfg->power, .debug = cfg->debug};

	i8042_init(&cs->kbc, &kbc);
	sysports_init(&cs->sys, &sys);
	return claim(cs, "i8042 data", 0x60, 1, 0, &i8042_data_bus_ops, &cs->kbc) &&
	       claim(cs, "i8042 command", 0x64, 1, 0, &i8042_command_bus_ops, &cs->kbc) &&
	       sysports_register(&cs->sys, &cs->pio);
}

bool chipset_init(struct chipset *cs, const struct chipset_cfg *cfg)
{
	memset(cs, 0, sizeof(*cs));
	cs->clock = cfg->clock;
	pio_init(&cs->pio, &cfg->unclaimed_pio);
	mmio_init(&cs->mmio, &cfg->unclaimed_mmio);
	return init_interrupts(cs, cfg) && init_time(cs, cfg) && init_uarts(cs, cfg) &&
	       init_board(cs, cfg);
}

void chipset_reset(struct chipset *cs)
{
	/* Interrupt controllers first: what the devices' falling lines mean then reaches nobody. */
	pic_reset(&cs->pic);
	ioapic_reset(&cs->ioapic);
	pit_reset(&cs->pit);
	rtc_reset(&cs->rtc);
	acpi_pm_reset(&cs->pm);
	i8042_reset(&cs->kbc);
	sysports_reset(&cs->sys);
	for (unsigned i = 0; i < CHIPSET_UARTS; i++)
		if (cs->uart_present[i])
			serial_reset(&cs->uart[i]);
}

u32 chipset_pio_read(struct chipset *cs, u16 port, unsigned size)
{
	return pio_read(&cs->pio, port, size);
}

void chipset_pio_write(struct chipset *cs, u16 port, unsigned size, u32 value)
{
	pio_write(&cs->pio, port, size, value);
}

u64 chipset_mmio_read(struct chipset *cs, u64 address, unsigned size)
{
	return mmio_read(&cs->mmio, address, size);
}

void chipset_mmio_write(struct chipset *cs, u64 address, unsigned size, u64 value)
{
	mmio_write(&cs->mmio, address, size, value);
}

u64 chipset_next_deadline(const struct chipset *cs)
{
	return dev_timers_next(&cs->timers);
}

void chipset_run_timers(struct chipset *cs)
{
	dev_timers_run(&cs->timers, dev_now(&cs->clock));
}

void chipset_eoi(struct chipset *cs, u8 vector)
{
	ioapic_eoi(&cs->ioapic, vector);
}

bool chipset_pic_pending(const struct chipset *cs)
{
	return pic_has_interrupt(&cs->pic);
}

u8 chipset_pic_acknowledge(struct chipset *cs)
{
	return pic_acknowledge(&cs->pic);
}

size_t chipset_uart_rx(struct chipset *cs, unsigned port, const u8 *data, size_t len)
{
	if (port >= CHIPSET_UARTS || !cs->uart_present[port])
		return 0;
	return serial_rx(&cs->uart[port], data, len);
}

void chipset_press_power_button(struct chipset *cs)
{
	acpi_pm_press_power_button(&cs->pm);
}

/* --- saved state --- */

static const struct saved_field fields[] = {
	SAVED_NUMBER(1, struct chipset, inputs, BIT(CHIPSET_INPUTS) - 1),
	SAVED_NUMBER(2, struct chipset, external, BIT(CHIPSET_IRQS) - 1),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

/* Messages in the saved state, by field number. */
enum part {
	PART_FIRST = 3,
	PART_PIO = PART_FIRST,
	PART_MMIO,
	PART_IOAPIC,
	PART_PIT,
	PART_RTC,
	PART_PM,
	PART_KBC,
	PART_SYS,
	PART_COM1,
	PART_PIC = PART_COM1 + CHIPSET_UARTS, /* calls intr: when all others are known to be good */
	PARTS,
};

static void save_part(const struct chipset *cs, unsigned part, struct pb_writer *out)
{
	switch (part) {
	case PART_PIO: pio_save(&cs->pio, out); break;
	case PART_MMIO: mmio_save(&cs->mmio, out); break;
	case PART_IOAPIC: ioapic_save(&cs->ioapic, out); break;
	case PART_PIT: pit_save(&cs->pit, out); break;
	case PART_RTC: rtc_save(&cs->rtc, out); break;
	case PART_PM: acpi_pm_save(&cs->pm, out); break;
	case PART_KBC: i8042_save(&cs->kbc, out); break;
	case PART_SYS: sysports_save(&cs->sys, out); break;
	case PART_PIC: pic_save(&cs->pic, out); break;
	default: serial_save(&cs->uart[part - PART_COM1], out);
	}
}

static bool restore_part(struct chipset *cs, unsigned part, struct pb_bytes state)
{
	switch (part) {
	case PART_PIO: return pio_restore(&cs->pio, state);
	case PART_MMIO: return mmio_restore(&cs->mmio, state);
	case PART_IOAPIC: return ioapic_restore(&cs->ioapic, state);
	case PART_PIT: return pit_restore(&cs->pit, state);
	case PART_RTC: return rtc_restore(&cs->rtc, state);
	case PART_PM: return acpi_pm_restore(&cs->pm, state);
	case PART_KBC: return i8042_restore(&cs->kbc, state);
	case PART_SYS: return sysports_restore(&cs->sys, state);
	case PART_PIC: return pic_restore(&cs->pic, state);
	default: return serial_restore(&cs->uart[part - PART_COM1], state);
	}
}

static bool has_part(const struct chipset *cs, unsigned part)
{
	unsigned uart = part - PART_COM1;

	return uart >= CHIPSET_UARTS || cs->uart_present[uart];
}

void chipset_save(const struct chipset *cs, struct pb_writer *out)
{
	saved_write(out, &layout, cs);
	for (unsigned part = PART_FIRST; part < PARTS; part++) {
		size_t mark;

		if (!has_part(cs, part))
			continue;
		mark = pb_begin(out, part);
		save_part(cs, part, out);
		pb_end(out, mark);
	}
}

/* Finds the message of each part, none twice. */
static bool find_parts(struct pb_bytes state, struct pb_bytes part[PARTS], u32 *found)
{
	struct pb_reader r;
	struct pb_field field;

	*found = 0;
	pb_reader_init(&r, state);
	while (pb_next(&r, &field)) {
		if (field.number < PART_FIRST || field.number >= PARTS)
			continue;
		if (field.type != PB_BYTES || (*found & BIT(field.number)))
			return false;
		part[field.number] = field.bytes;
		*found |= (u32)BIT(field.number);
	}
	return !r.failed;
}

/* Nobody drives IRQ 2, nor the line of a port that is not there. */
static bool lines_valid(const struct chipset *cs)
{
	for (unsigned i = 0; i < CHIPSET_UARTS; i++)
		if (!cs->uart_present[i] && (cs->inputs & BIT(CHIPSET_IN_COM1 + i)))
			return false;
	return !(cs->external & BIT(CASCADE_IRQ));
}

bool chipset_restore(struct chipset *cs, struct pb_bytes state)
{
	struct pb_bytes part[PARTS];
	u32 found;

	if (!find_parts(state, part, &found) || !saved_read(state, &layout, cs) || !lines_valid(cs))
		return false;
	for (unsigned i = PART_FIRST; i < PARTS; i++)
		if (!!(found & BIT(i)) != has_part(cs, i))
			return false;
	for (unsigned i = PART_FIRST; i < PARTS; i++)
		if ((found & BIT(i)) && !restore_part(cs, i, part[i]))
			return false;
	/* Both controllers have these levels already, unless the state contradicts itself. */
	for (unsigned irq = 0; irq < CHIPSET_IRQS; irq++)
		if (irq != CASCADE_IRQ)
			drive_irq(cs, irq);
	return true;
}

void chipset_inspect(struct chipset *cs, const struct dev_inspect *out)
{
	pio_inspect(&cs->pio, out);
	mmio_inspect(&cs->mmio, out);
	for (unsigned i = 0; i < CHIPSET_UARTS; i++) {
		if (!cs->uart_present[i])
			continue;
		dev_inspect_line(out, "com%u", i + 1);
		serial_inspect(&cs->uart[i], out);
	}
	dev_inspect_line(out, "rtc");
	rtc_inspect(&cs->rtc, out);
	dev_inspect_line(out, "acpi");
	acpi_pm_inspect(&cs->pm, out);
	dev_inspect_line(out, "pit");
	pit_inspect(&cs->pit, out);
	dev_inspect_line(out, "pic");
	pic_inspect(&cs->pic, out);
	dev_inspect_line(out, "ioapic");
	ioapic_inspect(&cs->ioapic, out);
	dev_inspect_line(out, "i8042");
	i8042_inspect(&cs->kbc, out);
	dev_inspect_line(out, "board");
	sysports_inspect(&cs->sys, out);
}
