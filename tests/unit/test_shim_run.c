/*
 * Runs the real shim.elf as a part of this process: its privileged instructions fault, and the
 * handler plays the hypervisor. Ends at the kernel entry or at the shim's reset.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/abi/hv.h"
#include "common/bytes.h"
#include "common/crc32.h"
#include "loader/boot_params.h"
#include "tests/unit/shim_fixture.h"

#define SHIM_FILE "build/vtl2/shim.elf"

enum outcome { ENTERED_KERNEL = 1, RESET, UNKNOWN_INSTRUCTION };

static sigjmp_buf out;
static struct {
	u64 msr[HV_MSR_COUNT];
	u64 time;
	char serial[16384];
	size_t serial_used;
	u8 lcr;
	bool wrong_vp_index;
	u64 privileges;
	u64 zero_page, stuck_at;
} vm;

static u8 *mem(u64 gpa)
{
	return (u8 *)(uintptr_t)gpa;
}

/* ---- the hypervisor */

static u64 hypercall(const greg_t *r)
{
	u64 control = (u64)r[REG_RCX];
	u8 *in = mem((u64)r[REG_RDX]), *output = mem((u64)r[REG_R8]);
	u32 reps = HV_CONTROL_REP_COUNT(control);

	switch (HV_CONTROL_CODE(control)) {
	case HV_CALL_GET_VP_REGISTERS:
		if (get_le64(in) != HV_PARTITION_ID_SELF || get_le32(in + 8) != HV_VP_INDEX_SELF ||
		    get_le32(in + 16) != HV_REG_VSM_VP_STATUS || reps != 1)
			return HV_STATUS_INVALID_PARAMETER;
		put_le64(output, 2);
		put_le64(output + 8, 0);
		return HV_RESULT(HV_STATUS_SUCCESS, 1);
	case HV_CALL_GET_VP_INDEX_FROM_APIC_ID:
		for (u32 i = 0; i < reps; i++)
			put_le32(output + 4 * i, get_le32(in + 16 + 4 * i) + vm.wrong_vp_index);
		return HV_RESULT(HV_STATUS_SUCCESS, reps);
	default: return HV_STATUS_INVALID_HYPERCALL_CODE;
	}
}

static void cpuid_leaf(greg_t *r)
{
	u32 leaf = (u32)r[REG_RAX];

	r[REG_RAX] = r[REG_RBX] = r[REG_RCX] = r[REG_RDX] = 0;
	switch (leaf) {
	case 1: r[REG_RCX] = 1u << 31; break;
	case HV_CPUID_MAX_AND_VENDOR:
		r[REG_RAX] = HV_CPUID_ISOLATION;
		r[REG_RBX] = 0x7263694d;
		r[REG_RCX] = 0x666f736f;
		r[REG_RDX] = 0x76482074;
		break;
	case HV_CPUID_FEATURES:
		r[REG_RAX] = (u32)vm.privileges;
		r[REG_RBX] = (greg_t)(vm.privileges >> 32);
		r[REG_RDX] = HV_FEAT_CRASH_MSRS;
		break;
	}
}

static void write_msr(u32 msr, u64 value)
{
	vm.msr[msr - HV_MSR_FIRST] = value;
	if (msr == HV_MSR_HYPERCALL && value & HV_PAGE_ENABLE)
		memcpy(mem(value & HV_PAGE_GPA_MASK), "\x0f\x0b\xc3", 3);
}

static void port_out(u16 port, u8 value)
{
	if (port == 0x3eb)
		vm.lcr = value;
	if (port == 0x3e8 && !(vm.lcr & 0x80) && vm.serial_used < sizeof(vm.serial) - 1)
		vm.serial[vm.serial_used++] = (char)value;
}

