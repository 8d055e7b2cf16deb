#include "host/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "host/hostlink.h"
#include "host/kvp.h"

#define MAX_CLIENTS 8
#define SPEAK_MS    5000

struct client {
	struct control *owner;
	struct iothread_file file;
	struct iothread_timer silence;
	char line[KVP_LINE_MAX];
	size_t len;
	bool used;
	struct kvp_job job; /* while it runs, the client waits */
};

struct control {
	struct vm *vm;
	struct ic *ic;
	struct iothread *io;
	struct iothread_file listener;
	struct client client[MAX_CLIENTS];
};

/* --- answers */

void control_write_guest(FILE *f, struct ic *ic)
{
	struct ic_info info;

	ic_describe(ic, &info);
	fprintf(f,
		"{\"shutdown\": %s, \"heartbeat\": %s, \"timesync\": %s, \"kvp\": %s, "
		"\"heartbeats\": %llu, \"heartbeat_age_ms\": %lld, \"time_samples\": %llu, "
		"\"pairs\": {",
		info.shutdown ? "true" : "false", info.heartbeat ? "true" : "false",
		info.timesync ? "true" : "false", info.kvp ? "true" : "false",
		(unsigned long long)info.heartbeats,
		info.heartbeat_age_ms == UINT64_MAX ? -1ll : (long long)info.heartbeat_age_ms,
		(unsigned long long)info.time_samples);
	/* no character in them needs escaping */
	for (unsigned i = 0; i < info.pairs; i++)
		fprintf(f, "%s\"%s\": \"%s\"", i ? ", " : "", info.pair[i].key, info.pair[i].value);
	fprintf(f, "}}");
}

static void shut_down(struct control *c, bool reboot, FILE *f)
{
	if (ic_shutdown(c->ic, reboot)) {
		fprintf(f, "{\"ok\": true, \"by\": \"VMBus\"}\n");
	} else if (reboot) {
		fprintf(f, "{\"ok\": false, \"error\": \"the guest has no shutdown driver\"}\n");
	} else {
		hostlink_send(c->vm, HOSTLINK_SHUTDOWN, 0, (const u8 *)"", 0);
		fprintf(f, "{\"ok\": true, \"by\": \"power button\"}\n");
	}
}

static void answer(struct control *c, const char *word, FILE *f)
{
	if (!strcmp(word, "status")) {
		fprintf(f, "{\"ok\": true, \"guest\": ");
		control_write_guest(f, c->ic);
		fprintf(f, "}\n");
	} else if (!strcmp(word, "shutdown") || !strcmp(word, "reboot")) {
		shut_down(c, !strcmp(word, "reboot"), f);
	} else {
		fprintf(f, "{\"ok\": false, \"error\": \"unknown word\"}\n");
	}
}

/* --- connections */

static void leave(struct client *client)
{
	struct control *c = client->owner;

	kvp_job_cancel(&client->job);
	iothread_unwatch(c->io, &client->file);
	iothread_disarm(c->io, &client->silence);
	close(client->file.fd);
	client->used = false;
	if (!c->listener.events) {
		c->listener.events = EPOLLIN;
		iothread_watch(c->io, &c->listener);
	}
}

static void say(struct client *client, const char *text, size_t size)
{
	if (send(client->file.fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("control: %s", strerror(errno));
}

static void reply(struct client *client)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (f) {
		answer(client->owner, client->line, f);
		if (!fclose(f))
			say(client, text, size);
	}
	free(text);
}

static void on_pairs(void *ctx, const char *line)
{
	struct client *client = ctx;

	say(client, line, strlen(line));
	leave(client);
}

static void serve(struct client *client)
{
	struct control *c = client->owner;

	if (!strncmp(client->line, "kvp ", 4)) {
		/* the guest's time, no longer the client's */
		iothread_disarm(c->io, &client->silence);
		kvp_job_start(&client->job, c->ic, client->line + 4, on_pairs, client);
		return;
	}
	reply(client);
	leave(client);
}

static void ready(struct iothread_file *file, u32 events)
{
	struct client *client = (struct client *)((u8 *)file - offsetof(struct client, file));
	bool waits = client->job.running;
	size_t room = sizeof(client->line) - 1 - client->len;
	char more[64], *end;
	ssize_t n = waits ? read(file->fd, more, sizeof(more))
			  : read(file->fd, client->line + client->len, room);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(client);
		return;
	}
	/* what follows the line does not count */
	if (waits)
		return;
	client->len += (size_t)n;
	client->line[client->len] = 0;
	end = strchr(client->line, '\n');
	if (!end && client->len < sizeof(client->line) - 1)
		return;
	if (end)
		*end = 0;
	serve(client);
}

static void silent(struct iothread_timer *timer)
{
	leave((struct client *)((u8 *)timer - offsetof(struct client, silence)));
}

static void accept_client(struct iothread_file *file, u32 events)
{
	struct control *c = (struct control *)((u8 *)file - offsetof(struct control, listener));

	(void)events;
	for (unsigned i = 0; i < MAX_CLIENTS; i++) {
		struct client *client = &c->client[i];
		int fd;

		if (client->used)
			continue;
		fd = accept4(file->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		*client = (struct client){
			.owner = c,
			.used = true,
			.file = {.fd = fd, .events = EPOLLIN, .ready = ready},
			.silence = {.expired = silent},
		};
		iothread_arm(c->io, &client->silence, SPEAK_MS);
		if (iothread_watch(c->io, &client->file))
			leave(client);
	}
	/* the rest wait until one has left */
	c->listener.events = 0;
	iothread_watch(c->io, &c->listener);
}

/* --- life */

struct control *control_create(struct vm *vm, struct ic *ic, int listener)
{
	struct control *c = calloc(1, sizeof(*c));
	int ret = -ENOMEM;

	if (c) {
		c->vm = vm;
		c->ic = ic;
		c->io = vmbus_iothread(vm->vmbus);
		c->listener = (struct iothread_file){
			.fd = listener, .events = EPOLLIN, .ready = accept_client};
		iothread_lock(c->io);
		ret = iothread_watch(c->io, &c->listener);
		iothread_unlock(c->io);
	}
	if (!ret)
		return c;
	log_error("control socket: %s", strerror(-ret));
	free(c);
	return NULL;
}

void control_destroy(struct control *c)
{
	if (!c)
		return;
	iothread_lock(c->io);
	for (unsigned i = 0; i < MAX_CLIENTS; i++)
		if (c->client[i].used)
			leave(&c->client[i]);
	iothread_unwatch(c->io, &c->listener);
	iothread_unlock(c->io);
	free(c);
}
