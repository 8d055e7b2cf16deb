/*
 * Protobuf wire format: a bounded writer and a strict reader.
 * Of our own: the messages here are few and shallow in code but recursive in form, and the replies
 * follow a stricter dialect (see common/diag/inspect.h), for which a generated table gains nothing.
 */
#ifndef PARAPET_COMMON_PROTOBUF_H
#define PARAPET_COMMON_PROTOBUF_H

#include "common/types.h"

/* Bytes that somebody else owns. */
struct pb_bytes {
	const u8 *data;
	size_t size;
};

/* A text as bytes; NULL counts as empty. */
struct pb_bytes pb_text(const char *text);
bool pb_equal(struct pb_bytes bytes, const char *text);
bool pb_is_utf8(struct pb_bytes bytes);
/* A copy with a NUL at its end, to be freed; NULL if it holds a NUL, or without memory. */
char *pb_copy_text(struct pb_bytes bytes);

/* --- writing: grows as needed up to a limit; a failure sticks and all later calls do nothing */
struct pb_writer {
	u8 *data;
	size_t used, size, limit;
	bool failed;
};

void pb_writer_init(struct pb_writer *w, size_t limit);
void pb_writer_free(struct pb_writer *w);

/* Raw bytes and numbers, without a tag. */
void pb_raw(struct pb_writer *w, const void *data, size_t size);
void pb_varint(struct pb_writer *w, u64 value);

/* Fields; these leave out a value that is the default (0, false, empty). */
void pb_put_u64(struct pb_writer *w, u32 field, u64 value);
void pb_put_s64_zigzag(struct pb_writer *w, u32 field, s64 value);
void pb_put_bytes(struct pb_writer *w, u32 field, struct pb_bytes value);
void pb_put_text(struct pb_writer *w, u32 field, const char *text);
void pb_put_fixed32(struct pb_writer *w, u32 field, u32 value);
void pb_put_fixed64(struct pb_writer *w, u32 field, u64 value);
/* The same, written also when empty (for fields with presence). */
void pb_put_bytes_always(struct pb_writer *w, u32 field, struct pb_bytes value);

/* A message inside a message, always written; pb_end takes what pb_begin returned. */
size_t pb_begin(struct pb_writer *w, u32 field);
void pb_end(struct pb_writer *w, size_t mark);

/* --- reading: everything points into the caller's buffer */
enum pb_type { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_FIXED32 = 5 };

struct pb_reader {
	const u8 *at, *end;
	bool failed;
};

struct pb_field {
	u32 number;
	enum pb_type type;
	u64 value;	       /* of numbers */
	struct pb_bytes bytes; /* of PB_BYTES, else empty */
};

void pb_reader_init(struct pb_reader *r, struct pb_bytes message);
/* The next field. False at the end, and for malformed input (then failed is set). */
bool pb_next(struct pb_reader *r, struct pb_field *field);
/* Is it this field in this form? Marks the reader as failed if the number has another form. */
bool pb_is(struct pb_reader *r, const struct pb_field *field, u32 number, enum pb_type type);
s64 pb_zigzag(u64 value);
/*
 * The last field `number` of message, which has that form; all 0 if there is none. False:
 * malformed, or it has another form.
 */
bool pb_find(struct pb_bytes message, u32 number, enum pb_type type, struct pb_field *field);
bool pb_find_u64(struct pb_bytes message, u32 number, u64 *value);
bool pb_find_bytes(struct pb_bytes message, u32 number, struct pb_bytes *bytes);
/*
 * A repeated number, packed or not: calls take for each. False if the field is another one;
 * malformed input marks the reader.
 */
bool pb_each_u64(struct pb_reader *r, const struct pb_field *field, u32 number,
		 void (*take)(void *context, u64 value), void *context);

#endif
