#include "host/hypercall.h"

#include <string.h>
#include <sys/ioctl.h>

#include "common/log.h"
#include "host/cpuid.h"
#include "host/hostlink.h"
#include "host/interrupt.h"
#include "host/regs.h"
#include "host/synic.h"
#include "host/vmbus.h"

struct call {
	struct vp *vp;
	enum vtl caller;
	u64 control;
	const u8 *element; /* of this repetition */
	bool intercept;
	u8 in[PAGE_SIZE] __attribute__((aligned(8))); /* copy of header and elements */
	u8 out[64]; /* result of the call, or of this repetition */
};

typedef u16 (*handler_fn)(struct call *c);

/* Which VTL a call without element or header may come from */
#define FROM_VTL2 BIT(VTL2)
#define FROM_ANY  (BIT(VTL0) | BIT(VTL2))

static u16 self_partition(const void *in)
{
	u64 id;

	memcpy(&id, in, sizeof(id));
	return id == HV_PARTITION_ID_SELF ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARTITION_ID;
}

/* Decodes an input VTL byte; false for one that does not exist or lies above the caller. */
static bool input_vtl(enum vtl caller, u8 byte, enum vtl *vtl)
{
	if (!(byte & HV_INPUT_VTL_USE)) {
		*vtl = caller;
		return true;
	}
	*vtl = (byte & 0xf) == 2 ? VTL2 : VTL0;
	return ((byte & 0xf) == 0 || (byte & 0xf) == 2) && *vtl <= caller;
}

static u16 check_registers_header(struct call *c, enum vtl *target)
{
	struct hv_vp_registers_header h;

	memcpy(&h, c->in, sizeof(h));
	if (h.partition_id != HV_PARTITION_ID_SELF)
		return HV_STATUS_INVALID_PARTITION_ID;
	if (h.vp_index != HV_VP_INDEX_SELF && h.vp_index != c->vp->index)
		return HV_STATUS_INVALID_PARAMETER;
	return input_vtl(c->caller, h.input_vtl, target) ? HV_STATUS_SUCCESS
							 : HV_STATUS_ACCESS_DENIED;
}

static u16 get_vp_registers(struct call *c)
{
	struct hv_register_value value;
	enum vtl target;
	u32 name;
	u16 status = check_registers_header(c, &target);

	if (status)
		return status;
	memcpy(&name, c->element, sizeof(name));
	/* VTL0 may ask what a guest without VSM may know: nothing of the VSM registers. */
	if (c->caller == VTL0 && name != HV_REG_VSM_VP_STATUS)
		return HV_STATUS_ACCESS_DENIED;
	status = regs_get(c->vp, target, name, &value);
	if (c->caller == VTL0)
		value = (struct hv_register_value){1ull << 16, 0};
	if (!status)
		memcpy(c->out, &value, sizeof(value));
	return status;
}

static u16 set_vp_registers(struct call *c)
{
	struct hv_register_assoc assoc;
	enum vtl target;
	u16 status = check_registers_header(c, &target);

	if (status)
		return status;
	memcpy(&assoc, c->element, sizeof(assoc));
	return regs_set(c->vp, target, assoc.name, &assoc.value);
}

