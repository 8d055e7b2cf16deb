/*
 * ELF core files of x86-64, and the note that OpenHCL adds to them: the kernel's log records.
 *
 * The KMSG note is 256 KiB, always: header and name, records as /dev/kmsg gives them, zeros, and in
 * the last 4 bytes the length of the records (OpenVMM openhcl/underhill_crash, elfcore 2.0.1).
 */
#ifndef PARAPET_COMMON_DIAG_ELFCORE_H
#define PARAPET_COMMON_DIAG_ELFCORE_H

#include "common/protobuf.h"

#define ELFCORE_HEAD_SIZE  64u /* ELF header */
#define ELFCORE_PHDR_SIZE  56u /* program header */
#define ELFCORE_NOTE_ALIGN 4u

#define KMSG_NOTE_SIZE	 262144u
#define KMSG_NOTE_TYPE	 0xffffffffu
#define KMSG_NOTE_HEADER 20u /* note header and name */
#define KMSG_TEXT_MAX	 (KMSG_NOTE_SIZE - KMSG_NOTE_HEADER - 4)

/* --- making */

/* Where in a note of KMSG_NOTE_SIZE zero bytes the records go, at most KMSG_TEXT_MAX bytes. */
static inline u8 *kmsg_note_text(u8 *note)
{
	return note + KMSG_NOTE_HEADER;
}
/* Fills in what is around len bytes of records. */
void kmsg_note_finish(u8 *note, u32 len);

/* Appends a note. desc may be NULL for zeros. */
void elfcore_put_note(struct pb_writer *w, const char *name, u32 type, const void *desc, u32 len);

struct elfcore_segment {
	u64 start, size; /* in memory, page-aligned */
	u64 file_size;	 /* bytes that the file has of it, from its start */
	u32 flags;	 /* PF_R | PF_W | PF_X */
};

/*
 * Appends ELF header and program headers of a core: one note segment of notes_size bytes that
 * follows at once, then, at *data (a page boundary), the segments one after the other. False: too
 * many or too large.
 */
bool elfcore_put_head(struct pb_writer *w, u64 notes_size, const struct elfcore_segment *segment,
		      unsigned segments, u64 *data);

/* --- reading */

struct elfcore_reader {
	/* All of len bytes at offset, or false. */
	bool (*read)(void *ctx, u64 offset, void *buf, u32 len);
	void *ctx;
	u64 size;
};

struct elfcore_summary {
	u32 pid, signal; /* of the process and what ended it; 0: not said */
	char name[17];	 /* printable ASCII; empty: not said */
	u64 kmsg_offset; /* of the records */
	u32 kmsg_len;	 /* 0: none */
};

/*
 * What the notes of a core from a hostile source tell; bounded work. False, with *why: it is no
 * core, or cut.
 */
bool elfcore_summarise(const struct elfcore_reader *r, struct elfcore_summary *s, const char **why);

#endif
