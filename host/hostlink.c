#include "host/hostlink.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "host/crash_report.h"
#include "host/regs.h"
#include "host/synic.h"

#define MAX_CREDIT 65536u
#define MAX_STATS  65536u

struct hostlink {
	struct chardev *port[HOSTLINK_PORTS];
	atomic_uint credit[HOSTLINK_PORTS];
	int wake;
	const char *mark;
	size_t mark_matched;
	pthread_mutex_t lock; /* stats, mark_matched: all VPs may post */
	char *stats;
	size_t stats_len;
	bool stats_done;
};

struct hostlink *hostlink_create(struct chardev *const port[HOSTLINK_PORTS], int wake,
				 const char *userspace_mark)
{
	struct hostlink *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	memcpy(link->port, port, sizeof(link->port));
	link->wake = wake;
	link->mark = userspace_mark;
	pthread_mutex_init(&link->lock, NULL);
	return link;
}

void hostlink_destroy(struct hostlink *link)
{
	if (!link)
		return;
	pthread_mutex_destroy(&link->lock);
	free(link->stats);
	free(link);
}

void hostlink_reset(struct hostlink *link)
{
	for (unsigned i = 0; i < HOSTLINK_PORTS; i++)
		atomic_store(&link->credit[i], 0);
}

static void wake_main(struct hostlink *link)
{
	u64 one = 1;

	if (write(link->wake, &one, sizeof(one)) < 0)
		log_debug("wake-up was lost");
}

/* Finds the mark in the stream; a false start may only be the mark's own beginning. */
static void match_mark(struct vm *vm, const u8 *data, size_t len)
{
	struct hostlink *link = vm->hostlink;

	if (!link->mark || !*link->mark)
		return;
	pthread_mutex_lock(&link->lock);
	for (size_t i = 0; i < len; i++) {
		if (data[i] == (u8)link->mark[link->mark_matched])
			link->mark_matched++;
		else
			link->mark_matched = data[i] == (u8)link->mark[0];
		if (!link->mark[link->mark_matched]) {
			timeline_mark(vm->timeline, MARK_USERSPACE);
			link->mark_matched = 0;
			wake_main(link);
		}
	}
	pthread_mutex_unlock(&link->lock);
}

static void receive_console(struct vm *vm, const struct hostlink_message *m)
{
	if (m->index >= HOSTLINK_PORTS)
		return;
	timeline_mark(vm->timeline, MARK_CONSOLE);
	if (vm->hostlink->port[m->index] &&
	    chardev_write(vm->hostlink->port[m->index], m->data, m->length))
		wake_main(vm->hostlink);
	if (m->index == 0)
		match_mark(vm, m->data, m->length);
}

static void receive_power(struct vp *vp, const struct hostlink_message *m)
{
	struct vm *vm = vp->vm;
	char regs[1024], text[HOSTLINK_MAX_DATA + 1];
	size_t n = 0;

	for (u32 i = 0; i < m->length; i++)
		if ((m->data[i] >= 0x20 && m->data[i] < 0x7f) || m->data[i] == '\n')
			text[n++] = (char)m->data[i];
	text[n] = 0;
	switch (m->index) {
	case HOSTLINK_POWER_OFF: vm_end(vm, VM_POWER_OFF, "%s", text); break;
	case HOSTLINK_POWER_RESET: vm_end(vm, VM_RESET, "%s", text); break;
	case HOSTLINK_POWER_PANIC: crash_report_guest(vm, text); break;
	case HOSTLINK_POWER_TRIPLE_FAULT:
		regs_format(vp, VTL0, regs, sizeof(regs));
		vm_end(vm, VM_TRIPLE_FAULT, "guest triple fault: %s\n%s", text, regs);
		break;
	default: vm_end(vm, VM_PARAVISOR_FAILED, "the paravisor cannot go on: %s", text);
	}
}