static u16 install_intercept(struct call *c)
{
	struct vm *vm = c->vp->vm;
	struct hv_install_intercept in;
	bool on;

	memcpy(&in, c->in, sizeof(in));
	if (in.partition_id != HV_PARTITION_ID_SELF)
		return HV_STATUS_INVALID_PARTITION_ID;
	on = in.access_mask != 0;
	switch (in.type) {
	case HV_INTERCEPT_X64_IO_PORT:
	case HV_INTERCEPT_X64_IO_PORT_RANGE: {
		u32 first = (u16)in.parameter;
		u32 last = in.type == HV_INTERCEPT_X64_IO_PORT ? first : (u16)(in.parameter >> 16);

		if (first > last)
			return HV_STATUS_INVALID_PARAMETER;
		pthread_mutex_lock(&vm->lock);
		for (u32 port = first; port <= last; port++)
			for (int w = 0; w < 2; w++) {
				u64 bit = BIT(port % 64);

				if (in.access_mask & (1u << w))
					vm->io_intercept[port / 64][w] |= bit;
				else
					vm->io_intercept[port / 64][w] &= ~bit;
			}
		pthread_mutex_unlock(&vm->lock);
		return HV_STATUS_SUCCESS;
	}
	case HV_INTERCEPT_X64_MSR: vm->msr_intercept = on; return HV_STATUS_SUCCESS;
	case HV_INTERCEPT_X64_APIC_EOI: vm->eoi_intercept = on; return HV_STATUS_SUCCESS;
	case HV_INTERCEPT_UNKNOWN_SYNIC_CONNECTION:
		vm->synic_intercept = on;
		return HV_STATUS_SUCCESS;
	default: return HV_STATUS_INVALID_PARAMETER;
	}
}

static u16 assert_interrupt(struct call *c)
{
	struct hv_assert_interrupt in;

	memcpy(&in, c->in, sizeof(in));
	if (in.partition_id != HV_PARTITION_ID_SELF)
		return HV_STATUS_INVALID_PARTITION_ID;
	if ((in.target_vtl & 0xf) != 0)
		return HV_STATUS_INVALID_PARAMETER;
	return interrupt_assert(c->vp->vm, (u32)in.control, in.control & HV_INTERRUPT_LEVEL,
				in.control & HV_INTERRUPT_LOGICAL, in.destination, in.vector);
}

static u16 modify_protection(struct call *c)
{
	struct vm *vm = c->vp->vm;
	u32 flags;
	u64 page;
	u16 status = self_partition(c->in);

	if (status)
		return status;
	memcpy(&flags, c->in + 8, sizeof(flags));
	memcpy(&page, c->element, sizeof(page));
	if (!(vm->vsm_config & HV_VSM_CONFIG_ENABLE_PROTECTION))
		return HV_STATUS_ACCESS_DENIED;
	if (page > ~0ull >> PAGE_SHIFT)
		return HV_STATUS_INVALID_PARAMETER;
	pthread_mutex_lock(&vm->lock);
	if (memory_protect(&vm->mem, page << PAGE_SHIFT, (u8)(flags & 0xf)))
		status = HV_STATUS_INVALID_PARAMETER;
	pthread_mutex_unlock(&vm->lock);
	return status;
}

static struct vp *find_vp(struct call *c, u32 index)
{
	if (index == HV_VP_INDEX_SELF)
		return c->vp;
	return index < c->vp->vm->vps ? &c->vp->vm->vp[index] : NULL;
}

static u16 enable_vp_vtl(struct call *c)
{
	struct hv_start_vp in;
	struct vp *target;

	memcpy(&in, c->in, sizeof(in));
	if (in.partition_id != HV_PARTITION_ID_SELF)
		return HV_STATUS_INVALID_PARTITION_ID;
	target = find_vp(c, in.vp_index);
	if (!target)
		return HV_STATUS_INVALID_VP_INDEX;
	if (target == c->vp || (in.target_vtl & 0xf) != 2)
		return HV_STATUS_INVALID_PARAMETER;
	if (atomic_exchange(&target->vtl2_enabled, true))
		return HV_STATUS_VTL_ALREADY_ENABLED;
	return HV_STATUS_SUCCESS;
}

/*
 * Does VTL0 of another VP wait to be started? KVM tells only while the vCPU does not run: the
 * caller holds vm->lock and has posted a request, which the kicked VP thread then waits to read.
 */
static bool waits_for_start(struct vp *vp)
{
	struct kvm_mp_state mp;

	vp_kick(vp);
	return !ioctl(vp->vtl[VTL0].fd, KVM_GET_MP_STATE, &mp) &&
	       (mp.mp_state == KVM_MP_STATE_UNINITIALIZED ||
		mp.mp_state == KVM_MP_STATE_INIT_RECEIVED);
}

