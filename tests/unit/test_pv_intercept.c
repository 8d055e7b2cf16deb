/*
 * Intercept dispatch on a machine of stubs: message in, registers and device accesses out. The real
 * dispatcher, register code and instruction emulator run; hypervisor, devices and RAM are fakes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "paravisor/intercept.c"
#include "paravisor/vp_regs.c"
#include "tests/lib/no_log.h"

#include <stdlib.h>

/* ---- fakes ---- */

static u8 ram[64 * 1024];
static struct {
	u32 value; /* what a port or address reads as */
	u64 address, written;
	unsigned size, count;
	u8 bytes[64];
	bool pic;
	u8 eoi;
} device;
static struct {
	u32 name[16];
	u64 low[16], high[16];
	unsigned sets;
	struct hv_register_assoc state[16]; /* without register page */
} hypervisor;
static struct {
	u64 input;
	bool fast;
	unsigned posts, signals;
} vmbus;
static jmp_buf stopped;
static int stop_how;

int mshv_set_register(u8 vtl, u32 name, u64 low, u64 high)
{
	unsigned i = hypervisor.sets++ % 16;

	assert_int_equal(vtl, HV_INPUT_VTL0);
	hypervisor.name[i] = name;
	hypervisor.low[i] = low;
	hypervisor.high[i] = high;
	return 0;
}

int mshv_get_registers(u8 vtl, struct hv_register_assoc *reg, size_t count)
{
	assert_int_equal(vtl, HV_INPUT_VTL0);
	for (size_t i = 0; i < count; i++) {
		reg[i].value = (struct hv_register_value){0};
		for (size_t j = 0; j < ARRAY_SIZE(hypervisor.state); j++) {
			if (hypervisor.state[j].name == reg[i].name)
				reg[i].value = hypervisor.state[j].value;
		}
	}
	return 0;
}

u32 machine_pio_read(u16 port, unsigned size)
{
	device.address = port;
	device.size = size;
	device.count++;
	return device.value;
}

void machine_pio_write(u16 port, unsigned size, u32 value)
{
	device.address = port;
	device.size = size;
	device.written = value;
	device.bytes[device.count++ % sizeof(device.bytes)] = (u8)value;
}

u64 machine_mmio_read(u64 gpa, unsigned size)
{
	device.address = gpa;
	device.size = size;
	device.count++;
	return device.value;
}

void machine_mmio_write(u64 gpa, unsigned size, u64 value)
{
	device.address = gpa;
	device.size = size;
	device.written = value;
	device.count++;
}

void machine_eoi(u8 vector)
{
	device.eoi = vector;
}

bool machine_pic_pending(void)
{
	return device.pic;
}

bool machine_pic_acknowledge(u8 *vector)
{
	*vector = 0x30;
	return device.pic;
}

void machine_flush(void)
{
}

int gmem_read(u64 gpa, void *data, size_t size)
{
	if (gpa > sizeof(ram) || size > sizeof(ram) - gpa)
		return -1;
	memcpy(data, ram + gpa, size);
	return 0;
}

int gmem_write(u64 gpa, const void *data, size_t size)
{
	if (gpa > sizeof(ram) || size > sizeof(ram) - gpa)
		return -1;
	memcpy(ram + gpa, data, size);
	return 0;
}

int gmem_cmpxchg(u64 gpa, u64 expected, u64 desired, u32 size)
{
	(void)gpa, (void)expected, (void)desired, (void)size;
	return -1;
}

u16 vmbus_post_message(u64 input_gpa)
{
	vmbus.input = input_gpa;
	vmbus.posts++;
	return HV_STATUS_INSUFFICIENT_BUFFERS;
}

u16 vmbus_signal_event(bool fast, u64 input)
{
	vmbus.fast = fast;
	vmbus.input = input;
	vmbus.signals++;
	return HV_STATUS_INVALID_CONNECTION_ID;
}

void stop_partition(enum hostlink_power how, const char *text)
{
	assert_non_null(text);
	stop_how = (int)how;
	longjmp(stopped, 1);
}

void stop_crash(const char *format, ...)
{
	assert_non_null(format);
	stop_how = HOSTLINK_POWER_CRASH;
	longjmp(stopped, 1);
}