/* One instruction that a process may not execute. Returns its length, 0 if not known. */
static int emulate(greg_t *r)
{
	const u8 *code = mem((u64)r[REG_RIP]);
	u32 msr = (u32)r[REG_RCX];

	switch (code[0]) {
	case 0xfa: return 1; /* cli */
	case 0xec: r[REG_RAX] = (r[REG_RAX] & ~0xff) | 0x60; return 1;
	case 0xee: port_out((u16)r[REG_RDX], (u8)r[REG_RAX]); return 1;
	case 0x0f: break;
	default: return 0;
	}
	switch (code[1]) {
	case 0x01: return code[2] == 0x5c && code[3] == 0x24 ? 5 : code[2] >> 6 == 0 ? 7 : 4;
	case 0x20: r[REG_RAX] = 0; return 3;
	case 0x22: return 3;
	case 0x0b: /* patched cpuid, or the hypercall page */
		if (((u64)r[REG_RIP] & HV_PAGE_GPA_MASK) ==
		    (vm.msr[HV_MSR_HYPERCALL - HV_MSR_FIRST] & HV_PAGE_GPA_MASK))
			r[REG_RAX] = (greg_t)hypercall(r);
		else
			cpuid_leaf(r);
		return 2;
	case 0x30:
	case 0x32:
		if (msr - HV_MSR_FIRST >= HV_MSR_COUNT)
			return 0;
		if (code[1] == 0x30) {
			write_msr(msr, (u64)r[REG_RDX] << 32 | (u32)r[REG_RAX]);
		} else {
			u64 v = msr == HV_MSR_TIME_REF_COUNT ? vm.time += 10
							     : vm.msr[msr - HV_MSR_FIRST];
			r[REG_RAX] = (u32)v;
			r[REG_RDX] = (greg_t)(v >> 32);
		}
		return 2;
	default: return 0;
	}
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	u64 rip = (u64)r[REG_RIP];
	int length;

	(void)info;
	if (signal == SIGTRAP)
		siglongjmp(out, RESET);
	if (rip == FIX_KERNEL + 0x200) {
		vm.zero_page = (u64)r[REG_RSI];
		siglongjmp(out, ENTERED_KERNEL);
	}
	length = rip >= FIX_BASE && rip < FIX_BASE + FIX_MEMORY_SIZE ? emulate(r) : 0;
	if (!length) {
		vm.stuck_at = rip;
		siglongjmp(out, UNKNOWN_INSTRUCTION);
	}
	r[REG_RIP] += length;
}

/* ---- the image */

static u64 load_shim(void)
{
	int fd = open(SHIM_FILE, O_RDONLY);
	Elf64_Ehdr eh;
	u32 patched = 0;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &eh, sizeof(eh), 0), sizeof(eh));
	for (int i = 0; i < eh.e_phnum; i++) {
		Elf64_Phdr ph;

		assert_int_equal(
			pread(fd, &ph, sizeof(ph), (off_t)(eh.e_phoff + (u64)i * sizeof(ph))),
			sizeof(ph));
		if (ph.p_type != PT_LOAD)
			continue;
		assert_true(ph.p_paddr + ph.p_memsz <= FIX_SHIM_SIZE);
		assert_int_equal(
			pread(fd, mem(FIX_SHIM + ph.p_paddr), ph.p_filesz, (off_t)ph.p_offset),
			ph.p_filesz);
		/* cpuid does not fault in a process; ud2 does. */
		for (u64 k = 0; ph.p_flags & PF_X && k + 1 < ph.p_filesz; k++)
			if (get_le16(mem(FIX_SHIM + ph.p_paddr + k)) == 0xa20f) {
				put_le16(mem(FIX_SHIM + ph.p_paddr + k), 0x0b0f);
				patched++;
			}
	}
	close(fd);
	assert_true(patched >= 2 && patched < 12);
	return FIX_SHIM + eh.e_entry;
}

static void put_cmdline(u16 policy, const char *text)
{
	struct shim_cmdline *page = (void *)mem(FIX_CMDLINE);

	page->policy = policy;
	page->length = (u16)strlen(text);
	memcpy(page->text, text, page->length);
}

