/* Any code, registers and page tables through the access search and the emulator. */
#include <stdlib.h>
#include <string.h>

#include "vtl2-devices/x86emu/x86emu.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* RAM that the input fills and that repeats, so that walks get somewhere; every fourth MiB is a
 * hole. */
#define RAM_SIZE 0x8000u

struct machine {
	u8 ram[RAM_SIZE];
	u8 fxsave[512];
	unsigned accesses, devices;
};

/* A hostile guest must not make one call do unbounded work. */
#define MAX_ACCESSES 60000

static bool in_ram(u64 gpa, u32 len)
{
	if (len == 0 || len > PAGE_SIZE || (gpa & (PAGE_SIZE - 1)) + len > PAGE_SIZE)
		abort();
	return (gpa >> 20 & 3) != 3;
}

static u8 *ram(struct machine *m, u64 gpa)
{
	if (++m->accesses > MAX_ACCESSES)
		abort();
	return m->ram + (gpa & (RAM_SIZE - 1));
}

static int ram_read(void *ctx, u64 gpa, void *buf, u32 len)
{
	if (!in_ram(gpa, len))
		return -1;
	memcpy(buf, ram(ctx, gpa), len);
	return 0;
}

static int ram_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
	if (!in_ram(gpa, len))
		return -1;
	memcpy(ram(ctx, gpa), buf, len);
	return 0;
}

static int ram_cmpxchg(void *ctx, u64 gpa, u64 expected, u64 desired, u32 len)
{
	u8 *p;

	if ((len != 4 && len != 8) || gpa % len)
		abort();
	if (!in_ram(gpa, len))
		return -1;
	p = ram(ctx, gpa);
	if (memcmp(p, &expected, len))
		return 1;
	memcpy(p, &desired, len);
	return 0;
}

static void check_device(struct machine *m, u64 gpa, u32 len)
{
	if (in_ram(gpa, len) || (len != 1 && len != 2 && len != 4 && len != 8))
		abort();
	if (++m->devices > MAX_ACCESSES)
		abort();
}

static void mmio_read(void *ctx, u64 gpa, void *buf, u32 len)
{
	check_device(ctx, gpa, len);
	memset(buf, (int)gpa, len);
}

static void mmio_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
	volatile u8 sum = 0;

	check_device(ctx, gpa, len);
	for (u32 i = 0; i < len; i++)
		sum = (u8)(sum + ((const u8 *)buf)[i]);
}

static u32 io_in(void *ctx, u16 port, u32 size)
{
	(void)ctx;
	if (size != 1 && size != 2 && size != 4)
		abort();
	return 0xa5000000u | port;
}

static void io_out(void *ctx, u16 port, u32 size, u32 value)
{
	(void)ctx, (void)port;
	if ((size != 1 && size != 2 && size != 4) || (size < 4 && value >> 8 * size))
		abort();
}

static const struct x86_ops ops = {
	.ram_read = ram_read,
	.ram_write = ram_write,
	.ram_cmpxchg = ram_cmpxchg,
	.mmio_read = mmio_read,
	.mmio_write = mmio_write,
	.io_in = io_in,
	.io_out = io_out,
};

/* Whatever the result, only a complete step may have changed registers. */
static void check(const struct x86_cpu *before, const struct x86_cpu *after, enum x86_result res)
{
	if (res > X86_RETRY)
		abort();
	if (res != X86_OK && after->rip != before->rip)
		abort();
	if ((res == X86_UNSUPPORTED || res == X86_HOLE) && memcmp(before, after, sizeof(*before)))
		abort();
}

static void fill_ram(struct machine *m, const u8 *data, size_t n)
{
	for (size_t i = 0; i < RAM_SIZE; i++)
		m->ram[i] = n ? data[i % n] : (u8)(i * 7);
}

