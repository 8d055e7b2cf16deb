/* What VTL2 is told about VTL0: instruction bytes that cannot be read, holes, closed pages, pages.
 */
#include "host/intercept.h"
#include "tests/unit/host_test.h"
#include "vtl2-devices/x86emu/x86emu.h"

#define CODE 0x30000ull

static int setup(void **state)
{
	struct kvm_sregs *s;

	host_setup(state);
	vp = &f->vp[1];
	s = sregs_of(vp, VTL0);
	/* 32-bit protected mode without paging: addresses are guest physical */
	s->cr0 = 0x11;
	s->cs = (struct kvm_segment){
		.limit = ~0u, .selector = 8, .type = 11, .s = 1, .present = 1, .db = 1, .g = 1};
	s->ss = s->ds = s->es = s->fs = s->gs = s->cs;
	s->ss.type = s->ds.type = s->es.type = 3;
	regs_of(vp, VTL0)->rip = CODE;
	regs_of(vp, VTL0)->rflags = 2;
	regs_of(vp, VTL0)->rsp = 0x40000;
	return 0;
}

static void code(const void *bytes, size_t len)
{
	memset(memory_at(&f->vm.mem, CODE, 32), 0x90, 32);
	memcpy(memory_at(&f->vm.mem, CODE, 32), bytes, len);
}

static struct hv_memory_message memory_of(const struct hv_message *m)
{
	struct hv_memory_message p;

	assert_int_equal(m->payload_size, sizeof(p));
	memcpy(&p, m->payload, sizeof(p));
	return p;
}

static void code_out_of_reach(void **state)
{
	static const u64 rips[] = {64 * MiB, 0xfffffff0, 0xe0000000};
	bool string = true;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rips); i++) {
		regs_of(vp, VTL0)->rip = rips[i];
		assert_int_equal(intercept_io_length(vp, &string), 0);
		assert_false(string);
	}
	/* code in VTL2's memory is not read */
	sregs_of(vp, VTL0)->cs.l = 1;
	sregs_of(vp, VTL0)->cs.db = 0;
	sregs_of(vp, VTL0)->efer = 0x500;
	*(u8 *)memory_at(&f->vm.mem, f->vm.mem.vtl2_base, 1) = 0xec;
	regs_of(vp, VTL0)->rip = f->vm.mem.vtl2_base;
	assert_int_equal(intercept_io_length(vp, &string), 0);
}

