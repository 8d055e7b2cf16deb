/* The asking side of the local link. */
#include "paravisor/diag/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"

struct link_request {
	struct link_request *next;
	link_answer_fn answer;
	void *context;
	struct pb_writer received;
	u32 id;
	u16 op;
};

bool link_send(int fd, struct link_header header, struct pb_bytes payload)
{
	u16 flags = header.flags;
	size_t at = 0;

	do {
		size_t n = MIN(payload.size - at, (size_t)LINK_CHUNK);
		struct iovec part[] = {{&header, sizeof(header)},
				       {n ? (void *)(payload.data + at) : NULL, n}};
		struct msghdr message = {.msg_iov = part, .msg_iovlen = n ? 2 : 1};

		at += n;
		header.flags = (u16)(at < payload.size ? flags | LINK_MORE : flags);
		while (sendmsg(fd, &message, MSG_NOSIGNAL) < 0) {
			if (errno != EINTR)
				return false;
		}
	} while (at < payload.size);
	return true;
}

static void finish(struct link *link, struct link_request **at, bool failed, struct pb_bytes answer)
{
	struct link_request *request = *at;
	link_answer_fn answer_fn = request->answer;
	void *context = request->context;
	struct pb_writer received = request->received;

	*at = request->next;
	link->waiting--;
	free(request);
	if (answer_fn)
		answer_fn(context, failed, answer);
	pb_writer_free(&received);
}

static void disconnect(struct link *link, const char *why)
{
	loop_remove(link->loop, link->fd);
	close(link->fd);
	link->fd = -1;
	log_info("link to the paravisor: %s", why);
	while (link->requests)
		finish(link, &link->requests, true, pb_text("the paravisor process has ended"));
}

static bool take_message(struct link *link, const u8 *data, size_t size)
{
	struct link_request **at = &link->requests;
	struct link_header header;
	struct pb_writer *received;

	if (size < sizeof(header))
		return false;
	memcpy(&header, data, sizeof(header));
	while (*at && (*at)->id != header.id)
		at = &(*at)->next;
	if (!*at || (*at)->op != header.op)
		return false;
	received = &(*at)->received;
	pb_raw(received, data + sizeof(header), size - sizeof(header));
	if (received->failed)
		return false;
	if (!(header.flags & LINK_MORE))
		finish(link, at, header.flags & LINK_FAILED,
		       (struct pb_bytes){received->data, received->used});
	return true;
}

static void on_event(struct loop_handler *handler, u32 events)
{
	static u8 buffer[sizeof(struct link_header) + LINK_CHUNK];
	struct link *link = (struct link *)handler;
	struct iovec part = {buffer, sizeof(buffer)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t n;

	(void)events;
	n = recvmsg(link->fd, &message, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		disconnect(link, "closed");
	else if (message.msg_flags & MSG_TRUNC || !take_message(link, buffer, (size_t)n))
		disconnect(link, "malformed answer");
}

void link_init(struct link *link, struct loop *loop, const char *path)
{
	*link = (struct link){.handler = {on_event}, .loop = loop, .path = path, .fd = -1};
}

void link_free(struct link *link)
{
	if (link->fd >= 0)
		disconnect(link, "not needed any more");
}

bool link_connected(struct link *link)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (link->fd >= 0)
		return true;
	if (!link->path || strlen(link->path) >= sizeof(address.sun_path))
		return false;
	strcpy(address.sun_path, link->path);
	link->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->fd < 0)
		return false;
	if (connect(link->fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    loop_add(link->loop, link->fd, EPOLLIN, &link->handler))
		return true;
	close(link->fd);
	link->fd = -1;
	return false;
}

bool link_ask(struct link *link, enum link_op op, struct pb_bytes request, link_answer_fn answer,
	      void *context, const char **reason)
{
	struct link_request *waiting;

	*reason = "the paravisor process does not run";
	if (!link_connected(link))
		return false;
	*reason = "the paravisor process is busy";
	waiting = link->waiting < LINK_WAITING ? calloc(1, sizeof(*waiting)) : NULL;
	if (!waiting)
		return false;
	*waiting = (struct link_request){.next = link->requests,
					 .answer = answer,
					 .context = context,
					 .id = ++link->last_id,
					 .op = (u16)op};
	pb_writer_init(&waiting->received, LINK_BYTES);
	if (!link_send(link->fd, (struct link_header){.id = waiting->id, .op = (u16)op}, request)) {
		free(waiting);
		return false;
	}
	link->requests = waiting;
	link->waiting++;
	return true;
}

void link_cancel(struct link *link, void *context)
{
	for (struct link_request *r = link->requests; r; r = r->next) {
		if (r->context == context)
			r->answer = NULL;
	}
}
