/*
 * Runs the real shim.elf as a part of this process: its privileged instructions fault, and the
 * handler plays the processor and the hypervisor. The shim's page tables become the protections of
 * this process's memory, its descriptor tables receive faults. Ends at the kernel entry or at the
 * shim's reset.
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

#define MSR_EFER    0xc0000080u
#define EFER_NXE    BIT(11)
#define CR0_INITIAL 0x80000021u
#define CR0_WP	    BIT(16)

#define VECTOR_GP 13
#define VECTOR_PF 14

/* What happens at the first read of the reference time, after the shim has its own page tables */
enum trouble { NO_TROUBLE, UNKNOWN_MSR, STACK_USED_UP };

static sigjmp_buf out;
static struct {
	u64 cr0, cr2, cr3, efer;
	u64 gdt, idt;
	u16 tr;
	enum trouble trouble;
	u64 kernel_rsp;
	u64 code_page;
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

/* ---- the processor: page tables */

#define PTE_PRESENT BIT(0)
#define PTE_WRITE   BIT(1)
#define PTE_USER    BIT(2)
#define PTE_LARGE   BIT(7)
#define PTE_NX	    BIT(63)
#define PTE_ADDRESS 0x000ffffffffff000ull

/* PROT_* of a page, as the tables say; 0: not mapped. *shift: of its leaf */
static int walk(u64 gva, u32 *shift)
{
	u64 table = vm.cr3, entry;
	bool write = true, exec = true;

	for (*shift = 39;; *shift -= 9) {
		entry = get_le64(mem(table) + (gva >> *shift & 511) * 8);
		if (!(entry & PTE_PRESENT))
			return 0;
		write = write && entry & PTE_WRITE;
		exec = exec && !(entry & PTE_NX);
		if (*shift == 12 || entry & PTE_LARGE)
			break;
		table = entry & PTE_ADDRESS;
	}
	/* Anything but an identity map in supervisor pages: nothing that this test could follow */
	if ((entry & PTE_ADDRESS) != (gva & ~((1ull << *shift) - 1)) || entry & PTE_USER)
		return 0;
	return PROT_READ | (write ? PROT_WRITE : 0) | (exec ? PROT_EXEC : 0);
}

static int page_access(u64 gva)
{
	u32 shift;

	return walk(gva, &shift);
}

static void set_memory_access(u64 gpa, u64 size, int prot)
{
	if (mprotect(mem(gpa), size, prot))
		abort();
}

static void load_cr3(u64 value)
{
	static int prot[FIX_MEMORY_SIZE / PAGE_SIZE];

	vm.cr3 = value;
	for (u32 i = 0; i < ARRAY_SIZE(prot); i++)
		prot[i] = page_access(FIX_BASE + i * PAGE_SIZE);
	for (u32 i = 0, n; i < ARRAY_SIZE(prot); i += n) {
		for (n = 1; i + n < ARRAY_SIZE(prot) && prot[i + n] == prot[i]; n++)
			;
		set_memory_access(FIX_BASE + i * PAGE_SIZE, n * PAGE_SIZE, prot[i]);
	}
}

/* The only unmapped page of the shim */
static u64 stack_guard(void)
{
	u64 page = FIX_SHIM;

	while (page < FIX_SHIM + FIX_SHIM_SIZE && page_access(page))
		page += PAGE_SIZE;
	return page;
}

/* ---- the processor: exceptions */

static void push(greg_t *r, u64 value)
{
	r[REG_RSP] -= 8;
	put_le64(mem((u64)r[REG_RSP]), value);
}

static void deliver(greg_t *r, u32 vector, u64 error)
{
	const u8 *gate = mem(vm.idt + vector * 16);
	const u8 *task = mem(vm.gdt + vm.tr);
	u64 code = get_le64(mem(vm.gdt + get_le16(gate + 2)));
	u64 tss = get_le16(task + 2) | (u64)task[4] << 16 | (u64)task[7] << 24 |
		  (u64)get_le32(task + 8) << 32;
	u64 rsp = (u64)r[REG_RSP];

	/* 64-bit code, present, ring 0; interrupt gate; available task segment */
	if (code >> 40 != 0xaf9b || gate[5] != 0x8e || !gate[4] || task[5] != 0x89)
		siglongjmp(out, UNKNOWN_INSTRUCTION);
	r[REG_RSP] = (greg_t)(get_le64(mem(tss + 28 + gate[4] * 8)) & ~15ull);
	push(r, 0x18);
	push(r, rsp);
	push(r, 2);
	push(r, 0x10);
	push(r, (u64)r[REG_RIP]);
	push(r, error);
	r[REG_RIP] = (greg_t)(get_le16(gate) | (u64)get_le16(gate + 6) << 16 |
			      (u64)get_le32(gate + 8) << 32);
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
	if (msr == HV_MSR_HYPERCALL && value & HV_PAGE_ENABLE) {
		vm.code_page = value & HV_PAGE_GPA_MASK;
		set_memory_access(vm.code_page, PAGE_SIZE, PROT_READ | PROT_WRITE);
		memcpy(mem(vm.code_page), "\x0f\x0b\xc3", 3);
		set_memory_access(vm.code_page, PAGE_SIZE, page_access(vm.code_page));
	}
}

/* False: the instruction raises an exception instead, or goes on elsewhere */
static bool read_time(greg_t *r, u64 *value)
{
	enum trouble trouble = vm.trouble;

	*value = vm.time += 10;
	vm.trouble = NO_TROUBLE;
	if (trouble == UNKNOWN_MSR) {
		deliver(r, VECTOR_GP, 0);
		return false;
	}
	if (trouble == STACK_USED_UP) {
		u64 caller = get_le64(mem((u64)r[REG_RSP]));

		r[REG_RSP] = (greg_t)(stack_guard() + PAGE_SIZE);
		put_le64(mem((u64)r[REG_RSP]), caller);
	}
	return true;
}

static void port_out(u16 port, u8 value)
{
	if (port == 0x3eb)
		vm.lcr = value;
	if (port == 0x3e8 && !(vm.lcr & 0x80) && vm.serial_used < sizeof(vm.serial) - 1)
		vm.serial[vm.serial_used++] = (char)value;
}

/* Length of ModRM with what belongs to it; *address: of its operand in memory */
static int operand(const greg_t *r, const u8 *modrm, u64 *address)
{
	u8 mod = modrm[0] >> 6, rm = modrm[0] & 7;
	const u8 *disp = modrm + 1;

	if (mod == 0 && rm == 5) {
		*address = (u64)r[REG_RIP] + 7 + (u64)(s32)get_le32(disp);
		return 5;
	}
	if (mod == 3 || (rm == 4 && *disp++ != 0x24))
		return 0;
	*address = (u64)r[(const int[]){REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
					REG_RSI, REG_RDI}[rm]];
	if (mod == 1)
		*address += (u64)(int8_t)*disp;
	if (mod == 2)
		*address += (u64)(s32)get_le32(disp);
	return (int)(disp - modrm) + (mod == 2 ? 4 : mod);
}

static int load_table(const greg_t *r, const u8 *modrm)
{
	u8 which = modrm[0] >> 3 & 7;
	u64 address;
	int length = operand(r, modrm, &address);

	if (!length || (which != 2 && which != 3))
		return 0;
	*(which == 2 ? &vm.gdt : &vm.idt) = get_le64(mem(address + 2));
	return 2 + length;
}

static int control_register(bool write, u8 modrm, greg_t *value)
{
	u64 other = 0;
	u64 *const cr[8] = {&vm.cr0, NULL, &vm.cr2, &vm.cr3, &other};
	u32 n = modrm >> 3 & 7;

	if (!cr[n])
		return 0;
	if (!write)
		*value = (greg_t)*cr[n];
	else if (n == 3)
		load_cr3((u64)*value);
	else
		*cr[n] = (u64)*value;
	return 3;
}

static int access_msr(greg_t *r, bool write)
{
	u32 msr = (u32)r[REG_RCX];
	u64 v = (u64)r[REG_RDX] << 32 | (u32)r[REG_RAX];

	if (msr != MSR_EFER && msr - HV_MSR_FIRST >= HV_MSR_COUNT)
		return 0;
	if (write) {
		if (msr == MSR_EFER)
			vm.efer = v;
		else
			write_msr(msr, v);
		return 2;
	}
	if (msr == MSR_EFER)
		v = vm.efer;
	else if (msr != HV_MSR_TIME_REF_COUNT)
		v = vm.msr[msr - HV_MSR_FIRST];
	else if (!read_time(r, &v))
		return -1;
	r[REG_RAX] = (u32)v;
	r[REG_RDX] = (greg_t)(v >> 32);
	return 2;
}

/* One instruction that a process may not execute. Returns its length, 0 if not known, -1: RIP set.
 */
static int emulate(greg_t *r)
{
	static const int gpr[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				    REG_RSI, REG_RDI, REG_R8,  REG_R9,	REG_R10, REG_R11,
				    REG_R12, REG_R13, REG_R14, REG_R15};
	const u8 *code = mem((u64)r[REG_RIP]);
	int length;
	bool high = code[0] == 0x41; /* r8 to r15 */

	code += high;
	switch (code[0]) {
	case 0xfa: return 1; /* cli */
	case 0xec: r[REG_RAX] = (r[REG_RAX] & ~0xff) | 0x60; return 1;
	case 0xee: port_out((u16)r[REG_RDX], (u8)r[REG_RAX]); return 1;
	case 0x0f: break;
	default: return 0;
	}
	switch (code[1]) {
	case 0x00:
		if (code[2] >> 3 != 0x1b) /* ltr register */
			return 0;
		vm.tr = (u16)r[gpr[high * 8 + (code[2] & 7)]];
		return 3 + high;
	case 0x01: return load_table(r, code + 2);
	case 0x20:
	case 0x22:
		length = control_register(code[1] == 0x22, code[2],
					  &r[gpr[high * 8 + (code[2] & 7)]]);
		return length ? length + high : 0;
	case 0x0b: /* patched cpuid, or the hypercall page */
		if (((u64)r[REG_RIP] & HV_PAGE_GPA_MASK) ==
		    (vm.msr[HV_MSR_HYPERCALL - HV_MSR_FIRST] & HV_PAGE_GPA_MASK))
			r[REG_RAX] = (greg_t)hypercall(r);
		else
			cpuid_leaf(r);
		return 2;
	case 0x30:
	case 0x32: return access_msr(r, code[1] == 0x30);
	default: return 0;
	}
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	u64 rip = (u64)r[REG_RIP];
	int length;

	if (signal == SIGTRAP)
		siglongjmp(out, RESET);
	if (rip == FIX_KERNEL + 0x200 && signal == SIGILL) {
		vm.zero_page = (u64)r[REG_RSI];
		vm.kernel_rsp = (u64)r[REG_RSP];
		siglongjmp(out, ENTERED_KERNEL);
	}
	vm.stuck_at = rip;
	if (rip < FIX_BASE || rip >= FIX_BASE + FIX_MEMORY_SIZE)
		siglongjmp(out, UNKNOWN_INSTRUCTION);
	if (signal == SIGSEGV && r[REG_TRAPNO] == VECTOR_PF) {
		vm.cr2 = (u64)(uintptr_t)info->si_addr;
		deliver(r, VECTOR_PF, (u64)r[REG_ERR]);
		return;
	}
	length = emulate(r);
	if (!length)
		siglongjmp(out, UNKNOWN_INSTRUCTION);
	if (length > 0)
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
	vm.efer = EFER_NXE;
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

	vm.cr0 = CR0_INITIAL;
	take_signals();
	rc = sigsetjmp(out, 1);
	if (rc == 0)
		__asm__ volatile("jmp *%0" : : "r"(entry), "S"(FIX_PARAMS - FIX_SHIM) : "memory");
	set_memory_access(FIX_BASE, FIX_MEMORY_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
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

/* ---- the address space that the kernel starts in */

static int segment_prot(u32 flags)
{
	return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
	       (flags & PF_X ? PROT_EXEC : 0);
}

/* Access of a page of the shim by its ELF file, 0 outside; the guard is not known there. */
static int shim_prot(u64 page)
{
	const Elf64_Ehdr *eh = (const void *)mem(FIX_SHIM);
	const Elf64_Phdr *ph = (const void *)mem(FIX_SHIM + eh->e_phoff);

	if (page == vm.code_page)
		return PROT_READ | PROT_EXEC;
	for (u32 i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && page >= FIX_SHIM + ph[i].p_paddr &&
		    page < FIX_SHIM + ph[i].p_paddr + ph[i].p_memsz)
			return segment_prot(ph[i].p_flags);
	return 0;
}

static bool in(u64 page, u64 start, u64 size)
{
	return page >= start && page < start + size;
}

static int expected_prot(u64 page)
{
	if (in(page, FIX_KERNEL, FIX_SHIM - FIX_KERNEL))
		return PROT_READ | PROT_WRITE | PROT_EXEC;
	if (in(page, FIX_SHIM, FIX_SHIM_SIZE))
		return shim_prot(page);
	if (in(page, FIX_LOG, SHIM_LOG_PAGES * PAGE_SIZE))
		return PROT_READ | PROT_WRITE;
	if (page == FIX_CMDLINE || in(page, FIX_INITRD, FIX_INITRD_SIZE) ||
	    in(page, FIX_HOST_DT, SHIM_CONFIG_DT_PAGES * PAGE_SIZE) ||
	    page == FIX_CONFIG + SHIM_CONFIG_IMPORTED * PAGE_SIZE)
		return PROT_READ;
	return 0;
}

/* Bytes that the tables map, wherever */
static u64 mapped_below(u64 table, u32 shift)
{
	u64 sum = 0;

	for (u32 i = 0; i < 512; i++) {
		u64 entry = get_le64(mem(table) + i * 8);

		if (!(entry & PTE_PRESENT))
			continue;
		sum += shift == 12 || entry & PTE_LARGE
			       ? 1ull << shift
			       : mapped_below(entry & PTE_ADDRESS, shift - 9);
	}
	return sum;
}

static void own_page_tables(void **state)
{
	u64 mapped = 0, guard;
	u32 shift;

	(void)state;
	vm.efer = 0;
	assert_int_equal(run(), ENTERED_KERNEL);
	assert_true(vm.cr0 & CR0_WP);
	assert_true(vm.efer & EFER_NXE);
	/* Out of the image builder's tables */
	assert_true(in(vm.cr3, FIX_SHIM, FIX_SHIM_SIZE));
	guard = stack_guard();
	for (u64 page = FIX_BASE; page < FIX_BASE + FIX_MEMORY_SIZE; page += PAGE_SIZE) {
		int prot = page_access(page);

		if (prot != (page == guard ? 0 : expected_prot(page)))
			fail_msg("%llx has access %x, not %x", (unsigned long long)page, prot,
				 expected_prot(page));
		mapped += prot ? PAGE_SIZE : 0;
	}
	/* The guard is where the stack grows to. */
	assert_true(shim_prot(guard) & PROT_WRITE);
	assert_true(in(vm.kernel_rsp, guard + PAGE_SIZE, 8 * PAGE_SIZE));
	/* Nothing else is mapped: not page 0, not VTL0's memory. */
	assert_int_equal(mapped_below(vm.cr3, 39), mapped);
	/* A kernel of two megabytes at its alignment is one leaf. */
	assert_int_equal(walk(FIX_KERNEL, &shift), PROT_READ | PROT_WRITE | PROT_EXEC);
	assert_int_equal(shift, 21);
}

/* ---- faults of the shim */

static void exception_is_reported(void **state)
{
	(void)state;
	vm.trouble = UNKNOWN_MSR;
	assert_int_equal(run(), RESET);
	assert_non_null(strstr(crash_text(), "processor exception 13, error code 0, at 8"));
}

static void stack_overflow_is_reported(void **state)
{
	const char *at;

	(void)state;
	vm.trouble = STACK_USED_UP;
	assert_int_equal(run(), RESET);
	assert_non_null(strstr(crash_text(), "processor exception 14"));
	at = strstr(crash_text(), "CR2 ");
	assert_non_null(at);
	assert_true(in(strtoull(at + 4, NULL, 16), stack_guard(), PAGE_SIZE));
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
		cmocka_unit_test_setup_teardown(own_page_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(exception_is_reported, setup, teardown),
		cmocka_unit_test_setup_teardown(stack_overflow_is_reported, setup, teardown),
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
