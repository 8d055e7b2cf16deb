/* IGVM reader: fixed header, iteration over variable headers, access to what they point to. */
#include <string.h>

#include "common/bytes.h"
#include "common/crc32.h"
#include "igvm/internal.h"

static int check_fixed_header(struct igvm *ig, struct igvm_error *err)
{
	struct igvm_fixed_header_v2 f = {0};
	u32 size = sizeof(f.v1);
	u64 end;

	if (ig->file_size < size)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "too short for an IGVM file: %u bytes",
				 ig->file_size);
	memcpy(&f.v1, ig->file, size);
	if (f.v1.magic != IGVM_MAGIC)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "not an IGVM file: no \"IGVM\" at its start");
	ig->version = f.v1.format_version;
	if (ig->version != 1 && ig->version != 2)
		return igvm_fail(err, IGVM_NO_HEADER, 4, "format version %u is not supported",
				 ig->version);
	if (ig->version == 2) {
		size = sizeof(f);
		if (ig->file_size < size)
			return igvm_fail(err, IGVM_NO_HEADER, 0, "too short for its fixed header");
		memcpy(&f, ig->file, size);
		if (f.architecture > IGVM_ARCH_AARCH64)
			return igvm_fail(err, IGVM_NO_HEADER, 0x18, "unknown architecture %u",
					 f.architecture);
		ig->arch = f.architecture;
		if (f.page_size != IGVM_PAGE_SIZE)
			return igvm_fail(err, IGVM_NO_HEADER, 0x1c, "page size %u is not supported",
					 f.page_size);
	}
	if (f.v1.total_file_size != ig->file_size)
		return igvm_fail(err, IGVM_NO_HEADER, 0x10,
				 "the header says %u bytes, the file has %u: truncated or damaged",
				 f.v1.total_file_size, ig->file_size);

	ig->headers_offset = f.v1.variable_header_offset;
	ig->headers_size = f.v1.variable_header_size;
	if (ig->headers_offset < size || !IS_ALIGNED(ig->headers_offset, 8))
		return igvm_fail(err, IGVM_NO_HEADER, 8, "variable headers at wrong offset 0x%x",
				 ig->headers_offset);
	end = (u64)ig->headers_offset + ig->headers_size;
	/* Strictly below, as in other readers: a file has at least one byte of data. */
	if (!IS_ALIGNED(ig->headers_size, 8) || end >= ig->file_size)
		return igvm_fail(err, IGVM_NO_HEADER, 0xc,
				 "variable header section 0x%x + 0x%x does not fit the file",
				 ig->headers_offset, ig->headers_size);

	ig->checksum = f.v1.checksum;
	f.v1.checksum = 0;
	if (crc32(crc32(0, &f, size), ig->file + ig->headers_offset, ig->headers_size) !=
	    ig->checksum)
		return igvm_fail(err, IGVM_NO_HEADER, 0x14, "wrong checksum: the file is damaged");
	return 0;
}

/* Size of what the header points to; the context of the VSM platform tells its own. */
static int data_size(const struct igvm *ig, const struct igvm_header *h, u32 file_offset, u64 *size,
		     struct igvm_error *err)
{
	switch (h->type) {
	case IGVM_PARAMETER_AREA: *size = h->u.area.number_of_bytes; return 0;
	case IGVM_CORIM_DOCUMENT:
	case IGVM_CORIM_SIGNATURE: *size = h->u.corim.size_bytes; return 0;
	case IGVM_VP_CONTEXT:
		if (igvm_platform_of(ig, h->mask) != IGVM_PLATFORM_VSM)
			break;
		if (file_offset > ig->file_size - 4)
			return igvm_fail(err, h->index, h->offset, "its data is not in the file");
		*size = 4 + (u64)get_le32(ig->file + file_offset) * sizeof(struct igvm_vbs_record);
		return 0;
	}
	*size = IGVM_PAGE_SIZE;
	return 0;
}

static int find_data(const struct igvm *ig, struct igvm_header *h, u32 file_offset,
		     struct igvm_error *err)
{
	u64 size = 0;
	int ret;

	if (file_offset == 0)
		return 0;
	if (file_offset < ig->headers_offset + ig->headers_size || file_offset >= ig->file_size)
		return igvm_fail(err, h->index, h->offset,
				 "%s: its data at 0x%x is not in the file", igvm_type_name(h->type),
				 file_offset);
	ret = data_size(ig, h, file_offset, &size, err);
	if (ret)
		return ret;
	if (size > ig->file_size - file_offset)
		return igvm_fail(err, h->index, h->offset,
				 "%s: its %llu bytes of data at 0x%x pass the end of the file",
				 igvm_type_name(h->type), (unsigned long long)size, file_offset);
	h->data = ig->file + file_offset;
	h->data_len = (u32)size;
	return 0;
}

/* Zeros, or the digit '0', which Microsoft's igvm-tooling writes. */
static bool padding_is_fine(const u8 *p, u32 len)
{
	for (u32 i = 0; i < len; i++) {
		if ((p[i] != 0 && p[i] != '0') || p[i] != p[0])
			return false;
	}
	return true;
}

