/*
 * The thread that serves the host's VMBus devices: file events, timers, and work that other threads
 * hand to it. Everything that it calls runs with the I/O thread's lock held; other threads take the
 * lock to touch what the devices own. Lock order: this, then vm->lock, then vp->lock.
 */
#ifndef PARAPET_HOST_IOTHREAD_H
#define PARAPET_HOST_IOTHREAD_H

#include "common/types.h"

struct iothread;

/* A file that is watched. Owned by the caller, at the same place until iothread_unwatch(). */
struct iothread_file {
	int fd;
	u32 events; /* EPOLLIN, EPOLLOUT; 0: hang-up and errors only */
	void (*ready)(struct iothread_file *file, u32 events);
	bool watched;
	u32 slot;
};

/* A one-shot timer. Owned by the caller. */
struct iothread_timer {
	u64 due; /* ms, CLOCK_MONOTONIC; 0: not armed */
	void (*expired)(struct iothread_timer *timer);
	struct iothread_timer *next;
};

/* Work that is due once for any number of iothread_post(). Owned by the caller. */
struct iothread_work {
	void (*run)(struct iothread_work *work);
	struct iothread_work *next;
	bool queued;
};

/* NULL after an error line. */
struct iothread *iothread_new(void);
/* Starts the thread. 0, or -1 after an error line. */
int iothread_start(struct iothread *io);
/* Ends and joins the thread, if it runs; nothing is called any more. */
void iothread_stop(struct iothread *io);
void iothread_free(struct iothread *io);

/* ms, CLOCK_MONOTONIC */
u64 iothread_now(void);

void iothread_lock(struct iothread *io);
void iothread_unlock(struct iothread *io);

/* With the lock held: */

/* Begins to watch, or takes up a change of file->events. 0 or -errno. */
int iothread_watch(struct iothread *io, struct iothread_file *file);
/* No call for this file follows. Before its fd is closed. */
void iothread_unwatch(struct iothread *io, struct iothread_file *file);
/* Arms or moves the timer, to now + ms or to a time of iothread_now(). */
void iothread_arm(struct iothread *io, struct iothread_timer *timer, unsigned ms);
void iothread_arm_at(struct iothread *io, struct iothread_timer *timer, u64 due);
void iothread_disarm(struct iothread *io, struct iothread_timer *timer);
/* Queues work for the loop's thread. */
void iothread_post(struct iothread *io, struct iothread_work *work);
/* Takes queued work back. */
void iothread_cancel(struct iothread *io, struct iothread_work *work);

#endif
