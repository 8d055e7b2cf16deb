/* Timers, other processors, and all ways to end. */
#include "raw.h"

#define AP_CODE 0x20000u

volatile u32 ap_runs, ap_order;

/* Halts until `count` of the vector have come, at most for the time (100 ns). */
static bool wait_for(unsigned vector, u32 count, u64 limit)
{
	u64 start = now();

	/* a slow periodic timer ends a halt that nothing else ends */
	while (irq_count[vector] < count && now() - start < limit)
		asm volatile("sti; hlt; cli" ::: "memory");
	return irq_count[vector] >= count;
}

static void apic_timer(u8 vector, bool periodic, u32 count)
{
	LAPIC(0x3e0) = 0xb; /* divide by 1 */
	LAPIC(0x320) = vector | (periodic ? BIT(17) : 0);
	LAPIC(0x380) = count;
}

/* Keeps HLT from lasting for ever where the event under test does not come. */
static void watchdog(bool on)
{
	if (on)
		apic_timer(VEC_TIMER, true, 100000000); /* 10 a second at 1 GHz */
	else
		apic_timer(VEC_TIMER, false, 0);
}

static void set_ioapic(u32 pin, u32 low)
{
	MEM32(IOAPIC) = 0x11 + 2 * pin;
	MEM32(IOAPIC + 0x10) = 0;
	MEM32(IOAPIC) = 0x10 + 2 * pin;
	MEM32(IOAPIC + 0x10) = low;
}

static void test_message_timer(void)
{
	static struct hv_message messages[16] __attribute__((aligned(4096)));

	irq_count[VEC_SINT] = 0;
	write_msr(HV_MSR_SIMP, (u64)(uintptr_t)messages | HV_PAGE_ENABLE);
	write_msr(HV_MSR_SCONTROL, 1);
	write_msr(HV_MSR_SINT0 + 4, VEC_SINT);
	write_msr(HV_MSR_STIMER0_CONFIG, 0);
	write_msr(HV_MSR_STIMER0_CONFIG + 1, now() + 200000); /* 20 ms */
	write_msr(HV_MSR_STIMER0_CONFIG, 4ull << 16 | HV_STIMER_ENABLE);
	expect(wait_for(VEC_SINT, 1, 50000000), "no interrupt of the synthetic timer");
	expect(messages[4].type == 0x80000010, "timer message has type %#x", messages[4].type);
	messages[4].type = 0;
	write_msr(HV_MSR_EOM, 0);
	write_msr(HV_MSR_SINT0 + 4, HV_SINT_MASKED);
	write_msr(HV_MSR_SCONTROL, 0);
	write_msr(HV_MSR_SIMP, 0);
}

void test_timers(void)
{
	u64 start;

	for (start = now(); now() - start < 100000;) /* what is still under way */
		asm volatile("sti; nop; cli" ::: "memory");
	irq_count[VEC_TIMER] = 0;
	start = now();
	apic_timer(VEC_TIMER, false, 50000000); /* 50 ms at 1 GHz */
	asm volatile("sti; hlt; cli" ::: "memory");
	expect(irq_count[VEC_TIMER] == 1, "HLT ended with %u timer interrupts",
	       irq_count[VEC_TIMER]);
	expect(now() - start > 400000 && now() - start < 20000000, "50 ms took %lu ms",
	       (now() - start) / 10000);

	watchdog(true);
	/* the PIT by way of the I/O APIC, rate generator at 100 Hz */
	irq_count[VEC_IOAPIC] = 0;
	set_ioapic(2, VEC_IOAPIC);
	out8(0x43, 0x34);
	out8(0x40, 11932 & 0xff);
	out8(0x40, 11932 >> 8);
	start = now();
	expect(wait_for(VEC_IOAPIC, 10, 50000000), "%u interrupts of the PIT",
	       irq_count[VEC_IOAPIC]);
	start = now() - start;
	expect(start > 500000, "10 PIT periods took %lu ms", start / 10000);
	set_ioapic(2, BIT(16));
	out8(0x43, 0x30);

	/* a level-triggered pin that stays asserted: COM2's transmitter is empty */
	irq_count[VEC_LEVEL] = 0;
	out8(0x2fb, 3);
	out8(0x2fc, 8);
	set_ioapic(3, VEC_LEVEL | BIT(15));
	out8(0x2f9, 2);
	expect(wait_for(VEC_LEVEL, LEVEL_REPEATS, 50000000), "%u interrupts of COM2",
	       irq_count[VEC_LEVEL]);
	set_ioapic(3, BIT(16));
	out8(0x2f9, 0);

	test_message_timer();
	watchdog(false);
}

