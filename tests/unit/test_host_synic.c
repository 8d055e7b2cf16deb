/* SynIC and synthetic timers: slots that are taken, hostile pages and vectors, EOM, queues, flags.
 */
#include "host/msr.h"
#include "tests/unit/host_test.h"

#define SIMP0  0x10000ull
#define SIEFP0 0x11000ull
#define SINT   2
#define VECTOR 0xf3

static int setup(void **state)
{
	host_setup(state);
	vp = &f->vp[1];
	return 0;
}

static u64 page_gpa(enum vtl vtl, u64 page)
{
	return vtl == VTL2 ? f->vm.mem.vtl2_base + page : page;
}

static void enable(enum vtl vtl)
{
	assert_int_equal(msr_hyperv_write(vp, vtl, HV_MSR_SIMP, page_gpa(vtl, SIMP0) | 1), 0);
	assert_int_equal(msr_hyperv_write(vp, vtl, HV_MSR_SIEFP, page_gpa(vtl, SIEFP0) | 1), 0);
	assert_int_equal(msr_hyperv_write(vp, vtl, HV_MSR_SCONTROL, 1), 0);
	assert_int_equal(msr_hyperv_write(vp, vtl, HV_MSR_SINT0 + SINT, VECTOR), 0);
}

static volatile struct hv_message *slot_of(enum vtl vtl, unsigned sint)
{
	return (struct hv_message *)memory_at(&f->vm.mem, page_gpa(vtl, SIMP0), 4096) + sint;
}

static struct hv_message message(u8 tag)
{
	struct hv_message m = {.type = 1, .payload_size = 2, .sender = tag};

	m.payload[0] = tag;
	m.payload[1] = 0xaa;
	m.flags = 0xff; /* the sender's flags are not the receiver's */
	return m;
}

static u16 post(enum vtl vtl, u8 tag, bool queue)
{
	struct hv_message m = message(tag);

	return synic_post(vp, vtl, SINT, &m, queue);
}

static void expect_message(enum vtl vtl, u8 tag)
{
	volatile struct hv_message *m = slot_of(vtl, SINT);

	assert_int_equal(m->type, 1);
	assert_int_equal(m->payload[0], tag);
	assert_int_equal(m->sender, tag);
}

static void not_ready(void **state)
{
	(void)state;
	assert_int_equal(post(VTL0, 1, false), HV_STATUS_INVALID_SYNIC_STATE);
	assert_int_equal(post(VTL0, 1, true), HV_STATUS_INVALID_SYNIC_STATE);
	enable(VTL0);
	msr_hyperv_write(vp, VTL0, HV_MSR_SCONTROL, 0);
	assert_int_equal(post(VTL0, 1, false), HV_STATUS_INVALID_SYNIC_STATE);
	msr_hyperv_write(vp, VTL0, HV_MSR_SCONTROL, 1);
	msr_hyperv_write(vp, VTL0, HV_MSR_SINT0 + SINT, VECTOR | HV_SINT_MASKED);
	assert_int_equal(post(VTL0, 1, false), HV_STATUS_INVALID_SYNIC_STATE);
	msr_hyperv_write(vp, VTL0, HV_MSR_SINT0 + SINT, VECTOR | HV_SINT_PROXY);
	assert_int_equal(post(VTL0, 1, false), HV_STATUS_INVALID_SYNIC_STATE);
	msr_hyperv_write(vp, VTL0, HV_MSR_SINT0 + SINT, VECTOR);
	msr_hyperv_write(vp, VTL0, HV_MSR_SIMP, SIMP0);
	assert_int_equal(post(VTL0, 1, false), HV_STATUS_INVALID_SYNIC_STATE);
	assert_int_equal(fake.msis, 0);
	for (unsigned i = 0; i < HV_MESSAGE_SIZE * HV_SINT_COUNT; i++)
		assert_int_equal(((u8 *)memory_at(&f->vm.mem, SIMP0, 4096))[i], 0);
}

