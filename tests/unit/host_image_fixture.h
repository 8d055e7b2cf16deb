/* A small paravisor image as the image builder makes it, for tests that load it. */
#ifndef PARAPET_TESTS_UNIT_HOST_IMAGE_FIXTURE_H
#define PARAPET_TESTS_UNIT_HOST_IMAGE_FIXTURE_H

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/build.h"
#include "tests/unit/igvm_repair.h"

#define IMAGE_FIX_MEMORY_PAGES 8192
#define IMAGE_FIX_MANIFEST                                                                   \
	"{\"guest_arch\":\"x64\",\"guest_configs\":[{\"isolation_type\":\"none\",\"image\":" \
	"{\"openhcl\":{\"memory_page_count\": 8192, \"command_line\": \"quiet\"}}}]}"

static inline void image_fix_elf(u8 *file, u64 entry, Elf64_Phdr ph)
{
	Elf64_Ehdr eh = {.e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_entry = entry,
			 .e_phoff = sizeof(eh),
			 .e_phentsize = sizeof(ph),
			 .e_phnum = 1};

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(file, &eh, sizeof(eh));
	memcpy(file + sizeof(eh), &ph, sizeof(ph));
}

/* NULL on failure; free() it. */
static inline u8 *image_fix_build(size_t *len)
{
	static u8 kernel[0x3000], shim[0x1000], initrd[3000];
	const struct blob resource[RESOURCE_COUNT] = {
		[RESOURCE_KERNEL] = {kernel, sizeof(kernel)},
		[RESOURCE_SHIM] = {shim, sizeof(shim)},
		[RESOURCE_INITRD] = {initrd, sizeof(initrd)},
	};
	struct igvm_error err;
	struct manifest m;
	void *image = NULL;

	memset(kernel, 0x4b, sizeof(kernel));
	memset(shim, 0x53, sizeof(shim));
	memset(initrd, 0x49, sizeof(initrd));
	image_fix_elf(kernel, 0x1000100,
		      (Elf64_Phdr){.p_type = PT_LOAD,
				   .p_offset = 0x1000,
				   .p_vaddr = 0xffffffff81000000,
				   .p_paddr = 0x1000000,
				   .p_filesz = 0x1800,
				   .p_memsz = 0x3000});
	image_fix_elf(shim, 0x120,
		      (Elf64_Phdr){.p_type = PT_LOAD, .p_filesz = 0x800, .p_memsz = 0x2000});
	if (!manifest_parse(&m, IMAGE_FIX_MANIFEST, strlen(IMAGE_FIX_MANIFEST), &err) &&
	    image_build(&m, resource, &image, len, &err))
		image = NULL;
	manifest_free(&m);
	return image;
}

#endif
