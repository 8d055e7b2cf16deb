/* 16550A UART: registers, 16-byte receive FIFO with credit, instant transmitter. */
#ifndef PARAPET_VTL2_DEVICES_SERIAL16550_H
#define PARAPET_VTL2_DEVICES_SERIAL16550_H

#include "vtl2-devices/bus.h"

/* Source: National Semiconductor PC16550D data sheet. Eight ports, byte wide. */
#define SERIAL_PORTS 8u
#define SERIAL_FIFO  16u

struct serial_cfg {
	struct dev_irq irq;
	struct dev_char_sink tx; /* what the guest sends, one call per byte */
	/* The guest made room after serial_rx() had taken less than it was offered: call
	 * serial_rx() again after this access. May be NULL. */
	void (*rx_room)(void *ctx);
	void *rx_ctx;
};

/* Everything that a save must hold: plain values. */
struct serial_state {
	u8 ier, lcr, mcr, scr, dll, dlm;
	u8 fcr;	       /* bit 0 FIFO on, bits 7:6 trigger level */
	u8 lsr_errors; /* OE, sticky until LSR is read */
	u8 msr_delta;  /* low half of MSR */
	u8 lines;      /* high half of MSR as the host drives it: CTS, DSR, RI, DCD */
	bool thre_pending;
	bool host_waits; /* serial_rx() was refused bytes */
	u8 rx[SERIAL_FIFO];
	u16 rx_break; /* bit per slot: this byte is a break */
	u8 rx_head, rx_count;
};

struct serial16550 {
	struct serial_cfg cfg;
	struct serial_state s;
	u64 tx_bytes, rx_bytes;
};

void serial_init(struct serial16550 *dev, const struct serial_cfg *cfg);
/* Power-on values; input that the guest has not read is gone. The IRQ line falls. */
void serial_reset(struct serial16550 *dev);
/* reg 0..7; any other reads as 0xff. */
u8 serial_read(struct serial16550 *dev, unsigned reg);
void serial_write(struct serial16550 *dev, unsigned reg, u8 value);
/* Bytes serial_rx() would take now; 0 in loopback. */
unsigned serial_rx_room(const struct serial16550 *dev);
/* Input for the guest. Returns how many bytes were taken (0..len): nothing is lost, the caller
 * keeps the rest and offers it again when cfg.rx_room is called. */
size_t serial_rx(struct serial16550 *dev, const u8 *data, size_t len);
/* A break condition (SysRq). false: no room, offer it again later. */
bool serial_rx_break(struct serial16550 *dev);
/* The other end came or went: DCD, DSR and CTS follow. Starts connected. */
void serial_set_connected(struct serial16550 *dev, bool connected);
void serial_inspect(const struct serial16550 *dev, const struct dev_inspect *out);

/* For a bus region of SERIAL_PORTS, ctx is the struct serial16550. */
extern const struct bus_ops serial_bus_ops;

#endif
