/* VP registers of the host: who may set what, VSM registers, forms of segments, XMM, contexts. */
#include "host/msr.h"
#include "tests/unit/host_test.h"

static u16 set(enum vtl vtl, u32 name, u64 low, u64 high)
{
	struct hv_register_value v = {low, high};

	return regs_set(vp, vtl, name, &v);
}

static struct hv_register_value get(enum vtl vtl, u32 name)
{
	struct hv_register_value v;

	assert_int_equal(regs_get(vp, vtl, name, &v), HV_STATUS_SUCCESS);
	return v;
}

/* Any name: no crash, a status that exists, and nothing of VTL2 changes but VSM's own. */
static void any_name(void **state)
{
	struct kvm_regs regs = *regs_of(vp, VTL2);
	struct kvm_sregs sregs = *sregs_of(vp, VTL2);

	(void)state;
	for (unsigned refuse = 0; refuse < 2; refuse++) {
		fake.refuse = refuse;
		for (u32 name = 0; name < 0x100000; name++) {
			struct hv_register_value v = {~0ull, ~0ull};
			u16 status;

			if ((name & 0xffff) > 0x200)
				continue;
			status = regs_get(vp, VTL2, name, &v);
			if (status)
				assert_true(v.high == 0 && status == HV_STATUS_INVALID_PARAMETER);
			regs_get(vp, VTL0, name, &v);
			v.low = v.high = 0x8000000080000001;
			status = regs_set(vp, VTL2, name, &v);
			if (name >> 16 != 0xd && name != HV_REG_REGISTER_PAGE)
				assert_int_equal(status, HV_STATUS_ACCESS_DENIED);
			regs_set(vp, VTL0, name, &v);
		}
	}
	fake.refuse = false;
	assert_memory_equal(&regs, regs_of(vp, VTL2), sizeof(regs));
	assert_memory_equal(&sregs, sregs_of(vp, VTL2), sizeof(sregs));
}

static void vsm_read_only(void **state)
{
	static const u32 names[] = {
		HV_REG_VSM_CODE_PAGE_OFFSETS,
		HV_REG_VSM_VP_STATUS,
		HV_REG_VSM_PARTITION_STATUS,
		HV_REG_VSM_CAPABILITIES,
		HV_REG_VSM_VINA,
		HV_REG_GUEST_VSM_PARTITION_CONFIG,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		u64 before = get(VTL2, names[i]).low;

		assert_int_equal(set(VTL2, names[i], ~before, 0), HV_STATUS_INVALID_PARAMETER);
		assert_int_equal(get(VTL2, names[i]).low, before);
	}
	/* TLB lock: always held, cannot be given back */
	assert_int_equal(get(VTL2, HV_REG_VSM_VP_SECURE_CONFIG_VTL0).low, BIT(1));
	assert_int_equal(set(VTL2, HV_REG_VSM_VP_SECURE_CONFIG_VTL0, BIT(1), 0), 0);
	assert_int_equal(set(VTL2, HV_REG_VSM_VP_SECURE_CONFIG_VTL0, 0, 0),
			 HV_STATUS_INVALID_PARAMETER);
}

static void code_page_offsets_match(void **state)
{
	u64 offsets = get(VTL2, HV_REG_VSM_CODE_PAGE_OFFSETS).low;
	const u8 *p;

	(void)state;
	msr_hyperv_write(vp, VTL2, HV_MSR_GUEST_OS_ID, 1);
	msr_hyperv_write(vp, VTL2, HV_MSR_HYPERCALL, f->vm.mem.vtl2_base | 1);
	p = memory_at(&f->vm.mem, f->vm.mem.vtl2_base, 4096);
	assert_int_equal(p[(offsets & 0xfff) + 1], VTL_CALL_PORT);
	assert_int_equal(p[(offsets >> 12 & 0xfff) + 1], VTL_RETURN_PORT);
	assert_int_equal(offsets >> 24, 0);
}

static void capabilities_follow_config(void **state)
{
	(void)state;
	assert_true(get(VTL2, HV_REG_VSM_CAPABILITIES).low & HV_VSM_CAP_INTERCEPT_PAGE);
	assert_int_equal(set(VTL2, HV_REG_REGISTER_PAGE, 0x5001, 0), 0);
	assert_int_equal(get(VTL2, HV_REG_REGISTER_PAGE).low, 0x5001);
	f->config.no_intercept_page = true;
	assert_false(get(VTL2, HV_REG_VSM_CAPABILITIES).low &
		     (HV_VSM_CAP_INTERCEPT_PAGE | HV_VSM_CAP_RETURN_ACTION));
	assert_int_equal(set(VTL2, HV_REG_REGISTER_PAGE, 0x6001, 0), HV_STATUS_INVALID_PARAMETER);
}

