#include "host/ic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/vmbus/ic.h"

enum { SHUTDOWN, HEARTBEAT, TIMESYNC, KVP, COMPONENTS };

static const struct {
	enum ic_type type;
	const char *name;
} components[COMPONENTS] = {
	[SHUTDOWN] = {IC_SHUTDOWN, "shutdown"},
	[HEARTBEAT] = {IC_HEARTBEAT, "heartbeat"},
	[TIMESYNC] = {IC_TIMESYNC, "timesync"},
	[KVP] = {IC_KVP, "KVP"},
};

struct ic {
	struct vm *vm;
	struct iothread *io;
	struct vmbus_ic part[COMPONENTS];
	struct iothread_timer timer;
	u32 shutdown_status;
	struct ic_pair pair[IC_PAIRS];
	unsigned pairs;
	/* who has asked for pairs; NULL: we, for those in `pair` */
	const struct ic_kvp_sink *asker;
	void *asker_ctx;
};

static const struct ic_kvp_sink forgotten;

/* --- clocks */

static u64 now_ms(void *ctx)
{
	(void)ctx;
	return iothread_now();
}

static u64 filetime(void *ctx)
{
	(void)ctx;
	return clock_ns(CLOCK_REALTIME) / 100 + FILETIME_UNIX_EPOCH;
}

static u64 reference(void *ctx)
{
	const struct ic *ic = ctx;

	return vm_reference_time(ic->vm);
}

static void rearm(struct ic *ic)
{
	u64 due = UINT64_MAX;

	for (unsigned i = 0; i < COMPONENTS; i++)
		due = MIN(due, vmbus_ic_deadline(&ic->part[i]));
	if (due == UINT64_MAX)
		iothread_disarm(ic->io, &ic->timer);
	else
		iothread_arm_at(ic->io, &ic->timer, MAX(due, 1ull));
}

static void expired(struct iothread_timer *timer)
{
	struct ic *ic = (struct ic *)((u8 *)timer - offsetof(struct ic, timer));

	for (unsigned i = 0; i < COMPONENTS; i++)
		vmbus_ic_tick(&ic->part[i]);
	rearm(ic);
}

/* --- what the guest tells */

/* The guest chose the bytes: nothing that a terminal or a JSON string acts on. */
static void copy_printable(char *to, size_t size, const char *from)
{
	size_t n = 0;

	for (; *from && n + 1 < size; from++)
		to[n++] = *from >= 0x20 && *from < 0x7f && *from != '"' && *from != '\\' ? *from
											 : '?';
	to[n] = 0;
}

static void ready(void *ctx, struct vmbus_ic *part, bool is_ready)
{
	struct ic *ic = ctx;
	unsigned i = (unsigned)(part - ic->part);

	log_debug("guest's %s component: %s", components[i].name,
		  is_ready ? "is there" : "has left");
	if (is_ready && i == KVP) {
		ic->pairs = 0;
		ic->asker = NULL;
		vmbus_ic_kvp_enumerate(part, KVP_POOL_AUTO);
	}
	rearm(ic);
}

static void shutdown_done(void *ctx, u32 status)
{
	struct ic *ic = ctx;

	ic->shutdown_status = status;
	if (status)
		log_warn("the guest refuses to shut down: %#x", status);
	else
		log_debug("the guest shuts down");
}

static void kvp_item(void *ctx, const char *key, const char *value)
{
	struct ic *ic = ctx;
	struct ic_pair *pair = &ic->pair[ic->pairs];

	if (ic->asker) {
		if (ic->asker->item)
			ic->asker->item(ic->asker_ctx, key, value);
		return;
	}
	if (ic->pairs == IC_PAIRS)
		return;
	copy_printable(pair->key, sizeof(pair->key), key);
	copy_printable(pair->value, sizeof(pair->value), value);
	log_debug("guest: %s = %s", pair->key, pair->value);
	ic->pairs++;
}

