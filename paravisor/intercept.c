/*
 * Intercept messages (TLFS, "Intercepts"). The message comes from the hypervisor; what it describes
 * was chosen by the guest. Nothing here may fail for a guest's sake: it gets what hardware shows.
 */
#include "paravisor/intercept.h"

#include "common/log.h"
#include "paravisor/gmem.h"
#include "paravisor/machine.h"
#include "paravisor/regs.h"
#include "paravisor/stop.h"
#include "paravisor/vmbus/vmbus.h"
#include "paravisor/vp_regs.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- one line per subject, never without limit ---- */

#define LOG_SUBJECTS_MAX 32

struct log_set {
	u32 count;
	u64 subject[LOG_SUBJECTS_MAX];
};

/* True for a subject that was not seen before, until the set is full. */
static bool first_time(struct log_set *set, u64 subject)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	bool found = false;

	if (__atomic_load_n(&set->count, __ATOMIC_RELAXED) == LOG_SUBJECTS_MAX)
		return false;
	pthread_mutex_lock(&lock);
	for (u32 i = 0; i < set->count && !found; i++)
		found = set->subject[i] == subject;
	if (!found && set->count < LOG_SUBJECTS_MAX)
		set->subject[set->count++] = subject;
	else
		found = true;
	pthread_mutex_unlock(&lock);
	return !found;
}

/* ---- ports ---- */

static u32 cpu_io_in(void *ctx, u16 port, u32 size)
{
	(void)ctx;
	return machine_pio_read(port, size);
}

static void cpu_io_out(void *ctx, u16 port, u32 size, u32 value)
{
	(void)ctx;
	machine_pio_write(port, size, value);
}

static int cpu_ram_read(void *ctx, u64 gpa, void *data, u32 size)
{
	(void)ctx;
	return gmem_read(gpa, data, size);
}

static int cpu_ram_write(void *ctx, u64 gpa, const void *data, u32 size)
{
	(void)ctx;
	return gmem_write(gpa, data, size);
}

static int cpu_ram_cmpxchg(void *ctx, u64 gpa, u64 expected, u64 desired, u32 size)
{
	(void)ctx;
	return gmem_cmpxchg(gpa, expected, desired, size);
}

static void cpu_mmio_read(void *ctx, u64 gpa, void *data, u32 size)
{
	u64 value = machine_mmio_read(gpa, size);

	(void)ctx;
	memcpy(data, &value, MIN(size, (u32)sizeof(value)));
}

static void cpu_mmio_write(void *ctx, u64 gpa, const void *data, u32 size)
{
	u64 value = 0;

	(void)ctx;
	memcpy(&value, data, MIN(size, (u32)sizeof(value)));
	machine_mmio_write(gpa, size, value);
}

static const struct x86_ops cpu_ops = {
	.ram_read = cpu_ram_read,
	.ram_write = cpu_ram_write,
	.ram_cmpxchg = cpu_ram_cmpxchg,
	.mmio_read = cpu_mmio_read,
	.mmio_write = cpu_mmio_write,
	.io_in = cpu_io_in,
	.io_out = cpu_io_out,
};

/* What the guest sees after the emulator ran; gva is the address that it was about. */
static void finish_emulation(struct vp *vp, const struct x86_cpu *cpu, enum x86_result result,
			     const struct x86_fault *fault, u64 gva)
{
	static struct log_set refused;

	switch (result) {
	case X86_OK: vp_store_cpu(vp, cpu); return;
	case X86_FAULT:
		/* iterations of a repeated instruction before the fault count */
		vp_store_cpu(vp, cpu);
		vp_inject(vp, fault->vector, fault->has_error_code, fault->error_code, fault->cr2);
		return;
	case X86_RETRY: return;
	case X86_HOLE:
		/* page tables outside RAM read as all ones: present, with reserved bits set */
		vp_inject(vp, X86_VECTOR_PF, true, BIT(0) | BIT(3), gva);
		return;
	default: break;
	}
	vp->stats.emulation_refused++;
	if (first_time(&refused, cpu->rip))
		log_info("VP %u: instruction at %#llx is not one that devices support", vp->index,
			 (unsigned long long)cpu->rip);
	vp_inject(vp, X86_VECTOR_UD, false, 0, 0);
}

