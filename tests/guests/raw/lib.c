/* Console, exceptions, ACPI, page tables, choice of tests. */
#include "raw.h"

#include <stdarg.h>

#define COM1 0x3f8

volatile struct fault fault;
volatile u64 recover;
volatile u32 irq_count[256];
volatile u32 nmi_count;
u64 vtl2_base, vtl2_end;
u16 pm1_control, panic_port;
unsigned processors;
u64 page_map[512] __attribute__((aligned(4096)));

static u64 level3[512] __attribute__((aligned(4096)));
static u64 level2[MAPPED_END >> 30][512] __attribute__((aligned(4096)));
static u16 sleep_value = BIT(13); /* SLP_EN and the type of S5 */
static unsigned failures, failures_here;
static u64 random_state = 0x9e3779b97f4a7c15;

/* ---- console ---- */

static void put(char c)
{
	static unsigned room;

	if (c == '\n')
		put('\r');
	while (!room)
		if (in8(COM1 + 5) & 0x20)
			room = 16;
	room--;
	out8(COM1, (u8)c);
}

static void put_number(u64 v, unsigned base)
{
	char text[24];
	unsigned n = 0;

	do {
		text[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n)
		put(text[--n]);
}

/* Of printf: %s %c %u %x with l or ll, %#x, %% */
static void vsay(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		bool wide = false;

		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		fmt++;
		if (*fmt == '#') {
			put('0');
			put('x');
			fmt++;
		}
		for (; *fmt == 'l'; fmt++)
			wide = true;
		switch (*fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				put(*s);
			break;
		case 'c': put((char)va_arg(ap, int)); break;
		case 'u': put_number(wide ? va_arg(ap, u64) : va_arg(ap, u32), 10); break;
		case 'x': put_number(wide ? va_arg(ap, u64) : va_arg(ap, u32), 16); break;
		default: put(*fmt);
		}
	}
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

bool expect(bool good, const char *fmt, ...)
{
	va_list ap;

	if (good)
		return true;
	failures_here++;
	if (failures_here > 8)
		return false;
	say("  ");
	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	say("\n");
	return false;
}

u64 random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

u64 now(void)
{
	return read_msr(HV_MSR_TIME_REF_COUNT);
}

void power_off(void)
{
	out16(pm1_control, sleep_value);
	say("RAW-GUEST cannot power off\n");
	for (;;)
		asm volatile("cli; hlt");
}

/* The compiler may call these. */
void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

void *memset(void *to, int c, size_t n)
{
	void *p = to;

	asm volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(c) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *p = to;

	asm volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n)::"memory");
	return to;
}

/* ---- exceptions and interrupts ---- */

struct trap_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

extern const u8 trap_stubs[256][16];
void trap(struct trap_frame *f);

void trap(struct trap_frame *f)
{
	u64 cr2;

	if (f->vector == 2) {
		nmi_count++;
		return;
	}
	if (f->vector >= 32) {
		u32 count = __atomic_add_fetch(&irq_count[f->vector], 1, __ATOMIC_RELAXED);

		if (f->vector == VEC_LEVEL && count >= LEVEL_REPEATS)
			in8(0x2fa); /* COM2's interrupt identification: takes the request back */
		LAPIC(0xb0) = 0;
		return;
	}
	asm volatile("mov %%cr2, %0" : "=r"(cr2));
	if (!recover) {
		say("FAIL unexpected exception %lu error %#lx at %#lx cr2 %#lx rax %#lx rcx %#lx\n",
		    f->vector, f->error, f->rip, cr2, f->rax, f->rcx);
		say("RAW-GUEST FAILED\n");
		power_off();
	}
	fault.error = f->error;
	fault.cr2 = cr2;
	fault.vector = f->vector;
	f->rip = recover;
	recover = 0;
}

static void set_up_exceptions(void)
{
	static struct {
		u16 low, selector, type, middle;
		u32 high, reserved;
	} idt[256] __attribute__((aligned(16)));
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) idtr = {sizeof(idt) - 1, (u64)(uintptr_t)idt};

	for (unsigned i = 0; i < 256; i++) {
		u64 at = (u64)(uintptr_t)trap_stubs[i];

		idt[i].low = (u16)at;
		idt[i].selector = 0x10;
		idt[i].type = 0x8e00;
		idt[i].middle = (u16)(at >> 16);
		idt[i].high = (u32)(at >> 32);
	}
	asm volatile("lidt %0" ::"m"(idtr));
}

static void set_up_paging(void)
{
	u64 cr4;

	for (u64 i = 0; i < MAPPED_END >> 21; i++)
		level2[i / 512][i % 512] = i << 21 | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
	for (u64 i = 0; i < MAPPED_END >> 30; i++)
		level3[i] = (u64)(uintptr_t)level2[i] | PTE_PRESENT | PTE_WRITABLE;
	page_map[0] = (u64)(uintptr_t)level3 | PTE_PRESENT | PTE_WRITABLE;
	asm volatile("mov %0, %%cr3" ::"r"((u64)(uintptr_t)page_map) : "memory");
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" ::"r"(cr4 | 0x600)); /* SSE */
}

