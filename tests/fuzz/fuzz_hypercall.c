/*
 * Sequences of hypercalls, synthetic MSR accesses and timer runs by both VTLs on a VM without KVM.
 * What VTL0 does never changes VTL2's memory or registers, nor what VTL0 may reach.
 *
 * Input: steps of { kind, VP and VTL, two bytes, what the kind needs }, read as one stream.
 */
#include "host/hostlink.h"
#include "host/hypercall.h"
#include "host/intercept.h"
#include "host/msr.h"
#include "tests/unit/host_fixture.h"
#include "tests/fuzz/fuzz.h"

#define VTL0_BYTES (1 * MiB)
#define VTL2_BYTES (64 * 1024ull)
#define PAGES	   ((VTL0_BYTES + VTL2_BYTES) / PAGE_SIZE)
#define MAX_STEPS  200

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void take_filled(struct input *in, void *to, size_t len)
{
	memset(to, 0, len);
	take(in, to, len);
}

static u64 take_u64(struct input *in)
{
	u64 v;

	take_filled(in, &v, sizeof(v));
	return v;
}

/* Mostly addresses near something: pages 0..15 of either VTL, ends of memory, or anything. */
static u64 take_address(struct input *in, const struct host_fix *f)
{
	u8 how[4];

	take_filled(in, how, sizeof(how));
	switch (how[0] & 7) {
	case 0: return take_u64(in);
	case 1:
	case 2: return f->vm.mem.vtl2_base + (how[1] & 15) * 4096ull + how[2] * 8ull;
	case 3: return VTL0_BYTES - how[1];
	case 4: return f->vm.mem.vtl2_base + VTL2_BYTES - how[1];
	default: return (how[1] & 15) * 4096ull + how[2] * 8ull + (how[3] & 64 ? how[3] & 7 : 0);
	}
}

static void hypercall(struct input *in, struct host_fix *f, struct vp *vp, enum vtl vtl)
{
	struct kvm_regs *r = regs_of(vp, vtl);
	u8 head[4], *page;
	u64 gpa;
	u16 len;

	take_filled(in, head, sizeof(head));
	r->rcx = head[0] | (head[1] & 128 ? 0x8000 : 0);
	if (head[1] & 1)
		r->rcx |= HV_CONTROL_FAST;
	if (head[1] & 2)
		r->rcx |= (u64)(head[2] & 7) << 32;
	if (head[1] & 4)
		r->rcx |= (u64)(head[2] >> 4 & 3) << 17;
	if (head[1] & 8)
		r->rcx |= (u64)(head[2] >> 4) << 48;
	if (head[1] & 16)
		r->rcx ^= take_u64(in);
	r->rdx = head[1] & 1 ? take_u64(in) : take_address(in, f);
	r->r8 = head[1] & 1 ? take_u64(in) : take_address(in, f);
	if (!(head[1] & 1) && head[1] & 32) {
		/* the caller writes its input: only where it may */
		gpa = r->rdx & ~7ull;
		len = (u16)(head[3] * 2);
		page = vtl == VTL2 ? memory_at(&f->vm.mem, gpa, len)
				   : memory_at_vtl0(&f->vm.mem, gpa, len, HV_MAP_GPA_WRITABLE);
		if (page) {
			take_filled(in, page, len);
			if (head[2] & 8 && len >= 8)
				memset(page, 0xff, 8); /* own partition */
			if (head[2] & 8 && len >= 13)
				page[12] &= 0x13;
		}
	}
	hypercall_run(vp, vtl);
	/* the paravisor's turn: message and page are made, RIP goes on */
	if (vtl == VTL0 && head[0] == HV_CALL_SIGNAL_EVENT) {
		struct hv_message m;

		intercept_hypercall(vp, &m);
	}
}

/* All that is VTL2's: its own state in each VP, and what it decides for the partition. */
struct vtl2_state {
	u8 memory[VTL2_BYTES], denied[PAGES];
	struct kvm_regs regs[HOST_FIX_VPS];
	struct kvm_sregs sregs[HOST_FIX_VPS];
	struct kvm_msr_entry msr[HOST_FIX_VPS][HOST_FIX_MSRS];
	struct {
		u64 scontrol, siefp, simp, sint[HV_SINT_COUNT], assist, register_page;
		struct stimer timer[HV_STIMER_COUNT];
	} vp[HOST_FIX_VPS];
	u64 guest_os_id, hypercall, reference_tsc, vsm_config;
	u64 io_intercept[65536 / 64][2];
	bool intercept[3];
};

