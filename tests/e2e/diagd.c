/*
 * The diagnostics server as a native program, for tests: unix sockets instead of vsock.
 *
 * usage: diagd CONTROL-SOCKET DATA-SOCKET [LINK-SOCKET]
 *
 * With LINK-SOCKET a thread plays the paravisor process. Its part of the tree has
 * vm/partition/vp/N, vm/slow (answers after 3 s), and vm/limit (can be changed).
 * OPENHCL_CONFIDENTIAL counts as in VTL2.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "paravisor/diag/control.h"
#include "paravisor/diag/server.h"

static u64 limit = 5, exits;
static bool paused;
static char filter[64] = "info";

static const char *set_limit(void *context, const char *text)
{
	return inspect_parse_u64(text, context);
}

static const char *set_filter(void *context, const char *text)
{
	snprintf(context, sizeof(filter), "%s", text);
	return NULL;
}

static void describe_vp(struct inspect *vp, u64 n)
{
	struct inspect stats, kinds;

	inspect_level(vp, INSPECT_SAFE);
	if (!inspect_enter(vp, "stats", &stats))
		return;
	exits += 1000;
	inspect_level(&stats, INSPECT_SAFE);
	inspect_counter(&stats, "vtl_transitions", exits);
	if (inspect_enter(&stats, "exits", &kinds)) {
		inspect_level(&kinds, INSPECT_SAFE);
		inspect_counter(&kinds, "port_in", exits / 2 + n);
		inspect_counter(&kinds, "hypercall", exits / 2);
	}
}

static void describe(void *context, struct inspect *root)
{
	struct inspect vm, dir, vp;

	(void)context;
	inspect_level(root, INSPECT_SAFE);
	inspect_text(root, "control_state", paused ? "paused" : "started");
	inspect_text_rw(root, "trace/filter", filter, set_filter, filter);
	if (!inspect_enter(root, "vm", &vm))
		return;
	inspect_level(&vm, INSPECT_UNSPECIFIED);
	inspect_u64_rw(&vm, "limit", &limit, set_limit, &limit);
	if (inspect_enter(&vm, "slow", &dir)) {
		sleep(3);
		inspect_bool(&dir, "done", true);
	}
	inspect_level(&vm, INSPECT_SAFE);
	if (!inspect_enter(&vm, "partition", &dir))
		return;
	inspect_level(&dir, INSPECT_SAFE);
	for (u64 n = 0; n < 2; n++) {
		char name[16];

		snprintf(name, sizeof(name), "vp/%u", (unsigned)n);
		if (inspect_enter(&dir, name, &vp))
			describe_vp(&vp, n);
	}
}

static const char *pause_vm(void *context)
{
	(void)context;
	if (paused)
		return "already paused";
	paused = true;
	return NULL;
}

static const char *resume_vm(void *context)
{
	(void)context;
	if (!paused)
		return "not paused";
	paused = false;
	return NULL;
}

static const char *restart_vm(void *context, const struct control_pending *pending)
{
	(void)context;
	(void)pending;
	sleep(1);
	return NULL;
}

static const char *start_vm(void *context, char **arguments, char **environment)
{
	(void)context;
	return arguments[0] && environment[0] ? "started already" : NULL;
}

static const char *save_vm(void *context, struct pb_writer *out)
{
	static u8 state[100000];

	(void)context;
	memset(state, 's', sizeof(state));
	pb_raw(out, state, sizeof(state));
	return NULL;
}

static void *play_paravisor(void *path)
{
	const struct control_ops ops = {
		.inspect = describe,
		.start = start_vm,
		.restart = restart_vm,
		.pause = pause_vm,
		.resume = resume_vm,
		.save = save_vm,
	};
	int listener = control_listen(path);
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	if (listener >= 0)
		control_serve(listener, &ops, NULL);
	fprintf(stderr, "link: %s\n", strerror(errno));
	return NULL;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 100)) {
		perror(path);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct diag_options options = {0};
	pthread_t thread;

	if (argc < 3)
		return 2;
	log_set_name("diagd");
	policy_read(&options.policy, getenv);
	options.control_listener = listen_unix(argv[1]);
	options.data_listener = listen_unix(argv[2]);
	options.link_path = argc > 3 ? argv[3] : NULL;
	if (argc > 3 && pthread_create(&thread, NULL, play_paravisor, argv[3]))
		return 1;
	return diag_serve(&options);
}
