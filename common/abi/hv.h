/*
 * Hyper-V hypervisor interface: CPUID leaves, synthetic MSRs, hypercalls, VP registers, messages.
 * Names and layouts: Hypervisor Top-Level Functional Specification (TLFS); where the TLFS and
 * Linux's include/hyperv differ, Linux's layout is the one in use.
 */
#ifndef PARAPET_COMMON_ABI_HV_H
#define PARAPET_COMMON_ABI_HV_H

#include "common/types.h"

#define HV_PARTITION_ID_SELF (~0ull)
#define HV_VP_INDEX_SELF     0xfffffffeu
#define HV_ANY_VP	     0xffffffffu

/* ---- CPUID ---- */
#define HV_CPUID_MAX_AND_VENDOR	 0x40000000u
#define HV_CPUID_INTERFACE	 0x40000001u
#define HV_CPUID_VERSION	 0x40000002u
#define HV_CPUID_FEATURES	 0x40000003u
#define HV_CPUID_RECOMMENDATIONS 0x40000004u
#define HV_CPUID_LIMITS		 0x40000005u
#define HV_CPUID_HW_FEATURES	 0x40000006u
#define HV_CPUID_ISOLATION	 0x4000000cu
#define HV_CPUID_STACK_VENDOR	 0x40000080u
#define HV_CPUID_STACK_INTERFACE 0x40000081u
#define HV_CPUID_STACK_FEATURES	 0x40000082u

/* Leaf 40000003 EAX and EBX: partition privileges */
#define HV_PRIV_VP_RUNTIME     BIT(0)
#define HV_PRIV_TIME_REF_COUNT BIT(1)
#define HV_PRIV_SYNIC	       BIT(2)
#define HV_PRIV_STIMER	       BIT(3)
#define HV_PRIV_APIC	       BIT(4)
#define HV_PRIV_HYPERCALL      BIT(5)
#define HV_PRIV_VP_INDEX       BIT(6)
#define HV_PRIV_RESET	       BIT(7)
#define HV_PRIV_REFERENCE_TSC  BIT(9)
#define HV_PRIV_GUEST_IDLE     BIT(10)
#define HV_PRIV_FREQUENCY_MSRS BIT(11)
#define HV_PRIV_TSC_INVARIANT  BIT(15)
#define HV_PRIV_POST_MESSAGES  BIT(32 + 4)
#define HV_PRIV_SIGNAL_EVENTS  BIT(32 + 5)
#define HV_PRIV_VSM	       BIT(32 + 16)
#define HV_PRIV_VP_REGISTERS   BIT(32 + 17)
#define HV_PRIV_START_VP       BIT(32 + 21)
#define HV_PRIV_ISOLATION      BIT(32 + 22)
/* Leaf 40000003 EDX */
#define HV_FEAT_FREQUENCY_MSRS BIT(8)
#define HV_FEAT_CRASH_MSRS     BIT(10)
#define HV_FEAT_STIMER_DIRECT  BIT(19)
/* Leaf 40000004 EAX */
#define HV_HINT_APIC_MSRS	  BIT(3)
#define HV_HINT_RELAXED_TIMING	  BIT(5)
#define HV_HINT_DEPRECATE_AUTOEOI BIT(9)
#define HV_HINT_CLUSTER_IPI	  BIT(10)
#define HV_HINT_EX_MASKS	  BIT(11)

