/* UEFI firmware for VTL0. Places and processor state: openvmm vm/loader/src/uefi. */
#include <string.h>

#include "common/bytes.h"
#include "igvm/cpu_state.h"
#include "igvm/internal.h"
#include "igvm/tables.h"
#include "igvm/uefi.h"

/* Firmware volume header */
#define FV_LENGTH	   0x20
#define FV_SIGNATURE	   0x28
#define FV_HEADER_LENGTH   0x30
#define FV_HEADER_MIN	   0x48
#define FV_SIGNATURE_VALUE 0x4856465fu /* "_FVH" */

/* Firmware file header */
#define FFS_TYPE	 0x12
#define FFS_SIZE	 0x14
#define FFS_HEADER	 0x18
#define FFS_TYPE_SECCORE 3

/* Section of a file */
#define SECTION_HEADER 4
#define SECTION_PE32   0x10
#define SECTION_TE     0x12

#define TE_HEADER	 40
#define TE_ENTRY	 8
#define TE_STRIPPED_SIZE 6
#define PE_ENTRY	 40 /* from "PE\0\0" */

#define CR0_PG_NE_MP_PE	     0x80000023ull
#define CR4_XMM_FXSR_MCE_PAE 0x660ull
#define EFER_NXE_LMA_LME     0xd00ull
#define MTRR_ENABLED	     0xc00ull
#define MTRR_ALL_WRITEBACK   0x0606060606060606ull

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, "uefi: " __VA_ARGS__)

/* A part of the file; reading beyond it is refused by whoever steps through it. */
struct span {
	const u8 *p;
	u64 len;
};

static u32 get_le24(const u8 *p)
{
	return p[0] | (u32)p[1] << 8 | (u32)p[2] << 16;
}

/* The sum over the header's 16-bit words is 0. */
static bool volume_header_is_valid(const u8 *fv, u32 header_len)
{
	u16 sum = 0;

	for (u32 i = 0; i < header_len; i += 2)
		sum = (u16)(sum + get_le16(fv + i));
	return sum == 0;
}

static int find_volume(const u8 *file, struct span *files, struct igvm_error *err)
{
	const u8 *fv = file + UEFI_SEC_VOLUME;
	u64 room = UEFI_BYTES - UEFI_SEC_VOLUME;
	u32 header_len = get_le16(fv + FV_HEADER_LENGTH);

	if (get_le32(fv + FV_SIGNATURE) != FV_SIGNATURE_VALUE)
		return FAIL("no firmware volume at 0x%llx of the file: not a firmware of this kind",
			    (unsigned long long)UEFI_SEC_VOLUME);
	if (get_le64(fv + FV_LENGTH) > room || header_len < FV_HEADER_MIN || header_len % 2 ||
	    header_len > get_le64(fv + FV_LENGTH) || !volume_header_is_valid(fv, header_len))
		return FAIL("the header of the firmware volume at 0x%llx is damaged",
			    (unsigned long long)UEFI_SEC_VOLUME);
	*files = (struct span){fv + header_len, get_le64(fv + FV_LENGTH) - header_len};
	return 0;
}

static int find_sec_core(const struct span *files, struct span *sections, struct igvm_error *err)
{
	u64 at = 0;

	while (at + FFS_HEADER <= files->len) {
		const u8 *file = files->p + at;
		u32 size = get_le24(file + FFS_SIZE);

		if (size < FFS_HEADER || size > files->len - at)
			break;
		if (file[FFS_TYPE] == FFS_TYPE_SECCORE) {
			*sections = (struct span){file + FFS_HEADER, size - FFS_HEADER};
			return 0;
		}
		at = ALIGN_UP(at + size, 8);
	}
	return FAIL("no SEC core in the firmware volume");
}

/* Offset of the entry point in a PE or TE image; 0 if it is neither */
static u64 entry_of(const struct span *image)
{
	const u8 *p = image->p;
	u64 at = 0, entry;

	if (image->len >= 64 && p[0] == 'M' && p[1] == 'Z')
		at = get_le32(p + 60);
	if (at > image->len || image->len - at < PE_ENTRY + 4)
		return 0;
	if (!memcmp(p + at, "PE\0\0", 4)) {
		entry = get_le32(p + at + PE_ENTRY);
	} else if (at == 0 && p[0] == 'V' && p[1] == 'Z') {
		/* Addresses count from an image whose headers have not been cut off */
		entry = (u64)get_le32(p + TE_ENTRY) + TE_HEADER;
		if (entry < get_le16(p + TE_STRIPPED_SIZE))
			return 0;
		entry -= get_le16(p + TE_STRIPPED_SIZE);
	} else {
		return 0;
	}
	return entry < image->len ? entry : 0;
}

