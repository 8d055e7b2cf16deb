/* 8259A pair: initialisation and operation command words, priorities, acknowledge cycle. */
#include <string.h>

#include "vtl2-devices/pic8259.h"

#define CASCADE 2u
#define NO_IRQ	8u

#define ICW1	  0x10 /* bit 4 tells ICW1 from OCW2 and OCW3 */
#define ICW1_IC4  0x01
#define ICW1_SNGL 0x02
#define ICW4_AEOI 0x02
#define ICW4_SFNM 0x10
#define OCW3	  0x08
#define OCW3_RIS  0x01
#define OCW3_RR	  0x02
#define OCW3_POLL 0x04
#define OCW3_SMM  0x20
#define OCW3_ESMM 0x40

/* Position in the priority order, 0 first, of the best input in mask; NO_IRQ if empty. */
static unsigned best(const struct pic_chip *c, u8 mask)
{
	for (unsigned i = 0; i < 8; i++)
		if (mask & BIT((c->lowest + 1 + i) & 7))
			return i;
	return NO_IRQ;
}

static unsigned input_at(const struct pic_chip *c, unsigned position)
{
	return (c->lowest + 1 + position) & 7;
}

/* The input this chip wants to interrupt with; NO_IRQ if none. */
static unsigned pending(const struct pic8259 *pic, unsigned chip)
{
	const struct pic_chip *c = &pic->s.chip[chip];
	unsigned want = best(c, c->irr & (u8)~c->imr);
	u8 in_service = c->isr;

	if (c->icw_step)
		return NO_IRQ;
	if (c->special_mask)
		in_service &= (u8)~c->imr;
	/* Special fully nested: a better input of the slave may interrupt its own service. */
	if (c->nested && chip == 0)
		in_service &= (u8)~BIT(CASCADE);
	return want < best(c, in_service) ? input_at(c, want) : NO_IRQ;
}

static void update(struct pic8259 *pic)
{
	struct pic_chip *master = &pic->s.chip[0];
	bool out;

	/* The cascade input follows the slave's output; it is never latched. */
	if (pending(pic, 1) != NO_IRQ)
		master->irr |= (u8)BIT(CASCADE);
	else
		master->irr &= (u8)~BIT(CASCADE);
	out = pending(pic, 0) != NO_IRQ;
	if (out != pic->out) {
		pic->out = out;
		dev_irq_set(&pic->intr, out);
	}
}

void pic_set_line(struct pic8259 *pic, unsigned irq, bool level)
{
	struct pic_chip *c;
	u8 bit = (u8)BIT(irq & 7);

	if (irq > 15 || irq == CASCADE)
		return;
	c = &pic->s.chip[irq / 8];
	if (c->elcr & bit)
		c->irr = level ? c->irr | bit : c->irr & (u8)~bit;
	else if (level && !(c->lines & bit))
		c->irr |= bit;
	c->lines = level ? c->lines | bit : c->lines & (u8)~bit;
	update(pic);
}

bool pic_has_interrupt(const struct pic8259 *pic)
{
	return pic->out;
}

static void begin_service(struct pic_chip *c, unsigned irq)
{
	u8 bit = (u8)BIT(irq);

	if (!c->auto_eoi)
		c->isr |= bit;
	else if (c->rotate_auto)
		c->lowest = (u8)irq;
	if (!(c->elcr & bit))
		c->irr &= (u8)~bit;
}

u8 pic_acknowledge(struct pic8259 *pic)
{
	struct pic_chip *master = &pic->s.chip[0], *slave = &pic->s.chip[1];
	unsigned irq = pending(pic, 0);
	u8 vector;

	if (irq == NO_IRQ)
		return master->vector_base + 7;
	begin_service(master, irq);
	if (irq == CASCADE && !master->single) {
		irq = pending(pic, 1);
		if (irq != NO_IRQ)
			begin_service(slave, irq);
		else
			irq = 7;
		vector = slave->vector_base + (u8)irq;
	} else {
		vector = master->vector_base + (u8)irq;
	}
	update(pic);
	return vector;
}

