/*
 * A program in VTL2 with our own standard streams.
 *
 * Our own server carries them in the call that starts the program (common/diag/run.h). With others,
 * and for a program that is to have sockets, each stream has its data connection. Their protocol
 * has no message for a window size either: LINES and COLUMNS stand in the environment, and a change
 * is made by `stty` on the program's terminal, as far as there is one.
 */
#include "host/diag/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/diag/run.h"
#include "common/log.h"
#include "host/diag/terminal.h"

#define REQUEST_MAX (1u << 20)
/* What a pipe takes without making the writer wait, once poll calls it writable */
#define PIECE 4096u
/* Of input in a frame */
#define INPUT_PIECE 16384u

enum { IN = SESSION_IN, OUT = SESSION_OUT, ERR = SESSION_ERR, STREAMS = SESSION_STREAMS };

void session_init(struct session *s, struct diag_client *client)
{
	*s = (struct session){.client = client, .signal_fd = -1, .credit = RUN_WINDOW};
	pb_writer_init(&s->request, REQUEST_MAX);
	for (int i = 0; i < STREAMS; i++) {
		s->stream[i].from = s->stream[i].to = -1;
		pb_writer_init(&s->stream[i].buffer, 2 * TTRPC_BODY_MAX);
	}
}

static void session_free(struct session *s)
{
	pb_writer_free(&s->request);
	for (int i = 0; i < STREAMS; i++)
		pb_writer_free(&s->stream[i].buffer);
}

static void put_variable(struct pb_writer *w, const char *name, const char *value)
{
	size_t pair = pb_begin(w, 8);

	pb_put_text(w, 1, name);
	if (value)
		pb_put_bytes_always(w, 2, pb_text(value));
	pb_end(w, pair);
}

void session_variable(struct session *s, const char *name, const char *value)
{
	put_variable(&s->request, name, value);
}

/* --- window size */

static void send_window(struct session *s)
{
	char command[128];
	struct pb_writer w;
	u16 rows, columns;

	if (!terminal_size(&rows, &columns))
		return;
	pb_writer_init(&w, 4096);
	if (s->attached) {
		pb_put_u64(&w, 1, s->pid);
		pb_put_u64(&w, 2, rows);
		pb_put_u64(&w, 3, columns);
		diag_send(s->client, DIAG_OWN, "WindowSize", &w, 0);
	} else {
		snprintf(command, sizeof(command),
			 "stty rows %u cols %u </proc/%llu/fd/0 2>/dev/null", rows, columns,
			 (unsigned long long)s->pid);
		pb_put_text(&w, 1, "/bin/sh");
		pb_put_text(&w, 2, "-c");
		pb_put_text(&w, 2, command);
		/* the answer does not matter, nor how it ends */
		diag_send(s->client, DIAG_SERVICE, "Exec", &w, 0);
	}
	pb_writer_free(&w);
}

static void put_terminal(struct session *s, struct pb_writer *w)
{
	const char *term = getenv("TERM");
	char text[16];
	size_t mark;

	pb_put_u64(w, 3, 1);
	put_variable(w, "TERM", term && *term ? term : "xterm-256color");
	if (!terminal_size(&s->rows, &s->columns))
		return;
	if (s->attached) {
		mark = pb_begin(w, EXEC_WINDOW_FIELD);
		pb_put_u64(w, 1, s->rows);
		pb_put_u64(w, 2, s->columns);
		pb_end(w, mark);
		return;
	}
	snprintf(text, sizeof(text), "%u", s->rows);
	put_variable(w, "LINES", text);
	snprintf(text, sizeof(text), "%u", s->columns);
	put_variable(w, "COLUMNS", text);
}

/* --- start */

static bool wanted(const struct session *s, int i)
{
	return i == IN ? !s->no_input : i == OUT || (!s->tty && !s->combine);
}

/* The whole request; id: of the streams, 0 = none. */
static void put_request(struct session *s, struct pb_writer *w, const u64 id[STREAMS])
{
	pb_writer_init(w, REQUEST_MAX);
	pb_raw(w, s->request.data, s->request.used);
	w->failed |= s->request.failed;
	if (s->tty)
		put_terminal(s, w);
	for (u32 i = 0; i < STREAMS; i++)
		pb_put_u64(w, 4 + i, id[i]);
	pb_put_u64(w, 7, s->combine);
	pb_put_u64(w, 10, s->raw && !s->tty);
}

