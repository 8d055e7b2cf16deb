/* Inspection: one JSON description of a file, which is also what the text is printed from. */
#include <stdlib.h>
#include <string.h>

#include "igvm/decode.h"
#include "igvm/inspect.h"
#include "igvm/inspect_layout.h"
#include "igvm/internal.h"

static void set_number(json_t *obj, const char *key, u64 value)
{
	json_object_set_new(obj, key, json_integer((json_int_t)value));
}

static void set_text(json_t *obj, const char *key, const char *text)
{
	json_object_set_new(obj, key, json_string(text));
}

/* Text out of a file, up to a NUL: what is not printable ASCII becomes a question mark. */
static void set_foreign_text(json_t *obj, const char *key, const u8 *p, size_t len)
{
	char *text = malloc(len + 1);
	size_t n = 0;

	if (!text)
		return;
	for (; n < len && p[n]; n++)
		text[n] = p[n] >= 0x20 && p[n] <= 0x7e ? (char)p[n] : '?';
	text[n] = 0;
	set_text(obj, key, text);
	free(text);
}

/* --- headers */

static void describe_relocation(const struct igvm_header *h, json_t *obj)
{
	const struct igvm_relocatable_region *r = &h->u.relocatable;

	decode_set_hex(obj, "gpa", r->gpa);
	set_number(obj, "bytes", r->size);
	set_number(obj, "vp", r->vp_index);
	set_number(obj, "vtl", r->vtl);
	decode_set_hex(obj, "alignment", r->alignment);
	decode_set_hex(obj, "minimum_gpa", r->minimum_gpa);
	decode_set_hex(obj, "maximum_gpa", r->maximum_gpa);
	json_object_set_new(obj, "is_vtl2", json_boolean(r->flags & IGVM_RELOC_IS_VTL2));
	json_object_set_new(obj, "moves_pc", json_boolean(r->flags & IGVM_RELOC_APPLY_PC));
	json_object_set_new(obj, "moves_gdtr", json_boolean(r->flags & IGVM_RELOC_APPLY_GDTR));
}

static void describe_page_table(const struct igvm_header *h, json_t *obj)
{
	const struct igvm_page_table_relocation *p = &h->u.page_table;

	decode_set_hex(obj, "gpa", p->gpa);
	set_number(obj, "bytes", p->size);
	set_number(obj, "used_bytes", p->used_size);
	set_number(obj, "vp", p->vp_index);
	set_number(obj, "vtl", p->vtl);
}

static void describe_platform(const struct igvm_supported_platform *p, json_t *obj)
{
	set_text(obj, "platform", igvm_platform_name(p->platform_type));
	decode_set_hex(obj, "mask", p->mask);
	set_number(obj, "highest_vtl", p->highest_vtl);
	set_number(obj, "platform_version", p->platform_version);
	decode_set_hex(obj, "shared_gpa_boundary", p->shared_gpa_boundary);
}

/* The platform type that a policy is read as: the first one of its mask */
static int policy_platform(const struct igvm *ig, u32 mask)
{
	for (u32 i = 0; i < ig->platform_count; i++) {
		if (ig->platform[i].mask & mask)
			return ig->platform[i].platform_type;
	}
	return -1;
}

static void describe_required(const struct igvm_header *h, json_t *obj)
{
	decode_set_hex(obj, "gpa", h->u.required.gpa);
	set_number(obj, "bytes", h->u.required.number_of_bytes);
	json_object_set_new(obj, "vtl2_protectable",
			    json_boolean(h->u.required.flags & IGVM_MEMORY_VTL2_PROTECTABLE));
}

static void describe_context(const struct igvm *ig, const struct igvm_header *h, json_t *obj)
{
	set_number(obj, "vp", h->u.vp.vp_index);
	if (h->u.vp.gpa)
		decode_set_hex(obj, "gpa", h->u.vp.gpa);
	decode_context(obj, ig, h);
}

