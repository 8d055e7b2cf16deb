/* 16550A UART: register file, interrupt priorities, receive path with credit. */
#include <string.h>

#include "vtl2-devices/serial16550.h"

#define REG_DATA 0u /* RBR, THR; DLL with DLAB */
#define REG_IER	 1u /* DLM with DLAB */
#define REG_IIR	 2u /* FCR on write */
#define REG_LCR	 3u
#define REG_MCR	 4u
#define REG_LSR	 5u
#define REG_MSR	 6u
#define REG_SCR	 7u

#define IER_RDA	 0x01
#define IER_THRE 0x02
#define IER_RLS	 0x04
#define IER_MSR	 0x08
#define IER_MASK 0x0f

#define IIR_NONE    0x01
#define IIR_MSR	    0x00
#define IIR_THRE    0x02
#define IIR_RDA	    0x04
#define IIR_RLS	    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO_ON 0xc0

#define FCR_ON	     0x01
#define FCR_RX_RESET 0x02
#define FCR_TRIGGER  0xc0

#define LCR_DLAB 0x80

#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DR	     0x01
#define LSR_OE	     0x02
#define LSR_BI	     0x10
#define LSR_THRE     0x20
#define LSR_TEMT     0x40
#define LSR_FIFO_ERR 0x80

#define MSR_DELTA     0x0f
#define MSR_TERI      0x04 /* the one delta that looks at the falling edge only */
#define MSR_RI	      0x40
#define MSR_CONNECTED 0xb0 /* DCD, DSR, CTS */

#define ENTRY_BREAK 0x100
#define ENTRY_MAX   (ENTRY_BREAK | 0xff)

/* A driver that polls for input reads the line status without sending in between. */
#define POLLS_TO_RELEASE 32

static bool fifo_on(const struct serial16550 *dev)
{
	return dev->s.fcr & FCR_ON;
}

static unsigned fifo_depth(const struct serial16550 *dev)
{
	return fifo_on(dev) ? SERIAL_FIFO : 1;
}

static bool loopback(const struct serial16550 *dev)
{
	return dev->s.mcr & MCR_LOOP;
}

/* MSR bits 7:4 as the guest sees them: in loopback its own MCR outputs. */
static u8 msr_lines(const struct serial16550 *dev)
{
	u8 mcr = dev->s.mcr;

	if (!loopback(dev))
		return dev->s.lines;
	return (u8)((mcr & 0x02) << 3 | (mcr & 0x01) << 5 | (mcr & 0x0c) << 4);
}

static void note_line_change(struct serial16550 *dev, u8 before)
{
	u8 after = msr_lines(dev);
	u8 delta = (u8)((before ^ after) >> 4);

	if (after & MSR_RI)
		delta &= (u8)~MSR_TERI;
	dev->s.msr_delta |= delta;
}

static u8 rx_errors(const struct serial16550 *dev)
{
	u8 lsr = dev->s.lsr_overrun;

	if (dev->s.fifo_count && (dev->s.fifo[0] & ENTRY_BREAK))
		lsr |= LSR_BI;
	return lsr;
}

static unsigned trigger_level(const struct serial16550 *dev)
{
	static const u8 level[4] = {1, 4, 8, 14};

	return fifo_on(dev) ? level[dev->s.fcr >> 6] : 1;
}

/* The interrupt of highest priority, as IIR bits 3:0. */
static u8 interrupt_id(const struct serial16550 *dev)
{
	const struct serial_state *s = &dev->s;

	if ((s->ier & IER_RLS) && rx_errors(dev))
		return IIR_RLS;
	if ((s->ier & IER_RDA) && s->fifo_count)
		return s->fifo_count >= trigger_level(dev) ? IIR_RDA : IIR_TIMEOUT;
	if ((s->ier & IER_THRE) && s->thre_pending)
		return IIR_THRE;
	if ((s->ier & IER_MSR) && s->msr_delta)
		return IIR_MSR;
	return IIR_NONE;
}

static void update_irq(struct serial16550 *dev)
{
	/* In loopback the chip forces OUT2 inactive, which closes the PC's interrupt gate. */
	bool open = (dev->s.mcr & MCR_OUT2) && !loopback(dev);

	dev_irq_set(&dev->cfg.irq, open && interrupt_id(dev) != IIR_NONE);
}

