/* UART under arbitrary register accesses and input: no overflow, no input lost or made up. */
#include <stdlib.h>
#include <string.h>

#include "vtl2-devices/serial16550.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

struct world {
	struct serial16550 dev;
	u8 next_in; /* input is a running counter, so that loss and reordering show */
	u8 next_out;
	bool level;
};

static void on_irq(void *ctx, unsigned line, bool level)
{
	struct world *w = ctx;

	if (line != 4)
		abort();
	w->level = level;
}

static void on_tx(void *ctx, const u8 *data, size_t len)
{
	(void)ctx;
	if (!data || len != 1)
		abort();
}

static void on_room(void *ctx)
{
	struct world *w = ctx;

	if (serial_rx_room(&w->dev) == 0)
		abort();
}

static void offer(struct world *w, unsigned len)
{
	u8 bytes[256];
	size_t took;

	for (unsigned i = 0; i < len; i++)
		bytes[i] = (u8)(w->next_in + i);
	took = serial_rx(&w->dev, bytes, len);
	if (took > len)
		abort();
	w->next_in += (u8)took;
}

static void check(const struct world *w)
{
	const struct serial_state *s = &w->dev.s;

	if (s->fifo_count > SERIAL_FIFO || s->wire_count > SERIAL_WIRE ||
	    serial_rx_room(&w->dev) > SERIAL_WIRE)
		abort();
}

static void guest_read(struct world *w, unsigned reg)
{
	bool looping = w->dev.s.mcr & 0x10, dlab = w->dev.s.lcr & 0x80;
	bool had = w->dev.s.fifo_count;
	u8 value = serial_read(&w->dev, reg);

	if (reg == 0 && !looping && !dlab && had && value != w->next_out++)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct world w;
	struct serial_cfg cfg = {
		.irq = {on_irq, &w, 4},
		.tx = {on_tx, &w},
		.rx_room = on_room,
		.rx_ctx = &w,
	};

	memset(&w, 0, sizeof(w));
	serial_init(&w.dev, &cfg);
	for (size_t i = 0; i + 1 < size; i += 2) {
		u8 op = data[i], arg = data[i + 1];

		switch (op >> 4) {
		case 0 ... 5: serial_write(&w.dev, op & 7, arg); break;
		case 6 ... 10: guest_read(&w, op & 15); break;
		case 11 ... 13: offer(&w, arg); break;
		case 14: serial_set_connected(&w.dev, arg & 1); break;
		default:
			if (arg == 0)
				serial_reset(&w.dev);
		}
		check(&w);
	}

	/* Whatever happened: a driver that sets up the port gets every byte still owed. */
	serial_write(&w.dev, 3, 3);
	serial_write(&w.dev, 4, 0x0b);
	serial_write(&w.dev, 2, 1);
	serial_write(&w.dev, 1, 1);
	while (serial_read(&w.dev, 5) & 1) {
		if (!w.level)
			abort();
		guest_read(&w, 0);
	}
	if (w.next_in != w.next_out || w.level)
		abort();
	return 0;
}
