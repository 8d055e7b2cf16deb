#include "host/synic.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/log.h"

/* A VTL that never looks at its messages may not make the host collect them without bound. */
#define MAX_QUEUED 64

void synic_reset(struct synic *s)
{
	synic_destroy(s);
	memset(s, 0, sizeof(*s));
	for (int i = 0; i < HV_SINT_COUNT; i++)
		s->sint[i] = HV_SINT_RESET;
}

void synic_destroy(struct synic *s)
{
	for (int i = 0; i < HV_SINT_COUNT; i++)
		while (s->queue[i]) {
			struct queued_message *q = s->queue[i];

			s->queue[i] = q->next;
			free(q);
		}
}

/* A page that the VTL gave to the hypervisor, or NULL when it is disabled or not its RAM. */
static void *overlay(struct vp *vp, enum vtl vtl, u64 reg)
{
	if (!(reg & HV_PAGE_ENABLE))
		return NULL;
	if (vtl == VTL2)
		return memory_at(&vp->vm->mem, reg & HV_PAGE_GPA_MASK, PAGE_SIZE);
	return memory_at_vtl0(&vp->vm->mem, reg & HV_PAGE_GPA_MASK, PAGE_SIZE,
			      HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE);
}

static struct hv_message *slot(struct vp *vp, enum vtl vtl, unsigned sint)
{
	struct hv_message *page = overlay(vp, vtl, vp->vtl[vtl].synic.simp);

	return page ? page + sint : NULL;
}

/* Call with vp->lock held. */
static bool deliver(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg)
{
	struct hv_message *m = slot(vp, vtl, sint);
	u64 reg = vp->vtl[vtl].synic.sint[sint];

	if (!m)
		return false;
	if (__atomic_load_n(&m->type, __ATOMIC_ACQUIRE) != HV_MSG_NONE) {
		__atomic_or_fetch(&m->flags, HV_MESSAGE_PENDING, __ATOMIC_SEQ_CST);
		/* The VTL may have emptied the slot before it could see the flag. */
		if (__atomic_load_n(&m->type, __ATOMIC_SEQ_CST) != HV_MSG_NONE)
			return false;
	}
	m->payload_size = msg->payload_size;
	m->flags = 0;
	m->reserved = 0;
	m->sender = msg->sender;
	memcpy(m->payload, msg->payload, sizeof(m->payload));
	__atomic_store_n(&m->type, msg->type, __ATOMIC_SEQ_CST);
	if (!(reg & (HV_SINT_MASKED | HV_SINT_POLLING)))
		vp_interrupt(vp, vtl, (u8)reg);
	return true;
}

u16 synic_post(struct vp *vp, enum vtl vtl, unsigned sint, const struct hv_message *msg, bool queue)
{
	struct synic *s = &vp->vtl[vtl].synic;
	struct queued_message **tail, *q;
	u16 status = HV_STATUS_SUCCESS;

	pthread_mutex_lock(&vp->lock);
	if (!(s->scontrol & 1) || !slot(vp, vtl, sint) ||
	    s->sint[sint] & (HV_SINT_MASKED | HV_SINT_PROXY)) {
		if (!queue || vtl == VTL0) {
			status = HV_STATUS_INVALID_SYNIC_STATE;
			goto out;
		}
		/* The host's own ports keep messages until VTL2 unmasks the SINT. */
	} else if (!s->queue[sint] && deliver(vp, vtl, sint, msg)) {
		goto out;
	}
	if (!queue) {
		status = HV_STATUS_OBJECT_IN_USE;
		goto out;
	}
	q = s->queued < MAX_QUEUED ? malloc(sizeof(*q)) : NULL;
	if (!q) {
		status = HV_STATUS_INSUFFICIENT_BUFFERS;
		goto out;
	}
	q->next = NULL;
	q->msg = *msg;
	for (tail = &s->queue[sint]; *tail; tail = &(*tail)->next)
		;
	*tail = q;
	s->queued++;
out:
	pthread_mutex_unlock(&vp->lock);
	return status;
}