static void on_event(void *context, u32 stream, struct pb_bytes message)
{
	struct session *s = context;
	struct run_event event;

	if (stream != s->call || !run_event_parse(message, &event))
		return;
	if (event.pid)
		s->pid = event.pid;
	for (int i = 0; i < RUN_OUTPUTS; i++) {
		/* not of a stream that we have not asked for */
		if (s->stream[OUT + i].to >= 0)
			pb_raw(&s->stream[OUT + i].buffer, event.text[i].data, event.text[i].size);
	}
	if (add_overflow(s->credit, event.credit, &s->credit))
		s->credit = UINT64_MAX;
	s->input_closed |= event.input_closed;
}

enum start { STARTED, FAILED, NOT_HERE };

/* With the streams in the call. NOT_HERE: this server has no such method. */
static enum start start_attached(struct session *s)
{
	u64 id[STREAMS];
	struct diag_reply *reply = NULL;
	enum start result = STARTED;
	struct pb_writer w;

	for (int i = 0; i < STREAMS; i++) {
		id[i] = wanted(s, i);
		if (id[i])
			s->stream[i].to = s->output[i];
	}
	s->stream[IN].from = wanted(s, IN) ? STDIN_FILENO : -1;
	s->stream[IN].to = -1;
	s->attached = true;
	s->client->data = on_event;
	s->client->data_context = s;
	put_request(s, &w, id);
	s->call = diag_open(s->client, DIAG_OWN, "Run", &w);
	pb_writer_free(&w);
	if (!s->call) {
		log_error("%s", s->client->error);
		return FAILED;
	}
	while (!s->pid && !reply) {
		struct pollfd polled = {.fd = s->client->control, .events = POLLIN};

		if (diag_unsent(s->client))
			polled.events |= POLLOUT;
		if (poll(&polled, 1, -1) < 0 && errno == EINTR)
			continue;
		/* a reason may have come before the end of the connection */
		diag_flush(s->client);
		if (!diag_receive(s->client)) {
			log_error("%s", s->client->error);
			return FAILED;
		}
		/* only what comes without the program having run is of interest here */
		reply = s->pid ? NULL : diag_take(s->client, s->call);
	}
	if (reply) {
		result = reply->code == TTRPC_UNIMPLEMENTED ? NOT_HERE : FAILED;
		if (result == FAILED)
			diag_report("Run", reply);
		diag_reply_free(reply);
	}
	return result;
}

static bool open_streams(struct session *s, u64 id[STREAMS])
{
	struct diag_data data[STREAMS];
	unsigned count = 0;

	for (int i = 0; i < STREAMS; i++)
		count += wanted(s, i);
	if (!diag_connect(s->client, data, count)) {
		log_error("%s", s->client->error);
		return false;
	}
	for (int i = STREAMS - 1; i >= 0; i--) {
		int fd = wanted(s, i) ? data[--count].fd : -1;

		s->stream[i].from = s->stream[i].to = -1;
		id[i] = 0;
		if (fd < 0)
			continue;
		id[i] = data[count].id;
		s->stream[i].from = i == IN ? STDIN_FILENO : fd;
		s->stream[i].to = i == IN ? fd : s->output[i];
	}
	return true;
}

/* With a data connection for each stream. */
static enum start start_connected(struct session *s)
{
	struct diag_reply *reply;
	struct pb_writer w;
	u64 id[STREAMS];
	bool good;

	s->attached = false;
	s->client->data = NULL;
	if (!open_streams(s, id))
		return FAILED;
	put_request(s, &w, id);
	reply = diag_demand(s->client, DIAG_SERVICE, "Exec", &w, 0);
	pb_writer_free(&w);
	if (!reply)
		return FAILED;
	good = pb_find_u64(reply->payload, 1, &s->pid);
	diag_reply_free(reply);
	if (!good) {
		log_error("Exec: malformed answer");
		return FAILED;
	}
	pb_writer_init(&w, 64);
	pb_put_u64(&w, 1, s->pid);
	s->call = diag_send(s->client, DIAG_SERVICE, "Wait", &w, 0);
	pb_writer_free(&w);
	if (!s->call)
		log_error("%s", s->client->error);
	return s->call ? STARTED : FAILED;
}

/* --- while it runs */

static size_t waiting(const struct session_stream *stream)
{
	return stream->buffer.used - stream->at;
}

/* The first piece of input, or its end, as a frame of the call. False: no connection any more. */
static bool send_input(struct session *s, size_t size)
{
	struct session_stream *in = &s->stream[IN];
	struct pb_writer w;
	bool sent;

	pb_writer_init(&w, INPUT_PIECE + 64);
	run_input_write(&w, (struct pb_bytes){in->buffer.data, size});
	sent = diag_send_data(s->client, s->call,
			      in->from < 0 ? TTRPC_REMOTE_CLOSED | TTRPC_NO_DATA : 0,
			      (struct pb_bytes){w.data, w.used});
	pb_writer_free(&w);
	in->buffer.used = 0;
	s->credit -= MIN(s->credit, (u64)size);
	return sent;
}

