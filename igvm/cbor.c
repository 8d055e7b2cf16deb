/* CBOR, see cbor.h. */
#include <stdlib.h>
#include <string.h>

#include "igvm/cbor.h"

#define MAX_DEPTH 16

void cbor_read_init(struct cbor_reader *r, const void *data, size_t len)
{
	*r = (struct cbor_reader){.p = data, .end = (const u8 *)data + len};
}

static bool fail(struct cbor_reader *r)
{
	r->failed = true;
	r->p = r->end;
	return false;
}

bool cbor_next(struct cbor_reader *r, struct cbor_item *item)
{
	u32 info, bytes;

	*item = (struct cbor_item){0};
	if (r->failed || r->p == r->end)
		return false;
	item->major = *r->p >> 5;
	info = *r->p++ & 0x1f;
	if (info < 24) {
		item->value = info;
	} else {
		if (info > 27) /* reserved, or of indefinite length */
			return fail(r);
		bytes = 1u << (info - 24);
		if ((size_t)(r->end - r->p) < bytes)
			return fail(r);
		for (u32 i = 0; i < bytes; i++)
			item->value = item->value << 8 | *r->p++;
	}
	if (item->major != CBOR_BYTES && item->major != CBOR_TEXT)
		return true;
	if (item->value > (u64)(r->end - r->p))
		return fail(r);
	item->bytes = r->p;
	r->p += item->value;
	return true;
}

u64 cbor_expect(struct cbor_reader *r, enum cbor_major major)
{
	struct cbor_item item;

	if (!cbor_next(r, &item) || item.major != major) {
		fail(r);
		return 0;
	}
	return item.value;
}

void cbor_expect_value(struct cbor_reader *r, enum cbor_major major, u64 value)
{
	if (cbor_expect(r, major) != value)
		fail(r);
}

void cbor_expect_string(struct cbor_reader *r, enum cbor_major major, struct cbor_item *item)
{
	if (!cbor_next(r, item) || item->major != major) {
		fail(r);
		*item = (struct cbor_item){.major = major, .bytes = r->end};
	}
}

static void skip(struct cbor_reader *r, u32 depth)
{
	struct cbor_item item;
	u64 inside = 0;

	if (depth == MAX_DEPTH || !cbor_next(r, &item)) {
		fail(r);
		return;
	}
	if (item.major == CBOR_TAG)
		inside = 1;
	else if (item.major == CBOR_ARRAY)
		inside = item.value;
	else if (item.major == CBOR_MAP)
		inside = item.value > (u64)(r->end - r->p) ? item.value : 2 * item.value;
	/* Each item has a byte at least, so the count ends with the data. */
	for (u64 i = 0; i < inside && !r->failed; i++)
		skip(r, depth + 1);
}

void cbor_skip(struct cbor_reader *r)
{
	skip(r, 0);
}

bool cbor_is_text(const struct cbor_item *item, const char *text)
{
	return item->major == CBOR_TEXT && item->value == strlen(text) &&
	       !memcmp(item->bytes, text, item->value);
}

void cbor_put_raw(struct cbor_writer *w, const void *data, size_t len)
{
	if (w->failed || !len)
		return;
	if (len > w->capacity - w->len) {
		size_t capacity = MAX(2 * w->capacity, w->len + len + 256);
		u8 *p = realloc(w->data, capacity);

		if (!p) {
			w->failed = true;
			return;
		}
		w->data = p;
		w->capacity = capacity;
	}
	memcpy(w->data + w->len, data, len);
	w->len += len;
}

void cbor_put(struct cbor_writer *w, enum cbor_major major, u64 value)
{
	u32 bytes = value < 24 ? 0 : value <= 0xff ? 1 : value <= 0xffff ? 2 : value >> 32 ? 8 : 4;
	u8 head[9] = {(u8)(major << 5)};

	if (!bytes)
		head[0] |= (u8)value;
	else
		head[0] |= (u8)(24 + __builtin_ctz(bytes));
	for (u32 i = 0; i < bytes; i++)
		head[bytes - i] = (u8)(value >> (8 * i));
	cbor_put_raw(w, head, 1 + bytes);
}

void cbor_put_int(struct cbor_writer *w, s64 value)
{
	if (value < 0)
		cbor_put(w, CBOR_NEGATIVE, (u64)(-1 - value));
	else
		cbor_put(w, CBOR_UINT, (u64)value);
}

void cbor_put_text(struct cbor_writer *w, const char *text)
{
	size_t len = strlen(text);

	cbor_put(w, CBOR_TEXT, len);
	cbor_put_raw(w, text, len);
}

void cbor_put_bytes(struct cbor_writer *w, const void *data, size_t len)
{
	cbor_put(w, CBOR_BYTES, len);
	cbor_put_raw(w, data, len);
}
