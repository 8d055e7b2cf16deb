/* Saved state: tables of values, to protobuf and back. */
#include "common/saved.h"

#include <string.h>

#define DEPTH_MAX 8 /* of structs in structs: guards against a loop in our tables */

static u64 load(const u8 *at, size_t size)
{
	u64 value = 0;

	memcpy(&value, at, size); /* little-endian, as everything here */
	return value;
}

static u64 largest(const struct saved_field *f)
{
	return f->size >= 8 ? f->max : MIN(f->max, (1ull << (8 * f->size)) - 1);
}

static bool all_zero(const u8 *at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (at[i])
			return false;
	return true;
}

static void write_numbers(struct pb_writer *w, const struct saved_field *f, const u8 *at)
{
	size_t mark;

	if (f->count == 1) {
		pb_put_u64(w, f->number, load(at, f->size));
		return;
	}
	if (all_zero(at, f->count * f->size))
		return;
	mark = pb_begin(w, f->number);
	for (u32 i = 0; i < f->count; i++)
		pb_varint(w, load(at + i * f->size, f->size));
	pb_end(w, mark);
}

void saved_write(struct pb_writer *w, const struct saved_layout *layout, const void *object)
{
	for (size_t i = 0; i < layout->fields; i++) {
		const struct saved_field *f = &layout->field[i];
		const u8 *at = (const u8 *)object + f->offset;

		if (!f->layout) {
			write_numbers(w, f, at);
			continue;
		}
		for (u32 n = 0; n < f->count; n++)
			saved_put(w, f->number, f->layout, at + n * f->size);
	}
}

void saved_put(struct pb_writer *w, u32 number, const struct saved_layout *layout,
	       const void *object)
{
	size_t mark = pb_begin(w, number);

	saved_write(w, layout, object);
	pb_end(w, mark);
}

/* --- reading: once to check, once to store */

struct numbers {
	const struct saved_field *field;
	u8 *at; /* NULL: only check */
	u32 seen;
	bool bad;
};

static void take_number(void *context, u64 value)
{
	struct numbers *n = context;

	/* a single number may come again, and the last counts; an array has its length */
	if (n->field->count == 1)
		n->seen = 0;
	if (n->seen == n->field->count || value > largest(n->field))
		n->bad = true;
	else if (n->at)
		memcpy(n->at + n->seen * n->field->size, &value, n->field->size);
	n->seen++;
}

static void clear(const struct saved_layout *layout, u8 *object, unsigned depth)
{
	for (size_t i = 0; i < layout->fields; i++) {
		const struct saved_field *f = &layout->field[i];

		if (!f->layout)
			memset(object + f->offset, 0, f->count * f->size);
		for (u32 n = 0; f->layout && n < f->count && depth < DEPTH_MAX; n++)
			clear(f->layout, object + f->offset + n * f->size, depth + 1);
	}
}

/* object NULL: only check. */
static bool read_struct(struct pb_bytes message, const struct saved_layout *layout, u8 *object,
			unsigned depth);

/* All occurrences of one field. */
static bool read_field(struct pb_bytes message, const struct saved_field *f, u8 *object,
		       unsigned depth)
{
	u8 *at = object ? object + f->offset : NULL;
	struct numbers numbers = {.field = f, .at = at};
	struct pb_reader r;
	struct pb_field in;
	u32 seen = 0;

	pb_reader_init(&r, message);
	while (pb_next(&r, &in)) {
		if (!f->layout) {
			pb_each_u64(&r, &in, f->number, take_number, &numbers);
			continue;
		}
		if (!pb_is(&r, &in, f->number, PB_BYTES))
			continue;
		if (seen == f->count ||
		    !read_struct(in.bytes, f->layout, at ? at + seen * f->size : NULL, depth + 1))
			return false;
		seen++;
	}
	return !r.failed && !numbers.bad;
}

static bool read_struct(struct pb_bytes message, const struct saved_layout *layout, u8 *object,
			unsigned depth)
{
	if (depth == DEPTH_MAX)
		return false;
	for (size_t i = 0; i < layout->fields; i++)
		if (!read_field(message, &layout->field[i], object, depth))
			return false;
	return true;
}

bool saved_read(struct pb_bytes message, const struct saved_layout *layout, void *object)
{
	struct pb_reader r;
	struct pb_field in;

	/* a layout without fields, or only unknown ones: still well-formed? */
	pb_reader_init(&r, message);
	while (pb_next(&r, &in))
		;
	if (r.failed || !read_struct(message, layout, NULL, 0))
		return false;
	clear(layout, object, 0);
	return read_struct(message, layout, object, 0);
}

bool saved_each(struct pb_bytes message, u32 number,
		bool (*restore)(void *context, struct pb_bytes bytes), void *context)
{
	struct pb_reader r;
	struct pb_field f;

	pb_reader_init(&r, message);
	while (pb_next(&r, &f))
		if (pb_is(&r, &f, number, PB_BYTES) && !restore(context, f.bytes))
			return false;
	return !r.failed;
}
