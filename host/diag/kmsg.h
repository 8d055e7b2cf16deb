/* Kernel log records as /dev/kmsg gives them, for people. */
#ifndef PARAPET_HOST_DIAG_KMSG_H
#define PARAPET_HOST_DIAG_KMSG_H

#include <stdio.h>

#include "common/protobuf.h"

/* Largest record that a server sends, without its NUL. */
#define KMSG_RECORD_MAX 2047u

struct kmsg_record {
	u32 facility, level;
	u64 sequence, usec;
	struct pb_bytes text; /* first line, still escaped */
};

/* "prio,seq,usec,flags;text LF KEY=value LF...". False if malformed. */
bool kmsg_parse(struct pb_bytes record, struct kmsg_record *parsed);
/*
 * The text without escapes: a backslash, ESC if keep_escape, others as <NN>, and so the bytes of
 * control characters other than tabs. Writes at most size - 1 bytes and a NUL; returns the length.
 */
size_t kmsg_unescape(struct pb_bytes text, bool keep_escape, char *out, size_t size);

/* Cuts a stream at its NULs. Whatever is too long comes as one malformed record. */
struct kmsg_splitter {
	u8 record[KMSG_RECORD_MAX];
	size_t used;
	bool skipping;
};
/* Takes from *data up to the end of a record; true when one is complete (valid until next call). */
bool kmsg_split(struct kmsg_splitter *splitter, struct pb_bytes *data, struct pb_bytes *record);

#endif