static void receive_stats(struct hostlink *link, const struct hostlink_message *m)
{
	char *grown;

	pthread_mutex_lock(&link->lock);
	if (link->stats_done) {
		free(link->stats);
		link->stats = NULL;
		link->stats_len = 0;
		link->stats_done = false;
	}
	if (!m->length || link->stats_len + m->length > MAX_STATS) {
		link->stats_done = true;
	} else {
		grown = realloc(link->stats, link->stats_len + m->length + 1);
		if (grown) {
			memcpy(grown + link->stats_len, m->data, m->length);
			link->stats = grown;
			link->stats_len += m->length;
			grown[link->stats_len] = 0;
		}
	}
	pthread_mutex_unlock(&link->lock);
	wake_main(link);
}

char *hostlink_stats(struct hostlink *link)
{
	char *text = NULL;

	pthread_mutex_lock(&link->lock);
	if (link->stats_done) {
		text = link->stats ? link->stats : strdup("");
		link->stats = NULL;
		link->stats_len = 0;
		link->stats_done = false;
	}
	pthread_mutex_unlock(&link->lock);
	return text;
}

/* Any number of VPs may give credit at once: the sum never passes the limit. */
static u16 receive_credit(struct hostlink *link, const struct hostlink_message *m)
{
	unsigned have;
	u32 more;

	if (m->index >= HOSTLINK_PORTS || m->length != sizeof(more))
		return HV_STATUS_INVALID_PARAMETER;
	memcpy(&more, m->data, sizeof(more));
	have = atomic_load(&link->credit[m->index]);
	do {
		if (more > MAX_CREDIT - have)
			return HV_STATUS_INVALID_PARAMETER;
	} while (!atomic_compare_exchange_weak(&link->credit[m->index], &have, have + more));
	wake_main(link);
	return HV_STATUS_SUCCESS;
}

static void send_time(struct vm *vm)
{
	u8 ns[8];

	put_le64(ns, clock_ns(CLOCK_REALTIME));
	hostlink_send(vm, HOSTLINK_TIME, 0, ns, sizeof(ns));
}

u16 hostlink_receive(struct vp *vp, const u8 *payload, u32 size)
{
	struct vm *vm = vp->vm;
	struct hostlink_message m;

	if (!vm->hostlink)
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (size < offsetof(struct hostlink_message, data) || size > sizeof(m))
		return HV_STATUS_INVALID_PARAMETER;
	memset(&m, 0, sizeof(m));
	memcpy(&m, payload, size);
	if (m.length > size - offsetof(struct hostlink_message, data))
		return HV_STATUS_INVALID_PARAMETER;
	switch (m.op) {
	case HOSTLINK_CONSOLE: receive_console(vm, &m); break;
	case HOSTLINK_POWER: receive_power(vp, &m); break;
	case HOSTLINK_MARK:
		if (m.index == HOSTLINK_MARK_INIT)
			timeline_mark(vm->timeline, MARK_INIT);
		else if (m.index == HOSTLINK_MARK_PARAVISOR)
			timeline_mark(vm->timeline, MARK_PARAVISOR);
		break;
	case HOSTLINK_CREDIT: return receive_credit(vm->hostlink, &m);
	case HOSTLINK_STATS: receive_stats(vm->hostlink, &m); break;
	case HOSTLINK_TIME: send_time(vm); break;
	default: return HV_STATUS_INVALID_PARAMETER;
	}
	return HV_STATUS_SUCCESS;
}

u32 hostlink_credit(struct hostlink *link, unsigned port)
{
	return atomic_load(&link->credit[port]);
}

void hostlink_send(struct vm *vm, u16 op, u16 index, const u8 *data, size_t len)
{
	struct hostlink_message m = {.op = op, .index = index, .length = (u32)len};
	struct hv_message msg = {
		.type = HOSTLINK_TYPE, .payload_size = sizeof(m), .sender = HOSTLINK_CONNECTION};

	memcpy(m.data, data, len);
	memcpy(msg.payload, &m, sizeof(m));
	if (synic_post(&vm->vp[0], VTL2, HOSTLINK_SINT, &msg, true))
		log_warn("VTL2 does not take messages: input is lost");
}

void hostlink_input(struct vm *vm, unsigned port, const u8 *data, size_t len)
{
	atomic_fetch_sub(&vm->hostlink->credit[port], (unsigned)len);
	while (len) {
		size_t n = MIN(len, HOSTLINK_MAX_DATA);

		hostlink_send(vm, HOSTLINK_CONSOLE, (u16)port, data, n);
		data += n;
		len -= n;
	}
}