static void write_icw1(struct pic_chip *c, u8 value)
{
	/* Edge inputs must rise again; the level bit of ICW1 gives way to ELCR, as in PC chipsets.
	 */
	c->irr = c->lines & c->elcr;
	c->imr = c->isr = 0;
	c->lowest = 7;
	c->read_isr = c->poll = c->special_mask = c->rotate_auto = false;
	c->auto_eoi = c->nested = false;
	c->icw4_needed = value & ICW1_IC4;
	c->single = value & ICW1_SNGL;
	c->icw_step = 2;
}

static void write_icw(struct pic_chip *c, u8 value)
{
	switch (c->icw_step) {
	case 2:
		c->vector_base = value & 0xf8;
		c->icw_step = c->single ? (c->icw4_needed ? 4 : 0) : 3;
		break;
	case 3: /* which input is the cascade is wired, not programmed */
		c->icw_step = c->icw4_needed ? 4 : 0;
		break;
	default:
		c->auto_eoi = value & ICW4_AEOI;
		c->nested = value & ICW4_SFNM;
		c->icw_step = 0;
	}
}

static void write_ocw2(struct pic_chip *c, u8 value)
{
	unsigned level = value & 7;
	unsigned top = best(c, c->isr);

	switch (value >> 5) {
	case 0: c->rotate_auto = false; break;
	case 4: c->rotate_auto = true; break;
	case 1: /* end the highest in service */
	case 5: /* ... and make it the lowest */
		if (top == NO_IRQ)
			break;
		level = input_at(c, top);
		c->isr &= (u8)~BIT(level);
		if (value >> 5 == 5)
			c->lowest = (u8)level;
		break;
	case 3: c->isr &= (u8)~BIT(level); break;
	case 6: c->lowest = (u8)level; break;
	case 7:
		c->isr &= (u8)~BIT(level);
		c->lowest = (u8)level;
		break;
	default: break; /* 2: no operation */
	}
}

static void write_ocw3(struct pic_chip *c, u8 value)
{
	c->poll = value & OCW3_POLL;
	if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
	if (value & OCW3_ESMM)
		c->special_mask = value & OCW3_SMM;
}

void pic_write(struct pic8259 *pic, unsigned chip, unsigned port, u8 value)
{
	struct pic_chip *c = &pic->s.chip[chip & 1];

	if (port == 0 && (value & ICW1))
		write_icw1(c, value);
	else if (port == 0 && (value & OCW3))
		write_ocw3(c, value);
	else if (port == 0)
		write_ocw2(c, value);
	else if (c->icw_step)
		write_icw(c, value);
	else
		c->imr = value;
	update(pic);
}

/* A poll command makes the next read an acknowledge cycle for this chip alone. */
static u8 poll_read(struct pic8259 *pic, unsigned chip)
{
	struct pic_chip *c = &pic->s.chip[chip];
	unsigned irq = pending(pic, chip);

	c->poll = false;
	if (irq == NO_IRQ)
		return 0;
	begin_service(c, irq);
	update(pic);
	return (u8)(0x80 | irq);
}