static u16 start_vp(struct call *c)
{
	struct vm *vm = c->vp->vm;
	struct hv_start_vp in;
	struct vp *target;
	enum vtl vtl;
	u16 status = HV_STATUS_SUCCESS;

	memcpy(&in, c->in, sizeof(in));
	if (in.partition_id != HV_PARTITION_ID_SELF)
		return HV_STATUS_INVALID_PARTITION_ID;
	target = find_vp(c, in.vp_index);
	if (!target)
		return HV_STATUS_INVALID_VP_INDEX;
	if (target == c->vp || ((in.target_vtl & 0xf) != 2 && (in.target_vtl & 0xf) != 0))
		return HV_STATUS_INVALID_PARAMETER;
	vtl = (in.target_vtl & 0xf) == 2 ? VTL2 : VTL0;
	if (vtl > c->caller)
		return HV_STATUS_ACCESS_DENIED;
	pthread_mutex_lock(&vm->lock);
	if (!target->vtl2_enabled || target->start_pending[vtl] ||
	    (vtl == VTL2 && target->started)) {
		status = HV_STATUS_INVALID_VP_STATE;
	} else {
		target->start_context[vtl] = in.context;
		target->start_pending[vtl] = true;
		atomic_fetch_or(&target->requests, VP_REQUEST_START);
		if (vtl == VTL2) {
			target->started = true;
		} else if (!waits_for_start(target)) {
			target->start_pending[VTL0] = false;
			status = HV_STATUS_INVALID_VP_STATE;
		}
	}
	pthread_mutex_unlock(&vm->lock);
	if (!status)
		vp_kick(target);
	return status;
}

static u16 get_vp_index(struct call *c)
{
	u32 id;
	u16 status = self_partition(c->in);

	if (status)
		return status;
	memcpy(&id, c->element, sizeof(id));
	for (unsigned i = 0; i < c->vp->vm->vps; i++)
		if (c->vp->vm->vp[i].apic_id == id) {
			memcpy(c->out, &i, sizeof(u32));
			return HV_STATUS_SUCCESS;
		}
	return HV_STATUS_INVALID_PARAMETER;
}

static u16 send_ipi(struct vp *vp, enum vtl vtl, u64 mask, u32 vector)
{
	for (u32 i = 0; i < vp->vm->vps; i++)
		if (mask & BIT(i))
			vp_interrupt(&vp->vm->vp[i], vtl, (u8)vector);
	return HV_STATUS_SUCCESS;
}

static u16 send_cluster_ipi(struct call *c)
{
	u32 vector;
	u64 mask;
	enum vtl vtl;

	memcpy(&vector, c->in, sizeof(vector));
	memcpy(&mask, c->in + 8, sizeof(mask));
	if (vector < 16 || vector > 255 || !input_vtl(c->caller, c->in[4], &vtl))
		return HV_STATUS_INVALID_PARAMETER;
	return send_ipi(c->vp, vtl, mask, vector);
}

/* At most 64 VPs: bank 0 is all there is. */
static u16 send_cluster_ipi_ex(struct call *c)
{
	u64 format, banks, mask = 0;
	u32 vector;
	enum vtl vtl;

	memcpy(&vector, c->in, sizeof(vector));
	memcpy(&format, c->in + 8, sizeof(format));
	memcpy(&banks, c->in + 16, sizeof(banks));
	if (vector < 16 || vector > 255 || !input_vtl(c->caller, c->in[4], &vtl) || format > 1)
		return HV_STATUS_INVALID_PARAMETER;
	if (format == 1)
		mask = ~0ull;
	else if (banks & 1 && HV_CONTROL_VARHEAD(c->control))
		memcpy(&mask, c->in + 24, sizeof(mask));
	return send_ipi(c->vp, vtl, mask, vector);
}

