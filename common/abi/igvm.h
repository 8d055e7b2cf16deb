/*
 * On-disk layout of IGVM files: fixed headers, variable header types and their contents.
 * All integers are little endian; file offsets count from the start of the file.
 * Source: the IGVM format definition (microsoft/igvm: igvm_defs/src/lib.rs).
 */
#ifndef PARAPET_COMMON_ABI_IGVM_H
#define PARAPET_COMMON_ABI_IGVM_H

#include "common/types.h"

#define IGVM_MAGIC     0x4d564749u /* "IGVM" */
#define IGVM_PAGE_SIZE 4096u

struct igvm_fixed_header_v1 {
	u32 magic;
	u32 format_version;
	u32 variable_header_offset;
	u32 variable_header_size;
	u32 total_file_size;
	u32 checksum; /* CRC-32 of the fixed header (this field 0) and the variable headers */
};
_Static_assert(sizeof(struct igvm_fixed_header_v1) == 24, "IGVM");

enum igvm_arch { IGVM_ARCH_X64 = 0, IGVM_ARCH_AARCH64 = 1 };

struct igvm_fixed_header_v2 {
	struct igvm_fixed_header_v1 v1;
	u32 architecture; /* enum igvm_arch */
	u32 page_size;
};
_Static_assert(sizeof(struct igvm_fixed_header_v2) == 32, "IGVM");

/* In front of each variable header; the next one starts at a multiple of 8 */
struct igvm_tlv {
	u32 type;
	u32 length; /* of the content, without padding */
};
_Static_assert(sizeof(struct igvm_tlv) == 8, "IGVM");

/* Sections: a type's range decides, and sections come in this order */
#define IGVM_PLATFORM_FIRST   0x001u
#define IGVM_PLATFORM_LAST    0x100u
#define IGVM_INIT_FIRST	      0x101u
#define IGVM_INIT_LAST	      0x200u
#define IGVM_DIRECTIVE_FIRST  0x301u
#define IGVM_DIRECTIVE_LAST   0x400u
#define IGVM_TYPE_IS_OPTIONAL 0x80000000u /* unknown types with this bit may be skipped */

enum igvm_type {
	IGVM_SUPPORTED_PLATFORM = 0x001,
	IGVM_GUEST_POLICY = 0x101,
	IGVM_RELOCATABLE_REGION = 0x102,
	IGVM_PAGE_TABLE_RELOCATION = 0x103,
	IGVM_CORIM_DOCUMENT = 0x104,
	IGVM_CORIM_SIGNATURE = 0x105,
	IGVM_CCA_POLICY = 0x106,
	IGVM_PARAMETER_AREA = 0x301,
	IGVM_PAGE_DATA = 0x302,
	IGVM_PARAMETER_INSERT = 0x303,
	IGVM_VP_CONTEXT = 0x304,
	IGVM_REQUIRED_MEMORY = 0x305,
	IGVM_VP_COUNT = 0x307,
	IGVM_SRAT = 0x308,
	IGVM_MADT = 0x309,
	IGVM_MMIO_RANGES = 0x30a,
	IGVM_SNP_ID_BLOCK = 0x30b,
	IGVM_MEMORY_MAP = 0x30c,
	IGVM_ERROR_RANGE = 0x30d,
	IGVM_COMMAND_LINE = 0x30e,
	IGVM_SLIT = 0x30f,
	IGVM_PPTT = 0x310,
	IGVM_VBS_MEASUREMENT = 0x311,
	IGVM_DEVICE_TREE = 0x312,
	IGVM_ENVIRONMENT_INFO = 0x313,
};

enum igvm_platform_type {
	IGVM_PLATFORM_NATIVE = 0,
	IGVM_PLATFORM_VSM = 1, /* VBS, and an OpenHCL image without isolation */
	IGVM_PLATFORM_SEV_SNP = 2,
	IGVM_PLATFORM_TDX = 3,
	IGVM_PLATFORM_SEV = 4,
	IGVM_PLATFORM_SEV_ES = 5,
	IGVM_PLATFORM_CCA = 6,
	IGVM_PLATFORM_TYPES
};

struct igvm_supported_platform {
	u32 mask; /* exactly one bit, which other headers' masks refer to */
	u8 highest_vtl;
	u8 platform_type; /* enum igvm_platform_type */
	u16 platform_version;
	u64 shared_gpa_boundary;
};
_Static_assert(sizeof(struct igvm_supported_platform) == 16, "IGVM");

struct igvm_guest_policy {
	u64 policy;
	u32 mask;
	u32 reserved;
};
_Static_assert(sizeof(struct igvm_guest_policy) == 16, "IGVM");

