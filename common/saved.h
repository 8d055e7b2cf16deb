/*
 * Saved state: one table per struct says which plain values of it are kept; the same table writes
 * them as a protobuf message and reads them back, checked. Field numbers are for ever: a value that
 * is not kept any more leaves its number unused, a new one gets a new number, and its zero must
 * mean what an older state meant without it.
 */
#ifndef PARAPET_COMMON_SAVED_H
#define PARAPET_COMMON_SAVED_H

#include "common/protobuf.h"

struct saved_layout;

/* Use the macros below. */
struct saved_field {
	u32 number;
	u32 count;			   /* of elements; 1: no array */
	size_t offset;			   /* in the struct */
	size_t size;			   /* of one element, in bytes; numbers have 1, 2, 4 or 8 */
	u64 max;			   /* the largest valid number; unused with layout */
	const struct saved_layout *layout; /* of a struct in the struct; NULL: numbers */
};

struct saved_layout {
	const struct saved_field *field;
	size_t fields;
};

#define SAVED_MEMBER_SIZE(type, member) sizeof(((type *)0)->member)

/* An unsigned number, or a bool with max 1. */
#define SAVED_NUMBER(number_, type, member, max_)                                  \
	{                                                                          \
		.number = (number_), .count = 1, .offset = offsetof(type, member), \
		.size = SAVED_MEMBER_SIZE(type, member), .max = (max_)             \
	}
/* All values of the member's type are valid. */
#define SAVED_ANY(number_, type, member)  SAVED_NUMBER(number_, type, member, UINT64_MAX)
#define SAVED_BOOL(number_, type, member) SAVED_NUMBER(number_, type, member, 1)
/* An array of unsigned numbers. */
#define SAVED_NUMBERS(number_, type, member, max_)                                             \
	{                                                                                      \
		.number = (number_),                                                           \
		.count = SAVED_MEMBER_SIZE(type, member) / SAVED_MEMBER_SIZE(type, member[0]), \
		.offset = offsetof(type, member), .size = SAVED_MEMBER_SIZE(type, member[0]),  \
		.max = (max_)                                                                  \
	}
/* A struct, and an array of them. */
#define SAVED_STRUCT(number_, type, member, layout_)                               \
	{                                                                          \
		.number = (number_), .count = 1, .offset = offsetof(type, member), \
		.size = SAVED_MEMBER_SIZE(type, member), .layout = (layout_)       \
	}
#define SAVED_STRUCTS(number_, type, member, layout_)                                          \
	{                                                                                      \
		.number = (number_),                                                           \
		.count = SAVED_MEMBER_SIZE(type, member) / SAVED_MEMBER_SIZE(type, member[0]), \
		.offset = offsetof(type, member), .size = SAVED_MEMBER_SIZE(type, member[0]),  \
		.layout = (layout_)                                                            \
	}

#define SAVED_LAYOUT(fields_)                                                        \
	{                                                                            \
		.field = (fields_), .fields = sizeof(fields_) / sizeof((fields_)[0]) \
	}

/* The fields of object, without a tag around them. */
void saved_write(struct pb_writer *w, const struct saved_layout *layout, const void *object);
/* The same as one message inside another. */
void saved_put(struct pb_writer *w, u32 number, const struct saved_layout *layout,
	       const void *object);
/*
 * Sets the described fields of object, those that message lacks to 0. Unknown numbers are passed
 * over. False, and object is untouched: malformed, a number above its max, or too many elements.
 */
bool saved_read(struct pb_bytes message, const struct saved_layout *layout, void *object);

/* Calls restore for each field `number` until one is false, which is then the result. */
bool saved_each(struct pb_bytes message, u32 number,
		bool (*restore)(void *context, struct pb_bytes bytes), void *context);

#endif
