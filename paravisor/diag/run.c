/*
 * Programs whose streams flow in the call that has started them (common/diag/run.h).
 *
 * Descriptors are polled edge-triggered. Output waits in the program's own pipe while the peer does
 * not read; input waits here, up to RUN_WINDOW, while the program does not.
 */
#include "paravisor/diag/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/diag/run.h"

#define ROUNDS 16
#define PIECE  16384u
/* Less is not worth a message; more, and the peer would wait for it. */
#define CREDIT_MIN (RUN_WINDOW / 2)

struct run_stream {
	struct loop_handler handler;
	struct run *run;
	int fd; /* -1: at its end */
};

struct run {
	struct call *call;
	struct child *child; /* NULL when it has ended */
	struct run_stream stream[CHILD_STREAMS];
	struct loop_task task;
	u8 *input; /* RUN_WINDOW bytes, when there has been any */
	size_t at, used;
	u64 taken; /* bytes of input without credit yet */
	int first; /* the output whose turn it is: it may take all the room that there is */
	bool input_end;
	int code;
};

static void close_stream(struct run *run, int i)
{
	struct run_stream *stream = &run->stream[i];

	if (stream->fd < 0)
		return;
	loop_remove(&run->call->server->loop, stream->fd);
	close(stream->fd);
	stream->fd = -1;
}

static void send_event(struct run *run, const struct run_event *event)
{
	struct pb_writer w;

	pb_writer_init(&w, PIECE + 64);
	run_event_write(&w, event);
	call_data(run->call, (struct pb_bytes){w.data, w.used});
	pb_writer_free(&w);
}

/* Ends the call, and so the run, when there is nothing more to come. */
static void check_end(struct run *run)
{
	if (run->child || run->stream[CHILD_STDOUT].fd >= 0 || run->stream[CHILD_STDERR].fd >= 0)
		return;
	call_reply_number(run->call, (u64)run->code);
}

/* Sends what the program has written, for one share. */
static void take_output(struct run *run, int i)
{
	static u8 piece[PIECE];
	struct run_stream *stream = &run->stream[i];

	for (unsigned round = 0; stream->fd >= 0 && !call_congested(run->call); round++) {
		struct run_event event = {0};
		ssize_t n;

		if (round == ROUNDS) {
			loop_queue(&run->call->server->loop, &run->task);
			return;
		}
		n = read(stream->fd, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			/* of a terminal: EIO when nobody has it any more */
			close_stream(run, i);
			return;
		}
		event.text[i == CHILD_STDOUT ? RUN_OUTPUT : RUN_ERROR] = (struct pb_bytes){
			piece, (size_t)n};
		send_event(run, &event);
	}
}

static void drop_input(struct run *run)
{
	close_stream(run, CHILD_STDIN);
	run->at = run->used = 0;
}

static void give_input(struct run *run)
{
	struct run_stream *stream = &run->stream[CHILD_STDIN];
	struct run_event event = {0};

	while (stream->fd >= 0 && run->at < run->used) {
		ssize_t n = write(stream->fd, run->input + run->at, run->used - run->at);

		if (n >= 0) {
			run->at += (size_t)n;
			run->taken += (u64)n;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			drop_input(run);
			event.input_closed = true;
		}
	}
	if (run->at == run->used) {
		run->at = run->used = 0;
		if (run->input_end)
			close_stream(run, CHILD_STDIN);
	}
	if (run->taken >= CREDIT_MIN) {
		event.credit = run->taken;
		run->taken = 0;
	}
	if (event.credit || event.input_closed)
		send_event(run, &event);
}

static void on_task(struct loop_task *task)
{
	struct run *run = (struct run *)((u8 *)task - offsetof(struct run, task));

	take_output(run, run->first);
	run->first = CHILD_STDOUT + CHILD_STDERR - run->first;
	take_output(run, run->first);
	check_end(run);
}

