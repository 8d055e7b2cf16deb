/*
 * The loop of the processors on a driver of stubs: who is asked to leave the guest does so, none
 * too early, and a state finds its processors again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "paravisor/vp.c"

#include "tests/unit/hex.h"

#define VPS 3

/* ---- fakes: a guest that stays inside until it is kicked ---- */

static struct mshv_run_page run_page[VPS];
static int poll_fd[VPS];
static unsigned offers; /* atomic */

struct mshv_run_page *mshv_map_run_page(u32 cpu)
{
	return &run_page[cpu];
}

struct hv_register_page *mshv_map_register_page(u32 cpu)
{
	(void)cpu;
	return NULL;
}

int mshv_set_poll_file(u32 cpu, int fd)
{
	poll_fd[cpu] = fd;
	return 0;
}

int mshv_run(void)
{
	u32 index = this_vp->index;
	u64 kicks;

	while (read(poll_fd[index], &kicks, sizeof(kicks)) < 0)
		usleep(1000);
	__atomic_store_n(&run_page[index].cancel, 1, __ATOMIC_SEQ_CST);
	return -EINTR;
}

int mshv_get_registers(u8 vtl, struct hv_register_assoc *reg, size_t count)
{
	(void)vtl, (void)reg, (void)count;
	return 1;
}

int mshv_set_registers(u8 vtl, const struct hv_register_assoc *reg, size_t count)
{
	(void)vtl, (void)reg, (void)count;
	return 0;
}

int mshv_set_register(u8 vtl, u32 name, u64 low, u64 high)
{
	(void)vtl, (void)name, (void)low, (void)high;
	return 0;
}

int mshv_set_shared_register(u32 name, u64 value)
{
	(void)name, (void)value;
	return 0;
}

bool hostlink_post(enum hostlink_op op, u16 index, const void *data, size_t size)
{
	(void)op, (void)index, (void)data, (void)size;
	return true;
}

void intercept_dispatch(struct vp *vp)
{
	(void)vp;
}

void intercept_offer_pic(struct vp *vp)
{
	(void)vp;
	__atomic_fetch_add(&offers, 1, __ATOMIC_SEQ_CST);
}

bool thread_pin(u32 cpu)
{
	(void)cpu;
	return true;
}

bool thread_start(const char *name, enum thread_class class, void *(*run)(void *), void *arg)
{
	pthread_t thread;

	(void)name, (void)class;
	return !pthread_create(&thread, NULL, run, arg) && !pthread_detach(thread);
}

void stop_crash(const char *format, ...)
{
	(void)format;
	abort();
}

/* ---- tests; the processors run until the end of the program ---- */

static const struct config config = {.vp_count = VPS};

static u64 runs(void)
{
	u64 sum = 0;

	for (u32 i = 0; i < VPS; i++)
		sum += __atomic_load_n(&vps[i].stats.runs, __ATOMIC_RELAXED);
	return sum;
}

static void wait_for_runs(u64 more)
{
	for (unsigned i = 0; runs() < more; i++) {
		assert_true(i < 5000);
		usleep(1000);
	}
}

static void saved_processors(void **state)
{
	(void)state;
	assert_false(vp_restore(&config, hex("0a 00 0a 00")));		   /* one is missing */
	assert_false(vp_restore(&config, hex("0a 00 0a 00 0a 00 0a 00"))); /* one too many */
	assert_false(vp_restore(&config, hex("0a 00 0a 00 0a 02 08 02")));
	assert_false(vp_restore(&config, hex("0a 00 0a 00 08 01")));
	assert_true(vp_restore(&config, hex("0a 00 0a 00 0a 02 08 01")));
	assert_false(vps[1].notify_armed);
	assert_true(vps[2].notify_armed);
	/* each looks for work before it enters the guest */
	assert_int_equal(vps[0].wake & vps[1].wake & vps[2].wake, 1);
	vps[2].notify_armed = false;
}

/* A restart would leave a state without processors to the next process. */
static void not_before_they_are_there(void **state)
{
	(void)state;
	assert_false(vp_pause_all());
	assert_false(gate.wanted);
}

static void held_and_let_go(void **state)
{
	u64 before;

	(void)state;
	assert_true(vp_start_all(&config, NULL, true));
	assert_int_equal(runs(), 0);
	assert_true(vp_pause_all());
	vp_resume_all();
	for (unsigned round = 0; round < 50; round++) {
		assert_true(vp_pause_all());
		before = runs();
		usleep(500);
		assert_int_equal(runs(), before);
		vp_resume_all();
		wait_for_runs(before + VPS);
		/* work for a processor inside the guest gets there */
		__atomic_store_n(&offers, 0, __ATOMIC_SEQ_CST);
		vp_kick(0);
		for (unsigned i = 0; !__atomic_load_n(&offers, __ATOMIC_SEQ_CST); i++) {
			assert_true(i < 5000);
			usleep(1000);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(saved_processors),
		cmocka_unit_test(not_before_they_are_there),
		cmocka_unit_test(held_and_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