/* ---- processors ---- */

extern const u8 ap_start[], ap_start_end[];
extern u32 ap_cr3;
void ap_main(void);

static void send_ipi(u32 target, u32 command)
{
	LAPIC(LAPIC_ICR2) = target << 24;
	LAPIC(LAPIC_ICR) = command;
}

static struct {
	u16 limit;
	u64 base;
} __attribute__((packed)) boot_idtr;

/* Runs on processor 1. */
void ap_main(void)
{
	asm volatile("lidt %0" ::"m"(boot_idtr));
	LAPIC(0x80) = 0x1f;
	LAPIC(0xf0) = 0x1ff;
	__atomic_fetch_add(&ap_runs, 1, __ATOMIC_SEQ_CST);
	asm volatile("sti");
	for (;;) {
		switch (ap_order) {
		case 0: asm volatile("hlt"); break;
		case 1: send_ipi(0, VEC_IPI + 1); break;
		case 2: in8(0x80); break;
		default: asm volatile("pause"); break;
		}
	}
}

bool start_processor(void)
{
	u32 before = ap_runs;
	u64 start;

	for (const u8 *p = ap_start; p < ap_start_end; p++)
		MEM8(AP_CODE + (p - ap_start)) = *p;
	MEM32(AP_CODE + ((const u8 *)&ap_cr3 - ap_start)) = (u32)(uintptr_t)page_map;
	asm volatile("sidt %0" : "=m"(boot_idtr));
	send_ipi(1, 0x4500);
	for (start = now(); now() - start < 100000;) /* 10 ms */
		;
	send_ipi(1, 0x4600 | AP_CODE >> 12);
	for (start = now(); ap_runs == before && now() - start < 50000000;)
		asm volatile("pause");
	return ap_runs != before;
}

/* Status of starting processor 1 with a context that is zero, or of random bytes */
static u64 start_by_hypercall(bool garbage)
{
	static struct hv_start_vp in __attribute__((aligned(4096)));

	for (unsigned i = 0; garbage && i < sizeof(in) / 8; i++)
		MEM64((u64 *)&in + i) = random_u64();
	in.partition_id = ~0ull;
	in.vp_index = 1;
	in.target_vtl = 0;
	return hypercall(HV_CALL_START_VP, (u64)(uintptr_t)&in, 0);
}

void test_processors(void)
{
	u64 start, r;

	if (processors < 2) {
		say("  only one processor\n");
		return;
	}
	if (!expect(start_processor(), "processor 1 does not start"))
		return;
	watchdog(true);
	/* wakes from HLT by an IPI, one at a time */
	irq_count[VEC_IPI] = 0;
	for (u32 i = 1; i <= 200; i++) {
		send_ipi(1, VEC_IPI);
		for (start = now(); irq_count[VEC_IPI] < i && now() - start < 20000000;)
			asm volatile("pause");
		if (!expect(irq_count[VEC_IPI] >= i, "IPI %u was lost", i))
			break;
	}
	/* both at once */
	irq_count[VEC_IPI + 1] = 0;
	ap_order = 1;
	asm volatile("sti");
	start = now();
	for (u32 i = 0; now() - start < 20000000; i++)
		send_ipi(i & 1 ? 1 : 0, VEC_IPI + (i & 2));
	ap_order = 0;
	asm volatile("cli");
	expect(irq_count[VEC_IPI + 1] > 10, "%u IPIs came back", irq_count[VEC_IPI + 1]);
	/* by hypercall, with garbage masks too */
	hypercall_enable();
	for (u64 i = 0; i < 300; i++)
		hypercall(HV_CALL_SEND_IPI | HV_CONTROL_FAST, VEC_IPI, i & 1 ? 2 : ~0ull);
	/* it cannot be started while it runs, halting or busy */
	for (u32 i = 0; i < 200; i++) {
		ap_order = i & 1 ? 3 : 0;
		r = start_by_hypercall(false);
		expect(r == HV_STATUS_INVALID_VP_STATE, "start of a running processor: %#lx", r);
	}
	ap_order = 0;
	/* NMIs, to a halting and to a busy processor */
	nmi_count = 0;
	for (u32 i = 0; i < 100; i++)
		send_ipi(1, 0x4400);
	for (start = now(); !nmi_count && now() - start < 20000000;)
		asm volatile("pause");
	expect(nmi_count > 0, "no NMI");
	/* INIT in the middle of a port access, and a start after it */
	for (u32 i = 0; i < 30; i++) {
		ap_order = 2;
		for (start = now(); now() - start < 20000;)
			asm volatile("pause");
		if (!expect(start_processor(), "restart %u of processor 1", i))
			break;
	}
	ap_order = 0;
	/* SIPIs and INITs that nobody waits for, to processors that do not exist */
	for (u32 i = 0; i < 200; i++)
		send_ipi(2 + (u32)random_u64() % 100, 0x4500 | (u32)(random_u64() & 0x1ff));
	for (u32 i = 0; i < 20; i++)
		send_ipi(1, 0x4600 | AP_CODE >> 12);
	watchdog(false);
	send_ipi(1, 0x4500);
}