/* VTL0's page goes under VTL2's protection after it was accepted. */
static void page_taken_away(void **state)
{
	bool newly;

	(void)state;
	enable(VTL0);
	assert_int_equal(memory_protect(&f->vm.mem, SIMP0, HV_MAP_GPA_READABLE), 0);
	assert_int_equal(memory_protect(&f->vm.mem, SIEFP0, 0), 0);
	assert_int_equal(post(VTL0, 1, false), HV_STATUS_INVALID_SYNIC_STATE);
	assert_int_equal(slot_of(VTL0, SINT)->type, 0);
	assert_int_equal(synic_signal(vp, VTL0, SINT, 1, &newly), HV_STATUS_INVALID_SYNIC_STATE);
	synic_rescan(vp, VTL0);
	assert_false(synic_slot_free(vp, VTL0, SINT));
}

static void delivery(void **state)
{
	(void)state;
	enable(VTL0);
	assert_true(synic_slot_free(vp, VTL0, SINT));
	assert_int_equal(post(VTL0, 7, false), HV_STATUS_SUCCESS);
	expect_message(VTL0, 7);
	assert_int_equal(slot_of(VTL0, SINT)->flags, 0);
	assert_int_equal(slot_of(VTL0, SINT)->payload_size, 2);
	assert_int_equal(fake.msis, 1);
	assert_int_equal(fake.msi_fd, HOST_FIX_VM_FD + VTL0);
	assert_int_equal(fake.msi.address_lo, 0xfee00000 | 1 << 12);
	assert_int_equal(fake.msi.data, VECTOR);
	assert_false(synic_slot_free(vp, VTL0, SINT));
	/* neighbours are untouched */
	assert_int_equal(slot_of(VTL0, SINT - 1)->type, 0);
	assert_int_equal(slot_of(VTL0, SINT + 1)->type, 0);
	/* polling: no interrupt */
	slot_of(VTL0, SINT)->type = 0;
	msr_hyperv_write(vp, VTL0, HV_MSR_SINT0 + SINT, HV_SINT_POLLING);
	assert_int_equal(post(VTL0, 8, false), HV_STATUS_SUCCESS);
	expect_message(VTL0, 8);
	assert_int_equal(fake.msis, 1);
}

static void slot_taken(void **state)
{
	(void)state;
	enable(VTL0);
	assert_int_equal(post(VTL0, 1, false), HV_STATUS_SUCCESS);
	assert_int_equal(post(VTL0, 2, false), HV_STATUS_OBJECT_IN_USE);
	expect_message(VTL0, 1);
	assert_int_equal(slot_of(VTL0, SINT)->flags, HV_MESSAGE_PENDING);
	assert_int_equal(fake.msis, 1);
	slot_of(VTL0, SINT)->type = 0;
	msr_hyperv_write(vp, VTL0, HV_MSR_EOM, 0);
	assert_int_equal(slot_of(VTL0, SINT)->type, 0); /* nothing was queued */
	assert_int_equal(post(VTL0, 3, false), HV_STATUS_SUCCESS);
	expect_message(VTL0, 3);
	assert_int_equal(slot_of(VTL0, SINT)->flags, 0);
}

static void queue_in_order(void **state)
{
	(void)state;
	enable(VTL2);
	for (u8 i = 1; i <= 5; i++)
		assert_int_equal(post(VTL2, i, true), HV_STATUS_SUCCESS);
	for (u8 i = 1; i <= 5; i++) {
		expect_message(VTL2, i);
		assert_int_equal(fake.msis, i);
		assert_int_equal(fake.msi_fd, HOST_FIX_VM_FD + VTL2);
		/* the flag tells that EOM is needed exactly while more wait */
		assert_int_equal(slot_of(VTL2, SINT)->flags & HV_MESSAGE_PENDING, i < 5);
		msr_hyperv_write(vp, VTL2, HV_MSR_EOM, 0);
		expect_message(VTL2, i); /* EOM alone does not free the slot */
		slot_of(VTL2, SINT)->type = 0;
		msr_hyperv_write(vp, VTL2, HV_MSR_EOM, 0);
	}
	assert_int_equal(slot_of(VTL2, SINT)->type, 0);
	assert_int_equal(vp->vtl[VTL2].synic.queued, 0);
}