/* Help the input into each paging mode; the other values leave what it has chosen. */
static void set_mode(struct x86_cpu *cpu, unsigned mode)
{
	if (mode == 0 || mode == 1)
		cpu->cr0 &= ~X86_CR0_PG;
	if (mode >= 2 && mode <= 4)
		cpu->cr0 |= X86_CR0_PG | X86_CR0_PE;
	if (mode == 1 || mode == 2) {
		cpu->efer |= X86_EFER_LMA;
		cpu->seg[X86_CS].attributes |= BIT(13);
	}
	if (mode == 3 || mode == 4)
		cpu->efer &= ~X86_EFER_LMA;
	if (mode == 2 || mode == 3)
		cpu->cr4 |= X86_CR4_PAE;
	if (mode == 4)
		cpu->cr4 &= ~X86_CR4_PAE;
}

static bool has_repeat(const struct x86_hit *hit)
{
	return memchr(hit->bytes, 0xf2, hit->byte_count) ||
	       memchr(hit->bytes, 0xf3, hit->byte_count);
}

/*
 * The search and the emulator must agree on whether an instruction reaches a device. Without paging
 * only: the emulator's accessed and dirty bits could change the tables between the two.
 */
static void check_agreement(struct machine *m, struct x86_cpu cpu, const struct x86_ops *my)
{
	struct x86_fault fault;
	struct x86_hit hit;
	enum x86_result found, res;

	if (cpu.cr0 & X86_CR0_PG)
		return;
	found = x86_find_access(&cpu, my, &hit, &fault);
	m->accesses = m->devices = 0;
	res = x86_emulate(&cpu, my, NULL, 0, &fault);
	if (res != X86_OK || (found == X86_OK && hit.access == X86_EXECUTE))
		return;
	if (found == X86_OK && m->devices == 0)
		abort();
	if (found == X86_NOT_FOUND && m->devices && !has_repeat(&hit))
		abort();
}

/* Input: mode, number of given code bytes, port access, padding; code; registers; RAM. */
enum { HEAD = 8, CODE = 16 };

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct machine m;
	struct x86_cpu cpu = {0}, start;
	struct x86_fault fault;
	struct x86_hit hit;
	struct x86_ops my = ops;
	struct x86_io io;
	enum x86_result res;
	size_t n;

	if (size < HEAD + CODE)
		return 0;
	memset(&m, 0, sizeof(m));
	my.ctx = &m;
	n = MIN(size - HEAD - CODE, offsetof(struct x86_cpu, fxsave));
	memcpy(&cpu, data + HEAD + CODE, n);
	fill_ram(&m, data + HEAD + CODE + n, size - HEAD - CODE - n);
	memcpy(m.ram + (cpu.rip & (RAM_SIZE / 2 - 1)), data + HEAD, CODE);
	cpu.fxsave = data[0] & 0x80 ? NULL : m.fxsave;
	set_mode(&cpu, data[0] & 7);
	if (data[0] & 0x40)
		for (int i = 0; i < 16; i++)
			cpu.gpr[i] &= 0xfffffff;

	start = cpu;
	res = x86_find_access(&cpu, &my, &hit, &fault);
	if (memcmp(&start, &cpu, sizeof(cpu)) || hit.byte_count > X86_INSN_MAX ||
	    hit.insn_len > X86_INSN_MAX)
		abort();
	if (res == X86_OK && hit.access > X86_EXECUTE)
		abort();

	start = cpu;
	res = x86_emulate(&cpu, &my, data + HEAD, data[1] & 15, &fault);
	check(&start, &cpu, res);

	check_agreement(&m, cpu, &my);

	m.accesses = m.devices = 0;
	io = (struct x86_io){(u16)cpu.gpr[X86_RDX], data[2] & 7, data[3] & 1};
	start = cpu;
	res = x86_emulate_io(&cpu, &my, data + HEAD, data[1] & 15, &io, &fault);
	check(&start, &cpu, res);
	return 0;
}
