/* Comparison of two images by meaning. */
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/internal.h"

/* What is compared of each header type; masks, file offsets and area numbers are not. */
static const struct field {
	u32 type;
	u16 offset;
	u16 size; /* more than 8: compared as bytes */
	const char *name;
} fields[] = {
#define FIELD(type, structure, member)                                      \
	{                                                                   \
		type, offsetof(struct structure, member),                   \
			sizeof(((struct structure *)NULL)->member), #member \
	}
	FIELD(IGVM_SUPPORTED_PLATFORM, igvm_supported_platform, highest_vtl),
	FIELD(IGVM_SUPPORTED_PLATFORM, igvm_supported_platform, platform_version),
	FIELD(IGVM_SUPPORTED_PLATFORM, igvm_supported_platform, shared_gpa_boundary),
	FIELD(IGVM_GUEST_POLICY, igvm_guest_policy, policy),
	FIELD(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, vp_index),
	FIELD(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, vtl),
	FIELD(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, flags),
	FIELD(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, alignment),
	FIELD(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, gpa),
	FIELD(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, size),
	FIELD(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, minimum_gpa),
	FIELD(IGVM_RELOCATABLE_REGION, igvm_relocatable_region, maximum_gpa),
	FIELD(IGVM_PAGE_TABLE_RELOCATION, igvm_page_table_relocation, vp_index),
	FIELD(IGVM_PAGE_TABLE_RELOCATION, igvm_page_table_relocation, vtl),
	FIELD(IGVM_PAGE_TABLE_RELOCATION, igvm_page_table_relocation, gpa),
	FIELD(IGVM_PAGE_TABLE_RELOCATION, igvm_page_table_relocation, size),
	FIELD(IGVM_PAGE_TABLE_RELOCATION, igvm_page_table_relocation, used_size),
	FIELD(IGVM_CORIM_DOCUMENT, igvm_corim, size_bytes),
	FIELD(IGVM_CORIM_SIGNATURE, igvm_corim, size_bytes),
	FIELD(IGVM_CCA_POLICY, igvm_cca_policy, required_zeroes),
	FIELD(IGVM_CCA_POLICY, igvm_cca_policy, required_ones),
	FIELD(IGVM_CCA_POLICY, igvm_cca_policy, hash_algorithm),
	FIELD(IGVM_CCA_POLICY, igvm_cca_policy, lfa_policy),
	FIELD(IGVM_PARAMETER_AREA, igvm_parameter_area, number_of_bytes),
	FIELD(IGVM_PAGE_DATA, igvm_page_data, gpa),
	FIELD(IGVM_PAGE_DATA, igvm_page_data, flags),
	FIELD(IGVM_PAGE_DATA, igvm_page_data, data_type),
	FIELD(IGVM_PARAMETER_INSERT, igvm_parameter_insert, gpa),
	FIELD(IGVM_VP_CONTEXT, igvm_vp_context, gpa),
	FIELD(IGVM_VP_CONTEXT, igvm_vp_context, vp_index),
	FIELD(IGVM_REQUIRED_MEMORY, igvm_required_memory, gpa),
	FIELD(IGVM_REQUIRED_MEMORY, igvm_required_memory, number_of_bytes),
	FIELD(IGVM_REQUIRED_MEMORY, igvm_required_memory, flags),
	FIELD(IGVM_ERROR_RANGE, igvm_error_range, gpa),
	FIELD(IGVM_ERROR_RANGE, igvm_error_range, size_bytes),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, author_key_enabled),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, ld),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, family_id),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, image_id),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, version),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, guest_svn),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, id_key_algorithm),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, author_key_algorithm),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, id_key_signature),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, id_public_key),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, author_key_signature),
	FIELD(IGVM_SNP_ID_BLOCK, igvm_snp_id_block, author_public_key),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, version),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, product_id),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, module_id),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, security_version),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, policy_flags),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, boot_digest_algo),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, signing_algo),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, boot_digest),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, signature),
	FIELD(IGVM_VBS_MEASUREMENT, igvm_vbs_measurement, public_key),
#undef FIELD
};

/* A header that applies to the platform */
struct ref {
	u32 offset;
	u32 index;
	u32 type;
	u32 place; /* in the list */
	u64 key;   /* what makes two headers of a type the same one */
};

