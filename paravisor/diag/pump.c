/*
 * Byte pumps. Descriptors are polled edge-triggered, so an idle pump costs nothing; one that has
 * had its share queues itself behind the others.
 *
 * hv_sock drops what the host has not yet read when VTL2 closes: output sockets are therefore only
 * shut down, and closed when the peer has closed. A peer that never does holds a place in a bounded
 * list, whose oldest member has to go when it is full.
 */
#include "paravisor/diag/pump.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS	     16
#define LINGER_LIMIT 256
#define ERROR_LIMIT  10000

static struct pump *lingering;
static struct pump **lingering_last = &lingering;
static unsigned lingering_count;

static void close_fd(struct loop *loop, int *fd)
{
	if (*fd < 0)
		return;
	loop_remove(loop, *fd);
	close(*fd);
	*fd = -1;
}

static void unlinger(struct pump *p)
{
	if (!p->linger_link)
		return;
	*p->linger_link = p->next_lingering;
	if (p->next_lingering)
		p->next_lingering->linger_link = p->linger_link;
	else
		lingering_last = p->linger_link;
	p->linger_link = NULL;
	lingering_count--;
}

void pump_orphan(struct pump *p)
{
	if (p->slot)
		*p->slot = NULL;
	p->slot = NULL;
	p->ended = NULL;
}

void pump_stop(struct pump *p)
{
	pump_orphan(p);
	unlinger(p);
	loop_dequeue(&p->task);
	close_fd(p->loop, &p->from);
	close_fd(p->loop, &p->to);
	free(p);
}

static void end(struct pump *p)
{
	void (*ended)(void *context) = p->ended;
	void *context = p->context;

	pump_stop(p);
	if (ended)
		ended(context);
}

void pump_finish(struct pump *p)
{
	if (p->peer_closed) {
		end(p);
		return;
	}
	close_fd(p->loop, &p->from);
	p->from_end = true;
	if (p->lingering)
		return;
	shutdown(p->to, SHUT_WR);
	p->lingering = true;
	p->next_lingering = NULL;
	p->linger_link = lingering_last;
	*lingering_last = p;
	lingering_last = &p->next_lingering;
	if (++lingering_count > LINGER_LIMIT)
		end(lingering);
}

enum step { STEP_MORE, STEP_WAIT, STEP_END };

static enum step read_some(struct pump *p)
{
	bool records = p->kind == PUMP_RECORDS || p->kind == PUMP_RECORDS_FOLLOW;
	ssize_t n = read(p->from, p->buffer, records ? PUMP_RECORD - 1 : PUMP_BUFFER);

	if (n > 0) {
		p->errors = 0;
		p->at = 0;
		p->used = (size_t)n;
		if (records)
			p->buffer[p->used++] = 0;
		return STEP_MORE;
	}
	if (n < 0 && errno == EINTR)
		return STEP_MORE;
	/* the log's ring has overtaken us, or a record is longer than anybody reads: go on behind
	 * it */
	if (n < 0 && records && (errno == EPIPE || errno == EINVAL) && ++p->errors < ERROR_LIMIT)
		return STEP_MORE;
	if (n < 0 && errno == EAGAIN && p->kind != PUMP_RECORDS)
		return STEP_WAIT;
	p->from_end = true;
	return STEP_MORE;
}

static enum step write_some(struct pump *p)
{
	ssize_t n = p->kind == PUMP_INPUT
			    ? write(p->to, p->buffer + p->at, p->used - p->at)
			    : send(p->to, p->buffer + p->at, p->used - p->at, MSG_NOSIGNAL);

	if (n >= 0) {
		p->at += (size_t)n;
		return STEP_MORE;
	}
	if (errno == EINTR)
		return STEP_MORE;
	return errno == EAGAIN ? STEP_WAIT : STEP_END;
}

/* Works for one share; may end and free the pump. */
static void work(struct pump *p)
{
	enum step step = STEP_MORE;

	if (p->lingering || p->kind == PUMP_WATCH)
		return;
	for (unsigned i = 0; i < ROUNDS * 2; i++) {
		if (p->at < p->used)
			step = write_some(p);
		else if (p->from_end)
			break;
		else
			step = read_some(p);
		if (step == STEP_WAIT)
			return;
		if (step == STEP_END) {
			end(p);
			return;
		}
	}
	if (p->at < p->used || !p->from_end)
		loop_queue(p->loop, &p->task);
	else if (p->kind == PUMP_INPUT)
		end(p);
	else
		pump_finish(p);
}

static void on_task(struct loop_task *task)
{
	work((struct pump *)((u8 *)task - offsetof(struct pump, task)));
}

static void on_from(struct loop_handler *handler, u32 events)
{
	struct pump *p = (struct pump *)((u8 *)handler - offsetof(struct pump, from_handler));

	if (p->kind == PUMP_INPUT && events & (EPOLLRDHUP | EPOLLHUP) && !p->peer_closed) {
		/* what it has sent before still goes to the program */
		p->peer_closed = true;
		loop_queue(p->loop, &p->task);
		if (p->ended)
			p->ended(p->context);
		return;
	}
	work(p);
}

static void on_to(struct loop_handler *handler, u32 events)
{
	struct pump *p = (struct pump *)((u8 *)handler - offsetof(struct pump, to_handler));

	/* the program has closed its input; the peer its end of an output */
	if (events & (EPOLLHUP | EPOLLERR) || (p->kind != PUMP_INPUT && events & EPOLLRDHUP)) {
		p->peer_closed = true;
		end(p);
		return;
	}
	work(p);
}

struct pump *pump_start(struct loop *loop, enum pump_kind kind, int from, int to,
			struct pump **slot, void (*ended)(void *context), void *context)
{
	struct pump *p = calloc(1, sizeof(*p));

	if (!p) {
		if (from >= 0)
			close(from);
		close(to);
		return NULL;
	}
	*p = (struct pump){
		.loop = loop,
		.kind = kind,
		.from = from,
		.to = to,
		.from_handler = {on_from},
		.to_handler = {on_to},
		.task = {.run = on_task},
		.slot = slot,
		.ended = ended,
		.context = context,
	};
	if (slot)
		*slot = p;
	/* regular files cannot be polled, and never make one wait */
	p->from_polled = from >= 0 &&
			 loop_add(loop, from, EPOLLIN | EPOLLRDHUP | EPOLLET, &p->from_handler);
	if (!loop_add(loop, to, EPOLLOUT | EPOLLRDHUP | EPOLLET, &p->to_handler)) {
		pump_stop(p);
		return NULL;
	}
	loop_queue(loop, &p->task);
	return p;
}
