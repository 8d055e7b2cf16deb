/* One thread's events: descriptors, timers, and work that goes on without waiting. */
#ifndef PARAPET_PARAVISOR_DIAG_LOOP_H
#define PARAPET_PARAVISOR_DIAG_LOOP_H

#include "common/types.h"

struct loop_handler {
	/* events: EPOLLIN and so on. May free its own handler, or any other. */
	void (*ready)(struct loop_handler *handler, u32 events);
};

/* Work for the next turn, for who has had its share of this one. All zero: not queued. */
struct loop_task {
	void (*run)(struct loop_task *task);
	struct loop_task *next, **link;
};

/* All zero: not armed. */
struct loop_timer {
	void (*expired)(struct loop_timer *timer);
	u64 at_ns;
	struct loop_timer *next, **link;
};

struct loop {
	int epoll;
	bool stop;
	struct loop_task *tasks;
	struct loop_timer *timers;
};

/* False with errno. */
bool loop_init(struct loop *loop);
void loop_free(struct loop *loop);
/* Until loop->stop. */
void loop_run(struct loop *loop);

bool loop_add(struct loop *loop, int fd, u32 events, struct loop_handler *handler);
void loop_change(struct loop *loop, int fd, u32 events, struct loop_handler *handler);
void loop_remove(struct loop *loop, int fd);

void loop_queue(struct loop *loop, struct loop_task *task);
void loop_dequeue(struct loop_task *task);

/* Arms (again), at a time of monotonic_ns(); expired has to be set. */
void loop_arm(struct loop *loop, struct loop_timer *timer, u64 at_ns);
void loop_disarm(struct loop_timer *timer);

#endif
