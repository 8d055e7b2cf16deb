/* Keyboard controller without keyboard and mouse: answers commands at once, resets the machine. */
#ifndef PARAPET_VTL2_DEVICES_I8042_H
#define PARAPET_VTL2_DEVICES_I8042_H

#include "vtl2-devices/bus.h"

/* Source: IBM PC AT technical reference; PS/2 auxiliary commands. */
struct i8042_cfg {
	struct dev_irq irq; /* IRQ 1: answer waiting and interrupt enabled */
	struct dev_power power;
};

struct i8042_state {
	u8 ctr; /* command byte (RAM byte 0) */
	u8 ram[32];
	u8 data;    /* output buffer */
	u8 status;  /* OBF, timeout and system flag bits */
	u8 command; /* waits for its parameter on port 0x60, 0 none */
	u8 output_port;
};

struct i8042 {
	struct i8042_cfg cfg;
	struct i8042_state s;
};

void i8042_init(struct i8042 *kbc, const struct i8042_cfg *cfg);
void i8042_reset(struct i8042 *kbc);
/* port 0x60 (data) or 0x64 (status, command). */
u8 i8042_read(struct i8042 *kbc, unsigned port);
void i8042_write(struct i8042 *kbc, unsigned port, u8 value);
/* For both see iface.h. */
void i8042_save(const struct i8042 *kbc, struct pb_writer *out);
bool i8042_restore(struct i8042 *kbc, struct pb_bytes state);
void i8042_inspect(const struct i8042 *kbc, const struct dev_inspect *out);

extern const struct bus_ops i8042_data_bus_ops;	   /* 0x60 */
extern const struct bus_ops i8042_command_bus_ops; /* 0x64 */

#endif