/* --- receive path: wire -> FIFO -> guest --- */

static u16 queue_pop(u16 *queue, u8 *count)
{
	u16 entry = queue[0];

	*count -= 1;
	memmove(queue, queue + 1, *count * sizeof(*queue));
	return entry;
}

/* Lets input arrive as far as the driver is ready for it. */
static void pump(struct serial16550 *dev)
{
	struct serial_state *s = &dev->s;

	if (s->rx_hold || loopback(dev))
		return;
	while (s->wire_count && s->fifo_count < fifo_depth(dev))
		s->fifo[s->fifo_count++] = queue_pop(s->wire, &s->wire_count);
}

/* Empties the FIFO. Host input goes back on the wire: room for it was kept (serial_rx_room). Bytes
 * looped back by the guest are dropped. */
static void fifo_clear(struct serial16550 *dev)
{
	struct serial_state *s = &dev->s;

	if (!loopback(dev)) {
		memmove(s->wire + s->fifo_count, s->wire, s->wire_count * sizeof(*s->wire));
		memcpy(s->wire, s->fifo, s->fifo_count * sizeof(*s->wire));
		s->wire_count += s->fifo_count;
	}
	s->fifo_count = 0;
	s->rx_hold = !(s->ier & IER_RDA);
	s->polls = 0;
}

static void release_hold(struct serial16550 *dev)
{
	dev->s.rx_hold = false;
	pump(dev);
}

/* Host input that the guest has not read. */
static unsigned rx_used(const struct serial16550 *dev)
{
	return dev->s.wire_count + (loopback(dev) ? 0u : dev->s.fifo_count);
}

unsigned serial_rx_room(const struct serial16550 *dev)
{
	return SERIAL_WIRE - rx_used(dev);
}

static void tell_room(struct serial16550 *dev)
{
	/* Not for every byte: the other side may have to wake a thread. */
	if (!dev->s.host_waits || serial_rx_room(dev) < SERIAL_WIRE / 2)
		return;
	dev->s.host_waits = false;
	if (dev->cfg.rx_room)
		dev->cfg.rx_room(dev->cfg.rx_ctx);
}

size_t serial_rx(struct serial16550 *dev, const u8 *data, size_t len)
{
	size_t take = MIN(len, serial_rx_room(dev));

	for (size_t i = 0; i < take; i++)
		dev->s.wire[dev->s.wire_count++] = data[i];
	dev->rx_bytes += take;
	dev->s.host_waits = take < len;
	pump(dev);
	update_irq(dev);
	return take;
}

bool serial_rx_break(struct serial16550 *dev)
{
	if (!serial_rx_room(dev)) {
		dev->s.host_waits = true;
		return false;
	}
	dev->s.wire[dev->s.wire_count++] = ENTRY_BREAK;
	pump(dev);
	update_irq(dev);
	return true;
}

static u8 read_data(struct serial16550 *dev)
{
	u8 byte;

	if (!dev->s.fifo_count)
		return 0;
	byte = (u8)queue_pop(dev->s.fifo, &dev->s.fifo_count);
	pump(dev);
	tell_room(dev);
	return byte;
}

static u8 read_lsr(struct serial16550 *dev)
{
	struct serial_state *s = &dev->s;
	u8 lsr;

	if (s->rx_hold && ++s->polls >= POLLS_TO_RELEASE)
		release_hold(dev);
	lsr = LSR_THRE | LSR_TEMT | rx_errors(dev);
	if (s->fifo_count)
		lsr |= LSR_DR;
	for (unsigned i = 0; fifo_on(dev) && i < s->fifo_count; i++)
		if (s->fifo[i] & ENTRY_BREAK)
			lsr |= LSR_FIFO_ERR;
	/* Reading clears the error bits; the byte itself stays. */
	s->lsr_overrun = 0;
	if (s->fifo_count)
		s->fifo[0] &= (u16)~ENTRY_BREAK;
	return lsr;
}

/* --- registers --- */