static void set_up_apic(void)
{
	LAPIC(0x80) = 0x1f;  /* priority: no interrupts with the vectors of exceptions */
	LAPIC(0xf0) = 0x1ff; /* software enable, spurious vector 0xff */
}

/* ---- what firmware tables say ---- */

static bool same(const volatile u8 *p, const char *text, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (p[i] != (u8)text[i])
			return false;
	return true;
}

static void read_dsdt(const u8 *t)
{
	u32 length = MEM32(t + 4);

	for (u32 i = 0; i + 16 < length; i++) {
		if (same(t + i, "_S5_", 4)) {
			const u8 *p = t + i + 5; /* behind name and package opcode */

			p += (p[0] >> 6) + 2; /* length, number of elements */
			sleep_value = (u16)(BIT(13) | (*p == 0x0a ? p[1] : *p & 1) << 10);
		} else if (same(t + i, "QEMU0001", 8)) {
			for (u32 k = i; k < i + 64 && k + 4 < length; k++)
				if (t[k] == 0x47 && t[k + 1] == 1) {
					panic_port = MEM16(t + k + 2);
					break;
				}
		}
	}
}

static void read_acpi(u64 rsdp)
{
	const u8 *xsdt = (const u8 *)(uintptr_t)MEM64(rsdp + 24);
	u32 entries = (MEM32(xsdt + 4) - 36) / 8;

	for (u32 i = 0; i < entries; i++) {
		const u8 *t = (const u8 *)(uintptr_t)MEM64(xsdt + 36 + 8 * i);

		if (same(t, "FACP", 4)) {
			pm1_control = (u16)MEM32(t + 64);
			read_dsdt((const u8 *)(uintptr_t)MEM64(t + 140));
		} else if (same(t, "APIC", 4)) {
			const u8 *end = t + MEM32(t + 4);

			for (const u8 *e = t + 44; e + 2 <= end && e[1]; e += e[1])
				processors += e[0] == 0;
		}
	}
}

static void read_zero_page(u64 zp)
{
	for (unsigned i = 0; i < MEM8(zp + 0x1e8); i++) {
		u64 entry = zp + 0x2d0 + i * 20, base = MEM64(entry), size = MEM64(entry + 8);

		if (MEM32(entry + 16) != 2 || base < 4 * GiB)
			continue;
		if (!vtl2_base)
			vtl2_base = base;
		vtl2_end = base + size;
	}
	read_acpi(MEM64(zp + 0x70));
}

/* ---- choice ---- */

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"ports-read", test_ports_read},     {"ports-write", test_ports_write},
	{"ports-random", test_ports_random}, {"string-io", test_string_io},
	{"vtl2-memory", test_vtl2_memory},   {"holes", test_holes},
	{"instructions", test_instructions}, {"ioapic", test_ioapic},
	{"unknown-msrs", test_unknown_msrs}, {"hyperv-msrs", test_hyperv_msrs},
	{"hypercalls", test_hypercalls},     {"timers", test_timers},
	{"processors", test_processors},     {"vmbus", test_vmbus},
	{"vmbus-rough", test_vmbus_rough},   {"vmbus-rings", test_vmbus_rings},
	{"vmbus-loops", test_vmbus_loops},   {"rest", test_rest},
};

/* Length of the word at the start of text, which ends at a comma, a space or the end */
static unsigned word_length(const char *text)
{
	unsigned n = 0;

	while (text[n] && text[n] != ',' && text[n] != ' ')
		n++;
	return n;
}

static bool is_word(const char *word, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (word[i] != name[i])
			return false;
	return !name[n];
}

static void run_word(const char *word, unsigned n)
{
	bool all = is_word(word, n, "all"), known = all;

	for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
		u64 start;

		if (!all && !is_word(word, n, tests[i].name))
			continue;
		known = true;
		failures_here = 0;
		start = now();
		tests[i].run();
		say("%s %s (%lu ms)\n", failures_here ? "FAIL" : "PASS", tests[i].name,
		    (now() - start) / 10000);
		failures += failures_here;
	}
	if (!known) {
		static char copy[64];

		for (unsigned i = 0; i < n && i < sizeof(copy) - 1; i++)
			copy[i] = word[i];
		say("end by: %s\n", copy);
		end_with(copy);
		say("FAIL end by %s: still running\n", copy);
		failures++;
	}
}

void raw_main(u64 zero_page);

void raw_main(u64 zero_page)
{
	const char *p;

	set_up_exceptions();
	set_up_paging();
	set_up_apic();
	read_zero_page(zero_page);
	say("RAW-GUEST up: %u processors, VTL2 at %#lx-%#lx, PM1 control at %#x\n", processors,
	    vtl2_base, vtl2_end, pm1_control);
	for (p = (const char *)(uintptr_t)MEM32(zero_page + 0x228); *p; p++)
		if (same((const volatile u8 *)p, "test=", 5))
			break;
	if (*p)
		p += 5;
	while (*p && *p != ' ') {
		unsigned n = word_length(p);

		run_word(p, n);
		p += n;
		if (*p == ',')
			p++;
	}
	say(failures ? "RAW-GUEST FAILED\n" : "RAW-GUEST OK\n");
	power_off();
}
