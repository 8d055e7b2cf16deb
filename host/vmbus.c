#include "host/vmbus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/vmbus/hvsock.h"
#include "host/synic.h"

/* A full message queue is looked at again after that time. */
#define PUMP_MS 1

struct side {
	struct vmbus *bus;
	enum vtl vtl;
	struct vmbus_server *server;
	struct iothread_timer timer, pump;
	struct hvsock *hvsock;
};

struct vmbus {
	struct vm *vm;
	struct iothread *io;
	struct side side[VTLS];
};

static void pump_later(struct side *side)
{
	if (vmbus_server_waiting(side->server) && !side->pump.due)
		iothread_arm(side->bus->io, &side->pump, PUMP_MS);
}

static void pump(struct iothread_timer *timer)
{
	struct side *side = (struct side *)((u8 *)timer - offsetof(struct side, pump));

	vmbus_server_pump(side->server);
	pump_later(side);
}

static void expired(struct iothread_timer *timer)
{
	struct side *side = (struct side *)((u8 *)timer - offsetof(struct side, timer));

	vmbus_server_timer(side->server);
}

/* --- what the servers need */

static struct vp *target(struct side *side, u8 vtl, u32 vp)
{
	struct vm *vm = side->bus->vm;

	return vp < vm->vps && (vtl == 0 || vtl == 2) ? &vm->vp[vp] : NULL;
}

static int post(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	struct side *side = ctx;
	struct vp *to = target(side, vtl, vp);
	struct hv_message m = {.type = HV_MSG_VMBUS,
			       .payload_size = (u8)len,
			       .sender = VMBUS_MESSAGE_CONN(vtl, sint, vp)};

	if (!to || len > sizeof(m.payload))
		return -EINVAL;
	memcpy(m.payload, msg, len);
	switch (synic_post(to, vtl ? VTL2 : VTL0, sint, &m, true)) {
	case HV_STATUS_SUCCESS: return 0;
	case HV_STATUS_INSUFFICIENT_BUFFERS: return -EAGAIN;
	default: return -EIO;
	}
}

static void signal_guest(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	struct vp *to = target(ctx, vtl, vp);
	bool newly;

	if (to)
		synic_signal(to, vtl ? VTL2 : VTL0, sint, flag, &newly);
}

static u8 *page(void *ctx, u64 pfn)
{
	struct side *side = ctx;
	const struct guest_memory *mem = &side->bus->vm->mem;

	if (pfn > ~0ull >> 12)
		return NULL;
	/* VTL2 may name its own memory; what it passes on for the guest must be the guest's. */
	if (side->vtl == VTL2)
		return memory_at(mem, pfn << 12, PAGE_SIZE);
	return memory_at_vtl0(mem, pfn << 12, PAGE_SIZE, HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE);
}

static void arm_timer(void *ctx, unsigned ms)
{
	struct side *side = ctx;

	iothread_arm(side->bus->io, &side->timer, ms);
}

static void connection(void *ctx, u32 version)
{
	struct side *side = ctx;

	if (version)
		log_debug("VMBus: VTL %d connected with version %u.%u", VTL_NUMBER(side->vtl),
			  version >> 16, version & 0xffff);
	else
		log_debug("VMBus: VTL %d disconnected", VTL_NUMBER(side->vtl));
	if (!version && side->hvsock)
		hvsock_reset(side->hvsock);
}

static void tl_connect(void *ctx, const struct guid *endpoint, const struct guid *service,
		       const struct guid *silo)
{
	struct side *side = ctx;

	(void)silo;
	if (side->hvsock)
		hvsock_tl_connect(side->hvsock, endpoint, service);
	else
		vmbus_server_tl_result(side->server, endpoint, service, VMBUS_STATUS_CONN_REFUSED);
}

static const struct vmbus_server_ops ops = {
	.post = post,
	.signal = signal_guest,
	.page = page,
	.timer = arm_timer,
	.connection = connection,
	.tl_connect = tl_connect,
};

/* --- life */