/* ---- a processor in flat 32-bit code without paging, at 0x1000 ---- */

static struct vp vp;
static struct mshv_run_page run;
static struct hv_register_page page;

static const struct hv_segment flat_code = {.limit = ~0u, .selector = 8, .attributes = 0xc09b};
static const struct hv_segment flat_data = {.limit = ~0u, .selector = 16, .attributes = 0xc093};

static int set_up(void **state)
{
	(void)state;
	log_set_sink(no_log);
	memset(&device, 0, sizeof(device));
	memset(&hypervisor, 0, sizeof(hypervisor));
	memset(&vp, 0, sizeof(vp));
	memset(&run, 0, sizeof(run));
	memset(&page, 0, sizeof(page));
	memset(ram, 0, sizeof(ram));
	page.is_valid = 1;
	page.rip = 0x1000;
	page.rflags = 2;
	page.cr0 = 0x31;
	for (int i = 0; i < X86_SEG_COUNT; i++)
		page.segment[i] = i == X86_CS ? flat_code : flat_data;
	page.gpr[X86_RSP] = 0x8000;
	vp.run = &run;
	vp.page = &page;
	stop_how = -1;
	return 0;
}

static void header(struct hv_intercept_header *h, u8 length, u8 access)
{
	*h = (struct hv_intercept_header){
		.instruction_length = length,
		.access_type = access,
		.execution_state = HV_EXEC_CR0_PE,
		.cs = flat_code,
		.rip = 0x1000,
		.rflags = 2,
	};
}

static void dispatch(u32 type, const void *payload, size_t size)
{
	memset(&run.exit, 0, sizeof(run.exit));
	run.exit.type = type;
	run.exit.payload_size = (u8)size;
	memcpy(run.exit.payload, payload, size);
	if (setjmp(stopped) == 0)
		intercept_dispatch(&vp);
}

static void port(u8 access, u16 number, u8 info, u8 length, const void *code)
{
	struct hv_io_port_message m = {.port = number, .info = info};

	header(&m.header, length, access);
	if (code) {
		m.instruction_byte_count = length;
		memcpy(m.instruction, code, length);
		memcpy(ram + 0x1000, code, length);
	}
	m.rax = run.context.rax;
	dispatch(HV_MSG_X64_IO_PORT, &m, sizeof(m));
}

static void port_in(void **state)
{
	(void)state;
	device.value = 0xaabbccdd;
	run.context.rax = 0x1122334455667788;
	port(HV_ACCESS_READ, 0x71, 1, 2, NULL);
	assert_int_equal(run.context.rax, 0x11223344556677dd);
	assert_int_equal(device.address, 0x71);
	assert_int_equal(device.size, 1);
	assert_int_equal(page.rip, 0x1002);
	assert_int_equal(page.dirty, HV_REG_PAGE_DIRTY_RIP);
	assert_int_equal(hypervisor.sets, 0);
	port(HV_ACCESS_READ, 0xcfc, 4, 1, NULL);
	assert_int_equal(run.context.rax, 0xaabbccdd);
	assert_int_equal(vp.stats.exits[EXIT_PORT_IN], 2);
}

static void port_out(void **state)
{
	(void)state;
	run.context.rax = 0x1122334455667788;
	port(HV_ACCESS_WRITE, 0x3f8, 2, 1, NULL);
	assert_int_equal((u16)device.written, 0x7788);
	assert_int_equal(run.context.rax, 0x1122334455667788);
	assert_int_equal(page.rip, 0x1001);
}

static void without_register_page(void **state)
{
	(void)state;
	vp.page = NULL;
	port(HV_ACCESS_WRITE, 0x80, 1, 2, NULL);
	assert_int_equal(hypervisor.sets, 1);
	assert_int_equal(hypervisor.name[0], HV_REG_RIP);
	assert_int_equal(hypervisor.low[0], 0x1002);
	vp.page = &page;
	page.is_valid = 0;
	port(HV_ACCESS_WRITE, 0x80, 1, 2, NULL);
	assert_int_equal(hypervisor.sets, 2);
	assert_int_equal(page.dirty, 0);
}

