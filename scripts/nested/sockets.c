/*
 * Connections from outside to Unix sockets of the nested machine's program, all over one virtio
 * port.
 *
 * Frames, both ways: connection u32, type u8, zero u8, length u16 (little endian), then the
 * payload.
 *
 *   OPEN   path      out to in only; the outside numbers the connections
 *   DATA   bytes     never more than was granted: WINDOW at first, then what MORE adds
 *   MORE   u32       so many bytes have been passed on
 *   END              no more DATA (the sender's program has shut down its writing side)
 *   CLOSE            the sender's last frame. A side that gets it first answers with its own; with
 * both exchanged the number is free
 *
 * The outside always reads, whatever its programs do (scripts/nested_sockets.py), so this side may
 * write to the port without caring for more than one connection at a time.
 */
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WINDOW	 65536u
#define PIECE	 16384u /* of a program's bytes in a frame */
#define HEADER	 8u
#define PAYLOAD	 65535u
#define RETRY_MS 1	     /* while the program's listen queue is full */
#define TIRED_AT (64u << 10) /* bytes of one connection before others get their turn */

enum { OPEN = 1, DATA, MORE, END, CLOSE };

struct connection {
	uint32_t id; /* 0: unused */
	int fd;
	struct sockaddr_un address;
	bool connecting, hung_up; /* the program reads no more */
	bool said_end, got_end, got_close;
	uint32_t granted; /* bytes that the outside takes */
	uint8_t *out;	  /* for the program, WINDOW bytes */
	size_t at, used;
};

static struct connection connections[SOCKETS_MAX];
static int port = -1;
static uint8_t input[HEADER + PAYLOAD];
static size_t have;

