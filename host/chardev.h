/* Character back ends of serial ports: the terminal, a file, a unix socket, or nothing. */
#ifndef PARAPET_HOST_CHARDEV_H
#define PARAPET_HOST_CHARDEV_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/types.h"

enum chardev_kind { CHARDEV_NULL, CHARDEV_STDIO, CHARDEV_FILE, CHARDEV_UNIX };

struct chardev {
	enum chardev_kind kind;
	int in, out; /* -1: none */
	int listener;
	char path[108];
	pthread_mutex_t lock; /* guards out against a client that leaves */
	bool escape;	      /* stdio: Ctrl-A was the last key */
	atomic_bool abandon;  /* output that the reader does not take now is lost */
	/* Output is held until a line is complete, the buffer is full or CHARDEV_FLUSH_MS passed.
	 */
	size_t held;
	u8 hold[1024];
};

#define CHARDEV_FLUSH_MS 4

/*
 * Opens "stdio", "file:PATH", "unix:PATH" (listens, one client at a time) or "null".
 * Returns 0 or -1 after an error line.
 */
int chardev_open(struct chardev *c, const char *spec);
void chardev_close(struct chardev *c);
/*
 * Writes all of it (a unix client that does not read loses output). Returns true when bytes are now
 * held that were not before: the main loop has to call chardev_flush() soon. Any thread.
 */
bool chardev_write(struct chardev *c, const u8 *data, size_t len);
/* Main loop. Does nothing while another thread writes. */
void chardev_flush(struct chardev *c);

/* Main loop side: adds what to wait for to `fds` (room for 2); returns how many. */
unsigned chardev_poll(struct chardev *c, bool want_input, struct pollfd *fds);

enum chardev_event { CHARDEV_IDLE, CHARDEV_DATA, CHARDEV_QUIT };
/*
 * Handles what poll() reported. CHARDEV_DATA: *len bytes of input are in `data` (size >= 64).
 * CHARDEV_QUIT: the user typed Ctrl-A X.
 */
enum chardev_event chardev_handle(struct chardev *c, const struct pollfd *fds, unsigned n, u8 *data,
				  size_t size, size_t *len);

#endif
