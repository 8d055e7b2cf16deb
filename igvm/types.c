/* Tables of IGVM header types, platforms and registers: names, sizes, and error texts. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "igvm/internal.h"

#define TYPE(code, structure, mask, data, text)                       \
	{                                                             \
		code, (u16)sizeof(struct structure), mask, data, text \
	}
#define PARAMETER(code, text) TYPE(code, igvm_parameter, -1, -1, text)

static const struct igvm_type_info types[] = {
	TYPE(IGVM_SUPPORTED_PLATFORM, igvm_supported_platform, 0, -1, "supported-platform"),
	TYPE(IGVM_GUEST_POLICY, igvm_guest_policy, 8, -1, "guest-policy"),
	TYPE(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, 0, -1, "relocatable-region"),
	TYPE(IGVM_PAGE_TABLE_RELOCATION, igvm_page_table_relocation, 0, -1,
	     "page-table-relocation"),
	TYPE(IGVM_CORIM_DOCUMENT, igvm_corim, 0, 4, "corim-document"),
	TYPE(IGVM_CORIM_SIGNATURE, igvm_corim, 0, 4, "corim-signature"),
	TYPE(IGVM_CCA_POLICY, igvm_cca_policy, 0, -1, "cca-policy"),
	TYPE(IGVM_PARAMETER_AREA, igvm_parameter_area, -1, 12, "parameter-area"),
	TYPE(IGVM_PAGE_DATA, igvm_page_data, 8, 12, "page-data"),
	TYPE(IGVM_PARAMETER_INSERT, igvm_parameter_insert, 8, -1, "parameter-insert"),
	TYPE(IGVM_VP_CONTEXT, igvm_vp_context, 8, 12, "vp-context"),
	TYPE(IGVM_REQUIRED_MEMORY, igvm_required_memory, 8, -1, "required-memory"),
	PARAMETER(IGVM_VP_COUNT, "vp-count"),
	PARAMETER(IGVM_SRAT, "srat"),
	PARAMETER(IGVM_MADT, "madt"),
	PARAMETER(IGVM_MMIO_RANGES, "mmio-ranges"),
	TYPE(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, 0, -1, "snp-id-block"),
	PARAMETER(IGVM_MEMORY_MAP, "memory-map"),
	TYPE(IGVM_ERROR_RANGE, igvm_error_range, 8, -1, "error-range"),
	PARAMETER(IGVM_COMMAND_LINE, "command-line"),
	PARAMETER(IGVM_SLIT, "slit"),
	PARAMETER(IGVM_PPTT, "pptt"),
	TYPE(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, 0, -1, "vbs-measurement"),
	PARAMETER(IGVM_DEVICE_TREE, "device-tree"),
	PARAMETER(IGVM_ENVIRONMENT_INFO, "environment-info"),
};

const struct igvm_type_info *igvm_type_info(u32 type)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].type == type)
			return &types[i];
	}
	return NULL;
}

const char *igvm_type_name(u32 type)
{
	const struct igvm_type_info *info = igvm_type_info(type);

	return info ? info->name : "unknown";
}

int igvm_section(u32 type)
{
	type &= ~IGVM_TYPE_IS_OPTIONAL;
	if (type >= IGVM_PLATFORM_FIRST && type <= IGVM_PLATFORM_LAST)
		return 1;
	if (type >= IGVM_INIT_FIRST && type <= IGVM_INIT_LAST)
		return 2;
	if (type >= IGVM_DIRECTIVE_FIRST && type <= IGVM_DIRECTIVE_LAST)
		return 3;
	return 0;
}

bool igvm_is_parameter(u32 type)
{
	switch (type) {
	case IGVM_VP_COUNT:
	case IGVM_SRAT:
	case IGVM_MADT:
	case IGVM_MMIO_RANGES:
	case IGVM_MEMORY_MAP:
	case IGVM_COMMAND_LINE:
	case IGVM_SLIT:
	case IGVM_PPTT:
	case IGVM_DEVICE_TREE:
	case IGVM_ENVIRONMENT_INFO: return true;
	}
	return false;
}

const char *igvm_platform_name(u32 platform_type)
{
	static const char *const names[IGVM_PLATFORM_TYPES] = {
		"native", "vsm", "sev-snp", "tdx", "sev", "sev-es", "cca",
	};

	return platform_type < IGVM_PLATFORM_TYPES ? names[platform_type] : "unknown";
}

static const struct register_info {
	u32 name;
	const char *text;
	enum igvm_register_form form;
} x64_registers[] = {
	{IGVM_X64_RSP, "rsp", IGVM_REG_U64},
	{IGVM_X64_RBP, "rbp", IGVM_REG_U64},
	{IGVM_X64_RSI, "rsi", IGVM_REG_U64},
	{IGVM_X64_R8, "r8", IGVM_REG_U64},
	{IGVM_X64_R9, "r9", IGVM_REG_U64},
	{IGVM_X64_R10, "r10", IGVM_REG_U64},
	{IGVM_X64_R11, "r11", IGVM_REG_U64},
	{IGVM_X64_R12, "r12", IGVM_REG_U64},
	{IGVM_X64_RIP, "rip", IGVM_REG_U64},
	{IGVM_X64_RFLAGS, "rflags", IGVM_REG_U64},
	{IGVM_X64_CR0, "cr0", IGVM_REG_U64},
	{IGVM_X64_CR3, "cr3", IGVM_REG_U64},
	{IGVM_X64_CR4, "cr4", IGVM_REG_U64},
	{IGVM_X64_ES, "es", IGVM_REG_SEGMENT},
	{IGVM_X64_CS, "cs", IGVM_REG_SEGMENT},
	{IGVM_X64_SS, "ss", IGVM_REG_SEGMENT},
	{IGVM_X64_DS, "ds", IGVM_REG_SEGMENT},
	{IGVM_X64_FS, "fs", IGVM_REG_SEGMENT},
	{IGVM_X64_GS, "gs", IGVM_REG_SEGMENT},
	{IGVM_X64_TR, "tr", IGVM_REG_SEGMENT},
	{IGVM_X64_IDTR, "idtr", IGVM_REG_TABLE},
	{IGVM_X64_GDTR, "gdtr", IGVM_REG_TABLE},
	{IGVM_X64_EFER, "efer", IGVM_REG_U64},
	{IGVM_X64_PAT, "pat", IGVM_REG_U64},
	{IGVM_X64_MTRR_DEF_TYPE, "mtrr-def-type", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_BASE0, "mtrr-phys-base0", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_BASE0 + 1, "mtrr-phys-base1", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_BASE0 + 2, "mtrr-phys-base2", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_BASE0 + 3, "mtrr-phys-base3", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_BASE4, "mtrr-phys-base4", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_MASK0, "mtrr-phys-mask0", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_MASK0 + 1, "mtrr-phys-mask1", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_MASK0 + 2, "mtrr-phys-mask2", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_MASK0 + 3, "mtrr-phys-mask3", IGVM_REG_U64},
	{IGVM_X64_MTRR_PHYS_MASK4, "mtrr-phys-mask4", IGVM_REG_U64},
	{IGVM_X64_MTRR_FIX64K_00000, "mtrr-fix64k-00000", IGVM_REG_U64},
	{IGVM_X64_MTRR_FIX16K_80000, "mtrr-fix16k-80000", IGVM_REG_U64},
	{IGVM_X64_MTRR_FIX4K_E0000, "mtrr-fix4k-e0000", IGVM_REG_U64},
	{IGVM_X64_MTRR_FIX4K_E0000 + 1, "mtrr-fix4k-e8000", IGVM_REG_U64},
	{IGVM_X64_MTRR_FIX4K_E0000 + 2, "mtrr-fix4k-f0000", IGVM_REG_U64},
	{IGVM_X64_MTRR_FIX4K_F8000, "mtrr-fix4k-f8000", IGVM_REG_U64},
};

static const struct register_info *x64_register(u32 name)
{
	for (size_t i = 0; i < ARRAY_SIZE(x64_registers); i++) {
		if (x64_registers[i].name == name)
			return &x64_registers[i];
	}
	return NULL;
}

const char *igvm_register_name(u32 name)
{
	const struct register_info *r = x64_register(name);

	return r ? r->text : NULL;
}

static const struct {
	u32 name;
	const char *text;
} aarch64_registers[] = {
	{0x20000, "x0"},    {0x20001, "x1"},   {0x20002, "x2"},	   {0x20003, "x3"},
	{0x20004, "x4"},    {0x20005, "x5"},   {0x20006, "x6"},	   {0x20007, "x7"},
	{0x20022, "pc"},    {0x20023, "cpsr"}, {0x40002, "sctlr"}, {0x40005, "ttbr0"},
	{0x40006, "ttbr1"}, {0x40007, "tcr"},  {0x4000b, "mair"},  {0x4000c, "vbar"},
};

const char *igvm_register_name_for(enum igvm_arch arch, u32 name)
{
	if (arch == IGVM_ARCH_X64)
		return igvm_register_name(name);
	for (size_t i = 0; i < ARRAY_SIZE(aarch64_registers); i++) {
		if (aarch64_registers[i].name == name)
			return aarch64_registers[i].text;
	}
	return NULL;
}

int igvm_register_form(enum igvm_arch arch, u32 name)
{
	if (arch == IGVM_ARCH_X64) {
		const struct register_info *r = x64_register(name);

		return r ? (int)r->form : -1;
	}
	return igvm_register_name_for(arch, name) ? IGVM_REG_U64 : -1;
}

int igvm_fail(struct igvm_error *err, u32 header, u64 offset, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->header = header;
		err->offset = offset;
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

int igvm_fail_memory(struct igvm_error *err)
{
	igvm_fail(err, IGVM_NO_HEADER, 0, "out of memory");
	return -ENOMEM;
}

const char *igvm_error_string(const struct igvm_error *err, char *buf, size_t len)
{
	if (err->header != IGVM_NO_HEADER)
		snprintf(buf, len, "header %u at 0x%llx: %s", err->header,
			 (unsigned long long)err->offset, err->text);
	else
		snprintf(buf, len, "%s", err->text);
	return buf;
}
