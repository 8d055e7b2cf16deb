#include "host/iothread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define BATCH 32

struct iothread {
	pthread_mutex_t lock;
	pthread_t thread;
	bool running;
	atomic_bool stop;
	int epoll, wake;
	struct iothread_timer *timers;
	struct iothread_work *work, **work_end;
	/*
	 * Watched files by slot. Events name slot and generation: a file may go, and its memory be
	 * used again, while an event of it is on its way.
	 */
	struct iothread_slot {
		struct iothread_file *file;
		u32 generation;
	} * slot;
	u32 slots;
};

#define WAKE_EVENT (~0ull)

u64 iothread_now(void)
{
	return monotonic_ns() / 1000000;
}

struct iothread *iothread_new(void)
{
	struct iothread *io = calloc(1, sizeof(*io));
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = WAKE_EVENT};

	if (!io)
		return NULL;
	pthread_mutex_init(&io->lock, NULL);
	io->work_end = &io->work;
	io->epoll = epoll_create1(EPOLL_CLOEXEC);
	io->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (io->epoll < 0 || io->wake < 0 || epoll_ctl(io->epoll, EPOLL_CTL_ADD, io->wake, &ev)) {
		log_error("cannot create the event files of the device thread: %s",
			  strerror(errno));
		iothread_free(io);
		return NULL;
	}
	return io;
}

void iothread_free(struct iothread *io)
{
	if (!io)
		return;
	if (io->epoll >= 0)
		close(io->epoll);
	if (io->wake >= 0)
		close(io->wake);
	free(io->slot);
	pthread_mutex_destroy(&io->lock);
	free(io);
}

void iothread_lock(struct iothread *io)
{
	pthread_mutex_lock(&io->lock);
}

void iothread_unlock(struct iothread *io)
{
	pthread_mutex_unlock(&io->lock);
}

/* Lets the thread look again at timers and work. */
static void wake(struct iothread *io)
{
	u64 one = 1;

	if (write(io->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("device thread: %s", strerror(errno));
}

static int take_slot(struct iothread *io)
{
	struct iothread_slot *grown;
	u32 i;

	for (i = 0; i < io->slots; i++)
		if (!io->slot[i].file)
			return (int)i;
	grown = realloc(io->slot, (i + 16) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + i, 0, 16 * sizeof(*grown));
	io->slot = grown;
	io->slots = i + 16;
	return (int)i;
}

int iothread_watch(struct iothread *io, struct iothread_file *file)
{
	struct epoll_event ev = {.events = file->events};
	int op = EPOLL_CTL_MOD;

	if (!file->watched) {
		int slot = take_slot(io);

		if (slot < 0)
			return slot;
		file->slot = (u32)slot;
		op = EPOLL_CTL_ADD;
	}
	ev.data.u64 = (u64)io->slot[file->slot].generation << 32 | file->slot;
	if (epoll_ctl(io->epoll, op, file->fd, &ev))
		return -errno;
	io->slot[file->slot].file = file;
	file->watched = true;
	return 0;
}

void iothread_unwatch(struct iothread *io, struct iothread_file *file)
{
	if (!file->watched)
		return;
	epoll_ctl(io->epoll, EPOLL_CTL_DEL, file->fd, NULL);
	file->watched = false;
	io->slot[file->slot].file = NULL;
	io->slot[file->slot].generation++;
}

void iothread_disarm(struct iothread *io, struct iothread_timer *timer)
{
	struct iothread_timer **p = &io->timers;

	while (*p && *p != timer)
		p = &(*p)->next;
	if (*p)
		*p = timer->next;
	timer->due = 0;
}

void iothread_arm(struct iothread *io, struct iothread_timer *timer, unsigned ms)
{
	iothread_arm_at(io, timer, iothread_now() + ms);
}

void iothread_arm_at(struct iothread *io, struct iothread_timer *timer, u64 due)
{
	struct iothread_timer **p = &io->timers;

	iothread_disarm(io, timer);
	timer->due = due ? due : 1;
	while (*p && (*p)->due <= timer->due)
		p = &(*p)->next;
	timer->next = *p;
	*p = timer;
	if (io->timers == timer)
		wake(io);
}

void iothread_post(struct iothread *io, struct iothread_work *work)
{
	if (work->queued)
		return;
	work->queued = true;
	work->next = NULL;
	*io->work_end = work;
	io->work_end = &work->next;
	wake(io);
}

void iothread_cancel(struct iothread *io, struct iothread_work *work)
{
	struct iothread_work **p = &io->work;

	if (!work->queued)
		return;
	while (*p != work)
		p = &(*p)->next;
	*p = work->next;
	if (io->work_end == &work->next)
		io->work_end = p;
	work->queued = false;
}

static void run_timers(struct iothread *io)
{
	u64 now = iothread_now();

	while (io->timers && io->timers->due <= now) {
		struct iothread_timer *timer = io->timers;

		io->timers = timer->next;
		timer->due = 0;
		timer->expired(timer);
	}
}

static void run_work(struct iothread *io)
{
	unsigned n = 0;

	/* Only what is queued now: work may post itself again. */
	for (const struct iothread_work *w = io->work; w; w = w->next)
		n++;
	while (n-- && io->work) {
		struct iothread_work *work = io->work;

		iothread_cancel(io, work);
		work->run(work);
	}
}

static void run_event(struct iothread *io, const struct epoll_event *event)
{
	u32 slot = (u32)event->data.u64;
	u64 count;

	if (event->data.u64 == WAKE_EVENT) {
		if (read(io->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
			log_error("device thread: %s", strerror(errno));
	} else if (io->slot[slot].file && io->slot[slot].generation == event->data.u64 >> 32) {
		io->slot[slot].file->ready(io->slot[slot].file, event->events);
	}
}

static int timeout(const struct iothread *io)
{
	u64 now = iothread_now();

	if (io->work)
		return 0;
	if (!io->timers)
		return -1;
	return io->timers->due <= now ? 0 : (int)MIN(io->timers->due - now, 60000);
}

static void *iothread_main(void *arg)
{
	struct iothread *io = arg;
	struct epoll_event events[BATCH];
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	iothread_lock(io);
	while (!atomic_load(&io->stop)) {
		int n, ms = timeout(io);

		iothread_unlock(io);
		n = epoll_wait(io->epoll, events, BATCH, ms);
		iothread_lock(io);
		if (n < 0 && errno != EINTR)
			log_error("device thread: %s", strerror(errno));
		for (int i = 0; i < n; i++)
			run_event(io, &events[i]);
		run_timers(io);
		run_work(io);
	}
	iothread_unlock(io);
	return NULL;
}

int iothread_start(struct iothread *io)
{
	if (pthread_create(&io->thread, NULL, iothread_main, io)) {
		log_error("cannot start the device thread");
		return -1;
	}
	io->running = true;
	return 0;
}

void iothread_stop(struct iothread *io)
{
	if (!io->running)
		return;
	atomic_store(&io->stop, true);
	wake(io);
	pthread_join(io->thread, NULL);
	io->running = false;
}
