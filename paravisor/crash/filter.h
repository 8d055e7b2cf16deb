/*
 * Adds a note to an ELF core that streams by, as the kernel writes it: the note goes behind the
 * last of the note segment, and everything after it moves. A stream in which that is not possible
 * is passed on as it is.
 */
#ifndef PARAPET_PARAVISOR_CRASH_FILTER_H
#define PARAPET_PARAVISOR_CRASH_FILTER_H

#include "common/diag/elfcore.h"

#define FILTER_PHDRS_MAX 1024u

struct core_filter {
	/* Takes the next bytes; false ends it all. */
	bool (*emit)(void *ctx, const void *data, size_t len);
	void *ctx;
	const u8 *note; /* NULL: none; a multiple of 4 bytes */
	u32 note_len;
	enum { FILTER_HEAD, FILTER_PHDRS, FILTER_NOTES, FILTER_PASS } state;
	u64 at;	       /* bytes of input taken */
	u64 notes_end; /* FILTER_NOTES: here the note goes */
	bool inserted;
	const char *why; /* it was not */
	size_t have, need;
	u8 head[ELFCORE_HEAD_SIZE + FILTER_PHDRS_MAX * ELFCORE_PHDR_SIZE];
};

void core_filter_init(struct core_filter *f, const void *note, u32 note_len,
		      bool (*emit)(void *ctx, const void *data, size_t len), void *ctx);
/* The next bytes of the core. False when emit failed. */
bool core_filter_put(struct core_filter *f, const void *data, size_t len);
/* No more bytes follow. */
bool core_filter_end(struct core_filter *f);

#endif
