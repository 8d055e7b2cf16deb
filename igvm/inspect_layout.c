/* Guest memory of an IGVM file as rows of equal properties, with the holes between them. */
#include <stdlib.h>
#include <string.h>

#include "igvm/decode.h"
#include "igvm/inspect_layout.h"
#include "igvm/internal.h"

/* A range of guest memory of one kind */
struct extent {
	u64 start, end;
	u64 with_data;
	const char *part;
	const char *kind;
	u16 data_type;
};

struct extents {
	struct extent *v;
	size_t count, capacity;
};

static const char not_imported[] = "not imported";

#define TYPE_VMSA 4 /* behind those of enum igvm_page_type: a VP context with an address */

const char *inspect_page_type(u16 type)
{
	static const char *const names[] = {"normal", "secrets", "cpuid", "cpuid-xf", "vmsa"};

	return type < ARRAY_SIZE(names) ? names[type] : "unknown";
}

const char *inspect_page_kind(int platform, const struct igvm_page_data *page)
{
	if (page->flags & IGVM_PAGE_SHARED)
		return "shared";
	if (platform == IGVM_PLATFORM_NATIVE)
		return "loaded";
	/* The firmware fills them, and measures their type and address only. */
	if (platform == IGVM_PLATFORM_SEV_SNP && page->data_type != IGVM_PAGE_NORMAL)
		return "unmeasured";
	return page->flags & IGVM_PAGE_UNMEASURED ? "unmeasured" : "measured";
}

static bool add_extent(struct extents *e, const struct extent *x)
{
	struct extent *last = e->count ? &e->v[e->count - 1] : NULL;

	if (last && last->end == x->start && last->part == x->part && last->kind == x->kind &&
	    last->data_type == x->data_type) {
		last->end = x->end;
		last->with_data += x->with_data;
		return true;
	}
	if (e->count == e->capacity) {
		size_t capacity = e->capacity ? e->capacity * 2 : 64;
		struct extent *v = realloc(e->v, capacity * sizeof(*v));

		if (!v)
			return false;
		e->v = v;
		e->capacity = capacity;
	}
	e->v[e->count++] = *x;
	return true;
}