#define IGVM_RELOC_IS_VTL2    BIT(0)
#define IGVM_RELOC_APPLY_PC   BIT(1)
#define IGVM_RELOC_APPLY_GDTR BIT(2)
struct igvm_relocatable_region {
	u32 mask;
	u16 vp_index;
	u8 vtl;
	u8 flags;
	u64 alignment;
	u64 gpa;
	u64 size;
	u64 minimum_gpa;
	u64 maximum_gpa;
};
_Static_assert(sizeof(struct igvm_relocatable_region) == 48, "IGVM");

struct igvm_page_table_relocation {
	u32 mask;
	u16 vp_index;
	u8 vtl;
	u8 reserved;
	u64 gpa;
	u64 size;
	u64 used_size; /* bytes from gpa that hold tables; the rest is free for new ones */
};
_Static_assert(sizeof(struct igvm_page_table_relocation) == 32, "IGVM");

struct igvm_corim {
	u32 mask;
	u32 file_offset;
	u32 size_bytes;
	u32 reserved;
};
_Static_assert(sizeof(struct igvm_corim) == 16, "IGVM");

struct igvm_cca_policy {
	u32 mask;
	u32 reserved;
	u64 required_zeroes;
	u64 required_ones;
	u8 hash_algorithm;
	u8 lfa_policy;
	u8 reserved2[6];
};
_Static_assert(sizeof(struct igvm_cca_policy) == 32, "IGVM");

struct igvm_parameter_area {
	u64 number_of_bytes;
	u32 index;
	u32 file_offset; /* 0: zero filled */
};
_Static_assert(sizeof(struct igvm_parameter_area) == 16, "IGVM");

/* Content of every type that names a place in a parameter area for the host to fill */
struct igvm_parameter {
	u32 area;
	u32 byte_offset;
};
_Static_assert(sizeof(struct igvm_parameter) == 8, "IGVM");

struct igvm_parameter_insert {
	u64 gpa;
	u32 mask;
	u32 area;
};
_Static_assert(sizeof(struct igvm_parameter_insert) == 16, "IGVM");

#define IGVM_PAGE_2MB	     BIT(0)
#define IGVM_PAGE_UNMEASURED BIT(1)
#define IGVM_PAGE_SHARED     BIT(2)
enum igvm_page_type {
	IGVM_PAGE_NORMAL = 0,
	IGVM_PAGE_SECRETS = 1,
	IGVM_PAGE_CPUID_DATA = 2,
	IGVM_PAGE_CPUID_XF = 3,
};
struct igvm_page_data {
	u64 gpa;
	u32 mask;
	u32 file_offset; /* 0: a page of zeros */
	u32 flags;
	u16 data_type; /* enum igvm_page_type */
	u16 reserved;
};
_Static_assert(sizeof(struct igvm_page_data) == 24, "IGVM");

/* 20 bytes in the file: packed, as u64 alignment would round the size to 24 */
struct igvm_vp_context {
	u64 gpa; /* VMSA page of SNP and SEV-ES, else 0 */
	u32 mask;
	u32 file_offset;
	u16 vp_index;
	u16 reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct igvm_vp_context) == 20, "IGVM");

#define IGVM_MEMORY_VTL2_PROTECTABLE BIT(0)
struct igvm_required_memory {
	u64 gpa;
	u32 mask;
	u32 number_of_bytes;
	u32 flags;
	u32 reserved;
};
_Static_assert(sizeof(struct igvm_required_memory) == 24, "IGVM");

struct igvm_error_range {
	u64 gpa;
	u32 mask;
	u32 size_bytes;
};
_Static_assert(sizeof(struct igvm_error_range) == 16, "IGVM");

/* Numbers little endian, zero extended to 72 bytes */
struct igvm_snp_signature {
	u8 r[72];
	u8 s[72];
} __attribute__((packed));
struct igvm_snp_public_key {
	u32 curve;
	u32 reserved;
	u8 qx[72];
	u8 qy[72];
} __attribute__((packed));
struct igvm_snp_id_block {
	u32 mask;
	u8 author_key_enabled;
	u8 reserved[3];
	u8 ld[48];
	u8 family_id[16];
	u8 image_id[16];
	u32 version;
	u32 guest_svn;
	u32 id_key_algorithm;
	u32 author_key_algorithm;
	struct igvm_snp_signature id_key_signature;
	struct igvm_snp_public_key id_public_key;
	struct igvm_snp_signature author_key_signature;
	struct igvm_snp_public_key author_public_key;
} __attribute__((packed));
_Static_assert(sizeof(struct igvm_snp_id_block) == 696, "IGVM");

struct igvm_vbs_measurement {
	u32 mask;
	u32 version;
	u32 product_id;
	u32 module_id;
	u32 security_version;
	u32 policy_flags;
	u32 boot_digest_algo;
	u32 signing_algo;
	u8 boot_digest[64];
	u8 signature[256];
	u8 public_key[512];
} __attribute__((packed));
_Static_assert(sizeof(struct igvm_vbs_measurement) == 864, "IGVM");

