/*
 * The emulator against the processor it runs on: the same instruction, registers and memory, once
 * executed natively and once by x86_emulate with the memory as a device.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "vtl2-devices/x86emu/x86emu.h"

#define ROUNDS	  300
#define AREA_SIZE (2 * PAGE_SIZE)

#define O X86_FLAG_OF
#define A X86_FLAG_AF
#define S X86_FLAG_SF
#define P X86_FLAG_PF
#define Z X86_FLAG_ZF

/* How registers are chosen. Always: RBX, RSI and RDI point into the area, the others are random. */
enum kind {
	GENERAL,
	ALIGNED,  /* RBX is a multiple of 16 */
	BITS,	  /* RCX and RDX are bit numbers that stay inside the area */
	STRING,	  /* RCX is a small count, DF random */
	ACC,	  /* RAX (and RDX) often equal memory at RBX */
	ACC_PAIR, /* same, and RBX is free: memory is at RSI, a multiple of 16 */
	STACK,	  /* RSP points into the area */
};

struct insn {
	const u8 *start, *end;
	const char *name;
	u64 kind, undefined;
};

/* One row of the table; undefined names the flags that the manuals leave open. */
#define ROW_(text, kind_, undefined_)                                                       \
	__asm__(".pushsection insn_text,\"a\"\n1: " text "\n2:\n3: .asciz \"" text "\"\n"   \
		".popsection\n.pushsection insn_table,\"aw\"\n.quad 1b, 2b, 3b, %c0, %c1\n" \
		".popsection" ::"i"(kind_),                                                 \
		"i"(undefined_))
#define ROW(text, kind, undefined) ROW_(text, kind, undefined)
#define EACH_SIZE(op, kind, undefined)                \
	ROW(op "b %%al, 9(%%rbx)", kind, undefined);  \
	ROW(op "w %%ax, 9(%%rbx)", kind, undefined);  \
	ROW(op "l %%eax, 9(%%rbx)", kind, undefined); \
	ROW(op "q %%rax, 9(%%rbx)", kind, undefined)
#define EACH_LOAD(op, kind, undefined)               \
	ROW(op "b (%%rbx), %%dl", kind, undefined);  \
	ROW(op "b (%%rbx), %%ah", kind, undefined);  \
	ROW(op "w (%%rbx), %%dx", kind, undefined);  \
	ROW(op "l (%%rbx), %%edx", kind, undefined); \
	ROW(op "q (%%rbx), %%r9", kind, undefined)
#define EACH_ONE(op, kind, undefined)         \
	ROW(op "b (%%rbx)", kind, undefined); \
	ROW(op "w (%%rbx)", kind, undefined); \
	ROW(op "l (%%rbx)", kind, undefined); \
	ROW(op "q (%%rbx)", kind, undefined)
#define EACH_IMM(op, imm, kind, undefined)              \
	ROW(op "b $" imm ", (%%rbx)", kind, undefined); \
	ROW(op "w $" imm ", (%%rbx)", kind, undefined); \
	ROW(op "l $" imm ", (%%rbx)", kind, undefined); \
	ROW(op "q $" imm ", (%%rbx)", kind, undefined)
#define EACH_STRING(op)         \
	ROW(op "b", STRING, 0); \
	ROW(op "w", STRING, 0); \
	ROW(op "l", STRING, 0); \
	ROW(op "q", STRING, 0)
#define ARITHMETIC(op, undefined)                 \
	EACH_SIZE(op, GENERAL, undefined);        \
	EACH_LOAD(op, GENERAL, undefined);        \
	EACH_IMM(op, "0x71", GENERAL, undefined); \
	EACH_IMM(op, "-3", GENERAL, undefined);   \
	ROW(op "q $-0x12345678, 3(%%rbx)", GENERAL, undefined)
#define CONDITION(cc)                                 \
	ROW("set" cc " (%%rbx)", GENERAL, 0);         \
	ROW("cmov" cc " (%%rbx), %%edx", GENERAL, 0); \
	ROW("cmov" cc " (%%rbx), %%r10", GENERAL, 0)