static void string_out(void **state)
{
	(void)state;
	memcpy(ram + 0x2000, "hello", 5);
	run.context.rsi = 0x2000;
	run.context.rcx = 5;
	run.context.rdx = 0x3f8;
	/* rep outsb */
	port(HV_ACCESS_WRITE, 0x3f8, 1 | HV_IO_STRING | HV_IO_REP, 2, "\xf3\x6e");
	assert_memory_equal(device.bytes, "hello", 5);
	assert_int_equal(run.context.rcx, 0);
	assert_int_equal(run.context.rsi, 0x2005);
	assert_int_equal(page.rip, 0x1002);
}

static void string_in(void **state)
{
	(void)state;
	device.value = 0x41;
	run.context.rdi = 0x3000;
	run.context.rcx = 3;
	run.context.rdx = 0x60;
	port(HV_ACCESS_READ, 0x60, 1 | HV_IO_STRING | HV_IO_REP, 2, "\xf3\x6c");
	assert_memory_equal(ram + 0x3000, "AAA\0", 4);
	assert_int_equal(run.context.rdi, 0x3003);
}

static void memory(u8 access, u64 gpa, u8 length, const void *code)
{
	struct hv_memory_message m = {
		.gpa = gpa,
		.gva = gpa,
		.info = HV_MEM_GVA_VALID,
		.instruction_byte_count = length,
	};

	header(&m.header, 0, access);
	memcpy(m.instruction, code, MIN(length, 16));
	memcpy(ram + 0x1000, code, MIN(length, 16));
	dispatch(HV_MSG_UNMAPPED_GPA, &m, sizeof(m));
}

/* The code was changed between trap and service: nothing happens, the guest runs again. */
static void code_changed(void **state)
{
	(void)state;
	memory(HV_ACCESS_READ, 0xfec00000, 1, "\x90");
	run.context.rcx = 3;
	run.context.rdx = 0x61;
	port(HV_ACCESS_READ, 0x60, 1 | HV_IO_STRING | HV_IO_REP, 2, "\xf3\x6c");
	assert_int_equal(device.count, 0);
	assert_int_equal(page.rip, 0x1000);
	assert_int_equal(hypervisor.sets, 0);
}

static void mmio(void **state)
{
	(void)state;
	device.value = 0x12345678;
	run.context.rbx = 0xfec00010;
	/* mov (%ebx), %eax */
	memory(HV_ACCESS_READ, 0xfec00010, 2, "\x8b\x03");
	assert_int_equal(run.context.rax, 0x12345678);
	assert_int_equal(device.address, 0xfec00010);
	assert_int_equal(device.size, 4);
	assert_int_equal(page.rip, 0x1002);
	/* mov %ecx, (%ebx) */
	page.rip = 0x1000;
	run.context.rcx = 0xcafe;
	memory(HV_ACCESS_WRITE, 0xfec00010, 2, "\x89\x0b");
	assert_int_equal(device.written, 0xcafe);
	/* add %ecx, (%ebx) sets flags */
	page.rip = 0x1000;
	device.value = 0xffffffff;
	run.context.rcx = 1;
	memory(HV_ACCESS_WRITE, 0xfec00010, 2, "\x01\x0b");
	assert_int_equal(device.written, 0);
	assert_true(page.rflags & X86_FLAG_ZF);
	assert_true(page.dirty & HV_REG_PAGE_DIRTY_RFLAGS);
}

static void push_to_device(void **state)
{
	(void)state;
	page.gpr[X86_RSP] = 0xfec00020;
	run.context.rdi = 77;
	/* push %edi: RSP travels in the register page, with all others made current */
	memory(HV_ACCESS_WRITE, 0xfec0001c, 1, "\x57");
	assert_int_equal(device.address, 0xfec0001c);
	assert_int_equal(device.written, 77);
	assert_int_equal(page.gpr[X86_RSP], 0xfec0001c);
	assert_int_equal(page.gpr[X86_RDI], 77);
	assert_true(page.dirty & HV_REG_PAGE_DIRTY_GPRS);
}

