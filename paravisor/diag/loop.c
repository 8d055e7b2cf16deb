/* Event loop of the diagnostics server. */
#include "paravisor/diag/loop.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/clock.h"

#define NS_PER_MS 1000000ull

bool loop_init(struct loop *loop)
{
	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	return loop->epoll >= 0;
}

void loop_free(struct loop *loop)
{
	close(loop->epoll);
}

bool loop_add(struct loop *loop, int fd, u32 events, struct loop_handler *handler)
{
	struct epoll_event event = {.events = events, .data.ptr = handler};

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void loop_change(struct loop *loop, int fd, u32 events, struct loop_handler *handler)
{
	struct epoll_event event = {.events = events, .data.ptr = handler};

	epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event);
}

void loop_remove(struct loop *loop, int fd)
{
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
}

void loop_queue(struct loop *loop, struct loop_task *task)
{
	struct loop_task **last = &loop->tasks;

	if (task->link)
		return;
	while (*last)
		last = &(*last)->next;
	task->next = NULL;
	task->link = last;
	*last = task;
}

void loop_dequeue(struct loop_task *task)
{
	if (!task->link)
		return;
	*task->link = task->next;
	if (task->next)
		task->next->link = task->link;
	task->link = NULL;
}

void loop_disarm(struct loop_timer *timer)
{
	if (!timer->link)
		return;
	*timer->link = timer->next;
	if (timer->next)
		timer->next->link = timer->link;
	timer->link = NULL;
}

void loop_arm(struct loop *loop, struct loop_timer *timer, u64 at_ns)
{
	struct loop_timer **at = &loop->timers;

	loop_disarm(timer);
	while (*at && (*at)->at_ns <= at_ns)
		at = &(*at)->next;
	timer->at_ns = at_ns;
	timer->next = *at;
	timer->link = at;
	if (timer->next)
		timer->next->link = &timer->next;
	*at = timer;
}

/* Runs what is due; returns how long epoll may wait, in ms. */
static int run_timers(struct loop *loop)
{
	struct loop_timer *timer;
	u64 now;

	if (!loop->timers)
		return -1;
	now = monotonic_ns();
	while ((timer = loop->timers) && timer->at_ns <= now) {
		loop_disarm(timer);
		timer->expired(timer);
	}
	if (!timer)
		return -1;
	return (int)MIN((timer->at_ns - now + NS_PER_MS - 1) / NS_PER_MS, (u64)INT_MAX);
}

/* One turn of what is queued now; what that queues again stands behind the mark. */
static void run_tasks(struct loop *loop)
{
	struct loop_task mark = {0}, *task;

	if (!loop->tasks)
		return;
	loop_queue(loop, &mark);
	while ((task = loop->tasks) != &mark) {
		loop_dequeue(task);
		task->run(task);
	}
	loop_dequeue(&mark);
}

void loop_run(struct loop *loop)
{
	while (!loop->stop) {
		struct epoll_event event;
		int wait_ms, n;

		run_tasks(loop);
		wait_ms = run_timers(loop);
		/* one at a time: a handler may free others, so no event may lie in wait for them */
		n = epoll_wait(loop->epoll, &event, 1, loop->tasks || loop->stop ? 0 : wait_ms);
		if (n == 1) {
			struct loop_handler *handler = event.data.ptr;

			handler->ready(handler, event.events);
		}
	}
}