/* Never called: only carries the rows into their sections. */
__attribute__((used, noinline)) static void rows(void)
{
	EACH_SIZE("mov", GENERAL, 0);
	EACH_LOAD("mov", GENERAL, 0);
	EACH_IMM("mov", "0x5a", GENERAL, 0);
	ROW("movq $-0x12345678, (%%rbx)", GENERAL, 0);
	ROW("movl $0x87654321, (%%rbx,%%rcx,1)", STRING, 0);
	ROW("movl -8(%%rsi,%%rcx,4), %%eax", STRING, 0);
	ROW("movzbw (%%rbx), %%dx", GENERAL, 0);
	ROW("movzbl (%%rbx), %%edx", GENERAL, 0);
	ROW("movzbq (%%rbx), %%rdx", GENERAL, 0);
	ROW("movzwl (%%rbx), %%edx", GENERAL, 0);
	ROW("movzwq (%%rbx), %%rdx", GENERAL, 0);
	ROW("movsbw (%%rbx), %%dx", GENERAL, 0);
	ROW("movsbl (%%rbx), %%edx", GENERAL, 0);
	ROW("movsbq (%%rbx), %%rdx", GENERAL, 0);
	ROW("movswl (%%rbx), %%edx", GENERAL, 0);
	ROW("movswq (%%rbx), %%rdx", GENERAL, 0);
	ROW("movslq (%%rbx), %%rdx", GENERAL, 0);
	ROW("movnti %%eax, (%%rbx)", GENERAL, 0);
	ROW("movnti %%rax, (%%rbx)", GENERAL, 0);
	ARITHMETIC("add", 0);
	ARITHMETIC("or", A);
	ARITHMETIC("adc", 0);
	ARITHMETIC("sbb", 0);
	ARITHMETIC("and", A);
	ARITHMETIC("sub", 0);
	ARITHMETIC("xor", A);
	ARITHMETIC("cmp", 0);
	EACH_SIZE("test", GENERAL, A);
	EACH_IMM("test", "0x71", GENERAL, A);
	EACH_SIZE("lock add", GENERAL, 0);
	EACH_SIZE("lock or", GENERAL, A);
	EACH_ONE("inc", GENERAL, 0);
	EACH_ONE("dec", GENERAL, 0);
	EACH_ONE("neg", GENERAL, 0);
	EACH_ONE("not", GENERAL, 0);
	EACH_SIZE("xchg", GENERAL, 0);
	EACH_SIZE("xadd", GENERAL, 0);
	EACH_SIZE("lock xadd", GENERAL, 0);
	ROW("cmpxchgb %%dl, (%%rbx)", ACC, 0);
	ROW("cmpxchgw %%dx, (%%rbx)", ACC, 0);
	ROW("cmpxchgl %%edx, (%%rbx)", ACC, 0);
	ROW("lock cmpxchgq %%rdx, (%%rbx)", ACC, 0);
	ROW("cmpxchg8b (%%rsi)", ACC_PAIR, 0);
	ROW("lock cmpxchg16b (%%rsi)", ACC_PAIR, 0);
	/* BT and friends: OF, SF, AF, PF are open, ZF stays */
	ROW("btw %%cx, (%%rbx)", BITS, O | S | A | P);
	ROW("btl %%ecx, (%%rbx)", BITS, O | S | A | P);
	ROW("btq %%rcx, (%%rbx)", BITS, O | S | A | P);
	ROW("btsw %%cx, (%%rbx)", BITS, O | S | A | P);
	ROW("btsl %%ecx, (%%rbx)", BITS, O | S | A | P);
	ROW("btrl %%edx, (%%rbx)", BITS, O | S | A | P);
	ROW("btrq %%rcx, (%%rbx)", BITS, O | S | A | P);
	ROW("btcw %%dx, (%%rbx)", BITS, O | S | A | P);
	ROW("btcq %%rdx, (%%rbx)", BITS, O | S | A | P);
	ROW("btsl $35, (%%rbx)", GENERAL, O | S | A | P);
	ROW("btq $35, (%%rbx)", GENERAL, O | S | A | P);
	ROW("btcw $17, (%%rbx)", GENERAL, O | S | A | P);
	/* shifts by one define OF */
	EACH_ONE("rol", GENERAL, 0);
	EACH_ONE("ror", GENERAL, 0);
	EACH_ONE("rcl", GENERAL, 0);
	EACH_ONE("rcr", GENERAL, 0);
	EACH_ONE("shl", GENERAL, A);
	EACH_ONE("shr", GENERAL, A);
	EACH_ONE("sar", GENERAL, A);
	EACH_IMM("rol", "5", GENERAL, O);
	EACH_IMM("ror", "13", GENERAL, O);
	EACH_IMM("shl", "7", GENERAL, O | A);
	EACH_IMM("shr", "7", GENERAL, O | A);
	EACH_IMM("sar", "7", GENERAL, O | A);
	ROW("rolb %%cl, (%%rbx)", GENERAL, O);
	ROW("rorw %%cl, (%%rbx)", GENERAL, O);
	ROW("rclb %%cl, (%%rbx)", GENERAL, O);
	ROW("rcrw %%cl, (%%rbx)", GENERAL, O);
	ROW("rcll %%cl, (%%rbx)", GENERAL, O);
	ROW("rcrq %%cl, (%%rbx)", GENERAL, O);
	ROW("shlb %%cl, (%%rbx)", GENERAL, O | A | X86_FLAG_CF);
	ROW("shrw %%cl, (%%rbx)", GENERAL, O | A | X86_FLAG_CF);
	ROW("sarb %%cl, (%%rbx)", GENERAL, O | A);
	ROW("shll %%cl, (%%rbx)", GENERAL, O | A);
	ROW("shrq %%cl, (%%rbx)", GENERAL, O | A);
	ROW("sarq %%cl, (%%rbx)", GENERAL, O | A);
	CONDITION("o");
	CONDITION("no");
	CONDITION("b");
	CONDITION("ae");
	CONDITION("e");
	CONDITION("ne");
	CONDITION("be");
	CONDITION("a");
	CONDITION("s");
	CONDITION("ns");
	CONDITION("p");
	CONDITION("np");
	CONDITION("l");
	CONDITION("ge");
	CONDITION("le");
	CONDITION("g");
	ROW("xlat", GENERAL, 0);
	ROW("pushq (%%rbx)", STACK, 0);
	ROW("popq (%%rbx)", STACK, 0);
	ROW("popq 8(%%rsp)", STACK, 0);
	ROW("pushq 8(%%rsp)", STACK, 0);
	ROW("pushw (%%rbx)", STACK, 0);
	ROW("popw (%%rbx)", STACK, 0);
	ROW("pushq %%rsp", STACK, 0);
	ROW("popq %%rsp", STACK, 0);
	ROW("pushq $-5", STACK, 0);
	ROW("pushq %%r12", STACK, 0);
	ROW("popq %%r12", STACK, 0);
	EACH_STRING("movs");
	EACH_STRING("rep movs");
	EACH_STRING("stos");
	EACH_STRING("rep stos");
	EACH_STRING("lods");
	EACH_STRING("rep lods");
	EACH_STRING("cmps");
	EACH_STRING("repe cmps");
	EACH_STRING("repne cmps");
	EACH_STRING("scas");
	EACH_STRING("repe scas");
	EACH_STRING("repne scas");
	ROW("movups (%%rbx), %%xmm3", GENERAL, 0);
	ROW("movups %%xmm3, (%%rbx)", GENERAL, 0);
	ROW("movupd (%%rbx), %%xmm9", GENERAL, 0);
	ROW("movdqu (%%rbx), %%xmm15", GENERAL, 0);
	ROW("movdqu %%xmm15, (%%rbx)", GENERAL, 0);
	ROW("lddqu (%%rbx), %%xmm0", GENERAL, 0);
	ROW("movaps (%%rbx), %%xmm1", ALIGNED, 0);
	ROW("movaps %%xmm1, (%%rbx)", ALIGNED, 0);
	ROW("movapd %%xmm1, (%%rbx)", ALIGNED, 0);
	ROW("movdqa (%%rbx), %%xmm8", ALIGNED, 0);
	ROW("movdqa %%xmm8, (%%rbx)", ALIGNED, 0);
	ROW("movntdq %%xmm8, (%%rbx)", ALIGNED, 0);
	ROW("movntps %%xmm2, (%%rbx)", ALIGNED, 0);
	ROW("movss (%%rbx), %%xmm4", GENERAL, 0);
	ROW("movss %%xmm4, (%%rbx)", GENERAL, 0);
	ROW("movsd (%%rbx), %%xmm4", GENERAL, 0);
	ROW("movsd %%xmm4, (%%rbx)", GENERAL, 0);
	ROW("movd (%%rbx), %%xmm5", GENERAL, 0);
	ROW("movd %%xmm5, (%%rbx)", GENERAL, 0);
	ROW("movq (%%rbx), %%xmm5", GENERAL, 0);
	ROW("movq %%xmm5, (%%rbx)", GENERAL, 0);
	ROW(".byte 0x66, 0x48, 0x0f, 0x6e, 0x2b", GENERAL, 0);
	ROW(".byte 0x66, 0x48, 0x0f, 0x7e, 0x2b", GENERAL, 0);
	ROW("movhps (%%rbx), %%xmm6", GENERAL, 0);
	ROW("movhps %%xmm6, (%%rbx)", GENERAL, 0);
	ROW("movhpd (%%rbx), %%xmm6", GENERAL, 0);
	ROW("movlps (%%rbx), %%xmm6", GENERAL, 0);
	ROW("movlps %%xmm6, (%%rbx)", GENERAL, 0);
	ROW("movlpd (%%rbx), %%xmm6", GENERAL, 0);
}