/* ---- synthetic MSRs ---- */
#define HV_MSR_FIRST		     0x40000000u
#define HV_MSR_COUNT		     0x200u
#define HV_MSR_GUEST_OS_ID	     0x40000000u
#define HV_MSR_HYPERCALL	     0x40000001u
#define HV_MSR_VP_INDEX		     0x40000002u
#define HV_MSR_RESET		     0x40000003u
#define HV_MSR_VP_RUNTIME	     0x40000010u
#define HV_MSR_TIME_REF_COUNT	     0x40000020u
#define HV_MSR_REFERENCE_TSC	     0x40000021u
#define HV_MSR_TSC_FREQUENCY	     0x40000022u
#define HV_MSR_APIC_FREQUENCY	     0x40000023u
#define HV_MSR_EOI		     0x40000070u
#define HV_MSR_ICR		     0x40000071u
#define HV_MSR_TPR		     0x40000072u
#define HV_MSR_VP_ASSIST_PAGE	     0x40000073u
#define HV_MSR_SCONTROL		     0x40000080u
#define HV_MSR_SVERSION		     0x40000081u
#define HV_MSR_SIEFP		     0x40000082u
#define HV_MSR_SIMP		     0x40000083u
#define HV_MSR_EOM		     0x40000084u
#define HV_MSR_SIRBP		     0x40000085u
#define HV_MSR_SINT0		     0x40000090u
#define HV_MSR_SINT15		     0x4000009fu
#define HV_MSR_STIMER0_CONFIG	     0x400000b0u
#define HV_MSR_STIMER3_COUNT	     0x400000b7u
#define HV_MSR_GUEST_IDLE	     0x400000f0u
#define HV_MSR_CRASH_P0		     0x40000100u
#define HV_MSR_CRASH_P4		     0x40000104u
#define HV_MSR_CRASH_CTL	     0x40000105u
#define HV_MSR_TSC_INVARIANT_CONTROL 0x40000118u

#define HV_CRASH_CTL_NOTIFY  BIT(63)
#define HV_CRASH_CTL_MESSAGE BIT(62)

/* Registers of the form "enable | page number" */
#define HV_PAGE_ENABLE	 BIT(0)
#define HV_PAGE_GPA_MASK (~0xfffull)

#define HV_SINT_COUNT	 16
#define HV_SINT_MASKED	 BIT(16)
#define HV_SINT_AUTO_EOI BIT(17)
#define HV_SINT_POLLING	 BIT(18)
#define HV_SINT_PROXY	 BIT(20)
#define HV_SINT_RESET	 0x10000u

#define HV_STIMER_COUNT	      4
#define HV_STIMER_ENABLE      BIT(0)
#define HV_STIMER_PERIODIC    BIT(1)
#define HV_STIMER_LAZY	      BIT(2)
#define HV_STIMER_AUTO_ENABLE BIT(3)
#define HV_STIMER_DIRECT      BIT(12)
#define HV_STIMER_VECTOR(c)   ((u8)((c) >> 4))
#define HV_STIMER_SINT(c)     ((u8)((c) >> 16 & 0xf))

/* ---- hypercalls ---- */
#define HV_CALL_FLUSH_VIRTUAL_ADDRESS_SPACE    0x0002
#define HV_CALL_FLUSH_VIRTUAL_ADDRESS_LIST     0x0003
#define HV_CALL_NOTIFY_LONG_SPIN_WAIT	       0x0008
#define HV_CALL_SEND_IPI		       0x000b
#define HV_CALL_MODIFY_VTL_PROTECTION_MASK     0x000c
#define HV_CALL_ENABLE_PARTITION_VTL	       0x000d
#define HV_CALL_ENABLE_VP_VTL		       0x000f
#define HV_CALL_VTL_CALL		       0x0011
#define HV_CALL_VTL_RETURN		       0x0012
#define HV_CALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX 0x0013
#define HV_CALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX  0x0014
#define HV_CALL_SEND_IPI_EX		       0x0015
#define HV_CALL_GET_PARTITION_ID	       0x0046
#define HV_CALL_INSTALL_INTERCEPT	       0x004d
#define HV_CALL_GET_VP_REGISTERS	       0x0050
#define HV_CALL_SET_VP_REGISTERS	       0x0051
#define HV_CALL_TRANSLATE_VIRTUAL_ADDRESS      0x0052
#define HV_CALL_POST_MESSAGE		       0x005c
#define HV_CALL_SIGNAL_EVENT		       0x005d
#define HV_CALL_RETARGET_INTERRUPT	       0x007e
#define HV_CALL_REGISTER_INTERCEPT_RESULT      0x0091
#define HV_CALL_ASSERT_VIRTUAL_INTERRUPT       0x0094
#define HV_CALL_START_VP		       0x0099
#define HV_CALL_GET_VP_INDEX_FROM_APIC_ID      0x009a
#define HV_CALL_TRANSLATE_VIRTUAL_ADDRESS_EX   0x00ac
#define HV_CALL_SIGNAL_EVENT_DIRECT	       0x00c0
#define HV_CALL_POST_MESSAGE_DIRECT	       0x00c1
#define HV_CALL_CHECK_SPARSE_GPA_PAGE_VTL      0x00d4
#define HV_CALL_ACCEPT_GPA_PAGES	       0x00d9
#define HV_CALL_EXT_QUERY_CAPABILITIES	       0x8001