static void general(void **state)
{
	(void)state;
	for (u32 i = 0; i < 18; i++) {
		vp->vtl[VTL0].run->kvm_dirty_regs = 0;
		assert_int_equal(set(VTL0, HV_REG_RAX + i, 0x1000 + i, 0), 0);
		assert_int_equal(vp->vtl[VTL0].run->kvm_dirty_regs, KVM_SYNC_X86_REGS);
	}
	for (u32 i = 0; i < 18; i++)
		assert_int_equal(get(VTL0, HV_REG_RAX + i).low, 0x1000 + i);
	/* the order of hardware */
	assert_int_equal(regs_of(vp, VTL0)->rax, 0x1000);
	assert_int_equal(regs_of(vp, VTL0)->rbx, 0x1003);
	assert_int_equal(regs_of(vp, VTL0)->rsp, 0x1004);
	assert_int_equal(regs_of(vp, VTL0)->rdi, 0x1007);
	assert_int_equal(regs_of(vp, VTL0)->r15, 0x100f);
	assert_int_equal(regs_of(vp, VTL0)->rip, 0x1010);
	assert_int_equal(regs_of(vp, VTL0)->rflags, 0x1011);
	assert_int_equal(regs_of(vp, VTL2)->rax, 0);
}

static void system_registers(void **state)
{
	static const u16 attributes[] = {0xa09b, 0xc093, 0x008b, 0x0082, 0xf0ff, 0x0000, 0x7ffb};
	struct hv_register_value v;

	(void)state;
	for (u32 name = HV_REG_ES; name <= HV_REG_TR; name++)
		for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
			struct hv_segment s = {0xfffffffffffff000 + name, 0x12345678, 0x33,
					       attributes[i] & 0xf0ff};

			memcpy(&v, &s, sizeof(v));
			vp->vtl[VTL0].run->kvm_dirty_regs = 0;
			assert_int_equal(regs_set(vp, VTL0, name, &v), 0);
			assert_int_equal(vp->vtl[VTL0].run->kvm_dirty_regs, KVM_SYNC_X86_SREGS);
			v = get(VTL0, name);
			assert_memory_equal(&v, &s, sizeof(s));
		}
	/* a segment that is not present is unusable for KVM */
	v = (struct hv_register_value){0};
	regs_set(vp, VTL0, HV_REG_FS, &v);
	assert_true(sregs_of(vp, VTL0)->fs.unusable);
	set(VTL0, HV_REG_GDTR, 0x00ffull << 48, 0xffff800000001000);
	assert_int_equal(sregs_of(vp, VTL0)->gdt.limit, 0xff);
	assert_int_equal(sregs_of(vp, VTL0)->gdt.base, 0xffff800000001000);
	assert_int_equal(get(VTL0, HV_REG_GDTR).low, 0x00ffull << 48);
	for (u32 name = HV_REG_CR0; name <= HV_REG_CR8; name++) {
		assert_int_equal(set(VTL0, name, name + 5, 0), 0);
		assert_int_equal(get(VTL0, name).low, name + 5);
	}
	assert_int_equal(sregs_of(vp, VTL0)->cr3, HV_REG_CR3 + 5);
	assert_int_equal(set(VTL0, HV_REG_EFER, 0xd01, 0), 0);
	assert_int_equal(sregs_of(vp, VTL0)->efer, 0xd01);
}

static void msr_backed(void **state)
{
	static const struct {
		u32 name, msr;
	} c[] = {
		{HV_REG_KERNEL_GS_BASE, 0xc0000102},
		{HV_REG_PAT, 0x277},
		{HV_REG_SYSENTER_EIP, 0x176},
		{HV_REG_SYSENTER_ESP, 0x175},
		{HV_REG_LSTAR, 0xc0000082},
		{HV_REG_MTRR_DEF_TYPE, 0x2ff},
		{HV_REG_MTRR_PHYS_BASE0 + 7, 0x20e},
		{HV_REG_MTRR_PHYS_MASK0 + 7, 0x20f},
		{HV_REG_MTRR_FIX64K_00000, 0x250},
		{HV_REG_MTRR_FIX64K_00000 + 2, 0x259},
		{HV_REG_MTRR_FIX64K_00000 + 3, 0x268},
		{HV_REG_MTRR_FIX64K_00000 + 10, 0x26f},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		assert_int_equal(set(VTL0, c[i].name, 0x100 + i, 0), 0);
		assert_int_equal(fake.msr[0][i].index, c[i].msr);
		assert_int_equal(get(VTL0, c[i].name).low, 0x100 + i);
	}
	assert_int_equal(fake.msr[1][0].index, 0); /* VTL2 has its own */
	assert_int_equal(set(VTL0, HV_REG_MTRR_PHYS_BASE0 + 8, 1, 0), HV_STATUS_INVALID_PARAMETER);
	fake.refuse = true;
	assert_int_equal(set(VTL0, HV_REG_PAT, 1, 0), HV_STATUS_INVALID_PARAMETER);
	fake.refuse = false;
}

