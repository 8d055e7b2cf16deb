/* Privileged instructions. Shim only. */
#ifndef PARAPET_LOADER_CPU_H
#define PARAPET_LOADER_CPU_H

#include "common/types.h"

struct cpuid {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(u32 leaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(0));
	return r;
}

static inline u64 rdmsr(u32 msr)
{
	u32 low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (u64)high << 32 | low;
}

static inline void wrmsr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u64 read_cr2(void)
{
	u64 value;

	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

static inline u64 read_cr0(void)
{
	u64 value;

	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	return value;
}

static inline void write_cr0(u64 value)
{
	__asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static inline void write_cr3(u64 value)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

struct __attribute__((packed)) cpu_table {
	u16 limit;
	u64 base;
};

static inline void load_idt(const void *table, u16 size)
{
	struct cpu_table t = {(u16)(size - 1), (u64)(uintptr_t)table};

	__asm__ volatile("lidt %0" : : "m"(t) : "memory");
}

/* Segment registers keep what they hold: the new table must have the same at their selectors. */
static inline void load_gdt(const void *table, u16 size)
{
	struct cpu_table t = {(u16)(size - 1), (u64)(uintptr_t)table};

	__asm__ volatile("lgdt %0" : : "m"(t) : "memory");
}

static inline void load_task(u16 selector)
{
	__asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

/* Ends the virtual machine: an interrupt without any table is a triple fault. */
_Noreturn static inline void cpu_reset(void)
{
	struct cpu_table none = {0, 0};

	__asm__ volatile("lidt %0\n\tint3" : : "m"(none));
	for (;;)
		__asm__ volatile("cli\n\thlt");
}

#endif
