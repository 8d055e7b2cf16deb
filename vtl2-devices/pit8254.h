/* 8254 interval timer: channel 0 raises IRQ 0, channel 2 is seen through port 0x61. */
#ifndef PARAPET_VTL2_DEVICES_PIT8254_H
#define PARAPET_VTL2_DEVICES_PIT8254_H

#include "vtl2-devices/bus.h"

/* Source: Intel 8254 data sheet. */
#define PIT_HZ	 1193182u
#define PIT_PORT 0x40u

struct pit_cfg {
	struct dev_irq irq; /* OUT of channel 0 */
	struct dev_clock clock;
	struct dev_timers *timers;
};

struct pit_channel {
	u8 control; /* RW, mode and BCD bits of the last control word */
	bool gate;
	bool null_count; /* written, not loaded yet */
	bool counting;	 /* a count was loaded since the control word */
	bool armed;	 /* modes 1 and 5: a gate edge has started the counter */
	bool write_high, read_high;
	u8 write_low;
	bool latched, status_latched;
	u16 latch;
	u8 status;
	u32 reload;	   /* 1..0x10000 in clocks, or 1..10000 in BCD */
	u64 start_ns;	   /* when the present count was loaded */
	u64 paused_clocks; /* gate low in modes 0, 2, 3, 4: clocks elapsed before */
};

struct pit_state {
	struct pit_channel ch[3];
	u8 port61;	/* bits 3:0 as written */
	u64 seen_edges; /* rising edges of channel 0 delivered since its count was loaded */
};

struct pit8254 {
	struct pit_cfg cfg;
	struct pit_state s;
	struct dev_timer timer;
	u64 ticks;
};

void pit_init(struct pit8254 *pit, const struct pit_cfg *cfg);
void pit_reset(struct pit8254 *pit);
/* port 0..2 channels, 3 control. */
u8 pit_read(struct pit8254 *pit, unsigned port);
void pit_write(struct pit8254 *pit, unsigned port, u8 value);
/* Port 0x61: gate and speaker bits, refresh toggle, OUT of channel 2; NMI sources read as 0. */
u8 pit_port61_read(struct pit8254 *pit);
void pit_port61_write(struct pit8254 *pit, u8 value);
/* For both see iface.h. */
void pit_save(const struct pit8254 *pit, struct pb_writer *out);
bool pit_restore(struct pit8254 *pit, struct pb_bytes state);
void pit_inspect(struct pit8254 *pit, const struct dev_inspect *out);

extern const struct bus_ops pit_bus_ops;	/* PIT_PORT, 4 ports */
extern const struct bus_ops pit_port61_bus_ops; /* 1 port */

#endif