struct side {
	const struct igvm *ig;
	u32 mask;
	struct ref *list;   /* in file order */
	struct ref *sorted; /* by type, key, place */
	u32 count;
	u32 area[IGVM_MAX_AREAS]; /* index of the n-th area that the platform inserts */
	u32 areas;
};

struct differ {
	struct side a;
	struct side b;
	int platform;
	igvm_difference_fn *fn;
	void *ctx;
	u64 *count;
};

/* n of the area with this index; IGVM_MAX_AREAS: not inserted on the platform */
static u32 area_number(const struct side *s, u32 index)
{
	u32 i = 0;

	while (i < s->areas && s->area[i] != index)
		i++;
	return i < s->areas ? i : IGVM_MAX_AREAS;
}

static u64 key_of(const struct side *s, const struct igvm_header *h)
{
	switch (h->type) {
	case IGVM_PAGE_DATA: return h->u.page.gpa;
	case IGVM_PARAMETER_INSERT: return h->u.insert.gpa;
	case IGVM_REQUIRED_MEMORY: return h->u.required.gpa;
	case IGVM_ERROR_RANGE: return h->u.error_range.gpa;
	case IGVM_RELOCATABLE_REGION: return h->u.relocatable.gpa;
	case IGVM_VP_CONTEXT: return h->u.vp.vp_index;
	case IGVM_PARAMETER_AREA: return area_number(s, h->u.area.index);
	}
	return igvm_is_parameter(h->type) ? area_number(s, h->u.parameter.area) : 0;
}

static bool is_for_other_platform(const struct side *s, const struct igvm_header *h)
{
	if (h->type == IGVM_PARAMETER_AREA)
		return area_number(s, h->u.area.index) == IGVM_MAX_AREAS;
	return igvm_is_parameter(h->type) && area_number(s, h->u.parameter.area) == IGVM_MAX_AREAS;
}

static int compare_refs(const void *pa, const void *pb)
{
	const struct ref *a = pa, *b = pb;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->place < b->place ? -1 : a->place > b->place;
}

static int load_side(struct side *s, const struct igvm *ig, u32 mask)
{
	struct igvm_iter it;
	struct igvm_header h;

	*s = (struct side){.ig = ig, .mask = mask};
	s->list = calloc(ig->header_count + 1, sizeof(*s->list));
	s->sorted = calloc(ig->header_count + 1, sizeof(*s->sorted));
	if (!s->list || !s->sorted)
		return -1;
	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_PARAMETER_INSERT, mask, &h);)
		s->area[s->areas++] = h.u.insert.area; /* each area once */
	for (igvm_first(ig, &it); igvm_next_of(&it, 0, mask, &h);) {
		if (is_for_other_platform(s, &h))
			continue;
		s->list[s->count] = (struct ref){.offset = h.offset,
						 .index = h.index,
						 .type = h.type,
						 .place = s->count,
						 .key = key_of(s, &h)};
		s->count++;
	}
	memcpy(s->sorted, s->list, s->count * sizeof(*s->list));
	qsort(s->sorted, s->count, sizeof(*s->sorted), compare_refs);
	return 0;
}

static void free_side(struct side *s)
{
	free(s->list);
	free(s->sorted);
}

