/* Small inputs for the image builder, and a look into what it makes of them. */
#ifndef PARAPET_TESTS_UNIT_IGVM_BUILD_FIXTURE_H
#define PARAPET_TESTS_UNIT_IGVM_BUILD_FIXTURE_H

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/build.h"
#include "igvm/uefi.h"

/* A kernel of two segments, a shim, a bzImage, firmware whose SEC core is a PE image */
static u8 kernel_file[0x5000], shim_file[0x2000], initrd_file[5000], bzimage[0x6000];
static u8 *uefi_file;

static inline void put_elf(u8 *file, u64 entry, const Elf64_Phdr *ph, u32 count)
{
	Elf64_Ehdr eh = {.e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_entry = entry,
			 .e_phoff = sizeof(eh),
			 .e_phentsize = sizeof(*ph),
			 .e_phnum = (u16)count};

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(file, &eh, sizeof(eh));
	memcpy(file + sizeof(eh), ph, count * sizeof(*ph));
}

#define FIX_SEC (UEFI_SEC_VOLUME + 0x48 + 0x40) /* SEC core: a file header behind a pad file */

static inline void make_uefi(void)
{
	u8 *fv, *ffs;
	u16 sum = 0;

	free(uefi_file);
	uefi_file = malloc(UEFI_BYTES);
	if (!uefi_file)
		abort();
	for (size_t i = 0; i < UEFI_BYTES; i++)
		uefi_file[i] = (u8)(i >> 12);
	fv = uefi_file + UEFI_SEC_VOLUME;
	memset(fv, 0, 0x1000);
	put_le64(fv + 0x20, 0x20000);
	put_le32(fv + 0x28, 0x4856465f);
	put_le16(fv + 0x30, 0x48);
	for (u32 i = 0; i < 0x48; i += 2)
		sum = (u16)(sum + get_le16(fv + i));
	put_le16(fv + 0x32, (u16)-sum);
	ffs = fv + 0x48;
	ffs[0x12] = 0xf0; /* pad file of 0x3d bytes */
	ffs[0x14] = 0x3d;
	ffs = uefi_file + FIX_SEC;
	ffs[0x12] = 3;
	ffs[0x15] = 0x10;	  /* 0x1000 bytes */
	ffs[0x18] = 0x12;	  /* a raw section... */
	ffs[0x1b] = 0x19;	  /* ...in front of the image's, at the next multiple of 4 */
	ffs[0x18 + 0x14 + 1] = 2; /* 0x200 bytes */
	ffs[0x18 + 0x14 + 3] = 0x10;
	memcpy(ffs + 0x30, "MZ", 2);
	put_le32(ffs + 0x30 + 60, 0x80);
	memcpy(ffs + 0x30 + 0x80, "PE\0\0", 4);
	put_le32(ffs + 0x30 + 0x80 + 40, 0x123);
}

static inline void make_inputs(void)
{
	static const Elf64_Phdr kernel[] = {
		{.p_type = PT_LOAD,
		 .p_offset = 0x1000,
		 .p_vaddr = 0xffffffff81000000,
		 .p_paddr = 0x1000000,
		 .p_filesz = 0x1800,
		 .p_memsz = 0x1800},
		{.p_type = PT_NOTE, .p_offset = 0x1000, .p_filesz = 4, .p_memsz = 4},
		{.p_type = PT_LOAD,
		 .p_offset = 0x3000,
		 .p_vaddr = 0xffffffff81400000,
		 .p_paddr = 0x1400000,
		 .p_filesz = 0x1000,
		 .p_memsz = 0x4000},
	};
	static const Elf64_Phdr shim[] = {
		{.p_type = PT_LOAD, .p_filesz = 0x800, .p_memsz = 0x800},
		{.p_type = PT_LOAD,
		 .p_offset = 0x1000,
		 .p_vaddr = 0x1000,
		 .p_paddr = 0x1000,
		 .p_filesz = 0x10,
		 .p_memsz = 0x2000},
	};

	for (size_t i = 0; i < sizeof(kernel_file); i++)
		kernel_file[i] = (u8)(i / 0x100 + 1);
	memset(shim_file, 0x90, sizeof(shim_file));
	for (size_t i = 0; i < sizeof(initrd_file); i++)
		initrd_file[i] = (u8)(i * 7 + 3);
	put_elf(kernel_file, 0x1000100, kernel, ARRAY_SIZE(kernel));
	put_elf(shim_file, 0x120, shim, ARRAY_SIZE(shim));

	for (size_t i = 0; i < sizeof(bzimage); i++)
		bzimage[i] = (u8)(i / 64);
	bzimage[0x1f1] = 3; /* setup sectors */
	put_le32(bzimage + 0x1f4, (sizeof(bzimage) - 4 * 512) / 16);
	put_le32(bzimage + 0x202, 0x53726448);
	put_le16(bzimage + 0x206, 0x20f);
	bzimage[0x211] = 1;
	put_le32(bzimage + 0x230, 2 * MiB);
	bzimage[0x234] = 1;
	put_le16(bzimage + 0x236, 1);
	put_le32(bzimage + 0x238, 2047);
	put_le64(bzimage + 0x258, 16 * MiB);
	put_le32(bzimage + 0x260, 0x3123456);
	make_uefi();
}

#define OPENHCL(fields)                                                                      \
	"{\"guest_arch\":\"x64\",\"guest_configs\":[{\"isolation_type\":\"none\",\"image\":" \
	"{\"openhcl\":{" fields "}}}]}"
#define RELEASE OPENHCL("\"memory_page_count\": 12288, \"command_line\": \"quiet x=1\"")

static inline void *build(const char *json, size_t *len, struct igvm_error *err)
{
	struct blob resource[RESOURCE_COUNT] = {
		[RESOURCE_KERNEL] = {kernel_file, sizeof(kernel_file)},
		[RESOURCE_SHIM] = {shim_file, sizeof(shim_file)},
		[RESOURCE_INITRD] = {initrd_file, sizeof(initrd_file)},
		[RESOURCE_UEFI] = {uefi_file, UEFI_BYTES},
		[RESOURCE_LINUX_KERNEL] = {bzimage, sizeof(bzimage)},
		[RESOURCE_LINUX_INITRD] = {initrd_file, sizeof(initrd_file)},
	};
	struct manifest m;
	void *image = NULL;

	if (!manifest_parse(&m, json, strlen(json), err) &&
	    image_build(&m, resource, &image, len, err))
		image = NULL;
	manifest_free(&m);
	return image;
}

/* The image's page at gpa; zeros if it has no data, NULL if there is no page. Joined: len bytes. */
static inline bool read_pages_of(const struct igvm *ig, u32 mask, u64 gpa, void *out, size_t len)
{
	struct igvm_iter it;
	struct igvm_header h;
	size_t found = 0;

	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, mask, &h);) {
		u64 at = h.u.page.gpa - gpa;

		if (h.u.page.gpa < gpa || at >= len)
			continue;
		if (h.data)
			memcpy((u8 *)out + at, h.data, MIN(len - at, (size_t)4096));
		else
			memset((u8 *)out + at, 0, MIN(len - at, (size_t)4096));
		found += MIN(len - at, (size_t)4096);
	}
	return found == len;
}

static inline bool read_pages(const struct igvm *ig, u64 gpa, void *out, size_t len)
{
	return read_pages_of(ig, 1, gpa, out, len);
}

#endif
