/*
 * parapet shell, parapet exec: a program in VTL2 with our own standard streams.
 *
 * The protocol has no message for a window size. Our own server takes it in a field of Exec that
 * others ignore, and later in a call of its own; for other servers LINES and COLUMNS stand in the
 * environment, and a change is made by `stty` on the program's terminal, as far as there is one.
 */
#include "host/diag/commands.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "host/diag/options.h"
#include "host/diag/terminal.h"

#define EXIT_UNKNOWN	  125 /* as env and others: the program's own code is not known */
#define EXEC_WINDOW_FIELD 1000
#define REQUEST_MAX	  (1u << 20)
/* What a pipe takes without making the writer wait, once poll calls it writable */
#define PIECE 4096u

enum { IN, OUT, ERR, STREAMS };
enum tty_choice { TTY_AUTO, TTY_ALWAYS, TTY_NEVER };

struct stream {
	int from, to; /* -1: at its end */
	size_t at, used;
	char buffer[PIECE + 1];
};

struct session {
	struct diag_client client;
	struct diag_common common;
	struct pb_writer request; /* Exec without streams and terminal */
	struct stream stream[STREAMS];
	enum tty_choice tty_choice;
	bool tty, raw, no_input, combine, own_server, escape;
	int escape_state, signal_fd, last_signal;
	u64 id[STREAMS], pid;
	u32 wait_stream, signal_stream; /* calls without an answer yet; 0: none */
};

/* --- window size */

static void send_window(struct session *s)
{
	char command[128];
	struct pb_writer w;
	u16 rows, columns;

	if (!terminal_size(&rows, &columns))
		return;
	pb_writer_init(&w, 4096);
	if (s->own_server) {
		pb_put_u64(&w, 1, s->pid);
		pb_put_u64(&w, 2, rows);
		pb_put_u64(&w, 3, columns);
		diag_send(&s->client, DIAG_OWN, "WindowSize", &w, 0);
	} else {
		snprintf(command, sizeof(command),
			 "stty rows %u cols %u </proc/%llu/fd/0 2>/dev/null", rows, columns,
			 (unsigned long long)s->pid);
		pb_put_text(&w, 1, "/bin/sh");
		pb_put_text(&w, 2, "-c");
		pb_put_text(&w, 2, command);
		/* the answer does not matter, nor how it ends */
		diag_send(&s->client, DIAG_SERVICE, "Exec", &w, 0);
	}
	pb_writer_free(&w);
}

static void put_variable(struct pb_writer *w, const char *name, const char *value)
{
	size_t pair = pb_begin(w, 8);

	pb_put_text(w, 1, name);
	if (value)
		pb_put_bytes_always(w, 2, pb_text(value));
	pb_end(w, pair);
}

static void put_terminal(struct session *s, struct pb_writer *w)
{
	const char *term = getenv("TERM");
	char text[16];
	u16 rows, columns;
	size_t mark;

	pb_put_u64(w, 3, 1);
	put_variable(w, "TERM", term && *term ? term : "xterm-256color");
	if (!terminal_size(&rows, &columns))
		return;
	if (s->own_server) {
		mark = pb_begin(w, EXEC_WINDOW_FIELD);
		pb_put_u64(w, 1, rows);
		pb_put_u64(w, 2, columns);
		pb_end(w, mark);
		return;
	}
	snprintf(text, sizeof(text), "%u", rows);
	put_variable(w, "LINES", text);
	snprintf(text, sizeof(text), "%u", columns);
	put_variable(w, "COLUMNS", text);
}

/* --- start */

static bool open_streams(struct session *s)
{
	struct diag_data data[STREAMS];
	unsigned count = 0;
	bool wanted[STREAMS] = {[IN] = !s->no_input, [OUT] = true, [ERR] = !s->tty && !s->combine};

	for (int i = 0; i < STREAMS; i++)
		count += wanted[i];
	if (!diag_connect(&s->client, data, count)) {
		log_error("%s", s->client.error);
		return false;
	}
	for (int i = STREAMS - 1; i >= 0; i--) {
		int fd = wanted[i] ? data[--count].fd : -1;

		s->stream[i].from = s->stream[i].to = -1;
		if (fd < 0)
			continue;
		s->id[i] = data[count].id;
		s->stream[i].from = i == IN ? STDIN_FILENO : fd;
		s->stream[i].to = i == IN ? fd : i == OUT ? STDOUT_FILENO : STDERR_FILENO;
	}
	return true;
}

