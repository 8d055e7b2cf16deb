/* Synthetic MSRs: refused values, pages that the VTL does not own, hypercall page, crash text. */
#include "host/msr.h"
#include "tests/unit/host_test.h"

static int set(enum vtl vtl, u32 msr, u64 value)
{
	return msr_hyperv_write(vp, vtl, msr, value);
}

static u64 get(enum vtl vtl, u32 msr)
{
	u64 v = ~0ull;

	assert_int_equal(msr_hyperv_read(vp, vtl, msr, &v), 0);
	return v;
}

/* Every MSR of the range, both VTLs, awkward values: nothing leaves the VTL's own memory. */
static void whole_range(void **state)
{
	static const u64 values[] = {
		0, 1, ~0ull, 0x10001, 64 * MiB | 1, BIT(52) | 1, APIC_PAGE | 1};
	u8 *vtl2 = memory_at(&f->vm.mem, f->vm.mem.vtl2_base, 4 * MiB);

	(void)state;
	memset(vtl2, 0x5a, 4 * MiB);
	for (u32 i = 0; i < HV_MSR_COUNT; i++)
		for (size_t v = 0; v < ARRAY_SIZE(values) + 1; v++) {
			u64 value = v < ARRAY_SIZE(values) ? values[v] : f->vm.mem.vtl2_base | 1;
			u64 got;
			int w = set(VTL0, HV_MSR_FIRST + i, value);
			int r = msr_hyperv_read(vp, VTL0, HV_MSR_FIRST + i, &got);

			assert_true(w >= -1 && w <= 1 && r >= -1 && r <= 1);
			if (r)
				assert_int_equal(got, 0);
		}
	for (u64 i = 0; i < 4 * MiB; i++)
		if (vtl2[i] != 0x5a)
			fail_msg("VTL0 changed VTL2's memory at %#llx", (unsigned long long)i);
}

static void read_only(void **state)
{
	static const u32 msrs[] = {HV_MSR_VP_INDEX,	  HV_MSR_VP_RUNTIME,
				   HV_MSR_TIME_REF_COUNT, HV_MSR_TSC_FREQUENCY,
				   HV_MSR_APIC_FREQUENCY, HV_MSR_SVERSION};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
		assert_int_equal(set(VTL0, msrs[i], 1), -1);
	vp = &f->vp[3];
	assert_int_equal(get(VTL0, HV_MSR_VP_INDEX), 3);
	assert_int_equal(get(VTL0, HV_MSR_TSC_FREQUENCY), 2000000000);
	assert_int_equal(get(VTL0, HV_MSR_SVERSION), 1);
	assert_int_equal(get(VTL0, HV_MSR_EOM), 0);
	/* two readings of the clock */
	assert_true(get(VTL0, HV_MSR_TIME_REF_COUNT) <= get(VTL2, HV_MSR_TIME_REF_COUNT));
}

static void page_registers(void **state)
{
	static const u32 msrs[] = {HV_MSR_VP_ASSIST_PAGE, HV_MSR_SIMP, HV_MSR_SIEFP};
	u64 vtl2 = f->vm.mem.vtl2_base;
	u8 *p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		u32 msr = msrs[i];

		assert_int_equal(set(VTL0, msr, vtl2 | 1), -1);
		assert_int_equal(set(VTL0, msr, 64 * MiB | 1), -1);
		assert_int_equal(set(VTL0, msr, ~0ull), -1);
		assert_int_equal(get(VTL0, msr), 0);
		assert_int_equal(set(VTL0, msr, vtl2), 0); /* disabled: any number */
		assert_int_equal(set(VTL2, msr, vtl2 | 1), 0);
		/* one register for each VTL and each VP */
		assert_int_equal(get(VTL0, msr), vtl2);
		assert_int_equal(get(VTL2, msr), vtl2 | 1);
		vp = &f->vp[1];
		assert_int_equal(get(VTL2, msr), 0);
		vp = &f->vp[0];
		/* The page begins as zeros, and keeps its content when written again. */
		p = memory_at(&f->vm.mem, 0x7000, 4096);
		memset(p, 0xff, 4096);
		assert_int_equal(set(VTL0, msr, 0x7001), 0);
		for (unsigned b = 0; b < 4096; b++)
			assert_int_equal(p[b], 0);
		p[5] = 1;
		assert_int_equal(set(VTL0, msr, 0x7001), 0);
		assert_int_equal(p[5], 1);
		assert_int_equal(memory_protect(&f->vm.mem, 0x8000, HV_MAP_GPA_READABLE), 0);
		assert_int_equal(set(VTL0, msr, 0x8001), -1);
		assert_int_equal(get(VTL0, msr), 0x7001);
	}
}