extern const struct insn __start_insn_table[], __stop_insn_table[];

/* Registers of the native run; offsets are used by the assembly below. */
struct state {
	u64 gpr[16];
	u64 rflags;
	u64 pad;
	u8 fxsave[512] __attribute__((aligned(16)));
};
_Static_assert(offsetof(struct state, rflags) == 128 && offsetof(struct state, fxsave) == 144, "");

/* Loads *state, jumps to code, which jumps to native_end; that stores the registers into *state. */
void native_run(struct state *state, const void *code);
void native_end(void);

__asm__(".text\n"
	".globl native_run, native_end\n"
	"native_run:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	"
	"push %r15\n"
	"	push %rdi\n"
	"	mov %rsp, native_rsp(%rip)\n"
	"	mov %rsi, native_target(%rip)\n"
	"	fxrstor64 144(%rdi)\n"
	"	push 128(%rdi)\n"
	"	popfq\n"
	"	mov 0(%rdi), %rax\n	mov 8(%rdi), %rcx\n	mov 16(%rdi), %rdx\n"
	"	mov 24(%rdi), %rbx\n	mov 32(%rdi), %rsp\n	mov 40(%rdi), %rbp\n"
	"	mov 48(%rdi), %rsi\n	mov 64(%rdi), %r8\n	mov 72(%rdi), %r9\n"
	"	mov 80(%rdi), %r10\n	mov 88(%rdi), %r11\n	mov 96(%rdi), %r12\n"
	"	mov 104(%rdi), %r13\n	mov 112(%rdi), %r14\n	mov 120(%rdi), %r15\n"
	"	mov 56(%rdi), %rdi\n"
	"	jmp *native_target(%rip)\n"
	"native_end:\n"
	"	mov %rdi, native_target(%rip)\n"
	"	mov %rsp, native_guest_rsp(%rip)\n"
	"	mov native_rsp(%rip), %rsp\n"
	"	mov (%rsp), %rdi\n"
	"	mov %rax, 0(%rdi)\n	mov %rcx, 8(%rdi)\n	mov %rdx, 16(%rdi)\n"
	"	mov %rbx, 24(%rdi)\n	mov %rbp, 40(%rdi)\n	mov %rsi, 48(%rdi)\n"
	"	mov %r8, 64(%rdi)\n	mov %r9, 72(%rdi)\n	mov %r10, 80(%rdi)\n"
	"	mov %r11, 88(%rdi)\n	mov %r12, 96(%rdi)\n	mov %r13, 104(%rdi)\n"
	"	mov %r14, 112(%rdi)\n	mov %r15, 120(%rdi)\n"
	"	mov native_target(%rip), %rax\n	mov %rax, 56(%rdi)\n"
	"	mov native_guest_rsp(%rip), %rax\n	mov %rax, 32(%rdi)\n"
	"	pushfq\n	pop 128(%rdi)\n"
	"	cld\n"
	"	fxsave64 144(%rdi)\n"
	"	pop %rdi\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	"
	"pop %rbx\n"
	"	ret\n"
	".local native_rsp, native_target, native_guest_rsp\n"
	".comm native_rsp,8\n.comm native_target,8\n.comm native_guest_rsp,8\n");

