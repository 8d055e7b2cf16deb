/* Hypercalls: the input rules, who may call what, VTL2's memory from VTL0, and each call's checks.
 */
#include "common/bytes.h"
#include "host/hypercall.h"
#include "host/msr.h"
#include "tests/unit/host_test.h"

#define IN  0x20000ull
#define OUT 0x21000ull

#define FAST	HV_CONTROL_FAST
#define REPS(n) ((u64)(n) << 32)
#define FROM(n) ((u64)(n) << 48)
#define VAR(n)	((u64)(n) << 17)

static u64 own(enum vtl vtl, u64 gpa)
{
	return vtl == VTL2 ? f->vm.mem.vtl2_base + gpa : gpa;
}

static u8 *at(enum vtl vtl, u64 gpa)
{
	return memory_at(&f->vm.mem, own(vtl, gpa), 4096);
}

/* RAX after the call with these registers */
static u64 raw(enum vtl vtl, u64 control, u64 in, u64 out)
{
	struct kvm_regs *r = regs_of(vp, vtl);

	r->rax = 0xdead;
	r->rcx = control;
	r->rdx = in;
	r->r8 = out;
	vp->vtl[vtl].run->kvm_dirty_regs = 0;
	assert_int_equal(hypercall_run(vp, vtl), HYPERCALL_DONE);
	assert_true(vp->vtl[vtl].run->kvm_dirty_regs & KVM_SYNC_X86_REGS);
	assert_int_equal(r->rcx, control);
	assert_int_equal(r->rdx, in);
	assert_int_equal(r->r8, out);
	return r->rax;
}

/* Call with `len` bytes of input in the VTL's own input page, output in its output page. */
static u64 call(enum vtl vtl, u64 control, const void *in, size_t len)
{
	memset(at(vtl, IN), 0xee, 4096);
	memcpy(at(vtl, IN), in, len);
	memset(at(vtl, OUT), 0x77, 4096);
	return raw(vtl, control, own(vtl, IN), own(vtl, OUT));
}

static void expect_untouched(enum vtl vtl, unsigned from)
{
	for (unsigned i = from; i < 4096; i++)
		if (at(vtl, OUT)[i] != 0x77)
			fail_msg("output byte %u was written", i);
}

/* ---- rules for all calls ---- */

