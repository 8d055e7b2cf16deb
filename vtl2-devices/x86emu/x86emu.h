/*
 * x86 instructions on behalf of a trapped guest: find which access left RAM (host), and carry out
 * one instruction against device models (paravisor). Registers, page tables and code are hostile
 * input.
 *
 * Sources: AMD64 Architecture Programmer's Manual volumes 2 and 3, Intel SDM volumes 1 to 3.
 */
#ifndef PARAPET_VTL2_DEVICES_X86EMU_X86EMU_H
#define PARAPET_VTL2_DEVICES_X86EMU_X86EMU_H

#include "common/abi/hv.h"
#include "common/types.h"

#define X86_INSN_MAX 15

/* Index into x86_cpu.gpr: hardware order, as in the Hyper-V register page. */
enum { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI };
/* Index into x86_cpu.seg: hardware order, as in the Hyper-V register page. */
enum { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_SEG_COUNT };

#define X86_FLAG_CF   BIT(0)
#define X86_FLAG_PF   BIT(2)
#define X86_FLAG_AF   BIT(4)
#define X86_FLAG_ZF   BIT(6)
#define X86_FLAG_SF   BIT(7)
#define X86_FLAG_TF   BIT(8)
#define X86_FLAG_IF   BIT(9)
#define X86_FLAG_DF   BIT(10)
#define X86_FLAG_OF   BIT(11)
#define X86_FLAG_IOPL (3ull << 12)
#define X86_FLAG_RF   BIT(16)
#define X86_FLAG_VM   BIT(17)
#define X86_FLAG_AC   BIT(18)

#define X86_CR0_PE   BIT(0)
#define X86_CR0_WP   BIT(16)
#define X86_CR0_PG   BIT(31)
#define X86_CR4_PSE  BIT(4)
#define X86_CR4_PAE  BIT(5)
#define X86_CR4_LA57 BIT(12)
#define X86_CR4_SMEP BIT(20)
#define X86_CR4_SMAP BIT(21)
#define X86_CR4_PKE  BIT(22)
#define X86_EFER_LME BIT(8)
#define X86_EFER_LMA BIT(10)
#define X86_EFER_NXE BIT(11)

#define X86_VECTOR_DE 0
#define X86_VECTOR_BR 5
#define X86_VECTOR_UD 6
#define X86_VECTOR_SS 12
#define X86_VECTOR_GP 13
#define X86_VECTOR_PF 14

/*
 * The part of a virtual processor that instructions here can see. The caller fills all of it; the
 * emulator changes gpr, rip, rflags and the XMM part of *fxsave, each only when an instruction (or
 * one iteration of a repeated one) is complete. CPL is SS.DPL, as in hardware.
 */
struct x86_cpu {
	u64 gpr[16]; /* RAX RCX RDX RBX RSP RBP RSI RDI R8..R15 */
	u64 rip, rflags;
	struct hv_segment seg[X86_SEG_COUNT];
	u64 cr0, cr3, cr4, efer;
	u32 pkru;     /* only read when CR4.PKE is set */
	u8 phys_bits; /* MAXPHYADDR; 0 or anything outside 32..52 counts as 52 */
	u8 *fxsave; /* 512 bytes in FXSAVE layout, or NULL: SSE instructions are then unsupported */
};

/* Values equal HV_ACCESS_*. */
enum x86_access { X86_READ = 0, X86_WRITE = 1, X86_EXECUTE = 2 };

/*
 * Memory and devices. Memory calls never cross a 4 KiB page. RAM calls return 0, or nonzero when
 * the range is not RAM for this access (a hole; a write to ROM too) and must then not have had an
 * effect. Device calls cannot fail; unknown addresses read as all ones.
 */
struct x86_ops {
	void *ctx;
	int (*ram_read)(void *ctx, u64 gpa, void *buf, u32 len);
	int (*ram_write)(void *ctx, u64 gpa, const void *buf, u32 len);
	/*
	 * Compare and swap of 4 or 8 aligned bytes; 0 done, > 0 value differed (retry), < 0 not
	 * RAM. Only used for accessed and dirty bits; NULL: these bits are left alone.
	 */
	int (*ram_cmpxchg)(void *ctx, u64 gpa, u64 expected, u64 desired, u32 len);
	/* x86_find_access only: is this page open for this access? NULL: ask ram_read and refuse
	 * nothing else. */
	bool (*is_ram)(void *ctx, u64 gpa, enum x86_access access);
	/* len is 1, 2, 4 or 8, at any alignment. Not used by x86_find_access: may be NULL there. */
	void (*mmio_read)(void *ctx, u64 gpa, void *buf, u32 len);
	void (*mmio_write)(void *ctx, u64 gpa, const void *buf, u32 len);
	/* size is 1, 2 or 4; x86_emulate_io only. */
	u32 (*io_in)(void *ctx, u16 port, u32 size);
	void (*io_out)(void *ctx, u16 port, u32 size, u32 value);
};

/* Exception to inject: error_code is valid when has_error_code, cr2 when vector is X86_VECTOR_PF.
 */
