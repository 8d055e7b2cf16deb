/* IGVM writer: collects headers and their data, stores equal data once, lays out the file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/crc32.h"
#include "igvm/internal.h"

struct buffer {
	u8 *p;
	size_t len;
	size_t capacity;
};

/* A stored piece of data; position in the data section */
struct blob {
	u64 hash;
	u32 offset;
	u32 len; /* 0: free slot of the table */
};

/* A u32 in the header section that becomes a file offset when the section's size is known */
struct fixup {
	u32 at;
	u32 data; /* position in the data section */
};

struct igvm_writer {
	u32 version;
	enum igvm_arch arch;
	struct buffer headers;
	struct buffer data;
	struct buffer fixups; /* of struct fixup */
	struct blob *blobs;   /* hash table, open addressing */
	u32 blob_count;
	u32 blob_capacity; /* power of two */
	u32 header_count;
	/* Of igvm_writer_like(): the file whose data and placement are kept, else NULL */
	const struct igvm *like;
	u32 gap;    /* bytes between fixed and variable headers, those of `like` */
	int failed; /* first error */
	struct igvm_error err;
};

static void *grow(struct buffer *b, size_t len)
{
	u8 *p;

	if (len > b->capacity - b->len) {
		size_t capacity = MAX(b->capacity * 2, b->len + len + 4096);

		p = realloc(b->p, capacity);
		if (!p)
			return NULL;
		b->p = p;
		b->capacity = capacity;
	}
	p = b->p + b->len;
	memset(p, 0, len);
	b->len += len;
	return p;
}

static void fail(struct igvm_writer *w, const char *text)
{
	if (!w->failed)
		w->failed = igvm_fail(&w->err, w->header_count, 0, "%s", text);
}

static void fail_memory(struct igvm_writer *w)
{
	if (!w->failed)
		w->failed = igvm_fail_memory(&w->err);
}

struct igvm_writer *igvm_writer_new(u32 version, enum igvm_arch arch)
{
	struct igvm_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->version = version;
	w->arch = arch;
	if (version != 2 && (version != 1 || arch != IGVM_ARCH_X64))
		fail(w, "no such format version, or an architecture that it cannot have");
	return w;
}

struct igvm_writer *igvm_writer_like(const struct igvm *ig)
{
	u32 fixed = ig->version == 1 ? sizeof(struct igvm_fixed_header_v1)
				     : sizeof(struct igvm_fixed_header_v2);
	u32 data_at = ig->headers_offset + ig->headers_size;
	struct igvm_writer *w = igvm_writer_new(ig->version, ig->arch);
	u8 *p;

	if (!w)
		return NULL;
	w->like = ig;
	w->gap = ig->headers_offset - fixed;
	p = grow(&w->data, ig->file_size - data_at);
	if (p)
		memcpy(p, ig->file + data_at, ig->file_size - data_at);
	else
		fail_memory(w);
	return w;
}

void igvm_writer_free(struct igvm_writer *w)
{
	if (!w)
		return;
	free(w->headers.p);
	free(w->data.p);
	free(w->fixups.p);
	free(w->blobs);
	free(w);
}

/* FNV-1a over words; collisions are resolved by comparing */
static u64 hash_of(const u8 *p, size_t len)
{
	u64 h = 0xcbf29ce484222325ull ^ len;

	for (; len >= 8; p += 8, len -= 8)
		h = (h ^ get_le64(p)) * 0x100000001b3ull ^ h >> 29;
	for (; len; p++, len--)
		h = (h ^ *p) * 0x100000001b3ull;
	return h ^ h >> 32;
}

static struct blob *find_slot(struct blob *table, u32 capacity, const u8 *data_base, u64 hash,
			      const u8 *p, size_t len)
{
	for (u32 i = (u32)hash & (capacity - 1);; i = (i + 1) & (capacity - 1)) {
		struct blob *b = &table[i];

		if (!b->len || (p && b->hash == hash && b->len == len &&
				!memcmp(data_base + b->offset, p, len)))
			return b;
	}
}

static bool make_room_for_blob(struct igvm_writer *w)
{
	u32 capacity = w->blob_capacity ? w->blob_capacity * 2 : 1024;
	struct blob *table;

	if (w->blob_count < w->blob_capacity / 2)
		return true;
	table = calloc(capacity, sizeof(*table));
	if (!table)
		return false;
	for (u32 i = 0; i < w->blob_capacity; i++) {
		if (w->blobs[i].len)
			*find_slot(table, capacity, NULL, w->blobs[i].hash, NULL, 0) = w->blobs[i];
	}
	free(w->blobs);
	w->blobs = table;
	w->blob_capacity = capacity;
	return true;
}

