/* The loadable segments of an x86-64 ELF file whose content is not trusted. */
#ifndef PARAPET_IGVM_ELF_H
#define PARAPET_IGVM_ELF_H

#include "igvm/igvm.h"

#define ELF_MAX_SEGMENTS 16

struct elf_segment {
	u64 vaddr;
	u64 paddr;
	u64 memsz; /* not 0 */
	u64 filesz;
	const u8 *data; /* filesz bytes in the caller's buffer */
	u64 file_offset;
};

struct elf_image {
	u64 entry;
	u64 low;  /* lowest paddr, rounded down to a page */
	u64 high; /* end of the highest segment, rounded up to a page */
	u32 count;
	struct elf_segment segment[ELF_MAX_SEGMENTS]; /* by paddr, no two in one page */
};

/* name is used in error texts only. */
int elf_parse(struct elf_image *elf, const void *file, size_t len, const char *name,
	      struct igvm_error *err);
/* Entry point as an address among the segments' paddr; kernels may give a virtual one. */
int elf_entry(const struct elf_image *elf, u64 *entry, const char *name, struct igvm_error *err);
bool elf_has_magic(const void *file, size_t len);

#endif