static u16 post_message(struct call *c)
{
	struct hv_post_message in;
	u16 status;

	memcpy(&in, c->in, sizeof(in));
	if (!in.message_type || in.message_type & BIT(31) ||
	    in.payload_size > HV_MESSAGE_PAYLOAD_SIZE)
		return HV_STATUS_INVALID_PARAMETER;
	if (c->caller == VTL2) {
		if (in.connection_id == HOSTLINK_CONNECTION)
			return hostlink_receive(c->vp, in.payload, in.payload_size);
		status = vmbus_receive(c->vp->vm, &in);
		if (status != HV_STATUS_INVALID_CONNECTION_ID)
			return status;
	}
	c->intercept = c->caller == VTL0 && c->vp->vm->synic_intercept;
	return HV_STATUS_INVALID_CONNECTION_ID;
}

static u16 signal_event(struct call *c)
{
	u32 connection;

	memcpy(&connection, c->in, sizeof(connection));
	if (vmbus_signal(c->vp->vm, c->caller, connection) == HV_STATUS_SUCCESS)
		return HV_STATUS_SUCCESS;
	c->intercept = c->caller == VTL0 && c->vp->vm->synic_intercept;
	return HV_STATUS_INVALID_CONNECTION_ID;
}

/* Direct calls name a SINT of VTL0: partition, VP, VTL, then what differs. */
static u16 signal_event_direct(struct call *c)
{
	struct vp *target;
	u32 index;
	u16 flag, status = self_partition(c->in);
	bool newly;

	if (status)
		return status;
	memcpy(&index, c->in + 8, sizeof(index));
	memcpy(&flag, c->in + 14, sizeof(flag));
	target = find_vp(c, index);
	if (!target)
		return HV_STATUS_INVALID_VP_INDEX;
	if (c->in[13] == 0 || c->in[13] >= HV_SINT_COUNT || (c->in[12] & 0xf) != 0)
		return HV_STATUS_INVALID_PARAMETER;
	status = synic_signal(target, VTL0, c->in[13], flag, &newly);
	memset(c->out, 0, 8);
	c->out[0] = newly;
	return status;
}

static u16 post_message_direct(struct call *c)
{
	struct hv_message msg;
	struct vp *target;
	u32 index;
	u16 status = self_partition(c->in);

	if (status)
		return status;
	memcpy(&index, c->in + 8, sizeof(index));
	target = find_vp(c, index);
	if (!target)
		return HV_STATUS_INVALID_VP_INDEX;
	if (c->in[16] >= HV_SINT_COUNT || (c->in[12] & 0xf) != 0)
		return HV_STATUS_INVALID_PARAMETER;
	memcpy(&msg, c->in + 20, sizeof(msg));
	if (msg.type == HV_MSG_NONE || msg.payload_size > HV_MESSAGE_PAYLOAD_SIZE)
		return HV_STATUS_INVALID_PARAMETER;
	return synic_post(target, VTL0, c->in[16], &msg, false);
}

static u16 register_intercept_result(struct call *c)
{
	struct hv_cpuid_result in;
	u16 status;

	memcpy(&in, c->in, sizeof(in));
	if (in.partition_id != HV_PARTITION_ID_SELF)
		return HV_STATUS_INVALID_PARTITION_ID;
	pthread_mutex_lock(&c->vp->vm->lock);
	status = cpuid_override(c->vp->vm, &in);
	pthread_mutex_unlock(&c->vp->vm->lock);
	return status;
}

/* HvCallTranslateVirtualAddress(Ex) by KVM's walker of VTL0's tables. */
static u16 translate(struct call *c, bool ex)
{
	struct kvm_translation tr = {0};
	u64 flags, page, result;
	u16 status = self_partition(c->in);

	if (status)
		return status;
	memcpy(&flags, c->in + 16, sizeof(flags));
	memcpy(&page, c->in + 24, sizeof(page));
	memset(c->out, 0, ex ? 0x40 : 16);
	tr.linear_address = page << PAGE_SHIFT;
	if (ioctl(c->vp->vtl[VTL0].fd, KVM_TRANSLATE, &tr))
		return HV_STATUS_INVALID_PARAMETER;
	if (!tr.valid) {
		result = 1; /* not present */
	} else {
		bool ram = memory_at_vtl0(&c->vp->vm->mem, tr.physical_address, 1,
					  HV_MAP_GPA_READABLE) != NULL;

		result = (ram ? 0 : 4) | 6ull << 32;
	}
	page = tr.physical_address >> PAGE_SHIFT;
	memcpy(c->out, &result, 8);
	memcpy(c->out + (ex ? 0x30 : 8), &page, 8);
	return HV_STATUS_SUCCESS;
}

