#include "host/hvsocket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/vmbus/hvsock.h"
#include "host/unix_socket.h"

#define CHUNK	   16384 /* bytes moved at a time */
#define SPEAK_MS   10000 /* to say CONNECT */
#define TAKE_MS	   10000 /* for the guest to take more of what a user left behind */
#define MAX_RELAYS 512

/* A Unix socket and what it is connected to. */
struct relay {
	struct hvsocket *owner;
	struct relay *next;
	struct iothread_file file;
	struct iothread_work work;
	struct iothread_timer silence; /* the user does not speak; the guest does not take */
	struct hvsock_conn *conn;      /* NULL: not yet, or over */
	struct hybrid_request request;
	struct guid instance;
	char line[HYBRID_LINE_MAX]; /* until conn; behind the request, the stream's first bytes */
	size_t line_len;
	bool from_guest, open;
	bool hung_up; /* the user reads no more; what it sent is still passed on */
	bool user_ended, guest_ended;
	u8 out[CHUNK]; /* for the user */
	size_t out_len, out_done;
};

struct hvsocket {
	struct hvsock *hvsock;
	struct iothread *io;
	struct iothread_file listener;
	struct iothread_timer deadline;
	char path[HVSOCKET_PATH_MAX];
	struct relay *relays;
	unsigned count;
	struct hvsocket_stats stats;
};

/* --- listening */

int hvsocket_listen(const char *path)
{
	if (strlen(path) < HVSOCKET_PATH_MAX)
		return unix_listen(path, true, 64);
	log_error("%s: longer than %d characters", path, HVSOCKET_PATH_MAX - 1);
	return -1;
}

/* --- connections */

static void rearm(struct hvsocket *s)
{
	u64 due = hvsock_deadline(s->hvsock);

	if (due == UINT64_MAX) {
		iothread_disarm(s->io, &s->deadline);
		return;
	}
	if (s->deadline.due != due)
		iothread_arm_at(s->io, &s->deadline, due);
}

static void drop(struct relay *r)
{
	struct hvsocket *s = r->owner;
	struct relay **at = &s->relays;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	s->count--;
	/* Room for one more: the listener may have been put to rest. */
	s->listener.events = EPOLLIN;
	iothread_watch(s->io, &s->listener);
	iothread_unwatch(s->io, &r->file);
	iothread_cancel(s->io, &r->work);
	iothread_disarm(s->io, &r->silence);
	close(r->file.fd);
	free(r);
}

/* The user's side has ended or failed. */
static void leave(struct relay *r, bool now)
{
	struct hvsocket *s = r->owner;

	if (r->conn)
		hvsock_close(r->conn, now);
	drop(r);
	rearm(s);
}

static bool watch(struct relay *r, bool in, bool out)
{
	u32 events = (in ? EPOLLIN : 0u) | (out ? EPOLLOUT : 0u);

	if (r->file.watched && r->file.events == events)
		return true;
	r->file.events = events;
	return iothread_watch(r->owner->io, &r->file) == 0;
}