static void expect_exception(u8 vector, bool error)
{
	assert_int_equal(hypervisor.sets, 1);
	assert_int_equal(hypervisor.name[0], HV_REG_PENDING_EVENT0);
	assert_int_equal(hypervisor.low[0] & 0xffff00ff, 1u | (u32)vector << 16);
	assert_int_equal(hypervisor.low[0] >> 8 & 1, error);
	hypervisor.sets = 0;
}

static void execute_nothing(void **state)
{
	(void)state;
	memory(HV_ACCESS_EXECUTE, 0xfec00000, 0, "");
	expect_exception(X86_VECTOR_UD, false);
	assert_int_equal(page.dirty, 0);
}

static void refused_instructions(void **state)
{
	(void)state;
	/* fxsave to a device, and lgdt from one */
	memory(HV_ACCESS_WRITE, 0xfec00000, 3, "\x0f\xae\x03");
	expect_exception(X86_VECTOR_UD, false);
	memory(HV_ACCESS_READ, 0xfec00000, 3, "\x0f\x01\x13");
	expect_exception(X86_VECTOR_UD, false);
	assert_int_equal(page.rip, 0x1000);
	assert_int_equal(vp.stats.emulation_refused, 2);
}

/* Any bytes at any length: an answer, never a crash (ASan watches). */
static void random_code(void **state)
{
	u8 code[256];

	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++) {
		for (size_t j = 0; j < 16; j++)
			code[j] = (u8)rand();
		page.rip = 0x1000;
		run.context.rbx = 0xfec00010;
		memory((u8)(rand() % 4), (u64)rand() << 8, (u8)rand(), code);
		port((u8)(rand() % 3), (u16)rand(), (u8)rand(), (u8)(rand() % 16), code);
		assert_int_equal(stop_how, -1);
	}
}

static void msr(u32 number, u8 access)
{
	struct hv_msr_message m = {.msr = number};

	header(&m.header, 2, access);
	dispatch(HV_MSG_X64_MSR, &m, sizeof(m));
}

static void msrs(void **state)
{
	(void)state;
	for (u32 i = 0; i < 1000; i++) {
		msr(0x12000 + i, HV_ACCESS_READ);
		expect_exception(X86_VECTOR_GP, true);
		msr(0x12000 + i, HV_ACCESS_WRITE);
		expect_exception(X86_VECTOR_GP, true);
	}
	assert_int_equal(page.dirty, 0);
	run.context.rax = run.context.rdx = ~0ull;
	msr(0x34, HV_ACCESS_READ);
	assert_int_equal(run.context.rax, 0);
	assert_int_equal(run.context.rdx, 0);
	assert_int_equal(page.rip, 0x1002);
	assert_int_equal(hypervisor.sets, 0);
}

static void hypercalls(void **state)
{
	struct hv_hypercall_message m = {0};

	(void)state;
	header(&m.header, 0, HV_ACCESS_EXECUTE);
	m.header.execution_state = HV_EXEC_CR0_PE | HV_EXEC_EFER_LMA;
	m.header.cs.attributes = 0xa09b;
	memset(&vmbus, 0, sizeof(vmbus));
	run.context.rcx = HV_CALL_POST_MESSAGE;
	run.context.rdx = 0x123456789000;
	dispatch(HV_MSG_HYPERCALL_INTERCEPT, &m, sizeof(m));
	assert_int_equal(run.context.rax, HV_STATUS_INSUFFICIENT_BUFFERS);
	assert_int_equal(page.rip, 0x1003);
	assert_int_equal(vmbus.input, 0x123456789000);
	/* its input does not fit into registers */
	run.context.rcx = HV_CALL_POST_MESSAGE | HV_CONTROL_FAST;
	dispatch(HV_MSG_HYPERCALL_INTERCEPT, &m, sizeof(m));
	assert_int_equal(run.context.rax, HV_STATUS_INVALID_HYPERCALL_INPUT);
	assert_int_equal(vmbus.posts, 1);
	run.context.rcx = HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST;
	run.context.rdx = 0x2001 | 7ull << 32;
	dispatch(HV_MSG_HYPERCALL_INTERCEPT, &m, sizeof(m));
	assert_int_equal(run.context.rax, HV_STATUS_INVALID_CONNECTION_ID);
	assert_int_equal(vmbus.input, 0x2001 | 7ull << 32);
	assert_true(vmbus.fast);
	run.context.rcx = 0x7777;
	dispatch(HV_MSG_HYPERCALL_INTERCEPT, &m, sizeof(m));
	assert_int_equal(run.context.rax, HV_STATUS_INVALID_HYPERCALL_CODE);
	/* 32-bit callers pass the code in EAX and get EDX:EAX */
	m.header.cs = flat_code;
	run.context.rax = HV_CALL_SIGNAL_EVENT;
	run.context.rdx = 0;
	run.context.rbx = 0x1;
	run.context.rcx = 0xffffffff00002000; /* the upper half does not count */
	dispatch(HV_MSG_HYPERCALL_INTERCEPT, &m, sizeof(m));
	assert_false(vmbus.fast);
	assert_int_equal(vmbus.input, 0x100002000);
	assert_int_equal(run.context.rax, HV_STATUS_INVALID_CONNECTION_ID);
	assert_int_equal(run.context.rdx, 0);
}

