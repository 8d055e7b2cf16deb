/* ELF64 reader for kernels and the boot shim: PT_LOAD segments, bounds checked, sorted. */
#include <elf.h>
#include <string.h>

#include "igvm/elf.h"
#include "igvm/internal.h"

#define MAX_IMAGE_BYTES	  GiB
#define VIRTUAL_ADDRESSES 0xffff800000000000ull

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

bool elf_has_magic(const void *file, size_t len)
{
	return len >= SELFMAG && !memcmp(file, ELFMAG, SELFMAG);
}

/* Keeps the array sorted by paddr. */
static void insert_segment(struct elf_image *elf, const struct elf_segment *s)
{
	u32 i = elf->count++;

	for (; i > 0 && elf->segment[i - 1].paddr > s->paddr; i--)
		elf->segment[i] = elf->segment[i - 1];
	elf->segment[i] = *s;
}

static int read_segments(struct elf_image *elf, const u8 *file, size_t len, const Elf64_Ehdr *eh,
			 const char *name, struct igvm_error *err)
{
	u64 end;

	for (u32 i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr ph;
		struct elf_segment s;

		memcpy(&ph, file + eh->e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
			continue;
		if (ph.p_filesz > ph.p_memsz || ph.p_offset > len ||
		    ph.p_filesz > len - ph.p_offset)
			return FAIL("%s: segment %u passes the end of the file: truncated?", name,
				    i);
		if (add_overflow(ph.p_paddr, ph.p_memsz, &end) || end > BIT(52))
			return FAIL("%s: segment %u has impossible addresses", name, i);
		if (elf->count == ELF_MAX_SEGMENTS)
			return FAIL("%s: more than %u loadable segments", name, ELF_MAX_SEGMENTS);
		s = (struct elf_segment){.vaddr = ph.p_vaddr,
					 .paddr = ph.p_paddr,
					 .memsz = ph.p_memsz,
					 .filesz = ph.p_filesz,
					 .data = file + ph.p_offset,
					 .file_offset = ph.p_offset};
		insert_segment(elf, &s);
	}
	return 0;
}

int elf_parse(struct elf_image *elf, const void *file, size_t len, const char *name,
	      struct igvm_error *err)
{
	Elf64_Ehdr eh;
	u64 end = 0;
	int ret;

	memset(elf, 0, sizeof(*elf));
	if (len < sizeof(eh) || !elf_has_magic(file, len))
		return FAIL("%s: not an ELF file", name);
	memcpy(&eh, file, sizeof(eh));
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh.e_machine != EM_X86_64 || (eh.e_type != ET_EXEC && eh.e_type != ET_DYN))
		return FAIL("%s: not a 64-bit x86 ELF executable", name);
	if (eh.e_phentsize != sizeof(Elf64_Phdr) || eh.e_phoff > len ||
	    eh.e_phnum > (len - eh.e_phoff) / sizeof(Elf64_Phdr))
		return FAIL("%s: its program headers are not in the file: truncated?", name);
	ret = read_segments(elf, file, len, &eh, name, err);
	if (ret)
		return ret;
	if (!elf->count)
		return FAIL("%s: no loadable segment", name);
	for (u32 i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (i > 0 && ALIGN_DOWN(s->paddr, PAGE_SIZE) < ALIGN_UP(end, PAGE_SIZE))
			return FAIL("%s: two segments share the page of 0x%llx", name,
				    (unsigned long long)s->paddr);
		end = s->paddr + s->memsz;
	}
	elf->entry = eh.e_entry;
	elf->low = ALIGN_DOWN(elf->segment[0].paddr, PAGE_SIZE);
	elf->high = ALIGN_UP(end, PAGE_SIZE);
	if (elf->high - elf->low > MAX_IMAGE_BYTES)
		return FAIL("%s: covers 0x%llx bytes of memory, too large", name,
			    (unsigned long long)(elf->high - elf->low));
	return 0;
}

int elf_entry(const struct elf_image *elf, u64 *entry, const char *name, struct igvm_error *err)
{
	for (u32 i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segment[i];

		if (elf->entry >= s->paddr && elf->entry - s->paddr < s->filesz) {
			*entry = elf->entry;
			return 0;
		}
		if (elf->entry >= VIRTUAL_ADDRESSES && elf->entry >= s->vaddr &&
		    elf->entry - s->vaddr < s->filesz) {
			*entry = elf->entry - s->vaddr + s->paddr;
			return 0;
		}
	}
	return FAIL("%s: entry point 0x%llx is in no segment", name,
		    (unsigned long long)elf->entry);
}