void synic_rescan(struct vp *vp, enum vtl vtl)
{
	struct synic *s = &vp->vtl[vtl].synic;

	pthread_mutex_lock(&vp->lock);
	for (unsigned sint = 0; sint < HV_SINT_COUNT; sint++) {
		struct queued_message *q = s->queue[sint];
		struct hv_message *m;

		if (!q || !(s->scontrol & 1) || s->sint[sint] & (HV_SINT_MASKED | HV_SINT_PROXY))
			continue;
		if (deliver(vp, vtl, sint, &q->msg)) {
			s->queue[sint] = q->next;
			s->queued--;
			free(q);
			/* One slot holds one message: tell the VTL that more wait. */
			m = slot(vp, vtl, sint);
			if (s->queue[sint] && m)
				__atomic_or_fetch(&m->flags, HV_MESSAGE_PENDING, __ATOMIC_SEQ_CST);
		}
	}
	pthread_mutex_unlock(&vp->lock);
}

bool synic_slot_free(struct vp *vp, enum vtl vtl, unsigned sint)
{
	struct hv_message *m = slot(vp, vtl, sint);

	return m && __atomic_load_n(&m->type, __ATOMIC_ACQUIRE) == HV_MSG_NONE;
}

u16 synic_signal(struct vp *vp, enum vtl vtl, unsigned sint, unsigned flag, bool *newly)
{
	struct synic *s = &vp->vtl[vtl].synic;
	u16 status = HV_STATUS_SUCCESS;
	u8 *flags;

	*newly = false;
	pthread_mutex_lock(&vp->lock);
	flags = overlay(vp, vtl, s->siefp);
	if (flag >= 2048 || sint >= HV_SINT_COUNT) {
		status = HV_STATUS_INVALID_PARAMETER;
	} else if (!(s->scontrol & 1) || !flags ||
		   s->sint[sint] & (HV_SINT_MASKED | HV_SINT_PROXY)) {
		status = HV_STATUS_INVALID_SYNIC_STATE;
	} else {
		u8 bit = (u8)(1u << (flag & 7));

		*newly = !(__atomic_fetch_or(&flags[sint * 256 + flag / 8], bit, __ATOMIC_SEQ_CST) &
			   bit);
		if (*newly && !(s->sint[sint] & HV_SINT_POLLING))
			vp_interrupt(vp, vtl, (u8)s->sint[sint]);
	}
	pthread_mutex_unlock(&vp->lock);
	return status;
}

/* ---- timers ---- */

/* A shorter period would only keep this thread busy with signals: 100 us, in 100 ns units. */
#define MIN_PERIOD 1000

static u64 period(const struct stimer *t)
{
	return MIN(MAX(t->count, MIN_PERIOD), 1ull << 56);
}

static void arm(struct stimer *t, u64 now)
{
	t->deadline = t->config & HV_STIMER_PERIODIC ? now + period(t) : t->count;
}

int stimer_write(struct vp *vp, enum vtl vtl, u32 msr, u64 value)
{
	unsigned n = (msr - HV_MSR_STIMER0_CONFIG) / 2;
	struct stimer *t = &vp->vtl[vtl].synic.timer[n];
	u64 now = vm_reference_time(vp->vm);

	if ((msr - HV_MSR_STIMER0_CONFIG) % 2 == 0) {
		if (value & ~0xf1fffull)
			return -1;
		if (value & HV_STIMER_DIRECT && HV_STIMER_VECTOR(value) < 16)
			return -1;
		/* A message timer without a SINT cannot be enabled. */
		if (!(value & HV_STIMER_DIRECT) && !HV_STIMER_SINT(value))
			value &= ~HV_STIMER_ENABLE;
		t->config = value;
		t->message_pending = false;
		if (value & HV_STIMER_ENABLE) {
			if (!t->count)
				t->config &= ~HV_STIMER_ENABLE;
			arm(t, now);
		}
	} else {
		t->count = value;
		t->message_pending = false;
		if (!value)
			t->config &= ~HV_STIMER_ENABLE;
		else if (t->config & HV_STIMER_AUTO_ENABLE)
			t->config |= HV_STIMER_ENABLE;
		if (!(t->config & HV_STIMER_DIRECT) && !HV_STIMER_SINT(t->config))
			t->config &= ~HV_STIMER_ENABLE;
		if (t->config & HV_STIMER_ENABLE)
			arm(t, now);
	}
	stimer_run(vp);
	return 0;
}

