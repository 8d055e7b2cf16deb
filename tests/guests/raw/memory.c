/* VTL2's memory, holes, and instructions of all kinds on addresses where no RAM is. */
#include "raw.h"

static void expect_ones(u64 a)
{
	expect(MEM64(a) == ~0ull, "%#lx reads %#lx", a, MEM64(a));
}

/* Where the second entry of the top page table maps: what that entry names, 0 for nothing */
#define EXTRA (1ull << 39)

static void map_extra(u64 entry)
{
	page_map[1] = entry;
	asm volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" ::: "rax", "memory");
}

void test_vtl2_memory(void)
{
	u64 middle = ALIGN_DOWN(vtl2_base + (vtl2_end - vtl2_base) / 2, PAGE_SIZE);

	if (!expect(vtl2_end > vtl2_base, "no reserved range above 4 GiB"))
		return;
	/* one page of eight: each access is a round trip through VTL2 */
	for (u64 a = vtl2_base; a < vtl2_end; a += 8 * PAGE_SIZE) {
		u64 at = a + (random_u64() & (8 * PAGE_SIZE - 8));

		expect_ones(at);
		MEM64(at) = 0x4141414141414141;
	}
	expect_ones(vtl2_base);
	expect(MEM8(middle) == 0xff && MEM16(middle + 2) == 0xffff &&
		       MEM32(middle + 4) == 0xffffffff && MEM64(vtl2_end - 4) == ~0ull,
	       "other widths");

	/* as code, as a stack, as a page table */
	TRY("call *%0", , "r"(middle));
	expect(fault.vector == VEC_UD, "code in VTL2's memory: vector %lu", fault.vector);
	map_extra(vtl2_base | PTE_PRESENT | PTE_WRITABLE);
	TRY("mov (%0), %%al", , "r"(EXTRA), "rax");
	expect(fault.vector == VEC_PF, "page table in VTL2's memory: vector %lu", fault.vector);
	TRY("movb $1, (%0)", , "r"(EXTRA));
	expect(fault.vector == VEC_PF, "page table in VTL2's memory: vector %lu", fault.vector);
	map_extra(0);
}

void test_holes(void)
{
	static const u64 far[] = {36, 37, 38};

	for (u64 a = HOLE; a < 0xfec00000ull; a += 8 * MiB)
		expect_ones(a);
	/* here the hypervisor has no slot of memory: KVM's own places */
	for (u64 a = 0xfffbb000; a <= 0xfffc0000ull; a += PAGE_SIZE) {
		MEM32(a + 8) = 0x41414141;
		expect_ones(a + 8);
	}
	for (u64 a = 4 * GiB; a < MAPPED_END; a += 64 * MiB) {
		u64 v = MEM64(a);

		/* a large machine has RAM there, which is zero */
		expect(v == ~0ull || v == 0, "%#lx reads %#lx", a, v);
	}
	/* above what this processor says it addresses */
	for (unsigned i = 0; i < ARRAY_SIZE(far); i++) {
		static u64 map3[512] __attribute__((aligned(4096)));
		static u64 map2[512] __attribute__((aligned(4096)));

		map2[0] = BIT(far[i]) | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
		map3[0] = (u64)(uintptr_t)map2 | PTE_PRESENT | PTE_WRITABLE;
		map_extra((u64)(uintptr_t)map3 | PTE_PRESENT | PTE_WRITABLE);
		u64 v = 0;

		TRY("mov (%1), %0", "+r"(v), "r"(EXTRA));
		expect(fault.vector == VEC_PF || v == ~0ull, "GPA 1 << %lu reads %#lx", far[i], v);
		TRY("mov %0, (%1)", , ARGS("r"(v), "r"(EXTRA)));
		map_extra(0);
	}
}

static u64 ram[512] __attribute__((aligned(4096)));

/* Runs one instruction on (%rdi) in a hole; RAX before and after, RFLAGS after. */
#define ON_HOLE(insn, before, after)                                                               \
	do {                                                                                       \
		u64 rax_ = (before), di_ = HOLE + 0x100, cx_ = 1, dx_ = 0, bx_ = 0;                \
                                                                                                   \
		TRY(insn, ARGS("+a"(rax_), "+D"(di_), "+c"(cx_), "+d"(dx_), "+b"(bx_)), "S"(ram)); \
		expect(fault.vector == NO_FAULT, insn ": vector %lu", fault.vector);               \
		expect(rax_ == (after), insn ": rax %#lx", rax_);                                  \
	} while (0)