static void end_stream(struct session *s, int i)
{
	struct session_stream *stream = &s->stream[i];

	/*
	 * Not closed before we end: taking a channel apart is work for VTL2, which would hold up
	 * what it still has to tell us.
	 */
	stream->from = -1;
	if (i != IN || s->input_closed)
		return;
	if (s->attached)
		send_input(s, 0);
	else if (stream->to >= 0)
		shutdown(stream->to, SHUT_WR);
}

/* Takes what is there. False when the user leaves. */
static bool read_stream(struct session *s, int i)
{
	struct session_stream *stream = &s->stream[i];
	char piece[INPUT_PIECE];
	size_t size = PIECE;
	bool leave = false;
	ssize_t n;

	/* terminal_escape can make one byte more of it */
	if (i == IN && s->attached && !s->input_closed)
		size = (size_t)MIN(s->credit - 1, s->escape ? (u64)PIECE : INPUT_PIECE);
	n = read(stream->from, piece, size);
	size = n > 0 ? (size_t)n : 0;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		end_stream(s, i);
		return true;
	}
	if (i == IN && s->escape)
		size = terminal_escape(&s->escape_state, piece, size, &leave);
	if (i == IN && s->input_closed)
		size = 0;
	stream->at = stream->buffer.used = 0;
	pb_raw(&stream->buffer, piece, size);
	if (i == IN && s->attached && size)
		send_input(s, size);
	return !leave && !stream->buffer.failed;
}

