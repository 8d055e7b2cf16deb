/* Control connections: frames in, replies out, calls in flight. */
#include "paravisor/diag/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define READ_SIZE 8192u

struct conn {
	struct loop_handler handler;
	struct loop_task task; /* writes, closes, and goes on with input after a pause */
	struct diag_server *server;
	struct conn *next, **link;
	struct call *calls;
	unsigned call_count, stream_count; /* streams are calls, too */
	struct ttrpc_receiver receiver;
	struct pb_writer out;
	size_t sent;
	size_t in_at, in_used;
	u64 id;
	int fd;
	u32 polled;
	u32 newest_stream; /* the highest number of a call that took data */
	bool read_end, broken, congested;
	u8 in[READ_SIZE];
};

u64 call_connection(const struct call *call)
{
	return call->conn->id;
}

static void free_call(struct call *call)
{
	if (call->release)
		call->release(call);
	if (call->data)
		call->conn->stream_count--;
	loop_disarm(&call->timer);
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	call->conn->call_count--;
	free(call);
}

static void close_conn(struct conn *conn)
{
	struct diag_server *server = conn->server;
	u64 id = conn->id;

	while (conn->calls)
		free_call(conn->calls);
	loop_dequeue(&conn->task);
	loop_remove(&server->loop, conn->fd);
	close(conn->fd);
	ttrpc_receiver_free(&conn->receiver);
	pb_writer_free(&conn->out);
	*conn->link = conn->next;
	if (conn->next)
		conn->next->link = conn->link;
	server->connection_count--;
	free(conn);
	child_owner_gone(&server->children, id);
}

void conn_close_all(struct diag_server *server)
{
	while (server->connections)
		close_conn(server->connections);
}

/* Replies wait in conn->out until its task runs: no call ends while its caller still works with it.
 */
static void after_reply(struct conn *conn, size_t before)
{
	if (conn->out.failed) {
		conn->out.failed = false;
		conn->out.used = before;
		conn->broken = true;
	}
	loop_queue(&conn->server->loop, &conn->task);
}

void call_reply(struct call *call, struct pb_bytes payload)
{
	struct conn *conn = call->conn;
	size_t before = conn->out.used;

	ttrpc_write_result(&conn->out, call->stream, payload);
	if (conn->out.failed && payload.size > REQUEST_MAX) {
		conn->out.failed = false;
		conn->out.used = before;
		ttrpc_write_status(&conn->out, call->stream, TTRPC_RESOURCE_EXHAUSTED,
				   "the answer is too large");
	}
	after_reply(conn, before);
	free_call(call);
}

void call_reply_number(struct call *call, u64 value)
{
	struct pb_writer w;

	pb_writer_init(&w, 64);
	pb_put_u64(&w, 1, value);
	call_reply(call, (struct pb_bytes){w.data, w.used});
	pb_writer_free(&w);
}

void call_fail(struct call *call, enum ttrpc_code code, const char *format, ...)
{
	struct conn *conn = call->conn;
	size_t before = conn->out.used;
	char message[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	/* cut in the middle of a character, or made of a name that is no text */
	for (size_t i = 0; !pb_is_utf8(pb_text(message)); i++) {
		if (message[i] & 0x80)
			message[i] = '?';
	}
	ttrpc_write_status(&conn->out, call->stream, code, message);
	after_reply(conn, before);
	free_call(call);
}

void call_malformed(struct call *call)
{
	call_fail(call, TTRPC_INVALID_ARGUMENT, "malformed payload");
}

bool call_stream(struct call *call,
		 void (*data)(struct call *call, u8 flags, struct pb_bytes message),
		 void (*writable)(struct call *call))
{
	struct conn *conn = call->conn;

	if (conn->stream_count >= CALLS_MAX)
		return false;
	conn->stream_count++;
	conn->newest_stream = MAX(conn->newest_stream, call->stream);
	call->data = data;
	call->writable = writable;
	return true;
}

void call_data(struct call *call, struct pb_bytes message)
{
	struct conn *conn = call->conn;
	size_t before = conn->out.used;

	ttrpc_write_data(&conn->out, call->stream, 0, message);
	after_reply(conn, before);
}

bool call_congested(struct call *call)
{
	struct conn *conn = call->conn;

	/* until all is out: only then the memory of what has been sent is free again */
	if (conn->out.used - conn->sent >= DATA_PAUSE)
		conn->congested = true;
	return conn->congested;
}

static void on_timeout(struct loop_timer *timer)
{
	struct call *call = (struct call *)((u8 *)timer - offsetof(struct call, timer));

	if (call->timeout)
		call->timeout(call);
	else
		call_fail(call, TTRPC_DEADLINE_EXCEEDED,
			  "no answer within the time of the request");
}

void call_defer(struct call *call, void (*release)(struct call *call))
{
	u64 at;

	call->release = release;
	if (!call->timeout_ns || add_overflow(monotonic_ns(), call->timeout_ns, &at))
		return;
	call->timer.expired = on_timeout;
	loop_arm(&call->server->loop, &call->timer, at);
}

/* Data of a call that waits for it, or waited: they may have crossed its end. */
static bool handle_data(const struct conn *conn, const struct ttrpc_frame *frame)
{
	struct call *call = conn->calls;

	while (call && call->stream != frame->stream)
		call = call->next;
	if (!call)
		return frame->stream <= conn->newest_stream;
	if (!call->data)
		return false;
	if (frame->oversized)
		call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "data of more than %u bytes",
			  REQUEST_MAX);
	else
		call->data(call, frame->flags, frame->body);
	return true;
}