/* The same without a wanted result; #UD is a possible answer */
#define SURVIVES(insn)                                                                          \
	do {                                                                                    \
		u64 rax_ = 0, di_ = HOLE + 0x200, cx_ = 1, dx_ = 0, bx_ = 0,                    \
		    si_ = (u64)(uintptr_t)ram;                                                  \
                                                                                                \
		TRY(insn,                                                                       \
		    ARGS("+a"(rax_), "+D"(di_), "+c"(cx_), "+d"(dx_), "+b"(bx_), "+S"(si_)), ); \
	} while (0)

static void moves(void)
{
	ON_HOLE("movb (%%rdi), %%al", 0, 0xff);
	ON_HOLE("movw (%%rdi), %%ax", 0x110000, 0x11ffff);
	ON_HOLE("movl (%%rdi), %%eax", 1ull << 40, 0xffffffffull);
	ON_HOLE("movq (%%rdi), %%rax", 0, ~0ull);
	ON_HOLE("movb (%%rdi), %%ah", 0, 0xff00);
	ON_HOLE("movzbl (%%rdi), %%eax", 0, 0xffull);
	ON_HOLE("movzwl (%%rdi), %%eax", 0, 0xffffull);
	ON_HOLE("movzbq 7(%%rdi), %%rax", 0, 0xffull);
	ON_HOLE("movsbl (%%rdi), %%eax", 0, 0xffffffffull);
	ON_HOLE("movsbq (%%rdi), %%rax", 0, ~0ull);
	ON_HOLE("movswq (%%rdi), %%rax", 0, ~0ull);
	ON_HOLE("movslq (%%rdi), %%rax", 0, ~0ull);
	ON_HOLE("movabs 0xd0000100, %%al", 0, 0xff);
	ON_HOLE("movabs 0xd0000100, %%rax", 0, ~0ull);
	ON_HOLE("movabs %%rax, 0xd0000100", 5, 5);
	ON_HOLE("movb %%al, (%%rdi)", 5, 5);
	ON_HOLE("movw %%ax, (%%rdi)", 5, 5);
	ON_HOLE("movl %%eax, (%%rdi)", 5, 5);
	ON_HOLE("movq %%rax, (%%rdi)", 5, 5);
	ON_HOLE("movb $1, (%%rdi)", 5, 5);
	ON_HOLE("movw $1, (%%rdi)", 5, 5);
	ON_HOLE("movl $1, (%%rdi)", 5, 5);
	ON_HOLE("movq $1, (%%rdi)", 5, 5);
	ON_HOLE("movl $1, 0x10(%%rdi,%%rcx,8)", 5, 5);
	ON_HOLE("movnti %%rax, (%%rdi)", 5, 5);
	/* across the end of a page, within the hole and from it to the next device */
	ON_HOLE("movq 0xefc(%%rdi), %%rax", 0, ~0ull);
	ON_HOLE("movq %%rax, 0xefc(%%rdi)", 5, 5);
}

static void arithmetic(void)
{
	ON_HOLE("addb %%al, (%%rdi)", 5, 5);
	ON_HOLE("addl (%%rdi), %%eax", 5, 4ull);
	ON_HOLE("addq (%%rdi), %%rax", 5, 4);
	ON_HOLE("lock addl $3, (%%rdi)", 5, 5);
	ON_HOLE("orl $3, (%%rdi)", 5, 5);
	ON_HOLE("orb (%%rdi), %%al", 0, 0xff);
	ON_HOLE("andl (%%rdi), %%eax", 0x1234, 0x1234ull);
	ON_HOLE("lock andq %%rax, (%%rdi)", 0, 0);
	ON_HOLE("xorl (%%rdi), %%eax", 0, 0xffffffffull);
	ON_HOLE("subq (%%rdi), %%rax", 5, 6);
	ON_HOLE("cmpl $-1, (%%rdi); setz %%al", 0, 1);
	ON_HOLE("cmpb $0, (%%rdi); setz %%al", 0, 0);
	ON_HOLE("cmpq %%rax, (%%rdi); setz %%al", ~0ull, (~0ull & ~0xffull) | 1);
	ON_HOLE("testl $1, (%%rdi); setnz %%al", 0, 1);
	ON_HOLE("testb %%al, (%%rdi); setz %%al", 0, 1);
	ON_HOLE("incl (%%rdi)", 5, 5);
	ON_HOLE("decb (%%rdi)", 5, 5);
	ON_HOLE("notl (%%rdi)", 5, 5);
	ON_HOLE("negq (%%rdi)", 5, 5);
	ON_HOLE("xchgl %%eax, (%%rdi)", 5, 0xffffffffull);
	ON_HOLE("xchgb %%al, (%%rdi)", 5, 0xff);
	ON_HOLE("lock xaddl %%eax, (%%rdi)", 5, 0xffffffffull);
	ON_HOLE("lock cmpxchgl %%ecx, (%%rdi)", 5, 0xffffffffull);
	ON_HOLE("lock cmpxchgq %%rcx, (%%rdi)", ~0ull, ~0ull);
	ON_HOLE("btl $3, (%%rdi); setc %%al", 0, 1);
	ON_HOLE("lock btsl $3, (%%rdi); setc %%al", 0, 1);
	ON_HOLE("lock btrl $3, (%%rdi); setc %%al", 0, 1);
}