#define HV_CONTROL_FAST BIT(16)
/* 30:27, 31 (nested), 47:44, 63:60 */
#define HV_CONTROL_RESERVED	0xf000f000f8000000ull
#define HV_CONTROL_CODE(c)	((u16)(c))
#define HV_CONTROL_VARHEAD(c)	((u32)((c) >> 17 & 0x3ff))
#define HV_CONTROL_REP_COUNT(c) ((u32)((c) >> 32 & 0xfff))
#define HV_CONTROL_REP_START(c) ((u32)((c) >> 48 & 0xfff))
#define HV_RESULT(status, reps) ((u64)(status) | (u64)(reps) << 32)

#define HV_STATUS_SUCCESS		  0x0000
#define HV_STATUS_INVALID_HYPERCALL_CODE  0x0002
#define HV_STATUS_INVALID_HYPERCALL_INPUT 0x0003
#define HV_STATUS_INVALID_ALIGNMENT	  0x0004
#define HV_STATUS_INVALID_PARAMETER	  0x0005
#define HV_STATUS_ACCESS_DENIED		  0x0006
#define HV_STATUS_OPERATION_DENIED	  0x0008
#define HV_STATUS_INSUFFICIENT_MEMORY	  0x000b
#define HV_STATUS_INVALID_PARTITION_ID	  0x000d
#define HV_STATUS_INVALID_VP_INDEX	  0x000e
#define HV_STATUS_INVALID_PORT_ID	  0x0011
#define HV_STATUS_INVALID_CONNECTION_ID	  0x0012
#define HV_STATUS_INSUFFICIENT_BUFFERS	  0x0013
#define HV_STATUS_INVALID_VP_STATE	  0x0015
#define HV_STATUS_INVALID_SYNIC_STATE	  0x0018
#define HV_STATUS_OBJECT_IN_USE		  0x0019
#define HV_STATUS_INVALID_REGISTER_VALUE  0x0050
#define HV_STATUS_VTL_ALREADY_ENABLED	  0x0086

/* Input VTL byte: bits 3:0 VTL, bit 4 use it */
#define HV_INPUT_VTL_USE 0x10
#define HV_INPUT_VTL0	 0x10
#define HV_INPUT_VTL2	 0x12

#define HV_MAP_GPA_PERMISSIONS_NONE 0x0
#define HV_MAP_GPA_READABLE	    0x1
#define HV_MAP_GPA_WRITABLE	    0x2
#define HV_MAP_GPA_PERMISSIONS_ALL  0xf

/* HvCallInstallIntercept */
enum hv_intercept_type {
	HV_INTERCEPT_X64_IO_PORT = 0x00,
	HV_INTERCEPT_X64_MSR = 0x01,
	HV_INTERCEPT_X64_CPUID = 0x02,
	HV_INTERCEPT_EXCEPTION = 0x03,
	HV_INTERCEPT_UNKNOWN_SYNIC_CONNECTION = 0x0d,
	HV_INTERCEPT_X64_APIC_EOI = 0x0e,
	HV_INTERCEPT_RETARGET_UNKNOWN_DEVICE = 0x0f,
	HV_INTERCEPT_X64_IO_PORT_RANGE = 0x11,
};
#define HV_INTERCEPT_ACCESS_READ    1u
#define HV_INTERCEPT_ACCESS_WRITE   2u
#define HV_INTERCEPT_ACCESS_EXECUTE 4u

struct hv_install_intercept {
	u64 partition_id;
	u32 access_mask;
	u32 type;
	u64 parameter;
};
_Static_assert(sizeof(struct hv_install_intercept) == 24, "TLFS");