static void io_lengths(void **state)
{
	static const struct {
		u8 bytes[16], len, length;
		bool string;
	} c[] = {
		{{0xe4, 0x60}, 2, 2, false},
		{{0xe7, 0x60}, 2, 2, false},
		{{0xee}, 1, 1, false},
		{{0x66, 0xed}, 2, 2, false},
		{{0x67, 0x66, 0xe5, 1}, 4, 4, false},
		{{0xf3, 0x6e}, 2, 2, true},
		{{0x66, 0xf2, 0x6d}, 3, 3, true},
		{{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xec}, 8, 8, false},
		{{0x48, 0xec}, 2, 0, false}, /* no REX outside 64-bit code */
		{{0x90}, 1, 0, false},
		{{0x0f, 0xec}, 2, 0, false},
		{{0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3,
		  0xf3, 0xf3, 0xf3},
		 16,
		 0,
		 false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		bool string = true;

		code(c[i].bytes, c[i].len);
		if (intercept_io_length(vp, &string) != c[i].length || string != c[i].string)
			fail_msg("case %zu", i);
	}
}

/* MOV to or from an absolute address, 32-bit code */
static int access_at(u32 address, bool write, struct hv_message *m)
{
	u8 bytes[6] = {write ? 0x89 : 0x8b, 0x0d};

	memcpy(bytes + 2, &address, 4);
	code(bytes, sizeof(bytes));
	return intercept_memory(vp, m);
}

static void memory(void **state)
{
	struct hv_memory_message p;
	struct hv_message m;

	(void)state;
	assert_int_equal(access_at(0xfec00010, false, &m), 0);
	assert_int_equal(m.type, HV_MSG_UNMAPPED_GPA);
	p = memory_of(&m);
	assert_int_equal(p.gpa, 0xfec00010);
	assert_int_equal(p.gva, 0xfec00010);
	assert_int_equal(p.header.access_type, HV_ACCESS_READ);
	assert_int_equal(p.header.vp_index, 1);
	assert_int_equal(p.header.rip, CODE);
	assert_int_equal(p.header.cs.selector, 8);
	assert_int_equal(p.header.execution_state & 3, 0);
	assert_true(p.header.execution_state & HV_EXEC_CR0_PE);
	assert_int_equal(p.cache_type, 0);
	assert_true(p.instruction_byte_count >= 6 && p.instruction_byte_count <= 16);
	assert_int_equal(p.instruction[0], 0x8b);
	assert_int_equal(access_at(0xfec00010, true, &m), 0);
	p = memory_of(&m);
	assert_int_equal(p.header.access_type, HV_ACCESS_WRITE);
	/* across the end of memory: the first byte that is not there */
	assert_int_equal(access_at(64 * MiB - 2, true, &m), 0);
	p = memory_of(&m);
	assert_int_equal(p.gpa, 64 * MiB);
	/* RAM: nothing has left; run again */
	assert_int_equal(access_at(0x1000, false, &m), 1);
	/* the local APIC is KVM's */
	assert_int_equal(access_at((u32)APIC_PAGE + 0x80, true, &m), 1);
}

static void closed_pages(void **state)
{
	struct hv_message m;

	(void)state;
	memory_protect(&f->vm.mem, 0x50000, HV_MAP_GPA_READABLE);
	assert_int_equal(access_at(0x50010, false, &m), 1);
	assert_int_equal(access_at(0x50010, true, &m), 0);
	assert_int_equal(m.type, HV_MSG_GPA_INTERCEPT);
	assert_int_equal(memory_of(&m).gpa, 0x50010);
	assert_int_equal(memory_of(&m).cache_type, 6);
	memory_protect(&f->vm.mem, 0x50000, 0);
	assert_int_equal(access_at(0x50010, false, &m), 0);
	assert_int_equal(m.type, HV_MSG_GPA_INTERCEPT);
	/* the code itself: no byte of a page that VTL0 may not read is passed on */
	access_at(0xfec00010, false, &m);
	memory_protect(&f->vm.mem, CODE, 0);
	assert_int_equal(intercept_memory(vp, &m), 0);
	assert_int_equal(memory_of(&m).header.access_type, HV_ACCESS_EXECUTE);
	assert_int_equal(memory_of(&m).instruction_byte_count, 0);
}

/* Page tables that loop, point at themselves, at holes or at VTL2 */
static void hostile_tables(void **state)
{
	struct kvm_sregs *s = sregs_of(vp, VTL0);
	u64 *table = memory_at(&f->vm.mem, 0x60000, 4096);
	const u64 roots[] = {0x60000, 64 * MiB, f->vm.mem.vtl2_base, BIT(51), ~0xfffull};
	struct hv_message m;

	(void)state;
	code("\x8b\x0d\x00\x00\x00\x00", 6);
	s->cr0 |= BIT(31);
	s->cr4 = BIT(5);
	s->efer = 0x500;
	s->cs.l = 1;
	s->cs.db = 0;
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
		for (unsigned e = 0; e < 4; e++) {
			const u64 entry[] = {0x60003, f->vm.mem.vtl2_base | 3, ~0ull, 64 * MiB | 3};
			int r;

			s->cr3 = roots[i];
			for (unsigned k = 0; k < 512; k++)
				table[k] = entry[e];
			r = intercept_memory(vp, &m);
			assert_true(r >= -1 && r <= 1);
			if (!r && m.type == HV_MSG_UNMAPPED_GPA)
				assert_null(memory_at(&f->vm.mem, memory_of(&m).gpa, 1));
			intercept_io_length(vp, &(bool){false});
		}
}

static void messages(void **state)
{
	struct hv_io_port_message io;
	struct hv_msr_message msr;
	struct hv_hypercall_message call;
	struct hv_eoi_message eoi;
	struct hv_message m;

	(void)state;
	regs_of(vp, VTL0)->rax = 0x1122334455667788;
	regs_of(vp, VTL0)->rdx = 0x99;
	regs_of(vp, VTL0)->r8 = 0x77;
	sregs_of(vp, VTL0)->cr8 = 5;
	intercept_io(vp, &m, 0x3f8, 1, false, 2, 0xabcd);
	assert_int_equal(m.type, HV_MSG_X64_IO_PORT);
	memcpy(&io, m.payload, sizeof(io));
	assert_int_equal(m.payload_size, sizeof(io));
	assert_int_equal(io.port, 0x3f8);
	assert_int_equal(io.info, 1);
	assert_int_equal(io.rax, 0xabcd);
	assert_int_equal(io.header.access_type, HV_ACCESS_WRITE);
	assert_int_equal(io.header.instruction_length, 2 | 5 << 4);
	intercept_msr(vp, &m, 0x1234, true, 0xaaaaaaaabbbbbbbb, 2);
	memcpy(&msr, m.payload, sizeof(msr));
	assert_int_equal(m.type, HV_MSG_X64_MSR);
	assert_int_equal(msr.rdx, 0xaaaaaaaa);
	assert_int_equal(msr.rax, 0xbbbbbbbb);
	intercept_msr(vp, &m, 0x1234, false, 0xaaaaaaaabbbbbbbb, 2);
	memcpy(&msr, m.payload, sizeof(msr));
	assert_int_equal(msr.rdx, 0x99);
	assert_int_equal(msr.header.access_type, HV_ACCESS_READ);
	intercept_hypercall(vp, &m);
	memcpy(&call, m.payload, sizeof(call));
	assert_int_equal(m.type, HV_MSG_HYPERCALL_INTERCEPT);
	/* VTL2 goes on at RIP + 3: the RET behind the 2-byte OUT */
	assert_int_equal(call.header.rip + 3, CODE + 2);
	assert_int_equal(call.r8, 0x77);
	intercept_eoi(vp, &m, 0x31);
	memcpy(&eoi, m.payload, sizeof(eoi));
	assert_int_equal(m.type, HV_MSG_X64_APIC_EOI);
	assert_int_equal(m.payload_size, 8);
	assert_int_equal(eoi.vp_index, 1);
	assert_int_equal(eoi.vector, 0x31);
	intercept_deliverable(vp, &m);
	assert_int_equal(m.type, HV_MSG_X64_INTERRUPTION_DELIVERABLE);
	assert_int_equal(m.payload_size, 48);
	intercept_unrecoverable(vp, &m);
	assert_int_equal(m.payload_size, 40);
}

static void register_page_places(void **state)
{
	static const u64 bad[] = {0x70000 /* off */, 64 * MiB | 1, ~0ull, BIT(51) | 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		vp->vtl[VTL2].register_page = bad[i];
		register_page_fill(vp);
		register_page_apply(vp);
		register_page_invalidate(vp);
	}
	assert_int_equal(*(u8 *)memory_at(&f->vm.mem, 0x70002, 1), 0);
}

static void register_page(void **state)
{
	u64 gpa = f->vm.mem.vtl2_base + 0x3000;
	volatile struct hv_register_page *p = memory_at(&f->vm.mem, gpa, 4096);
	struct kvm_regs *r = regs_of(vp, VTL0);

	(void)state;
	vp->vtl[VTL2].register_page = gpa | 1;
	r->rbx = 0x1b;
	r->rsp = 0x4b;
	p->dirty = 0xff;
	register_page_fill(vp);
	assert_true(p->is_valid);
	assert_int_equal(p->dirty, 0);
	assert_int_equal(p->rip, CODE);
	assert_int_equal(p->gpr[3], 0x1b);
	assert_int_equal(p->gpr[4], 0x4b);
	assert_int_equal(p->segment[1].selector, 8);
	assert_int_equal(p->cr0, 0x11);
	/* what is not marked is not taken */
	p->rip = 1;
	p->gpr[4] = 2;
	p->rflags = 3;
	p->segment[2].selector = 0x55;
	register_page_apply(vp);
	assert_int_equal(r->rip, CODE);
	assert_int_equal(r->rsp, 0x4b);
	p->dirty = HV_REG_PAGE_DIRTY_RIP | HV_REG_PAGE_DIRTY_GPRS;
	p->gpr[3] = 0x2b;
	register_page_apply(vp);
	assert_int_equal(r->rip, 1);
	assert_int_equal(r->rsp, 2);
	assert_int_equal(r->rbx, 0x1b); /* shared registers travel otherwise */
	assert_int_equal(r->rflags, 2);
	assert_int_equal(p->dirty, 0);
	p->dirty = ~0u;
	memset((void *)p->xmm, 0x3c, sizeof(p->xmm));
	register_page_apply(vp);
	assert_int_equal(r->rflags, 3);
	assert_int_equal(sregs_of(vp, VTL0)->ss.selector, 0x55);
	assert_int_equal(((u8 *)fake.xsave[2].region)[160 + 95], 0x3c);
	assert_int_equal(((u8 *)fake.xsave[2].region)[160 + 96], 0);
	/* not valid: nothing */
	register_page_invalidate(vp);
	p->dirty = ~0u;
	p->rip = 0x999;
	register_page_apply(vp);
	assert_int_equal(r->rip, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)
	const struct CMUnitTest tests[] = {
		T(code_out_of_reach), T(io_lengths), T(memory),	       T(closed_pages),
		T(hostile_tables),    T(messages),   T(register_page), T(register_page_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