/* RCX, RSI and RDI of a string instruction, before and after it */
static struct {
	u64 count, from, to;
} string;

#define STRING(insn, n, source, dest, rax_)                                             \
	do {                                                                            \
		string.count = (n);                                                     \
		string.from = (source);                                                 \
		string.to = (dest);                                                     \
		TRY(insn, ARGS("+c"(string.count), "+S"(string.from), "+D"(string.to)), \
		    "a"(rax_));                                                         \
	} while (0)

static void strings(void)
{
	const u64 own = (u64)(uintptr_t)ram;

	for (unsigned i = 0; i < 512; i++)
		ram[i] = 0x2222222222222222;
	STRING("rep movsb", 600, HOLE + 0xf00, own + 1, 0);
	expect(fault.vector == NO_FAULT && !string.count && string.from == HOLE + 0xf00 + 600,
	       "rep movsb: vector %lu, %lu left", fault.vector, string.count);
	expect(MEM8(own) == 0x22 && MEM8(own + 1) == 0xff && MEM8(own + 600) == 0xff &&
		       MEM8(own + 601) == 0x22,
	       "rep movsb: wrong bytes");
	STRING("rep movsq", 100, own, HOLE + 0xf00, 0);
	expect(fault.vector == NO_FAULT && !string.count && string.to == HOLE + 0xf00 + 800,
	       "rep movsq: vector %lu, %lu left", fault.vector, string.count);
	STRING("rep movsl", 100, HOLE, HOLE + 0x2000, 0);
	expect(fault.vector == NO_FAULT && !string.count, "rep movsl hole to hole: %lu left",
	       string.count);
	STRING("rep stosq", 100, 0, HOLE, 0);
	expect(fault.vector == NO_FAULT && !string.count, "rep stosq: %lu left", string.count);
	STRING("repe scasb", 100, 0, HOLE, 0xff);
	expect(fault.vector == VEC_UD || !string.count, "repe scasb: %lu left", string.count);
	STRING("repe cmpsb", 100, HOLE + 0x1000, HOLE, 0);
	expect(fault.vector == VEC_UD || !string.count, "repe cmpsb: %lu left", string.count);
	string.from = HOLE;
	TRY("lodsq", "+S"(string.from), , "rax");
	expect(fault.vector == VEC_UD || string.from == HOLE + 8, "lodsq");
}

static void vectors(void)
{
	u64 low = 0, high = 0;

	TRY("movups (%2), %%xmm0; movq %%xmm0, %0; movhlps %%xmm0, %%xmm0; movq %%xmm0, %1",
	    ARGS("=&r"(low), "=&r"(high)), "r"(HOLE));
	expect(fault.vector == VEC_UD || (low == ~0ull && high == ~0ull), "movups: %#lx %#lx", low,
	       high);
	TRY("movdqa (%1), %%xmm1; movq %%xmm1, %0", "=&r"(low), "r"(HOLE));
	expect(fault.vector == VEC_UD || low == ~0ull, "movdqa: %#lx", low);
	TRY("movdqa (%0), %%xmm1", , "r"(HOLE + 8));
	expect(fault.vector == VEC_UD || fault.vector == VEC_GP, "misaligned movdqa: vector %lu",
	       fault.vector);
	SURVIVES("movdqa %%xmm0, (%%rdi)");
	SURVIVES("movups %%xmm0, 0xdf8(%%rdi)");
	SURVIVES("movntdq %%xmm0, (%%rdi)");
	SURVIVES("movss (%%rdi), %%xmm0");
	SURVIVES("movq (%%rdi), %%xmm0");
	SURVIVES("movd %%xmm0, (%%rdi)");
	SURVIVES("paddb (%%rdi), %%xmm0");
	SURVIVES("pshufb (%%rdi), %%xmm0");
	SURVIVES("cvtsi2sdl (%%rdi), %%xmm0");
	SURVIVES("fxsave (%%rdi)");
	SURVIVES("fxrstor (%%rdi)");
	SURVIVES("fldl (%%rdi)");
	SURVIVES("fistl (%%rdi)");
	SURVIVES("ldmxcsr (%%rdi)");
	SURVIVES("stmxcsr (%%rdi)");
	asm volatile("fninit");
}