static bool write_stream(struct session *s, int i)
{
	struct session_stream *stream = &s->stream[i];
	const u8 *data = stream->buffer.data + stream->at;
	/* a pipe takes so much at once without waiting */
	size_t size = MIN(waiting(stream), (size_t)PIECE);
	ssize_t n = i == IN ? send(stream->to, data, size, MSG_NOSIGNAL | MSG_DONTWAIT)
			    : write(stream->to, data, size);

	if (n >= 0) {
		stream->at += (size_t)n;
		if (!waiting(stream))
			stream->at = stream->buffer.used = 0;
		return true;
	}
	if (errno == EINTR || errno == EAGAIN)
		return true;
	stream->at = stream->buffer.used = 0;
	if (i == IN) {
		/* the program has closed its input */
		s->input_closed = true;
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
	s->signal_stream = diag_send(s->client, DIAG_OWN, "Signal", &w, 0);
	s->last_signal = (int)info.ssi_signo;
	pb_writer_free(&w);
	return s->signal_stream ? -1 : 128 + s->last_signal;
}

/*
 * Has the signal been passed on? -1: go on; else how we end: the server knows no signals. One that
 * did not reach the program, as only its output is left, counts as not taken.
 */
static int take_signal_reply(struct session *s)
{
	struct diag_reply *reply = s->signal_stream ? diag_take(s->client, s->signal_stream) : NULL;
	enum ttrpc_code code;

	if (!reply)
		return -1;
	code = reply->code;
	diag_reply_free(reply);
	if (code == TTRPC_OK)
		s->signal_stream = 0;
	return code == TTRPC_UNIMPLEMENTED ? 128 + s->last_signal : -1;
}

static int exit_code(const struct session *s, const struct diag_reply *reply)
{
	u64 code;

	if (reply->code != TTRPC_OK) {
		diag_report(s->attached ? "Run" : "Wait", reply);
		return SESSION_UNKNOWN;
	}
	return pb_find_u64(reply->payload, 1, &code) ? (int)(code & 0xff) : SESSION_UNKNOWN;
}

/* The exit code, if the answer is here; else code. */
static int take_exit_code(struct session *s, int code)
{
	struct diag_reply *reply = code < 0 ? diag_take(s->client, s->call) : NULL;

	if (!reply)
		return code;
	code = exit_code(s, reply);
	diag_reply_free(reply);
	return code;
}

/* What to wait for with a stream. */
static struct pollfd stream_events(const struct session *s, int i)
{
	const struct session_stream *stream = &s->stream[i];
	bool full = waiting(stream);

	/* "~." still has to get the user out */
	if (i == IN && s->input_closed)
		return (struct pollfd){.fd = s->escape ? stream->from : -1, .events = POLLIN};
	if (i == IN && s->attached && (s->credit < 2 || diag_unsent(s->client)))
		return (struct pollfd){.fd = -1};
	return (struct pollfd){.fd = full ? stream->to : stream->from,
			       .events = full ? POLLOUT : POLLIN};
}

static struct pollfd control_events(const struct session *s, bool ended)
{
	bool full = s->attached && (waiting(&s->stream[OUT]) || waiting(&s->stream[ERR]));
	short events = 0;

	if (!ended && !full)
		events |= POLLIN;
	if (!ended && diag_unsent(s->client))
		events |= POLLOUT;
	/* without events it would still report a hang-up, again and again */
	return (struct pollfd){.fd = events ? s->client->control : -1, .events = events};
}

static bool control_ready(struct session *s, short events)
{
	/* what has come before the end of the connection still counts */
	if (events & POLLOUT)
		diag_flush(s->client);
	if (events & ~POLLOUT && !diag_receive(s->client))
		return false;
	if (!s->stream[OUT].buffer.failed && !s->stream[ERR].buffer.failed)
		return true;
	snprintf(s->client->error, sizeof(s->client->error), "more output than memory");
	return false;
}

/* Moves bytes until the program has ended and all of its output is here. */
static int move_streams(struct session *s)
{
	int code = -1;

	for (;;) {
		const struct session_stream *out = &s->stream[OUT], *err = &s->stream[ERR];
		struct pollfd polled[STREAMS + 2];
		int result;

		code = take_exit_code(s, code);
		diag_discard(s->client);
		s->input_closed |= code >= 0;
		if (s->input_closed)
			s->stream[IN].at = s->stream[IN].buffer.used = 0;
		if (code >= 0 && out->from < 0 && err->from < 0 && !waiting(out) && !waiting(err))
			return code;
		for (int i = 0; i < STREAMS; i++)
			polled[i] = stream_events(s, i);
		polled[STREAMS] = control_events(s, code >= 0);
		polled[STREAMS + 1] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
		if (poll(polled, STREAMS + 2, -1) < 0 && errno != EINTR)
			return SESSION_UNKNOWN;
		for (int i = 0; i < STREAMS; i++) {
			if (!polled[i].revents)
				continue;
			if (waiting(&s->stream[i])) {
				if (!write_stream(s, i))
					return 128 + SIGPIPE;
			} else if (!read_stream(s, i)) {
				return 128 + SIGHUP;
			}
		}
		if (!control_ready(s, polled[STREAMS].revents)) {
			code = take_exit_code(s, code);
			if (code < 0) {
				terminal_restore();
				log_error("%s", s->client->error);
				return SESSION_UNKNOWN;
			}
		}
		result = take_signal_reply(s);
		if (result < 0 && polled[STREAMS + 1].revents)
			result = handle_signal(s);
		if (result >= 0)
			return result;
	}
}

/* Those that are to be ignored stay so: a job in the background, nohup. */
static int catch_signals(void)
{
	static const int passed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction before;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++) {
		if (!sigaction(passed_on[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaddset(&set, passed_on[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/*
 * A terminal makes the writer wait although poll calls it writable, and a wait there would hold
 * back Ctrl-C. So it is opened once more: a flag set on fd itself would be set for all who share
 * it.
 */
static int output_for(int fd)
{
	char path[32];
	int again = -1;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (isatty(fd))
		again = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return again < 0 ? fd : again;
}

/* Then the program gets VTL2's own. */
static bool input_is_null_device(void)
{
	struct stat input, null;

	return !fstat(STDIN_FILENO, &input) && !stat("/dev/null", &null) &&
	       S_ISCHR(input.st_mode) && input.st_rdev == null.st_rdev;
}

int session_run(struct session *s)
{
	enum start started = NOT_HERE;
	int code = SESSION_UNKNOWN;
	u16 rows, columns;

	s->no_input |= !s->tty && input_is_null_device();
	s->output[OUT] = output_for(STDOUT_FILENO);
	s->output[ERR] = output_for(STDERR_FILENO);
	/* a program that is to have sockets needs connections of its own */
	if (s->tty || !s->raw)
		started = start_attached(s);
	if (started == NOT_HERE)
		started = start_connected(s);
	if (started == STARTED) {
		s->signal_fd = catch_signals();
		if (s->tty && isatty(STDIN_FILENO) && !s->no_input)
			s->escape = terminal_raw(false);
		/* it may have changed before the signal was caught */
		if (s->tty && terminal_size(&rows, &columns) &&
		    (rows != s->rows || columns != s->columns))
			send_window(s);
		code = move_streams(s);
		terminal_restore();
	}
	session_free(s);
	return code;
}