static void kvp_done(void *ctx, u32 status)
{
	struct ic *ic = ctx;
	const struct ic_kvp_sink *asker = ic->asker;

	ic->asker = NULL;
	if (asker && asker->done)
		asker->done(ic->asker_ctx, status);
	else if (status)
		log_debug("guest: no more pairs, %#x", status);
	rearm(ctx);
}

static const struct vmbus_ic_ops ops = {
	.now_ms = now_ms,
	.filetime = filetime,
	.reference = reference,
	.ready = ready,
	.shutdown_done = shutdown_done,
	.kvp_item = kvp_item,
	.kvp_done = kvp_done,
};

/* --- life */

struct ic *ic_create(struct vm *vm)
{
	struct ic *ic = calloc(1, sizeof(*ic));
	bool ok = ic;

	if (ic) {
		ic->vm = vm;
		ic->io = vmbus_iothread(vm->vmbus);
		ic->timer.expired = expired;
		ic->shutdown_status = UINT32_MAX;
		iothread_lock(ic->io);
		for (unsigned i = 0; i < COMPONENTS && ok; i++)
			ok = vmbus_ic_init(&ic->part[i], vmbus_server(vm->vmbus, VTL0),
					   components[i].type, &ops, ic);
		iothread_unlock(ic->io);
	}
	if (ok)
		return ic;
	log_error("integration components: out of memory");
	ic_destroy(ic);
	return NULL;
}

void ic_destroy(struct ic *ic)
{
	if (!ic)
		return;
	iothread_lock(ic->io);
	iothread_disarm(ic->io, &ic->timer);
	for (unsigned i = 0; i < COMPONENTS; i++)
		if (ic->part[i].ch)
			vmbus_channel_revoke(ic->part[i].ch);
	iothread_unlock(ic->io);
	free(ic);
}

bool ic_shutdown(struct ic *ic, bool reboot)
{
	bool asked;

	ic->shutdown_status = UINT32_MAX;
	asked = vmbus_ic_shutdown(&ic->part[SHUTDOWN],
				  IC_SHUTDOWN_FORCE | (reboot ? IC_SHUTDOWN_RESTART : 0),
				  "asked for on the host");
	rearm(ic);
	return asked;
}

int ic_kvp(struct ic *ic, const struct ic_kvp_request *request, const struct ic_kvp_sink *sink,
	   void *ctx)
{
	struct vmbus_ic *part = &ic->part[KVP];
	bool asked = false;

	if (part->state != IC_READY)
		return -ENODEV;
	if (part->kvp_running)
		return -EBUSY;
	ic->asker = sink;
	ic->asker_ctx = ctx;
	switch (request->op) {
	case KVP_ENUMERATE: asked = vmbus_ic_kvp_enumerate(part, request->pool); break;
	case KVP_GET: asked = vmbus_ic_kvp_get(part, request->pool, request->key); break;
	case KVP_SET:
		asked = vmbus_ic_kvp_set(part, request->pool, request->key, request->value);
		break;
	case KVP_DELETE: asked = vmbus_ic_kvp_delete(part, request->pool, request->key); break;
	}
	if (!asked)
		ic->asker = NULL;
	rearm(ic);
	return asked ? 0 : -EINVAL;
}

void ic_kvp_forget(struct ic *ic, const void *ctx)
{
	if (ic->asker && ic->asker_ctx == ctx)
		ic->asker = &forgotten;
}

void ic_describe(struct ic *ic, struct ic_info *info)
{
	*info = (struct ic_info){
		.shutdown = ic->part[SHUTDOWN].state == IC_READY,
		.heartbeat = ic->part[HEARTBEAT].state == IC_READY,
		.timesync = ic->part[TIMESYNC].state == IC_READY,
		.kvp = ic->part[KVP].state == IC_READY,
		.heartbeat_age_ms = vmbus_ic_heartbeat_age(&ic->part[HEARTBEAT]),
		.heartbeats = ic->part[HEARTBEAT].received,
		.time_samples = ic->part[TIMESYNC].sent,
		.shutdown_status = ic->shutdown_status,
		.pairs = ic->pairs,
	};
	memcpy(info->pair, ic->pair, sizeof(info->pair));
}
