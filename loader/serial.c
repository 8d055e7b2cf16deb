/* 16550 at COM3, polled. */
#include "loader/serial.h"

#include "loader/cpu.h"

#define COM3	    0x3e8
#define DATA	    (COM3 + 0)
#define INTERRUPTS  (COM3 + 1)
#define FIFO	    (COM3 + 2)
#define LINE	    (COM3 + 3)
#define MODEM	    (COM3 + 4)
#define LINE_STATUS (COM3 + 5)

#define LINE_8N1	  0x03
#define LINE_DIVISOR	  0x80
#define FIFO_ENABLE_CLEAR 0x07
#define MODEM_DTR_RTS	  0x03
#define STATUS_TX_EMPTY	  0x20
#define FIFO_BYTES	  16
#define MAX_SPEED	  115200u

/* Each poll is an exit to the host, so this is a long time. */
#define MAX_POLLS 100000

static u32 room;
static bool dead;

void serial_init(u32 speed)
{
	outb(INTERRUPTS, 0);
	if (speed && speed <= MAX_SPEED) {
		u32 divisor = MAX_SPEED / speed;

		outb(LINE, LINE_DIVISOR | LINE_8N1);
		outb(DATA, (u8)divisor);
		outb(INTERRUPTS, (u8)(divisor >> 8));
	}
	outb(LINE, LINE_8N1);
	outb(FIFO, FIFO_ENABLE_CLEAR);
	outb(MODEM, MODEM_DTR_RTS);
	room = 0;
	dead = false;
}

static void put(char c)
{
	/* An empty transmitter takes a whole FIFO: one status read for 16 bytes. */
	for (u32 i = 0; !room && !dead; i++) {
		if (inb(LINE_STATUS) & STATUS_TX_EMPTY)
			room = FIFO_BYTES;
		else if (i == MAX_POLLS)
			dead = true;
	}
	if (dead)
		return;
	outb(DATA, (u8)c);
	room--;
}

void serial_write(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\n')
			put('\r');
		put(text[i]);
	}
}