static void pic(void **state)
{
	struct hv_deliverable_message m = {0};

	(void)state;
	intercept_offer_pic(&vp);
	assert_int_equal(hypervisor.sets, 0);
	device.pic = true;
	intercept_offer_pic(&vp);
	intercept_offer_pic(&vp); /* asked for only once */
	assert_int_equal(hypervisor.sets, 1);
	assert_int_equal(hypervisor.name[0], HV_REG_DELIVERABILITY_NOTIFICATIONS);
	assert_int_equal(hypervisor.low[0], HV_DELIVERABLE_INTERRUPT);
	header(&m.header, 0, 0);
	dispatch(HV_MSG_X64_INTERRUPTION_DELIVERABLE, &m, sizeof(m));
	assert_int_equal(hypervisor.name[1], HV_REG_PENDING_EVENT0);
	assert_int_equal(hypervisor.low[1], 0x300b);
	/* another one waits: asked for again */
	assert_int_equal(hypervisor.sets, 3);
	device.pic = false;
	hypervisor.sets = 0;
	dispatch(HV_MSG_X64_INTERRUPTION_DELIVERABLE, &m, sizeof(m));
	assert_int_equal(hypervisor.sets, 0);
}

static void eoi(void **state)
{
	struct hv_eoi_message m = {.vector = 0x31};

	(void)state;
	dispatch(HV_MSG_X64_APIC_EOI, &m, sizeof(m));
	assert_int_equal(device.eoi, 0x31);
}

static void the_end(void **state)
{
	struct hv_intercept_header h;

	(void)state;
	header(&h, 0, 0);
	dispatch(HV_MSG_UNRECOVERABLE_EXCEPTION, &h, sizeof(h));
	assert_int_equal(stop_how, HOSTLINK_POWER_TRIPLE_FAULT);
	stop_how = -1;
	dispatch(HV_MSG_X64_HALT, &h, sizeof(h));
	assert_int_equal(stop_how, HOSTLINK_POWER_CRASH);
	stop_how = -1;
	dispatch(0, &h, sizeof(h));
	assert_int_equal(stop_how, HOSTLINK_POWER_CRASH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(port_in, set_up),
		cmocka_unit_test_setup(port_out, set_up),
		cmocka_unit_test_setup(without_register_page, set_up),
		cmocka_unit_test_setup(string_out, set_up),
		cmocka_unit_test_setup(string_in, set_up),
		cmocka_unit_test_setup(code_changed, set_up),
		cmocka_unit_test_setup(mmio, set_up),
		cmocka_unit_test_setup(push_to_device, set_up),
		cmocka_unit_test_setup(execute_nothing, set_up),
		cmocka_unit_test_setup(refused_instructions, set_up),
		cmocka_unit_test_setup(random_code, set_up),
		cmocka_unit_test_setup(msrs, set_up),
		cmocka_unit_test_setup(hypercalls, set_up),
		cmocka_unit_test_setup(pic, set_up),
		cmocka_unit_test_setup(eoi, set_up),
		cmocka_unit_test_setup(the_end, set_up),
	};

	return cmocka_run_group_tests_name("pv_intercept", tests, NULL, NULL);
}
