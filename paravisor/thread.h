/* Threads with small stacks and one of two urgencies. */
#ifndef PARAPET_PARAVISOR_THREAD_H
#define PARAPET_PARAVISOR_THREAD_H

#include "common/types.h"

/* Nice value of the guest's threads, and of what else may take a CPU for long without harm. */
#define THREAD_VP_NICE 10

enum thread_class {
	THREAD_VP,	/* yields to everything else on its CPU: it runs the guest for ever */
	THREAD_SERVICE, /* answers questions: before the guest, after all that is urgent */
	THREAD_URGENT,	/* timers and messages: pulls the CPU out of the guest at once */
};

/* Starts a detached thread; name of at most 15 characters. False (and a log line) on failure. */
bool thread_start(const char *name, enum thread_class class, void *(*run)(void *), void *arg);
/* Binds the calling thread to one CPU. */
bool thread_pin(u32 cpu);
/* Lets the calling thread run on all CPUs again. */
void thread_unpin(void);

#endif