static bool start_program(struct session *s)
{
	struct diag_reply *reply;
	struct pb_writer w;
	struct pb_reader r;
	struct pb_field f;

	if (s->tty) {
		reply = diag_call(&s->client, DIAG_OWN, "Ping", NULL, 0);
		if (!reply) {
			log_error("%s", s->client.error);
			return false;
		}
		s->own_server = reply->code == TTRPC_OK;
		diag_reply_free(reply);
		put_terminal(s, &s->request);
	}
	for (u32 i = 0; i < STREAMS; i++)
		pb_put_u64(&s->request, 4 + i, s->id[i]);
	pb_put_u64(&s->request, 7, s->combine);
	pb_put_u64(&s->request, 10, s->raw && !s->tty);
	reply = diag_demand(&s->client, DIAG_SERVICE, "Exec", &s->request, 0);
	if (!reply)
		return false;
	pb_reader_init(&r, reply->payload);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_VARINT))
			s->pid = f.value;
	}
	diag_reply_free(reply);
	if (r.failed) {
		log_error("Exec: malformed answer");
		return false;
	}
	pb_writer_init(&w, 64);
	pb_put_u64(&w, 1, s->pid);
	s->wait_stream = diag_send(&s->client, DIAG_SERVICE, "Wait", &w, 0);
	pb_writer_free(&w);
	if (!s->wait_stream)
		log_error("%s", s->client.error);
	return s->wait_stream;
}

/* --- while it runs */

static void end_stream(struct session *s, int i)
{
	struct stream *stream = &s->stream[i];

	if (i == IN && stream->to >= 0)
		shutdown(stream->to, SHUT_WR);
	/*
	 * Not closed before we end: taking a channel apart is work for VTL2, which would hold up
	 * what it still has to tell us.
	 */
	stream->from = -1;
}

/* Takes what is there. False when the user leaves. */
static bool read_stream(struct session *s, int i)
{
	struct stream *stream = &s->stream[i];
	bool leave = false;
	/* one byte of room: see terminal_escape */
	ssize_t n = read(stream->from, stream->buffer, PIECE);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		end_stream(s, i);
		return true;
	}
	stream->at = 0;
	stream->used = (size_t)n;
	if (i == IN && s->escape)
		stream->used = terminal_escape(&s->escape_state, stream->buffer, stream->used,
					       &leave);
	return !leave;
}

static bool write_stream(struct session *s, int i)
{
	struct stream *stream = &s->stream[i];
	size_t left = stream->used - stream->at;
	ssize_t n = i == IN ? send(stream->to, stream->buffer + stream->at, left,
				   MSG_NOSIGNAL | MSG_DONTWAIT)
			    : write(stream->to, stream->buffer + stream->at, left);

	if (n >= 0) {
		stream->at += (size_t)n;
		return true;
	}
	if (errno == EINTR || errno == EAGAIN)
		return true;
	stream->at = stream->used = 0;
	if (i == IN) {
		/* the program has closed its input */
		stream->from = -1;
		return true;
	}
	return false;
}

/* -1: go on; else how we end */
static int handle_signal(struct session *s)
{
	struct signalfd_siginfo info;
	struct pb_writer w;

	if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
		return -1;
	if (info.ssi_signo == SIGWINCH) {
		if (s->tty)
			send_window(s);
		return -1;
	}
	/* a VM that has not even taken the last one must not hold its user */
	if (s->tty || !s->pid || s->signal_stream)
		return 128 + (int)info.ssi_signo;
	pb_writer_init(&w, 64);
	pb_put_u64(&w, 1, s->pid);
	pb_put_u64(&w, 2, info.ssi_signo);
	s->signal_stream = diag_send(&s->client, DIAG_OWN, "Signal", &w, 0);
	s->last_signal = (int)info.ssi_signo;
	pb_writer_free(&w);
	return s->signal_stream ? -1 : 128 + s->last_signal;
}

