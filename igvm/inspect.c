/* Inspection: one JSON description of a file, which is also what the text is printed from. */
#include <stdlib.h>
#include <string.h>

#include "igvm/inspect.h"
#include "igvm/internal.h"
#include "igvm/parts.h"

/* A range of guest memory of one kind */
struct extent {
	u64 start, end;
	u32 mask;
	const char *part;
	const char *kind; /* "measured", "unmeasured", "shared", "parameter", "error-range" */
	u16 data_type;
};

struct extents {
	struct extent *v;
	size_t count, capacity;
};

static void set_hex(json_t *obj, const char *key, u64 value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
	json_object_set_new(obj, key, json_string(text));
}

static void set_number(json_t *obj, const char *key, u64 value)
{
	json_object_set_new(obj, key, json_integer((json_int_t)value));
}

static void set_text(json_t *obj, const char *key, const char *text)
{
	json_object_set_new(obj, key, json_string(text));
}

static void set_bytes(json_t *obj, const char *key, const u8 *p, size_t len)
{
	char text[2 * 64 + 1] = "";

	for (size_t i = 0; i < len && i < 64; i++)
		snprintf(text + 2 * i, 3, "%02x", p[i]);
	set_text(obj, key, text);
}

static const char *page_type_name(u16 type)
{
	static const char *const names[] = {"normal", "secrets", "cpuid", "cpuid-xf"};

	return type < ARRAY_SIZE(names) ? names[type] : "unknown";
}

static const char *page_kind(u32 flags)
{
	if (flags & IGVM_PAGE_SHARED)
		return "shared";
	return flags & IGVM_PAGE_UNMEASURED ? "unmeasured" : "measured";
}

/* --- headers */

static void describe_registers(const struct igvm *ig, const struct igvm_header *h, json_t *obj)
{
	json_t *regs = json_object();
	struct igvm_register reg;
	char name[16];

	for (u32 i = 0; i < igvm_register_count(h); i++) {
		const char *known;
		json_t *value;

		igvm_register_get(ig, h, i, &reg);
		if (i == 0)
			set_number(obj, "vtl", reg.vtl);
		known = ig->arch == IGVM_ARCH_X64 ? igvm_register_name(reg.name) : NULL;
		snprintf(name, sizeof(name), "0x%x", reg.name);
		if (reg.form == IGVM_REG_U64) {
			set_hex(regs, known ? known : name, reg.u.value);
			continue;
		}
		value = json_object();
		if (reg.form == IGVM_REG_TABLE) {
			set_hex(value, "base", reg.u.table.base);
			set_hex(value, "limit", reg.u.table.limit);
		} else {
			set_hex(value, "selector", reg.u.segment.selector);
			set_hex(value, "base", reg.u.segment.base);
			set_hex(value, "limit", reg.u.segment.limit);
			set_hex(value, "attributes", reg.u.segment.attributes);
		}
		json_object_set_new(regs, known ? known : name, value);
	}
	json_object_set_new(obj, "registers", regs);
}

static void describe_id_block(const struct igvm_snp_id_block *b, json_t *obj)
{
	set_number(obj, "author_key_enabled", b->author_key_enabled);
	set_bytes(obj, "launch_digest", b->ld, sizeof(b->ld));
	set_bytes(obj, "family_id", b->family_id, sizeof(b->family_id));
	set_bytes(obj, "image_id", b->image_id, sizeof(b->image_id));
	set_number(obj, "id_block_version", b->version);
	set_number(obj, "guest_svn", b->guest_svn);
	set_number(obj, "id_key_algorithm", b->id_key_algorithm);
	set_number(obj, "author_key_algorithm", b->author_key_algorithm);
}

static void describe_relocation(const struct igvm_header *h, json_t *obj)
{
	const struct igvm_relocatable_region *r = &h->u.relocatable;

	set_hex(obj, "gpa", r->gpa);
	set_number(obj, "bytes", r->size);
	set_number(obj, "vp", r->vp_index);
	set_number(obj, "vtl", r->vtl);
	set_hex(obj, "alignment", r->alignment);
	set_hex(obj, "minimum_gpa", r->minimum_gpa);
	set_hex(obj, "maximum_gpa", r->maximum_gpa);
	set_hex(obj, "flags", r->flags);
}