u64 stimer_read(struct vp *vp, enum vtl vtl, u32 msr)
{
	const struct stimer *t = &vp->vtl[vtl].synic.timer[(msr - HV_MSR_STIMER0_CONFIG) / 2];

	return (msr - HV_MSR_STIMER0_CONFIG) % 2 ? t->count : t->config;
}

/* Returns false when the slot is taken: the timer keeps its message until EOM. */
static bool post_expiry(struct vp *vp, enum vtl vtl, unsigned n, u64 now)
{
	struct stimer *t = &vp->vtl[vtl].synic.timer[n];
	struct hv_message m = {.type = HV_MSG_TIMER_EXPIRED, .payload_size = 24};
	u64 payload[3] = {n, t->expired_at, now};

	memcpy(m.payload, payload, sizeof(payload));
	return synic_post(vp, vtl, HV_STIMER_SINT(t->config), &m, false) != HV_STATUS_OBJECT_IN_USE;
}

static void expire(struct vp *vp, enum vtl vtl, unsigned n, u64 now)
{
	struct stimer *t = &vp->vtl[vtl].synic.timer[n];

	if (!t->message_pending)
		t->expired_at = t->deadline;
	/* State first: a handler that re-arms at once must not be undone. */
	if (t->config & HV_STIMER_PERIODIC) {
		t->deadline += period(t);
		if (t->deadline <= now) /* skip what was missed */
			t->deadline = now + period(t);
	} else {
		t->config &= ~HV_STIMER_ENABLE;
	}
	if (t->config & HV_STIMER_DIRECT)
		vp_interrupt(vp, vtl, HV_STIMER_VECTOR(t->config));
	else
		t->message_pending = !post_expiry(vp, vtl, n, now);
}

void stimer_end_of_message(struct vp *vp, enum vtl vtl)
{
	for (unsigned n = 0; n < HV_STIMER_COUNT; n++) {
		struct stimer *t = &vp->vtl[vtl].synic.timer[n];

		if (t->message_pending)
			t->message_pending = !post_expiry(vp, vtl, n, vm_reference_time(vp->vm));
	}
}

/* In 100 ns units */
#define RAN_ENOUGH   500
#define FIRST_GAP    1000
#define GREATEST_GAP 100000

/*
 * The guest sets its timers as it likes, and what one costs the host may be more than its period:
 * then each entry would end before the first instruction. Progress comes before punctuality.
 */
void stimer_interrupted(struct vp *vp, u64 ran)
{
	if (ran >= RAN_ENOUGH)
		vp->timer_gap = 0;
	else
		vp->timer_gap = MIN(MAX(2 * vp->timer_gap, FIRST_GAP), GREATEST_GAP);
}

void stimer_run(struct vp *vp)
{
	u64 now = vm_reference_time(vp->vm), next = ~0ull;
	struct itimerspec its = {0};

	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++)
		for (unsigned n = 0; n < HV_STIMER_COUNT; n++) {
			struct stimer *t = &vp->vtl[vtl].synic.timer[n];

			if (t->config & HV_STIMER_ENABLE && t->deadline <= now)
				expire(vp, vtl, n, now);
			if (t->config & HV_STIMER_ENABLE && t->deadline < next)
				next = t->deadline;
		}
	if (next == vp->timer_armed_for)
		return;
	vp->timer_armed_for = next;
	if (next != ~0ull) {
		u64 ns = MIN(MAX(next - now, vp->timer_gap), 36000000000ull) * 100;

		its.it_value.tv_sec = (time_t)(ns / 1000000000);
		its.it_value.tv_nsec = (long)(ns % 1000000000);
	}
	timer_settime(vp->timer, 0, &its, NULL);
}