static u16 translate_plain(struct call *c)
{
	return translate(c, false);
}

static u16 translate_ex(struct call *c)
{
	return translate(c, true);
}

static u16 succeed(struct call *c)
{
	(void)c;
	return HV_STATUS_SUCCESS;
}

static u16 ext_query(struct call *c)
{
	memset(c->out, 0, 8);
	return HV_STATUS_SUCCESS;
}

static const struct hypercall {
	u16 code;
	u8 from;
	bool fast;		     /* may come with its 16 bytes of input in registers */
	u16 in;			     /* bytes of fixed input */
	u16 var;		     /* bytes of variable header that are looked at */
	u16 element_in, element_out; /* rep calls */
	u16 out;
	handler_fn run;
} calls[] = {
	{HV_CALL_NOTIFY_LONG_SPIN_WAIT, FROM_ANY, true, 8, 0, 0, 0, 0, succeed},
	{HV_CALL_SEND_IPI, FROM_ANY, true, 16, 0, 0, 0, 0, send_cluster_ipi},
	{HV_CALL_SEND_IPI_EX, FROM_ANY, false, 24, 8, 0, 0, 0, send_cluster_ipi_ex},
	{HV_CALL_MODIFY_VTL_PROTECTION_MASK, FROM_VTL2, false, 16, 0, 8, 0, 0, modify_protection},
	{HV_CALL_ENABLE_VP_VTL, FROM_VTL2, false, 240, 0, 0, 0, 0, enable_vp_vtl},
	{HV_CALL_START_VP, FROM_ANY, false, 240, 0, 0, 0, 0, start_vp},
	{HV_CALL_INSTALL_INTERCEPT, FROM_VTL2, false, 24, 0, 0, 0, 0, install_intercept},
	{HV_CALL_GET_VP_REGISTERS, FROM_ANY, false, 16, 0, 4, 16, 0, get_vp_registers},
	{HV_CALL_SET_VP_REGISTERS, FROM_VTL2, false, 16, 0, 32, 0, 0, set_vp_registers},
	{HV_CALL_TRANSLATE_VIRTUAL_ADDRESS, FROM_VTL2, false, 32, 0, 0, 0, 16, translate_plain},
	{HV_CALL_TRANSLATE_VIRTUAL_ADDRESS_EX, FROM_VTL2, false, 32, 0, 0, 0, 64, translate_ex},
	{HV_CALL_POST_MESSAGE, FROM_ANY, false, 256, 0, 0, 0, 0, post_message},
	{HV_CALL_SIGNAL_EVENT, FROM_ANY, true, 8, 0, 0, 0, 0, signal_event},
	{HV_CALL_REGISTER_INTERCEPT_RESULT, FROM_VTL2, false, 64, 0, 0, 0, 0,
	 register_intercept_result},
	{HV_CALL_ASSERT_VIRTUAL_INTERRUPT, FROM_VTL2, false, 32, 0, 0, 0, 0, assert_interrupt},
	{HV_CALL_GET_VP_INDEX_FROM_APIC_ID, FROM_ANY, false, 16, 0, 4, 4, 0, get_vp_index},
	{HV_CALL_SIGNAL_EVENT_DIRECT, FROM_VTL2, true, 16, 0, 0, 0, 8, signal_event_direct},
	{HV_CALL_POST_MESSAGE_DIRECT, FROM_VTL2, false, 280, 0, 0, 0, 0, post_message_direct},
	{HV_CALL_EXT_QUERY_CAPABILITIES, FROM_ANY, false, 0, 0, 0, 0, 8, ext_query},
};

