#include "host/msr.h"

#include <string.h>

#include "common/log.h"
#include "host/crash_report.h"
#include "host/synic.h"

static void *vtl_page(struct vp *vp, enum vtl vtl, u64 reg)
{
	u64 gpa = reg & HV_PAGE_GPA_MASK;

	return vtl == VTL2 ? memory_at(&vp->vm->mem, gpa, PAGE_SIZE)
			   : memory_at_vtl0(&vp->vm->mem, gpa, PAGE_SIZE,
					    HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE);
}

static int write_guest_os_id(struct vp *vp, enum vtl vtl, u64 value)
{
	struct vm *vm = vp->vm;

	/* The shim clears its id when it hands over; Linux's id has its vendor in the top bits. */
	if (vtl == VTL2 && vp->index == 0) {
		if (!value)
			timeline_mark(vm->timeline, MARK_SHIM_DONE);
		else if (value >> 48 == 0x8100)
			timeline_mark(vm->timeline, MARK_KERNEL);
	}
	pthread_mutex_lock(&vm->lock);
	vm->guest_os_id[vtl] = value;
	if (!value)
		vm->hypercall[vtl] &= ~HV_PAGE_ENABLE;
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

/*
 * The page holds OUT to a reserved port: it leaves KVM_RUN with RIP on the instruction, while a
 * VMCALL would be answered inside KVM.
 */
static void fill_hypercall_page(u8 *page)
{
	static const struct {
		u64 offset;
		u8 port;
	} entry[] = {
		{0, HYPERCALL_PORT},
		{HYPERCALL_PAGE_VTL_CALL, VTL_CALL_PORT},
		{HYPERCALL_PAGE_VTL_RETURN, VTL_RETURN_PORT},
	};

	memset(page, 0xcc, PAGE_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(entry); i++) {
		const u8 code[] = {0xe6, entry[i].port, 0xc3};

		memcpy(page + entry[i].offset, code, sizeof(code));
	}
}

static int write_hypercall(struct vp *vp, enum vtl vtl, u64 value)
{
	struct vm *vm = vp->vm;
	int ret = 0;

	pthread_mutex_lock(&vm->lock);
	if (vm->hypercall[vtl] & BIT(1) || value & 0xffc) { /* locked, reserved bits */
		ret = -1;
	} else {
		if (!vm->guest_os_id[vtl])
			value &= ~HV_PAGE_ENABLE;
		if (value & HV_PAGE_ENABLE) {
			u8 *page = vtl_page(vp, vtl, value);

			if (page)
				fill_hypercall_page(page);
			else
				ret = -1;
		}
		if (!ret)
			vm->hypercall[vtl] = value;
	}
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

static int write_reference_tsc(struct vp *vp, enum vtl vtl, u64 value)
{
	struct vm *vm = vp->vm;

	if (value & HV_PAGE_ENABLE) {
		struct hv_reference_tsc *page = vtl_page(vp, vtl, value);

		if (!page)
			return -1;
		page->sequence = 0;
		page->scale = (u64)(((unsigned __int128)10000000 << 64) / vm->tsc_hz);
		page->offset = 0;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		page->sequence = 1;
	}
	pthread_mutex_lock(&vm->lock);
	vm->reference_tsc[vtl] = value;
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

/* A register of the form enable | page: the page must be RAM of the VTL. */
static int write_page_register(struct vp *vp, enum vtl vtl, u64 *reg, u64 value, bool clear)
{
	if (value & HV_PAGE_ENABLE) {
		void *page = vtl_page(vp, vtl, value);

		if (!page)
			return -1;
		if (clear && !(*reg & HV_PAGE_ENABLE && (*reg ^ value) < PAGE_SIZE))
			memset(page, 0, PAGE_SIZE);
	}
	pthread_mutex_lock(&vp->lock);
	*reg = value;
	pthread_mutex_unlock(&vp->lock);
	return 0;
}

static int write_sint(struct vp *vp, enum vtl vtl, unsigned n, u64 value)
{
	if (!(value & (HV_SINT_MASKED | HV_SINT_POLLING)) && (u8)value < 16)
		return -1;
	pthread_mutex_lock(&vp->lock);
	vp->vtl[vtl].synic.sint[n] = value;
	pthread_mutex_unlock(&vp->lock);
	synic_rescan(vp, vtl);
	return 0;
}

int msr_hyperv_write(struct vp *vp, enum vtl vtl, u32 msr, u64 value)
{
	struct vtl_vp *v = &vp->vtl[vtl];

	if (msr >= HV_MSR_SINT0 && msr <= HV_MSR_SINT15)
		return write_sint(vp, vtl, msr - HV_MSR_SINT0, value);
	if (msr >= HV_MSR_STIMER0_CONFIG && msr <= HV_MSR_STIMER3_COUNT)
		return stimer_write(vp, vtl, msr, value);
	if (msr >= HV_MSR_CRASH_P0 && msr <= HV_MSR_CRASH_P4) {
		v->crash[msr - HV_MSR_CRASH_P0] = value;
		return 0;
	}
	switch (msr) {
	case HV_MSR_GUEST_OS_ID: return write_guest_os_id(vp, vtl, value);
	case HV_MSR_HYPERCALL: return write_hypercall(vp, vtl, value);
	case HV_MSR_REFERENCE_TSC: return write_reference_tsc(vp, vtl, value);
	case HV_MSR_VP_ASSIST_PAGE: return write_page_register(vp, vtl, &v->assist, value, true);
	case HV_MSR_SIMP: return write_page_register(vp, vtl, &v->synic.simp, value, true);
	case HV_MSR_SIEFP: return write_page_register(vp, vtl, &v->synic.siefp, value, true);
	case HV_MSR_SCONTROL:
		pthread_mutex_lock(&vp->lock);
		v->synic.scontrol = value;
		pthread_mutex_unlock(&vp->lock);
		synic_rescan(vp, vtl);
		return 0;
	case HV_MSR_EOM:
		synic_rescan(vp, vtl);
		stimer_end_of_message(vp, vtl);
		return 0;
	case HV_MSR_SIRBP: return 0;
	case HV_MSR_TSC_INVARIANT_CONTROL: return value & ~1ull ? -1 : 0;
	case HV_MSR_CRASH_CTL:
		if (value & HV_CRASH_CTL_NOTIFY)
			crash_report_msrs(vp, vtl, value);
		return 0;
	case HV_MSR_RESET:
		if (value & 1)
			vm_end(vp->vm, VM_RESET, "reset by MSR");
		return 0;
	case HV_MSR_VP_INDEX:
	case HV_MSR_VP_RUNTIME:
	case HV_MSR_TIME_REF_COUNT:
	case HV_MSR_TSC_FREQUENCY:
	case HV_MSR_APIC_FREQUENCY:
	case HV_MSR_SVERSION: return -1;
	default: return 1;
	}
}

int msr_hyperv_read(struct vp *vp, enum vtl vtl, u32 msr, u64 *value)
{
	struct vtl_vp *v = &vp->vtl[vtl];
	struct vm *vm = vp->vm;

	*value = 0;
	if (msr >= HV_MSR_SINT0 && msr <= HV_MSR_SINT15) {
		*value = v->synic.sint[msr - HV_MSR_SINT0];
		return 0;
	}
	if (msr >= HV_MSR_STIMER0_CONFIG && msr <= HV_MSR_STIMER3_COUNT) {
		*value = stimer_read(vp, vtl, msr);
		return 0;
	}
	if (msr >= HV_MSR_CRASH_P0 && msr <= HV_MSR_CRASH_P4) {
		*value = v->crash[msr - HV_MSR_CRASH_P0];
		return 0;
	}
	switch (msr) {
	case HV_MSR_GUEST_OS_ID: *value = vm->guest_os_id[vtl]; return 0;
	case HV_MSR_HYPERCALL: *value = vm->hypercall[vtl]; return 0;
	case HV_MSR_VP_INDEX: *value = vp->index; return 0;
	case HV_MSR_TIME_REF_COUNT: *value = vm_reference_time(vm); return 0;
	case HV_MSR_REFERENCE_TSC: *value = vm->reference_tsc[vtl]; return 0;
	case HV_MSR_TSC_FREQUENCY: *value = vm->tsc_hz; return 0;
	case HV_MSR_APIC_FREQUENCY: *value = 1000000000; return 0; /* KVM's APIC bus */
	case HV_MSR_VP_ASSIST_PAGE: *value = v->assist; return 0;
	case HV_MSR_SCONTROL: *value = v->synic.scontrol; return 0;
	case HV_MSR_SVERSION: *value = 1; return 0;
	case HV_MSR_SIEFP: *value = v->synic.siefp; return 0;
	case HV_MSR_SIMP: *value = v->synic.simp; return 0;
	case HV_MSR_CRASH_CTL: *value = HV_CRASH_CTL_NOTIFY | HV_CRASH_CTL_MESSAGE; return 0;
	case HV_MSR_EOM:
	case HV_MSR_SIRBP:
	case HV_MSR_RESET:
	case HV_MSR_TSC_INVARIANT_CONTROL: return 0;
	case HV_MSR_EOI: return -1;
	default: return 1;
	}
}