u8 serial_read(struct serial16550 *dev, unsigned reg)
{
	struct serial_state *s = &dev->s;
	bool dlab = s->lcr & LCR_DLAB;
	u8 value;

	switch (reg) {
	case REG_DATA: value = dlab ? s->dll : read_data(dev); break;
	case REG_IER: value = dlab ? s->dlm : s->ier; break;
	case REG_IIR:
		value = interrupt_id(dev);
		if (value == IIR_THRE)
			s->thre_pending = false;
		if (fifo_on(dev))
			value |= IIR_FIFO_ON;
		break;
	case REG_LCR: value = s->lcr; break;
	case REG_MCR: value = s->mcr; break;
	case REG_LSR: value = read_lsr(dev); break;
	case REG_MSR:
		value = msr_lines(dev) | s->msr_delta;
		s->msr_delta = 0;
		break;
	case REG_SCR: value = s->scr; break;
	default: return 0xff;
	}
	update_irq(dev);
	return value;
}

static void transmit(struct serial16550 *dev, u8 byte)
{
	struct serial_state *s = &dev->s;

	s->polls = 0;
	/*
	 * Transmission takes no time, so a pending THRE interrupt that the driver has not yet seen
	 * (it reads IIR to see it) would fall and rise at once. Leaving the line up spares an
	 * interrupt message for each byte of a burst.
	 */
	if (!loopback(dev)) {
		dev->tx_bytes++;
		if (dev->cfg.tx.write)
			dev->cfg.tx.write(dev->cfg.tx.ctx, &byte, 1);
	} else if (s->fifo_count < fifo_depth(dev)) {
		s->fifo[s->fifo_count++] = byte;
	} else {
		s->lsr_overrun = LSR_OE;
	}
	s->thre_pending = true;
}

static void write_ier(struct serial16550 *dev, u8 value)
{
	u8 before = dev->s.ier;

	dev->s.ier = value & IER_MASK;
	/* The transmitter is always empty, so enabling its interrupt raises it. */
	if (~before & value & IER_THRE)
		dev->s.thre_pending = true;
	if (value & IER_RDA)
		release_hold(dev);
}

static void write_fcr(struct serial16550 *dev, u8 value)
{
	/* A change of mode empties the FIFOs; without FIFOs the other bits are not writable. */
	bool toggled = (value ^ dev->s.fcr) & FCR_ON;

	if (toggled || ((value & FCR_ON) && (value & FCR_RX_RESET)))
		fifo_clear(dev);
	dev->s.fcr = value & FCR_ON ? value & (FCR_ON | FCR_TRIGGER) : 0;
	pump(dev);
}

static void write_mcr(struct serial16550 *dev, u8 value)
{
	u8 before = msr_lines(dev);

	/* Host input and looped bytes never mix: each leaves the FIFO when the mode changes. */
	if ((value ^ dev->s.mcr) & MCR_LOOP)
		fifo_clear(dev);
	dev->s.mcr = value & MCR_MASK;
	note_line_change(dev, before);
	pump(dev);
}

void serial_write(struct serial16550 *dev, unsigned reg, u8 value)
{
	struct serial_state *s = &dev->s;
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab)
			s->dll = value;
		else
			transmit(dev, value);
		break;
	case REG_IER:
		if (dlab)
			s->dlm = value;
		else
			write_ier(dev, value);
		break;
	case REG_IIR: write_fcr(dev, value); break;
	case REG_LCR: s->lcr = value; break;
	case REG_MCR: write_mcr(dev, value); break;
	case REG_SCR: s->scr = value; break;
	default: return; /* LSR and MSR are read-only */
	}
	update_irq(dev);
}

void serial_set_connected(struct serial16550 *dev, bool connected)
{
	u8 before = msr_lines(dev);

	dev->s.lines = connected ? MSR_CONNECTED : 0;
	note_line_change(dev, before);
	update_irq(dev);
}

void serial_reset(struct serial16550 *dev)
{
	struct serial_state *s = &dev->s;

	s->ier = 0;
	fifo_clear(dev);
	s->lcr = s->mcr = s->scr = s->dlm = s->fcr = 0;
	s->dll = 12; /* 9600 baud */
	s->lsr_overrun = s->msr_delta = 0;
	s->thre_pending = false;
	update_irq(dev);
}