static int find_entry(const struct span *sections, const u8 *file, u64 *entry,
		      struct igvm_error *err)
{
	u64 at = 0;

	while (at + SECTION_HEADER <= sections->len) {
		const u8 *s = sections->p + at;
		u32 size = get_le24(s);
		struct span image;
		u64 offset;

		if (size < SECTION_HEADER || size > sections->len - at)
			break;
		image = (struct span){s + SECTION_HEADER, size - SECTION_HEADER};
		if (s[3] == SECTION_PE32 || s[3] == SECTION_TE) {
			offset = entry_of(&image);
			if (!offset)
				return FAIL("the SEC core has no entry point");
			*entry = UEFI_BASE + (u64)(image.p - file) + offset;
			return 0;
		}
		at = ALIGN_UP(at + size, 4);
	}
	return FAIL("the SEC core holds no image");
}

int uefi_prepare(struct uefi_guest *g, const void *file, size_t len, struct igvm_error *err)
{
	static const u8 gdt[32] = {
		[8] = 0xff,  0xff, 0, 0, 0, 0x9b, 0xa0, 0, /* 64-bit code */
		[16] = 0xff, 0xff, 0, 0, 0, 0x93, 0xc0, 0, /* data */
	};
	struct page_tables tables = {
		.table = g->tables, .bytes = sizeof(g->tables), .gpa = UEFI_TABLES};
	struct span files = {0}, sections = {0};
	int ret;

	if (len != UEFI_BYTES)
		return FAIL("the file has %zu bytes; firmware for this platform has %llu", len,
			    (unsigned long long)UEFI_BYTES);
	memset(g, 0, sizeof(*g));
	ret = find_volume(file, &files, err);
	if (!ret)
		ret = find_sec_core(&files, &sections, err);
	if (!ret)
		ret = find_entry(&sections, file, &g->entry, err);
	memcpy(g->gdt, gdt, sizeof(gdt));
	page_tables_map(&tables, 0, 4 * GiB);
	return ret;
}

int uefi_plan(struct page_plan *plan, const struct uefi_guest *g, const void *file,
	      struct igvm_error *err)
{
	int ret = page_plan_add(plan, UEFI_BASE, file, UEFI_BYTES, UEFI_BYTES, "vtl0-uefi", err);

	if (!ret)
		ret = page_plan_add(plan, UEFI_TABLES, g->tables, sizeof(g->tables),
				    sizeof(g->tables), "vtl0-uefi-tables", err);
	if (!ret)
		ret = page_plan_add(plan, UEFI_GDT, g->gdt, sizeof(g->gdt), PAGE_SIZE,
				    "vtl0-uefi-gdt", err);
	if (!ret)
		ret = page_plan_add(plan, UEFI_MISC, NULL, 0, UEFI_MISC_BYTES, "vtl0-uefi-misc",
				    err);
	return ret;
}

u32 uefi_registers(const struct uefi_guest *g, u8 vtl, u32 eax, u32 ebx,
		   struct igvm_register regs[UEFI_MAX_REGISTERS])
{
	struct cpu_state c = {.regs = regs, .vtl = vtl};

	cpu_set_gdt(&c, UEFI_GDT, sizeof(g->gdt), 8, 16);
	cpu_set(&c, IGVM_X64_CR0, CR0_PG_NE_MP_PE);
	cpu_set(&c, IGVM_X64_CR3, UEFI_TABLES);
	cpu_set(&c, IGVM_X64_CR4, CR4_XMM_FXSR_MCE_PAE);
	cpu_set(&c, IGVM_X64_EFER, EFER_NXE_LMA_LME);
	cpu_set(&c, IGVM_X64_PAT, CPU_PAT_RESET);
	cpu_set(&c, IGVM_X64_RBP, UEFI_BASE + UEFI_SEC_VOLUME);
	cpu_set(&c, IGVM_X64_RIP, g->entry);
	cpu_set(&c, IGVM_X64_R8, eax);
	cpu_set(&c, IGVM_X64_R9, ebx);
	cpu_set(&c, IGVM_X64_R10, 0);
	cpu_set(&c, IGVM_X64_R11, 0);
	cpu_set(&c, IGVM_X64_MTRR_DEF_TYPE, MTRR_ENABLED);
	cpu_set(&c, IGVM_X64_MTRR_FIX64K_00000, MTRR_ALL_WRITEBACK);
	cpu_set(&c, IGVM_X64_MTRR_FIX16K_80000, MTRR_ALL_WRITEBACK);
	return c.count;
}
