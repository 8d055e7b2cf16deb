/*
 * A bare-metal guest that does to its platform what no honest kernel does, and says what it saw.
 * It is loaded as an ELF kernel; "test=NAME,NAME..." on its command line chooses.
 */
#ifndef PARAPET_TESTS_GUESTS_RAW_H
#define PARAPET_TESTS_GUESTS_RAW_H

#include "common/abi/hv.h"
#include "common/types.h"

#define NO_FAULT 0xffffu

enum vector {
	VEC_UD = 6,
	VEC_GP = 13,
	VEC_PF = 14,
	VEC_TIMER = 0x40,
	VEC_IOAPIC,
	VEC_SINT,
	VEC_LEVEL, /* COM2 */
	VEC_IPI = 0x50,
};
/* So often a level-triggered interrupt comes until its handler serves the device. */
#define LEVEL_REPEATS 50

/* The last exception that an instruction under TRY() raised */
struct fault {
	u64 vector, error, cr2;
};
extern volatile struct fault fault;
extern volatile u64 recover; /* where the next exception goes on */
extern volatile u32 irq_count[256];
extern volatile u32 nmi_count;

/*
 * Runs one instruction (with what the constraints say); an exception in it ends it and is found in
 * `fault`. The stack pointer is as before afterwards.
 */
#define TRY(insn, outs, ins, ...)                                             \
	do {                                                                  \
		fault.vector = NO_FAULT;                                      \
		recover = 0;                                                  \
		asm volatile("mov %%rsp, %%r15\n\tmovq $1f, recover\n\t" insn \
			     "\n1:\tmovq $0, recover\n\tmov %%r15, %%rsp"     \
			     : outs:ins                                       \
			     : "memory", "cc", "r15", ##__VA_ARGS__);         \
	} while (0)
#define ARGS(...) __VA_ARGS__

/* ---- what lib.c offers ---- */

__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);
/* Counts and prints a failure unless good; the first few of each test in full. */
__attribute__((format(printf, 2, 3))) bool expect(bool good, const char *fmt, ...);
u64 random_u64(void);
/* Partition reference time, 100 ns */
u64 now(void);
__attribute__((noreturn)) void power_off(void);

static inline u64 read_msr(u32 msr)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return low | (u64)high << 32;
}

static inline void write_msr(u32 msr, u64 value)
{
	asm volatile("wrmsr" ::"c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

/* Exception vector, or NO_FAULT */
static inline unsigned try_read_msr(u32 msr, u64 *value)
{
	u32 low = 0, high = 0;

	TRY("rdmsr", ARGS("+a"(low), "+d"(high)), "c"(msr));
	*value = low | (u64)high << 32;
	return (unsigned)fault.vector;
}

static inline unsigned try_write_msr(u32 msr, u64 value)
{
	TRY("wrmsr", , ARGS("c"(msr), "a"((u32)value), "d"((u32)(value >> 32))));
	return (unsigned)fault.vector;
}

static inline u8 in8(u16 port)
{
	u8 v;

	asm volatile("inb %w1, %b0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline u16 in16(u16 port)
{
	u16 v;

	asm volatile("inw %w1, %w0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline u32 in32(u16 port)
{
	u32 v;

	asm volatile("inl %w1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline void out8(u16 port, u8 v)
{
	asm volatile("outb %b0, %w1" ::"a"(v), "Nd"(port));
}

static inline void out16(u16 port, u16 v)
{
	asm volatile("outw %w0, %w1" ::"a"(v), "Nd"(port));
}

static inline void out32(u16 port, u32 v)
{
	asm volatile("outl %0, %w1" ::"a"(v), "Nd"(port));
}

#define MEM8(a)	 (*(volatile u8 *)(uintptr_t)(a))
#define MEM16(a) (*(volatile u16 *)(uintptr_t)(a))
#define MEM32(a) (*(volatile u32 *)(uintptr_t)(a))
#define MEM64(a) (*(volatile u64 *)(uintptr_t)(a))

/* What the zero page tells */
extern u64 vtl2_base, vtl2_end;	    /* reserved range above 4 GiB */
extern u16 pm1_control, panic_port; /* panic_port: QEMU's pvpanic */
extern unsigned processors;
#define HOLE	   0xd0000000ull /* below 4 GiB, neither RAM nor a device */
#define MAPPED_END (64ull << 30)
#define IOAPIC	   0xfec00000ull
#define LAPIC(r)   MEM32(0xfee00000ull + (r))
#define LAPIC_ICR  0x300
#define LAPIC_ICR2 0x310

extern u64 page_map[512]; /* level 4; entry 0 maps MAPPED_END bytes one to one */
#define PTE_PRESENT  BIT(0)
#define PTE_WRITABLE BIT(1)
#define PTE_LARGE    BIT(7)

/* Makes hypercalls possible; the status of a call is in the low 16 bits. */
void hypercall_enable(void);
u64 hypercall(u64 control, u64 in, u64 out);

/* Starts processor 1 with INIT and SIPI; waits until it has run ap_main() (again). */
bool start_processor(void);
extern volatile u32 ap_runs;  /* how often it came up */
extern volatile u32 ap_order; /* 0: halt with interrupts on; else: send IPIs to processor 0 */

/* ---- tests ---- */
void test_ports_read(void);
void test_ports_write(void);
void test_ports_random(void);
void test_string_io(void);
void test_vtl2_memory(void);
void test_holes(void);
void test_instructions(void);
void test_ioapic(void);
void test_unknown_msrs(void);
void test_hyperv_msrs(void);
void test_hypercalls(void);
void test_timers(void);
void test_processors(void);
void test_vmbus(void);
void test_vmbus_rough(void);
void test_vmbus_rings(void);
void test_vmbus_loops(void);
void test_rest(void);
/* These end the machine in the way that their word names. */
void end_with(const char *word);

#endif
