/* Model-specific registers: those that do not exist, and Hyper-V's with garbage. */
#include "raw.h"

static void expect_no_msr(u32 msr)
{
	u64 v;
	unsigned r = try_read_msr(msr, &v);
	unsigned w = try_write_msr(msr, random_u64());

	expect(r == VEC_GP, "reading MSR %#x: vector %u, value %#lx", msr, r, v);
	expect(w == VEC_GP, "writing MSR %#x: vector %u", msr, w);
}

void test_unknown_msrs(void)
{
	static const struct {
		u32 first, count;
	} ranges[] = {
		{0x00001000, 300},
		{0x00012345, 1},
		{0x00100000, 100},
		{0x10000000, 100},
		{0x3ffffff0, 16},
		{0x40000200, 100},
		{0x40001000, 100},
		{0x7ffffff0, 32},
		{0xc0002000, 100},
		{0xdeadbe00, 256},
		{0xfffffff0, 16},
		/* of other hypervisors: KVM's two ranges, Hyper-V's debugger */
		{0x4b564d00, 9},
		{0x00000011, 2},
		{0x400000f1, 6},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		for (u32 k = 0; k < ranges[i].count; k++)
			expect_no_msr(ranges[i].first + k);
}

static void expect_no_page(u32 msr, const char *name)
{
	const u64 pages[] = {vtl2_base, vtl2_end - PAGE_SIZE, HOLE, MAPPED_END, ~0xfffull};
	u64 v;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		expect(try_write_msr(msr, pages[i] | 1) == VEC_GP, "%s at %#lx is accepted", name,
		       pages[i]);
		try_read_msr(msr, &v);
		expect(v != (pages[i] | 1), "%s at %#lx is kept", name, pages[i]);
	}
}

/* Duration of 500 port reads */
static u64 reads_500(void)
{
	u64 start = now();

	for (unsigned i = 0; i < 500; i++)
		in8(0x80);
	return now() - start;
}

void test_hyperv_msrs(void)
{
	u64 v, without = reads_500(), with;

	write_msr(HV_MSR_GUEST_OS_ID, 0x1234);
	expect_no_page(HV_MSR_HYPERCALL, "hypercall page");
	expect_no_page(HV_MSR_REFERENCE_TSC, "reference TSC page");
	expect_no_page(HV_MSR_VP_ASSIST_PAGE, "VP assist page");
	expect_no_page(HV_MSR_SIMP, "message page");
	expect_no_page(HV_MSR_SIEFP, "event page");
	for (u32 msr = HV_MSR_FIRST; msr < HV_MSR_FIRST + HV_MSR_COUNT; msr++)
		try_read_msr(msr, &v);
	/* the processor's time must not be taken away by timers that fire all the time */
	for (unsigned i = 0; i < 3000; i++) {
		u64 r = random_u64();
		u32 msr = HV_MSR_STIMER0_CONFIG + (u32)(r & 7);

		try_write_msr(msr, r & 8    ? random_u64() & 0xf1fff
				   : r & 16 ? r >> 60
					    : random_u64());
	}
	for (u32 i = 0; i < 4; i++) {
		/* periodic, SINT 2, period 100 ns */
		write_msr(HV_MSR_STIMER0_CONFIG + 2 * i, 0);
		write_msr(HV_MSR_STIMER0_CONFIG + 2 * i + 1, 1);
		write_msr(HV_MSR_STIMER0_CONFIG + 2 * i, 0x20003);
	}
	with = reads_500();
	expect(with < 30 * without, "500 port reads take %lu ms, %lu ms with four short timers",
	       without / 10000, with / 10000);
	for (u32 i = 0; i < 4; i++)
		write_msr(HV_MSR_STIMER0_CONFIG + 2 * i, 0);
	for (u32 msr = HV_MSR_FIRST; msr < HV_MSR_FIRST + HV_MSR_COUNT; msr++) {
		/* those that end the machine or the test */
		if (msr == HV_MSR_RESET || msr == HV_MSR_CRASH_CTL || msr == HV_MSR_HYPERCALL)
			continue;
		for (unsigned i = 0; i < 4; i++)
			try_write_msr(msr, random_u64());
	}
	for (u32 i = 0; i < HV_SINT_COUNT; i++)
		write_msr(HV_MSR_SINT0 + i, HV_SINT_MASKED);
	for (u32 i = 0; i < 4; i++)
		write_msr(HV_MSR_STIMER0_CONFIG + 2 * i, 0);
	write_msr(HV_MSR_SCONTROL, 0);
	write_msr(HV_MSR_SIMP, 0);
	write_msr(HV_MSR_SIEFP, 0);
	write_msr(HV_MSR_VP_ASSIST_PAGE, 0);
	write_msr(HV_MSR_REFERENCE_TSC, 0);
	for (unsigned i = 0; i < 2; i++)
		expect(try_write_msr(HV_MSR_SINT0 + 3, i ? 15 : 0) == VEC_GP,
		       "SINT vector below 16");
}