static void describe_content(const struct igvm *ig, const struct igvm_header *h, json_t *obj)
{
	switch (h->type) {
	case IGVM_SUPPORTED_PLATFORM: describe_platform(&h->u.platform, obj); break;
	case IGVM_GUEST_POLICY:
		decode_policy(obj, policy_platform(ig, h->mask), h->u.guest_policy.policy);
		break;
	case IGVM_RELOCATABLE_REGION: describe_relocation(h, obj); break;
	case IGVM_PAGE_TABLE_RELOCATION: describe_page_table(h, obj); break;
	case IGVM_CORIM_DOCUMENT:
	case IGVM_CORIM_SIGNATURE: set_number(obj, "bytes", h->u.corim.size_bytes); break;
	case IGVM_CCA_POLICY: decode_cca_policy(obj, &h->u.cca_policy); break;
	case IGVM_PARAMETER_AREA:
		set_number(obj, "area", h->u.area.index);
		set_number(obj, "bytes", h->u.area.number_of_bytes);
		json_object_set_new(obj, "initial_data", json_boolean(h->data != NULL));
		break;
	case IGVM_PAGE_DATA:
		decode_set_hex(obj, "gpa", h->u.page.gpa);
		set_text(obj, "kind", inspect_page_kind(-1, &h->u.page));
		set_text(obj, "data_type", inspect_page_type(h->u.page.data_type));
		break;
	case IGVM_PARAMETER_INSERT:
		decode_set_hex(obj, "gpa", h->u.insert.gpa);
		set_number(obj, "area", h->u.insert.area);
		break;
	case IGVM_VP_CONTEXT: describe_context(ig, h, obj); break;
	case IGVM_REQUIRED_MEMORY: describe_required(h, obj); break;
	case IGVM_SNP_ID_BLOCK: decode_id_block(obj, h->u.snp_id_block); break;
	case IGVM_ERROR_RANGE:
		decode_set_hex(obj, "gpa", h->u.error_range.gpa);
		set_number(obj, "bytes", h->u.error_range.size_bytes);
		break;
	case IGVM_VBS_MEASUREMENT: decode_vbs_measurement(obj, h->u.vbs_measurement); break;
	default:
		if (igvm_is_parameter(h->type)) {
			set_number(obj, "area", h->u.parameter.area);
			decode_set_hex(obj, "byte_offset", h->u.parameter.byte_offset);
		} else {
			set_number(obj, "bytes", h->length);
		}
	}
}

static json_t *describe_header(const struct igvm *ig, const struct igvm_header *h)
{
	const struct igvm_type_info *info = igvm_type_info(h->type);
	json_t *obj = json_object();

	set_number(obj, "index", h->index);
	decode_set_hex(obj, "offset", h->offset);
	set_text(obj, "type", info ? info->name : "optional");
	if (!info)
		decode_set_hex(obj, "code", h->type);
	else if (info->mask_at >= 0)
		decode_set_hex(obj, "mask", h->mask);
	describe_content(ig, h, obj);
	return obj;
}

/* Pages that follow each other with equal properties are one entry. */
static bool continues(const struct igvm_header *first, u64 bytes, const struct igvm_header *h)
{
	return h->type == IGVM_PAGE_DATA && h->u.page.gpa == first->u.page.gpa + bytes &&
	       h->mask == first->mask && h->u.page.flags == first->u.page.flags &&
	       h->u.page.data_type == first->u.page.data_type;
}

static bool next_for(struct igvm_iter *it, u32 mask, struct igvm_header *h)
{
	while (igvm_next(it, h)) {
		if (h->mask & mask)
			return true;
	}
	return false;
}

static json_t *describe_headers(const struct igvm *ig, u32 mask)
{
	json_t *list = json_array(), *obj;
	struct igvm_iter it;
	struct igvm_header h, first;
	bool more;

	igvm_first(ig, &it);
	more = next_for(&it, mask, &h);
	while (more) {
		u64 bytes, with_data = 0, count = 0;

		first = h;
		obj = describe_header(ig, &first);
		if (first.type != IGVM_PAGE_DATA) {
			more = next_for(&it, mask, &h);
			json_array_append_new(list, obj);
			continue;
		}
		bytes = 0;
		do {
			bytes += igvm_page_bytes(&h);
			with_data += h.data_len;
			count++;
			more = next_for(&it, mask, &h);
		} while (more && continues(&first, bytes, &h));
		set_number(obj, "headers", count);
		set_number(obj, "bytes", bytes);
		set_number(obj, "bytes_with_data", with_data);
		json_array_append_new(list, obj);
	}
	return list;
}

/* --- parts */

/* What each platform's addresses mean; parallel to ig->platform */
struct all_parts {
	bool found[IGVM_PLATFORM_TYPES];
	struct igvm_paravisor pv[IGVM_PLATFORM_TYPES];
	struct parts parts[IGVM_PLATFORM_TYPES];
};

static struct all_parts *find_parts(const struct igvm *ig)
{
	struct all_parts *all = calloc(1, sizeof(*all));

	for (u32 i = 0; all && i < ig->platform_count; i++) {
		all->found[i] = !igvm_find_paravisor(ig, ig->platform[i].mask, &all->pv[i], NULL);
		if (all->found[i])
			parts_find(&all->parts[i], &all->pv[i]);
	}
	return all;
}

