/* 16550A UART: registers, 16-byte receive FIFO with credit, instant transmitter. */
#ifndef PARAPET_VTL2_DEVICES_SERIAL16550_H
#define PARAPET_VTL2_DEVICES_SERIAL16550_H

#include "vtl2-devices/bus.h"

/*
 * Source: National Semiconductor PC16550D data sheet. Eight ports, byte wide.
 *
 * Input is never lost: the model has a short stretch of "wire" in front of the FIFO, and what the
 * FIFO cannot hold waits there. A FIFO reset puts unread input back on the wire, and the wire
 * stands still until the driver is ready for input (it enables the receive interrupt, or polls the
 * line status a few times without sending). Drivers reset the FIFO and read a byte blindly when
 * they open a port; with a real UART that eats what was typed before.
 *
 * Transmission takes no time, and the receive timeout interrupt comes at once.
 */
#define SERIAL_PORTS 8u
#define SERIAL_FIFO  16u
#define SERIAL_WIRE  64u

struct serial_cfg {
	struct dev_irq irq;	 /* gated by MCR OUT2, as on the PC */
	struct dev_char_sink tx; /* what the guest sends, one call per byte */
	/* There is room again after serial_rx() had taken less than it was offered: call
	 * serial_rx() once this access is over. May be NULL. */
	void (*rx_room)(void *ctx);
	void *rx_ctx;
};

/* Everything that a save must hold: plain values. Queue entries are a byte, bit 8 for a break. */
struct serial_state {
	u8 ier, lcr, mcr, scr, dll, dlm;
	u8 fcr;		/* bit 0 FIFO on, bits 7:6 trigger level */
	u8 lsr_overrun; /* OE, sticky until LSR is read */
	u8 msr_delta;	/* low half of MSR */
	u8 lines;	/* high half of MSR as the host drives it */
	bool thre_pending;
	bool rx_hold;	 /* the wire stands still, see above */
	bool host_waits; /* serial_rx() was refused bytes */
	u8 polls;	 /* line status reads since the last transmission */
	u8 fifo_count, wire_count;
	u16 fifo[SERIAL_FIFO];
	u16 wire[SERIAL_WIRE];
};

struct serial16550 {
	struct serial_cfg cfg;
	struct serial_state s;
	u64 tx_bytes, rx_bytes;
};

void serial_init(struct serial16550 *dev, const struct serial_cfg *cfg);
/* Power-on values; input that the guest has not read stays. The IRQ line falls. */
void serial_reset(struct serial16550 *dev);
/* reg 0..7; any other reads as 0xff. */
u8 serial_read(struct serial16550 *dev, unsigned reg);
void serial_write(struct serial16550 *dev, unsigned reg, u8 value);
/* Bytes serial_rx() would take now. */
unsigned serial_rx_room(const struct serial16550 *dev);
/* Input for the guest. Returns how many bytes were taken (0..len): nothing is lost, the caller
 * keeps the rest and offers it again when cfg.rx_room is called. */
size_t serial_rx(struct serial16550 *dev, const u8 *data, size_t len);
/* A break condition (SysRq). false: no room, offer it again later. */
bool serial_rx_break(struct serial16550 *dev);
/* The other end came or went: DCD, DSR and CTS follow. Starts connected. */
void serial_set_connected(struct serial16550 *dev, bool connected);
/* For both see iface.h. */
void serial_save(const struct serial16550 *dev, struct pb_writer *out);
bool serial_restore(struct serial16550 *dev, struct pb_bytes state);
void serial_inspect(const struct serial16550 *dev, const struct dev_inspect *out);

/* For a bus region of SERIAL_PORTS, ctx is the struct serial16550. */
extern const struct bus_ops serial_bus_ops;

#endif
