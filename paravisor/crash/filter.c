/* Adds a note to an ELF core that streams by. */
#include "paravisor/crash/filter.h"

#include <elf.h>
#include <string.h>

void core_filter_init(struct core_filter *f, const void *note, u32 note_len,
		      bool (*emit)(void *ctx, const void *data, size_t len), void *ctx)
{
	f->emit = emit;
	f->ctx = ctx;
	f->note = note;
	f->note_len = note_len;
	f->state = note ? FILTER_HEAD : FILTER_PASS;
	f->at = f->notes_end = 0;
	f->inserted = false;
	f->why = note ? "the stream ended in its headers" : "there is none";
	f->have = 0;
	f->need = sizeof(Elf64_Ehdr);
}

static bool pass(struct core_filter *f, const void *data, size_t len)
{
	return !len || f->emit(f->ctx, data, len);
}

/* What was held back goes out. */
static bool release(struct core_filter *f, const char *why)
{
	size_t len = f->have;

	f->state = FILTER_PASS;
	f->why = why;
	f->have = 0;
	return pass(f, f->head, len);
}

static const char *check_head(struct core_filter *f)
{
	Elf64_Ehdr head;

	memcpy(&head, f->head, sizeof(head));
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_type != ET_CORE)
		return "it is no ELF core";
	if (head.e_phoff != sizeof(head) || head.e_phentsize != sizeof(Elf64_Phdr))
		return "its program headers are elsewhere";
	if (!head.e_phnum || head.e_phnum > FILTER_PHDRS_MAX)
		return "it has too many program headers";
	if (head.e_shoff || head.e_shnum)
		return "it has section headers";
	f->need = sizeof(head) + head.e_phnum * sizeof(Elf64_Phdr);
	return NULL;
}

/* Moves what follows the notes in the headers held; they are only changed if all is well. */
static const char *change_headers(struct core_filter *f, bool change)
{
	u64 end, moved;
	Elf64_Phdr p;
	u8 *at = f->head + sizeof(Elf64_Ehdr);

	memcpy(&p, at, sizeof(p));
	if (p.p_type != PT_NOTE)
		return "its first segment is not of notes";
	if (add_overflow(p.p_offset, p.p_filesz, &end) || p.p_offset < f->need ||
	    !IS_ALIGNED(end, ELFCORE_NOTE_ALIGN) || add_overflow(end, f->note_len, &moved))
		return "its notes are in a wrong place";
	f->notes_end = end;
	p.p_filesz += f->note_len;
	if (change)
		memcpy(at, &p, sizeof(p));
	for (at += sizeof(p); at < f->head + f->need; at += sizeof(p)) {
		memcpy(&p, at, sizeof(p));
		if (p.p_offset < f->notes_end) {
			if (p.p_filesz)
				return "a segment lies before its notes";
			continue;
		}
		if (add_overflow(p.p_offset, f->note_len, &p.p_offset))
			return "a segment is in a wrong place";
		if (change)
			memcpy(at, &p, sizeof(p));
	}
	return NULL;
}

/* All of what was waited for is there. */
static bool on_headers(struct core_filter *f)
{
	const char *why = f->state == FILTER_HEAD ? check_head(f) : change_headers(f, false);

	if (why)
		return release(f, why);
	if (f->state == FILTER_HEAD) {
		f->state = FILTER_PHDRS;
		return true;
	}
	change_headers(f, true);
	f->state = FILTER_NOTES;
	f->why = "the stream ended in its notes";
	return pass(f, f->head, f->have);
}

/* In FILTER_NOTES: up to the place of the note, and the note. */
static bool pass_notes(struct core_filter *f, const u8 *data, size_t *len)
{
	*len = (size_t)MIN((u64)*len, f->notes_end - f->at);
	f->at += *len;
	if (!pass(f, data, *len))
		return false;
	if (f->at < f->notes_end)
		return true;
	f->state = FILTER_PASS;
	f->inserted = true;
	f->why = NULL;
	return pass(f, f->note, f->note_len);
}

bool core_filter_put(struct core_filter *f, const void *data, size_t len)
{
	const u8 *from = data;

	while (len) {
		size_t n = len;

		switch (f->state) {
		case FILTER_HEAD:
		case FILTER_PHDRS:
			n = MIN(len, f->need - f->have);
			memcpy(f->head + f->have, from, n);
			f->have += n;
			f->at += n;
			if (f->have == f->need && !on_headers(f))
				return false;
			break;
		case FILTER_NOTES:
			if (!pass_notes(f, from, &n))
				return false;
			break;
		default:
			f->at += n;
			if (!pass(f, from, n))
				return false;
			break;
		}
		from += n;
		len -= n;
	}
	return true;
}

bool core_filter_end(struct core_filter *f)
{
	if (f->state == FILTER_HEAD || f->state == FILTER_PHDRS)
		return release(f, f->why);
	/* cut in its notes: what is there stays readable */
	return true;
}