/* The area's contents as the emulator's device sees them. */
static u8 device[AREA_SIZE];
static u8 *area, *code;

static u64 random_u64(void)
{
	static u64 seed = 0x9e3779b97f4a7c15ull;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull;
}

/* Random, with a good share of the values where carries and signs change. */
static u64 random_operand(void)
{
	static const u64 edges[] = {0,
				    1,
				    0x7f,
				    0x80,
				    0xff,
				    0x7fff,
				    0x8000,
				    0x7fffffff,
				    0x80000000,
				    0x7fffffffffffffff,
				    0x8000000000000000,
				    ~0ull};
	u64 r = random_u64();

	return r & 3 ? random_u64() : edges[(r >> 8) % ARRAY_SIZE(edges)];
}

static int no_ram_read(void *ctx, u64 gpa, void *buf, u32 len)
{
	(void)ctx, (void)gpa, (void)buf, (void)len;
	return -1;
}

static int no_ram_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
	(void)ctx, (void)gpa, (void)buf, (void)len;
	return -1;
}

static u8 *at(u64 gpa, u32 len)
{
	u64 offset = gpa - (u64)(uintptr_t)area;

	assert_true(len == 1 || len == 2 || len == 4 || len == 8);
	assert_true(offset < AREA_SIZE && offset + len <= AREA_SIZE);
	return device + offset;
}