int igvm_step(struct igvm_iter *it, struct igvm_header *h, struct igvm_error *err)
{
	const struct igvm *ig = it->ig;
	u32 end = ig->headers_offset + ig->headers_size;
	const struct igvm_type_info *info;
	struct igvm_tlv tlv;
	u32 step;

	/* Offsets and the end are multiples of 8, so a header in front of the end is complete. */
	if (it->offset >= end)
		return 0;
	memcpy(&tlv, ig->file + it->offset, sizeof(tlv));
	memset(h, 0, sizeof(*h));
	h->type = tlv.type;
	h->index = it->index;
	h->offset = it->offset;
	h->mask = ~0u;
	h->length = tlv.length;
	h->content = ig->file + it->offset + sizeof(tlv);
	if (tlv.length > end - it->offset - sizeof(tlv))
		return igvm_fail(err, h->index, h->offset,
				 "length %u passes the end of the variable headers", tlv.length);
	step = (u32)ALIGN_UP(sizeof(tlv) + tlv.length, 8);
	if (!padding_is_fine(ig->file + it->offset + sizeof(tlv) + tlv.length,
			     step - (u32)sizeof(tlv) - tlv.length))
		return igvm_fail(err, h->index, h->offset, "padding is not zero");
	it->offset += step;
	it->index++;

	info = igvm_type_info(tlv.type);
	if (!info) {
		if (tlv.type & IGVM_TYPE_IS_OPTIONAL)
			return 1;
		return igvm_fail(err, h->index, h->offset, "unknown header type 0x%x", tlv.type);
	}
	if (tlv.length != info->length)
		return igvm_fail(err, h->index, h->offset, "%s: length %u, must be %u", info->name,
				 tlv.length, info->length);
	if (info->mask_at >= 0)
		h->mask = get_le32(h->content + info->mask_at);
	if (tlv.type == IGVM_SNP_ID_BLOCK)
		h->u.snp_id_block = (const struct igvm_snp_id_block *)h->content;
	else if (tlv.type == IGVM_VBS_MEASUREMENT)
		h->u.vbs_measurement = (const struct igvm_vbs_measurement *)h->content;
	else
		memcpy(&h->u, h->content, info->length);
	if (info->file_offset_at >= 0) {
		int ret = find_data(ig, h, get_le32(h->content + info->file_offset_at), err);

		if (ret)
			return ret;
	}
	return 1;
}

int igvm_open(struct igvm *ig, const void *file, size_t len, struct igvm_error *err)
{
	int ret;

	*ig = (struct igvm){.file = file};
	if (len > 0xffffffffu)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "an IGVM file cannot have 4 GiB or more");
	ig->file_size = (u32)len;
	ret = check_fixed_header(ig, err);
	if (!ret)
		ret = igvm_check(ig, err);
	if (ret)
		*ig = (struct igvm){0};
	return ret;
}

void igvm_first(const struct igvm *ig, struct igvm_iter *it)
{
	*it = (struct igvm_iter){.ig = ig, .offset = ig->headers_offset};
}

bool igvm_next(struct igvm_iter *it, struct igvm_header *h)
{
	return igvm_step(it, h, NULL) == 1;
}

bool igvm_next_of(struct igvm_iter *it, u32 type, u32 mask, struct igvm_header *h)
{
	while (igvm_next(it, h)) {
		if ((type == 0 || h->type == type) && (h->mask & mask) == mask)
			return true;
	}
	return false;
}

const struct igvm_supported_platform *igvm_find_platform(const struct igvm *ig,
							 enum igvm_platform_type type)
{
	for (u32 i = 0; i < ig->platform_count; i++) {
		if (ig->platform[i].platform_type == type)
			return &ig->platform[i];
	}
	return NULL;
}

int igvm_platform_of(const struct igvm *ig, u32 mask)
{
	for (u32 i = 0; i < ig->platform_count; i++) {
		if (ig->platform[i].mask == mask)
			return ig->platform[i].platform_type;
	}
	return -1;
}

u32 igvm_page_bytes(const struct igvm_header *h)
{
	return h->u.page.flags & IGVM_PAGE_2MB ? 2 * MiB : IGVM_PAGE_SIZE;
}

u32 igvm_register_count(const struct igvm_header *vp)
{
	return vp->data_len < 4 ? 0 : (vp->data_len - 4) / (u32)sizeof(struct igvm_vbs_record);
}

void igvm_register_get(const struct igvm *ig, const struct igvm_header *vp, u32 i,
		       struct igvm_register *reg)
{
	struct igvm_vbs_record record;
	int form;

	memcpy(&record, vp->data + 4 + i * sizeof(record), sizeof(record));
	form = igvm_register_form(ig->arch, record.name);
	memset(reg, 0, sizeof(*reg));
	reg->vtl = record.vtl;
	reg->name = record.name;
	reg->form = form < 0 ? IGVM_REG_U64 : (enum igvm_register_form)form;
	switch (reg->form) {
	case IGVM_REG_U64: reg->u.value = get_le64(record.value); break;
	case IGVM_REG_TABLE: memcpy(&reg->u.table, record.value, sizeof(reg->u.table)); break;
	case IGVM_REG_SEGMENT: memcpy(&reg->u.segment, record.value, sizeof(reg->u.segment)); break;
	}
}

bool igvm_register_u64(const struct igvm *ig, const struct igvm_header *vp, u32 name, u64 *value)
{
	struct igvm_register reg;

	for (u32 i = 0; i < igvm_register_count(vp); i++) {
		igvm_register_get(ig, vp, i, &reg);
		if (reg.name == name && reg.form == IGVM_REG_U64) {
			*value = reg.u.value;
			return true;
		}
	}
	return false;
}