struct vmbus *vmbus_create(struct vm *vm)
{
	struct vmbus *v = calloc(1, sizeof(*v));
	struct vmbus_server_config config[VTLS] = {
		[VTL0] = {.name = "VTL0",
			  .vtl = 0,
			  .post_vtl = 2,
			  .post_sint = VMBUS_REDIRECT_SINT,
			  .features = VMBUS_F_SIGNAL_PARAMS | VMBUS_F_REDIRECT |
				      VMBUS_F_MODIFY_CONN | VMBUS_F_CLIENT_ID | VMBUS_F_PAUSE,
			  .connection = VMBUS_CONN_VTL2_REDIRECT},
		[VTL2] = {.name = "VTL2",
			  .vtl = 2,
			  .features = VMBUS_F_CLIENT_ID,
			  .connection = VMBUS_CONN_VTL2},
	};

	if (!v)
		return NULL;
	v->vm = vm;
	v->io = iothread_new();
	for (enum vtl vtl = VTL0; vtl < VTLS && v->io; vtl++) {
		struct side *side = &v->side[vtl];

		config[vtl].vps = vm->config->vps;
		side->bus = v;
		side->vtl = vtl;
		side->timer.expired = expired;
		side->pump.expired = pump;
		side->server = vmbus_server_new(&config[vtl], &ops, side);
	}
	if (!v->side[VTL0].server || !v->side[VTL2].server) {
		log_error("VMBus: out of memory");
		vmbus_destroy(v);
		return NULL;
	}
	return v;
}

int vmbus_start(struct vmbus *v)
{
	return iothread_start(v->io);
}

void vmbus_stop(struct vmbus *v)
{
	if (v)
		iothread_stop(v->io);
}

void vmbus_destroy(struct vmbus *v)
{
	if (!v)
		return;
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++)
		if (v->side[vtl].server)
			vmbus_server_free(v->side[vtl].server);
	iothread_free(v->io);
	free(v);
}

struct iothread *vmbus_iothread(struct vmbus *v)
{
	return v->io;
}

struct vmbus_server *vmbus_server(struct vmbus *v, enum vtl vtl)
{
	return v->side[vtl].server;
}

void vmbus_set_hvsock(struct vmbus *v, enum vtl vtl, struct hvsock *hvsock)
{
	v->side[vtl].hvsock = hvsock;
}

/* --- from VTL2 */

u16 vmbus_receive(struct vm *vm, const struct hv_post_message *in)
{
	unsigned via = VMBUS_VIA_MULTI;
	struct vmbus *v = vm->vmbus;
	enum vtl vtl = VTL2;
	u8 msg[HV_MESSAGE_PAYLOAD_SIZE];
	struct side *side;
	int ret;

	switch (in->connection_id) {
	case VMBUS_CONN_VTL2:
	case VMBUS_CONN_MULTI: break;
	case VMBUS_CONN_VTL2_REDIRECT:
		/* Both of VTL2's clients come here; each names the VTL that it stands for. */
		vtl = vmbus_contact_vtl(in->payload, in->payload_size, via) == 2 ? VTL2 : VTL0;
		break;
	default: return HV_STATUS_INVALID_CONNECTION_ID;
	}
	if (!v)
		return HV_STATUS_INVALID_CONNECTION_ID;
	memcpy(msg, in->payload, in->payload_size);
	side = &v->side[vtl];
	iothread_lock(v->io);
	ret = vmbus_server_message(side->server, msg, in->payload_size, via);
	pump_later(side);
	iothread_unlock(v->io);
	return ret == -EAGAIN ? HV_STATUS_INSUFFICIENT_BUFFERS : HV_STATUS_SUCCESS;
}

u16 vmbus_signal(struct vm *vm, enum vtl caller, u32 connection_id)
{
	struct vmbus *v = vm->vmbus;
	bool known = false;

	if (!v)
		return HV_STATUS_INVALID_CONNECTION_ID;
	iothread_lock(v->io);
	for (enum vtl vtl = VTL0; vtl <= caller && !known; vtl++)
		known = vmbus_server_event(v->side[vtl].server, connection_id);
	iothread_unlock(v->io);
	return known ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_CONNECTION_ID;
}
