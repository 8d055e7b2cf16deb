#include "host/cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/log.h"

#define MAX_ENTRIES 256

struct table {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entry[MAX_ENTRIES];
};

static struct kvm_cpuid_entry2 *find(struct table *t, u32 leaf, u32 subleaf)
{
	for (u32 i = 0; i < t->head.nent; i++)
		if (t->entry[i].function == leaf &&
		    (!(t->entry[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
		     t->entry[i].index == subleaf))
			return &t->entry[i];
	return NULL;
}

static struct kvm_cpuid_entry2 *add(struct table *t, u32 leaf, u32 eax, u32 ebx, u32 ecx, u32 edx)
{
	struct kvm_cpuid_entry2 *e;

	if (t->head.nent >= MAX_ENTRIES)
		return NULL;
	e = &t->entry[t->head.nent++];
	*e = (struct kvm_cpuid_entry2){
		.function = leaf, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx};
	return e;
}

static void remove_leaves(struct table *t, u32 from, u32 to)
{
	u32 kept = 0;

	for (u32 i = 0; i < t->head.nent; i++)
		if (t->entry[i].function < from || t->entry[i].function > to)
			t->entry[kept++] = t->entry[i];
	t->head.nent = kept;
}

/*
 * QEMU's TCG does not report XSETBV of a nested guest to KVM: a guest that enables AVX there sees
 * an inconsistent XSAVE area and dies.
 */
static bool under_tcg(void)
{
	u32 eax, sig[4] = {0};

	__cpuid(0x40000000, eax, sig[0], sig[1], sig[2]);
	(void)eax;
	if (!memcmp(sig, "TCGTCGTCGTCG", 12))
		return true;
	/* A distribution kernel under QEMU without KVM shows the TCG name at +0x100 at times. */
	__cpuid(0x40000100, eax, sig[0], sig[1], sig[2]);
	return !memcmp(sig, "TCGTCGTCGTCG", 12);
}

/* XSAVE and all that needs it. VTL2 runs without (the VTLs share the registers, not XCR0). */
static void hide_xsave(struct table *t)
{
	struct kvm_cpuid_entry2 *e = find(t, 1, 0);

	if (e)
		e->ecx &= ~(1u << 12 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29);
	e = find(t, 7, 0);
	if (e) {
		e->ebx &= ~(1u << 5 | 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 |
			    1u << 28 | 1u << 30 | 1u << 31);
		e->ecx &= ~(1u << 1 | 1u << 3 | 1u << 4 | 1u << 6 | 1u << 9 | 1u << 10 | 1u << 11 |
			    1u << 12 | 1u << 14);
		e->edx &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 |
			    1u << 25);
	}
	e = find(t, 7, 1);
	if (e)
		e->eax &= ~(1u << 4 | 1u << 5 | 1u << 23);
	e = find(t, 0x80000001, 0);
	if (e)
		e->ecx &= ~(1u << 11 | 1u << 15 | 1u << 16);
	remove_leaves(t, 0xd, 0xd);
}

static unsigned log2_ceil(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static void set_topology(struct table *t, const struct vp *vp)
{
	unsigned n = vp->vm->vps, bits = log2_ceil(n);
	struct kvm_cpuid_entry2 *e = find(t, 1, 0);

	if (e) {
		e->ebx = (e->ebx & 0xffff) | (1u << bits) << 16 | vp->apic_id << 24;
		e->edx = n > 1 ? e->edx | 1u << 28 : e->edx & ~(1u << 28);
	}
	/* Intel cache leaf: cores per package */
	for (u32 i = 0; i < t->head.nent; i++)
		if (t->entry[i].function == 4 && t->entry[i].eax & 0x1f)
			t->entry[i].eax = (t->entry[i].eax & 0x3ffu) | ((1u << bits) - 1) << 26;
	remove_leaves(t, 0xb, 0xb);
	remove_leaves(t, 0x1f, 0x1f);
	for (u32 level = 0; level < 3; level++) {
		e = add(t, 0xb, level == 1 ? bits : 0,
			level == 0   ? 1
			: level == 1 ? n
				     : 0,
			level | (level < 2 ? (level + 1) << 8 : 0), vp->apic_id);
		if (e) {
			e->index = level;
			e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		}
	}
	e = find(t, 0x80000008, 0);
	if (e) {
		e->eax = vp->vm->mem.address_bits | (e->eax & 0xff00);
		e->ecx = bits << 12 | (n - 1);
	}
	e = find(t, 0x8000001e, 0);
	if (e) {
		e->eax = vp->apic_id;
		e->ebx = vp->apic_id;
		e->ecx = 0;
	}
	/* AMD cache leaf: nothing is shared between the one-threaded cores */
	for (u32 i = 0; i < t->head.nent; i++)
		if (t->entry[i].function == 0x8000001d)
			t->entry[i].eax &= ~(0xfffu << 14);
}

static void add_hyperv(struct table *t, const struct vm *vm, enum vtl vtl)
{
	u64 priv = HV_PRIV_TIME_REF_COUNT | HV_PRIV_SYNIC | HV_PRIV_STIMER | HV_PRIV_HYPERCALL |
		   HV_PRIV_VP_INDEX | HV_PRIV_REFERENCE_TSC | HV_PRIV_FREQUENCY_MSRS |
		   HV_PRIV_TSC_INVARIANT | HV_PRIV_POST_MESSAGES | HV_PRIV_SIGNAL_EVENTS |
		   HV_PRIV_START_VP;
	/*
	 * Direct stimers: a guest whose timers come as messages takes them in the slot of VMBus,
	 * and Linux then loses its clock event under its feet when it leaves VMBus.
	 */
	u32 features = HV_FEAT_FREQUENCY_MSRS | HV_FEAT_CRASH_MSRS | HV_FEAT_STIMER_DIRECT;
	u32 hints = HV_HINT_RELAXED_TIMING | HV_HINT_DEPRECATE_AUTOEOI;

	if (vtl == VTL2) {
		priv |= HV_PRIV_APIC | HV_PRIV_VSM | HV_PRIV_VP_REGISTERS;
		/*
		 * Direct stimers and IPIs by hypercall pass through this program; LAPIC timers and
		 * IPIs of a VTL that does not run at the moment would stay inside KVM unseen.
		 */
		if (vm->vps > 1)
			hints |= HV_HINT_CLUSTER_IPI;
	}
	remove_leaves(t, 0x40000000, 0x400fffff);
	add(t, HV_CPUID_MAX_AND_VENDOR, HV_CPUID_STACK_FEATURES, 0x7263694d, 0x666f736f,
	    0x76482074);
	add(t, HV_CPUID_INTERFACE, 0x31237648, 0, 0, 0);
	add(t, HV_CPUID_VERSION, 20348, 10 << 16, 0, 0);
	add(t, HV_CPUID_FEATURES, (u32)priv, (u32)(priv >> 32), 0, features);
	add(t, HV_CPUID_RECOMMENDATIONS, hints, 0xffffffff, vm->mem.address_bits, 0);
	add(t, HV_CPUID_LIMITS, vm->vps, vm->vps, 0, 0);
	/* Explicit zeros: on Intel a leaf beyond the table would alias the last basic leaf. */
	for (u32 leaf = HV_CPUID_HW_FEATURES; leaf <= HV_CPUID_ISOLATION; leaf++)
		add(t, leaf, 0, 0, 0, 0);
	add(t, HV_CPUID_STACK_VENDOR, HV_CPUID_STACK_FEATURES, 0x7263694d, 0x666f736f, 0x56532074);
	add(t, HV_CPUID_STACK_INTERFACE, 0x31235356, 0, 0, 0);
	add(t, HV_CPUID_STACK_FEATURES, 0, 0, 0, 0);
}

/* Overrides that VTL2 registered, kept in vm->vtl0_cpuid: result[] is (value, mask) pairs. */
struct override {
	u32 leaf, subleaf;
	bool subleaf_specific;
	u32 result[8];
};
#define MAX_OVERRIDES 64
struct cpuid_overrides {
	unsigned count;
	struct override item[MAX_OVERRIDES];
};

static void apply_overrides(struct table *t, const struct cpuid_overrides *o)
{
	for (unsigned i = 0; o && i < o->count; i++) {
		const struct override *v = &o->item[i];
		struct kvm_cpuid_entry2 *e = find(t, v->leaf, v->subleaf);

		if (!e)
			e = add(t, v->leaf, 0, 0, 0, 0);
		if (!e)
			return;
		e->eax = (e->eax & ~v->result[1]) | (v->result[0] & v->result[1]);
		e->ebx = (e->ebx & ~v->result[3]) | (v->result[2] & v->result[3]);
		e->ecx = (e->ecx & ~v->result[5]) | (v->result[4] & v->result[5]);
		e->edx = (e->edx & ~v->result[7]) | (v->result[6] & v->result[7]);
	}
}

u16 cpuid_override(struct vm *vm, const struct hv_cpuid_result *r)
{
	struct cpuid_overrides *o = vm->vtl0_cpuid;
	struct override *v;

	if (r->type != HV_INTERCEPT_X64_CPUID)
		return HV_STATUS_INVALID_PARAMETER;
	if (vm->vtl0_cpuid_fixed)
		return HV_STATUS_OPERATION_DENIED;
	if (!o) {
		o = calloc(1, sizeof(*o));
		if (!o)
			return HV_STATUS_INSUFFICIENT_MEMORY;
		vm->vtl0_cpuid = o;
	}
	if (o->count == MAX_OVERRIDES)
		return HV_STATUS_INSUFFICIENT_MEMORY;
	v = &o->item[o->count++];
	*v = (struct override){r->eax, r->ecx, r->subleaf_specific != 0, {0}};
	memcpy(v->result, r->result, sizeof(v->result));
	return HV_STATUS_SUCCESS;
}

int cpuid_set(struct vp *vp, enum vtl vtl)
{
	struct table *t = calloc(1, sizeof(*t));
	struct kvm_cpuid_entry2 *e;
	int ret = -1;

	if (!t)
		return -1;
	t->head.nent = MAX_ENTRIES - 24;
	if (ioctl(vp->vm->kvm, KVM_GET_SUPPORTED_CPUID, &t->head)) {
		log_error("KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
		goto out;
	}
	e = find(t, 1, 0);
	if (e) {
		e->ecx |= 1u << 31 | 1u << 21;
		e->ecx &= ~(1u << 5); /* VMX */
		if (vtl == VTL0)
			e->ecx |= 1u << 24; /* TSC deadline timer */
		else
			e->ecx &= ~(1u << 24);
	}
	e = find(t, 0x80000001, 0);
	if (e)
		e->ecx &= ~(1u << 2); /* SVM */
	if (vtl == VTL2 || under_tcg())
		hide_xsave(t);
	set_topology(t, vp);
	add_hyperv(t, vp->vm, vtl);
	if (vtl == VTL0)
		apply_overrides(t, vp->vm->vtl0_cpuid);
	if (ioctl(vp->vtl[vtl].fd, KVM_SET_CPUID2, &t->head)) {
		log_error("KVM_SET_CPUID2: %s", strerror(errno));
		goto out;
	}
	ret = 0;
out:
	free(t);
	return ret;
}
