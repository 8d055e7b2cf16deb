/* Processor exceptions: descriptor tables, and the report. */
#include "loader/exceptions.h"

#include "loader/cpu.h"
#include "loader/panic.h"

#define EXCEPTIONS     32
#define STUB_SIZE      16
#define GATE_INTERRUPT 0x8e00u
#define FAULT_STACK    1 /* of the task segment's interrupt stacks */

/* The image's CPU state and Linux's boot protocol agree on the first two. */
#define SELECTOR_CODE 0x10u
#define SELECTOR_DATA 0x18u
#define SELECTOR_TASK 0x20u /* two entries */

#define DESCRIPTOR_CODE 0x00af9b000000ffffull
#define DESCRIPTOR_DATA 0x00cf93000000ffffull
#define DESCRIPTOR_TASK 0x0000890000000000ull

struct gate {
	u16 offset0, selector, flags, offset1;
	u32 offset2, reserved;
};

struct __attribute__((packed)) task_segment {
	u32 reserved0;
	u64 stack[3];
	u64 reserved1;
	u64 interrupt_stack[7];
	u64 reserved2;
	u16 reserved3, io_map;
};
_Static_assert(sizeof(struct task_segment) == 104, "Intel SDM volume 3, 64-bit TSS");

/* As the stubs in entry.S leave the stack */
struct exception_frame {
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

extern __attribute__((visibility("hidden"))) const char exception_stubs[];
_Noreturn void exception_panic(const struct exception_frame *frame);

void exception_panic(const struct exception_frame *frame)
{
	shim_panic("processor exception %llu, error code %llx, at %llx, CR2 %llx, RSP %llx",
		   (unsigned long long)frame->vector, (unsigned long long)frame->error,
		   (unsigned long long)frame->rip, (unsigned long long)read_cr2(),
		   (unsigned long long)frame->rsp);
}

static u64 address_of(const void *p)
{
	return (u64)(uintptr_t)p;
}

void exceptions_init(void)
{
	static u8 stack[2 * PAGE_SIZE] __attribute__((aligned(16)));
	static struct task_segment task;
	static struct gate idt[EXCEPTIONS];
	static u64 gdt[SELECTOR_TASK / 8 + 2]; /* writable: the processor marks the task busy */
	u64 base = address_of(&task);

	task.interrupt_stack[FAULT_STACK - 1] = address_of(stack) + sizeof(stack);
	task.io_map = sizeof(task);
	gdt[SELECTOR_CODE / 8] = DESCRIPTOR_CODE;
	gdt[SELECTOR_DATA / 8] = DESCRIPTOR_DATA;
	gdt[SELECTOR_TASK / 8] = DESCRIPTOR_TASK | (sizeof(task) - 1) | (base & 0xffffff) << 16 |
				 (base >> 24 & 0xff) << 56;
	gdt[SELECTOR_TASK / 8 + 1] = base >> 32;
	for (u32 i = 0; i < EXCEPTIONS; i++) {
		u64 stub = address_of(exception_stubs + i * STUB_SIZE);

		idt[i] = (struct gate){.offset0 = (u16)stub,
				       .selector = SELECTOR_CODE,
				       .flags = GATE_INTERRUPT | FAULT_STACK,
				       .offset1 = (u16)(stub >> 16),
				       .offset2 = (u32)(stub >> 32)};
	}
	load_gdt(gdt, sizeof(gdt));
	load_task(SELECTOR_TASK);
	load_idt(idt, sizeof(idt));
}