/* By the first platform that knows the page */
static enum part_group group_of(const struct igvm *ig, const struct all_parts *all,
				const struct igvm_header *h)
{
	enum part_group group = PART_OTHER;

	for (u32 i = 0; i < ig->platform_count && group == PART_OTHER; i++) {
		if (h->mask & ig->platform[i].mask)
			group = parts_of(&all->parts[i], h->u.page.gpa)->group;
	}
	return group;
}

/* Data that several headers share counts for the first one. */
static json_t *describe_parts(const struct igvm *ig, const struct all_parts *all)
{
	u64 bytes[PART_GROUPS] = {0}, sum = 0;
	u8 *seen = calloc(1, ig->file_size / 8 + 1);
	json_t *obj = json_object();
	struct igvm_iter it;
	struct igvm_header h;

	if (!seen)
		return obj;
	for (igvm_first(ig, &it); igvm_next(&it, &h);) {
		size_t at = h.data ? (size_t)(h.data - ig->file) : 0;
		enum part_group group = PART_CONFIG;

		if (!h.data || (seen[at / 8] & BIT(at % 8)))
			continue;
		seen[at / 8] |= (u8)BIT(at % 8);
		if (h.type == IGVM_PAGE_DATA)
			group = group_of(ig, all, &h);
		bytes[group] += h.data_len;
	}
	free(seen);
	/* What stands in front of the data, and data that nothing points to */
	bytes[PART_HEADERS] = ig->headers_offset + ig->headers_size;
	for (u32 i = 0; i < PART_GROUPS; i++)
		sum += bytes[i];
	if (sum < ig->file_size)
		bytes[PART_OTHER] += ig->file_size - sum;
	for (u32 i = 0; i < PART_GROUPS; i++)
		set_number(obj, part_group_name(i), bytes[i]);
	return obj;
}

json_t *inspect_parts(const struct igvm *ig)
{
	struct all_parts *all = find_parts(ig);
	json_t *obj = all ? describe_parts(ig, all) : NULL;

	free(all);
	return obj;
}

/* --- platforms */

static void describe_cmdline(const struct igvm *ig, u32 mask, u64 gpa, json_t *obj)
{
	const u8 *page = parts_page(ig, mask, gpa);
	static const char *const policies[] = {"static", "host appends"};
	struct shim_cmdline c = {0};

	if (page)
		memcpy(&c, page, sizeof(c));
	set_foreign_text(obj, "command_line", (const u8 *)c.text,
			 MIN((size_t)c.length, sizeof(c.text)));
	set_text(obj, "command_line_policy",
		 c.policy < ARRAY_SIZE(policies) ? policies[c.policy] : "unknown");
}

static void describe_vtl0(const struct igvm *ig, const struct igvm_paravisor *pv, json_t *obj)
{
	const struct shim_measured_vtl0 *v = &pv->vtl0;
	json_t *list = json_array();
	const u8 *page;

	json_object_set_new(obj, "vtl0_payload", list);
	if (!pv->has_vtl0_config)
		return;
	if (v->supported & SHIM_VTL0_UEFI)
		json_array_append_new(list, json_string("uefi"));
	if (v->supported & SHIM_VTL0_PCAT)
		json_array_append_new(list, json_string("pcat"));
	if (v->supported & SHIM_VTL0_LINUX) {
		json_array_append_new(list, json_string("linux"));
		decode_set_hex(obj, "vtl0_kernel_entry", v->kernel_entry);
		set_number(obj, "vtl0_initrd_bytes", v->initrd_size);
		page = parts_page(ig, pv->mask, v->cmdline_page * PAGE_SIZE);
		set_foreign_text(obj, "vtl0_command_line", page, page ? PAGE_SIZE : 0);
	}
}

static json_t *describe_paravisor(const struct igvm *ig, const struct igvm_paravisor *pv)
{
	static const char *const isolation[] = {"unknown", "none or vbs", "snp", "tdx"};
	const struct shim_params *p = &pv->params;
	json_t *obj = json_object();

	set_text(obj, "isolation",
		 isolation[p->isolation < ARRAY_SIZE(isolation) ? p->isolation : 0]);
	decode_set_hex(obj, "memory_start", pv->shim_gpa + (u64)p->memory_start);
	set_number(obj, "memory_bytes", p->memory_size);
	set_number(obj, "used_bytes", (u64)p->used_end - (u64)p->used_start);
	decode_set_hex(obj, "shim", pv->shim_gpa);
	decode_set_hex(obj, "kernel_entry", pv->shim_gpa + (u64)p->kernel_entry);
	decode_set_hex(obj, "initrd", pv->shim_gpa + (u64)p->initrd);
	set_number(obj, "initrd_bytes", p->initrd_size);
	decode_set_hex(obj, "initrd_crc", p->initrd_crc);
	describe_cmdline(ig, pv->mask, pv->shim_gpa + (u64)p->cmdline, obj);
	describe_vtl0(ig, pv, obj);
	return obj;
}