/* VP context data of the VSM platform: u32 count, then records without padding */
struct igvm_vbs_record {
	u8 vtl;
	u32 name; /* enum igvm_x64_register: Hyper-V register names */
	u8 mbz[11];
	u8 value[16];
} __attribute__((packed));
_Static_assert(sizeof(struct igvm_vbs_record) == 32, "IGVM");

/* Forms of igvm_vbs_record.value other than a u64 */
struct igvm_table_register {
	u16 mbz[3];
	u16 limit;
	u64 base;
};
_Static_assert(sizeof(struct igvm_table_register) == 16, "IGVM");
struct igvm_segment_register {
	u64 base;
	u32 limit;
	u16 selector;
	u16 attributes; /* type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D 14, G 15 */
};
_Static_assert(sizeof(struct igvm_segment_register) == 16, "IGVM");

enum igvm_x64_register {
	IGVM_X64_RSP = 0x20004,
	IGVM_X64_RBP = 0x20005,
	IGVM_X64_RSI = 0x20006,
	IGVM_X64_R8 = 0x20008,
	IGVM_X64_R9 = 0x20009,
	IGVM_X64_R10 = 0x2000a,
	IGVM_X64_R11 = 0x2000b,
	IGVM_X64_R12 = 0x2000c,
	IGVM_X64_RIP = 0x20010,
	IGVM_X64_RFLAGS = 0x20011,
	IGVM_X64_CR0 = 0x40000,
	IGVM_X64_CR3 = 0x40002,
	IGVM_X64_CR4 = 0x40003,
	IGVM_X64_ES = 0x60000,
	IGVM_X64_CS = 0x60001,
	IGVM_X64_SS = 0x60002,
	IGVM_X64_DS = 0x60003,
	IGVM_X64_FS = 0x60004,
	IGVM_X64_GS = 0x60005,
	IGVM_X64_TR = 0x60007,
	IGVM_X64_IDTR = 0x70000,
	IGVM_X64_GDTR = 0x70001,
	IGVM_X64_EFER = 0x80001,
	IGVM_X64_PAT = 0x80004,
	IGVM_X64_MTRR_DEF_TYPE = 0x8000e,
	IGVM_X64_MTRR_PHYS_BASE0 = 0x80010,
	IGVM_X64_MTRR_PHYS_BASE4 = 0x80014,
	IGVM_X64_MTRR_PHYS_MASK0 = 0x80040,
	IGVM_X64_MTRR_PHYS_MASK4 = 0x80044,
	IGVM_X64_MTRR_FIX64K_00000 = 0x80070,
	IGVM_X64_MTRR_FIX16K_80000 = 0x80071,
	IGVM_X64_MTRR_FIX4K_E0000 = 0x80077,
	IGVM_X64_MTRR_FIX4K_F8000 = 0x8007a,
};

#define IGVM_AARCH64_PC	   0x20022u
#define IGVM_AARCH64_TTBR0 0x40005u

/* VP context data of the NATIVE platform: this, then zeros to a page */
struct igvm_native_context {
	u64 gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
	u64 rip;
	u64 rflags;
	u64 idtr_base;
	u16 idtr_limit;
	u16 reserved[2];
	u16 gdtr_limit;
	u64 gdtr_base;
	u16 code_selector;
	u16 code_attributes;
	u32 code_base;
	u32 code_limit;
	u16 data_selector;
	u16 data_attributes;
	u32 data_base;
	u32 data_limit;
	u64 gs_base;
	u64 cr0;
	u64 cr3;
	u64 cr4;
	u64 efer;
};
_Static_assert(sizeof(struct igvm_native_context) == 0xe8, "IGVM");

#define IGVM_CCA_CONTEXT_BYTES 80

/* What the host writes for IGVM_MMIO_RANGES and IGVM_MEMORY_MAP */
struct igvm_memory_range {
	u64 start_page;
	u64 page_count;
};
struct igvm_mmio_ranges {
	struct igvm_memory_range range[2];
};
_Static_assert(sizeof(struct igvm_mmio_ranges) == 32, "IGVM");
struct igvm_memory_map_entry {
	u64 start_page;
	u64 page_count; /* 0 ends the list */
	u16 type;	/* enum igvm_memory_type */
	u16 flags;
	u32 reserved;
};
_Static_assert(sizeof(struct igvm_memory_map_entry) == 24, "IGVM");
/* Also the device tree property microsoft,igvm-type */
enum igvm_memory_type {
	IGVM_MEMORY_RAM = 0,
	IGVM_MEMORY_PLATFORM_RESERVED = 1,
	IGVM_MEMORY_PERSISTENT = 2,
	IGVM_MEMORY_TYPE_VTL2_PROTECTABLE = 3,
};

#endif