static void handle_frame(struct conn *conn, const struct ttrpc_frame *frame)
{
	struct ttrpc_request request;
	struct call *call;

	if (frame->type == TTRPC_DATA && handle_data(conn, frame))
		return;
	call = calloc(1, sizeof(*call));
	if (!call) {
		conn->broken = true;
		return;
	}
	*call = (struct call){.conn = conn,
			      .server = conn->server,
			      .next = conn->calls,
			      .link = &conn->calls,
			      .stream = frame->stream};
	if (call->next)
		call->next->link = &call->next;
	conn->calls = call;
	conn->call_count++;
	conn->server->calls++;
	if (frame->oversized) {
		call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "request of more than %u bytes",
			  REQUEST_MAX);
	} else if (frame->type != TTRPC_REQUEST) {
		call_fail(call, TTRPC_INVALID_ARGUMENT, "frame type %u", frame->type);
	} else if (!(frame->stream & 1)) {
		call_fail(call, TTRPC_INVALID_ARGUMENT, "even stream id");
	} else if (!ttrpc_parse_request(frame->body, &request)) {
		call_fail(call, TTRPC_INVALID_ARGUMENT, "malformed request");
	} else {
		call->timeout_ns = request.timeout_ns;
		service_call(call, &request);
	}
}

static bool paused(const struct conn *conn)
{
	/* streams wait for what comes next: that many are refused instead */
	return conn->call_count - conn->stream_count >= CALLS_MAX ||
	       conn->out.used - conn->sent > REPLIES_PAUSE;
}

static void handle_input(struct conn *conn)
{
	while (!conn->broken && !paused(conn) && conn->in_at < conn->in_used) {
		struct pb_bytes left = {conn->in + conn->in_at, conn->in_used - conn->in_at};
		struct ttrpc_frame frame;
		bool complete = ttrpc_receive(&conn->receiver, &left, &frame);

		conn->in_at = conn->in_used - left.size;
		if (complete)
			handle_frame(conn, &frame);
		else if (conn->receiver.failed)
			conn->broken = true;
	}
}

/* Its calls may send again, each time another of them first: it may take all the room. */
static void wake_streams(struct conn *conn)
{
	struct call *first = conn->calls, **last = &conn->calls;

	conn->congested = false;
	for (struct call *call = first; call; call = call->next) {
		if (call->writable)
			call->writable(call);
		last = &call->next;
	}
	if (!first || !first->next)
		return;
	conn->calls = first->next;
	conn->calls->link = &conn->calls;
	*last = first;
	first->next = NULL;
	first->link = last;
}

static void write_out(struct conn *conn)
{
	while (conn->sent < conn->out.used) {
		ssize_t n = send(conn->fd, conn->out.data + conn->sent, conn->out.used - conn->sent,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			conn->broken = true;
		if (n < 0)
			return;
		conn->sent += (size_t)n;
	}
	conn->sent = conn->out.used = 0;
	if (conn->out.size > REPLIES_PAUSE)
		pb_writer_free(&conn->out);
	if (conn->congested)
		wake_streams(conn);
}

/* Does what can be done now, and asks for the events that let it go on. */
static void advance(struct conn *conn)
{
	u32 wanted = 0;

	write_out(conn);
	handle_input(conn);
	/* an end of file ends the connection; what it asked for before still goes out */
	if (conn->broken || (conn->read_end && conn->in_at == conn->in_used && !conn->out.used)) {
		close_conn(conn);
		return;
	}
	if (!conn->read_end && conn->in_at == conn->in_used)
		wanted |= EPOLLIN;
	if (conn->out.used)
		wanted |= EPOLLOUT;
	if (wanted != conn->polled)
		loop_change(&conn->server->loop, conn->fd, wanted, &conn->handler);
	conn->polled = wanted;
}

static void on_task(struct loop_task *task)
{
	advance((struct conn *)((u8 *)task - offsetof(struct conn, task)));
}

static void on_event(struct loop_handler *handler, u32 events)
{
	struct conn *conn = (struct conn *)handler;

	if (events & EPOLLIN && !conn->read_end && conn->in_at == conn->in_used) {
		ssize_t n = recv(conn->fd, conn->in, sizeof(conn->in), 0);

		conn->in_at = 0;
		conn->in_used = n > 0 ? (size_t)n : 0;
		if (n == 0)
			conn->read_end = true;
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			conn->broken = true;
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		conn->broken = true;
	}
	advance(conn);
}

void conn_accept(struct diag_server *server, int fd)
{
	struct conn *conn = server->connection_count < CONNECTIONS_MAX ? calloc(1, sizeof(*conn))
								       : NULL;

	if (!conn) {
		close(fd);
		return;
	}
	conn->handler.ready = on_event;
	conn->task.run = on_task;
	conn->server = server;
	conn->fd = fd;
	conn->id = ++server->last_connection;
	conn->polled = EPOLLIN;
	ttrpc_receiver_init(&conn->receiver, REQUEST_MAX);
	pb_writer_init(&conn->out, REPLIES_MAX);
	if (!loop_add(&server->loop, fd, EPOLLIN, &conn->handler)) {
		close(fd);
		free(conn);
		return;
	}
	conn->next = server->connections;
	conn->link = &server->connections;
	if (conn->next)
		conn->next->link = &conn->next;
	server->connections = conn;
	server->connection_count++;
}
