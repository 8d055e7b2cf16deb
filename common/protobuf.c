/* Protobuf wire format. */
#include "common/protobuf.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

#define FIELD_MAX  ((1u << 29) - 1)
#define VARINT_MAX 10

struct pb_bytes pb_text(const char *text)
{
	return (struct pb_bytes){(const u8 *)text, text ? strlen(text) : 0};
}

bool pb_equal(struct pb_bytes bytes, const char *text)
{
	return bytes.size == strlen(text) && (!bytes.size || !memcmp(bytes.data, text, bytes.size));
}

/* Bytes of the character at data (RFC 3629: shortest form, no surrogates), 0 if it is none. */
static size_t utf8_length(const u8 *data, size_t left)
{
	static const u32 smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = data[0] < 0x80		   ? 1
			: (data[0] & 0xe0) == 0xc0 ? 2
			: (data[0] & 0xf0) == 0xe0 ? 3
			: (data[0] & 0xf8) == 0xf0 ? 4
						   : 0;
	u32 c;

	if (length < 2)
		return length;
	if (length > left)
		return 0;
	c = data[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((data[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (data[i] & 0x3f);
	}
	if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return length;
}

bool pb_is_utf8(struct pb_bytes bytes)
{
	for (size_t i = 0, n; i < bytes.size; i += n) {
		n = utf8_length(bytes.data + i, bytes.size - i);
		if (!n)
			return false;
	}
	return true;
}

char *pb_copy_text(struct pb_bytes bytes)
{
	char *text;

	if (bytes.size && memchr(bytes.data, 0, bytes.size))
		return NULL;
	text = malloc(bytes.size + 1);
	if (!text)
		return NULL;
	if (bytes.size)
		memcpy(text, bytes.data, bytes.size);
	text[bytes.size] = 0;
	return text;
}

/* --- writing */

void pb_writer_init(struct pb_writer *w, size_t limit)
{
	*w = (struct pb_writer){.limit = limit};
}

void pb_writer_free(struct pb_writer *w)
{
	free(w->data);
	*w = (struct pb_writer){.limit = w->limit};
}

static bool reserve(struct pb_writer *w, size_t more)
{
	size_t size;
	u8 *data;

	if (w->failed || more > w->limit - w->used) {
		w->failed = true;
		return false;
	}
	if (more <= w->size - w->used)
		return true;
	size = MIN(MAX(w->used + more, MAX(w->size * 2, (size_t)256)), w->limit);
	data = realloc(w->data, size);
	if (!data) {
		w->failed = true;
		return false;
	}
	w->data = data;
	w->size = size;
	return true;
}

void pb_raw(struct pb_writer *w, const void *data, size_t size)
{
	if (!size || !reserve(w, size))
		return;
	memcpy(w->data + w->used, data, size);
	w->used += size;
}

static size_t encode_varint(u8 out[VARINT_MAX], u64 value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		out[n++] = (u8)(value | 0x80);
	out[n++] = (u8)value;
	return n;
}

void pb_varint(struct pb_writer *w, u64 value)
{
	u8 bytes[VARINT_MAX] = {0};
	size_t size = encode_varint(bytes, value);

	pb_raw(w, bytes, size);
}

static void tag(struct pb_writer *w, u32 field, enum pb_type type)
{
	pb_varint(w, (u64)field << 3 | type);
}

void pb_put_u64(struct pb_writer *w, u32 field, u64 value)
{
	if (!value)
		return;
	tag(w, field, PB_VARINT);
	pb_varint(w, value);
}

void pb_put_s64_zigzag(struct pb_writer *w, u32 field, s64 value)
{
	pb_put_u64(w, field, (u64)value << 1 ^ (value < 0 ? ~0ull : 0));
}

void pb_put_bytes_always(struct pb_writer *w, u32 field, struct pb_bytes value)
{
	tag(w, field, PB_BYTES);
	pb_varint(w, value.size);
	pb_raw(w, value.data, value.size);
}

void pb_put_bytes(struct pb_writer *w, u32 field, struct pb_bytes value)
{
	if (value.size)
		pb_put_bytes_always(w, field, value);
}

void pb_put_text(struct pb_writer *w, u32 field, const char *text)
{
	pb_put_bytes(w, field, pb_text(text));
}

void pb_put_fixed32(struct pb_writer *w, u32 field, u32 value)
{
	u8 bytes[4];

	if (!value)
		return;
	tag(w, field, PB_FIXED32);
	put_le32(bytes, value);
	pb_raw(w, bytes, sizeof(bytes));
}

void pb_put_fixed64(struct pb_writer *w, u32 field, u64 value)
{
	u8 bytes[8];

	if (!value)
		return;
	tag(w, field, PB_FIXED64);
	put_le64(bytes, value);
	pb_raw(w, bytes, sizeof(bytes));
}

size_t pb_begin(struct pb_writer *w, u32 field)
{
	tag(w, field, PB_BYTES);
	return w->used;
}

/* The length is known only now: the content moves to make room for it. */
void pb_end(struct pb_writer *w, size_t mark)
{
	u8 bytes[VARINT_MAX];
	size_t content, n;

	if (w->failed)
		return;
	content = w->used - mark;
	n = encode_varint(bytes, content);
	if (!reserve(w, n))
		return;
	memmove(w->data + mark + n, w->data + mark, content);
	memcpy(w->data + mark, bytes, n);
	w->used += n;
}

/* --- reading */

void pb_reader_init(struct pb_reader *r, struct pb_bytes message)
{
	static const u8 nothing[1];
	const u8 *data = message.size ? message.data : nothing;

	*r = (struct pb_reader){.at = data, .end = data + message.size};
}

static bool read_varint(struct pb_reader *r, u64 *value)
{
	*value = 0;
	for (unsigned i = 0; i < VARINT_MAX && r->at < r->end; i++) {
		u8 byte = *r->at++;

		if (i == VARINT_MAX - 1 && byte > 1)
			break;
		*value |= (u64)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80))
			return true;
	}
	r->failed = true;
	return false;
}

static bool take(struct pb_reader *r, u64 size, const u8 **data)
{
	if (size > (u64)(r->end - r->at)) {
		r->failed = true;
		return false;
	}
	*data = r->at;
	r->at += size;
	return true;
}

bool pb_next(struct pb_reader *r, struct pb_field *field)
{
	const u8 *data;
	u64 key;

	if (r->failed || r->at == r->end || !read_varint(r, &key))
		return false;
	*field = (struct pb_field){.number = (u32)(key >> 3), .type = key & 7};
	if (key >> 3 == 0 || key >> 3 > FIELD_MAX)
		goto malformed;
	switch (key & 7) {
	case PB_VARINT: return read_varint(r, &field->value);
	case PB_FIXED64:
		if (!take(r, 8, &data))
			return false;
		field->value = get_le64(data);
		return true;
	case PB_FIXED32:
		if (!take(r, 4, &data))
			return false;
		field->value = get_le32(data);
		return true;
	case PB_BYTES:
		if (!read_varint(r, &key) || !take(r, key, &field->bytes.data))
			return false;
		field->bytes.size = (size_t)key;
		return true;
	default: break;
	}
malformed:
	r->failed = true;
	return false;
}

bool pb_is(struct pb_reader *r, const struct pb_field *field, u32 number, enum pb_type type)
{
	if (field->number != number)
		return false;
	if (field->type == type)
		return true;
	r->failed = true;
	return false;
}

bool pb_find(struct pb_bytes message, u32 number, enum pb_type type, struct pb_field *field)
{
	struct pb_reader r;
	struct pb_field f;

	*field = (struct pb_field){0};
	pb_reader_init(&r, message);
	while (pb_next(&r, &f))
		if (pb_is(&r, &f, number, type))
			*field = f;
	return !r.failed;
}

bool pb_find_u64(struct pb_bytes message, u32 number, u64 *value)
{
	struct pb_field f;
	bool good = pb_find(message, number, PB_VARINT, &f);

	*value = f.value;
	return good;
}

bool pb_find_bytes(struct pb_bytes message, u32 number, struct pb_bytes *bytes)
{
	struct pb_field f;
	bool good = pb_find(message, number, PB_BYTES, &f);

	*bytes = f.bytes;
	return good;
}

s64 pb_zigzag(u64 value)
{
	return (s64)(value >> 1 ^ (0 - (value & 1)));
}

bool pb_each_u64(struct pb_reader *r, const struct pb_field *field, u32 number,
		 void (*take_value)(void *context, u64 value), void *context)
{
	struct pb_reader packed;
	u64 value;

	if (field->number != number)
		return false;
	if (field->type == PB_VARINT) {
		take_value(context, field->value);
		return true;
	}
	if (field->type != PB_BYTES) {
		r->failed = true;
		return true;
	}
	pb_reader_init(&packed, field->bytes);
	while (packed.at < packed.end) {
		if (!read_varint(&packed, &value)) {
			r->failed = true;
			break;
		}
		take_value(context, value);
	}
	return true;
}