static void device_read(void *ctx, u64 gpa, void *buf, u32 len)
{
	(void)ctx;
	memcpy(buf, at(gpa, len), len);
}

static void device_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
	(void)ctx;
	memcpy(at(gpa, len), buf, len);
}

static u64 pointer(void)
{
	/* near the page boundary half of the time */
	u64 r = random_u64(), offset = 1024 + r % 6000;

	if (r >> 60 & 1)
		offset = PAGE_SIZE - 20 + (r >> 20) % 24;
	return (u64)(uintptr_t)area + offset;
}

static void fill_memory(void)
{
	bool few = random_u64() & 1;

	for (size_t i = 0; i < AREA_SIZE; i += 8) {
		u64 v = few ? (random_u64() % 16 == 0) : random_operand();

		memcpy(area + i, &v, 8);
	}
	memcpy(device, area, AREA_SIZE);
}

static void choose_registers(enum kind kind, struct state *s)
{
	for (int i = 0; i < 16; i++)
		s->gpr[i] = random_operand();
	s->gpr[X86_RBX] = pointer();
	s->gpr[X86_RSI] = pointer();
	s->gpr[X86_RDI] = pointer();
	s->rflags = 0x202 | (random_u64() & 0x8d5);
	for (size_t i = 0; i < 16 * 16; i++)
		s->fxsave[160 + i] = (u8)random_u64();
	switch (kind) {
	case GENERAL: break;
	case ALIGNED: s->gpr[X86_RBX] &= ~15ull; break;
	case BITS:
		s->gpr[X86_RCX] = random_u64() % 4000 - 2000;
		s->gpr[X86_RDX] = random_u64() % 4000 - 2000;
		break;
	case STRING:
		s->gpr[X86_RCX] = random_u64() % 40;
		if (random_u64() % 8 == 0)
			s->gpr[X86_RDI] = s->gpr[X86_RSI] + random_u64() % 16;
		if (random_u64() & 1)
			s->rflags |= X86_FLAG_DF;
		break;
	case ACC:
		if (random_u64() & 1)
			memcpy(&s->gpr[X86_RAX], (void *)(uintptr_t)s->gpr[X86_RBX], 8);
		break;
	case ACC_PAIR:
		s->gpr[X86_RBX] = random_operand();
		s->gpr[X86_RSI] &= ~15ull;
		if (random_u64() & 1) {
			/* equal for the 8 and the 16 byte form */
			memset((void *)(uintptr_t)s->gpr[X86_RSI], 0x5a, 16);
			memset(&s->gpr[X86_RAX], 0x5a, 8);
			memset(&s->gpr[X86_RDX], 0x5a, 8);
			memcpy(device, area, AREA_SIZE);
		}
		break;
	case STACK: s->gpr[X86_RSP] = pointer(); break;
	}
}