/* HvCallAssertVirtualInterrupt */
struct hv_assert_interrupt {
	u64 partition_id;
	u64 control; /* 31:0 type, 32 level triggered, 33 logical destination */
	u64 destination;
	u32 vector;
	u8 target_vtl;
	u8 reserved[3];
};
_Static_assert(sizeof(struct hv_assert_interrupt) == 32, "TLFS");
enum hv_interrupt_type {
	HV_INTERRUPT_FIXED = 0,
	HV_INTERRUPT_LOWEST_PRIORITY = 1,
	HV_INTERRUPT_SMI = 2,
	HV_INTERRUPT_NMI = 4,
	HV_INTERRUPT_INIT = 5,
	HV_INTERRUPT_SIPI = 6,
	HV_INTERRUPT_EXTINT = 7,
};
#define HV_INTERRUPT_LEVEL   BIT(32)
#define HV_INTERRUPT_LOGICAL BIT(33)

/* HvCallGetVpRegisters / HvCallSetVpRegisters: this header, then names (u32) or pairs */
struct hv_vp_registers_header {
	u64 partition_id;
	u32 vp_index;
	u8 input_vtl;
	u8 reserved[3];
};
struct hv_register_value {
	u64 low, high;
};
struct hv_register_assoc {
	u32 name;
	u32 pad[3];
	struct hv_register_value value;
};
_Static_assert(sizeof(struct hv_register_assoc) == 32, "TLFS");

struct hv_segment {
	u64 base;
	u32 limit;
	u16 selector;
	u16 attributes; /* 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G */
};
struct hv_table {
	u16 pad[3];
	u16 limit;
	u64 base;
};
_Static_assert(sizeof(struct hv_segment) == 16 && sizeof(struct hv_table) == 16, "TLFS");

/* HvCallEnableVpVtl, HvCallStartVirtualProcessor */
struct hv_vp_context {
	u64 rip, rsp, rflags;
	struct hv_segment cs, ds, es, fs, gs, ss, tr, ldtr;
	struct hv_table idtr, gdtr;
	u64 efer, cr0, cr3, cr4, pat;
};
struct hv_start_vp {
	u64 partition_id;
	u32 vp_index;
	u8 target_vtl;
	u8 reserved[3];
	struct hv_vp_context context;
};
_Static_assert(sizeof(struct hv_start_vp) == 240, "TLFS");

struct hv_post_message {
	u32 connection_id;
	u32 reserved;
	u32 message_type;
	u32 payload_size;
	u8 payload[240];
};
_Static_assert(sizeof(struct hv_post_message) == 256, "TLFS");

/* HvCallRegisterInterceptResult, CPUID form */
struct hv_cpuid_result {
	u64 partition_id;
	u32 vp_index;
	u32 type; /* HV_INTERCEPT_X64_CPUID */
	u32 eax, ecx;
	u8 subleaf_specific;
	u8 always_override;
	u16 pad;
	u32 result[8]; /* eax, eax mask, ebx, ebx mask, ecx, ecx mask, edx, edx mask */
	u32 pad2;
};
_Static_assert(sizeof(struct hv_cpuid_result) == 64, "hvdef");