static void on_port_string(struct vp *vp, const struct hv_io_port_message *message)
{
	struct x86_io io = {
		.port = message->port,
		.size = message->info & HV_IO_SIZE_MASK,
		.write = message->header.access_type == HV_ACCESS_WRITE,
	};
	struct x86_fault fault = {0};
	struct x86_cpu cpu;
	enum x86_result result;

	vp->stats.exits[EXIT_PORT_STRING]++;
	vp_load_cpu(vp, &cpu);
	result = x86_emulate_io(&cpu, &cpu_ops, message->instruction,
				MIN(message->instruction_byte_count, 16), &io, &fault);
	finish_emulation(vp, &cpu, result, &fault, cpu.gpr[io.write ? X86_RSI : X86_RDI]);
}

static void on_port(struct vp *vp, const struct hv_io_port_message *message)
{
	struct mshv_context *context = &vp->run->context;
	unsigned size = message->info & HV_IO_SIZE_MASK;

	if (message->info & (HV_IO_STRING | HV_IO_REP)) {
		on_port_string(vp, message);
		return;
	}
	if (message->header.access_type == HV_ACCESS_WRITE) {
		vp->stats.exits[EXIT_PORT_OUT]++;
		/* advanced first: the write may end the partition, and then never comes back */
		vp_set_rip(vp, regs_next_rip(&message->header, regs_length(&message->header)));
		machine_pio_write(message->port, size, (u32)context->rax);
		return;
	}
	vp->stats.exits[EXIT_PORT_IN]++;
	context->rax = regs_merge_in(context->rax, machine_pio_read(message->port, size), size);
	vp_set_rip(vp, regs_next_rip(&message->header, regs_length(&message->header)));
}

/* ---- memory that is not RAM ---- */

static void on_memory(struct vp *vp, const struct hv_memory_message *message)
{
	struct x86_fault fault = {0};
	struct x86_cpu cpu;
	enum x86_result result;

	vp->stats.exits[EXIT_MEMORY]++;
	vp_load_cpu(vp, &cpu);
	if (message->header.access_type == HV_ACCESS_EXECUTE) {
		/* all ones is no instruction */
		vp_inject(vp, X86_VECTOR_UD, false, 0, 0);
		return;
	}
	result = x86_emulate(&cpu, &cpu_ops, message->instruction,
			     MIN(message->instruction_byte_count, 16), &fault);
	finish_emulation(vp, &cpu, result, &fault, message->gva);
}

/* ---- MSRs that the hypervisor does not know ---- */

/* Read without a fault handler by Linux or Windows; all others fault as on hardware. */
static const struct {
	u32 msr;
	u64 value;
} quiet_msrs[] = {
	{0x00000034, 0}, /* SMI count */
	{0xc001001f, 0}, /* AMD northbridge configuration */
	{0xc0010055, 0}, /* AMD interrupt pending */
};

static void on_msr(struct vp *vp, const struct hv_msr_message *message)
{
	struct mshv_context *context = &vp->run->context;
	bool write = message->header.access_type == HV_ACCESS_WRITE;
	static struct log_set seen;

	vp->stats.exits[write ? EXIT_MSR_WRITE : EXIT_MSR_READ]++;
	if (first_time(&seen, (u64)write << 32 | message->msr))
		log_info("guest %s unknown MSR %#x", write ? "writes" : "reads", message->msr);
	for (size_t i = 0; i < ARRAY_SIZE(quiet_msrs); i++) {
		if (quiet_msrs[i].msr != message->msr)
			continue;
		if (!write) {
			context->rax = (u32)quiet_msrs[i].value;
			context->rdx = quiet_msrs[i].value >> 32;
		}
		vp_set_rip(vp, regs_next_rip(&message->header, regs_length(&message->header)));
		return;
	}
	vp_inject(vp, X86_VECTOR_GP, true, 0, 0);
}

/* ---- the rest ---- */

#define VMCALL_LENGTH 3