/* A free slot does not let a new message overtake those that wait. */
static void no_overtaking(void **state)
{
	(void)state;
	enable(VTL2);
	for (u8 i = 1; i <= 2; i++)
		assert_int_equal(post(VTL2, i, true), HV_STATUS_SUCCESS);
	slot_of(VTL2, SINT)->type = 0;
	assert_int_equal(post(VTL2, 3, true), HV_STATUS_SUCCESS);
	assert_int_equal(post(VTL2, 4, false), HV_STATUS_OBJECT_IN_USE);
	msr_hyperv_write(vp, VTL2, HV_MSR_EOM, 0);
	expect_message(VTL2, 2);
}

static void queue_is_bounded(void **state)
{
	unsigned taken = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		taken += post(VTL2, 1, true) == HV_STATUS_SUCCESS;
	assert_int_equal(taken, 64);
	assert_int_equal(post(VTL2, 1, true), HV_STATUS_INSUFFICIENT_BUFFERS);
	/* The SINT opens: the first comes at once. */
	enable(VTL2);
	assert_int_equal(slot_of(VTL2, SINT)->type, 1);
	assert_int_equal(vp->vtl[VTL2].synic.queued, 63);
	assert_int_equal(post(VTL2, 1, true), HV_STATUS_SUCCESS);
}