/* ---- VP registers ---- */
enum hv_register {
	HV_REG_EXPLICIT_SUSPEND = 0x00000,
	HV_REG_INTERNAL_ACTIVITY_STATE = 0x00004,
	HV_REG_HYPERVISOR_VERSION = 0x00100,
	HV_REG_CRASH_P0 = 0x00210,
	HV_REG_CRASH_CTL = 0x00215,
	HV_REG_PENDING_INTERRUPTION = 0x10002,
	HV_REG_INTERRUPT_STATE = 0x10003,
	HV_REG_PENDING_EVENT0 = 0x10004,
	HV_REG_PENDING_EVENT1 = 0x10005,
	HV_REG_DELIVERABILITY_NOTIFICATIONS = 0x10006,
	HV_REG_RAX = 0x20000,
	HV_REG_RCX,
	HV_REG_RDX,
	HV_REG_RBX,
	HV_REG_RSP,
	HV_REG_RBP,
	HV_REG_RSI,
	HV_REG_RDI,
	HV_REG_R8,
	HV_REG_R15 = 0x2000f,
	HV_REG_RIP = 0x20010,
	HV_REG_RFLAGS = 0x20011,
	HV_REG_XMM0 = 0x30000,
	HV_REG_XMM15 = 0x3000f,
	HV_REG_CR0 = 0x40000,
	HV_REG_CR2 = 0x40001,
	HV_REG_CR3 = 0x40002,
	HV_REG_CR4 = 0x40003,
	HV_REG_CR8 = 0x40004,
	HV_REG_XFEM = 0x40005,
	HV_REG_DR0 = 0x50000,
	HV_REG_DR6 = 0x50004,
	HV_REG_DR7 = 0x50005,
	HV_REG_ES = 0x60000,
	HV_REG_CS,
	HV_REG_SS,
	HV_REG_DS,
	HV_REG_FS,
	HV_REG_GS,
	HV_REG_LDTR,
	HV_REG_TR,
	HV_REG_IDTR = 0x70000,
	HV_REG_GDTR = 0x70001,
	HV_REG_TSC = 0x80000,
	HV_REG_EFER = 0x80001,
	HV_REG_KERNEL_GS_BASE = 0x80002,
	HV_REG_APIC_BASE = 0x80003,
	HV_REG_PAT = 0x80004,
	HV_REG_SYSENTER_CS = 0x80005,
	HV_REG_SYSENTER_EIP = 0x80006,
	HV_REG_SYSENTER_ESP = 0x80007,
	HV_REG_STAR = 0x80008,
	HV_REG_LSTAR = 0x80009,
	HV_REG_CSTAR = 0x8000a,
	HV_REG_SFMASK = 0x8000b,
	HV_REG_INITIAL_APIC_ID = 0x8000c,
	HV_REG_MTRR_CAP = 0x8000d,
	HV_REG_MTRR_DEF_TYPE = 0x8000e,
	HV_REG_MTRR_PHYS_BASE0 = 0x80010,
	HV_REG_MTRR_PHYS_MASK0 = 0x80040,
	HV_REG_MTRR_FIX64K_00000 = 0x80070,
	HV_REG_TSC_AUX = 0x8007b,
	HV_REG_HYPERCALL = 0x90001,
	HV_REG_GUEST_OS_ID = 0x90002,
	HV_REG_VP_INDEX = 0x90003,
	HV_REG_TIME_REF_COUNT = 0x90004,
	HV_REG_VP_ASSIST_PAGE = 0x90013,
	HV_REG_REFERENCE_TSC = 0x90017,
	HV_REG_REGISTER_PAGE = 0x9001c,
	HV_REG_SINT0 = 0xa0000,
	HV_REG_SCONTROL = 0xa0010,
	HV_REG_SIEFP = 0xa0012,
	HV_REG_SIMP = 0xa0013,
	HV_REG_VSM_CODE_PAGE_OFFSETS = 0xd0002,
	HV_REG_VSM_VP_STATUS = 0xd0003,
	HV_REG_VSM_PARTITION_STATUS = 0xd0004,
	HV_REG_VSM_VINA = 0xd0005,
	HV_REG_VSM_CAPABILITIES = 0xd0006,
	HV_REG_VSM_PARTITION_CONFIG = 0xd0007,
	HV_REG_GUEST_VSM_PARTITION_CONFIG = 0xd0008,
	HV_REG_VSM_VP_SECURE_CONFIG_VTL0 = 0xd0010,
	HV_REG_VSM_VP_WAIT_FOR_TLB_LOCK = 0xd0020,
};

#define HV_ACTIVITY_STARTUP_SUSPEND BIT(0)
#define HV_ACTIVITY_HALT_SUSPEND    BIT(1)

#define HV_VSM_CAP_DR6_SHARED		 BIT(0)
#define HV_VSM_CAP_INTERCEPT_PAGE	 BIT(27)
#define HV_VSM_CAP_RETURN_ACTION	 BIT(28)
#define HV_VSM_CAP_ALIAS_MAP		 BIT(29)
#define HV_VSM_CAP_INTERCEPT_NOT_PRESENT BIT(30)

