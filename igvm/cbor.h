/*
 * The part of CBOR that endorsements need: definite lengths, no floats. Reading is bounded and
 * copies nothing; writing is deterministic.
 * Source: RFC 8949, section 3 and, for the writer, 4.2.1.
 */
#ifndef PARAPET_IGVM_CBOR_H
#define PARAPET_IGVM_CBOR_H

#include "common/types.h"

enum cbor_major {
	CBOR_UINT = 0,
	CBOR_NEGATIVE = 1, /* value n means -1 - n */
	CBOR_BYTES = 2,
	CBOR_TEXT = 3,
	CBOR_ARRAY = 4,
	CBOR_MAP = 5,
	CBOR_TAG = 6,
	CBOR_SIMPLE = 7,
};
#define CBOR_NULL 22

/* A position in encoded bytes. The first failure sticks, and everything after it is empty. */
struct cbor_reader {
	const u8 *p;
	const u8 *end;
	bool failed;
};

/* One head: major type and value. Length and content of strings are checked to be there. */
struct cbor_item {
	enum cbor_major major;
	u64 value;
	const u8 *bytes; /* of CBOR_BYTES and CBOR_TEXT: value bytes */
};

void cbor_read_init(struct cbor_reader *r, const void *data, size_t len);
/* Next head; content of strings is consumed too. False at the end or on failure. */
bool cbor_next(struct cbor_reader *r, struct cbor_item *item);
/* Next head, which must be of that type; its value, or 0 and failure */
u64 cbor_expect(struct cbor_reader *r, enum cbor_major major);
/* As cbor_expect; the value must be as given */
void cbor_expect_value(struct cbor_reader *r, enum cbor_major major, u64 value);
void cbor_expect_string(struct cbor_reader *r, enum cbor_major major, struct cbor_item *item);
/* Skips one whole item. Fails if it is nested more than 16 deep. */
void cbor_skip(struct cbor_reader *r);
/* True if the item is this text */
bool cbor_is_text(const struct cbor_item *item, const char *text);

/* Grows as needed; out of memory sticks. free(w->data). */
struct cbor_writer {
	u8 *data;
	size_t len;
	size_t capacity;
	bool failed;
};

void cbor_put(struct cbor_writer *w, enum cbor_major major, u64 value);
void cbor_put_int(struct cbor_writer *w, s64 value);
void cbor_put_text(struct cbor_writer *w, const char *text);
void cbor_put_bytes(struct cbor_writer *w, const void *data, size_t len);
void cbor_put_raw(struct cbor_writer *w, const void *data, size_t len);

#endif
