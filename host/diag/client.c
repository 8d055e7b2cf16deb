/* Diagnostics client: hybrid vsock, ttrpc calls. */
#include "host/diag/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "host/plain.h"

#define HANDSHAKE_MS 10000
#define SLACK_NS     5000000000ull /* that a server may be late with what it promised */
#define OK_LINE_MAX  64

static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

bool diag_running_path(const char *name, char *path, size_t size)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	int n;

	if (run && *run)
		n = snprintf(path, size, "%s/parapet/%s.vsock", run, name);
	else
		n = snprintf(path, size, "/run/parapet/%s.vsock", name);
	return n > 0 && (size_t)n < size;
}

bool diag_socket_path(const char *vm, char *path, size_t size)
{
	int n;

	if (!strncmp(vm, "vsock:", 6))
		n = snprintf(path, size, "%s", vm + 6);
	else if (strchr(vm, '/') || is_socket(vm))
		n = snprintf(path, size, "%s", vm);
	else
		return diag_running_path(vm, path, size);
	return n > 0 && (size_t)n < size;
}

void diag_client_init(struct diag_client *client, const char *vm, unsigned wait_s)
{
	*client = (struct diag_client){.vm = vm, .wait_s = wait_s, .control = -1};
	if (!diag_socket_path(vm, client->path, sizeof(client->path)))
		client->path[0] = 0;
	client->last_stream = UINT32_MAX;
	ttrpc_receiver_init(&client->receiver, TTRPC_BODY_MAX);
	pb_writer_init(&client->out, 2 * TTRPC_BODY_MAX);
}

void diag_client_close(struct diag_client *client)
{
	if (client->control >= 0)
		close(client->control);
	client->control = -1;
	ttrpc_receiver_free(&client->receiver);
	pb_writer_free(&client->out);
	diag_discard(client);
}

__attribute__((format(printf, 2, 3))) static int fail(struct diag_client *client,
						      const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(client->error, sizeof(client->error), format, ap);
	va_end(ap);
	return -1;
}