void serial_init(struct serial16550 *dev, const struct serial_cfg *cfg)
{
	memset(dev, 0, sizeof(*dev));
	dev->cfg = *cfg;
	dev->s.lines = MSR_CONNECTED;
	serial_reset(dev);
}

static const struct saved_field fields[] = {
	SAVED_NUMBER(1, struct serial16550, s.ier, IER_MASK),
	SAVED_ANY(2, struct serial16550, s.lcr),
	SAVED_NUMBER(3, struct serial16550, s.mcr, MCR_MASK),
	SAVED_ANY(4, struct serial16550, s.scr),
	SAVED_ANY(5, struct serial16550, s.dll),
	SAVED_ANY(6, struct serial16550, s.dlm),
	SAVED_ANY(7, struct serial16550, s.fcr),
	SAVED_ANY(8, struct serial16550, s.lsr_overrun),
	SAVED_NUMBER(9, struct serial16550, s.msr_delta, MSR_DELTA),
	SAVED_ANY(10, struct serial16550, s.lines),
	SAVED_BOOL(11, struct serial16550, s.thre_pending),
	SAVED_BOOL(12, struct serial16550, s.rx_hold),
	SAVED_BOOL(13, struct serial16550, s.host_waits),
	SAVED_NUMBER(14, struct serial16550, s.polls, POLLS_TO_RELEASE),
	SAVED_ANY(15, struct serial16550, s.fifo_count),
	SAVED_ANY(16, struct serial16550, s.wire_count),
	SAVED_NUMBERS(17, struct serial16550, s.fifo, ENTRY_MAX),
	SAVED_NUMBERS(18, struct serial16550, s.wire, ENTRY_MAX),
	SAVED_ANY(19, struct serial16550, tx_bytes),
	SAVED_ANY(20, struct serial16550, rx_bytes),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void serial_save(const struct serial16550 *dev, struct pb_writer *out)
{
	struct serial16550 copy = *dev;
	struct serial_state *s = &copy.s;

	/* what was read stays behind the queues' ends and is nobody's state */
	memset(s->fifo + s->fifo_count, 0, (SERIAL_FIFO - s->fifo_count) * sizeof(*s->fifo));
	memset(s->wire + s->wire_count, 0, (SERIAL_WIRE - s->wire_count) * sizeof(*s->wire));
	saved_write(out, &layout, &copy);
}

static bool state_valid(const struct serial16550 *dev)
{
	const struct serial_state *s = &dev->s;

	return !(s->fcr & ~(fifo_on(dev) ? FCR_ON | FCR_TRIGGER : 0)) &&
	       !(s->lsr_overrun & ~LSR_OE) && (!s->lines || s->lines == MSR_CONNECTED) &&
	       s->fifo_count <= fifo_depth(dev) && rx_used(dev) <= SERIAL_WIRE;
}

bool serial_restore(struct serial16550 *dev, struct pb_bytes state)
{
	struct serial16550 next = *dev;

	if (!saved_read(state, &layout, &next) || !state_valid(&next))
		return false;
	*dev = next;
	return true;
}

void serial_inspect(const struct serial16550 *dev, const struct dev_inspect *out)
{
	const struct serial_state *s = &dev->s;

	dev_inspect_line(out, "  ier %02x iir %02x lcr %02x mcr %02x msr %02x fcr %02x divisor %u",
			 s->ier, interrupt_id(dev), s->lcr, s->mcr, msr_lines(dev) | s->msr_delta,
			 s->fcr, s->dll | s->dlm << 8);
	dev_inspect_line(out, "  sent %llu received %llu fifo %u wire %u%s",
			 (unsigned long long)dev->tx_bytes, (unsigned long long)dev->rx_bytes,
			 s->fifo_count, s->wire_count, s->rx_hold ? " (held)" : "");
}

static u64 bus_read(void *ctx, u64 offset, unsigned size)
{
	(void)size; /* bytes only */
	return serial_read(ctx, (unsigned)offset);
}

static void bus_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)size;
	serial_write(ctx, (unsigned)offset, (u8)value);
}

const struct bus_ops serial_bus_ops = {.read = bus_read, .write = bus_write};