u8 pic_read(struct pic8259 *pic, unsigned chip, unsigned port)
{
	const struct pic_chip *c = &pic->s.chip[chip & 1];

	if (c->poll)
		return poll_read(pic, chip & 1);
	if (port)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

u8 pic_elcr_read(const struct pic8259 *pic, unsigned chip)
{
	return pic->s.chip[chip & 1].elcr;
}

void pic_elcr_write(struct pic8259 *pic, unsigned chip, u8 value)
{
	struct pic_chip *c = &pic->s.chip[chip & 1];

	c->elcr = value & c->elcr_mask;
	c->irr = (c->irr & (u8)~c->elcr) | (c->lines & c->elcr);
	update(pic);
}

void pic_reset(struct pic8259 *pic)
{
	for (unsigned i = 0; i < 2; i++) {
		struct pic_chip *c = &pic->s.chip[i];

		/* Lines belong to the devices. Masked until somebody initialises the chip. */
		*c = (struct pic_chip){.lines = c->lines, .imr = 0xff, .lowest = 7};
		c->vector_base = i ? 0x70 : 0x08;
		c->elcr_mask = i ? 0xde : 0xf8;
	}
	update(pic);
}

void pic_init(struct pic8259 *pic, const struct dev_irq *intr)
{
	memset(pic, 0, sizeof(*pic));
	pic->intr = *intr;
	pic_reset(pic);
}

static const struct saved_field chip_fields[] = {
	SAVED_ANY(1, struct pic_chip, irr),
	SAVED_ANY(2, struct pic_chip, imr),
	SAVED_ANY(3, struct pic_chip, isr),
	SAVED_ANY(4, struct pic_chip, lines),
	SAVED_ANY(5, struct pic_chip, elcr),
	SAVED_ANY(6, struct pic_chip, vector_base),
	SAVED_NUMBER(7, struct pic_chip, lowest, 7),
	SAVED_NUMBER(8, struct pic_chip, icw_step, 4),
	SAVED_BOOL(9, struct pic_chip, icw4_needed),
	SAVED_BOOL(10, struct pic_chip, single),
	SAVED_BOOL(11, struct pic_chip, read_isr),
	SAVED_BOOL(12, struct pic_chip, poll),
	SAVED_BOOL(13, struct pic_chip, special_mask),
	SAVED_BOOL(14, struct pic_chip, auto_eoi),
	SAVED_BOOL(15, struct pic_chip, rotate_auto),
	SAVED_BOOL(16, struct pic_chip, nested),
};
static const struct saved_layout chip_layout = SAVED_LAYOUT(chip_fields);
static const struct saved_field fields[] = {
	SAVED_STRUCTS(1, struct pic8259, s.chip, &chip_layout),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void pic_save(const struct pic8259 *pic, struct pb_writer *out)
{
	saved_write(out, &layout, pic);
}

bool pic_restore(struct pic8259 *pic, struct pb_bytes state)
{
	struct pic8259 next = *pic;

	if (!saved_read(state, &layout, &next))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		const struct pic_chip *c = &next.s.chip[i];

		if ((c->elcr & ~c->elcr_mask) || (c->vector_base & 7) || c->icw_step == 1 ||
		    (i == 0 && (c->lines & BIT(CASCADE))))
			return false;
	}
	*pic = next;
	update(pic);
	return true;
}

void pic_inspect(const struct pic8259 *pic, const struct dev_inspect *out)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct pic_chip *c = &pic->s.chip[i];

		dev_inspect_line(out,
				 "  %s irr %02x imr %02x isr %02x elcr %02x base %02x lines %02x%s",
				 i ? "slave" : "master", c->irr, c->imr, c->isr, c->elcr,
				 c->vector_base, c->lines, c->icw_step ? " in initialisation" : "");
	}
}

static u64 master_read(void *ctx, u64 offset, unsigned size)
{
	(void)size; /* bytes only */
	return pic_read(ctx, 0, (unsigned)offset);
}

static void master_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)size;
	pic_write(ctx, 0, (unsigned)offset, (u8)value);
}

static u64 slave_read(void *ctx, u64 offset, unsigned size)
{
	(void)size;
	return pic_read(ctx, 1, (unsigned)offset);
}

static void slave_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)size;
	pic_write(ctx, 1, (unsigned)offset, (u8)value);
}

static u64 elcr_read(void *ctx, u64 offset, unsigned size)
{
	(void)size;
	return pic_elcr_read(ctx, (unsigned)offset);
}

static void elcr_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)size;
	pic_elcr_write(ctx, (unsigned)offset, (u8)value);
}

const struct bus_ops pic_master_bus_ops = {.read = master_read, .write = master_write};
const struct bus_ops pic_slave_bus_ops = {.read = slave_read, .write = slave_write};
const struct bus_ops pic_elcr_bus_ops = {.read = elcr_read, .write = elcr_write};
