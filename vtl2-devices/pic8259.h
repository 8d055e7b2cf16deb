/* The PC's two 8259A interrupt controllers, cascaded on IR2, with the edge/level registers. */
#ifndef PARAPET_VTL2_DEVICES_PIC8259_H
#define PARAPET_VTL2_DEVICES_PIC8259_H

#include "vtl2-devices/bus.h"

/* Source: Intel 8259A data sheet; ELCR from the 82371SB data sheet. */
struct pic_chip {
	u8 irr, imr, isr;
	u8 lines; /* level of each input */
	u8 elcr, elcr_mask;
	u8 vector_base;
	u8 lowest;   /* input with the lowest priority; 7 without rotation */
	u8 icw_step; /* 0 operating, else the ICW expected next (2..4) */
	bool icw4_needed, single;
	bool read_isr, poll, special_mask, auto_eoi, rotate_auto, nested;
};

struct pic_state {
	struct pic_chip chip[2]; /* master, slave */
};

struct pic8259 {
	struct dev_irq intr; /* INTR of the master, to LINT0 or the processor */
	struct pic_state s;
	bool out;
};

void pic_init(struct pic8259 *pic, const struct dev_irq *intr);
void pic_reset(struct pic8259 *pic);
/* chip 0 (ports 0x20, 0x21) or 1 (0xa0, 0xa1); port 0 or 1 within it. */
u8 pic_read(struct pic8259 *pic, unsigned chip, unsigned port);
void pic_write(struct pic8259 *pic, unsigned chip, unsigned port, u8 value);
/* chip 0 or 1 (ports 0x4d0, 0x4d1). */
u8 pic_elcr_read(const struct pic8259 *pic, unsigned chip);
void pic_elcr_write(struct pic8259 *pic, unsigned chip, u8 value);
/* Drives ISA line 0..15; 2 (the cascade) and others are ignored. */
void pic_set_line(struct pic8259 *pic, unsigned irq, bool level);
/* INTR is asserted. */
bool pic_has_interrupt(const struct pic8259 *pic);
/* Interrupt acknowledge cycle: the vector to inject (a spurious one when nothing is pending). */
u8 pic_acknowledge(struct pic8259 *pic);
/* For both see iface.h. After a restore INTR is driven again if it is up. */
void pic_save(const struct pic8259 *pic, struct pb_writer *out);
bool pic_restore(struct pic8259 *pic, struct pb_bytes state);
void pic_inspect(const struct pic8259 *pic, const struct dev_inspect *out);

extern const struct bus_ops pic_master_bus_ops; /* 0x20, 2 ports */
extern const struct bus_ops pic_slave_bus_ops;	/* 0xa0, 2 ports */
extern const struct bus_ops pic_elcr_bus_ops;	/* 0x4d0, 2 ports */

#endif