static int setup(void **state)
{
	struct fix_tree tree = fix_tree_default();
	struct shim_params params = fix_params();
	void *p = mmap(mem(FIX_BASE), FIX_MEMORY_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	(void)state;
	assert_ptr_equal(p, mem(FIX_BASE));
	memset(&vm, 0, sizeof(vm));
	memcpy(mem(FIX_KERNEL + 0x200), "\x0f\x0b", 2);
	for (u32 i = 0; i < FIX_INITRD_SIZE; i++)
		mem(FIX_INITRD)[i] = (u8)(i * 7);
	params.initrd_crc = crc32(0, mem(FIX_INITRD), FIX_INITRD_SIZE);
	memcpy(mem(FIX_PARAMS), &params, sizeof(params));
	put_cmdline(SHIM_CMDLINE_APPEND_CHOSEN, "measured=1");
	fix_tree_write(mem(FIX_HOST_DT), &tree);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	signal(SIGSEGV, SIG_DFL);
	signal(SIGILL, SIG_DFL);
	signal(SIGTRAP, SIG_DFL);
	return 0;
}

/* cmocka has its own handlers, from after the setup function on. */
static void take_signals(void)
{
	static u8 handler_stack[65536];
	const stack_t alt = {.ss_sp = handler_stack, .ss_size = sizeof(handler_stack)};
	const struct sigaction sa = {.sa_sigaction = on_fault,
				     .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	sigaltstack(&alt, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	sigaction(SIGTRAP, &sa, NULL);
}

static enum outcome run(void)
{
	u64 entry = load_shim();
	int rc;

	take_signals();
	rc = sigsetjmp(out, 1);
	if (rc == 0)
		__asm__ volatile("jmp *%0" : : "r"(entry), "S"(FIX_PARAMS - FIX_SHIM) : "memory");
	if (rc == UNKNOWN_INSTRUCTION)
		fprintf(stderr, "stuck at %llx\n", (unsigned long long)(vm.stuck_at - FIX_SHIM));
	return (enum outcome)rc;
}

static const char *crash_text(void)
{
	static char text[512];
	u64 length = vm.msr[HV_MSR_CRASH_P4 - HV_MSR_FIRST];

	assert_true(vm.msr[HV_MSR_CRASH_CTL - HV_MSR_FIRST] & HV_CRASH_CTL_NOTIFY);
	assert_true(length < sizeof(text));
	memcpy(text, mem(vm.msr[HV_MSR_CRASH_P4 - 1 - HV_MSR_FIRST]), length);
	text[length] = 0;
	return text;
}

/* ---- tests */

static void boots(void **state)
{
	const u8 *zp;
	const char *line;
	const struct shim_log *log = (void *)mem(FIX_LOG);
	const struct boot_setup_data *dtb;
	const void *fdt;

	(void)state;
	assert_int_equal(run(), ENTERED_KERNEL);
	zp = mem(vm.zero_page);
	assert_int_equal(get_le32(zp + 0x218), FIX_INITRD);
	assert_int_equal(get_le32(zp + 0x21c), FIX_INITRD_SIZE);
	line = (const char *)mem(get_le32(zp + 0x228));
	assert_non_null(strstr(line, "console=ttyS2,115200 measured=1 loglevel=4"));
	dtb = (const void *)mem(get_le64(zp + 0x250));
	assert_int_equal(dtb->type, BOOT_SETUP_DTB);
	fdt = dtb + 1;
	assert_int_equal(fdt_check_full(fdt, dtb->len), 0);
	assert_true(fdt_path_offset(fdt, "/bus/vmbus") > 0);
	/* The hypervisor interface is given back. */
	assert_int_equal(vm.msr[HV_MSR_HYPERCALL - HV_MSR_FIRST], 0);
	assert_int_equal(vm.msr[0], 0);
	assert_int_equal(log->dropped, 0);
	assert_int_equal(log->capacity, SHIM_LOG_PAGES * PAGE_SIZE - 6);
	assert_non_null(strstr(vm.serial, "shim: kernel entry 8200200"));
}

/* The same memory again, with everything that the first run left in it */
static void boots_again_in_dirty_memory(void **state)
{
	(void)state;
	assert_int_equal(run(), ENTERED_KERNEL);
	memset(vm.msr, 0, sizeof(vm.msr));
	assert_int_equal(run(), ENTERED_KERNEL);
}

static void damaged_initrd(void **state)
{
	(void)state;
	mem(FIX_INITRD)[100] ^= 1;
	assert_int_equal(run(), RESET);
	assert_non_null(strstr(crash_text(), "initrd is damaged"));
	assert_non_null(strstr(vm.serial, "shim: panic: initrd is damaged"));
}

static void no_device_tree(void **state)
{
	(void)state;
	memset(mem(FIX_HOST_DT), 0, 4096);
	assert_int_equal(run(), RESET);
	assert_string_equal(crash_text(), "host device tree: there is none");
}

static void bad_parameters(void **state)
{
	struct shim_params params = fix_params();

	(void)state;
	params.log_buffer = 0x7fffffffffff0000;
	memcpy(mem(FIX_PARAMS), &params, sizeof(params));
	assert_int_equal(run(), RESET);
	assert_non_null(strstr(crash_text(), "shim parameters: log buffer"));
}

static void wrong_vp_index(void **state)
{
	(void)state;
	vm.wrong_vp_index = true;
	assert_int_equal(run(), RESET);
	assert_string_equal(crash_text(), "processor 0 (APIC id 0) has VP index 1");
}

/* Each kind of isolation stops; none tells the text to the host by the crash registers. */
static void isolated(void **state)
{
	struct shim_params params = fix_params();

	(void)state;
	vm.privileges = HV_PRIV_ISOLATION;
	assert_int_equal(run(), RESET);
	assert_int_equal(vm.msr[HV_MSR_CRASH_CTL - HV_MSR_FIRST], 0);
	assert_non_null(strstr(vm.serial, "VBS isolation"));

	vm.serial_used = 0;
	params.isolation = SHIM_ISOLATION_SNP;
	memcpy(mem(FIX_PARAMS), &params, sizeof(params));
	assert_int_equal(run(), RESET);
	assert_int_equal(vm.serial_used, 0);
	assert_non_null(strstr((char *)mem(FIX_LOG + 6), "SEV-SNP isolation is not supported"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(boots, setup, teardown),
		cmocka_unit_test_setup_teardown(boots_again_in_dirty_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_initrd, setup, teardown),
		cmocka_unit_test_setup_teardown(no_device_tree, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_parameters, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_vp_index, setup, teardown),
		cmocka_unit_test_setup_teardown(isolated, setup, teardown),
	};

	if (access(SHIM_FILE, R_OK)) {
		fprintf(stderr, "[  SKIPPED ] shim_run: no " SHIM_FILE "\n");
		return 0;
	}
	return cmocka_run_group_tests_name("shim_run", tests, NULL, NULL);
}