#define HV_VSM_CONFIG_ENABLE_PROTECTION	      BIT(0)
#define HV_VSM_CONFIG_DEFAULT_PROTECTION      (0xfull << 1)
#define HV_VSM_CONFIG_ZERO_MEMORY_ON_RESET    BIT(5)
#define HV_VSM_CONFIG_INTERCEPT_VP_STARTUP    BIT(9)
#define HV_VSM_CONFIG_INTERCEPT_CPUID	      BIT(10)
#define HV_VSM_CONFIG_INTERCEPT_UNRECOVERABLE BIT(11)
#define HV_VSM_CONFIG_INTERCEPT_PAGE	      BIT(12)
#define HV_VSM_CONFIG_INTERCEPT_NOT_PRESENT   BIT(14)

/* PendingEvent0, low half */
#define HV_EVENT_PENDING       BIT(0)
#define HV_EVENT_EXCEPTION     (0ull << 1)
#define HV_EVENT_EXT_INTERRUPT (5ull << 1)
#define HV_EVENT_TYPE(v)       ((v) >> 1 & 7)

/* DeliverabilityNotifications */
#define HV_DELIVERABLE_NMI	 BIT(0)
#define HV_DELIVERABLE_INTERRUPT BIT(1)

/* Register page: written at VTL2 entry by intercept, read at VTL return */
struct hv_register_page {
	u16 version;
	u8 is_valid;
	u8 vtl;
	u32 dirty;
	u64 gpr[16]; /* RAX RCX RDX RBX RSP RBP RSI RDI R8..R15 */
	u64 rip;
	u64 rflags;
	u64 reserved;
	u8 xmm[6][16];
	struct hv_segment segment[6]; /* ES CS SS DS FS GS */
	u64 cr0, cr3, cr4, cr8, efer, dr7;
	u64 pending_interruption;
	u64 interrupt_state;
	u64 instruction_emulation_hints;
};
_Static_assert(offsetof(struct hv_register_page, rip) == 0x88, "TLFS");
_Static_assert(offsetof(struct hv_register_page, segment) == 0x100, "TLFS");
_Static_assert(offsetof(struct hv_register_page, cr0) == 0x160, "TLFS");
#define HV_REG_PAGE_DIRTY_GPRS	   BIT(0)
#define HV_REG_PAGE_DIRTY_RIP	   BIT(1)
#define HV_REG_PAGE_DIRTY_XMM	   BIT(2)
#define HV_REG_PAGE_DIRTY_SEGMENTS BIT(3)
#define HV_REG_PAGE_DIRTY_RFLAGS   BIT(4)

/* ---- messages ---- */
#define HV_MESSAGE_SIZE		256
#define HV_MESSAGE_PAYLOAD_SIZE 240
#define HV_MESSAGE_PENDING	1u /* flags */

struct hv_message {
	u32 type; /* 0: slot is empty */
	u8 payload_size;
	u8 flags;
	u16 reserved;
	u64 sender; /* port id or partition id */
	u8 payload[HV_MESSAGE_PAYLOAD_SIZE];
};
_Static_assert(sizeof(struct hv_message) == HV_MESSAGE_SIZE, "TLFS");

enum hv_message_type {
	HV_MSG_NONE = 0,
	HV_MSG_VMBUS = 1,
	HV_MSG_UNMAPPED_GPA = 0x80000000,
	HV_MSG_GPA_INTERCEPT = 0x80000001,
	HV_MSG_TIMER_EXPIRED = 0x80000010,
	HV_MSG_UNRECOVERABLE_EXCEPTION = 0x80000021,
	HV_MSG_HYPERCALL_INTERCEPT = 0x80000050,
	HV_MSG_SINT_DELIVERABLE = 0x80000062,
	HV_MSG_X64_IO_PORT = 0x80010000,
	HV_MSG_X64_MSR = 0x80010001,
	HV_MSG_X64_CPUID = 0x80010002,
	HV_MSG_X64_EXCEPTION = 0x80010003,
	HV_MSG_X64_APIC_EOI = 0x80010004,
	HV_MSG_X64_HALT = 0x80010007,
	HV_MSG_X64_INTERRUPTION_DELIVERABLE = 0x80010008,
};

#define HV_ACCESS_READ	  0
#define HV_ACCESS_WRITE	  1
#define HV_ACCESS_EXECUTE 2