static void write_frame(uint32_t id, uint8_t type, uint8_t *frame, size_t length)
{
	const uint8_t header[HEADER] = {
		(uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16),	(uint8_t)(id >> 24), type,
		0,	     (uint8_t)length,	 (uint8_t)(length >> 8)};

	memcpy(frame, header, HEADER);
	for (size_t done = 0; done < HEADER + length;) {
		ssize_t n = write(port, frame + done, HEADER + length - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

static void say(uint32_t id, uint8_t type)
{
	uint8_t frame[HEADER];

	write_frame(id, type, frame, 0);
}

static void grant(const struct connection *c, size_t bytes)
{
	uint8_t frame[HEADER + 4] = {[HEADER] = (uint8_t)bytes,
				     (uint8_t)(bytes >> 8),
				     (uint8_t)(bytes >> 16),
				     (uint8_t)(bytes >> 24)};

	write_frame(c->id, MORE, frame, 4);
}

static struct connection *find(uint32_t id)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		if (connections[i].id == id)
			return &connections[i];
	return NULL;
}

/* The program's side is over, or has never been. The number lives until the outside has said CLOSE.
 */
static void hang_up(struct connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->connecting = false;
	free(c->out);
	c->out = NULL;
	say(c->id, CLOSE);
	if (c->got_close)
		c->id = 0;
}

/* --- from outside to the program */

static void try_connect(struct connection *c)
{
	if (connect(c->fd, (struct sockaddr *)&c->address, sizeof(c->address)) == 0)
		c->connecting = false;
	else if (errno != EAGAIN)
		hang_up(c);
}

static void open_connection(uint32_t id, const uint8_t *path, size_t length)
{
	struct connection *c = find(0);

	if (!c || find(id)) {
		say(id, CLOSE);
		return;
	}
	*c = (struct connection){.id = id, .granted = WINDOW, .connecting = true};
	c->address.sun_family = AF_UNIX;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->out = malloc(WINDOW);
	if (length >= sizeof(c->address.sun_path) || c->fd < 0 || !c->out) {
		hang_up(c);
		return;
	}
	memcpy(c->address.sun_path, path, length);
	try_connect(c);
}

/* Passes on what waits for the program. False: it is gone. */
static bool flush(struct connection *c)
{
	size_t passed = 0;

	if (c->connecting)
		return true;
	while (c->at < c->used && !c->hung_up) {
		ssize_t n = send(c->fd, c->out + c->at, c->used - c->at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return false;
		c->at += (size_t)n;
		passed += (size_t)n;
	}
	if (passed && !c->got_end && !c->got_close)
		grant(c, passed);
	if (c->at == c->used || c->hung_up) {
		c->at = c->used = 0;
		if (c->got_end)
			shutdown(c->fd, SHUT_WR);
	}
	return true;
}

static void keep(struct connection *c, const uint8_t *data, size_t length)
{
	if (c->hung_up)
		return;
	if (length > WINDOW - c->used) {
		memmove(c->out, c->out + c->at, c->used - c->at);
		c->used -= c->at;
		c->at = 0;
	}
	if (length > WINDOW - c->used) { /* more than was granted */
		hang_up(c);
		return;
	}
	memcpy(c->out + c->used, data, length);
	c->used += length;
}

/* --- from the program to outside */

/* Returns false when the program's side failed. */
static bool take(struct connection *c)
{
	static uint8_t frame[HEADER + PIECE];
	size_t taken = 0;

	while (c->granted && !c->said_end && !c->got_close && !c->connecting && taken < TIRED_AT) {
		size_t room = c->granted < PIECE ? c->granted : PIECE;
		ssize_t n = recv(c->fd, frame + HEADER, room, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0) {
			c->said_end = true;
			say(c->id, END);
			return true;
		}
		write_frame(c->id, DATA, frame, (size_t)n);
		c->granted -= (uint32_t)n;
		taken += (size_t)n;
	}
	return true;
}

static void move(struct connection *c)
{
	bool empty;

	if (c->fd < 0)
		return;
	if (!flush(c) || !take(c)) {
		hang_up(c);
		return;
	}
	empty = c->at == c->used;
	if ((c->got_close && empty) || (c->said_end && (c->hung_up || (c->got_end && empty))))
		hang_up(c);
}

/* --- frames */

static void frame(uint32_t id, uint8_t type, const uint8_t *data, size_t length)
{
	struct connection *c = id ? find(id) : NULL;

	if (type == OPEN) {
		open_connection(id, data, length);
		return;
	}
	if (!c)
		return;
	if (type == CLOSE) {
		c->got_close = true;
		if (c->fd < 0)
			c->id = 0;
	} else if (c->fd >= 0 && type == DATA) {
		keep(c, data, length);
	} else if (type == MORE && length == 4) {
		c->granted += data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
			      (uint32_t)data[3] << 24;
	} else if (type == END) {
		c->got_end = true;
	}
	if (c->id)
		move(c);
}

static void read_port(void)
{
	ssize_t n = read(port, input + have, sizeof(input) - have);
	size_t at = 0;

	if (n > 0)
		have += (size_t)n;
	while (have - at >= HEADER) {
		const uint8_t *p = input + at;
		size_t length = (size_t)p[6] | (size_t)p[7] << 8;

		if (have - at < HEADER + length)
			break;
		frame(p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24,
		      p[4], p + HEADER, length);
		at += HEADER + length;
	}
	have -= at;
	memmove(input, input + at, have);
}

void sockets_open(int fd)
{
	port = fd;
}

size_t sockets_wait(struct pollfd *fds, int *timeout_ms)
{
	size_t count = 0;

	if (port < 0)
		return 0;
	fds[count++] = (struct pollfd){.fd = port, .events = POLLIN};
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		const struct connection *c = &connections[i];
		short events = 0;

		if (!c->id || c->fd < 0)
			continue;
		if (c->connecting) {
			*timeout_ms = RETRY_MS;
			continue;
		}
		if (c->granted && !c->said_end && !c->got_close)
			events |= POLLIN;
		if (c->at < c->used)
			events |= POLLOUT;
		if (events || !c->hung_up)
			fds[count++] = (struct pollfd){.fd = c->fd, .events = events};
	}
	return count;
}

void sockets_serve(const struct pollfd *fds, size_t count)
{
	size_t at = 1;

	if (port < 0)
		return;
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		struct connection *c = &connections[i];

		if (c->id && c->connecting) {
			try_connect(c);
			if (!c->connecting)
				move(c);
		}
		if (c->id && c->fd >= 0 && at < count && fds[at].fd == c->fd) {
			short events = fds[at++].revents;

			c->hung_up |= (events & (POLLHUP | POLLERR)) != 0;
			if (events)
				move(c);
		}
	}
	/* last: it opens connections, with file descriptors of those that have just been closed */
	if (fds[0].revents & POLLIN)
		read_port();
}