static void on_hypercall(struct vp *vp, const struct hv_hypercall_message *message)
{
	struct mshv_context *context = &vp->run->context;
	u64 long_mode = HV_EXEC_CR0_PE | HV_EXEC_EFER_LMA;
	bool is_64bit = (message->header.execution_state & long_mode) == long_mode &&
			(message->header.cs.attributes & BIT(13));
	u64 control = is_64bit ? context->rcx : (u32)context->rax | context->rdx << 32;
	u64 input = is_64bit ? context->rdx : (u32)context->rcx | context->rbx << 32;
	u16 code = HV_CONTROL_CODE(control);
	u16 status = HV_STATUS_INVALID_HYPERCALL_CODE;

	vp->stats.exits[EXIT_HYPERCALL]++;
	stats_count_hypercall(&vp->stats, code);
	if (code == HV_CALL_POST_MESSAGE && !(control & HV_CONTROL_FAST))
		status = vmbus_post_message(input);
	else if (code == HV_CALL_POST_MESSAGE)
		status = HV_STATUS_INVALID_HYPERCALL_INPUT;
	else if (code == HV_CALL_SIGNAL_EVENT)
		status = vmbus_signal_event(control & HV_CONTROL_FAST, input);
	context->rax = status;
	if (!is_64bit)
		context->rdx = 0;
	vp_set_rip(vp, regs_next_rip(&message->header, VMCALL_LENGTH));
}

static void on_cpuid(struct vp *vp, const u8 *payload)
{
	struct mshv_context *context = &vp->run->context;
	const struct hv_intercept_header *header = (const void *)payload;
	u64 defaults[4]; /* RAX RCX RDX RBX at offset 72 */

	vp->stats.exits[EXIT_CPUID]++;
	memcpy(defaults, payload + 72, sizeof(defaults));
	context->rax = (u32)defaults[0];
	context->rcx = (u32)defaults[1];
	context->rdx = (u32)defaults[2];
	context->rbx = (u32)defaults[3];
	vp_set_rip(vp, regs_next_rip(header, regs_length(header)));
}

void intercept_offer_pic(struct vp *vp)
{
	if (!machine_pic_pending() || vp->notify_armed)
		return;
	vp->notify_armed = true;
	vp_request_deliverable(vp);
}

static void on_deliverable(struct vp *vp, const struct hv_deliverable_message *message)
{
	u8 vector;

	vp->stats.exits[EXIT_DELIVERABLE]++;
	vp->notify_armed = false;
	if (message->type == 0 && vp->index == 0 && machine_pic_acknowledge(&vector))
		vp_inject_external(vp, vector);
	intercept_offer_pic(vp);
}

__attribute__((noreturn)) static void on_triple_fault(struct vp *vp)
{
	char registers[1024], text[64];

	vp_print_registers(vp, registers, sizeof(registers));
	machine_flush();
	log_info("guest triple fault\n%s", registers);
	snprintf(text, sizeof(text), "VP %u", vp->index);
	stop_partition(HOSTLINK_POWER_TRIPLE_FAULT, text);
}

void intercept_dispatch(struct vp *vp)
{
	const struct hv_message *message = &vp->run->exit;
	const void *payload = message->payload;

	switch (message->type) {
	case HV_MSG_X64_IO_PORT: on_port(vp, payload); break;
	case HV_MSG_UNMAPPED_GPA:
	case HV_MSG_GPA_INTERCEPT: on_memory(vp, payload); break;
	case HV_MSG_X64_MSR: on_msr(vp, payload); break;
	case HV_MSG_HYPERCALL_INTERCEPT: on_hypercall(vp, payload); break;
	case HV_MSG_X64_APIC_EOI:
		vp->stats.exits[EXIT_EOI]++;
		machine_eoi((u8)((const struct hv_eoi_message *)payload)->vector);
		break;
	case HV_MSG_X64_INTERRUPTION_DELIVERABLE: on_deliverable(vp, payload); break;
	case HV_MSG_X64_CPUID: on_cpuid(vp, payload); break;
	case HV_MSG_UNRECOVERABLE_EXCEPTION: on_triple_fault(vp);
	default:
		stop_crash("VP %u: intercept message type %#x is unknown", vp->index,
			   message->type);
	}
}