static void flags(void **state)
{
	u8 *page = memory_at(&f->vm.mem, SIEFP0, 4096);
	bool newly = true;

	(void)state;
	assert_int_equal(synic_signal(vp, VTL0, SINT, 0, &newly), HV_STATUS_INVALID_SYNIC_STATE);
	assert_false(newly);
	enable(VTL0);
	assert_int_equal(synic_signal(vp, VTL0, SINT, 2048, &newly), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(synic_signal(vp, VTL0, SINT, ~0u, &newly), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(synic_signal(vp, VTL0, 16, 0, &newly), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(synic_signal(vp, VTL0, ~0u, 0, &newly), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(synic_signal(vp, VTL0, 15, 0, &newly), HV_STATUS_INVALID_SYNIC_STATE);
	assert_int_equal(fake.msis, 0);
	assert_int_equal(synic_signal(vp, VTL0, SINT, 2047, &newly), HV_STATUS_SUCCESS);
	assert_true(newly);
	assert_int_equal(page[SINT * 256 + 255], 0x80);
	assert_int_equal(fake.msis, 1);
	assert_int_equal(synic_signal(vp, VTL0, SINT, 2047, &newly), HV_STATUS_SUCCESS);
	assert_false(newly);
	assert_int_equal(fake.msis, 1); /* only a flag that was clear interrupts */
	assert_int_equal(synic_signal(vp, VTL0, SINT, 9, &newly), HV_STATUS_SUCCESS);
	assert_true(newly);
	assert_int_equal(page[SINT * 256 + 1], 2);
	assert_int_equal(fake.msis, 2);
	for (unsigned i = 0; i < 4096; i++)
		if (i / 256 != SINT)
			assert_int_equal(page[i], 0);
}

static void vtl2_interrupt_leaves_a_hint(void **state)
{
	(void)state;
	enable(VTL2);
	atomic_store(&vp->active, VTL0);
	assert_int_equal(post(VTL2, 1, true), HV_STATUS_SUCCESS);
	assert_true(atomic_load(&vp->vtl[VTL2].irq_hint));
	assert_int_equal(vp->stats.count[COUNT_KICK], 1);
	assert_false(atomic_load(&f->vp[0].vtl[VTL2].irq_hint));
}

/* ---- timers ---- */

#define CONFIG(n) (HV_MSR_STIMER0_CONFIG + 2 * (n))
#define COUNT(n)  (CONFIG(n) + 1)
#define DIRECT	  (HV_STIMER_DIRECT | 0xedull << 4)

static void timers_refused(void **state)
{
	static const u64 bad[] = {
		BIT(13),
		BIT(14),
		BIT(15),
		BIT(20),
		BIT(63),
		HV_STIMER_DIRECT,
		HV_STIMER_DIRECT | 15 << 4,
	};
	u64 v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(msr_hyperv_write(vp, VTL0, CONFIG(0), bad[i]), -1);
	/* no SINT to send to; no count */
	assert_int_equal(msr_hyperv_write(vp, VTL0, COUNT(0), 1), 0);
	assert_int_equal(msr_hyperv_write(vp, VTL0, CONFIG(0), HV_STIMER_ENABLE), 0);
	assert_int_equal(msr_hyperv_read(vp, VTL0, CONFIG(0), &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(msr_hyperv_write(vp, VTL0, CONFIG(1), DIRECT | HV_STIMER_ENABLE), 0);
	assert_int_equal(msr_hyperv_read(vp, VTL0, CONFIG(1), &v), 0);
	assert_int_equal(v, DIRECT);
	assert_int_equal(fake.msis, 0);
	assert_int_equal(fake.timer_ns, 0);
}

static void direct_one_shot(void **state)
{
	u64 v, now = vm_reference_time(&f->vm);

	(void)state;
	assert_int_equal(msr_hyperv_write(vp, VTL2, CONFIG(3), DIRECT | HV_STIMER_AUTO_ENABLE), 0);
	assert_int_equal(msr_hyperv_write(vp, VTL2, COUNT(3), now + 100000000), 0);
	msr_hyperv_read(vp, VTL2, CONFIG(3), &v);
	assert_true(v & HV_STIMER_ENABLE);
	assert_int_equal(fake.msis, 0);
	assert_true(fake.timer_ns > 9000000000 && fake.timer_ns <= 10000000000);
	/* past due: at once, once, and the timer is off */
	assert_int_equal(msr_hyperv_write(vp, VTL2, COUNT(3), 1), 0);
	assert_int_equal(fake.msis, 1);
	assert_int_equal(fake.msi.data, 0xed);
	assert_int_equal(fake.msi_fd, HOST_FIX_VM_FD + VTL2);
	msr_hyperv_read(vp, VTL2, CONFIG(3), &v);
	assert_false(v & HV_STIMER_ENABLE);
	assert_int_equal(fake.timer_ns, 0);
	stimer_run(vp);
	assert_int_equal(fake.msis, 1);
	/* count 0 stops it */
	assert_int_equal(msr_hyperv_write(vp, VTL2, COUNT(3), now + 100000000), 0);
	assert_int_equal(msr_hyperv_write(vp, VTL2, COUNT(3), 0), 0);
	msr_hyperv_read(vp, VTL2, CONFIG(3), &v);
	assert_false(v & HV_STIMER_ENABLE);
	assert_int_equal(fake.timer_ns, 0);
}

/* However short the period: bounded work, the host's timer is armed for the future. */
static void periods(void **state)
{
	static const u64 counts[] = {1, 999, 1000, 1ull << 56, ~0ull};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct stimer *t = &vp->vtl[VTL0].synic.timer[0];
		u64 now;

		fake.msis = 0;
		msr_hyperv_write(vp, VTL0, CONFIG(0), 0);
		msr_hyperv_write(vp, VTL0, COUNT(0), counts[i]);
		msr_hyperv_write(vp, VTL0, CONFIG(0),
				 DIRECT | HV_STIMER_ENABLE | HV_STIMER_PERIODIC);
		/* armed ahead: not at once, not in the past by a sum that wraps */
		assert_int_equal(fake.msis, 0);
		assert_true(t->deadline >= vm_reference_time(&f->vm) + 500);
		for (unsigned run = 0; run < 20; run++) {
			t->deadline = 1; /* long missed */
			now = vm_reference_time(&f->vm);
			fake.msis = 0;
			stimer_run(vp);
			assert_int_equal(fake.msis, 1);
			assert_true(t->deadline > now);
			assert_true(fake.timer_ns > 0 && fake.timer_ns <= 3600000000000);
			assert_true(t->config & HV_STIMER_ENABLE);
		}
	}
}

/* Timers that end each entry at once are put off, more and more, until the guest gets somewhere. */
static void progress(void **state)
{
	struct stimer *t = &vp->vtl[VTL0].synic.timer[0];
	u64 before = 0;

	(void)state;
	msr_hyperv_write(vp, VTL0, COUNT(0), 1);
	msr_hyperv_write(vp, VTL0, CONFIG(0), DIRECT | HV_STIMER_ENABLE | HV_STIMER_PERIODIC);
	for (unsigned i = 0; i < 12; i++) {
		stimer_interrupted(vp, 100);
		t->deadline = 1;
		vp->timer_armed_for = 0;
		stimer_run(vp);
		assert_true(fake.timer_ns >= MIN(2 * before, 10000000u));
		before = fake.timer_ns;
	}
	assert_int_equal(before, 10000000);
	stimer_interrupted(vp, 1000);
	t->deadline = 1;
	vp->timer_armed_for = 0;
	stimer_run(vp);
	assert_true(fake.timer_ns <= 100000);
	msr_hyperv_write(vp, VTL0, CONFIG(0), 0);
}

static void timer_message_waits_for_eom(void **state)
{
	volatile struct hv_message *m = slot_of(VTL0, SINT);
	u64 payload[3];

	(void)state;
	enable(VTL0);
	assert_int_equal(post(VTL0, 9, false), HV_STATUS_SUCCESS);
	msr_hyperv_write(vp, VTL0, CONFIG(2), HV_STIMER_AUTO_ENABLE | SINT << 16);
	msr_hyperv_write(vp, VTL0, COUNT(2), 5);
	expect_message(VTL0, 9);
	assert_true(m->flags & HV_MESSAGE_PENDING);
	msr_hyperv_write(vp, VTL0, HV_MSR_EOM, 0); /* too early */
	expect_message(VTL0, 9);
	m->type = 0;
	msr_hyperv_write(vp, VTL0, HV_MSR_EOM, 0);
	assert_int_equal(m->type, HV_MSG_TIMER_EXPIRED);
	assert_int_equal(m->payload_size, 24);
	memcpy(payload, (void *)m->payload, sizeof(payload));
	assert_int_equal(payload[0], 2);
	assert_int_equal(payload[1], 5);
	assert_true(payload[2] >= payload[1]);
	m->type = 0;
	msr_hyperv_write(vp, VTL0, HV_MSR_EOM, 0);
	assert_int_equal(m->type, 0); /* one expiry, one message */
	/* A new setting takes back what waits. */
	assert_int_equal(post(VTL0, 9, false), HV_STATUS_SUCCESS);
	msr_hyperv_write(vp, VTL0, COUNT(2), 5);
	msr_hyperv_write(vp, VTL0, COUNT(2), 0);
	m->type = 0;
	msr_hyperv_write(vp, VTL0, HV_MSR_EOM, 0);
	assert_int_equal(m->type, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
	const struct CMUnitTest tests[] = {
		T(not_ready),
		T(page_taken_away),
		T(delivery),
		T(slot_taken),
		T(queue_in_order),
		T(no_overtaking),
		T(queue_is_bounded),
		T(flags),
		T(vtl2_interrupt_leaves_a_hint),
		T(timers_refused),
		T(direct_one_shot),
		T(periods),
		T(progress),
		T(timer_message_waits_for_eom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