/* Has the signal been passed on? -1: go on; else how we end: the server knows no signals. */
static int take_signal_reply(struct session *s)
{
	struct diag_reply *reply = s->signal_stream ? diag_take(&s->client, s->signal_stream)
						    : NULL;
	bool unknown;

	if (!reply)
		return -1;
	unknown = reply->code == TTRPC_UNIMPLEMENTED;
	diag_reply_free(reply);
	s->signal_stream = 0;
	return unknown ? 128 + s->last_signal : -1;
}

static int exit_code(const struct diag_reply *reply)
{
	struct pb_reader r;
	struct pb_field f;
	int code = 0;

	if (reply->code != TTRPC_OK) {
		log_error("Wait: %s", reply->message);
		return EXIT_UNKNOWN;
	}
	pb_reader_init(&r, reply->payload);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_VARINT))
			code = (int)(f.value & 0xff);
	}
	return r.failed ? EXIT_UNKNOWN : code;
}

/* Moves bytes until the program has ended and all of its output is here. */
static int run_session(struct session *s)
{
	struct pollfd polled[STREAMS + 2];
	int code = -1, result;

	for (;;) {
		const struct stream *out = &s->stream[OUT], *err = &s->stream[ERR];
		struct diag_reply *reply = code < 0 ? diag_take(&s->client, s->wait_stream) : NULL;

		if (reply) {
			code = exit_code(reply);
			diag_reply_free(reply);
		}
		if (code >= 0 && out->from < 0 && err->from < 0 && out->at == out->used &&
		    err->at == err->used)
			return code;
		for (int i = 0; i < STREAMS; i++) {
			const struct stream *stream = &s->stream[i];
			bool full = stream->at < stream->used;

			polled[i].fd = full ? stream->to : stream->from;
			polled[i].events = full ? POLLOUT : POLLIN;
			polled[i].revents = 0;
		}
		/* nobody reads it any more */
		if (code >= 0)
			polled[IN].fd = -1;
		polled[STREAMS] = (struct pollfd){.fd = s->client.control, .events = POLLIN};
		polled[STREAMS + 1] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
		if (code >= 0)
			polled[STREAMS].fd = -1;
		if (poll(polled, STREAMS + 2, -1) < 0 && errno != EINTR)
			return EXIT_UNKNOWN;
		for (int i = 0; i < STREAMS; i++) {
			struct stream *stream = &s->stream[i];

			if (!polled[i].revents)
				continue;
			if (stream->at < stream->used) {
				if (!write_stream(s, i))
					return 128 + SIGPIPE;
			} else if (!read_stream(s, i)) {
				return 128 + SIGHUP;
			}
		}
		if (polled[STREAMS].revents && !diag_receive(&s->client)) {
			reply = diag_take(&s->client, s->wait_stream);
			if (!reply) {
				terminal_restore();
				log_error("%s", s->client.error);
				return EXIT_UNKNOWN;
			}
			code = exit_code(reply);
			diag_reply_free(reply);
		}
		result = take_signal_reply(s);
		if (result >= 0)
			return result;
		if (polled[STREAMS + 1].revents) {
			result = handle_signal(s);
			if (result >= 0)
				return result;
		}
	}
}

static int catch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Then the program gets VTL2's own, which spares a connection. */
static bool input_is_null_device(void)
{
	struct stat input, null;

	return !fstat(STDIN_FILENO, &input) && !stat("/dev/null", &null) &&
	       S_ISCHR(input.st_mode) && input.st_rdev == null.st_rdev;
}

