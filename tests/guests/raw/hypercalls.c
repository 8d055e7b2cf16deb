/* Hypercalls: every code, with inputs that make no sense. */
#include "raw.h"

static u8 page[4096] __attribute__((aligned(4096)));
static u8 input[8192] __attribute__((aligned(4096)));
static u8 output[8192] __attribute__((aligned(4096)));

void hypercall_enable(void)
{
	write_msr(HV_MSR_GUEST_OS_ID, 0x1234567);
	write_msr(HV_MSR_HYPERCALL, (u64)(uintptr_t)page | HV_PAGE_ENABLE);
}

u64 hypercall(u64 control, u64 in, u64 out)
{
	u64 result;
	register u64 r8 asm("r8") = out;

	TRY("call *%[page]",
	    ARGS("=a"(result), "+c"(control), "+d"(in), "+r"(r8)), [page] "r"((u64)(uintptr_t)page),
	    "r9", "r10", "r11");
	return result;
}

static u64 some_address(u64 r)
{
	switch (r & 7) {
	case 0: return vtl2_base + (r >> 8 & 0xfffff8);
	case 1: return HOLE + (r >> 8 & 0xff8);
	case 2: return (u64)(uintptr_t)input + 4096 - (r >> 8 & 0xff);
	case 3: return r;
	case 4: return (u64)(uintptr_t)input + (r >> 8 & 7);
	case 5: return vtl2_end - (r >> 8 & 0xff);
	default: return (u64)(uintptr_t)input;
	}
}

void test_hypercalls(void)
{
	static const u16 likely[] = {
		HV_CALL_SEND_IPI,
		HV_CALL_SEND_IPI_EX,
		HV_CALL_GET_VP_REGISTERS,
		HV_CALL_SET_VP_REGISTERS,
		HV_CALL_POST_MESSAGE,
		HV_CALL_SIGNAL_EVENT,
		HV_CALL_MODIFY_VTL_PROTECTION_MASK,
		HV_CALL_INSTALL_INTERCEPT,
		HV_CALL_TRANSLATE_VIRTUAL_ADDRESS,
		HV_CALL_ASSERT_VIRTUAL_INTERRUPT,
		HV_CALL_GET_VP_INDEX_FROM_APIC_ID,
		HV_CALL_SIGNAL_EVENT_DIRECT,
		HV_CALL_POST_MESSAGE_DIRECT,
		HV_CALL_ENABLE_VP_VTL,
		HV_CALL_REGISTER_INTERCEPT_RESULT,
		HV_CALL_EXT_QUERY_CAPABILITIES,
	};
	u64 succeeded = 0, r;

	hypercall_enable();
	expect(MEM64(page) != 0, "the hypercall page is empty");
	for (u32 code = 0; code < 0x200; code++)
		for (unsigned i = 0; i < 6; i++) {
			u64 control = code;

			for (unsigned k = 0; k < 64; k++)
				MEM64(input + 8 * k) = random_u64();
			r = random_u64();
			if (i & 1)
				control |= HV_CONTROL_FAST;
			if (i >= 2)
				control |= (r & 0xfff) << 32 | (r >> 12 & 0xfff) << 48;
			if (i >= 4)
				control |= (r >> 24 & 0x3ff) << 17 | r >> 60 << 60;
			r = hypercall(control, some_address(random_u64()),
				      some_address(random_u64()));
			succeeded += !(r & 0xffff);
		}
	for (unsigned i = 0; i < 4000; i++) {
		u64 reps, control = likely[random_u64() % ARRAY_SIZE(likely)];

		r = random_u64();
		reps = r & 0xff ? r >> 8 & 3 : r >> 8 & 0xfff;
		control |= reps << 32;
		for (unsigned k = 0; k < 32; k++)
			MEM64(input + 8 * k) = random_u64() >> (random_u64() & 63);
		MEM64(input) = r & 0x10000 ? ~0ull : random_u64();
		MEM8(input + 12) = r & 0x20000 ? HV_INPUT_VTL2 : (u8)(r >> 56);
		if (r & 0x40000)
			MEM32(input + 8) = HV_VP_INDEX_SELF;
		r = hypercall(control, r & 0x80000 ? (u64)(uintptr_t)input : some_address(r >> 20),
			      r & 0x100000 ? (u64)(uintptr_t)output : some_address(r >> 24));
		succeeded += !(r & 0xffff);
	}
	say("  %lu hypercalls answered with success\n", succeeded);
	/* what only VTL2 may do */
	MEM64(input) = ~0ull;
	MEM64(input + 8) = 0xf;
	MEM64(input + 16) = vtl2_base >> 12;
	r = hypercall(HV_CALL_MODIFY_VTL_PROTECTION_MASK | 1ull << 32, (u64)(uintptr_t)input, 0);
	expect((r & 0xffff) != 0, "VTL0 changes protections");
	expect(MEM64(vtl2_base) == ~0ull, "VTL2's memory reads %#lx", MEM64(vtl2_base));
	MEM64(input + 8) = HV_VP_INDEX_SELF | (u64)HV_INPUT_VTL2 << 32;
	MEM32(input + 16) = HV_REG_RIP;
	r = hypercall(HV_CALL_GET_VP_REGISTERS | 1ull << 32, (u64)(uintptr_t)input,
		      (u64)(uintptr_t)output);
	expect((r & 0xffff) != 0, "VTL0 reads VTL2's registers");
	r = hypercall(HV_CALL_SET_VP_REGISTERS | 1ull << 32, (u64)(uintptr_t)input, 0);
	expect((r & 0xffff) != 0, "VTL0 writes VTL2's registers");
	/* output over VTL2's memory, input from it */
	r = hypercall(HV_CALL_EXT_QUERY_CAPABILITIES, 0, vtl2_base);
	expect((r & 0xffff) != 0, "output into VTL2's memory");
	r = hypercall(HV_CALL_POST_MESSAGE, vtl2_base, 0);
	expect((r & 0xffff) != 0, "input from VTL2's memory");
	/* the traps of the page, called elsewhere, and VTL call and return */
	for (u16 port = 0x5c; port <= 0x5e; port++)
		out8(port, 0);
	/* its code at the same place of another page is just a port access */
	for (unsigned i = 0; i < 64; i++)
		MEM8(output + i) = MEM8(page + i);
	r = 0x1234;
	TRY("call *%1", "+a"(r),
	    ARGS("r"((u64)(uintptr_t)output), "c"(HV_CALL_EXT_QUERY_CAPABILITIES)), "rdx", "r8",
	    "r9", "r10", "r11");
	expect(r == 0x1234, "code of the hypercall page elsewhere: result %#lx", r);
	for (u64 code = HV_CALL_VTL_CALL; code <= HV_CALL_VTL_RETURN; code++)
		hypercall(code, 0, 0);
	for (u64 at = 4; at < 256; at += 4) {
		u64 rax = 0, rcx = 0;

		TRY("call *%2", ARGS("+a"(rax), "+c"(rcx)), "r"((u64)(uintptr_t)page + at), "rdx",
		    "r8");
	}
}