static void describe_page_table(const struct igvm_header *h, json_t *obj)
{
	const struct igvm_page_table_relocation *p = &h->u.page_table;

	set_hex(obj, "gpa", p->gpa);
	set_number(obj, "bytes", p->size);
	set_number(obj, "used_bytes", p->used_size);
	set_number(obj, "vp", p->vp_index);
	set_number(obj, "vtl", p->vtl);
}

static void describe_platform(const struct igvm_header *h, json_t *obj)
{
	set_text(obj, "platform", igvm_platform_name(h->u.platform.platform_type));
	set_number(obj, "highest_vtl", h->u.platform.highest_vtl);
	set_number(obj, "platform_version", h->u.platform.platform_version);
	set_hex(obj, "shared_gpa_boundary", h->u.platform.shared_gpa_boundary);
}

static void describe_content(const struct igvm *ig, const struct igvm_header *h, json_t *obj)
{
	switch (h->type) {
	case IGVM_SUPPORTED_PLATFORM: describe_platform(h, obj); break;
	case IGVM_GUEST_POLICY: set_hex(obj, "policy", h->u.guest_policy.policy); break;
	case IGVM_RELOCATABLE_REGION: describe_relocation(h, obj); break;
	case IGVM_PAGE_TABLE_RELOCATION: describe_page_table(h, obj); break;
	case IGVM_CORIM_DOCUMENT:
	case IGVM_CORIM_SIGNATURE: set_number(obj, "bytes", h->u.corim.size_bytes); break;
	case IGVM_CCA_POLICY:
		set_hex(obj, "required_zeroes", h->u.cca_policy.required_zeroes);
		set_hex(obj, "required_ones", h->u.cca_policy.required_ones);
		set_number(obj, "hash_algorithm", h->u.cca_policy.hash_algorithm);
		set_number(obj, "lfa_policy", h->u.cca_policy.lfa_policy);
		break;
	case IGVM_PARAMETER_AREA:
		set_number(obj, "area", h->u.area.index);
		set_number(obj, "bytes", h->u.area.number_of_bytes);
		json_object_set_new(obj, "initial_data", json_boolean(h->data != NULL));
		break;
	case IGVM_PAGE_DATA:
		set_hex(obj, "gpa", h->u.page.gpa);
		set_text(obj, "kind", page_kind(h->u.page.flags));
		set_text(obj, "data_type", page_type_name(h->u.page.data_type));
		break;
	case IGVM_PARAMETER_INSERT:
		set_hex(obj, "gpa", h->u.insert.gpa);
		set_number(obj, "area", h->u.insert.area);
		break;
	case IGVM_VP_CONTEXT:
		set_number(obj, "vp", h->u.vp.vp_index);
		if (h->u.vp.gpa)
			set_hex(obj, "gpa", h->u.vp.gpa);
		if (igvm_platform_of(ig, h->mask) == IGVM_PLATFORM_VSM)
			describe_registers(ig, h, obj);
		break;
	case IGVM_REQUIRED_MEMORY:
		set_hex(obj, "gpa", h->u.required.gpa);
		set_number(obj, "bytes", h->u.required.number_of_bytes);
		json_object_set_new(
			obj, "vtl2_protectable",
			json_boolean(h->u.required.flags & IGVM_MEMORY_VTL2_PROTECTABLE));
		break;
	case IGVM_SNP_ID_BLOCK: describe_id_block(h->u.snp_id_block, obj); break;
	case IGVM_ERROR_RANGE:
		set_hex(obj, "gpa", h->u.error_range.gpa);
		set_number(obj, "bytes", h->u.error_range.size_bytes);
		break;
	case IGVM_VBS_MEASUREMENT:
		set_number(obj, "security_version", h->u.vbs_measurement->security_version);
		set_hex(obj, "policy_flags", h->u.vbs_measurement->policy_flags);
		set_bytes(obj, "boot_digest", h->u.vbs_measurement->boot_digest, 64);
		break;
	default:
		if (igvm_is_parameter(h->type)) {
			set_number(obj, "area", h->u.parameter.area);
			set_hex(obj, "byte_offset", h->u.parameter.byte_offset);
		}
	}
}

