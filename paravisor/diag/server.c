/* The diagnostics server: listeners, signals, life and end. */
#include "paravisor/diag/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

static void on_connection(struct loop_handler *handler, u32 events)
{
	struct listener *listener = (struct listener *)handler;
	struct diag_server *server = listener->server;
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0) {
		if (listener == &server->control)
			conn_accept(server, fd);
		else
			data_accept(&server->data, fd);
		return;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		/* the connection stays in the queue: do not turn in circles over it */
		log_warn("accept: %s", strerror(errno));
		usleep(10000);
	}
}

static bool listen_on(struct diag_server *server, struct listener *listener, int fd)
{
	*listener = (struct listener){{on_connection}, server, fd};
	return loop_add(&server->loop, fd, EPOLLIN, &listener->handler);
}

static void on_signal(struct loop_handler *handler, u32 events)
{
	struct diag_server *server = (struct diag_server *)((u8 *)handler -
							    offsetof(struct diag_server, signals));
	struct signalfd_siginfo info;

	(void)events;
	while (read(server->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGTERM)
			server->loop.stop = true;
	}
	/* signals of several programs may have become one */
	child_reap(&server->children);
}

static bool catch_signals(struct diag_server *server)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	server->signals.ready = on_signal;
	server->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return server->signal_fd >= 0 &&
	       loop_add(&server->loop, server->signal_fd, EPOLLIN, &server->signals);
}

int diag_serve(const struct diag_options *options)
{
	static struct diag_server server;

	server = (struct diag_server){.policy = options->policy, .revision = options->revision};
	snprintf(server.filter, sizeof(server.filter), "info");
	if (!loop_init(&server.loop) || !catch_signals(&server) ||
	    !listen_on(&server, &server.control, options->control_listener) ||
	    !listen_on(&server, &server.data_listener, options->data_listener)) {
		log_error("diagnostics cannot start: %s", strerror(errno));
		return 1;
	}
	data_init(&server.data, &server.loop);
	child_init(&server.children, &server.loop);
	link_init(&server.link, &server.loop, options->link_path);
	if (policy_refusal(&server.policy, POLICY_DIAGNOSE))
		log_info("diagnostics: confidential VM, safe inspect nodes only");
	loop_run(&server.loop);
	conn_close_all(&server);
	child_free(&server.children);
	data_free(&server.data);
	link_free(&server.link);
	close(server.signal_fd);
	close(options->control_listener);
	close(options->data_listener);
	loop_free(&server.loop);
	return 0;
}