/* Stores data padded with zeros to `size` and remembers that the u32 at `at` points to it. */
static void store(struct igvm_writer *w, u32 at, const void *data, size_t len, size_t size)
{
	struct fixup *f = grow(&w->fixups, sizeof(*f));
	size_t before = w->data.len;
	u8 *p = grow(&w->data, size);
	struct blob *b;
	u64 hash;

	if (!f || !p || !make_room_for_blob(w)) {
		fail_memory(w);
		return;
	}
	memcpy(p, data, len);
	hash = hash_of(p, size);
	b = find_slot(w->blobs, w->blob_capacity, w->data.p, hash, p, size);
	if (b->len) {
		w->data.len = before;
	} else {
		*b = (struct blob){.hash = hash, .offset = (u32)before, .len = (u32)size};
		w->blob_count++;
	}
	*f = (struct fixup){.at = at, .data = b->offset};
}

/* Appends type, length and content, with the file offset cleared. NULL if out of memory. */
static u8 *add_header(struct igvm_writer *w, const struct igvm_type_info *info, u32 type,
		      const void *content, u32 length)
{
	u8 *p = grow(&w->headers, ALIGN_UP(sizeof(struct igvm_tlv) + (u64)length, 8));

	if (!p) {
		fail_memory(w);
		return NULL;
	}
	put_le32(p, type);
	put_le32(p + 4, length);
	p += sizeof(struct igvm_tlv);
	if (length)
		memcpy(p, content, length);
	if (info && info->file_offset_at >= 0)
		put_le32(p + info->file_offset_at, 0);
	w->header_count++;
	return p;
}

void igvm_write(struct igvm_writer *w, u32 type, const void *content, u32 length, const void *data,
		size_t data_len)
{
	const struct igvm_type_info *info = igvm_type_info(type);
	size_t size = data_len;
	u32 at;

	if (w->failed)
		return;
	if (info && length != info->length)
		return fail(w, "header of the wrong length");
	if (data_len && (!info || info->file_offset_at < 0))
		return fail(w, "data for a header that has none");
	if (data_len && type == IGVM_PAGE_DATA)
		size = IGVM_PAGE_SIZE;
	else if (data_len && type == IGVM_PARAMETER_AREA)
		size = get_le64(content);
	if (size < data_len)
		return fail(w, "more data than the header covers");
	if (size > 0xffffffffu || w->headers.len + w->data.len + length + size > 0xfffff000u)
		return fail(w, "the file would have 4 GiB or more");
	at = (u32)w->headers.len + sizeof(struct igvm_tlv);
	if (add_header(w, info, type, content, length) && data_len)
		store(w, at + (u32)info->file_offset_at, data, data_len, size);
}

/* A header of w->like: its data is in place already, and its padding is kept. */
static void copy_in_place(struct igvm_writer *w, const struct igvm_header *h)
{
	const struct igvm_type_info *info = igvm_type_info(h->type);
	const u8 *data_start = w->like->file + w->like->headers_offset + w->like->headers_size;
	u32 padding = (u32)(ALIGN_UP(h->length, 8) - h->length);
	u32 at = (u32)w->headers.len + sizeof(struct igvm_tlv);
	u8 *p;

	if (w->failed)
		return;
	if (w->headers.len + w->data.len + h->length > 0xfffff000u)
		return fail(w, "the file would have 4 GiB or more");
	p = add_header(w, info, h->type, h->content, h->length);
	if (!p)
		return;
	memcpy(p + h->length, h->content + h->length, padding);
	if (h->data) {
		struct fixup *f = grow(&w->fixups, sizeof(*f));

		if (!f)
			return fail_memory(w);
		*f = (struct fixup){.at = at + (u32)info->file_offset_at,
				    .data = (u32)(h->data - data_start)};
	}
}

void igvm_write_copy(struct igvm_writer *w, const struct igvm_header *h)
{
	if (w->like && h->content > w->like->file &&
	    h->content < w->like->file + w->like->file_size)
		copy_in_place(w, h);
	else
		igvm_write(w, h->type, h->content, h->length, h->data, h->data_len);
}

void igvm_write_platform(struct igvm_writer *w, const struct igvm_supported_platform *p)
{
	igvm_write(w, IGVM_SUPPORTED_PLATFORM, p, sizeof(*p), NULL, 0);
}

void igvm_write_page(struct igvm_writer *w, u64 gpa, u32 mask, u32 flags, enum igvm_page_type type,
		     const void *data, size_t len)
{
	struct igvm_page_data page = {
		.gpa = gpa, .mask = mask, .flags = flags, .data_type = (u16)type};

	igvm_write(w, IGVM_PAGE_DATA, &page, sizeof(page), data, len);
}