static void *caller_memory(struct vp *vp, enum vtl caller, u64 gpa, u64 len, u8 mask)
{
	return caller == VTL2 ? memory_at(&vp->vm->mem, gpa, len)
			      : memory_at_vtl0(&vp->vm->mem, gpa, len, mask);
}

static u64 run(struct call *c, const struct hypercall *h, u64 in_gpa, u64 out_gpa)
{
	u32 reps = HV_CONTROL_REP_COUNT(c->control), start = HV_CONTROL_REP_START(c->control);
	u32 var = HV_CONTROL_VARHEAD(c->control) * 8;
	bool rep = h->element_in != 0;
	u8 *in = c->in, *out = c->out;
	u64 in_len, out_len;
	void *p;

	if (c->control & HV_CONTROL_RESERVED || (rep ? !reps || start >= reps : reps || start))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (var && !h->var)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	in_len = h->in + var + (u64)reps * h->element_in;
	out_len = rep ? (u64)reps * h->element_out : h->out;
	if (c->control & HV_CONTROL_FAST) {
		u64 words[2] = {in_gpa, out_gpa};

		if (!h->fast || in_len > sizeof(words) || out_len > 8)
			return HV_STATUS_INVALID_HYPERCALL_INPUT;
		memcpy(in, words, sizeof(words));
		out_len = 0;
	} else if (in_len) {
		if (!IS_ALIGNED(in_gpa, 8))
			return HV_STATUS_INVALID_ALIGNMENT;
		if ((in_gpa & (PAGE_SIZE - 1)) + in_len > PAGE_SIZE)
			return HV_STATUS_INVALID_HYPERCALL_INPUT;
		p = caller_memory(c->vp, c->caller, in_gpa, in_len, HV_MAP_GPA_READABLE);
		if (!p)
			return HV_STATUS_INVALID_PARAMETER;
		memcpy(in, p, in_len); /* judged only in this copy */
	}
	p = NULL;
	if (out_len) {
		if (!IS_ALIGNED(out_gpa, 8))
			return HV_STATUS_INVALID_ALIGNMENT;
		if ((out_gpa & (PAGE_SIZE - 1)) + out_len > PAGE_SIZE)
			return HV_STATUS_INVALID_HYPERCALL_INPUT;
		p = caller_memory(c->vp, c->caller, out_gpa, out_len, HV_MAP_GPA_WRITABLE);
		if (!p)
			return HV_STATUS_INVALID_PARAMETER;
	}
	if (!rep) {
		u16 status = h->run(c);

		if (status == HV_STATUS_SUCCESS && p)
			memcpy(p, out, out_len);
		return status;
	}
	for (u32 i = start; i < reps; i++) {
		u16 status;

		c->element = in + h->in + var + (u64)i * h->element_in;
		status = h->run(c);
		if (status)
			return HV_RESULT(status, i);
		if (h->element_out)
			memcpy((u8 *)p + (u64)i * h->element_out, out, h->element_out);
	}
	return HV_RESULT(HV_STATUS_SUCCESS, reps);
}

enum hypercall_action hypercall_run(struct vp *vp, enum vtl caller)
{
	struct kvm_regs *r = regs_of(vp, caller);
	struct call c = {.vp = vp, .caller = caller, .control = r->rcx};
	u16 code = HV_CONTROL_CODE(r->rcx);
	u64 result = HV_STATUS_INVALID_HYPERCALL_CODE;

	stats_hypercall(&vp->stats, code, caller);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].code != code)
			continue;
		result = calls[i].from & BIT(caller) ? run(&c, &calls[i], r->rdx, r->r8)
						     : HV_STATUS_ACCESS_DENIED;
		break;
	}
	if (c.intercept)
		return HYPERCALL_INTERCEPT;
	if ((u16)result)
		log_debug("VP %u VTL %d: hypercall %#x (control %#llx) -> status %#x", vp->index,
			  VTL_NUMBER(caller), code, (unsigned long long)r->rcx, (u16)result);
	r->rax = result;
	regs_dirty(vp, caller, KVM_SYNC_X86_REGS);
	return HYPERCALL_DONE;
}
