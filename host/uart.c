#include "host/uart.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vtl2-devices/serial16550.h"

#define COM3 0x3e8

struct uarts {
	pthread_mutex_t lock;
	struct serial16550 com3;
	struct chardev *out;
	int wake; /* eventfd of the main loop */
};

static void transmit(void *ctx, const u8 *data, size_t len)
{
	struct uarts *u = ctx;

	u64 one = 1;

	if (chardev_write(u->out, data, len) && write(u->wake, &one, sizeof(one)) < 0)
		return; /* the counter is full: the main loop is awake */
}

struct uarts *uarts_create(struct chardev *out, int wake)
{
	struct uarts *u = calloc(1, sizeof(*u));
	struct serial_cfg cfg = {.tx = {.write = transmit, .ctx = u}};

	if (!u)
		return NULL;
	u->out = out;
	u->wake = wake;
	pthread_mutex_init(&u->lock, NULL);
	serial_init(&u->com3, &cfg);
	return u;
}

void uarts_destroy(struct uarts *u)
{
	if (u)
		pthread_mutex_destroy(&u->lock);
	free(u);
}

void uart_port_access(struct vm *vm, u16 port, u8 *data, unsigned size, bool write)
{
	struct uarts *u = vm->uarts;

	if (!write)
		memset(data, 0xff, size);
	if (!u || port < COM3 || port >= COM3 + SERIAL_PORTS || size != 1)
		return;
	pthread_mutex_lock(&u->lock);
	if (write)
		serial_write(&u->com3, port - COM3, *data);
	else
		*data = serial_read(&u->com3, port - COM3);
	pthread_mutex_unlock(&u->lock);
}

size_t uarts_room(struct uarts *u)
{
	size_t room;

	pthread_mutex_lock(&u->lock);
	room = serial_rx_room(&u->com3);
	pthread_mutex_unlock(&u->lock);
	return room;
}

size_t uarts_input(struct uarts *u, const u8 *data, size_t len)
{
	size_t taken;

	pthread_mutex_lock(&u->lock);
	taken = serial_rx(&u->com3, data, len);
	pthread_mutex_unlock(&u->lock);
	return taken;
}