static int session_main(struct session *s)
{
	int code = EXIT_UNKNOWN;

	s->tty = s->tty_choice == TTY_ALWAYS ||
		 (s->tty_choice == TTY_AUTO && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
	s->no_input |= !s->tty && input_is_null_device();
	diag_client_init(&s->client, s->common.vm, s->common.wait_s);
	if (open_streams(s)) {
		s->signal_fd = catch_signals();
		if (start_program(s)) {
			if (s->tty && isatty(STDIN_FILENO) && !s->no_input)
				s->escape = terminal_raw(false);
			code = run_session(s);
			terminal_restore();
		}
	}
	diag_client_close(&s->client);
	pb_writer_free(&s->request);
	return code;
}

/* --- command lines */

static const char exec_usage[] =
	"usage: parapet exec [options] VM [--] PROGRAM [ARGUMENT...]\n"
	"\n"
	"Runs a program in VTL2 with our standard input, output and error, and ends with its exit\n"
	"code (255: ended by a signal; 125: could not be run, or the connection was lost).\n"
	"SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to it; when the VM does not take one,\n"
	"the next ends the command.\n"
	"\n"
	"  -t, --tty               give it a terminal\n"
	"  -n, --no-input          its standard input is /dev/null\n"
	"  -e, --env NAME=VALUE    set a variable; NAME alone removes it\n"
	"  -c, --clear-env         start with an empty environment\n"
	"  -2, --combine-stderr    its standard error goes to standard output\n"
	"  -r, --raw               its streams are the sockets themselves\n";

static const char shell_usage[] =
	"usage: parapet shell [options] VM [SHELL [ARGUMENT...]]\n"
	"\n"
	"Opens a shell (default /bin/sh) on a terminal in VTL2, and ends with its exit code.\n"
	"Without a terminal of our own it reads commands from standard input. After a newline,\n"
	"~. ends the connection and ~~ sends a ~.\n"
	"\n"
	"  -t, --tty               a terminal in any case\n"
	"  -T, --no-tty            no terminal in any case\n"
	"  -e, --env NAME=VALUE    set a variable; NAME alone removes it\n";

static bool add_variable(struct session *s, char *text)
{
	char *equals = strchr(text, '=');

	if (equals == text) {
		log_error("--env %s: no name", text);
		return false;
	}
	if (equals)
		*equals = 0;
	put_variable(&s->request, text, equals ? equals + 1 : NULL);
	return true;
}

/* Everything but the program and its words. False: end with s->common.exit. */
static bool parse(struct session *s, int argc, char **argv, const char *short_options,
		  const struct option *options, const char *name, const char *usage)
{
	int option;

	diag_common_init(&s->common);
	pb_writer_init(&s->request, REQUEST_MAX);
	while (s->common.exit < 0 &&
	       (option = getopt_long(argc, argv, short_options, options, NULL)) >= 0) {
		switch (option) {
		case 't': s->tty_choice = TTY_ALWAYS; break;
		case 'T': s->tty_choice = TTY_NEVER; break;
		case 'n': s->no_input = true; break;
		case 'c': pb_put_u64(&s->request, 9, 1); break;
		case '2': s->combine = true; break;
		case 'r': s->raw = true; break;
		case 'e':
			if (!add_variable(s, optarg))
				s->common.exit = DIAG_EXIT_USAGE;
			break;
		default: diag_common_option(&s->common, option, name, usage); break;
		}
	}
	return s->common.exit < 0 && diag_common_vm(&s->common, argc, argv, name);
}

int diag_exec_command(int argc, char **argv)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"tty", no_argument, NULL, 't'},
		{"no-input", no_argument, NULL, 'n'},
		{"env", required_argument, NULL, 'e'},
		{"clear-env", no_argument, NULL, 'c'},
		{"combine-stderr", no_argument, NULL, '2'},
		{"raw", no_argument, NULL, 'r'},
		{0},
	};
	static struct session s;

	s = (struct session){.tty_choice = TTY_NEVER};
	if (!parse(&s, argc, argv, "+tne:c2r", options, "exec", exec_usage))
		return s.common.exit;
	if (optind < argc && !strcmp(argv[optind], "--"))
		optind++;
	if (optind >= argc) {
		log_error("which program? see 'parapet exec --help'");
		return DIAG_EXIT_USAGE;
	}
	pb_put_text(&s.request, 1, argv[optind++]);
	while (optind < argc)
		pb_put_bytes_always(&s.request, 2, pb_text(argv[optind++]));
	return session_main(&s);
}

int diag_shell_command(int argc, char **argv)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"tty", no_argument, NULL, 't'},
		{"no-tty", no_argument, NULL, 'T'},
		{"env", required_argument, NULL, 'e'},
		{0},
	};
	static struct session s;

	s = (struct session){.tty_choice = TTY_AUTO};
	if (!parse(&s, argc, argv, "+tTe:", options, "shell", shell_usage))
		return s.common.exit;
	pb_put_text(&s.request, 1, optind < argc ? argv[optind++] : "/bin/sh");
	while (optind < argc)
		pb_put_bytes_always(&s.request, 2, pb_text(argv[optind++]));
	return session_main(&s);
}