static void hypercall_page(void **state)
{
	u8 *p = memory_at(&f->vm.mem, 0x9000, 4096);

	(void)state;
	assert_int_equal(set(VTL0, HV_MSR_HYPERCALL, 0x9001), 0);
	assert_int_equal(get(VTL0, HV_MSR_HYPERCALL), 0x9000); /* no identity, no page */
	assert_int_equal(p[0], 0);
	assert_int_equal(set(VTL0, HV_MSR_GUEST_OS_ID, 1), 0);
	assert_int_equal(set(VTL0, HV_MSR_HYPERCALL, f->vm.mem.vtl2_base | 1), -1);
	assert_int_equal(set(VTL0, HV_MSR_HYPERCALL, 64 * MiB | 1), -1);
	for (u64 bit = 2; bit < 12; bit++)
		assert_int_equal(set(VTL0, HV_MSR_HYPERCALL, 0x9001 | BIT(bit)), -1);
	assert_int_equal(set(VTL0, HV_MSR_HYPERCALL, 0x9001), 0);
	/* OUT imm8; RET at each entry point, INT3 elsewhere */
	assert_int_equal(p[0], 0xe6);
	assert_int_equal(p[1], HYPERCALL_PORT);
	assert_int_equal(p[2], 0xc3);
	assert_int_equal(p[3], 0xcc);
	assert_int_equal(p[HYPERCALL_PAGE_VTL_RETURN + 1], VTL_RETURN_PORT);
	assert_int_equal(p[4095], 0xcc);
	assert_int_equal(get(VTL2, HV_MSR_HYPERCALL), 0);
	/* no identity: off */
	assert_int_equal(set(VTL0, HV_MSR_GUEST_OS_ID, 0), 0);
	assert_int_equal(get(VTL0, HV_MSR_HYPERCALL), 0x9000);
	/* locked for good */
	assert_int_equal(set(VTL0, HV_MSR_GUEST_OS_ID, 1), 0);
	assert_int_equal(set(VTL0, HV_MSR_HYPERCALL, 0x9003), 0);
	assert_int_equal(set(VTL0, HV_MSR_HYPERCALL, 0xa001), -1);
	assert_int_equal(set(VTL0, HV_MSR_HYPERCALL, 0), -1);
	assert_int_equal(get(VTL0, HV_MSR_HYPERCALL), 0x9003);
}

static void reference_tsc(void **state)
{
	struct hv_reference_tsc *p = memory_at(&f->vm.mem, 0xb000, 4096);
	u64 tsc, msr;

	(void)state;
	assert_int_equal(set(VTL0, HV_MSR_REFERENCE_TSC, f->vm.mem.vtl2_base | 1), -1);
	assert_int_equal(set(VTL0, HV_MSR_REFERENCE_TSC, 0xb001), 0);
	assert_int_equal(p->sequence, 1);
	assert_int_equal(p->offset, 0);
	/* Page and MSR are one clock. */
	tsc = 123456789012345;
	msr = (u64)((unsigned __int128)tsc * 10000000 / f->vm.tsc_hz);
	assert_in_range((u64)(((unsigned __int128)tsc * p->scale) >> 64), msr - 1, msr);
	assert_int_equal(get(VTL0, HV_MSR_REFERENCE_TSC), 0xb001);
	assert_int_equal(get(VTL2, HV_MSR_REFERENCE_TSC), 0);
}

static void sints(void **state)
{
	(void)state;
	for (unsigned i = 0; i < HV_SINT_COUNT; i++) {
		assert_int_equal(get(VTL0, HV_MSR_SINT0 + i), HV_SINT_RESET);
		for (u64 vector = 0; vector < 16; vector++)
			assert_int_equal(set(VTL0, HV_MSR_SINT0 + i, vector), -1);
		assert_int_equal(get(VTL0, HV_MSR_SINT0 + i), HV_SINT_RESET);
		assert_int_equal(set(VTL0, HV_MSR_SINT0 + i, 16), 0);
		assert_int_equal(set(VTL0, HV_MSR_SINT0 + i, 3 | HV_SINT_MASKED), 0);
	}
}

static void crash(void **state)
{
	char *p = memory_at(&f->vm.mem, 0xc000, 4096);

	(void)state;
	strcpy(p, "Oops\033[2J\nline two");
	for (u32 i = 0; i < 5; i++)
		assert_int_equal(set(VTL0, HV_MSR_CRASH_P0 + i, 0x100 + i), 0);
	assert_int_equal(set(VTL0, HV_MSR_CRASH_CTL, 0), 0);
	assert_int_equal(atomic_load(&f->vm.outcome), VM_RUNNING);
	set(VTL0, HV_MSR_CRASH_P0 + 3, 0xc000);
	set(VTL0, HV_MSR_CRASH_P4, 18);
	assert_int_equal(set(VTL0, HV_MSR_CRASH_CTL, HV_CRASH_CTL_NOTIFY | HV_CRASH_CTL_MESSAGE),
			 0);
	assert_int_equal(atomic_load(&f->vm.outcome), VM_GUEST_PANIC);
	assert_non_null(strstr(f->vm.outcome_text, "Oops.[2J\nline two"));
	assert_non_null(strstr(f->vm.outcome_text, "P0 0x100"));
}