/* Waits for events on fd. False after the deadline (0: none). */
static bool wait_for(int fd, short events, u64 deadline)
{
	struct pollfd polled = {.fd = fd, .events = events};

	for (;;) {
		u64 now = monotonic_ns();
		int n, ms = -1;

		if (deadline)
			ms = deadline > now ? (int)MIN((deadline - now) / 1000000 + 1, 3600000ull)
					    : 0;
		n = poll(&polled, 1, ms);
		if (n > 0)
			return true;
		if (n == 0 && deadline && monotonic_ns() >= deadline)
			return false;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

/* Byte by byte: what follows the line belongs to the connection. */
static bool read_ok(int fd)
{
	u64 deadline = monotonic_ns() + HANDSHAKE_MS * 1000000ull;
	char line[OK_LINE_MAX];
	size_t n = 0;

	while (n < sizeof(line)) {
		if (!wait_for(fd, POLLIN, deadline) || read(fd, line + n, 1) != 1)
			return false;
		if (line[n++] == '\n')
			return n > 3 && !memcmp(line, "OK ", 3);
	}
	return false;
}

/* Asks for a connection; it is there when read_ok() says so. */
static int request_port(struct diag_client *client, unsigned port)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char request[32];
	int fd, n;

	if (!client->path[0])
		return fail(client, "%.80s: the name is too long", client->vm);
	memcpy(address.sun_path, client->path, sizeof(address.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(client, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		n = errno;
		close(fd);
		return n == ENOENT || n == ECONNREFUSED
			       ? fail(client, "no running VM '%s' (%s: %s)", client->vm,
				      client->path, strerror(n))
			       : fail(client, "%s: %s", client->path, strerror(n));
	}
	n = snprintf(request, sizeof(request), "CONNECT %u\n", port);
	/* a relay that hangs up already is noticed by read_ok */
	if (send(fd, request, (size_t)n, MSG_NOSIGNAL) == n || errno == EPIPE)
		return fd;
	n = errno;
	close(fd);
	return fail(client, "%s: %s", client->path, strerror(n));
}

static bool read_number(int fd, u64 *id)
{
	u64 deadline = monotonic_ns() + HANDSHAKE_MS * 1000000ull;
	u8 number[8];
	size_t used = 0;

	while (used < sizeof(number)) {
		ssize_t n = wait_for(fd, POLLIN, deadline)
				    ? read(fd, number + used, sizeof(number) - used)
				    : -1;

		if (n <= 0)
			return false;
		used += (size_t)n;
	}
	*id = get_le64(number);
	return true;
}

static bool connect_once(struct diag_client *client, struct diag_data *data, unsigned count)
{
	bool all = true;

	for (unsigned i = 0; i < count; i++) {
		data[i].fd = all ? request_port(client, DIAG_PORT_DATA) : -1;
		all &= data[i].fd >= 0;
	}
	if (all && client->control < 0) {
		client->control = request_port(client, DIAG_PORT_CONTROL);
		if (client->control >= 0 && !read_ok(client->control)) {
			close(client->control);
			client->control = -1;
			fail(client, "%s: the VM does not offer diagnostics, or not yet",
			     client->vm);
		}
		all = client->control >= 0;
	}
	for (unsigned i = 0; i < count && all; i++) {
		all = read_ok(data[i].fd) && read_number(data[i].fd, &data[i].id);
		if (!all)
			fail(client, "%s: the data connection was closed", client->vm);
	}
	for (unsigned i = 0; i < count && !all; i++) {
		if (data[i].fd >= 0)
			close(data[i].fd);
		data[i].fd = -1;
	}
	return all;
}

bool diag_connect(struct diag_client *client, struct diag_data *data, unsigned count)
{
	u64 deadline = monotonic_ns() + client->wait_s * 1000000000ull;

	while (!connect_once(client, data, count)) {
		if (monotonic_ns() >= deadline)
			return false;
		/* a VM that starts: the way of other clients, once a second */
		usleep(client->wait_s > 1 ? 1000000 : 100000);
	}
	return true;
}

int diag_data(struct diag_client *client, u64 *id)
{
	struct diag_data data;

	if (!diag_connect(client, &data, 1))
		return -1;
	*id = data.id;
	return data.fd;
}

bool diag_unsent(const struct diag_client *client)
{
	return client->out_sent < client->out.used;
}

bool diag_flush(struct diag_client *client)
{
	while (diag_unsent(client)) {
		ssize_t n = send(client->control, client->out.data + client->out_sent,
				 client->out.used - client->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0 && errno != EINTR) {
			client->out.used = client->out_sent = 0;
			fail(client, "connection lost");
			return false;
		}
		client->out_sent += n > 0 ? (size_t)n : 0;
	}
	client->out.used = client->out_sent = 0;
	return true;
}

/* A frame has been written to client->out. */
static bool send_frame(struct diag_client *client)
{
	if (!client->out.failed)
		return diag_flush(client);
	fail(client, "the request is too large");
	return false;
}

static u32 send_request(struct diag_client *client, const char *service, const char *method,
			const struct pb_writer *payload, u64 timeout_ns, bool open)
{
	struct ttrpc_request request = {.service = pb_text(service),
					.method = pb_text(method),
					.timeout_ns = timeout_ns,
					.open = open};

	if (payload && payload->failed) {
		fail(client, "the request is too large");
		return 0;
	}
	if (payload)
		request.payload = (struct pb_bytes){payload->data, payload->used};
	if (client->control < 0 && !diag_connect(client, NULL, 0))
		return 0;
	client->last_stream += 2;
	ttrpc_write_request(&client->out, client->last_stream, &request);
	return send_frame(client) ? client->last_stream : 0;
}

u32 diag_send(struct diag_client *client, const char *service, const char *method,
	      const struct pb_writer *payload, u64 timeout_ns)
{
	return send_request(client, service, method, payload, timeout_ns, false);
}

u32 diag_open(struct diag_client *client, const char *service, const char *method,
	      const struct pb_writer *payload)
{
	return send_request(client, service, method, payload, 0, true);
}

bool diag_send_data(struct diag_client *client, u32 stream, u8 flags, struct pb_bytes message)
{
	ttrpc_write_data(&client->out, stream, flags, message);
	return send_frame(client);
}

/* Empty without memory. data: free() it. */
static struct pb_bytes copy_bytes(struct pb_bytes bytes)
{
	u8 *copy = malloc(bytes.size + 1);

	if (!copy)
		return (struct pb_bytes){0};
	if (bytes.size)
		memcpy(copy, bytes.data, bytes.size);
	return (struct pb_bytes){copy, bytes.size};
}

/* Could it be the answer to a request? Others would only fill our memory. */
static bool is_expected(const struct diag_client *client, u32 stream)
{
	const struct diag_reply *reply = client->replies;

	while (reply && reply->stream != stream)
		reply = reply->next;
	return stream & 1 && stream <= client->last_stream && !reply;
}

static void keep_reply(struct diag_client *client, const struct ttrpc_frame *frame)
{
	struct diag_reply *reply = calloc(1, sizeof(*reply));
	struct ttrpc_response response;
	struct pb_bytes message = {0};

	if (!reply)
		return;
	reply->stream = frame->stream;
	if (frame->oversized) {
		reply->code = TTRPC_RESOURCE_EXHAUSTED;
		message = pb_text("the answer is too large");
	} else if (frame->type != TTRPC_RESPONSE) {
		reply->code = TTRPC_INTERNAL;
		message = pb_text("not an answer");
	} else if (!ttrpc_parse_response(frame->body, &response)) {
		reply->code = TTRPC_UNKNOWN;
		message = pb_text("malformed answer");
	} else {
		/* neither status nor payload: an empty success of servers other than OpenHCL */
		reply->code = response.code;
		message = response.message;
		reply->payload = copy_bytes(response.payload);
	}
	reply->message = pb_copy_text(message);
	if (reply->message)
		plain_text(reply->message, ' ');
	else
		reply->message = strdup("no readable reason");
	reply->next = client->replies;
	client->replies = reply;
}

bool diag_receive(struct diag_client *client)
{
	u8 buffer[16384];
	struct ttrpc_frame frame;
	ssize_t n = recv(client->control, buffer, sizeof(buffer), MSG_DONTWAIT);
	struct pb_bytes input = {buffer, n > 0 ? (size_t)n : 0};

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	while (ttrpc_receive(&client->receiver, &input, &frame)) {
		if (frame.type == TTRPC_DATA && client->data && !frame.oversized)
			client->data(client->data_context, frame.stream, frame.body);
		else if (is_expected(client, frame.stream))
			keep_reply(client, &frame);
	}
	if (n > 0 && !client->receiver.failed)
		return true;
	fail(client, "connection lost");
	return false;
}

void diag_discard(struct diag_client *client)
{
	while (client->replies) {
		struct diag_reply *next = client->replies->next;

		diag_reply_free(client->replies);
		client->replies = next;
	}
}

struct diag_reply *diag_take(struct diag_client *client, u32 stream)
{
	for (struct diag_reply **at = &client->replies; *at; at = &(*at)->next) {
		struct diag_reply *reply = *at;

		if (reply->stream == stream) {
			*at = reply->next;
			return reply;
		}
	}
	return NULL;
}

void diag_reply_free(struct diag_reply *reply)
{
	if (!reply)
		return;
	free(reply->message);
	free((void *)(uintptr_t)reply->payload.data);
	free(reply);
}

struct diag_reply *diag_call(struct diag_client *client, const char *service, const char *method,
			     const struct pb_writer *payload, u64 timeout_ns)
{
	u32 stream = diag_send(client, service, method, payload, timeout_ns);
	u64 deadline = timeout_ns ? monotonic_ns() + timeout_ns + SLACK_NS : 0;
	struct diag_reply *reply;

	if (!stream)
		return NULL;
	while (!(reply = diag_take(client, stream))) {
		if (!wait_for(client->control, diag_unsent(client) ? POLLIN | POLLOUT : POLLIN,
			      deadline)) {
			fail(client, "no answer in time");
			return NULL;
		}
		if (!diag_flush(client) || !diag_receive(client)) {
			/* it may have come together with the end */
			reply = diag_take(client, stream);
			break;
		}
	}
	return reply;
}

void diag_report(const char *method, const struct diag_reply *reply)
{
	if (reply->code == TTRPC_UNKNOWN && *reply->message)
		log_error("%s", reply->message);
	else
		log_error("%s: %s%s%s", method, ttrpc_code_name(reply->code),
			  *reply->message ? ": " : "", reply->message);
}

struct diag_reply *diag_demand(struct diag_client *client, const char *service, const char *method,
			       const struct pb_writer *payload, u64 timeout_ns)
{
	struct diag_reply *reply = diag_call(client, service, method, payload, timeout_ns);

	if (!reply) {
		log_error("%s", client->error);
		return NULL;
	}
	if (reply->code == TTRPC_OK)
		return reply;
	diag_report(method, reply);
	diag_reply_free(reply);
	return NULL;
}