static void xmm(void **state)
{
	u8 *region = (u8 *)fake.xsave[0].region;

	(void)state;
	for (u32 i = 0; i < 16; i++)
		assert_int_equal(set(VTL0, HV_REG_XMM0 + i, i + 1, ~(u64)i), 0);
	assert_int_equal(region[160], 1);
	assert_int_equal(region[160 + 15 * 16], 16);
	assert_int_equal(region[512] & 3, 3); /* in use */
	for (u32 i = 416; i < 512; i++)
		assert_int_equal(region[i], 0);
	assert_int_equal(get(VTL0, HV_REG_XMM0 + 15).low, 16);
	assert_int_equal(get(VTL0, HV_REG_XMM0 + 15).high, ~15ull);
	assert_int_equal(get(VTL2, HV_REG_XMM0 + 15).low, 0);
}

static void activity(void **state)
{
	(void)state;
	assert_int_equal(set(VTL0, HV_REG_INTERNAL_ACTIVITY_STATE, HV_ACTIVITY_STARTUP_SUSPEND, 0),
			 0);
	assert_int_equal(fake.mp_state[0], KVM_MP_STATE_UNINITIALIZED);
	assert_int_equal(get(VTL0, HV_REG_INTERNAL_ACTIVITY_STATE).low,
			 HV_ACTIVITY_STARTUP_SUSPEND);
	assert_int_equal(set(VTL0, HV_REG_INTERNAL_ACTIVITY_STATE, HV_ACTIVITY_HALT_SUSPEND, 0), 0);
	assert_int_equal(fake.mp_state[0], KVM_MP_STATE_HALTED);
	assert_int_equal(set(VTL0, HV_REG_INTERNAL_ACTIVITY_STATE, 0, 0), 0);
	assert_int_equal(fake.mp_state[0], KVM_MP_STATE_RUNNABLE);
	assert_int_equal(set(VTL2, HV_REG_INTERNAL_ACTIVITY_STATE, 1, 0), HV_STATUS_ACCESS_DENIED);
}

static void context(void **state)
{
	struct hv_vp_context c = {
		.rip = 0x1000,
		.rsp = 0x2000,
		.rflags = 2,
		.cs = {0, 0xffffffff, 0x10, 0xa09b},
		.ss = {0, 0xffffffff, 0x18, 0xc093},
		.tr = {0x3000, 0x67, 0x40, 0x8b},
		.gdtr = {.base = 0x4000, .limit = 0x7f},
		.efer = 0xd00,
		.cr0 = 0x80050033,
		.cr3 = 0x5000,
		.cr4 = 0x20,
		.pat = 0x0007040600070406,
	};

	(void)state;
	vp = &f->vp[2];
	fake.mp_state[5] = KVM_MP_STATE_UNINITIALIZED;
	regs_load_context(vp, VTL2, &c);
	assert_int_equal(fake.mp_state[5], KVM_MP_STATE_RUNNABLE);
	assert_int_equal(fake.msr[5][0].index, 0x277);
	assert_int_equal(fake.msr[5][0].data, c.pat);
	assert_int_equal(regs_of(vp, VTL2)->rip, 0x1000);
	assert_int_equal(sregs_of(vp, VTL2)->cr3, 0x5000);
	assert_int_equal(sregs_of(vp, VTL2)->cs.l, 1);
	assert_int_equal(sregs_of(vp, VTL2)->tr.type, 0xb);
	assert_true(sregs_of(vp, VTL2)->ds.unusable);
	assert_int_equal(vp->vtl[VTL2].run->kvm_dirty_regs, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
	assert_int_equal(vp->vtl[VTL0].run->kvm_dirty_regs, 0);
}

static void text_is_bounded(void **state)
{
	char small[16], large[1024];

	(void)state;
	memset(regs_of(vp, VTL0), 0xff, sizeof(struct kvm_regs));
	memset(sregs_of(vp, VTL0), 0xff, sizeof(struct kvm_sregs));
	regs_format(vp, VTL0, small, sizeof(small));
	assert_int_equal(strlen(small), 15);
	regs_format(vp, VTL0, large, sizeof(large));
	assert_non_null(strstr(large, "efer ffffffffffffffff"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
	const struct CMUnitTest tests[] = {
		T(any_name),
		T(vsm_read_only),
		T(code_page_offsets_match),
		T(capabilities_follow_config),
		T(general),
		T(system_registers),
		T(msr_backed),
		T(xmm),
		T(activity),
		T(context),
		T(text_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