/* ---- ends ---- */

static bool is(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void load_idt(u64 base, u16 limit)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) r = {limit, base};

	asm volatile("lidt %0" ::"m"(r));
}

static void crash_message(void)
{
	static const char text[] = "deliberate\ncrash \x1b[31m of the raw guest";

	write_msr(HV_MSR_CRASH_P0, 0x11);
	write_msr(HV_MSR_CRASH_P0 + 1, 0x22);
	write_msr(HV_MSR_CRASH_P0 + 2, 0x33);
	write_msr(HV_MSR_CRASH_P0 + 3, (u64)(uintptr_t)text);
	write_msr(HV_MSR_CRASH_P4, sizeof(text));
	write_msr(HV_MSR_CRASH_CTL, HV_CRASH_CTL_NOTIFY | HV_CRASH_CTL_MESSAGE);
}

/* Makes processor 1 run 64-bit code at 0 with a context made of garbage. */
static void start_garbage(void)
{
	hypercall_enable();
	say("  status %#lx\n", start_by_hypercall(true));
}

void end_with(const char *word)
{
	u64 start;

	asm volatile("cli");
	if (is(word, "triple-fault")) {
		load_idt(0, 0);
		/* the port access makes the registers known outside */
		asm volatile("mov $0x1122334455667788, %%rbx; inb $0x80, %%al; ud2" ::
				     : "rbx", "rax");
	} else if (is(word, "crash")) {
		crash_message();
	} else if (is(word, "crash-garbage")) {
		write_msr(HV_MSR_CRASH_P0 + 3, vtl2_base);
		write_msr(HV_MSR_CRASH_P4, ~0ull);
		write_msr(HV_MSR_CRASH_CTL, HV_CRASH_CTL_NOTIFY | HV_CRASH_CTL_MESSAGE);
	} else if (is(word, "pvpanic")) {
		out8(panic_port, 1);
	} else if (is(word, "reset-msr")) {
		write_msr(HV_MSR_RESET, 1);
	} else if (is(word, "reset-cf9")) {
		out8(0xcf9, 2);
		out8(0xcf9, 6);
	} else if (is(word, "reset-keyboard")) {
		out8(0x64, 0xfe);
	} else if (is(word, "reset-port92")) {
		out8(0x92, 1);
	} else if (is(word, "cr3")) {
		asm volatile("mov %0, %%cr3" ::"r"(vtl2_base) : "memory");
	} else if (is(word, "idt")) {
		load_idt(vtl2_base, 0xfff);
		asm volatile("ud2");
	} else if (is(word, "gdt")) {
		struct {
			u16 limit;
			u64 base;
		} __attribute__((packed)) r = {0xff, vtl2_base};

		asm volatile("lgdt %0; mov %1, %%ds" ::"m"(r), "r"(0x18));
	} else if (is(word, "stack")) {
		asm volatile("mov %0, %%rsp; ud2" ::"r"(vtl2_base + 0x800));
	} else if (is(word, "smi")) {
		LAPIC(LAPIC_ICR2) = 0;
		LAPIC(LAPIC_ICR) = 0x4200;
	} else if (is(word, "init-self")) {
		LAPIC(LAPIC_ICR2) = 0;
		LAPIC(LAPIC_ICR) = 0x4500;
	} else if (is(word, "start-garbage")) {
		start_garbage();
	} else if (is(word, "loop")) {
		for (;;)
			;
	} else if (is(word, "halt")) {
		for (;;)
			asm volatile("cli; hlt");
	}
	for (start = now(); now() - start < 30000000;)
		;
}