static json_t *describe_header(const struct igvm *ig, const struct igvm_header *h)
{
	const struct igvm_type_info *info = igvm_type_info(h->type);
	json_t *obj = json_object();

	set_number(obj, "index", h->index);
	set_hex(obj, "offset", h->offset);
	set_text(obj, "type", igvm_type_name(h->type));
	if (!info)
		set_hex(obj, "code", h->type);
	else if (info->mask_at >= 0)
		set_hex(obj, "mask", h->mask);
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

static json_t *describe_headers(const struct igvm *ig)
{
	json_t *list = json_array(), *obj;
	struct igvm_iter it;
	struct igvm_header h, first;
	bool more;

	igvm_first(ig, &it);
	more = igvm_next(&it, &h);
	while (more) {
		u64 bytes, with_data = 0, count = 0;

		first = h;
		obj = describe_header(ig, &first);
		if (first.type != IGVM_PAGE_DATA) {
			more = igvm_next(&it, &h);
			json_array_append_new(list, obj);
			continue;
		}
		bytes = 0;
		do {
			bytes += igvm_page_bytes(&h);
			with_data += h.data_len;
			count++;
			more = igvm_next(&it, &h);
		} while (more && continues(&first, bytes, &h));
		set_number(obj, "headers", count);
		set_number(obj, "bytes", bytes);
		set_number(obj, "bytes_with_data", with_data);
		json_array_append_new(list, obj);
	}
	return list;
}

/* --- layout */

static void add_extent(struct extents *e, const struct extent *x)
{
	struct extent *last = e->count ? &e->v[e->count - 1] : NULL;

	if (last && last->end == x->start && last->mask == x->mask && last->part == x->part &&
	    last->kind == x->kind && last->data_type == x->data_type) {
		last->end = x->end;
		return;
	}
	if (e->count == e->capacity) {
		size_t capacity = e->capacity ? e->capacity * 2 : 64;
		struct extent *v = realloc(e->v, capacity * sizeof(*v));

		if (!v)
			return;
		e->v = v;
		e->capacity = capacity;
	}
	e->v[e->count++] = *x;
}

static int compare_extents(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->mask < y->mask ? -1 : x->mask > y->mask;
}

static json_t *describe_layout(const struct igvm *ig, const struct parts *parts)
{
	u64 area_bytes[IGVM_MAX_AREAS];
	u32 area_index[IGVM_MAX_AREAS], areas = 0;
	struct extents e = {0};
	json_t *list = json_array();
	struct igvm_iter it;
	struct igvm_header h;

	for (igvm_first(ig, &it); igvm_next(&it, &h);) {
		struct extent x = {.mask = h.mask};
		u64 bytes = 0;

		if (h.type == IGVM_PARAMETER_AREA) {
			area_index[areas] = h.u.area.index;
			area_bytes[areas++] = h.u.area.number_of_bytes;
		} else if (h.type == IGVM_PARAMETER_INSERT) {
			x.start = h.u.insert.gpa;
			x.kind = "parameter";
			for (u32 i = 0; i < areas; i++) {
				if (area_index[i] == h.u.insert.area)
					bytes = area_bytes[i];
			}
		} else if (h.type == IGVM_PAGE_DATA) {
			x.start = h.u.page.gpa;
			x.kind = page_kind(h.u.page.flags);
			x.data_type = h.u.page.data_type;
			bytes = igvm_page_bytes(&h);
		} else if (h.type == IGVM_ERROR_RANGE) {
			x.start = h.u.error_range.gpa;
			x.kind = "error-range";
			bytes = h.u.error_range.size_bytes;
		}
		if (!bytes)
			continue;
		x.end = x.start + bytes;
		x.part = parts_of(parts, x.start)->name;
		add_extent(&e, &x);
	}
	if (e.count)
		qsort(e.v, e.count, sizeof(*e.v), compare_extents);
	for (size_t i = 0; i < e.count; i++) {
		json_t *obj = json_object();

		set_hex(obj, "start", e.v[i].start);
		set_hex(obj, "end", e.v[i].end);
		set_number(obj, "bytes", e.v[i].end - e.v[i].start);
		set_text(obj, "part", e.v[i].part);
		set_text(obj, "kind", e.v[i].kind);
		set_text(obj, "data_type", page_type_name(e.v[i].data_type));
		set_hex(obj, "mask", e.v[i].mask);
		json_array_append_new(list, obj);
	}
	free(e.v);
	return list;
}

/* --- parts */

/* Data that several headers share counts for the first one. */
static json_t *describe_parts(const struct igvm *ig, const struct parts *parts)
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
			group = parts_of(parts, h.u.page.gpa)->group;
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

static bool find_parts(const struct igvm *ig, struct igvm_paravisor *pv, struct parts *parts)
{
	const struct igvm_supported_platform *vsm = igvm_find_platform(ig, IGVM_PLATFORM_VSM);

	parts->count = 0;
	if (!vsm || igvm_find_paravisor(ig, vsm->mask, pv, NULL))
		return false;
	parts_find(parts, pv);
	return true;
}

json_t *inspect_parts(const struct igvm *ig)
{
	struct igvm_paravisor pv;
	struct parts parts;

	find_parts(ig, &pv, &parts);
	return describe_parts(ig, &parts);
}

static json_t *describe_paravisor(const struct igvm_paravisor *pv)
{
	const struct shim_params *p = &pv->params;
	json_t *obj = json_object();

	set_hex(obj, "memory_start", pv->shim_gpa + (u64)p->memory_start);
	set_number(obj, "memory_bytes", p->memory_size);
	set_number(obj, "used_bytes", (u64)p->used_end - (u64)p->used_start);
	set_hex(obj, "shim", pv->shim_gpa);
	set_hex(obj, "kernel_entry", pv->shim_gpa + (u64)p->kernel_entry);
	set_hex(obj, "initrd", pv->shim_gpa + (u64)p->initrd);
	set_number(obj, "initrd_bytes", p->initrd_size);
	set_hex(obj, "initrd_crc", p->initrd_crc);
	json_object_set_new(obj, "vtl0_payload",
			    json_boolean(pv->has_vtl0_config && pv->vtl0.supported));
	if (pv->has_vtl0_config && (pv->vtl0.supported & SHIM_VTL0_LINUX)) {
		set_hex(obj, "vtl0_kernel_entry", pv->vtl0.kernel_entry);
		set_number(obj, "vtl0_initrd_bytes", pv->vtl0.initrd_size);
	}
	return obj;
}

json_t *inspect_describe(const struct igvm *ig)
{
	json_t *obj = json_object(), *file = json_object(), *platforms = json_array();
	struct igvm_paravisor pv;
	struct parts parts;
	bool is_paravisor;

	if (!obj || !file || !platforms) {
		json_decref(obj);
		json_decref(file);
		json_decref(platforms);
		return NULL;
	}
	is_paravisor = find_parts(ig, &pv, &parts);
	set_number(file, "format_version", ig->version);
	set_text(file, "architecture", ig->arch == IGVM_ARCH_X64 ? "x64" : "aarch64");
	set_number(file, "bytes", ig->file_size);
	set_number(file, "header_count", ig->header_count);
	set_hex(file, "checksum", ig->checksum);
	json_object_set_new(obj, "file", file);
	for (u32 i = 0; i < ig->platform_count; i++) {
		struct igvm_header h = {.u.platform = ig->platform[i]};
		json_t *platform = json_object();

		describe_platform(&h, platform);
		set_hex(platform, "mask", ig->platform[i].mask);
		json_array_append_new(platforms, platform);
	}
	json_object_set_new(obj, "platforms", platforms);
	json_object_set_new(obj, "headers", describe_headers(ig));
	json_object_set_new(obj, "layout", describe_layout(ig, &parts));
	json_object_set_new(obj, "parts", describe_parts(ig, &parts));
	if (is_paravisor)
		json_object_set_new(obj, "paravisor", describe_paravisor(&pv));
	return obj;
}

/* --- text */

static void print_value(FILE *f, const json_t *value)
{
	const char *key;
	json_t *inner;
	const char *separator = "";

	switch (json_typeof(value)) {
	case JSON_STRING: fputs(json_string_value(value), f); break;
	case JSON_INTEGER: fprintf(f, "%lld", (long long)json_integer_value(value)); break;
	case JSON_TRUE: fputs("yes", f); break;
	case JSON_FALSE: fputs("no", f); break;
	case JSON_OBJECT:
		fputc('{', f);
		json_object_foreach((json_t *)value, key, inner)
		{
			fprintf(f, "%s%s ", separator, key);
			print_value(f, inner);
			separator = ", ";
		}
		fputc('}', f);
		break;
	default: break;
	}
}

static void print_fields(FILE *f, const json_t *obj, u32 skip)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)obj, key, value)
	{
		if (skip) {
			skip--;
			continue;
		}
		if (!strcmp(key, "registers")) {
			const char *name;
			json_t *reg;

			json_object_foreach(value, name, reg)
			{
				fprintf(f, "\n%24s%-8s ", "", name);
				print_value(f, reg);
			}
			continue;
		}
		fprintf(f, " %s=", key);
		print_value(f, value);
	}
	fputc('\n', f);
}