void igvm_write_area(struct igvm_writer *w, u32 index, u64 bytes, const void *data, size_t len)
{
	struct igvm_parameter_area area = {.number_of_bytes = bytes, .index = index};

	igvm_write(w, IGVM_PARAMETER_AREA, &area, sizeof(area), data, len);
}

void igvm_write_parameter(struct igvm_writer *w, enum igvm_type type, u32 area, u32 byte_offset)
{
	struct igvm_parameter p = {.area = area, .byte_offset = byte_offset};

	igvm_write(w, type, &p, sizeof(p), NULL, 0);
}

void igvm_write_insert(struct igvm_writer *w, u64 gpa, u32 mask, u32 area)
{
	struct igvm_parameter_insert insert = {.gpa = gpa, .mask = mask, .area = area};

	igvm_write(w, IGVM_PARAMETER_INSERT, &insert, sizeof(insert), NULL, 0);
}

void igvm_write_required(struct igvm_writer *w, u64 gpa, u32 mask, u32 bytes, u32 flags)
{
	struct igvm_required_memory r = {
		.gpa = gpa, .mask = mask, .number_of_bytes = bytes, .flags = flags};

	igvm_write(w, IGVM_REQUIRED_MEMORY, &r, sizeof(r), NULL, 0);
}

u32 igvm_encode_registers(const struct igvm_register *regs, u32 count,
			  u8 out[IGVM_ENCODED_REGISTERS])
{
	struct igvm_vbs_record record;

	put_le32(out, count);
	for (u32 i = 0; i < count; i++) {
		memset(&record, 0, sizeof(record));
		record.vtl = regs[i].vtl;
		record.name = regs[i].name;
		switch (regs[i].form) {
		case IGVM_REG_U64: put_le64(record.value, regs[i].u.value); break;
		case IGVM_REG_TABLE: memcpy(record.value, &regs[i].u.table, 16); break;
		case IGVM_REG_SEGMENT: memcpy(record.value, &regs[i].u.segment, 16); break;
		}
		memcpy(out + 4 + i * sizeof(record), &record, sizeof(record));
	}
	return 4 + count * (u32)sizeof(record);
}

void igvm_write_registers(struct igvm_writer *w, u32 mask, const struct igvm_register *regs,
			  u32 count)
{
	struct igvm_vp_context vp = {.mask = mask};
	u8 data[IGVM_ENCODED_REGISTERS];

	if (count > IGVM_MAX_REGISTERS)
		return fail(w, "too many registers");
	igvm_write(w, IGVM_VP_CONTEXT, &vp, sizeof(vp), data,
		   igvm_encode_registers(regs, count, data));
}

int igvm_writer_finish(struct igvm_writer *w, void **out, size_t *out_len, struct igvm_error *err)
{
	struct igvm_fixed_header_v2 f = {
		.v1 = {.magic = IGVM_MAGIC, .format_version = w->version},
		.architecture = w->arch,
		.page_size = IGVM_PAGE_SIZE,
	};
	u32 fixed = w->version == 1 ? sizeof(f.v1) : sizeof(f);
	u32 headers_at = fixed + w->gap;
	u32 data_at = headers_at + (u32)w->headers.len;
	/* Readers refuse a file without any data. */
	size_t len = data_at + (w->data.len ? w->data.len : 8);
	struct igvm ig;
	u8 *file;
	int ret;

	if (w->gap > 0xfffff000u - w->headers.len - w->data.len)
		fail(w, "the file would have 4 GiB or more");
	if (w->failed) {
		if (err)
			*err = w->err;
		return w->failed;
	}
	file = calloc(1, len);
	if (!file)
		return igvm_fail_memory(err);
	if (w->gap)
		memcpy(file + fixed, w->like->file + fixed, w->gap);
	if (w->headers.len)
		memcpy(file + headers_at, w->headers.p, w->headers.len);
	if (w->data.len)
		memcpy(file + data_at, w->data.p, w->data.len);
	for (size_t i = 0; i < w->fixups.len; i += sizeof(struct fixup)) {
		struct fixup fix;

		memcpy(&fix, w->fixups.p + i, sizeof(fix));
		put_le32(file + headers_at + fix.at, data_at + fix.data);
	}
	f.v1.variable_header_offset = headers_at;
	f.v1.variable_header_size = (u32)w->headers.len;
	f.v1.total_file_size = (u32)len;
	f.v1.checksum = crc32(crc32(0, &f, fixed), file + headers_at, w->headers.len);
	memcpy(file, &f, fixed);

	ret = igvm_open(&ig, file, len, err);
	if (ret) {
		free(file);
		return ret;
	}
	*out = file;
	*out_len = len;
	return 0;
}