static void odd_ones(void)
{
	SURVIVES("cmpxchg8b (%%rdi)");
	SURVIVES("lock cmpxchg16b (%%rdi)");
	SURVIVES("pushq (%%rdi); popq %%rax");
	SURVIVES("pushq %%rax; popq (%%rdi)");
	SURVIVES("sgdt (%%rdi)");
	SURVIVES("sidt (%%rdi)");
	SURVIVES("sldt (%%rdi)");
	SURVIVES("str (%%rdi)");
	SURVIVES("smsw (%%rdi)");
	SURVIVES("movw %%ds, (%%rdi)");
	SURVIVES("movw (%%rdi), %%es");
	SURVIVES("verr (%%rdi)");
	SURVIVES("lar (%%rdi), %%eax");
	SURVIVES("invlpg (%%rdi)");
	SURVIVES("clflush (%%rdi)");
	SURVIVES("prefetcht0 (%%rdi)");
	SURVIVES("movbe (%%rdi), %%eax");
	SURVIVES("crc32b (%%rdi), %%eax");
	SURVIVES("popcnt (%%rdi), %%eax");
	SURVIVES("adcx (%%rdi), %%eax");
	SURVIVES("imul (%%rdi), %%eax");
	SURVIVES("mull (%%rdi)");
	SURVIVES("divl (%%rdi)");
	SURVIVES("shll $3, (%%rdi)");
	SURVIVES("rclb %%cl, (%%rdi)");
	SURVIVES("shldl $3, %%eax, (%%rdi)");
	SURVIVES("btsl %%ecx, (%%rdi)");
	SURVIVES("sbbl %%eax, (%%rdi)");
	SURVIVES("cmovzl (%%rdi), %%eax");
	SURVIVES("setz (%%rdi)");
	SURVIVES("ljmpl *(%%rdi)");
	SURVIVES("jmp *(%%rdi)");
	SURVIVES("xlatb");
	SURVIVES("insb; outsb");
	SURVIVES("vmovups (%%rdi), %%xmm0");
	SURVIVES("vaddps (%%rdi), %%ymm0, %%ymm0");
	SURVIVES("xsave (%%rdi)");
	SURVIVES("ud2");
	/* a stack there loses what is pushed and returns to all ones */
	{
		u64 saved = 0, v = 0;

		TRY("mov %%rsp, %1; mov %2, %%rsp; push %2; pop %0; mov %1, %%rsp",
		    ARGS("+&r"(v), "+&r"(saved)), "r"(HOLE + 0x800));
		expect(v == ~0ull, "pop from a hole: vector %lu, %#lx", fault.vector, v);
	}
}

void test_instructions(void)
{
	moves();
	arithmetic();
	strings();
	vectors();
	odd_ones();
}

void test_ioapic(void)
{
	for (u32 i = 0; i < 0x40; i++) {
		MEM32(IOAPIC) = 0x10 + i;
		u32 v = MEM32(IOAPIC + 0x10);

		expect(i < 48 || v == 0 || v == ~0u, "register %#x reads %#x", 0x10 + i, v);
	}
	MEM32(IOAPIC) = 1;
	expect((MEM32(IOAPIC + 0x10) & 0xff00ff) == 0x170011, "version %#x", MEM32(IOAPIC + 0x10));
	/* all widths and offsets, with garbage, pins left masked */
	for (u32 i = 0; i < 4000; i++) {
		u64 r = random_u64();
		u64 at = IOAPIC + (r >> 8 & (r & 0x80 ? 0x3f : 0xffc));

		if ((r & 0x7f) == 0 || (at & 0xfff) >= 0x20) {
			MEM16(at);
			MEM8(at) = (u8)(r >> 32);
			MEM64(at & ~7ull);
			continue;
		}
		MEM32(IOAPIC) = (u32)(r >> 32) & 0x3f;
		MEM32(IOAPIC + 0x10) = (u32)(r >> 40) | (r & 1 ? BIT(16) : 0);
		TRY("lock addl $1, 0x10(%0)", , "r"(IOAPIC));
		TRY("xchgb %%al, (%0)", , "r"(IOAPIC), "rax");
	}
	for (u32 pin = 0; pin < 24; pin++) {
		MEM32(IOAPIC) = 0x10 + 2 * pin;
		MEM32(IOAPIC + 0x10) = BIT(16);
	}
}