static void print_rows(FILE *f, const char *title, const json_t *obj)
{
	const char *key;
	json_t *value;

	fprintf(f, "\n%s\n", title);
	json_object_foreach((json_t *)obj, key, value)
	{
		fprintf(f, "  %-18s ", key);
		print_value(f, value);
		fputc('\n', f);
	}
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text ? text : "";
}

static long long number_of(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

void inspect_print(FILE *f, const json_t *d)
{
	const json_t *file = json_object_get(d, "file");
	const json_t *paravisor = json_object_get(d, "paravisor");
	const json_t *parts = json_object_get(d, "parts");
	const char *key;
	json_t *value;
	size_t i;

	fprintf(f, "IGVM version %lld, %s, %lld bytes, %lld headers, checksum %s\n",
		number_of(file, "format_version"), text_of(file, "architecture"),
		number_of(file, "bytes"), number_of(file, "header_count"),
		text_of(file, "checksum"));
	fprintf(f, "\nPlatforms\n");
	json_array_foreach(json_object_get(d, "platforms"), i, value)
	{
		fprintf(f, "  %-8s", text_of(value, "platform"));
		print_fields(f, value, 1);
	}
	fprintf(f, "\nHeaders\n");
	json_array_foreach(json_object_get(d, "headers"), i, value)
	{
		fprintf(f, "  %6lld %-22s", number_of(value, "index"), text_of(value, "type"));
		print_fields(f, value, 3);
	}
	if (paravisor)
		print_rows(f, "Paravisor", paravisor);
	fprintf(f, "\nGuest memory\n");
	json_array_foreach(json_object_get(d, "layout"), i, value)
	{
		fprintf(f, "  %14s %14s %9lld KiB  %-12s %-18s %s\n", text_of(value, "start"),
			text_of(value, "end"), number_of(value, "bytes") / 1024,
			text_of(value, "kind"), text_of(value, "part"),
			text_of(value, "data_type"));
	}
	fprintf(f, "\nSize by part (bytes in the file)\n");
	json_object_foreach((json_t *)parts, key, value)
	{
		long long bytes = json_integer_value(value);
		long long total = number_of(file, "bytes");

		fprintf(f, "  %-14s %10lld  %5.1f %%\n", key, bytes,
			total ? 100.0 * (double)bytes / (double)total : 0.0);
	}
	fprintf(f, "  %-14s %10lld\n", "total", number_of(file, "bytes"));
}