/* Appends an object with what `describe` says of h to the list obj[key]. */
static json_t *add_to_list(json_t *obj, const char *key)
{
	json_t *list = json_object_get(obj, key), *item = json_object();

	if (!list) {
		list = json_array();
		json_object_set_new(obj, key, list);
	}
	json_array_append_new(list, item);
	return item;
}

/* What headers say of the platform, but for its memory */
static void describe_state(const struct igvm *ig, const struct igvm_supported_platform *p,
			   json_t *obj)
{
	struct igvm_iter it;
	struct igvm_header h;
	u64 contexts = 0;
	json_t *item;

	for (igvm_first(ig, &it); igvm_next_of(&it, 0, p->mask, &h);) {
		switch (h.type) {
		case IGVM_GUEST_POLICY:
			item = json_object();
			decode_policy(item, p->platform_type, h.u.guest_policy.policy);
			json_object_set_new(obj, "guest_policy", item);
			break;
		case IGVM_CCA_POLICY:
			item = json_object();
			decode_cca_policy(item, &h.u.cca_policy);
			json_object_set_new(obj, "cca_policy", item);
			break;
		case IGVM_RELOCATABLE_REGION:
			describe_relocation(&h, add_to_list(obj, "relocatable"));
			break;
		case IGVM_PAGE_TABLE_RELOCATION:
			describe_page_table(&h, add_to_list(obj, "page_tables"));
			break;
		case IGVM_REQUIRED_MEMORY:
			describe_required(&h, add_to_list(obj, "required_memory"));
			break;
		case IGVM_VP_CONTEXT:
			if (contexts++ < 4) /* the headers show all */
				describe_context(ig, &h, add_to_list(obj, "contexts"));
			break;
		case IGVM_SNP_ID_BLOCK:
			decode_id_block(add_to_list(obj, "id_block"), h.u.snp_id_block);
			break;
		case IGVM_VBS_MEASUREMENT:
			decode_vbs_measurement(add_to_list(obj, "vbs_measurement"),
					       h.u.vbs_measurement);
			break;
		case IGVM_CORIM_DOCUMENT:
			set_number(obj, "corim_document_bytes", h.u.corim.size_bytes);
			break;
		case IGVM_CORIM_SIGNATURE:
			set_number(obj, "corim_signature_bytes", h.u.corim.size_bytes);
			break;
		}
	}
	set_number(obj, "context_count", contexts);
}

static json_t *describe_platforms(const struct igvm *ig, u32 mask, const struct all_parts *all)
{
	json_t *list = json_array();

	for (u32 i = 0; i < ig->platform_count; i++) {
		const struct igvm_supported_platform *p = &ig->platform[i];
		json_t *obj, *totals, *layout;

		if (!(p->mask & mask))
			continue;
		obj = json_object();
		totals = json_object();
		describe_platform(p, obj);
		describe_state(ig, p, obj);
		layout = inspect_layout(ig, p->mask, &all->parts[i], totals);
		json_object_set_new(obj, "totals", totals);
		if (all->found[i])
			json_object_set_new(obj, "paravisor", describe_paravisor(ig, &all->pv[i]));
		json_array_append_new(list, obj);
		if (!layout) {
			json_decref(list);
			return NULL;
		}
		json_object_set_new(obj, "layout", layout);
	}
	return list;
}

json_t *inspect_describe_some(const struct igvm *ig, u32 mask, bool headers)
{
	json_t *obj = json_object(), *file = json_object(), *platforms = NULL;
	struct all_parts *all = find_parts(ig);

	if (obj && file && all)
		platforms = describe_platforms(ig, mask, all);
	if (!platforms) {
		json_decref(obj);
		json_decref(file);
		free(all);
		return NULL;
	}
	set_number(file, "format_version", ig->version);
	set_text(file, "architecture", ig->arch == IGVM_ARCH_X64 ? "x64" : "aarch64");
	set_number(file, "bytes", ig->file_size);
	set_number(file, "header_count", ig->header_count);
	set_number(file, "header_bytes", ig->headers_size);
	decode_set_hex(file, "checksum", ig->checksum);
	json_object_set_new(obj, "file", file);
	json_object_set_new(obj, "platforms", platforms);
	json_object_set_new(obj, "parts", describe_parts(ig, all));
	if (headers)
		json_object_set_new(obj, "headers", describe_headers(ig, mask));
	free(all);
	return obj;
}

json_t *inspect_describe(const struct igvm *ig)
{
	return inspect_describe_some(ig, ~0u, true);
}