struct hv_intercept_header {
	u32 vp_index;
	u8 instruction_length; /* 3:0 length, 7:4 CR8 */
	u8 access_type;
	u16 execution_state; /* 1:0 CPL, 2 CR0.PE, 3 CR0.AM, 4 EFER.LMA, 10:7 VTL, 12 shadow */
	struct hv_segment cs;
	u64 rip;
	u64 rflags;
};
_Static_assert(sizeof(struct hv_intercept_header) == 40, "TLFS");
#define HV_EXEC_CR0_PE		 BIT(2)
#define HV_EXEC_CR0_AM		 BIT(3)
#define HV_EXEC_EFER_LMA	 BIT(4)
#define HV_EXEC_INTERRUPT_SHADOW BIT(12)

struct hv_io_port_message {
	struct hv_intercept_header header;
	u16 port;
	u8 info; /* 2:0 size, 3 string, 4 rep */
	u8 instruction_byte_count;
	u32 reserved;
	u64 rax;
	u8 instruction[16];
	struct hv_segment ds, es;
	u64 rcx, rsi, rdi;
};
_Static_assert(sizeof(struct hv_io_port_message) == 128, "TLFS");
#define HV_IO_SIZE_MASK 7
#define HV_IO_STRING	BIT(3)
#define HV_IO_REP	BIT(4)

struct hv_memory_message {
	struct hv_intercept_header header;
	u32 cache_type;
	u8 instruction_byte_count;
	u8 info; /* 0 GVA valid, 1 translation valid */
	u8 tpr_priority;
	u8 reserved;
	u64 gva;
	u64 gpa;
	u8 instruction[16];
};
_Static_assert(sizeof(struct hv_memory_message) == 80, "TLFS");
#define HV_MEM_GVA_VALID BIT(0)

struct hv_msr_message {
	struct hv_intercept_header header;
	u32 msr;
	u32 reserved;
	u64 rdx, rax;
};
_Static_assert(sizeof(struct hv_msr_message) == 64, "TLFS");

struct hv_hypercall_message {
	struct hv_intercept_header header;
	u64 rax, rbx, rcx, rdx, r8, rsi, rdi;
	u8 xmm[6][16];
	u32 flags;
	u32 reserved[3];
};
_Static_assert(sizeof(struct hv_hypercall_message) == 208, "TLFS");

struct hv_eoi_message {
	u32 vp_index;
	u32 vector;
};

struct hv_deliverable_message {
	struct hv_intercept_header header;
	u8 type; /* 0 interrupt, 2 NMI */
	u8 reserved[7];
};
_Static_assert(sizeof(struct hv_deliverable_message) == 48, "TLFS");

/* ---- VP assist page ---- */
struct hv_vp_assist {
	u32 apic_assist;
	u32 reserved;
	u32 entry_reason;
	u32 vina;
	u64 rax;
	u64 rcx;
	u64 nested[4];
	u8 pad[0x70 - 0x40];
	struct hv_message intercept;
	u8 return_actions[256];
};
_Static_assert(offsetof(struct hv_vp_assist, intercept) == 0x70, "hvgdk");
_Static_assert(offsetof(struct hv_vp_assist, return_actions) == 0x170, "hvgdk");
enum hv_vtl_entry_reason {
	HV_VTL_ENTRY_VTL_CALL = 1,
	HV_VTL_ENTRY_INTERRUPT = 2,
	HV_VTL_ENTRY_INTERCEPT = 3,
};

/* ---- reference TSC page ---- */
struct hv_reference_tsc {
	volatile u32 sequence; /* 0: invalid, read HV_MSR_TIME_REF_COUNT */
	u32 reserved;
	volatile u64 scale;
	volatile s64 offset;
};

/* Message connection of the host's VMBus server: 4 | VTL << 22 | SINT << 4 */
#define HV_CONNECTION_VMBUS_VTL0  1u
#define HV_CONNECTION_VMBUS_MULTI 4u
#define HV_CONNECTION_VMBUS_VTL2  0x800024u
#define HV_CONNECTION_VMBUS_RELAY 0x800074u

#endif