static void unknown_codes(void **state)
{
	(void)state;
	for (u64 code = 0x200; code < 0x10000; code += 7)
		if (code != HV_CALL_EXT_QUERY_CAPABILITIES)
			assert_int_equal(raw(VTL0, code, IN, OUT),
					 HV_STATUS_INVALID_HYPERCALL_CODE);
	assert_int_equal(raw(VTL0, 0, 0, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
	assert_int_equal(raw(VTL0, HV_CALL_VTL_CALL, 0, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
	/* the table of counters is finite */
	assert_true(vp->stats.hypercall[STATS_HYPERCALLS - 1].calls > 0);
}

static void control_word(void **state)
{
	const u64 names = HV_CALL_GET_VP_REGISTERS, ipi = HV_CALL_SEND_IPI;
	struct hv_vp_registers_header h = {HV_PARTITION_ID_SELF, HV_VP_INDEX_SELF, 0, {0}};
	static const u64 reserved[] = {BIT(27), BIT(30), BIT(31), BIT(44),
				       BIT(47), BIT(60), BIT(63)};

	(void)state;
	memcpy(at(VTL2, IN), &h, sizeof(h));
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		assert_int_equal(
			raw(VTL2, names | REPS(1) | reserved[i], own(VTL2, IN), own(VTL2, OUT)),
			HV_STATUS_INVALID_HYPERCALL_INPUT);
	/* rep calls need reps, a start below them, no variable header, memory */
	assert_int_equal((u16)call(VTL2, names, &h, 16), HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal((u16)call(VTL2, names | REPS(2) | FROM(2), &h, 16),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal((u16)call(VTL2, names | REPS(1) | FROM(0xfff), &h, 16),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal((u16)call(VTL2, names | REPS(1) | VAR(1), &h, 16),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal((u16)call(VTL2, names | REPS(1) | FAST, &h, 16),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	/* simple calls the opposite */
	assert_int_equal((u16)raw(VTL2, ipi | FAST | REPS(1), 0xf3, 1),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal((u16)raw(VTL2, ipi | FAST | FROM(1), 0xf3, 1),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal((u16)raw(VTL2, ipi | FAST | VAR(1), 0xf3, 1),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	/* more than two registers of input */
	assert_int_equal((u16)raw(VTL2, HV_CALL_INSTALL_INTERCEPT | FAST, ~0ull, 0),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal(fake.msis, 0);
	expect_untouched(VTL2, 0);
}

static void alignment_and_pages(void **state)
{
	const u64 code = HV_CALL_GET_VP_INDEX_FROM_APIC_ID | REPS(1);
	u64 self = HV_PARTITION_ID_SELF;

	(void)state;
	for (u64 off = 1; off < 8; off++) {
		assert_int_equal(raw(VTL0, code, IN + off, OUT), HV_STATUS_INVALID_ALIGNMENT);
		assert_int_equal(raw(VTL0, code, IN, OUT + off), HV_STATUS_INVALID_ALIGNMENT);
		assert_int_equal(raw(VTL0, HV_CALL_EXT_QUERY_CAPABILITIES, 0, OUT + off),
				 HV_STATUS_INVALID_ALIGNMENT);
	}
	/* 16 + 4 bytes: the last place that fits, and the first that does not */
	memcpy(at(VTL0, IN) + 0xfe8, &self, 8);
	memset(at(VTL0, IN) + 0xff0, 0, 16);
	assert_int_equal(raw(VTL0, code, IN + 0xfe8, OUT), HV_RESULT(0, 1));
	assert_int_equal(raw(VTL0, code, IN + 0xff0, OUT), HV_STATUS_INVALID_HYPERCALL_INPUT);
	memcpy(at(VTL0, IN), &self, 8);
	assert_int_equal(raw(VTL0, HV_CALL_GET_VP_INDEX_FROM_APIC_ID | REPS(3), IN, OUT + 0xff8),
			 HV_STATUS_INVALID_HYPERCALL_INPUT);
	/* the longest lists the control word can name */
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
		assert_int_equal(raw(vtl, HV_CALL_GET_VP_REGISTERS | REPS(0xfff), own(vtl, IN),
				     own(vtl, OUT)),
				 HV_STATUS_INVALID_HYPERCALL_INPUT);
		assert_int_equal(
			raw(vtl, HV_CALL_SEND_IPI_EX | VAR(0x3ff), own(vtl, IN), own(vtl, OUT)),
			HV_STATUS_INVALID_HYPERCALL_INPUT);
	}
}

static void addresses(void **state)
{
	static const u64 bad[] = {64 * MiB,	 ~0ull - 4095,	APIC_PAGE, BIT(51),
				  LOW_MMIO_BASE, HIGH_BASE - 8, 0ull - 8};
	const u64 code = HV_CALL_GET_VP_INDEX_FROM_APIC_ID | REPS(1);
	u64 self = HV_PARTITION_ID_SELF;

	(void)state;
	memcpy(at(VTL0, IN), &self, 8);
	memset(at(VTL0, IN) + 16, 0, 4);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_not_equal(raw(VTL0, code, bad[i], OUT), HV_RESULT(0, 1));
		assert_int_not_equal((u16)raw(VTL0, code, IN, bad[i]), HV_STATUS_SUCCESS);
		assert_int_not_equal((u16)raw(VTL2, HV_CALL_EXT_QUERY_CAPABILITIES, 0, bad[i]),
				     HV_STATUS_SUCCESS);
	}
}

static void vtl2_memory_from_vtl0(void **state)
{
	const u64 code = HV_CALL_GET_VP_INDEX_FROM_APIC_ID | REPS(1);
	u64 self = HV_PARTITION_ID_SELF, vtl2 = f->vm.mem.vtl2_base;
	u8 *p = at(VTL2, 0);

	(void)state;
	memset(p, 0, 4096);
	memcpy(p, &self, 8);
	memcpy(at(VTL0, IN), p, 4096);
	assert_int_equal(raw(VTL0, code, vtl2, OUT), HV_STATUS_INVALID_PARAMETER);
	memset(p, 0x55, 4096);
	assert_int_equal(raw(VTL0, code, IN, vtl2), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(raw(VTL0, HV_CALL_EXT_QUERY_CAPABILITIES, 0, vtl2 + 8),
			 HV_STATUS_INVALID_PARAMETER);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(p[i], 0x55);
	assert_int_equal(raw(VTL0, code, IN, OUT), HV_RESULT(0, 1));
	/* a page that VTL2 made read-only takes input, not output */
	assert_int_equal(memory_protect(&f->vm.mem, IN, HV_MAP_GPA_READABLE), 0);
	assert_int_equal(raw(VTL0, code, IN, OUT), HV_RESULT(0, 1));
	assert_int_equal(raw(VTL0, code, IN, IN + 64), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(memory_protect(&f->vm.mem, IN, 0), 0);
	assert_int_equal(raw(VTL0, code, IN, OUT), HV_STATUS_INVALID_PARAMETER);
	/* VTL2 itself reaches all of it */
	assert_int_equal(raw(VTL2, code, IN, OUT), HV_RESULT(0, 1));
}

static void only_from_vtl2(void **state)
{
	static const u16 codes[] = {
		HV_CALL_MODIFY_VTL_PROTECTION_MASK, HV_CALL_ENABLE_VP_VTL,
		HV_CALL_INSTALL_INTERCEPT,	    HV_CALL_SET_VP_REGISTERS,
		HV_CALL_TRANSLATE_VIRTUAL_ADDRESS,  HV_CALL_TRANSLATE_VIRTUAL_ADDRESS_EX,
		HV_CALL_REGISTER_INTERCEPT_RESULT,  HV_CALL_ASSERT_VIRTUAL_INTERRUPT,
		HV_CALL_SIGNAL_EVENT_DIRECT,	    HV_CALL_POST_MESSAGE_DIRECT,
	};
	u8 in[512];

	(void)state;
	memset(in, 0xff, sizeof(in));
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		for (u64 reps = 0; reps < 2; reps++) {
			assert_int_equal((u16)call(VTL0, codes[i] | REPS(reps), in, sizeof(in)),
					 HV_STATUS_ACCESS_DENIED);
			expect_untouched(VTL0, 0);
		}
}

/* Every call with a partition refuses another one. */
static void other_partition(void **state)
{
	static const u64 codes[] = {
		HV_CALL_MODIFY_VTL_PROTECTION_MASK | REPS(1),
		HV_CALL_ENABLE_VP_VTL,
		HV_CALL_START_VP,
		HV_CALL_INSTALL_INTERCEPT,
		HV_CALL_GET_VP_REGISTERS | REPS(1),
		HV_CALL_SET_VP_REGISTERS | REPS(1),
		HV_CALL_TRANSLATE_VIRTUAL_ADDRESS,
		HV_CALL_TRANSLATE_VIRTUAL_ADDRESS_EX,
		HV_CALL_REGISTER_INTERCEPT_RESULT,
		HV_CALL_ASSERT_VIRTUAL_INTERRUPT,
		HV_CALL_GET_VP_INDEX_FROM_APIC_ID | REPS(1),
		HV_CALL_SIGNAL_EVENT_DIRECT,
		HV_CALL_POST_MESSAGE_DIRECT,
	};
	u8 in[512] = {1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		assert_int_equal(call(VTL2, codes[i], in, sizeof(in)),
				 HV_STATUS_INVALID_PARTITION_ID);
		expect_untouched(VTL2, 0);
	}
}

/* ---- rep calls ---- */

static void reps_count_and_stop(void **state)
{
	struct {
		u64 partition, reserved;
		u32 id[6];
	} in = {HV_PARTITION_ID_SELF, 0, {3, 2, 1, 99, 0, 1}};
	const u64 code = HV_CALL_GET_VP_INDEX_FROM_APIC_ID;

	(void)state;
	assert_int_equal(call(VTL0, code | REPS(3), &in, sizeof(in)), HV_RESULT(0, 3));
	assert_int_equal(get_le32(at(VTL0, OUT)), 3);
	assert_int_equal(get_le32(at(VTL0, OUT) + 8), 1);
	expect_untouched(VTL0, 12);
	/* the failing element: absolute count, its output and later ones not written */
	assert_int_equal(call(VTL0, code | REPS(6) | FROM(1), &in, sizeof(in)),
			 HV_RESULT(HV_STATUS_INVALID_PARAMETER, 3));
	assert_int_equal(get_le32(at(VTL0, OUT)), 0x77777777); /* before the start */
	assert_int_equal(get_le32(at(VTL0, OUT) + 4), 2);
	assert_int_equal(get_le32(at(VTL0, OUT) + 8), 1);
	expect_untouched(VTL0, 12);
	assert_int_equal(call(VTL0, code | REPS(6) | FROM(4), &in, sizeof(in)), HV_RESULT(0, 6));
	assert_int_equal(get_le32(at(VTL0, OUT) + 20), 1);
	/* output over input: the input is judged as it came */
	memcpy(at(VTL0, IN), &in, sizeof(in));
	assert_int_equal(raw(VTL0, code | REPS(3), IN, IN + 16), HV_RESULT(0, 3));
	assert_int_equal(get_le32(at(VTL0, IN) + 16), 3);
	assert_int_equal(get_le32(at(VTL0, IN) + 20), 2);
	assert_int_equal(get_le32(at(VTL0, IN) + 24), 1);
}

/* ---- registers ---- */

static u64 get_register(enum vtl caller, u32 vp_index, u8 input_vtl, u32 name,
			struct hv_register_value *value)
{
	struct {
		struct hv_vp_registers_header h;
		u32 name;
	} in = {{HV_PARTITION_ID_SELF, vp_index, input_vtl, {0}}, name};
	u64 r = call(caller, HV_CALL_GET_VP_REGISTERS | REPS(1), &in, sizeof(in));

	if (r == HV_RESULT(0, 1))
		memcpy(value, at(caller, OUT), sizeof(*value));
	else
		expect_untouched(caller, 0);
	expect_untouched(caller, 16);
	return (u16)r;
}

static u16 set_register(u8 input_vtl, u32 name, u64 low)
{
	struct {
		struct hv_vp_registers_header h;
		struct hv_register_assoc a;
	} in = {{HV_PARTITION_ID_SELF, HV_VP_INDEX_SELF, input_vtl, {0}}, {.name = name}};

	in.a.value.low = low;
	return (u16)call(VTL2, HV_CALL_SET_VP_REGISTERS | REPS(1), &in, sizeof(in));
}

static void registers_from_vtl0(void **state)
{
	struct hv_register_value v;

	(void)state;
	/* of all names only the one that every kernel asks, and of VTL0 only */
	assert_int_equal(get_register(VTL0, HV_VP_INDEX_SELF, 0, HV_REG_VSM_VP_STATUS, &v), 0);
	assert_int_equal(v.low, BIT(16)); /* VTL0 active, VTL0 enabled: no trace of VTL2 */
	assert_int_equal(v.high, 0);
	for (u32 name = 0; name < 0xe0000; name += name >> 16 == 0xd ? 1 : 0xff)
		if (name != HV_REG_VSM_VP_STATUS)
			assert_int_equal(get_register(VTL0, HV_VP_INDEX_SELF, 0, name, &v),
					 HV_STATUS_ACCESS_DENIED);
	assert_int_equal(
		get_register(VTL0, HV_VP_INDEX_SELF, HV_INPUT_VTL2, HV_REG_VSM_VP_STATUS, &v),
		HV_STATUS_ACCESS_DENIED);
	assert_int_equal(get_register(VTL0, HV_VP_INDEX_SELF, 0x11, HV_REG_VSM_VP_STATUS, &v),
			 HV_STATUS_ACCESS_DENIED);
	assert_int_equal(get_register(VTL0, 1, 0, HV_REG_VSM_VP_STATUS, &v),
			 HV_STATUS_INVALID_PARAMETER);
}

static void registers_from_vtl2(void **state)
{
	struct hv_register_value v;

	(void)state;
	assert_int_equal(get_register(VTL2, HV_VP_INDEX_SELF, 0, HV_REG_VSM_VP_STATUS, &v), 0);
	assert_int_equal(v.low & 0xf, 2);
	assert_int_equal(v.low >> 16, 5);
	assert_int_equal(get_register(VTL2, 0, HV_INPUT_VTL2, HV_REG_VSM_CAPABILITIES, &v), 0);
	assert_true(v.low & HV_VSM_CAP_INTERCEPT_PAGE);
	assert_false(v.low & HV_VSM_CAP_ALIAS_MAP);
	assert_int_equal(get_register(VTL2, 1, 0, HV_REG_VSM_VP_STATUS, &v),
			 HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(get_register(VTL2, 0, 0x11, HV_REG_RIP, &v), HV_STATUS_ACCESS_DENIED);
	assert_int_equal(get_register(VTL2, 0, 0, 0xdead, &v), HV_STATUS_INVALID_PARAMETER);
	regs_of(vp, VTL0)->rip = 0x1234;
	regs_of(vp, VTL2)->rip = 0x5678;
	assert_int_equal(get_register(VTL2, 0, HV_INPUT_VTL0, HV_REG_RIP, &v), 0);
	assert_int_equal(v.low, 0x1234);
	assert_int_equal(get_register(VTL2, 0, 0, HV_REG_RIP, &v), 0);
	assert_int_equal(v.low, 0x5678);
	/* VTL2 sets VTL0's, not its own */
	assert_int_equal(set_register(HV_INPUT_VTL0, HV_REG_RIP, 0x42), 0);
	assert_int_equal(regs_of(vp, VTL0)->rip, 0x42);
	assert_int_equal(set_register(HV_INPUT_VTL2, HV_REG_RIP, 0x43), HV_STATUS_ACCESS_DENIED);
	assert_int_equal(set_register(0, HV_REG_RIP, 0x43), HV_STATUS_ACCESS_DENIED);
	assert_int_equal(regs_of(vp, VTL2)->rip, 0x5678);
}

/* ---- protection ---- */

static u64 protect(u32 flags, u32 reps, const u64 *pages)
{
	struct {
		u64 partition;
		u32 flags;
		u8 vtl, pad[3];
		u64 page[8];
	} in = {HV_PARTITION_ID_SELF, flags, 0, {0}, {0}};

	memcpy(in.page, pages, reps * 8);
	return call(VTL2, HV_CALL_MODIFY_VTL_PROTECTION_MASK | REPS(reps), &in, sizeof(in));
}

static void protection(void **state)
{
	const u64 pages[] = {5, 6, 64 * MiB / PAGE_SIZE, 7}, huge[] = {BIT(52), ~0ull};
	struct guest_memory *m = &f->vm.mem;

	(void)state;
	assert_int_equal(protect(0, 1, pages), HV_STATUS_ACCESS_DENIED); /* not enabled */
	assert_non_null(memory_at_vtl0(m, 5 * PAGE_SIZE, 1, 1));
	assert_int_equal(set_register(0, HV_REG_VSM_PARTITION_CONFIG, 0x1f), 0);
	assert_int_equal(protect(0, 4, pages), HV_RESULT(HV_STATUS_INVALID_PARAMETER, 2));
	assert_null(memory_at_vtl0(m, 5 * PAGE_SIZE, 1, 1));
	assert_null(memory_at_vtl0(m, 6 * PAGE_SIZE, 1, 1));
	assert_non_null(memory_at_vtl0(m, 7 * PAGE_SIZE, 1, 1));
	assert_int_equal(protect(0xf, 2, pages), HV_RESULT(0, 2));
	assert_non_null(memory_at_vtl0(m, 5 * PAGE_SIZE, 1, 2));
	assert_int_equal(protect(2, 1, pages), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(protect(0xf, 1, huge), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(protect(0xf, 1, huge + 1), HV_STATUS_INVALID_PARAMETER);
	/* once on, protection stays, and so does the default mask */
	assert_int_equal(set_register(0, HV_REG_VSM_PARTITION_CONFIG, 0x1e),
			 HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(set_register(0, HV_REG_VSM_PARTITION_CONFIG, 0x03),
			 HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(f->vm.vsm_config, 0x1f);
	assert_int_equal(set_register(0, HV_REG_VSM_PARTITION_CONFIG, 0x181f), 0);
	assert_int_equal(f->vm.vsm_config, 0x181f);
}

/* ---- processors ---- */

static u64 vp_call(enum vtl caller, u16 code, u32 index, u8 vtl)
{
	struct hv_start_vp in = {.partition_id = HV_PARTITION_ID_SELF,
				 .vp_index = index,
				 .target_vtl = vtl,
				 .context = {.rip = 0x1111 + vtl, .cr3 = 0x2222}};

	return call(caller, code, &in, sizeof(in));
}

static void processors(void **state)
{
	const u16 enable = HV_CALL_ENABLE_VP_VTL, start = HV_CALL_START_VP;

	(void)state;
	assert_int_equal(vp_call(VTL2, enable, HOST_FIX_VPS, 2), HV_STATUS_INVALID_VP_INDEX);
	assert_int_equal(vp_call(VTL2, enable, HV_ANY_VP, 2), HV_STATUS_INVALID_VP_INDEX);
	assert_int_equal(vp_call(VTL2, enable, 0, 2), HV_STATUS_INVALID_PARAMETER); /* own */
	assert_int_equal(vp_call(VTL2, enable, HV_VP_INDEX_SELF, 2), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(vp_call(VTL2, enable, 1, 0), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(vp_call(VTL2, start, 1, 2), HV_STATUS_INVALID_VP_STATE);
	assert_int_equal(vp_call(VTL2, start, 1, 0), HV_STATUS_INVALID_VP_STATE);
	assert_int_equal(vp_call(VTL2, start, 1, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(atomic_load(&f->vp[1].requests), 0);
	assert_int_equal(vp_call(VTL2, enable, 1, 2), HV_STATUS_SUCCESS);
	assert_int_equal(vp_call(VTL2, enable, 1, 2), HV_STATUS_VTL_ALREADY_ENABLED);
	assert_int_equal(vp_call(VTL0, start, 1, 2), HV_STATUS_ACCESS_DENIED);
	assert_int_equal(vp_call(VTL2, start, 1, 2), HV_STATUS_SUCCESS);
	assert_int_equal(atomic_load(&f->vp[1].requests), VP_REQUEST_START);
	assert_true(f->vp[1].start_pending[VTL2]);
	assert_false(f->vp[1].start_pending[VTL0]);
	assert_int_equal(f->vp[1].start_context[VTL2].rip, 0x1113);
	assert_int_equal(vp_call(VTL2, start, 1, 2), HV_STATUS_INVALID_VP_STATE);
	f->vp[1].start_pending[VTL2] = false;
	assert_int_equal(vp_call(VTL2, start, 1, 2), HV_STATUS_INVALID_VP_STATE);
}

/* VTL0 of a processor starts once: not while it runs, not while a start is on its way. */
static void guest_processor_starts_once(void **state)
{
	const u16 start = HV_CALL_START_VP;
	u32 *activity = &fake.mp_state[2 * 1 + VTL0];

	(void)state;
	assert_int_equal(vp_call(VTL2, HV_CALL_ENABLE_VP_VTL, 1, 2), HV_STATUS_SUCCESS);
	for (*activity = 0; *activity < 16; ++*activity) {
		bool waits = *activity == KVM_MP_STATE_UNINITIALIZED ||
			     *activity == KVM_MP_STATE_INIT_RECEIVED;

		for (enum vtl caller = VTL0; caller < VTLS; caller++) {
			assert_int_equal(vp_call(caller, start, 1, 0),
					 waits ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_VP_STATE);
			assert_int_equal(f->vp[1].start_pending[VTL0], waits);
			assert_int_equal(vp_call(caller, start, 1, 0), HV_STATUS_INVALID_VP_STATE);
			assert_int_equal(f->vp[1].start_pending[VTL0], waits);
			f->vp[1].start_pending[VTL0] = false;
		}
	}
	/* KVM does not say */
	*activity = KVM_MP_STATE_UNINITIALIZED;
	fake.refuse = true;
	assert_int_equal(vp_call(VTL0, start, 1, 0), HV_STATUS_INVALID_VP_STATE);
	assert_false(f->vp[1].start_pending[VTL0]);
}

static void ipis(void **state)
{
	struct {
		u32 vector;
		u8 vtl, flags;
		u16 pad;
		u64 format, valid, bank;
	} ex = {0xf3, 0, 0, 0, 0, 1, ~0ull};
	const u64 code = HV_CALL_SEND_IPI | FAST;

	(void)state;
	assert_int_equal(raw(VTL0, code, 15, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(raw(VTL0, code, 256, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(raw(VTL0, code, 0xf3 | (u64)HV_INPUT_VTL2 << 32, 1),
			 HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(raw(VTL0, code, 0xf3 | 0x11ull << 32, 1), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(fake.msis, 0);
	/* 60 processors that do not exist */
	assert_int_equal(raw(VTL0, code, 0xf3, ~0ull), HV_STATUS_SUCCESS);
	assert_int_equal(fake.msis, HOST_FIX_VPS);
	assert_int_equal(fake.msi_fd, HOST_FIX_VM_FD + VTL0);
	assert_int_equal(raw(VTL2, code, 0xf4, 1 << 2), HV_STATUS_SUCCESS);
	assert_int_equal(fake.msi_fd, HOST_FIX_VM_FD + VTL2);
	assert_int_equal(fake.msi.address_lo, 0xfee00000 | 2 << 12);
	assert_int_equal(fake.msi.data, 0xf4);
	assert_true(atomic_load(&f->vp[2].vtl[VTL2].irq_hint));
	fake.msis = 0;
	assert_int_equal(call(VTL0, HV_CALL_SEND_IPI_EX | VAR(1), &ex, sizeof(ex)), 0);
	assert_int_equal(fake.msis, HOST_FIX_VPS);
	/* a bank that is named but not there */
	assert_int_equal(call(VTL0, HV_CALL_SEND_IPI_EX, &ex, sizeof(ex)), 0);
	assert_int_equal(fake.msis, HOST_FIX_VPS);
	ex.format = 1;
	assert_int_equal(call(VTL0, HV_CALL_SEND_IPI_EX, &ex, sizeof(ex)), 0);
	assert_int_equal(fake.msis, 2 * HOST_FIX_VPS);
	ex.format = 2;
	assert_int_equal(call(VTL0, HV_CALL_SEND_IPI_EX, &ex, sizeof(ex)),
			 HV_STATUS_INVALID_PARAMETER);
}

/* ---- intercepts and interrupts ---- */

static u64 install(u32 type, u32 access, u64 parameter)
{
	struct hv_install_intercept in = {HV_PARTITION_ID_SELF, access, type, parameter};

	return call(VTL2, HV_CALL_INSTALL_INTERCEPT, &in, sizeof(in));
}

static bool port(u32 p, unsigned write)
{
	return f->vm.io_intercept[p / 64][write] >> p % 64 & 1;
}

static void intercepts(void **state)
{
	(void)state;
	assert_int_equal(install(HV_INTERCEPT_X64_IO_PORT_RANGE, 3, 0x00ff0100),
			 HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(install(HV_INTERCEPT_X64_CPUID, 4, 0), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(install(0xffffffff, 4, 0), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(install(HV_INTERCEPT_X64_IO_PORT_RANGE, 3, 0xffff0000), 0);
	for (u32 p = 0; p < 65536; p++)
		assert_true(port(p, 0) && port(p, 1));
	assert_int_equal(install(HV_INTERCEPT_X64_IO_PORT_RANGE, 2, 0x03ff03f8), 0);
	assert_int_equal(install(HV_INTERCEPT_X64_IO_PORT, 0, 0xffff), 0);
	for (u32 p = 0; p < 65536; p++) {
		assert_int_equal(port(p, 0), !(p >= 0x3f8 && p <= 0x3ff) && p != 0xffff);
		assert_int_equal(port(p, 1), p != 0xffff);
	}
	assert_int_equal(install(HV_INTERCEPT_X64_MSR, 3, 0), 0);
	assert_int_equal(install(HV_INTERCEPT_X64_APIC_EOI, 2, 0), 0);
	assert_true(f->vm.msr_intercept && f->vm.eoi_intercept && !f->vm.synic_intercept);
	assert_int_equal(install(HV_INTERCEPT_X64_MSR, 0, 0), 0);
	assert_false(f->vm.msr_intercept);
}

static u64 assert_virtual(u64 control, u64 destination, u32 vector, u8 vtl)
{
	struct hv_assert_interrupt in = {
		HV_PARTITION_ID_SELF, control, destination, vector, vtl, {0}};

	return call(VTL2, HV_CALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in));
}

static void interrupts(void **state)
{
	static const u32 types[] = {2, 3, 7, 8, 9, 10, 0x80000000, 0xffffffff};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(assert_virtual(types[i], 0, 0x30, 0), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(assert_virtual(0, 0, 15, 0), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(assert_virtual(0, 0, 256, 0), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(assert_virtual(0, 256, 0x30, 0), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(assert_virtual(0, BIT(32), 0x30, 0), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(assert_virtual(0, 0, 0x30, 2), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(fake.msis, 0);
	assert_int_equal(assert_virtual(HV_INTERRUPT_LOGICAL | 1, 0x81, 0x30, 0), 0);
	assert_int_equal(fake.msi.address_lo, 0xfee81000 | 1 << 3 | 1 << 2);
	assert_int_equal(fake.msi.data, 0x130);
	assert_int_equal(fake.msi_fd, HOST_FIX_VM_FD + VTL0);
	assert_int_equal(assert_virtual(HV_INTERRUPT_INIT, 3, 0, 0), 0);
	assert_int_equal(fake.msi.address_lo, 0xfee03000);
	assert_int_equal(fake.msi.data, 0x500);
	/* level: KVM must learn the vector to report its EOI; bounded whatever VTL2 sends */
	assert_int_equal(assert_virtual(HV_INTERRUPT_LEVEL, 0, 0x30, 0), 0);
	assert_int_equal(fake.routings, 0);
	install(HV_INTERCEPT_X64_APIC_EOI, 2, 0);
	for (u32 round = 0; round < 2; round++)
		assert_int_equal(assert_virtual(HV_INTERRUPT_LEVEL, 0, 0x30, 0), 0);
	assert_int_equal(fake.routings, 1);
	assert_int_equal(fake.route[0].u.msi.data, 0xc030);
	for (u32 v = 16; v < 256; v++)
		for (u64 d = 0; d < 4; d++)
			assert_int_equal(assert_virtual(HV_INTERRUPT_LEVEL, d, v, 0), 0);
	assert_int_equal(fake.routes, 24);
	assert_int_equal(fake.msi.data, 0xc0ff);
}

/* ---- messages and events ---- */

static void post(void **state)
{
	struct hv_post_message m = {.connection_id = 77, .message_type = 1, .payload_size = 8};

	(void)state;
	for (enum vtl vtl = VTL0; vtl < VTLS; vtl++) {
		assert_int_equal(call(vtl, HV_CALL_POST_MESSAGE, &m, sizeof(m)),
				 HV_STATUS_INVALID_CONNECTION_ID);
		m.payload_size = 241;
		assert_int_equal(call(vtl, HV_CALL_POST_MESSAGE, &m, sizeof(m)),
				 HV_STATUS_INVALID_PARAMETER);
		m.payload_size = 240;
		m.message_type = 0x80000001;
		assert_int_equal(call(vtl, HV_CALL_POST_MESSAGE, &m, sizeof(m)),
				 HV_STATUS_INVALID_PARAMETER);
		m.message_type = 0;
		assert_int_equal(call(vtl, HV_CALL_POST_MESSAGE, &m, sizeof(m)),
				 HV_STATUS_INVALID_PARAMETER);
		m.message_type = 1;
		assert_int_equal(raw(vtl, HV_CALL_SIGNAL_EVENT | FAST, 5, 0),
				 HV_STATUS_INVALID_CONNECTION_ID);
	}
	/* VTL2 took unknown connections: its turn, with VTL0's registers as they were */
	install(HV_INTERCEPT_UNKNOWN_SYNIC_CONNECTION, 4, 0);
	memcpy(at(VTL0, IN), &m, sizeof(m));
	regs_of(vp, VTL0)->rax = 0x99;
	regs_of(vp, VTL0)->rcx = HV_CALL_POST_MESSAGE;
	regs_of(vp, VTL0)->rdx = IN;
	assert_int_equal(hypercall_run(vp, VTL0), HYPERCALL_INTERCEPT);
	assert_int_equal(regs_of(vp, VTL0)->rax, 0x99);
	regs_of(vp, VTL0)->rcx = HV_CALL_SIGNAL_EVENT | FAST;
	assert_int_equal(hypercall_run(vp, VTL0), HYPERCALL_INTERCEPT);
	/* not for VTL2's own calls, nor for input that is wrong anyway */
	assert_int_equal(call(VTL2, HV_CALL_POST_MESSAGE, &m, sizeof(m)),
			 HV_STATUS_INVALID_CONNECTION_ID);
	assert_int_equal(raw(VTL0, HV_CALL_POST_MESSAGE, IN + 1, 0), HV_STATUS_INVALID_ALIGNMENT);
}

static void direct(void **state)
{
	struct {
		u64 partition;
		u32 vp;
		u8 vtl, sint;
		u16 flag;
	} signal = {HV_PARTITION_ID_SELF, 1, 0, 2, 3};
	u8 m[280] = {0};
	struct hv_message *slot = memory_at(&f->vm.mem, 0x3000, 4096);

	(void)state;
	assert_int_equal(call(VTL2, HV_CALL_SIGNAL_EVENT_DIRECT, &signal, 16),
			 HV_STATUS_INVALID_SYNIC_STATE);
	expect_untouched(VTL2, 0);
	msr_hyperv_write(&f->vp[1], VTL0, HV_MSR_SIMP, 0x3001);
	msr_hyperv_write(&f->vp[1], VTL0, HV_MSR_SIEFP, 0x4001);
	msr_hyperv_write(&f->vp[1], VTL0, HV_MSR_SCONTROL, 1);
	msr_hyperv_write(&f->vp[1], VTL0, HV_MSR_SINT0 + 2, 0x40);
	assert_int_equal(call(VTL2, HV_CALL_SIGNAL_EVENT_DIRECT, &signal, 16), 0);
	assert_int_equal(get_le64(at(VTL2, OUT)), 1);
	expect_untouched(VTL2, 8);
	assert_int_equal(call(VTL2, HV_CALL_SIGNAL_EVENT_DIRECT, &signal, 16), 0);
	assert_int_equal(get_le64(at(VTL2, OUT)), 0);
	assert_int_equal(((u8 *)memory_at(&f->vm.mem, 0x4000, 4096))[2 * 256], 8);
	signal.flag = 2048;
	assert_int_equal(call(VTL2, HV_CALL_SIGNAL_EVENT_DIRECT, &signal, 16),
			 HV_STATUS_INVALID_PARAMETER);
	signal.sint = 0;
	assert_int_equal(call(VTL2, HV_CALL_SIGNAL_EVENT_DIRECT, &signal, 16),
			 HV_STATUS_INVALID_PARAMETER);
	signal.sint = 16;
	assert_int_equal(call(VTL2, HV_CALL_SIGNAL_EVENT_DIRECT, &signal, 16),
			 HV_STATUS_INVALID_PARAMETER);
	signal.vp = 4;
	assert_int_equal(call(VTL2, HV_CALL_SIGNAL_EVENT_DIRECT, &signal, 16),
			 HV_STATUS_INVALID_VP_INDEX);

	put_le64(m, HV_PARTITION_ID_SELF);
	put_le32(m + 8, 1);
	m[16] = 2;
	assert_int_equal(call(VTL2, HV_CALL_POST_MESSAGE_DIRECT, m, sizeof(m)),
			 HV_STATUS_INVALID_PARAMETER); /* type 0 */
	put_le32(m + 20, 0x80000001);
	m[24] = 241;
	assert_int_equal(call(VTL2, HV_CALL_POST_MESSAGE_DIRECT, m, sizeof(m)),
			 HV_STATUS_INVALID_PARAMETER);
	m[24] = 240;
	m[20 + 255] = 0x66;
	assert_int_equal(call(VTL2, HV_CALL_POST_MESSAGE_DIRECT, m, sizeof(m)), 0);
	assert_int_equal(slot[2].type, 0x80000001);
	assert_int_equal(slot[2].payload[239], 0x66);
	assert_int_equal(call(VTL2, HV_CALL_POST_MESSAGE_DIRECT, m, sizeof(m)),
			 HV_STATUS_OBJECT_IN_USE);
	m[16] = 16;
	assert_int_equal(call(VTL2, HV_CALL_POST_MESSAGE_DIRECT, m, sizeof(m)),
			 HV_STATUS_INVALID_PARAMETER);
}

static void cpuid_results(void **state)
{
	struct hv_cpuid_result in = {.partition_id = HV_PARTITION_ID_SELF,
				     .type = HV_INTERCEPT_X64_MSR};
	unsigned taken = 0;

	(void)state;
	assert_int_equal(call(VTL2, HV_CALL_REGISTER_INTERCEPT_RESULT, &in, sizeof(in)),
			 HV_STATUS_INVALID_PARAMETER);
	in.type = HV_INTERCEPT_X64_CPUID;
	for (in.eax = 0; in.eax < 1000; in.eax++)
		taken += !call(VTL2, HV_CALL_REGISTER_INTERCEPT_RESULT, &in, sizeof(in));
	assert_int_equal(taken, 64);
	f->vm.vtl0_cpuid_fixed = true;
	assert_int_equal(call(VTL2, HV_CALL_REGISTER_INTERCEPT_RESULT, &in, sizeof(in)),
			 HV_STATUS_OPERATION_DENIED);
}

static void translate(void **state)
{
	u64 in[4] = {HV_PARTITION_ID_SELF, 0, 1, 0x123};

	(void)state;
	assert_int_equal(call(VTL2, HV_CALL_TRANSLATE_VIRTUAL_ADDRESS, in, sizeof(in)), 0);
	assert_int_equal((u32)get_le64(at(VTL2, OUT)), 0);
	assert_int_equal(get_le64(at(VTL2, OUT) + 8), 0x123);
	expect_untouched(VTL2, 16);
	assert_int_equal(call(VTL2, HV_CALL_TRANSLATE_VIRTUAL_ADDRESS_EX, in, sizeof(in)), 0);
	assert_int_equal(get_le64(at(VTL2, OUT) + 0x30), 0x123);
	expect_untouched(VTL2, 64);
	in[3] = BIT(51); /* not mapped */
	assert_int_equal(call(VTL2, HV_CALL_TRANSLATE_VIRTUAL_ADDRESS, in, sizeof(in)), 0);
	assert_int_equal((u32)get_le64(at(VTL2, OUT)), 1);
	in[3] = f->vm.mem.vtl2_base >> 12; /* VTL0's tables name memory that it may not reach */
	assert_int_equal(call(VTL2, HV_CALL_TRANSLATE_VIRTUAL_ADDRESS, in, sizeof(in)), 0);
	assert_int_equal((u32)get_le64(at(VTL2, OUT)), 4);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
	const struct CMUnitTest tests[] = {
		T(unknown_codes),
		T(control_word),
		T(alignment_and_pages),
		T(addresses),
		T(vtl2_memory_from_vtl0),
		T(only_from_vtl2),
		T(other_partition),
		T(reps_count_and_stop),
		T(registers_from_vtl0),
		T(registers_from_vtl2),
		T(protection),
		T(processors),
		T(guest_processor_starts_once),
		T(ipis),
		T(intercepts),
		T(interrupts),
		T(post),
		T(direct),
		T(cpuid_results),
		T(translate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