/* A page of text is passed on whole; VTL2's kernel tells its registers too. */
static void crash_of_vtl2(void **state)
{
	char *p = memory_at(&f->vm.mem, f->vm.mem.vtl2_base, 4096);

	(void)state;
	memset(p, 'x', 4096);
	memcpy(p, "first", 5);
	memcpy(p + 4092, "last", 4);
	vp->vtl[VTL2].run->s.regs.regs.r15 = 0xabcdef;
	set(VTL2, HV_MSR_CRASH_P0 + 3, f->vm.mem.vtl2_base);
	set(VTL2, HV_MSR_CRASH_P4, 4096);
	set(VTL2, HV_MSR_CRASH_CTL, HV_CRASH_CTL_NOTIFY | HV_CRASH_CTL_MESSAGE);
	assert_int_equal(atomic_load(&f->vm.outcome), VM_PARAVISOR_FAILED);
	assert_non_null(strstr(f->vm.outcome_text, "\nfirst"));
	assert_non_null(strstr(f->vm.outcome_text, "last"));
	assert_non_null(strstr(f->vm.outcome_text, "r15 0000000000abcdef"));
}

static unsigned lines;

static void count_lines(enum log_level level, const char *line)
{
	(void)line;
	lines += level == LOG_ERROR;
}

/* With a crash kernel the guest goes on after its report; reports without end are not all shown. */
static void crash_continues(void **state)
{
	(void)state;
	f->config.crash_continues = true;
	f->vm.config = &f->config;
	lines = 0;
	log_set_sink(count_lines);
	for (int i = 0; i < 1000; i++)
		set(VTL0, HV_MSR_CRASH_CTL, HV_CRASH_CTL_NOTIFY);
	log_set_sink(NULL);
	assert_int_equal(atomic_load(&f->vm.outcome), VM_RUNNING);
	assert_int_equal(atomic_load(&f->vm.guest_crashes), 1000);
	assert_int_equal(lines, 16);
	/* VTL2 has nobody who would go on for it */
	set(VTL2, HV_MSR_CRASH_CTL, HV_CRASH_CTL_NOTIFY);
	assert_int_equal(atomic_load(&f->vm.outcome), VM_PARAVISOR_FAILED);
}

/* A message address that points at VTL2, beyond memory, or is too long is not followed. */
static void crash_message_hostile(void **state)
{
	static const struct {
		u64 gpa, len;
	} c[] = {{~0ull, 16}, {64 * MiB - 4, 8}, {64 * MiB - 4, ~0ull}, {~0ull, ~0ull}, {0, 4096}};
	u8 *vtl2 = memory_at(&f->vm.mem, f->vm.mem.vtl2_base, 4096);

	(void)state;
	memcpy(vtl2, "SECRET", 7);
	memcpy(memory_at(&f->vm.mem, 0xc000, 7), "SECRET", 7);
	for (size_t i = 0; i < ARRAY_SIZE(c) + 1; i++) {
		bool last = i == ARRAY_SIZE(c);

		set(VTL0, HV_MSR_CRASH_P0 + 3, last ? f->vm.mem.vtl2_base : c[i].gpa);
		set(VTL0, HV_MSR_CRASH_P4, last ? 16 : c[i].len);
		set(VTL0, HV_MSR_CRASH_CTL, HV_CRASH_CTL_NOTIFY | HV_CRASH_CTL_MESSAGE);
		assert_null(strstr(f->vm.outcome_text, "SECRET"));
		atomic_store(&f->vm.outcome, VM_RUNNING);
	}
}

static void reset(void **state)
{
	(void)state;
	assert_int_equal(set(VTL0, HV_MSR_RESET, 2), 0);
	assert_int_equal(atomic_load(&f->vm.outcome), VM_RUNNING);
	assert_int_equal(set(VTL0, HV_MSR_RESET, 1), 0);
	assert_int_equal(atomic_load(&f->vm.outcome), VM_RESET);
	/* the first end counts */
	set(VTL0, HV_MSR_CRASH_CTL, HV_CRASH_CTL_NOTIFY);
	assert_int_equal(atomic_load(&f->vm.outcome), VM_RESET);
	assert_true(atomic_load(&f->vm.stop));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, host_setup, host_teardown)
	const struct CMUnitTest tests[] = {
		T(whole_range),	  T(read_only),	      T(page_registers), T(hypercall_page),
		T(reference_tsc), T(sints),	      T(crash),		 T(crash_message_hostile),
		T(crash_of_vtl2), T(crash_continues), T(reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