/* What waits for the user. False: the user is gone. */
static bool flush(struct relay *r)
{
	while (r->out_done < r->out_len && !r->hung_up) {
		ssize_t n = send(r->file.fd, r->out + r->out_done, r->out_len - r->out_done,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		r->out_done += (size_t)n;
	}
	r->out_len = r->out_done = 0;
	return true;
}

/* Guest to user. False: over. */
static bool move_out(struct relay *r)
{
	for (;;) {
		ssize_t n;

		if (!flush(r))
			return false;
		if (r->out_len || r->guest_ended)
			return true;
		n = hvsock_read(r->conn, r->out, sizeof(r->out));
		if (n == -EAGAIN)
			return true;
		if (n < 0)
			return false;
		if (n == 0) {
			r->guest_ended = true;
			shutdown(r->file.fd, SHUT_WR);
			return true;
		}
		r->out_len = (size_t)n;
		r->owner->stats.from_guest += (u64)n;
	}
}

/* User to guest. False: over. *room: the guest's ring takes more. */
static bool move_in(struct relay *r, bool *room)
{
	u8 buf[CHUNK];

	*room = true;
	while (!r->user_ended) {
		size_t fits = hvsock_room(r->conn);
		ssize_t n;

		if (!fits) {
			*room = false;
			return true;
		}
		if (r->line_len) {
			n = (ssize_t)MIN(r->line_len, fits);
			memcpy(buf, r->line, (size_t)n);
			r->line_len -= (size_t)n;
			memmove(r->line, r->line + n, r->line_len);
		} else {
			n = recv(r->file.fd, buf, MIN(fits, sizeof(buf)), 0);
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0) {
			r->user_ended = true;
			return hvsock_shutdown(r->conn) == 0;
		}
		if (hvsock_write(r->conn, buf, (size_t)n) != n)
			return false;
		r->owner->stats.to_guest += (u64)n;
		if (r->hung_up)
			iothread_arm(r->owner->io, &r->silence, TAKE_MS);
	}
	return true;
}

/* Moves what can be moved, and says what to wait for. */
static void serve(struct relay *r)
{
	bool room = true;

	if (!move_out(r) || !move_in(r, &room) || hvsock_broken(r->conn)) {
		leave(r, true);
		return;
	}
	if (r->user_ended && (r->hung_up || (r->guest_ended && !r->out_len))) {
		leave(r, false);
		return;
	}
	if (!r->hung_up && !watch(r, !r->user_ended && room, r->out_len > 0))
		leave(r, true);
}

static void work(struct iothread_work *w)
{
	struct relay *r = (struct relay *)((u8 *)w - offsetof(struct relay, work));

	if (r->open)
		serve(r);
}

/* --- a program of the host asks */

static void start_connect(struct relay *r)
{
	struct hvsocket *s = r->owner;

	iothread_disarm(s->io, &r->silence);
	if (getrandom(&r->instance, sizeof(r->instance), 0) != sizeof(r->instance)) {
		leave(r, true);
		return;
	}
	r->conn = hvsock_connect(s->hvsock, &r->request.service, &r->instance, r);
	if (!r->conn) {
		s->stats.refused++;
		leave(r, true);
		return;
	}
	/* Nothing is read until the guest has opened; a user who goes away is noticed. */
	if (!watch(r, false, false))
		leave(r, true);
	rearm(s);
}

static void read_line(struct relay *r)
{
	ssize_t n = recv(r->file.fd, r->line + r->line_len, sizeof(r->line) - r->line_len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(r, true);
		return;
	}
	r->line_len += (size_t)n;
	n = hybrid_parse(r->line, r->line_len, &r->request);
	if (n == -EAGAIN && r->line_len < sizeof(r->line))
		return;
	if (n <= 0) {
		log_debug("hvsocket: a request that is no CONNECT line");
		leave(r, true);
		return;
	}
	r->line_len -= (size_t)n;
	memmove(r->line, r->line + n, r->line_len);
	start_connect(r);
}

static void ready(struct iothread_file *file, u32 events)
{
	struct relay *r = (struct relay *)((u8 *)file - offsetof(struct relay, file));

	if (r->open) {
		if (events & EPOLLHUP) {
			r->hung_up = true;
			iothread_unwatch(r->owner->io, file);
			iothread_arm(r->owner->io, &r->silence, TAKE_MS);
		}
		serve(r);
		return;
	}
	if (r->conn) {
		if (events & (EPOLLHUP | EPOLLERR))
			leave(r, true);
		return;
	}
	read_line(r);
}

static void silent(struct iothread_timer *timer)
{
	leave((struct relay *)((u8 *)timer - offsetof(struct relay, silence)), true);
}

static struct relay *new_relay(struct hvsocket *s, int fd)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (!r) {
		close(fd);
		return NULL;
	}
	r->owner = s;
	r->file = (struct iothread_file){.fd = fd, .ready = ready};
	r->work.run = work;
	r->silence.expired = silent;
	r->next = s->relays;
	s->relays = r;
	s->count++;
	return r;
}