static int compare_extents(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Sorted; what became neighbours is joined. */
static void sort_extents(struct extents *e)
{
	struct extents joined = {.v = e->v, .capacity = e->capacity};

	if (!e->count)
		return;
	qsort(e->v, e->count, sizeof(*e->v), compare_extents);
	for (size_t i = 0; i < e->count; i++) {
		struct extent x = e->v[i];

		/* Hosts put the VMSAs of all processors to one place. */
		if (x.data_type == TYPE_VMSA && joined.count &&
		    x.start < joined.v[joined.count - 1].end)
			continue;
		add_extent(&joined, &x); /* never more than there were: no allocation */
	}
	e->count = joined.count;
}

/* Rows for [start, end), one for each part in it */
static bool add_hole(struct extents *e, const struct parts *parts, u64 start, u64 end)
{
	while (start < end) {
		struct extent x = {.start = start,
				   .end = MIN(end, parts_next(parts, start)),
				   .kind = not_imported};
		const struct part *part = parts_of(parts, start);

		x.part = part->end ? part->name : "free";

		if (!add_extent(e, &x))
			return false;
		start = x.end;
	}
	return true;
}

/* Adds what lies in required memory and in no extent. Both are sorted. */
static bool add_holes(struct extents *e, const struct igvm_spans *required,
		      const struct parts *parts)
{
	size_t pages = e->count, next = 0;
	u64 done = 0;

	for (size_t i = 0; i < required->count; i++) {
		u64 at = MAX(required->v[i].start, done), end = required->v[i].end;

		while (next < pages && e->v[next].end <= at)
			next++;
		for (; at < end; next++) {
			u64 stop = next < pages ? MIN(e->v[next].start, end) : end;

			if (at < stop && !add_hole(e, parts, at, stop))
				return false;
			at = stop == end ? end : e->v[next].end;
			if (at >= end)
				break;
		}
		done = MAX(done, end);
	}
	return true;
}

struct area {
	u32 index;
	u64 bytes;
};

static bool collect(struct extents *e, struct igvm_spans *required, const struct igvm *ig,
		    u32 platform, const struct parts *parts)
{
	struct area area[IGVM_MAX_AREAS];
	u32 areas = 0;
	struct igvm_iter it;
	struct igvm_header h;

	for (igvm_first(ig, &it); igvm_next_of(&it, 0, platform, &h);) {
		struct extent x = {0};
		u64 bytes = 0;

		switch (h.type) {
		case IGVM_PARAMETER_AREA:
			area[areas++] = (struct area){h.u.area.index, h.u.area.number_of_bytes};
			break;
		case IGVM_PARAMETER_INSERT:
			x.start = h.u.insert.gpa;
			x.kind = "parameter";
			for (u32 i = 0; i < areas; i++) {
				if (area[i].index == h.u.insert.area)
					bytes = area[i].bytes;
			}
			break;
		case IGVM_PAGE_DATA:
			x.start = h.u.page.gpa;
			x.kind = inspect_page_kind(igvm_platform_of(ig, platform), &h.u.page);
			x.data_type = h.u.page.data_type;
			x.with_data = h.data_len;
			bytes = igvm_page_bytes(&h);
			break;
		case IGVM_VP_CONTEXT:
			x.start = h.u.vp.gpa;
			x.kind = "measured";
			x.data_type = TYPE_VMSA;
			x.with_data = h.data_len;
			bytes = h.u.vp.gpa ? PAGE_SIZE : 0;
			break;
		case IGVM_ERROR_RANGE:
			x.start = h.u.error_range.gpa;
			x.kind = "error-range";
			bytes = h.u.error_range.size_bytes;
			break;
		case IGVM_REQUIRED_MEMORY:
			if (igvm_spans_add(required, h.u.required.gpa, h.u.required.number_of_bytes,
					   platform, h.index))
				return false;
			break;
		}
		if (!bytes)
			continue;
		x.end = x.start + bytes;
		x.part = parts_of(parts, x.start)->name;
		if (!add_extent(e, &x))
			return false;
	}
	return true;
}

static void add_total(json_t *totals, const char *kind, u64 bytes)
{
	json_int_t before = json_integer_value(json_object_get(totals, kind));

	json_object_set_new(totals, kind, json_integer(before + (json_int_t)bytes));
}

static json_t *describe(const struct extents *e, json_t *totals)
{
	json_t *list = json_array();

	for (size_t i = 0; i < e->count; i++) {
		const struct extent *x = &e->v[i];
		u64 bytes = x->end - x->start;
		json_t *row = json_object();

		decode_set_hex(row, "start", x->start);
		decode_set_hex(row, "end", x->end);
		json_object_set_new(row, "bytes", json_integer((json_int_t)bytes));
		json_object_set_new(row, "kind", json_string(x->kind));
		json_object_set_new(row, "part", json_string(x->part));
		json_object_set_new(row, "data_type", json_string(inspect_page_type(x->data_type)));
		json_object_set_new(row, "bytes_with_data", json_integer((json_int_t)x->with_data));
		json_array_append_new(list, row);
		add_total(totals, x->kind, bytes);
	}
	return list;
}

json_t *inspect_layout(const struct igvm *ig, u32 platform, const struct parts *parts,
		       json_t *totals)
{
	struct extents e = {0};
	struct igvm_spans required = {0};
	json_t *list = NULL;

	if (collect(&e, &required, ig, platform, parts)) {
		sort_extents(&e);
		igvm_spans_sort(&required);
		if (add_holes(&e, &required, parts)) {
			sort_extents(&e);
			list = describe(&e, totals);
		}
	}
	free(e.v);
	igvm_spans_free(&required);
	return list;
}