static void build_code(const struct insn *insn)
{
	u64 end = (u64)(uintptr_t)native_end;
	size_t len = (size_t)(insn->end - insn->start);

	memcpy(code, insn->start, len);
	memcpy(code + len, "\xff\x25\0\0\0\0", 6); /* jmp *0(%rip) */
	memcpy(code + len + 6, &end, 8);
}

static void complain(const struct insn *insn, const char *what, u64 native, u64 emulated)
{
	fail_msg("%s: %s: processor %llx, emulator %llx", insn->name, what,
		 (unsigned long long)native, (unsigned long long)emulated);
}

static void one_round(const struct insn *insn)
{
	const struct x86_ops ops = {.ram_read = no_ram_read,
				    .ram_write = no_ram_write,
				    .mmio_read = device_read,
				    .mmio_write = device_write};
	u32 len = (u32)(insn->end - insn->start);
	struct state s = {{0}};
	u8 fxsave[512] __attribute__((aligned(16)));
	struct x86_cpu cpu = {.rip = 0x400000, .efer = X86_EFER_LMA, .fxsave = fxsave};
	struct x86_fault fault;
	u64 before, diff;
	enum x86_result res;

	__asm__ volatile("fxsave64 %0" : "=m"(s.fxsave));
	fill_memory();
	choose_registers((enum kind)insn->kind, &s);
	before = s.gpr[X86_RSP];
	memcpy(cpu.gpr, s.gpr, sizeof(cpu.gpr));
	memcpy(fxsave, s.fxsave, sizeof(fxsave));
	cpu.rflags = s.rflags;
	cpu.seg[X86_CS].attributes = 0xa09b;
	cpu.cr0 = X86_CR0_PE;

	res = x86_emulate(&cpu, &ops, insn->start, len, &fault);
	if (res != X86_OK)
		fail_msg("%s: result %d", insn->name, res);
	if (cpu.rip != 0x400000 + len)
		complain(insn, "rip", 0x400000 + len, cpu.rip);
	native_run(&s, code);
	(void)before;

	for (int i = 0; i < 16; i++)
		if (cpu.gpr[i] != s.gpr[i])
			complain(insn, "register", s.gpr[i], cpu.gpr[i]);
	diff = (cpu.rflags ^ s.rflags) & 0xcd5 & ~insn->undefined;
	if (diff)
		complain(insn, "flags", s.rflags, cpu.rflags);
	if (memcmp(fxsave + 160, s.fxsave + 160, 256))
		fail_msg("%s: xmm differs", insn->name);
	for (size_t i = 0; i < AREA_SIZE; i++)
		if (device[i] != area[i])
			complain(insn, "memory", area[i], device[i]);
}

static void matches_processor(void **state)
{
	unsigned count = 0;

	(void)state;
	for (const struct insn *i = __start_insn_table; i < __stop_insn_table; i++, count++) {
		build_code(i);
		for (int round = 0; round < ROUNDS; round++)
			one_round(i);
	}
	print_message("%u instructions, %d rounds each\n", count, ROUNDS);
	assert_true(count > 300);
}

static int map_pages(void **state)
{
	(void)state;
	area = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	code = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return area == MAP_FAILED || code == MAP_FAILED;
}

static int unmap_pages(void **state)
{
	(void)state;
	return munmap(area, AREA_SIZE) | munmap(code, PAGE_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(matches_processor)};

	return cmocka_run_group_tests_name("x86emu against the processor", tests, map_pages,
					   unmap_pages);
}