static void accept_user(struct iothread_file *file, u32 events)
{
	struct hvsocket *s = (struct hvsocket *)((u8 *)file - offsetof(struct hvsocket, listener));
	struct relay *r;
	int fd;

	(void)events;
	while (s->count < MAX_RELAYS) {
		fd = accept4(file->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		r = new_relay(s, fd);
		if (!r)
			return;
		iothread_arm(s->io, &r->silence, SPEAK_MS);
		if (!watch(r, true, false))
			leave(r, true);
	}
	s->listener.events = 0;
	iothread_watch(s->io, &s->listener);
}

/* --- the guest asks */

static int connect_user(const struct hvsocket *s, const struct guid *service)
{
	char suffix[1 + GUID_TEXT];
	struct sockaddr_un a;
	int fd;

	for (int by_guid = 0; by_guid < 2; by_guid++) {
		if (by_guid) {
			suffix[0] = '_';
			guid_format(service, suffix + 1);
		} else if (guid_equal(service, &VMBUS_IF_HVSOCK(service->data1))) {
			snprintf(suffix, sizeof(suffix), "_%u", service->data1);
		} else {
			continue;
		}
		if (!unix_address(&a, s->path, suffix) || access(a.sun_path, F_OK))
			continue;
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -1;
}

static void guest_connects(void *ctx, struct hvsock_conn *c, const struct guid *service)
{
	struct hvsocket *s = ctx;
	int fd = s->count < MAX_RELAYS ? connect_user(s, service) : -1;
	struct relay *r = fd >= 0 ? new_relay(s, fd) : NULL;

	if (!r) {
		s->stats.refused++;
		hvsock_refuse(c);
		return;
	}
	r->from_guest = true;
	r->conn = c;
	if (!hvsock_accept(c, r)) {
		r->conn = NULL;
		drop(r);
	}
	rearm(s);
}

/* --- from the guest's side */

static void guest_opened(void *ctx, struct hvsock_conn *c)
{
	struct relay *r = hvsock_user(c);
	struct hvsocket *s = ctx;

	s->stats.connected++;
	r->open = true;
	if (!r->from_guest)
		r->out_len = hybrid_ok(&r->request, &r->instance, (char *)r->out);
	iothread_post(s->io, &r->work);
	rearm(s);
}

static void guest_event(void *ctx, struct hvsock_conn *c)
{
	struct relay *r = hvsock_user(c);
	struct hvsocket *s = ctx;

	iothread_post(s->io, &r->work);
}

static void guest_closed(void *ctx, struct hvsock_conn *c, const char *why)
{
	struct relay *r = hvsock_user(c);
	struct hvsocket *s = ctx;

	log_debug("hvsocket: connection of channel %u ended: %s", hvsock_channel(c), why);
	if (!r->open)
		s->stats.refused++;
	r->conn = NULL;
	drop(r);
}

static u64 clock_now(void *ctx)
{
	(void)ctx;
	return iothread_now();
}

static const struct hvsock_ops hvsock_host_ops = {
	.connect = guest_connects,
	.connected = guest_opened,
	.event = guest_event,
	.closed = guest_closed,
	.now = clock_now,
};

static void deadline(struct iothread_timer *timer)
{
	struct hvsocket *s = (struct hvsocket *)((u8 *)timer - offsetof(struct hvsocket, deadline));

	hvsock_expire(s->hvsock);
	rearm(s);
}

/* --- life */

struct hvsocket *hvsocket_create(struct vmbus *bus, enum vtl vtl, int listener, const char *path)
{
	struct hvsocket *s = calloc(1, sizeof(*s));

	if (!s) {
		log_error("hvsocket: out of memory");
		return NULL;
	}
	s->io = vmbus_iothread(bus);
	snprintf(s->path, sizeof(s->path), "%s", path);
	s->deadline.expired = deadline;
	s->listener = (struct iothread_file){
		.fd = listener, .events = EPOLLIN, .ready = accept_user};
	s->hvsock = hvsock_new(vmbus_server(bus, vtl), &hvsock_host_ops, s);
	iothread_lock(s->io);
	if (!s->hvsock || iothread_watch(s->io, &s->listener)) {
		iothread_unlock(s->io);
		log_error("hvsocket: out of memory");
		hvsocket_destroy(s);
		return NULL;
	}
	vmbus_set_hvsock(bus, vtl, s->hvsock);
	iothread_unlock(s->io);
	return s;
}

void hvsocket_destroy(struct hvsocket *s)
{
	if (!s)
		return;
	iothread_lock(s->io);
	while (s->relays)
		drop(s->relays);
	iothread_unwatch(s->io, &s->listener);
	iothread_disarm(s->io, &s->deadline);
	if (s->hvsock)
		hvsock_free(s->hvsock);
	iothread_unlock(s->io);
	free(s);
}

void hvsocket_stats(const struct hvsocket *s, struct hvsocket_stats *stats)
{
	*stats = s->stats;
}
