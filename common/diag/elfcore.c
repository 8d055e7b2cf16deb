/* ELF core files of x86-64, and the note with the kernel's log records. */
#include "common/diag/elfcore.h"

#include <elf.h>
#include <string.h>

#include "common/bytes.h"

#define PHDRS_MAX 4096u
#define NOTES_MAX 4096u

/* offsets in the kernel's struct elf_prstatus and elf_prpsinfo */
#define PRSTATUS_CURSIG 12u
#define PRSTATUS_PID	32u
#define PRPSINFO_PID	24u
#define PRPSINFO_NAME	40u
#define PRPSINFO_END	56u

static const char kmsg_name[8] = "KMSG";

_Static_assert(sizeof(Elf64_Ehdr) == ELFCORE_HEAD_SIZE, "file format");
_Static_assert(sizeof(Elf64_Phdr) == ELFCORE_PHDR_SIZE, "file format");

void kmsg_note_finish(u8 *note, u32 len)
{
	put_le32(note, sizeof("KMSG"));
	put_le32(note + 4, KMSG_NOTE_SIZE - KMSG_NOTE_HEADER);
	put_le32(note + 8, KMSG_NOTE_TYPE);
	memcpy(note + 12, kmsg_name, sizeof(kmsg_name));
	put_le32(note + KMSG_NOTE_SIZE - 4, MIN(len, KMSG_TEXT_MAX));
}

static void put_zeros(struct pb_writer *w, u64 len)
{
	static const u8 zeros[PAGE_SIZE];

	for (u64 n; len; len -= n) {
		n = MIN(len, (u64)sizeof(zeros));
		pb_raw(w, zeros, n);
	}
}

void elfcore_put_note(struct pb_writer *w, const char *name, u32 type, const void *desc, u32 len)
{
	u32 name_len = (u32)strlen(name) + 1;
	u8 head[12];

	put_le32(head, name_len);
	put_le32(head + 4, len);
	put_le32(head + 8, type);
	pb_raw(w, head, sizeof(head));
	pb_raw(w, name, name_len);
	put_zeros(w, ALIGN_UP(name_len, ELFCORE_NOTE_ALIGN) - name_len);
	if (desc)
		pb_raw(w, desc, len);
	else
		put_zeros(w, len);
	put_zeros(w, ALIGN_UP(len, ELFCORE_NOTE_ALIGN) - len);
}

bool elfcore_put_head(struct pb_writer *w, u64 notes_size, const struct elfcore_segment *segment,
		      unsigned segments, u64 *data)
{
	Elf64_Ehdr head = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(head),
		.e_ehsize = sizeof(head),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (u16)(segments + 1),
	};
	Elf64_Phdr note = {.p_type = PT_NOTE, .p_filesz = notes_size, .p_align = 4};
	u64 at;

	if (segments >= PHDRS_MAX)
		return false;
	note.p_offset = sizeof(head) + (segments + 1) * sizeof(Elf64_Phdr);
	if (add_overflow(note.p_offset, notes_size, &at) || at > UINT64_MAX - PAGE_SIZE)
		return false;
	at = *data = ALIGN_UP(at, PAGE_SIZE);
	pb_raw(w, &head, sizeof(head));
	pb_raw(w, &note, sizeof(note));
	for (unsigned i = 0; i < segments; i++) {
		Elf64_Phdr load = {
			.p_type = PT_LOAD,
			.p_flags = segment[i].flags,
			.p_offset = at,
			.p_vaddr = segment[i].start,
			.p_filesz = segment[i].file_size,
			.p_memsz = segment[i].size,
			.p_align = PAGE_SIZE,
		};

		pb_raw(w, &load, sizeof(load));
		if (add_overflow(at, segment[i].file_size, &at))
			return false;
	}
	return !w->failed;
}

/* --- reading */

static void copy_name(char to[17], const u8 *from)
{
	unsigned n = 0;

	for (; n < 16 && from[n]; n++)
		to[n] = from[n] > 0x20 && from[n] < 0x7f ? (char)from[n] : '?';
	to[n] = 0;
}

/* A note whose description of len bytes stands at offset. */
static bool take_note(const struct elfcore_reader *r, struct elfcore_summary *s, u32 type,
		      u64 offset, u32 len)
{
	u8 desc[PRPSINFO_END];

	if (type == KMSG_NOTE_TYPE && len == KMSG_NOTE_SIZE - KMSG_NOTE_HEADER) {
		if (!r->read(r->ctx, offset + len - 4, desc, 4))
			return false;
		s->kmsg_offset = offset;
		s->kmsg_len = MIN(get_le32(desc), KMSG_TEXT_MAX);
		return true;
	}
	if ((type != NT_PRSTATUS && type != NT_PRPSINFO) || len < sizeof(desc))
		return true;
	if (!r->read(r->ctx, offset, desc, sizeof(desc)))
		return false;
	if (type == NT_PRPSINFO) {
		s->pid = get_le32(desc + PRPSINFO_PID);
		copy_name(s->name, desc + PRPSINFO_NAME);
	} else if (!s->signal) {
		/* the first thread is the one that got it */
		s->signal = get_le16(desc + PRSTATUS_CURSIG);
		if (!s->pid)
			s->pid = get_le32(desc + PRSTATUS_PID);
	}
	return true;
}

static bool read_notes(const struct elfcore_reader *r, struct elfcore_summary *s, u64 at, u64 end)
{
	for (unsigned n = 0; n < NOTES_MAX && end - at >= 12; n++) {
		u64 desc, next;
		u8 head[12];
		u32 len;

		if (!r->read(r->ctx, at, head, sizeof(head)))
			return false;
		len = get_le32(head + 4);
		/* 32-bit sizes on offsets that are inside a file: no overflow */
		desc = at + 12 + ALIGN_UP(get_le32(head), ELFCORE_NOTE_ALIGN);
		next = desc + ALIGN_UP(len, ELFCORE_NOTE_ALIGN);
		if (next > end)
			return false;
		if (!take_note(r, s, get_le32(head + 8), desc, len))
			return false;
		at = next;
	}
	return true;
}

bool elfcore_summarise(const struct elfcore_reader *r, struct elfcore_summary *s, const char **why)
{
	Elf64_Ehdr head;
	bool notes = false;

	memset(s, 0, sizeof(*s));
	*why = "it is no ELF core file";
	if (r->size < sizeof(head) || r->size > INT64_MAX ||
	    !r->read(r->ctx, 0, &head, sizeof(head)) || memcmp(head.e_ident, ELFMAG, SELFMAG) ||
	    head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_ident[EI_DATA] != ELFDATA2LSB ||
	    head.e_type != ET_CORE || head.e_phentsize != sizeof(Elf64_Phdr) ||
	    head.e_phnum > PHDRS_MAX || head.e_phoff > r->size)
		return false;
	*why = "it is cut or damaged";
	for (unsigned i = 0; i < head.e_phnum; i++) {
		Elf64_Phdr p;
		u64 at = head.e_phoff + i * sizeof(p), end;

		if (at > r->size - sizeof(p) || !r->read(r->ctx, at, &p, sizeof(p)) ||
		    add_overflow(p.p_offset, p.p_filesz, &end) || end > r->size)
			return false;
		if (p.p_type != PT_NOTE || notes)
			continue;
		notes = true;
		if (!read_notes(r, s, p.p_offset, end))
			return false;
	}
	*why = NULL;
	return true;
}