struct x86_fault {
	u8 vector;
	bool has_error_code;
	u32 error_code;
	u64 cr2;
};

enum x86_result {
	X86_OK,
	X86_FAULT,	 /* inject *fault; RIP is at the instruction */
	X86_HOLE,	 /* a page-table entry or code byte is not in RAM */
	X86_NOT_FOUND,	 /* x86_find_access: every access of the instruction is in RAM */
	X86_UNSUPPORTED, /* valid encoding perhaps, but not one that is emulated; nothing changed */
	X86_RETRY,	 /* code changed under us, enter the guest again; nothing changed */
};

/* Privilege of the current code, 0..3 (real mode 0, virtual-8086 mode 3). */
unsigned x86_cpl(const struct x86_cpu *cpu);
/* Bits of the code segment: 16, 32 or 64. */
unsigned x86_code_bits(const struct x86_cpu *cpu);

#define X86_WALK_USER	BIT(0) /* check as CPL 3 */
#define X86_WALK_SET_AD BIT(1) /* set accessed and dirty bits (needs ops->ram_cmpxchg) */
#define X86_WALK_IMPLICIT                                                      \
	BIT(2) /* supervisor access to a system table: RFLAGS.AC does not help \
		*/

/*
 * Linear address to guest physical address: no paging, 32-bit, PAE, 4 and 5 levels.
 * X86_OK: *gpa is the byte. X86_HOLE: *gpa is the page-table entry that is not in RAM. X86_FAULT:
 * *fault.
 */
enum x86_result x86_translate(const struct x86_cpu *cpu, const struct x86_ops *ops, u64 gva,
			      enum x86_access access, u32 walk, u64 *gpa, struct x86_fault *fault);

/* Why and where a fetch or an access left RAM; fields as in the Hyper-V memory intercept message.
 */
struct x86_hit {
	u64 gpa;
	u64 gva;	/* linear address of the access; when a page-table entry is in the hole, the
			   address that was being translated */
	bool gva_valid; /* false when the hole was met while walking page tables */
	enum x86_access access;
	u8 insn_len; /* 0: not decoded (the fetch failed) */
	u8 byte_count;
	u8 bytes[16]; /* code at CS:RIP, byte_count of them */
};

/*
 * Reads up to 15 code bytes at CS:RIP, across a page boundary. X86_OK: hit->byte_count >= 1 bytes;
 * a second page that cannot be read only shortens the result. Else hit->gpa (X86_HOLE) or *fault.
 */
enum x86_result x86_fetch(const struct x86_cpu *cpu, const struct x86_ops *ops, struct x86_hit *hit,
			  struct x86_fault *fault);

/*
 * Which access of the instruction at CS:RIP is not in RAM? For a vCPU that stopped with its
 * registers untouched. Checks the fetch, then every explicit and implicit memory operand in the
 * order of the instruction, both pages of each, and the page tables on the way.
 *
 * Access type: a store is X86_WRITE, a load X86_READ, code X86_EXECUTE. Read-modify-write is
 * X86_WRITE when the page is closed for writing (also when it is closed for both), as hardware
 * checks the write permission first. A page-table entry in the hole is X86_READ.
 *
 * X86_OK: *hit is filled. X86_NOT_FOUND: nothing leaves RAM (event delivery, descriptor tables, or
 * the memory map has changed: run again, but not forever). X86_FAULT: the guest's own page tables
 * refuse the access. X86_UNSUPPORTED: bytes do not decode. hit's bytes are filled whenever they
 * could be read.
 */
enum x86_result x86_find_access(const struct x86_cpu *cpu, const struct x86_ops *ops,
				struct x86_hit *hit, struct x86_fault *fault);

/*
 * Executes the one instruction at CS:RIP, accesses to RAM and devices mixed as they come. bytes are
 * from the intercept message; with n == 0, or when they end too early, the code is fetched here.
 *
 * X86_OK: registers advanced. A repeated string instruction does a bounded number of iterations;
 * RIP then stays and RCX, RSI, RDI tell the progress: just enter the guest again. Port instructions
 * are refused (X86_RETRY): their permission was not checked by hardware on this path. Not modelled:
 * single step, debug registers, alignment checks, atomicity of LOCK on RAM.
 */
enum x86_result x86_emulate(struct x86_cpu *cpu, const struct x86_ops *ops, const u8 *bytes, u32 n,
			    struct x86_fault *fault);

/* The access that the processor allowed, from the I/O port intercept message. */
struct x86_io {
	u16 port;
	u8 size; /* 1, 2 or 4 */
	bool write;
};

/*
 * Same for IN, OUT, INS, OUTS. The instruction must be the one that was intercepted: if its port,
 * size or direction differ from *io (the code was changed meanwhile), the result is X86_RETRY.
 */
enum x86_result x86_emulate_io(struct x86_cpu *cpu, const struct x86_ops *ops, const u8 *bytes,
			       u32 n, const struct x86_io *io, struct x86_fault *fault);

#endif