/* Place of the same header from `from` on, or s->count */
static u32 find_from(const struct side *s, const struct ref *r, u32 from)
{
	struct ref wanted = {.type = r->type, .key = r->key, .place = from};
	u32 low = 0, high = s->count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (compare_refs(&s->sorted[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < s->count && s->sorted[low].type == r->type && s->sorted[low].key == r->key)
		return s->sorted[low].place;
	return s->count;
}

static void header_at(const struct side *s, const struct ref *r, struct igvm_header *h)
{
	struct igvm_iter it = {.ig = s->ig, .offset = r->offset, .index = r->index};

	igvm_next(&it, h);
}

static void report(struct differ *d, const struct igvm_difference *difference)
{
	(*d->count)++;
	if (d->fn)
		d->fn(d->ctx, difference);
}

static void set_gpa(struct igvm_difference *difference, const struct igvm_header *h)
{
	difference->has_gpa = true;
	switch (h->type) {
	case IGVM_PAGE_DATA: difference->gpa = h->u.page.gpa; break;
	case IGVM_PARAMETER_INSERT: difference->gpa = h->u.insert.gpa; break;
	case IGVM_REQUIRED_MEMORY: difference->gpa = h->u.required.gpa; break;
	case IGVM_ERROR_RANGE: difference->gpa = h->u.error_range.gpa; break;
	case IGVM_RELOCATABLE_REGION: difference->gpa = h->u.relocatable.gpa; break;
	case IGVM_PAGE_TABLE_RELOCATION: difference->gpa = h->u.page_table.gpa; break;
	case IGVM_VP_CONTEXT:
		difference->gpa = h->u.vp.gpa;
		difference->has_gpa = h->u.vp.gpa != 0;
		break;
	default: difference->has_gpa = false; break;
	}
}

static void report_only(struct differ *d, const struct side *s, const struct ref *r)
{
	bool in_a = s == &d->a;
	struct igvm_difference difference = {.kind = in_a ? IGVM_DIFF_ONLY_A : IGVM_DIFF_ONLY_B,
					     .platform = d->platform,
					     .type = r->type,
					     .header_a = in_a ? r->index : IGVM_NO_HEADER,
					     .header_b = in_a ? IGVM_NO_HEADER : r->index};
	struct igvm_header h;

	header_at(s, r, &h);
	set_gpa(&difference, &h);
	report(d, &difference);
}

/* Fills in where the bytes differ; false if nowhere. NULL: zeros */
static bool compare_bytes(struct igvm_difference *difference, const u8 *a, const u8 *b, u32 len)
{
	difference->bytes = 0;
	if (a == b || (a && b && !memcmp(a, b, len)))
		return false;
	for (u32 i = 0; i < len; i++) {
		if ((a ? a[i] : 0) == (b ? b[i] : 0))
			continue;
		if (!difference->bytes++)
			difference->at = i;
	}
	difference->kind = IGVM_DIFF_DATA;
	difference->len = len;
	difference->data_a = a;
	difference->data_b = b;
	return difference->bytes;
}

static u64 number(const u8 *p, u32 size)
{
	u64 v = 0;

	for (u32 i = size; i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

static void compare_fields(struct differ *d, struct igvm_difference *difference,
			   const struct igvm_header *a, const struct igvm_header *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const struct field *f = &fields[i];

		if (f->type != a->type)
			continue;
		difference->field = f->name;
		if (f->size > 8) {
			if (compare_bytes(difference, a->content + f->offset,
					  b->content + f->offset, f->size))
				report(d, difference);
			continue;
		}
		difference->kind = IGVM_DIFF_FIELD;
		difference->value_a = number(a->content + f->offset, f->size);
		difference->value_b = number(b->content + f->offset, f->size);
		if (difference->value_a != difference->value_b)
			report(d, difference);
	}
	difference->field = NULL;
}

/* VBS contexts differ by register, in the order of the list. */
static void compare_registers(struct differ *d, struct igvm_difference *difference,
			      const struct igvm_header *a, const struct igvm_header *b)
{
	u32 count = MIN(igvm_register_count(a), igvm_register_count(b));

	for (u32 i = 0; i < count; i++) {
		size_t at = 4 + i * sizeof(struct igvm_vbs_record);

		difference->field = igvm_register_name(get_le32(a->data + at + 1));
		if (compare_bytes(difference, a->data + at, b->data + at,
				  sizeof(struct igvm_vbs_record)))
			report(d, difference);
	}
	if (igvm_register_count(a) == igvm_register_count(b))
		return;
	difference->kind = IGVM_DIFF_FIELD;
	difference->field = "registers";
	difference->value_a = igvm_register_count(a);
	difference->value_b = igvm_register_count(b);
	report(d, difference);
}

static void compare_headers(struct differ *d, const struct ref *ra, const struct ref *rb)
{
	struct igvm_difference difference = {.platform = d->platform,
					     .type = ra->type,
					     .header_a = ra->index,
					     .header_b = rb->index};
	struct igvm_header a, b;
	u32 len;

	header_at(&d->a, ra, &a);
	header_at(&d->b, rb, &b);
	set_gpa(&difference, &a);
	compare_fields(d, &difference, &a, &b);
	if (igvm_is_parameter(a.type) && a.u.parameter.byte_offset != b.u.parameter.byte_offset) {
		difference.kind = IGVM_DIFF_FIELD;
		difference.field = "byte_offset";
		difference.value_a = a.u.parameter.byte_offset;
		difference.value_b = b.u.parameter.byte_offset;
		report(d, &difference);
	}
	if (a.type == IGVM_PARAMETER_INSERT &&
	    area_number(&d->a, a.u.insert.area) != area_number(&d->b, b.u.insert.area)) {
		difference.kind = IGVM_DIFF_FIELD;
		difference.field = "area";
		difference.value_a = a.u.insert.area;
		difference.value_b = b.u.insert.area;
		report(d, &difference);
	}
	difference.field = NULL;
	if (!igvm_type_info(a.type)) { /* unknown, optional */
		len = MIN(a.length, b.length);
		if (compare_bytes(&difference, a.content, b.content, len) || a.length != b.length)
			report(d, &difference);
		return;
	}
	if (a.type == IGVM_VP_CONTEXT && d->platform == IGVM_PLATFORM_VSM) {
		compare_registers(d, &difference, &a, &b);
		return;
	}
	len = a.data && b.data ? MIN(a.data_len, b.data_len) : MAX(a.data_len, b.data_len);
	if (compare_bytes(&difference, a.data, b.data, len))
		report(d, &difference);
}

static void compare_lists(struct differ *d)
{
	u32 i = 0, j = 0;

	while (i < d->a.count && j < d->b.count) {
		const struct ref *a = &d->a.list[i], *b = &d->b.list[j];
		u32 i2, j2;

		if (a->type == b->type && a->key == b->key) {
			compare_headers(d, a, b);
			i++;
			j++;
			continue;
		}
		/* Skip on the side where the other's header comes sooner. */
		i2 = find_from(&d->a, b, i);
		j2 = find_from(&d->b, a, j);
		if (j2 == d->b.count || (i2 < d->a.count && i2 - i < j2 - j))
			report_only(d, &d->a, &d->a.list[i++]);
		else
			report_only(d, &d->b, &d->b.list[j++]);
	}
	while (i < d->a.count)
		report_only(d, &d->a, &d->a.list[i++]);
	while (j < d->b.count)
		report_only(d, &d->b, &d->b.list[j++]);
}

static void compare_files(struct differ *d, const struct igvm *a, const struct igvm *b)
{
	struct igvm_difference difference = {.kind = IGVM_DIFF_FILE,
					     .platform = -1,
					     .header_a = IGVM_NO_HEADER,
					     .header_b = IGVM_NO_HEADER};

	difference.field = "format version";
	difference.value_a = a->version;
	difference.value_b = b->version;
	if (a->version != b->version)
		report(d, &difference);
	difference.field = "architecture";
	difference.value_a = a->arch;
	difference.value_b = b->arch;
	if (a->arch != b->arch)
		report(d, &difference);
	difference.field = "platform";
	for (u32 type = 0; type < IGVM_PLATFORM_TYPES; type++) {
		difference.platform = (int)type;
		difference.value_a = igvm_find_platform(a, type) != NULL;
		difference.value_b = igvm_find_platform(b, type) != NULL;
		if (difference.value_a != difference.value_b)
			report(d, &difference);
	}
}

int igvm_diff(const struct igvm *a, const struct igvm *b, igvm_difference_fn *fn, void *ctx,
	      u64 *count, struct igvm_error *err)
{
	struct differ *d = calloc(1, sizeof(*d));
	int ret = 0;

	*count = 0;
	if (!d)
		return igvm_fail_memory(err);
	d->fn = fn;
	d->ctx = ctx;
	d->count = count;
	compare_files(d, a, b);
	for (u32 type = 0; type < IGVM_PLATFORM_TYPES && !ret; type++) {
		const struct igvm_supported_platform *pa = igvm_find_platform(a, type);
		const struct igvm_supported_platform *pb = igvm_find_platform(b, type);

		if (!pa || !pb)
			continue;
		d->platform = (int)type;
		if (load_side(&d->a, a, pa->mask) || load_side(&d->b, b, pb->mask))
			ret = igvm_fail_memory(err);
		else
			compare_lists(d);
		free_side(&d->a);
		free_side(&d->b);
		d->a = d->b = (struct side){0};
	}
	free(d);
	return ret;
}