static void on_stream(struct loop_handler *handler, u32 events)
{
	struct run_stream *stream = (struct run_stream *)handler;
	struct run *run = stream->run;
	int i = (int)(stream - run->stream);

	if (i != CHILD_STDIN) {
		take_output(run, i);
		check_end(run);
	} else if (events & (EPOLLERR | EPOLLHUP)) {
		struct run_event event = {.input_closed = true};

		drop_input(run);
		send_event(run, &event);
	} else {
		give_input(run);
	}
}

/* What the connection could not take before, it can take now. */
static void on_writable(struct call *call)
{
	loop_queue(&call->server->loop, &call->run->task);
}

static void on_data(struct call *call, u8 flags, struct pb_bytes message)
{
	struct run *run = call->run;
	struct pb_bytes input;

	if (run->input_end || !run_input_parse(message, &input)) {
		call_fail(call, TTRPC_INVALID_ARGUMENT, "malformed input");
		return;
	}
	run->input_end = flags & TTRPC_REMOTE_CLOSED;
	if (run->stream[CHILD_STDIN].fd < 0)
		return;
	if (input.size > RUN_WINDOW - run->taken - (run->used - run->at)) {
		call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "more input than there was credit for");
		return;
	}
	if (input.size && !run->input)
		run->input = malloc(RUN_WINDOW);
	if (input.size && !run->input) {
		call_fail(call, TTRPC_UNKNOWN, "out of memory");
		return;
	}
	if (input.size) {
		memmove(run->input, run->input + run->at, run->used - run->at);
		run->used -= run->at;
		run->at = 0;
		memcpy(run->input + run->used, input.data, input.size);
		run->used += input.size;
	}
	give_input(run);
}

static void on_exit_code(void *context, int code)
{
	struct call *call = context;

	call->run->child = NULL;
	call->run->code = code;
	drop_input(call->run);
	check_end(call->run);
}

static void release_run(struct call *call)
{
	struct run *run = call->run;

	if (run->child) {
		child_cancel_wait(&call->server->children, call);
		run->child->terminal = NULL;
		child_hang_up(run->child);
	}
	for (int i = 0; i < CHILD_STREAMS; i++)
		close_stream(run, i);
	loop_dequeue(&run->task);
	free(run->input);
	free(run);
	call->run = NULL;
}

void run_start(struct call *call, const struct child_spec *spec)
{
	struct diag_server *server = call->server;
	struct run_event event = {0};
	int end[CHILD_STREAMS];
	struct run *run;

	if (!call_stream(call, on_data, on_writable)) {
		call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "%u programs on one connection",
			  CALLS_MAX);
		return;
	}
	run = calloc(1, sizeof(*run));
	errno = ENOMEM;
	if (run)
		run->child = child_start(&server->children, spec, end);
	if (!run || !run->child) {
		call_fail(call, TTRPC_UNKNOWN, "cannot run %.200s: %s", spec->argv[0],
			  strerror(errno));
		free(run);
		return;
	}
	run->call = call;
	run->task.run = on_task;
	run->first = CHILD_STDOUT;
	call->run = run;
	for (int i = 0; i < CHILD_STREAMS; i++) {
		run->stream[i] = (struct run_stream){{on_stream}, run, end[i]};
		if (end[i] >= 0 &&
		    !loop_add(&server->loop, end[i], (i ? EPOLLIN : EPOLLOUT) | EPOLLET,
			      &run->stream[i].handler)) {
			close(end[i]);
			run->stream[i].fd = -1;
		}
	}
	if (spec->tty)
		run->child->terminal = run->stream[CHILD_STDOUT].fd >= 0
					       ? &run->stream[CHILD_STDOUT].fd
					       : &run->stream[CHILD_STDIN].fd;
	event.pid = (u64)run->child->pid;
	send_event(run, &event);
	call_defer(call, release_run);
	child_wait(&server->children, run->child->pid, on_exit_code, call);
}
