/* Answers to the diagnostics process. */
#include "paravisor/diag/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "paravisor/diag/link.h"

#define CLIENTS_MAX   4
#define REQUEST_BYTES (256u * 1024)
#define TREE_BYTES    (8 * MiB)
#define WORDS_MAX     256

static const char not_supported[] = "not supported by this paravisor";

struct request {
	char *path, *value; /* value NULL: only look */
	u32 depth;
	enum inspect_level level;
	char *argument[WORDS_MAX + 1], *environment[WORDS_MAX + 1];
	unsigned arguments, environments;
};

static void free_request(struct request *request)
{
	free(request->path);
	free(request->value);
	for (unsigned i = 0; i < request->arguments; i++)
		free(request->argument[i]);
	for (unsigned i = 0; i < request->environments; i++)
		free(request->environment[i]);
	free(request);
}

static bool set_text(char **text, struct pb_bytes bytes)
{
	free(*text);
	*text = pb_copy_text(bytes);
	return *text;
}

static bool add_word(char **list, unsigned *count, struct pb_bytes bytes)
{
	if (*count == WORDS_MAX)
		return false;
	list[*count] = pb_copy_text(bytes);
	return list[(*count)++];
}

static struct request *parse(struct pb_bytes payload)
{
	struct request *request = calloc(1, sizeof(*request));
	struct pb_reader r;
	struct pb_field f;
	bool good = request;

	pb_reader_init(&r, payload);
	if (request)
		request->level = INSPECT_SAFE;
	while (good && pb_next(&r, &f)) {
		if (pb_is(&r, &f, LINK_FIELD_PATH, PB_BYTES))
			good = set_text(&request->path, f.bytes);
		else if (pb_is(&r, &f, LINK_FIELD_VALUE, PB_BYTES))
			good = set_text(&request->value, f.bytes);
		else if (pb_is(&r, &f, LINK_FIELD_DEPTH, PB_VARINT))
			request->depth = (u32)MIN(f.value, (u64)INSPECT_DEPTH_ALL);
		else if (pb_is(&r, &f, LINK_FIELD_LEVEL, PB_VARINT))
			request->level = (enum inspect_level)MIN(f.value, (u64)INSPECT_SENSITIVE);
		else if (pb_is(&r, &f, LINK_FIELD_ARGUMENT, PB_BYTES))
			good = add_word(request->argument, &request->arguments, f.bytes);
		else if (pb_is(&r, &f, LINK_FIELD_ENVIRONMENT, PB_BYTES))
			good = add_word(request->environment, &request->environments, f.bytes);
	}
	if (good && !r.failed)
		return request;
	if (request)
		free_request(request);
	return NULL;
}

static const char *answer_inspect(const struct control_ops *ops, const struct request *request,
				  struct pb_writer *out)
{
	struct inspect_query query = {
		.path = request->path ? request->path : "",
		.update = request->value,
		.depth = request->depth,
		.level = request->level,
	};
	struct inspect_tree tree;
	struct inspect root;

	inspect_begin(&tree, &query, TREE_BYTES, &root);
	ops->inspect(ops->context, &root);
	inspect_finish(&tree);
	inspect_encode_node(out, tree.result);
	inspect_free(&tree);
	return out->failed ? "the answer is too large" : NULL;
}

static const char *answer(const struct control_ops *ops, const struct control_pending *pending,
			  struct request *request, struct pb_writer *out)
{
	switch (pending->request.op) {
	case LINK_INSPECT: return ops->inspect ? answer_inspect(ops, request, out) : not_supported;
	case LINK_START:
		return ops->start
			       ? ops->start(ops->context, request->argument, request->environment)
			       : not_supported;
	case LINK_RESTART:
		return ops->restart ? ops->restart(ops->context, pending) : not_supported;
	case LINK_PAUSE: return ops->pause ? ops->pause(ops->context) : not_supported;
	case LINK_RESUME: return ops->resume ? ops->resume(ops->context) : not_supported;
	case LINK_SAVE:
		if (!ops->save)
			return not_supported;
		return ops->save(ops->context, out);
	default: return not_supported;
	}
}

/* One request, whose pieces come one after the other. False when the client has to go. */
static bool serve_one(int listener, int fd, const struct control_ops *ops)
{
	struct control_pending pending = {.listener = listener, .client = fd};
	u8 *buffer = malloc(sizeof(struct link_header) + LINK_CHUNK);
	struct request *request = NULL;
	struct link_header header;
	struct pb_writer in, out;
	const char *wrong;
	bool good = false;

	pb_writer_init(&in, REQUEST_BYTES);
	pb_writer_init(&out, LINK_BYTES);
	do {
		ssize_t n = buffer ? recv(fd, buffer, sizeof(header) + LINK_CHUNK, 0) : -1;

		if (n < (ssize_t)sizeof(header))
			goto out;
		memcpy(&header, buffer, sizeof(header));
		pb_raw(&in, buffer + sizeof(header), (size_t)n - sizeof(header));
	} while (header.flags & LINK_MORE && !in.failed);
	request = in.failed ? NULL : parse((struct pb_bytes){in.data, in.used});
	if (!request)
		goto out;
	pending.request = header;
	wrong = answer(ops, &pending, request, &out);
	if (!wrong && out.failed)
		wrong = "the answer is too large";
	header.flags = wrong ? LINK_FAILED : 0;
	good = link_send(fd, header,
			 wrong ? pb_text(wrong) : (struct pb_bytes){out.data, out.used});
out:
	if (request)
		free_request(request);
	pb_writer_free(&in);
	pb_writer_free(&out);
	free(buffer);
	return good;
}

int control_listen(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, result;

	errno = ENAMETOOLONG;
	if (strlen(path) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	unlink(path);
	mask = umask(0177);
	result = bind(fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (result == 0 && listen(fd, CLIENTS_MAX) == 0)
		return fd;
	result = errno;
	close(fd);
	errno = result;
	return -1;
}

void control_serve(int listener, const struct control_ops *ops,
		   const struct control_pending *pending)
{
	struct pollfd polled[1 + CLIENTS_MAX] = {{.fd = listener, .events = POLLIN}};

	for (size_t i = 1; i < ARRAY_SIZE(polled); i++)
		polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	if (pending && pending->client >= 0) {
		const struct pb_bytes nothing = {0};

		link_send(pending->client, pending->request, nothing);
		polled[1].fd = pending->client;
	}
	for (;;) {
		bool room = false;

		for (size_t i = 1; i < ARRAY_SIZE(polled); i++)
			room |= polled[i].fd < 0;
		polled[0].events = room ? POLLIN : 0;
		if (poll(polled, ARRAY_SIZE(polled), -1) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		for (size_t i = 1; i < ARRAY_SIZE(polled); i++) {
			if (polled[i].fd < 0 || !polled[i].revents ||
			    serve_one(listener, polled[i].fd, ops))
				continue;
			close(polled[i].fd);
			polled[i].fd = -1;
		}
		if (polled[0].revents & ~POLLIN)
			return;
		if (!(polled[0].revents & POLLIN))
			continue;
		for (size_t i = 1; i < ARRAY_SIZE(polled); i++) {
			if (polled[i].fd >= 0)
				continue;
			polled[i].fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			polled[i].revents = 0;
			break;
		}
	}
}
