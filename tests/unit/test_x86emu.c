/* Page walks, access search and emulation on a small fake machine, hostile cases first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "vtl2-devices/x86emu/x86emu.h"

#define RAM_SIZE 0x40000u /* everything above is a hole */
#define HOLE	 0x100000u
#define CODE	 0x8000u
#define ROM	 0x30000u /* one page: readable, not writable */

#define P     1u
#define W     2u
#define U     4u
#define PTE_A 0x20u
#define PTE_D 0x40u
#define PS    0x80u
#define NX    BIT(63)

static u8 ram[RAM_SIZE];
static u8 fxsave[512];

/* What the device saw, oldest first. */
static struct event {
	char kind; /* r, w, i, o */
	u64 address, value;
	u32 len;
} events[8192];
static unsigned event_count;
static u64 device_value;

static void record(char kind, u64 address, u64 value, u32 len)
{
	assert_true(len == 1 || len == 2 || len == 4 || len == 8);
	if (event_count < ARRAY_SIZE(events))
		events[event_count] = (struct event){kind, address, value, len};
	event_count++;
}

static int ram_read(void *ctx, u64 gpa, void *buf, u32 len)
{
	(void)ctx;
	assert_true((gpa & 0xfff) + len <= PAGE_SIZE);
	if (gpa >= RAM_SIZE)
		return -1;
	memcpy(buf, ram + gpa, len);
	return 0;
}

static int ram_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
	(void)ctx;
	assert_true((gpa & 0xfff) + len <= PAGE_SIZE);
	if (gpa >= RAM_SIZE || (gpa & ~0xfffull) == ROM)
		return -1;
	memcpy(ram + gpa, buf, len);
	return 0;
}

static unsigned lost_races; /* compare-and-swaps that the fake lets fail */

static int ram_cmpxchg(void *ctx, u64 gpa, u64 expected, u64 desired, u32 len)
{
	(void)ctx;
	if (gpa >= RAM_SIZE || (gpa & ~0xfffull) == ROM)
		return -1;
	if (lost_races) {
		lost_races--;
		return 1;
	}
	if (memcmp(ram + gpa, &expected, len))
		return 1;
	memcpy(ram + gpa, &desired, len);
	return 0;
}

static bool is_ram(void *ctx, u64 gpa, enum x86_access access)
{
	(void)ctx;
	return gpa < RAM_SIZE && !(access == X86_WRITE && (gpa & ~0xfffull) == ROM);
}

static void mmio_read(void *ctx, u64 gpa, void *buf, u32 len)
{
	(void)ctx;
	record('r', gpa, 0, len);
	memcpy(buf, &device_value, len);
}

static void mmio_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
	u64 value = 0;

	(void)ctx;
	memcpy(&value, buf, len);
	record('w', gpa, value, len);
}

static u32 io_in(void *ctx, u16 port, u32 size)
{
	(void)ctx;
	record('i', port, 0, size);
	return 0xc0ffee00u + event_count;
}

static void io_out(void *ctx, u16 port, u32 size, u32 value)
{
	(void)ctx;
	record('o', port, value, size);
}

static const struct x86_ops ops = {.ram_read = ram_read,
				   .ram_write = ram_write,
				   .ram_cmpxchg = ram_cmpxchg,
				   .is_ram = is_ram,
				   .mmio_read = mmio_read,
				   .mmio_write = mmio_write,
				   .io_in = io_in,
				   .io_out = io_out};

static struct x86_fault fault;
static struct x86_hit hit;

static int reset(void **state)
{
	(void)state;
	memset(ram, 0, sizeof(ram));
	memset(fxsave, 0, sizeof(fxsave));
	memset(&fault, 0, sizeof(fault));
	memset(&hit, 0, sizeof(hit));
	event_count = 0;
	device_value = 0x8877665544332211ull;
	lost_races = 0;
	return 0;
}

/* Flat kernel code of 16, 32 or 64 bits without paging (for 64 bits a test's shortcut). */
static struct x86_cpu flat(unsigned bits)
{
	struct x86_cpu cpu = {.rip = CODE, .rflags = 2, .cr0 = X86_CR0_PE, .fxsave = fxsave};
	u16 size = bits == 64 ? 0x2000 : bits == 32 ? 0x4000 : 0;

	for (int i = 0; i < X86_SEG_COUNT; i++)
		cpu.seg[i] = (struct hv_segment){0, 0xffffffff, 0x10, 0xc093};
	cpu.seg[X86_CS].attributes = 0x809b | size;
	if (bits == 16)
		cpu.seg[X86_SS].attributes = 0x93;
	cpu.efer = bits == 64 ? X86_EFER_LMA | X86_EFER_NXE : 0;
	cpu.gpr[X86_RSP] = 0x9000;
	return cpu;
}

static void put_code(const struct x86_cpu *cpu, const char *code, size_t len)
{
	memcpy(ram + cpu->rip, code, len);
}

static enum x86_result find(const struct x86_cpu *cpu, const char *code, size_t len)
{
	put_code(cpu, code, len);
	return x86_find_access(cpu, &ops, &hit, &fault);
}
#define FIND(cpu, code) find(cpu, code, sizeof(code) - 1)

static enum x86_result emulate(struct x86_cpu *cpu, const char *code, size_t len)
{
	return x86_emulate(cpu, &ops, (const u8 *)code, (u32)len, &fault);
}
#define EMULATE(cpu, code) emulate(cpu, code, sizeof(code) - 1)

static void assert_event(unsigned i, char kind, u64 address, u64 value, u32 len)
{
	assert_true(i < event_count);
	assert_int_equal(events[i].kind, kind);
	assert_int_equal(events[i].address, address);
	assert_int_equal(events[i].value, value);
	assert_int_equal(events[i].len, len);
}

/* ---- page walks ---- */

#define PML4 0x1000u
#define PDPT 0x2000u
#define PD   0x3000u
#define PT   0x4000u

/* 4 levels; page n of the first 2 MiB maps page n with flags. Identity by a 1 GiB page at 1 GiB. */
static struct x86_cpu paged(u64 flags)
{
	struct x86_cpu cpu = flat(64);

	cpu.cr0 |= X86_CR0_PG | X86_CR0_WP;
	cpu.cr4 = X86_CR4_PAE;
	cpu.cr3 = PML4;
	cpu.phys_bits = 40;
	put_le64(ram + PML4, PDPT | P | W | U);
	put_le64(ram + PDPT, PD | P | W | U);
	put_le64(ram + PDPT + 8, BIT(30) | P | W | PS);
	put_le64(ram + PD, PT | P | W | U);
	for (u64 i = 0; i < 512; i++)
		put_le64(ram + PT + i * 8, i << 12 | flags);
	return cpu;
}

