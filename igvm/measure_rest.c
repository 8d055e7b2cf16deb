/*
 * A hash of what a launch measurement leaves out. A record for each such header: u32 type, u32
 * length, the content with mask and file offset 0, SHA-384 of the data if the type has any.
 * Inserted areas come at their insertion, so that areas of other platforms do not count: content of
 * the insert with area index 0, u64 bytes, SHA-384 of the initial data, and a chain over the
 * parameters.
 */
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/hash.h"
#include "igvm/internal.h"

struct rest {
	struct igvm_hash hash;
	struct igvm_hash data_hash;
	struct rest_area {
		u32 index;
		u64 bytes;
		u8 data[SHA384_BYTES];
		u8 parameters[SHA384_BYTES];
	} area[IGVM_MAX_AREAS];
	u32 areas;
};

static void rest_data(struct rest *r, const u8 *data, size_t len, u8 out[SHA384_BYTES])
{
	static const u8 none[64];

	if (data) {
		igvm_hash_update(&r->data_hash, data, len);
	} else {
		for (size_t at = 0; at < len; at += sizeof(none))
			igvm_hash_update(&r->data_hash, none, sizeof(none));
	}
	igvm_hash_finish(&r->data_hash, out);
}

static struct rest_area *rest_area(struct rest *r, u32 index)
{
	for (u32 i = 0; i < r->areas; i++) {
		if (r->area[i].index == index)
			return &r->area[i];
	}
	return NULL;
}

static void rest_parameter(struct rest *r, const struct igvm_header *h)
{
	struct rest_area *a = rest_area(r, h->u.parameter.area);
	u8 record[8];

	if (!a)
		return;
	put_le32(record, h->type);
	put_le32(record + 4, h->u.parameter.byte_offset);
	igvm_hash_update(&r->data_hash, a->parameters, sizeof(a->parameters));
	igvm_hash_update(&r->data_hash, record, sizeof(record));
	igvm_hash_finish(&r->data_hash, a->parameters);
}

static void rest_header(struct rest *r, const struct igvm_header *h, bool with_data)
{
	const struct igvm_type_info *info = igvm_type_info(h->type);
	u8 content[sizeof(struct igvm_relocatable_region)] = {0};
	u8 prefix[8], digest[SHA384_BYTES];

	put_le32(prefix, h->type);
	put_le32(prefix + 4, h->length);
	igvm_hash_update(&r->hash, prefix, sizeof(prefix));
	if (!info || h->length > sizeof(content)) { /* unknown, optional */
		igvm_hash_update(&r->hash, h->content, h->length);
		return;
	}
	memcpy(content, h->content, h->length);
	if (info->mask_at >= 0)
		put_le32(content + info->mask_at, 0);
	if (info->file_offset_at >= 0)
		put_le32(content + info->file_offset_at, 0);
	if (h->type == IGVM_PARAMETER_INSERT)
		put_le32(content + offsetof(struct igvm_parameter_insert, area), 0);
	igvm_hash_update(&r->hash, content, h->length);
	if (info->file_offset_at >= 0 && with_data) {
		rest_data(r, h->data, h->data ? h->data_len : IGVM_PAGE_SIZE, digest);
		igvm_hash_update(&r->hash, digest, sizeof(digest));
	}
}

static void rest_insert(struct rest *r, const struct igvm_header *h)
{
	const struct rest_area *a = rest_area(r, h->u.insert.area);
	u8 bytes[8];

	rest_header(r, h, false);
	if (!a)
		return;
	put_le64(bytes, a->bytes);
	igvm_hash_update(&r->hash, bytes, sizeof(bytes));
	igvm_hash_update(&r->hash, a->data, sizeof(a->data));
	igvm_hash_update(&r->hash, a->parameters, sizeof(a->parameters));
}

/* All of the header is in the launch measurement, or is about it. */
static bool is_measured(u32 platform, const struct igvm_header *h)
{
	bool sev = platform == IGVM_PLATFORM_SEV || platform == IGVM_PLATFORM_SEV_ES;

	switch (h->type) {
	case IGVM_SNP_ID_BLOCK:
	case IGVM_VBS_MEASUREMENT:
	case IGVM_CORIM_DOCUMENT:
	case IGVM_CORIM_SIGNATURE: return true;
	case IGVM_PAGE_DATA:
		/* SEV's digest has no addresses. */
		return !sev && !(h->u.page.flags & (IGVM_PAGE_UNMEASURED | IGVM_PAGE_SHARED)) &&
		       !(platform == IGVM_PLATFORM_SEV_SNP &&
			 h->u.page.data_type != IGVM_PAGE_NORMAL);
	case IGVM_VP_CONTEXT: return platform == IGVM_PLATFORM_VSM;
	}
	return false;
}

static void rest_add(struct rest *r, u32 platform, const struct igvm_header *h)
{
	struct rest_area *a;

	if (is_measured(platform, h))
		return;
	if (h->type == IGVM_PARAMETER_AREA) {
		a = &r->area[r->areas++];
		a->index = h->u.area.index;
		a->bytes = h->u.area.number_of_bytes;
		rest_data(r, h->data, a->bytes, a->data);
	} else if (igvm_is_parameter(h->type)) {
		rest_parameter(r, h);
	} else if (h->type == IGVM_PARAMETER_INSERT) {
		rest_insert(r, h);
	} else {
		/* Of a VMSA only the number of its processor is not measured. */
		rest_header(r, h, h->type != IGVM_VP_CONTEXT || platform != IGVM_PLATFORM_SEV_SNP);
	}
}

int igvm_measure_rest(const struct igvm *ig, const struct igvm_supported_platform *platform,
		      u8 digest[IGVM_MAX_DIGEST], struct igvm_error *err)
{
	struct rest *r = calloc(1, sizeof(*r));
	struct igvm_iter it;
	struct igvm_header h;
	bool failed;

	if (!r)
		return igvm_fail_memory(err);
	igvm_hash_init(&r->hash, SHA384_BYTES);
	igvm_hash_init(&r->data_hash, SHA384_BYTES);
	for (igvm_first(ig, &it); igvm_next_of(&it, 0, platform->mask, &h);)
		rest_add(r, platform->platform_type, &h);
	igvm_hash_finish(&r->hash, digest);
	failed = r->hash.failed || r->data_hash.failed;
	igvm_hash_free(&r->hash);
	igvm_hash_free(&r->data_hash);
	free(r);
	return failed ? igvm_fail_memory(err) : 0;
}
