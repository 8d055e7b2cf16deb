#include "host/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "common/log.h"
#include "host/unix_socket.h"

#define CTRL_A 1

static struct termios saved_termios;
static bool termios_saved;

static void restore_terminal(void)
{
	if (termios_saved)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_termios);
	termios_saved = false;
}

static void raw_terminal(void)
{
	struct termios t;

	if (termios_saved) /* a second port on stdio: what is to be restored is known */
		return;
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved_termios))
		return;
	termios_saved = true;
	atexit(restore_terminal);
	t = saved_termios;
	cfmakeraw(&t);
	t.c_oflag |= OPOST | ONLCR; /* log lines between guest output stay readable */
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

int chardev_open(struct chardev *c, const char *spec)
{
	memset(c, 0, sizeof(*c));
	c->in = c->out = c->listener = -1;
	pthread_mutex_init(&c->lock, NULL);
	if (!strcmp(spec, "null")) {
		c->kind = CHARDEV_NULL;
		return 0;
	}
	if (!strcmp(spec, "stdio")) {
		c->kind = CHARDEV_STDIO;
		c->in = STDIN_FILENO;
		c->out = STDOUT_FILENO;
		raw_terminal();
		return 0;
	}
	if (!strncmp(spec, "file:", 5) && spec[5]) {
		c->kind = CHARDEV_FILE;
		c->out = open(spec + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (c->out >= 0)
			return 0;
		log_error("cannot write %s: %s", spec + 5, strerror(errno));
		return -1;
	}
	if (!strncmp(spec, "unix:", 5) && spec[5]) {
		c->kind = CHARDEV_UNIX;
		c->listener = unix_listen(spec + 5, false, 1);
		if (c->listener < 0)
			return -1;
		strcpy(c->path, spec + 5);
		return 0;
	}
	log_error("serial port back end '%s': expected stdio, null, file:PATH or unix:PATH", spec);
	return -1;
}

/* A reader may pause for as long as it likes, but not keep the VM from ending. */
static bool wait_writable(struct chardev *c)
{
	struct pollfd fd = {.fd = c->out, .events = POLLOUT};
	int n;

	do {
		n = poll(&fd, 1, atomic_load(&c->abandon) ? 0 : 100);
	} while ((n == 0 || (n < 0 && errno == EINTR)) && !atomic_load(&c->abandon));
	return n > 0;
}

/* Call with c->lock held. */
static void put(struct chardev *c, const u8 *data, size_t len)
{
	while (len && c->out >= 0) {
		ssize_t n;

		if (c->kind == CHARDEV_UNIX)
			n = send(c->out, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		else if (wait_writable(c))
			n = write(c->out, data, len);
		else
			break;
		if (n < 0 && (errno == EINTR || (errno == EAGAIN && c->kind != CHARDEV_UNIX)))
			continue;
		if (n <= 0)
			break;
		data += n;
		len -= (size_t)n;
	}
}

static void flush_held(struct chardev *c)
{
	put(c, c->hold, c->held);
	c->held = 0;
}

bool chardev_write(struct chardev *c, const u8 *data, size_t len)
{
	bool newly;

	if (c->out < 0)
		return false;
	pthread_mutex_lock(&c->lock);
	newly = !c->held;
	if (c->held + len > sizeof(c->hold))
		flush_held(c);
	if (len > sizeof(c->hold)) {
		put(c, data, len);
	} else {
		memcpy(c->hold + c->held, data, len);
		c->held += len;
		if (memchr(data, '\n', len))
			flush_held(c);
	}
	newly = newly && c->held;
	pthread_mutex_unlock(&c->lock);
	return newly;
}

void chardev_flush(struct chardev *c)
{
	/* Who holds it is writing, perhaps to a reader that pauses: not the main loop's problem. */
	if (pthread_mutex_trylock(&c->lock))
		return;
	flush_held(c);
	pthread_mutex_unlock(&c->lock);
}

void chardev_close(struct chardev *c)
{
	pthread_mutex_lock(&c->lock);
	flush_held(c);
	pthread_mutex_unlock(&c->lock);
	if (c->kind == CHARDEV_STDIO)
		restore_terminal();
	if (c->kind == CHARDEV_FILE || c->kind == CHARDEV_UNIX) {
		if (c->out >= 0)
			close(c->out);
		if (c->listener >= 0)
			close(c->listener);
		if (c->path[0])
			unlink(c->path);
	}
	c->in = c->out = c->listener = -1;
	c->kind = CHARDEV_NULL;
}

unsigned chardev_poll(struct chardev *c, bool want_input, struct pollfd *fds)
{
	unsigned n = 0;

	if (c->listener >= 0 && c->in < 0)
		fds[n++] = (struct pollfd){.fd = c->listener, .events = POLLIN};
	/* The terminal is always read: Ctrl-A X must work whatever the guest does. */
	if (c->in >= 0 && (want_input || (c->kind == CHARDEV_STDIO && termios_saved)))
		fds[n++] = (struct pollfd){.fd = c->in, .events = POLLIN};
	else if (c->in >= 0 && c->kind == CHARDEV_UNIX)
		fds[n++] = (struct pollfd){.fd = c->in}; /* its end makes room for the next */
	return n;
}

static void hang_up(struct chardev *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->kind == CHARDEV_UNIX && c->out >= 0) {
		close(c->out);
		c->out = -1;
	}
	c->in = -1;
	pthread_mutex_unlock(&c->lock);
}

/* Takes Ctrl-A sequences out of what was typed. */
static enum chardev_event filter_keys(struct chardev *c, u8 *data, size_t *len)
{
	size_t kept = 0;

	for (size_t i = 0; i < *len; i++) {
		if (c->escape) {
			c->escape = false;
			if (data[i] == 'x' || data[i] == 'X')
				return CHARDEV_QUIT;
			if (data[i] == 'h' || data[i] == 'H' || data[i] == '?') {
				fputs("\r\nCtrl-A X ends the VM, Ctrl-A Ctrl-A sends Ctrl-A\r\n",
				      stderr);
				continue;
			}
			if (data[i] != CTRL_A)
				continue;
		} else if (data[i] == CTRL_A) {
			c->escape = true;
			continue;
		}
		data[kept++] = data[i];
	}
	*len = kept;
	return kept ? CHARDEV_DATA : CHARDEV_IDLE;
}

enum chardev_event chardev_handle(struct chardev *c, const struct pollfd *fds, unsigned n, u8 *data,
				  size_t size, size_t *len)
{
	*len = 0;
	for (unsigned i = 0; i < n; i++) {
		ssize_t got;

		if (!fds[i].revents)
			continue;
		if (fds[i].fd == c->listener) {
			int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);

			if (fd >= 0) {
				pthread_mutex_lock(&c->lock);
				c->in = c->out = fd;
				pthread_mutex_unlock(&c->lock);
			}
			continue;
		}
		if (c->kind == CHARDEV_UNIX && !(fds[i].revents & POLLIN)) {
			hang_up(c);
			continue;
		}
		got = read(c->in, data, size);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			hang_up(c); /* end of input; output goes on */
			continue;
		}
		*len = (size_t)got;
		if (c->kind == CHARDEV_STDIO && termios_saved)
			return filter_keys(c, data, len);
		return CHARDEV_DATA;
	}
	return CHARDEV_IDLE;
}