static void set_pte(u64 gva, u64 entry)
{
	put_le64(ram + PT + (gva >> 12) * 8, entry);
}

static void assert_page_fault(enum x86_result res, u32 code, u64 cr2)
{
	assert_int_equal(res, X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_PF);
	assert_true(fault.has_error_code);
	assert_int_equal(fault.error_code, code);
	assert_int_equal(fault.cr2, cr2);
}

static enum x86_result walk(const struct x86_cpu *cpu, u64 gva, enum x86_access access, u32 flags,
			    u64 *gpa)
{
	*gpa = 0;
	return x86_translate(cpu, &ops, gva, access, flags, gpa, &fault);
}

static void walk_refuses_hostile_tables(void **state)
{
	struct x86_cpu cpu = paged(P | W | U);
	u64 gpa;

	(void)state;
	/* non-canonical */
	assert_int_equal(walk(&cpu, BIT(47), X86_READ, 0, &gpa), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_GP);
	/* nothing there */
	assert_page_fault(walk(&cpu, 0x8000000000, X86_WRITE, X86_WALK_USER, &gpa), 6,
			  0x8000000000);
	/* address bits above MAXPHYADDR, PS in the wrong level, low bits of a large page */
	set_pte(0x5000, BIT(40) | P);
	assert_page_fault(walk(&cpu, 0x5123, X86_READ, 0, &gpa), 9, 0x5123);
	put_le64(ram + PDPT + 8, BIT(30) | BIT(13) | P | PS);
	assert_page_fault(walk(&cpu, BIT(30), X86_READ, 0, &gpa), 9, BIT(30));
	put_le64(ram + PD + 8, BIT(21) | BIT(13) | P | PS);
	assert_page_fault(walk(&cpu, BIT(21), X86_READ, 0, &gpa), 9, BIT(21));
	/* NX is reserved without EFER.NXE */
	set_pte(0x6000, 0x6000 | P | NX);
	assert_int_equal(walk(&cpu, 0x6000, X86_READ, 0, &gpa), X86_OK);
	cpu.efer &= ~X86_EFER_NXE;
	assert_page_fault(walk(&cpu, 0x6000, X86_READ, 0, &gpa), 9, 0x6000);
	/* a table that is its own entry at every level ends after four */
	put_le64(ram + PML4, PML4 | P | W);
	assert_int_equal(walk(&cpu, 0, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(gpa, PML4);
	put_le64(ram + PML4, P | W | PS);
	assert_page_fault(walk(&cpu, 0, X86_READ, 0, &gpa), 9, 0);
}

static void walk_tells_the_hole(void **state)
{
	struct x86_cpu cpu = paged(P | W | U);
	u64 gpa;

	(void)state;
	put_le64(ram + PD, HOLE | P | W);
	assert_int_equal(walk(&cpu, 0x5123, X86_READ, 0, &gpa), X86_HOLE);
	assert_int_equal(gpa, HOLE + 5 * 8);
	cpu.cr3 = HOLE;
	assert_int_equal(walk(&cpu, 0x5123, X86_READ, 0, &gpa), X86_HOLE);
	assert_int_equal(gpa, HOLE);
}

/* Page flags, CR0.WP, CR4 bits, RFLAGS.AC; access; user; error code or -1. */
static void walk_checks_permissions(void **state)
{
	static const struct {
		u64 page, cr0, cr4, rflags;
		enum x86_access access;
		u32 walk;
		int code;
	} cases[] = {
		{P | W | U, X86_CR0_WP, 0, 0, X86_WRITE, X86_WALK_USER, -1},
		{P | W, X86_CR0_WP, 0, 0, X86_READ, X86_WALK_USER, 5},
		{P | U, X86_CR0_WP, 0, 0, X86_WRITE, X86_WALK_USER, 7},
		{P | U, 0, 0, 0, X86_WRITE, X86_WALK_USER, 7},
		{P | U, X86_CR0_WP, 0, 0, X86_WRITE, 0, 3},
		{P | U, 0, 0, 0, X86_WRITE, 0, -1},
		{P | U, X86_CR0_WP, 0, 0, X86_EXECUTE, 0, -1},
		{P | U, X86_CR0_WP, X86_CR4_SMEP, 0, X86_EXECUTE, 0, 0x11},
		{P | U, X86_CR0_WP, X86_CR4_SMEP, 0, X86_EXECUTE, X86_WALK_USER, -1},
		{P | U | NX, X86_CR0_WP, 0, 0, X86_EXECUTE, X86_WALK_USER, 0x15},
		{P | U | NX, X86_CR0_WP, 0, 0, X86_READ, X86_WALK_USER, -1},
		{P | U, X86_CR0_WP, X86_CR4_SMAP, 0, X86_READ, 0, 1},
		{P | U, X86_CR0_WP, X86_CR4_SMAP, X86_FLAG_AC, X86_READ, 0, -1},
		{P | U, X86_CR0_WP, X86_CR4_SMAP, X86_FLAG_AC, X86_READ, X86_WALK_IMPLICIT, 1},
		{P | U, X86_CR0_WP, X86_CR4_SMAP, 0, X86_READ, X86_WALK_USER, -1},
		{P | W, X86_CR0_WP, X86_CR4_SMAP, 0, X86_WRITE, 0, -1},
		/* protection key 1 may be read only (pkru 8), key 2 not at all (0x10) */
		{P | W | U | BIT(59), X86_CR0_WP, X86_CR4_PKE, 0, X86_READ, X86_WALK_USER, -1},
		{P | W | U | BIT(59), X86_CR0_WP, X86_CR4_PKE, 0, X86_WRITE, X86_WALK_USER, 0x27},
		{P | W | U | BIT(59), 0, X86_CR4_PKE, 0, X86_WRITE, 0, -1},
		{P | W | U | BIT(60), X86_CR0_WP, X86_CR4_PKE, 0, X86_READ, 0, 0x21},
		{P | W | U | BIT(60), X86_CR0_WP, X86_CR4_PKE, 0, X86_EXECUTE, X86_WALK_USER, -1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct x86_cpu cpu = paged(cases[i].page);
		enum x86_result res;
		u64 gpa;

		cpu.cr0 = X86_CR0_PE | X86_CR0_PG | cases[i].cr0;
		cpu.cr4 |= cases[i].cr4;
		cpu.rflags |= cases[i].rflags;
		cpu.pkru = 8 | 0x10;
		res = walk(&cpu, 0x7abc, cases[i].access, cases[i].walk, &gpa);
		if (cases[i].code >= 0) {
			assert_page_fault(res, (u32)cases[i].code, 0x7abc);
			continue;
		}
		assert_int_equal(res, X86_OK);
		assert_int_equal(gpa, 0x7abc);
	}
}

/* A right counts only when every level grants it; one NX anywhere forbids. */
static void walk_combines_levels(void **state)
{
	struct x86_cpu cpu = paged(P | W | U);
	u64 gpa;

	(void)state;
	put_le64(ram + PDPT, PD | P | U);
	assert_page_fault(walk(&cpu, 0x7000, X86_WRITE, X86_WALK_USER, &gpa), 7, 0x7000);
	put_le64(ram + PDPT, PD | P | W);
	assert_page_fault(walk(&cpu, 0x7000, X86_READ, X86_WALK_USER, &gpa), 5, 0x7000);
	put_le64(ram + PDPT, PD | P | W | U | NX);
	assert_page_fault(walk(&cpu, 0x7000, X86_EXECUTE, 0, &gpa), 0x11, 0x7000);
	/* the fetch bit of the error code needs NX or SMEP */
	cpu = paged(P | W | U);
	set_pte(0x7000, 0);
	cpu.efer &= ~X86_EFER_NXE;
	assert_page_fault(walk(&cpu, 0x7000, X86_EXECUTE, 0, &gpa), 0, 0x7000);
	cpu.cr4 |= X86_CR4_SMEP;
	assert_page_fault(walk(&cpu, 0x7000, X86_EXECUTE, 0, &gpa), 0x10, 0x7000);
}

static void walk_marks_accessed_only_when_asked(void **state)
{
	struct x86_cpu cpu = paged(P | W | U);
	u64 gpa, pte = PT + 7 * 8;

	(void)state;
	assert_int_equal(walk(&cpu, 0x7000, X86_WRITE, 0, &gpa), X86_OK);
	assert_int_equal(ram[PML4] | ram[PDPT] | ram[PD] | ram[pte], P | W | U);
	assert_int_equal(walk(&cpu, 0x7000, X86_READ, X86_WALK_SET_AD, &gpa), X86_OK);
	assert_int_equal(ram[PML4], P | W | U | PTE_A);
	assert_int_equal(ram[PD], P | W | U | PTE_A);
	assert_int_equal(ram[pte], P | W | U | PTE_A);
	assert_int_equal(walk(&cpu, 0x7000, X86_WRITE, X86_WALK_SET_AD, &gpa), X86_OK);
	assert_int_equal(ram[pte], P | W | U | PTE_A | PTE_D);
	assert_int_equal(ram[PD], P | W | U | PTE_A);
	/* a refused access marks nothing */
	set_pte(0x9000, 0x9000 | P);
	assert_int_equal(walk(&cpu, 0x9000, X86_WRITE, X86_WALK_SET_AD, &gpa), X86_FAULT);
	assert_int_equal(ram[PT + 9 * 8], P);
	/* lost races are repeated, but not for ever */
	lost_races = 2;
	assert_int_equal(walk(&cpu, 0xa000, X86_READ, X86_WALK_SET_AD, &gpa), X86_OK);
	lost_races = 1000;
	assert_int_equal(walk(&cpu, 0xb000, X86_READ, X86_WALK_SET_AD, &gpa), X86_RETRY);
	lost_races = 0;
	/* a table that cannot be written */
	memcpy(ram + ROM, ram + PT, PAGE_SIZE);
	put_le64(ram + PD, ROM | P | W | PTE_A);
	assert_int_equal(walk(&cpu, 0xc000, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(walk(&cpu, 0xc000, X86_READ, X86_WALK_SET_AD, &gpa), X86_HOLE);
	assert_int_equal(gpa, ROM + 0xc * 8);
}

static void walk_knows_every_mode(void **state)
{
	struct x86_cpu cpu = paged(P | W);
	u64 gpa;

	(void)state;
	assert_int_equal(walk(&cpu, BIT(30) + 0x12345678, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(gpa, BIT(30) + 0x12345678);
	put_le64(ram + PD + 8, 0x8000000000 | P | PS);
	assert_int_equal(walk(&cpu, BIT(21) + 0x12345, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(gpa, 0x8000012345);
	/* 5 levels */
	cpu.cr4 |= X86_CR4_LA57;
	cpu.cr3 = 0x5000;
	put_le64(ram + 0x5000, PML4 | P | W);
	assert_int_equal(walk(&cpu, 0x7abc, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(gpa, 0x7abc);
	assert_page_fault(walk(&cpu, BIT(48), X86_READ, 0, &gpa), 0, BIT(48));
	assert_int_equal(walk(&cpu, BIT(56), X86_READ, 0, &gpa), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_GP);

	/* PAE: 4 top entries of one bit each, table aligned to 32 bytes */
	cpu = flat(32);
	cpu.cr0 |= X86_CR0_PG;
	cpu.cr4 = X86_CR4_PAE;
	cpu.cr3 = 0x6020;
	put_le64(ram + 0x6020 + 3 * 8, 0x7000 | P);
	put_le64(ram + 0x7000 + 8, 0xa00000000 | P | W | PS);
	assert_int_equal(walk(&cpu, 0xc0212345, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(gpa, 0xa00012345);
	assert_int_equal(walk(&cpu, 0x1c0212345, X86_READ, X86_WALK_SET_AD, &gpa), X86_OK);
	assert_int_equal(ram[0x7008], P | W | PS | PTE_A);
	assert_int_equal(ram[0x6020 + 3 * 8], P); /* has no such bit */
	put_le64(ram + 0x6020 + 3 * 8, 0x7000 | P | W);
	assert_page_fault(walk(&cpu, 0xc0212345, X86_READ, 0, &gpa), 9, 0xc0212345);

	/* 32-bit, with a 4 MiB page above 4 GiB */
	cpu = flat(32);
	cpu.cr0 |= X86_CR0_PG;
	cpu.cr3 = 0x9000;
	cpu.cr4 = X86_CR4_PSE;
	put_le32(ram + 0x9000 + 0x300 * 4, 0xa000 | P | W);
	put_le32(ram + 0xa000 + 5 * 4, 0xfee00000 | P);
	put_le32(ram + 0x9000 + 0x301 * 4, 0x00800000 | 3 << 13 | P | PS);
	assert_int_equal(walk(&cpu, 0xc0005678, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(gpa, 0xfee00678);
	assert_int_equal(walk(&cpu, 0xc0412345, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(gpa, 0x300812345);
	put_le32(ram + 0x9000 + 0x301 * 4, 0x00a00000 | P | PS);
	assert_page_fault(walk(&cpu, 0xc0412345, X86_READ, 0, &gpa), 9, 0xc0412345);
	/* a 40-bit address on a processor with 34 */
	cpu.phys_bits = 34;
	put_le32(ram + 0x9000 + 0x301 * 4, 0x00800000 | 4 << 13 | P | PS);
	assert_page_fault(walk(&cpu, 0xc0412345, X86_READ, 0, &gpa), 9, 0xc0412345);
	/* none */
	cpu.cr0 &= ~X86_CR0_PG;
	assert_int_equal(walk(&cpu, 0x1c0005678, X86_READ, 0, &gpa), X86_OK);
	assert_int_equal(gpa, 0xc0005678);
}

/* ---- access search ---- */

static void assert_hit(enum x86_result res, u64 gpa, enum x86_access access, unsigned len)
{
	assert_int_equal(res, X86_OK);
	assert_int_equal(hit.gpa, gpa);
	assert_true(hit.gva_valid);
	assert_int_equal(hit.gva, gpa);
	assert_int_equal(hit.access, access);
	assert_int_equal(hit.insn_len, len);
}

static void find_survives_nonsense(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	assert_int_equal(FIND(&cpu, "\x0f\xff"), X86_NOT_FOUND); /* ud0 [rax] or nothing */
	assert_int_equal(FIND(&cpu, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"),
			 X86_UNSUPPORTED);
	assert_int_equal(FIND(&cpu, "\x06"), X86_UNSUPPORTED);
	cpu.rip = ~0ull - 3;
	assert_int_equal(x86_find_access(&cpu, &ops, &hit, &fault), X86_OK);
	cpu.rip = BIT(62);
	cpu.cr0 |= X86_CR0_PG;
	cpu.cr4 |= X86_CR4_PAE;
	assert_int_equal(x86_find_access(&cpu, &ops, &hit, &fault), X86_FAULT);
	assert_int_equal(hit.byte_count, 0);
}

static void find_sees_the_fetch(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.rip = HOLE + 0x123;
	assert_hit(x86_find_access(&cpu, &ops, &hit, &fault), HOLE + 0x123, X86_EXECUTE, 0);
	assert_int_equal(hit.byte_count, 0);
	/* the instruction goes on in the hole */
	cpu.rip = RAM_SIZE - 2;
	assert_hit(FIND(&cpu, "\x8b\x04"), RAM_SIZE, X86_EXECUTE, 0);
	assert_int_equal(hit.byte_count, 2);
	/* it ends before */
	cpu.gpr[X86_RAX] = HOLE;
	assert_hit(FIND(&cpu, "\x8b\x00"), HOLE, X86_READ, 2);
	assert_int_equal(hit.byte_count, 2);
}

static void find_knows_operands(void **state)
{
	static const struct {
		const char *code;
		unsigned len;
		enum x86_access access;
		s64 offset; /* from the start of the hole; RAX, RSI, RDI, RBX, RBP and RSP are there
			     */
	} cases[] = {
		{"\x8b\x40\x08", 3, X86_READ, 8},
		{"\x89\x40\x08", 3, X86_WRITE, 8},
		{"\x01\x00", 2, X86_WRITE, 0},
		{"\x39\x00", 2, X86_READ, 0},
		{"\xf0\x0f\xb1\x08", 4, X86_WRITE, 0},
		{"\x48\x0f\xc7\x08", 4, X86_WRITE, 0},
		{"\x0f\xae\x00", 3, X86_WRITE, 0},
		{"\x0f\x10\x00", 3, X86_READ, 0},
		{"\x66\x0f\xe7\x00", 4, X86_WRITE, 0},
		{"\xff\x08", 2, X86_WRITE, 0},
		{"\x50", 1, X86_WRITE, -8},
		{"\x66\x50", 2, X86_WRITE, -2},
		{"\x58", 1, X86_READ, 0},
		{"\xe8\x00\x00\x00\x00", 5, X86_WRITE, -8},
		{"\xc3", 1, X86_READ, 0},
		{"\xc9", 1, X86_READ, 0},
		{"\xc8\x10\x00\x00", 4, X86_WRITE, -8},
		{"\xc8\x10\x00\x04", 4, X86_WRITE, -40},
		{"\x48\xcf", 2, X86_READ, 0},
		{"\x0f\x01\x10", 3, X86_READ, 0},
		{"\x0f\x01\x00", 3, X86_WRITE, 0},
		{"\x8e\x18", 2, X86_READ, 0},
		{"\xa4", 1, X86_READ, 0},
		{"\xf3\xaa", 2, X86_WRITE, 0},
		{"\xac", 1, X86_READ, 0},
		{"\xa6", 1, X86_READ, 0},
		{"\x6c", 1, X86_WRITE, 0},
		{"\x6f", 1, X86_READ, 0},
		{"\xd7", 1, X86_READ, 0x00},
		{"\x0f\xa3\x08", 3, X86_READ, 12},
		{"\x48\x0f\xab\x08", 4, X86_WRITE, 8},
		{"\x0f\xba\x28\x03", 4, X86_WRITE, 0},
		{"\xff\x10", 2, X86_READ, 0},
		{"\xff\x30", 2, X86_READ, 0},
		{"\x0f\x94\x00", 3, X86_WRITE, 0},
		{"\x66\x0f\x38\xf8\x08", 5, X86_READ, 100},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct x86_cpu cpu = flat(64);

		cpu.gpr[X86_RAX] = cpu.gpr[X86_RSI] = cpu.gpr[X86_RDI] = HOLE;
		cpu.gpr[X86_RBX] = cpu.gpr[X86_RBP] = cpu.gpr[X86_RSP] = HOLE;
		cpu.gpr[X86_RCX] = 100;
		if (cases[i].len == 5 && cases[i].offset == 100) {
			/* movdir64b: source at RAX, destination at RCX, either is fine */
			assert_int_equal(find(&cpu, cases[i].code, 5), X86_OK);
			continue;
		}
		assert_hit(find(&cpu, cases[i].code, cases[i].len), HOLE + (u64)cases[i].offset,
			   cases[i].access, cases[i].len);
		assert_memory_equal(hit.bytes, cases[i].code, cases[i].len);
	}
}

static void find_skips_what_does_not_trap(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.gpr[X86_RAX] = cpu.gpr[X86_RDI] = cpu.gpr[X86_RSI] = HOLE;
	assert_int_equal(FIND(&cpu, "\x48\x8d\x00"), X86_NOT_FOUND);		     /* lea */
	assert_int_equal(FIND(&cpu, "\x0f\x1f\x00"), X86_NOT_FOUND);		     /* nop */
	assert_int_equal(FIND(&cpu, "\x0f\x18\x00"), X86_NOT_FOUND);		     /* prefetch */
	assert_int_equal(FIND(&cpu, "\x0f\x01\x38"), X86_NOT_FOUND);		     /* invlpg */
	assert_int_equal(FIND(&cpu, "\xf3\xa4"), X86_NOT_FOUND);		     /* RCX is 0 */
	assert_int_equal(FIND(&cpu, "\xc4\xe2\xf9\x90\x7c\x08\x00"), X86_NOT_FOUND); /* gather */
	assert_int_equal(FIND(&cpu, "\x90"), X86_NOT_FOUND);
}

static void find_checks_both_pages(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.gpr[X86_RAX] = RAM_SIZE - 3;
	assert_hit(FIND(&cpu, "\x89\x08"), RAM_SIZE, X86_WRITE, 2);
	cpu.gpr[X86_RAX] = RAM_SIZE - 4;
	assert_int_equal(FIND(&cpu, "\x89\x08"), X86_NOT_FOUND);
	cpu.gpr[X86_RAX] = RAM_SIZE - 500;
	assert_hit(FIND(&cpu, "\x0f\xae\x00"), RAM_SIZE, X86_WRITE, 3);
	/* ENTER copies frame pointers from below RBP */
	cpu.gpr[X86_RBP] = HOLE;
	assert_hit(FIND(&cpu, "\xc8\x10\x00\x04"), HOLE - 24, X86_READ, 4);
	/* closed for writing only */
	cpu.gpr[X86_RAX] = ROM;
	assert_int_equal(FIND(&cpu, "\x8b\x08"), X86_NOT_FOUND);
	assert_hit(FIND(&cpu, "\x01\x08"), ROM, X86_WRITE, 2);
	/* string copy: RAM to hole */
	cpu.gpr[X86_RSI] = 0x5000;
	cpu.gpr[X86_RDI] = HOLE + 8;
	cpu.gpr[X86_RCX] = 3;
	assert_hit(FIND(&cpu, "\xf3\x48\xa5"), HOLE + 8, X86_WRITE, 3);
}

static void find_walks_page_tables(void **state)
{
	struct x86_cpu cpu = paged(P | W | U);

	(void)state;
	/* through paging, GVA and GPA differ */
	set_pte(0x20000, HOLE | P | W);
	cpu.gpr[X86_RAX] = 0x20010;
	assert_int_equal(FIND(&cpu, "\x89\x08"), X86_OK);
	assert_int_equal(hit.gpa, HOLE + 0x10);
	assert_int_equal(hit.gva, 0x20010);
	/* a table in the hole */
	put_le64(ram + PD + 8, HOLE | P | W);
	cpu.gpr[X86_RAX] = BIT(21) + 0x3010;
	assert_int_equal(FIND(&cpu, "\x89\x08"), X86_OK);
	assert_int_equal(hit.gpa, HOLE + 3 * 8);
	assert_int_equal(hit.gva, BIT(21) + 0x3010);
	assert_false(hit.gva_valid);
	assert_int_equal(hit.access, X86_READ);
	/* the guest's own tables refuse */
	cpu.gpr[X86_RAX] = 2 * BIT(21);
	assert_page_fault(FIND(&cpu, "\x89\x08"), 2, 2 * BIT(21));
	/* same for user code on a kernel page */
	cpu.seg[X86_SS].attributes |= 3 << 5;
	set_pte(0x20000, HOLE | P | W);
	cpu.gpr[X86_RAX] = 0x20010;
	assert_page_fault(FIND(&cpu, "\x89\x08"), 7, 0x20010);
	/* CR3 in the hole: the fetch */
	cpu.cr3 = HOLE;
	assert_int_equal(FIND(&cpu, "\x89\x08"), X86_OK);
	assert_int_equal(hit.gpa, HOLE);
	assert_int_equal(hit.byte_count, 0);
}

static void find_honours_segments_and_modes(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.seg[X86_GS].base = HOLE;
	cpu.seg[X86_DS].base = 0x5000; /* ignored in 64-bit code */
	assert_hit(FIND(&cpu, "\x65\x8b\x04\x25\x10\x00\x00\x00"), HOLE + 0x10, X86_READ, 8);
	/* RIP-relative */
	assert_hit(FIND(&cpu, "\x8b\x05\x00\x00\x10\x00"), CODE + 6 + 0x100000, X86_READ, 6);
	/* 32-bit address size cuts */
	cpu.gpr[X86_RAX] = BIT(40) | HOLE;
	assert_hit(FIND(&cpu, "\x67\x8b\x00"), HOLE, X86_READ, 3);

	cpu = flat(32);
	cpu.seg[X86_DS].base = HOLE;
	cpu.gpr[X86_RAX] = 0xfffffff0;
	assert_hit(FIND(&cpu, "\x8b\x40\x20"), HOLE + 0x10, X86_READ, 3);
	cpu.gpr[X86_RSP] = HOLE;
	cpu.gpr[X86_RAX] = 0;
	assert_hit(FIND(&cpu, "\x60"), HOLE - 32, X86_WRITE, 1);

	cpu = flat(16);
	cpu.seg[X86_CS].base = 0x1000;
	cpu.rip = 0x7000; /* linear CODE */
	cpu.cr0 = 0;
	cpu.seg[X86_DS].base = 0xfff00;
	cpu.gpr[X86_RBX] = 0xff00;
	cpu.gpr[X86_RSI] = 0x300;
	memcpy(ram + CODE, "\x8b\x00", 2); /* mov ax, [bx+si] wraps at 64 KiB */
	assert_hit(x86_find_access(&cpu, &ops, &hit, &fault), 0xfff00 + 0x200, X86_READ, 2);
}

/* ---- emulation ---- */

static void emulate_refuses(void **state)
{
	struct x86_cpu cpu = flat(64), before;

	(void)state;
	cpu.gpr[X86_RAX] = cpu.gpr[X86_RDI] = cpu.gpr[X86_RSI] = HOLE;
	before = cpu;
	/* not a memory access (the code was changed), or a port whose permission nobody checked */
	assert_int_equal(EMULATE(&cpu, "\x90"), X86_RETRY);
	assert_int_equal(EMULATE(&cpu, "\x0f\x30"), X86_RETRY);
	assert_int_equal(EMULATE(&cpu, "\xee"), X86_RETRY);
	assert_int_equal(EMULATE(&cpu, "\xf3\x6e"), X86_RETRY);
	assert_int_equal(EMULATE(&cpu, "\x6d"), X86_RETRY);
	/* not known */
	assert_int_equal(EMULATE(&cpu, "\x0f\xae\x00"), X86_UNSUPPORTED);
	assert_int_equal(EMULATE(&cpu, "\x0f\x01\x10"), X86_UNSUPPORTED);
	assert_int_equal(EMULATE(&cpu, "\x8e\x18"), X86_UNSUPPORTED);
	assert_int_equal(EMULATE(&cpu, "\xff\x18"), X86_UNSUPPORTED);
	assert_int_equal(EMULATE(&cpu, "\xdd\x00"), X86_UNSUPPORTED);
	assert_int_equal(EMULATE(&cpu, "\xc5\xfa\x6f\x00"), X86_UNSUPPORTED);
	assert_int_equal(EMULATE(&cpu, "\x0f\x6f\x00"), X86_UNSUPPORTED);
	assert_int_equal(EMULATE(&cpu, "\x06"), X86_UNSUPPORTED);
	cpu.fxsave = NULL;
	assert_int_equal(EMULATE(&cpu, "\x0f\x10\x00"), X86_UNSUPPORTED);
	cpu.fxsave = fxsave;
	assert_memory_equal(&cpu, &before, sizeof(cpu));
	assert_int_equal(event_count, 0);
}

static void emulate_faults_before_it_acts(void **state)
{
	struct x86_cpu cpu = paged(P | W | U), before;

	(void)state;
	set_pte(0x20000, HOLE | P | W);
	set_pte(0x21000, 0);
	cpu.gpr[X86_RAX] = 0x20ffe;
	cpu.gpr[X86_RSI] = 0x20000;
	cpu.gpr[X86_RDI] = 0x21000;
	before = cpu;
	assert_page_fault(EMULATE(&cpu, "\x89\x08"), 2, 0x21000); /* half in the device */
	assert_page_fault(EMULATE(&cpu, "\xa4"), 2, 0x21000);	  /* source in the device */
	set_pte(0x21000, HOLE | P);
	assert_page_fault(EMULATE(&cpu, "\x89\x08"), 3, 0x21000);
	assert_page_fault(EMULATE(&cpu, "\x09\x08"), 3, 0x21000);
	cpu.gpr[X86_RAX] = before.gpr[X86_RAX] = BIT(50);
	assert_int_equal(EMULATE(&cpu, "\x89\x08"), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_GP);
	cpu.gpr[X86_RSP] = before.gpr[X86_RSP] = BIT(50);
	assert_int_equal(EMULATE(&cpu, "\x50"), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_SS);
	/* a page table in the hole reads as all ones */
	put_le64(ram + PD + 8, HOLE | P | W);
	cpu.gpr[X86_RAX] = before.gpr[X86_RAX] = BIT(21);
	assert_page_fault(EMULATE(&cpu, "\x8b\x08"), 9, BIT(21));
	/* alignment that the instruction demands */
	cpu.gpr[X86_RAX] = before.gpr[X86_RAX] = 0x20008;
	assert_int_equal(EMULATE(&cpu, "\x0f\x28\x00"), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_GP);
	assert_int_equal(EMULATE(&cpu, "\x48\x0f\xc7\x08"), X86_FAULT);
	assert_memory_equal(&cpu, &before, sizeof(cpu));
	assert_int_equal(event_count, 0);
}

static void emulate_checks_segments(void **state)
{
	struct x86_cpu cpu = flat(32);

	(void)state;
	cpu.gpr[X86_RAX] = HOLE;
	cpu.seg[X86_DS].limit = HOLE + 2;
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_GP);
	cpu.seg[X86_DS].limit = HOLE + 3;
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_OK);
	cpu.seg[X86_DS].attributes = 0xc091; /* read only */
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_OK);
	assert_int_equal(EMULATE(&cpu, "\x89\x08"), X86_FAULT);
	cpu.seg[X86_DS].attributes = 0; /* null selector */
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_FAULT);
	cpu.seg[X86_DS].attributes = 0xc097; /* expands down: above the limit */
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_FAULT);
	cpu.seg[X86_DS].limit = HOLE;
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_FAULT);
	cpu.seg[X86_DS].attributes = 0x8097; /* up to 64 KiB */
	cpu.seg[X86_DS].limit = 0x100;
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_FAULT);
	cpu.seg[X86_DS].attributes = 0xc097;
	cpu.seg[X86_DS].limit = HOLE - 1;
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_OK);
	cpu.gpr[X86_RBP] = HOLE;
	cpu.seg[X86_SS].limit = 0xffff;
	assert_int_equal(EMULATE(&cpu, "\x8b\x4d\x00"), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_SS);
	/* a code segment can be read, not written */
	cpu.gpr[X86_RAX] = HOLE;
	assert_int_equal(EMULATE(&cpu, "\x2e\x8b\x08"), X86_OK);
	assert_int_equal(EMULATE(&cpu, "\x2e\x89\x08"), X86_FAULT);
	cpu.seg[X86_CS].attributes = 0xc099; /* execute only */
	assert_int_equal(EMULATE(&cpu, "\x2e\x8b\x08"), X86_FAULT);
}

static void emulate_fetches_when_it_must(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.gpr[X86_RAX] = HOLE;
	put_code(&cpu, "\x89\x48\x04", 3);
	assert_int_equal(x86_emulate(&cpu, &ops, NULL, 0, &fault), X86_OK);
	assert_int_equal(cpu.rip, CODE + 3);
	cpu.rip = CODE; /* the given bytes end too early */
	assert_int_equal(x86_emulate(&cpu, &ops, (const u8 *)"\x89", 1, &fault), X86_OK);
	assert_int_equal(cpu.rip, CODE + 3);
	cpu.rip = RAM_SIZE - 1;
	ram[RAM_SIZE - 1] = 0x89;
	assert_int_equal(x86_emulate(&cpu, &ops, NULL, 0, &fault), X86_HOLE);
	cpu.rip = HOLE;
	assert_int_equal(x86_emulate(&cpu, &ops, NULL, 0, &fault), X86_HOLE);
	assert_int_equal(event_count, 2);
	assert_event(0, 'w', HOLE + 4, 0, 4);
	assert_event(1, 'w', HOLE + 4, 0, 4);
}

static void emulate_mixes_ram_and_devices(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	put_le32(ram + RAM_SIZE - 4, 0xaabbccdd);
	cpu.gpr[X86_RAX] = RAM_SIZE - 2;
	assert_int_equal(EMULATE(&cpu, "\x8b\x08"), X86_OK);
	assert_int_equal(cpu.gpr[X86_RCX], 0x2211aabb);
	assert_event(0, 'r', RAM_SIZE, 0, 2);
	assert_int_equal(EMULATE(&cpu, "\x48\x89\x08"), X86_OK);
	assert_int_equal(get_le16(ram + RAM_SIZE - 2), 0xaabb);
	assert_event(1, 'w', RAM_SIZE, 0x2211, 4);
	assert_event(2, 'w', RAM_SIZE + 4, 0, 2);
	/* 16 bytes are two accesses */
	event_count = 0;
	cpu.gpr[X86_RAX] = HOLE;
	assert_int_equal(EMULATE(&cpu, "\x0f\x29\x00"), X86_OK);
	assert_event(0, 'w', HOLE, 0, 8);
	assert_event(1, 'w', HOLE + 8, 0, 8);
	/* ROM takes no writes: they are the device's */
	event_count = 0;
	cpu.gpr[X86_RAX] = ROM;
	assert_int_equal(EMULATE(&cpu, "\xc6\x00\x55"), X86_OK);
	assert_event(0, 'w', ROM, 0x55, 1);
	assert_int_equal(ram[ROM], 0);
}

static void emulate_bounds_repeats(void **state)
{
	struct x86_cpu cpu = flat(64);
	unsigned calls = 0;

	(void)state;
	cpu.gpr[X86_RDI] = HOLE;
	cpu.gpr[X86_RCX] = 10000;
	cpu.gpr[X86_RAX] = 0x77;
	while (cpu.rip == CODE && calls++ < 100)
		assert_int_equal(EMULATE(&cpu, "\xf3\xaa"), X86_OK);
	assert_int_equal(calls, 3);
	assert_int_equal(cpu.rip, CODE + 2);
	assert_int_equal(event_count, 10000);
	assert_int_equal(cpu.gpr[X86_RCX], 0);
	assert_int_equal(cpu.gpr[X86_RDI], HOLE + 10000);
	/* a count of zero does nothing at all */
	event_count = 0;
	assert_int_equal(EMULATE(&cpu, "\xf3\xaa"), X86_OK);
	assert_int_equal(cpu.rip, CODE + 4);
	assert_int_equal(event_count, 0);
}

static void emulate_keeps_progress_at_a_fault(void **state)
{
	struct x86_cpu cpu = paged(P | W | U);

	(void)state;
	set_pte(0x20000, HOLE | P | W);
	set_pte(0x21000, 0);
	cpu.gpr[X86_RDI] = 0x20ff8;
	cpu.gpr[X86_RCX] = 100;
	assert_page_fault(EMULATE(&cpu, "\xf3\xab"), 2, 0x21000);
	assert_int_equal(cpu.rip, CODE);
	assert_int_equal(cpu.gpr[X86_RCX], 98);
	assert_int_equal(cpu.gpr[X86_RDI], 0x21000);
	assert_int_equal(event_count, 2);
	assert_event(1, 'w', HOLE + 0xffc, 0, 4);
	assert_true(ram[PT + 0x20 * 8] & PTE_D);
}

static void emulate_narrow_modes(void **state)
{
	struct x86_cpu cpu = flat(16);

	(void)state;
	cpu.cr0 = 0;
	cpu.seg[X86_ES].base = HOLE;
	cpu.seg[X86_ES].limit = 0xffff;
	cpu.seg[X86_ES].attributes = 0x93;
	cpu.gpr[X86_RDI] = 0xabcd0000fffeull;
	cpu.gpr[X86_RCX] = 0x10002;
	cpu.gpr[X86_RAX] = 0x1234;
	assert_int_equal(EMULATE(&cpu, "\xf3\xab"), X86_OK);
	assert_event(0, 'w', HOLE + 0xfffe, 0x1234, 2);
	assert_event(1, 'w', HOLE, 0x1234, 2);
	assert_int_equal(cpu.gpr[X86_RDI], 0xabcd00000002ull);
	assert_int_equal(cpu.gpr[X86_RCX], 0x10000);
	assert_int_equal(cpu.rip, CODE + 2);
	/* over the end of the segment */
	cpu.gpr[X86_RDI] = 0xffff;
	assert_int_equal(EMULATE(&cpu, "\xab"), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_GP);

	cpu = flat(32);
	cpu.gpr[X86_RAX] = HOLE;
	assert_int_equal(EMULATE(&cpu, "\xff\x30"), X86_OK); /* push to RAM, 4 bytes */
	assert_int_equal(cpu.gpr[X86_RSP], 0x8ffc);
	assert_int_equal(get_le32(ram + 0x8ffc), 0x44332211);
	assert_int_equal(EMULATE(&cpu, "\x66\x8b\x18"), X86_OK);
	assert_int_equal(cpu.gpr[X86_RBX], 0x2211);
}

static void emulate_jumps(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.rflags |= X86_FLAG_RF;
	cpu.gpr[X86_RAX] = HOLE;
	device_value = 0x123456;
	assert_int_equal(EMULATE(&cpu, "\xff\x50\x08"), X86_OK);
	assert_int_equal(cpu.rip, 0x123456);
	assert_int_equal(cpu.rflags, 2);
	assert_int_equal(cpu.gpr[X86_RSP], 0x8ff8);
	assert_int_equal(get_le64(ram + 0x8ff8), CODE + 3);
	assert_int_equal(EMULATE(&cpu, "\xff\x20"), X86_OK);
	assert_int_equal(cpu.rip, 0x123456);
	device_value = BIT(60);
	assert_int_equal(EMULATE(&cpu, "\xff\x10"), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_GP);
	assert_int_equal(cpu.gpr[X86_RSP], 0x8ff8);
	/* stack in the device */
	cpu.rip = CODE;
	cpu.gpr[X86_RSP] = HOLE + 8;
	assert_int_equal(EMULATE(&cpu, "\xe8\xfb\xff\xff\xff"), X86_OK);
	assert_int_equal(cpu.rip, CODE);
	device_value = 0x4444;
	assert_int_equal(EMULATE(&cpu, "\xc2\x10\x00"), X86_OK);
	assert_int_equal(cpu.rip, 0x4444);
	assert_int_equal(cpu.gpr[X86_RSP], HOLE + 8 + 16);
}

static void emulate_jumps_narrow(void **state)
{
	struct x86_cpu cpu = flat(32);

	(void)state;
	cpu.gpr[X86_RAX] = HOLE;
	device_value = 0x12345678;
	assert_int_equal(EMULATE(&cpu, "\x66\xff\x20"), X86_OK);
	assert_int_equal(cpu.rip, 0x5678);
	cpu.seg[X86_CS].limit = 0x12345677;
	assert_int_equal(EMULATE(&cpu, "\xff\x20"), X86_FAULT);
	assert_int_equal(fault.vector, X86_VECTOR_GP);
	cpu.seg[X86_CS].limit = 0x12345678;
	assert_int_equal(EMULATE(&cpu, "\xff\x20"), X86_OK);
	assert_int_equal(cpu.rip, 0x12345678);
	/* a 16-bit target wraps; the stack is the device */
	cpu = flat(16);
	cpu.seg[X86_SS].base = HOLE;
	assert_int_equal(EMULATE(&cpu, "\xe8\xff\x7f"), X86_OK);
	assert_int_equal(cpu.rip, 2);
	assert_event(event_count - 1, 'w', HOLE + 0x8ffe, CODE + 3, 2);
}

static void emulate_swaps_bytes(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.gpr[X86_RAX] = HOLE;
	assert_int_equal(EMULATE(&cpu, "\x0f\x38\xf0\x08"), X86_OK);
	assert_int_equal(cpu.gpr[X86_RCX], 0x11223344);
	assert_int_equal(EMULATE(&cpu, "\x66\x0f\x38\xf1\x08"), X86_OK);
	assert_event(1, 'w', HOLE, 0x4433, 2);
}

/* ---- ports ---- */

static enum x86_result port(struct x86_cpu *cpu, const char *code, size_t len, u16 number, u8 size,
			    bool write)
{
	struct x86_io io = {number, size, write};

	return x86_emulate_io(cpu, &ops, (const u8 *)code, (u32)len, &io, &fault);
}

static void port_must_be_the_intercepted_one(void **state)
{
	struct x86_cpu cpu = flat(64), before;

	(void)state;
	cpu.gpr[X86_RDX] = 0x3f8;
	before = cpu;
	assert_int_equal(port(&cpu, "\x6e", 1, 0x3f9, 1, true), X86_RETRY);
	assert_int_equal(port(&cpu, "\x6e", 1, 0x3f8, 1, false), X86_RETRY);
	assert_int_equal(port(&cpu, "\x6f", 1, 0x3f8, 1, true), X86_RETRY);
	assert_int_equal(port(&cpu, "\x6e", 1, 0x3f8, 0, true), X86_RETRY);
	assert_int_equal(port(&cpu, "\xe6\xf8", 2, 0x3f8, 1, true), X86_RETRY);
	assert_int_equal(port(&cpu, "\x89\x00", 2, 0x3f8, 4, true), X86_RETRY);
	assert_int_equal(port(&cpu, "\x90", 1, 0x3f8, 4, true), X86_RETRY);
	assert_memory_equal(&cpu, &before, sizeof(cpu));
	assert_int_equal(event_count, 0);
}

static void port_strings(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.gpr[X86_RDX] = 0xabcd03f8;
	cpu.gpr[X86_RSI] = 0x5000;
	cpu.gpr[X86_RDI] = 0x6000;
	cpu.gpr[X86_RCX] = 3;
	memcpy(ram + 0x5000, "abc", 3);
	assert_int_equal(port(&cpu, "\xf3\x6e", 2, 0x3f8, 1, true), X86_OK);
	assert_int_equal(event_count, 3);
	assert_event(0, 'o', 0x3f8, 'a', 1);
	assert_event(2, 'o', 0x3f8, 'c', 1);
	assert_int_equal(cpu.gpr[X86_RSI], 0x5003);
	assert_int_equal(cpu.rip, CODE + 2);

	event_count = 0;
	cpu.gpr[X86_RCX] = 2;
	assert_int_equal(port(&cpu, "\x66\xf3\x6d", 3, 0x3f8, 2, false), X86_OK);
	assert_int_equal(event_count, 2);
	assert_int_equal(get_le32(ram + 0x6000), 0xee02ee01);
	assert_int_equal(cpu.gpr[X86_RDI], 0x6004);

	/* no device access when memory refuses */
	cpu = paged(P);
	event_count = 0;
	cpu.gpr[X86_RDX] = 0x3f8;
	cpu.gpr[X86_RDI] = 0x6000;
	assert_page_fault(port(&cpu, "\x6d", 1, 0x3f8, 4, false), 3, 0x6000);
	assert_int_equal(event_count, 0);
}

static void port_plain(void **state)
{
	struct x86_cpu cpu = flat(64);

	(void)state;
	cpu.gpr[X86_RAX] = ~0ull;
	assert_int_equal(port(&cpu, "\xe4\x71", 2, 0x71, 1, false), X86_OK);
	assert_int_equal(cpu.gpr[X86_RAX], 0xffffffffffffff01);
	cpu.gpr[X86_RDX] = 0xcfc;
	assert_int_equal(port(&cpu, "\xed", 1, 0xcfc, 4, false), X86_OK);
	assert_int_equal(cpu.gpr[X86_RAX], 0xc0ffee02);
	assert_int_equal(port(&cpu, "\x66\xef", 2, 0xcfc, 2, true), X86_OK);
	assert_event(2, 'o', 0xcfc, 0xee02, 2);
	assert_int_equal(cpu.rip, CODE + 5);
}

#define T(f) cmocka_unit_test_setup(f, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(walk_refuses_hostile_tables),
		T(walk_tells_the_hole),
		T(walk_checks_permissions),
		T(walk_combines_levels),
		T(walk_marks_accessed_only_when_asked),
		T(walk_knows_every_mode),
		T(find_survives_nonsense),
		T(find_sees_the_fetch),
		T(find_knows_operands),
		T(find_skips_what_does_not_trap),
		T(find_checks_both_pages),
		T(find_walks_page_tables),
		T(find_honours_segments_and_modes),
		T(emulate_refuses),
		T(emulate_faults_before_it_acts),
		T(emulate_checks_segments),
		T(emulate_fetches_when_it_must),
		T(emulate_mixes_ram_and_devices),
		T(emulate_bounds_repeats),
		T(emulate_keeps_progress_at_a_fault),
		T(emulate_narrow_modes),
		T(emulate_jumps),
		T(emulate_jumps_narrow),
		T(emulate_swaps_bytes),
		T(port_must_be_the_intercepted_one),
		T(port_strings),
		T(port_plain),
	};

	return cmocka_run_group_tests_name("x86emu", tests, NULL, NULL);
}
