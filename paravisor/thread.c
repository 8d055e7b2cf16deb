/* Thread start-up: stack size, name, scheduling class. */
#include "paravisor/thread.h"

#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_SIZE (64 * 1024)
/*
 * To the kernel a VP's thread is busy even while the guest is idle. What else runs in VTL2 is short
 * and waited for, so it has ten times the guest's weight. And who has a shorter slice than the one
 * it interrupts runs at once when it wakes, instead of at one of the next ticks.
 */
#define VP_SLICE_NS 100000000ull

struct start {
	void *(*run)(void *);
	void *arg;
	enum thread_class class;
	char name[16];
};

/* What sched_setattr(2) takes; C libraries differ in whether they have it. */
struct scheduling {
	u32 size, policy;
	u64 flags;
	s32 nice;
	u32 priority;
	u64 runtime_ns, deadline_ns, period_ns;
};

static void *thread_main(void *arg)
{
	struct start start = *(struct start *)arg;
	const struct scheduling vp = {
		.size = sizeof(vp), .nice = THREAD_VP_NICE, .runtime_ns = VP_SLICE_NS};
	struct sched_param param = {.sched_priority = 1};

	free(arg);
	prctl(PR_SET_NAME, start.name);
	/* the raw call: C libraries disagree on whether a thread may do this */
	if (start.class == THREAD_URGENT)
		syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &param);
	else if (start.class == THREAD_VP && syscall(SYS_sched_setattr, 0, &vp, 0))
		log_warn("priority of thread %s: %s", start.name, strerror(errno));
	return start.run(start.arg);
}

bool thread_start(const char *name, enum thread_class class, void *(*run)(void *), void *arg)
{
	struct start *start = malloc(sizeof(*start));
	pthread_attr_t attr;
	pthread_t thread;
	int error = ENOMEM;

	if (start) {
		*start = (struct start){.run = run, .arg = arg, .class = class};
		snprintf(start->name, sizeof(start->name), "%s", name);
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, STACK_SIZE);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		error = pthread_create(&thread, &attr, thread_main, start);
		pthread_attr_destroy(&attr);
	}
	if (error) {
		free(start);
		log_error("start thread %s: %s", name, strerror(error));
		return false;
	}
	return true;
}

bool thread_pin(u32 cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == 0)
		return true;
	log_error("bind to CPU %u: %s", cpu, strerror(errno));
	return false;
}

void thread_unpin(void)
{
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	sched_setaffinity(0, sizeof(set), &set);
}