static void snapshot(struct vtl2_state *s, const struct host_fix *f)
{
	const struct vm *vm = &f->vm;

	memset(s, 0, sizeof(*s));
	memcpy(s->memory, memory_at(&vm->mem, vm->mem.vtl2_base, VTL2_BYTES), VTL2_BYTES);
	memcpy(s->denied, vm->mem.denied, PAGES);
	/* what VTL2 has opened is no longer its own */
	for (u64 i = 0; i < VTL2_BYTES / PAGE_SIZE; i++)
		if (s->denied[VTL0_BYTES / PAGE_SIZE + i] != HV_MAP_GPA_PERMISSIONS_ALL)
			memset(s->memory + i * PAGE_SIZE, 0, PAGE_SIZE);
	for (unsigned i = 0; i < HOST_FIX_VPS; i++) {
		const struct vtl_vp *v = &f->vp[i].vtl[VTL2];

		s->regs[i] = v->run->s.regs.regs;
		s->sregs[i] = v->run->s.regs.sregs;
		memcpy(s->msr[i], fake.msr[2 * i + VTL2], sizeof(s->msr[i]));
		s->vp[i].scontrol = v->synic.scontrol;
		s->vp[i].siefp = v->synic.siefp;
		s->vp[i].simp = v->synic.simp;
		s->vp[i].assist = v->assist;
		s->vp[i].register_page = v->register_page;
		memcpy(s->vp[i].sint, v->synic.sint, sizeof(v->synic.sint));
		memcpy(s->vp[i].timer, v->synic.timer, sizeof(v->synic.timer));
	}
	s->guest_os_id = vm->guest_os_id[VTL2];
	s->hypercall = vm->hypercall[VTL2];
	s->reference_tsc = vm->reference_tsc[VTL2];
	s->vsm_config = vm->vsm_config;
	memcpy(s->io_intercept, vm->io_intercept, sizeof(vm->io_intercept));
	s->intercept[0] = vm->msr_intercept;
	s->intercept[1] = vm->eoi_intercept;
	s->intercept[2] = vm->synic_intercept;
}

/* Reference time stands still but here: a timer of VTL2 that falls due is not VTL0's deed. */
static void pass_time(struct host_fix *f, u8 ticks)
{
	f->vm.tsc_start -= (ticks & 7) * (f->vm.tsc_hz / 10000000);
	for (unsigned i = 0; i < HOST_FIX_VPS; i++)
		stimer_run(&f->vp[i]);
}

/* A VTL empties a message slot and says so. */
static void end_of_message(struct host_fix *f, struct vp *vp, enum vtl vtl, u8 sint)
{
	u64 gpa = (vp->vtl[vtl].synic.simp & HV_PAGE_GPA_MASK) + (sint & 15) * 256;
	u8 *slot = vtl == VTL2 ? memory_at(&f->vm.mem, gpa, 4)
			       : memory_at_vtl0(&f->vm.mem, gpa, 4, HV_MAP_GPA_WRITABLE);

	if (slot)
		memset(slot, 0, 4);
	msr_hyperv_write(vp, vtl, HV_MSR_EOM, 0);
}

static void step(struct input *in, struct host_fix *f)
{
	static struct vtl2_state before, after;
	u8 head[4];
	struct vp *vp;
	enum vtl vtl;
	u32 msr;
	u64 v;

	take_filled(in, head, sizeof(head));
	vp = &f->vp[head[1] & 3];
	vtl = head[1] & 0x80 ? VTL2 : VTL0;
	msr = HV_MSR_FIRST + (head[2] | (head[3] & 1u) << 8);
	if ((head[0] & 7) == 6) {
		pass_time(f, head[2]);
		return;
	}
	if (vtl == VTL0)
		snapshot(&before, f);
	switch (head[0] & 7) {
	case 3: msr_hyperv_write(vp, vtl, msr, (take_address(in, f) & ~0xfffull) | 1); break;
	case 4: msr_hyperv_write(vp, vtl, msr, take_u64(in)); break;
	case 5: msr_hyperv_read(vp, vtl, msr, &v); break;
	case 7: end_of_message(f, vp, vtl, head[2]); break;
	default: hypercall(in, f, vp, vtl);
	}
	if (vtl == VTL0) {
		snapshot(&after, f);
		must(!memcmp(&before, &after, sizeof(before)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chardev *ports[HOSTLINK_PORTS] = {NULL};
	struct input in = {data, size};
	struct host_fix *f = host_fix_new(VTL0_BYTES, VTL2_BYTES);

	f->vm.tsc_hz = BIT(62); /* stands still between two steps */
	f->vm.tsc_start = __builtin_ia32_rdtsc();
	f->vm.hostlink = hostlink_create(ports, -1, "MARK");
	memset(memory_at(&f->vm.mem, f->vm.mem.vtl2_base, VTL2_BYTES), 0x5a, VTL2_BYTES);
	for (unsigned i = 0; in.left && i < MAX_STEPS; i++)
		step(&in, f);
	for (unsigned i = 0; i < HOST_FIX_VPS; i++)
		must(f->vp[i].vtl[VTL0].synic.queued <= 64 &&
		     f->vp[i].vtl[VTL2].synic.queued <= 64);
	must(fake.routes <= 24);
	hostlink_destroy(f->vm.hostlink);
	host_fix_free(f);
	return 0;
}
