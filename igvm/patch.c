/*
 * Changes the command line or the VTL2 memory size of paravisor images. What depends on the size:
 * required memory, page tables and the region for them, the shim's parameters, the list of
 * imported regions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/internal.h"
#include "igvm/parts.h"
#include "igvm/snp.h"
#include "igvm/tables.h"

#define LOCAL_MAP      (2 * MiB) /* of SNP and TDX images, identity at first */
#define LOCAL_MAP_SIZE (2 * MiB)

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

/* Page tables of one image for one memory size */
struct tables {
	u64 bytes, used;
	u8 *data;
};

/* What changes for one platform */
struct change {
	const char *name;
	struct igvm_paravisor pv;
	u64 base, tables_gpa, cmdline_gpa;
	struct tables before, after;
	bool memory; /* its size changes */
	u64 memory_size;
	struct shim_cmdline cmdline;
	struct shim_params params;
	u8 imported[PAGE_SIZE];
	bool tables_written;
};

struct patcher {
	const struct igvm *ig;
	const struct igvm_patch *patch;
	struct change change[IGVM_PLATFORM_TYPES]; /* parallel to ig->platform */
	struct igvm_writer *w;
};

static u64 directories_for(u64 start, u64 size)
{
	return (start + size - 1) / GiB - start / GiB + 1;
}

/* As the image builder makes them */
static int make_tables(struct tables *t, const struct change *c, u64 size, struct igvm_error *err)
{
	bool is_shared = c->pv.params.bounce_buffer_size != 0;
	bool is_tdx = c->pv.params.isolation == SHIM_ISOLATION_TDX;
	struct page_tables pt = {.gpa = c->tables_gpa};

	pt.bytes = 5 + 2 * directories_for(c->base, size);
	if (is_shared)
		pt.bytes += directories_for(LOCAL_MAP, LOCAL_MAP_SIZE);
	if (is_tdx)
		pt.bytes += 3;
	pt.bytes *= PAGE_SIZE;
	pt.table = calloc(1, pt.bytes);
	if (!pt.table)
		return igvm_fail_memory(err);
	t->data = pt.table;
	t->bytes = pt.bytes;
	if (c->pv.params.isolation == SHIM_ISOLATION_SNP)
		pt.extra = BIT(SNP_C_BIT);
	if (is_shared)
		page_tables_map(&pt, LOCAL_MAP, LOCAL_MAP + LOCAL_MAP_SIZE);
	page_tables_map(&pt, c->base, c->base + size);
	if (is_tdx)
		page_tables_map_page(&pt, SHIM_TDX_RESET_PAGE);
	t->used = pt.used;
	return pt.is_full ? FAIL("too few pages for page tables") : 0;
}

static bool in_tables(const struct change *c, u64 gpa)
{
	return gpa >= c->tables_gpa && gpa - c->tables_gpa < c->before.bytes;
}

/* The tables in the file must be those that are understood here, page by page. */
static int check_tables(const struct patcher *p, const struct change *c, struct igvm_error *err)
{
	static const u8 zeros[PAGE_SIZE];
	u64 pages = 0;
	struct igvm_iter it;
	struct igvm_header h;

	if ((u64)c->pv.params.used_end + c->pv.shim_gpa != c->tables_gpa + c->before.bytes)
		return FAIL("%s: the place for page tables has another size than expected",
			    c->name);
	for (igvm_first(p->ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, c->pv.mask, &h);) {
		if (!in_tables(c, h.u.page.gpa))
			continue;
		if (memcmp(h.data ? h.data : zeros, c->before.data + (h.u.page.gpa - c->tables_gpa),
			   PAGE_SIZE) ||
		    h.u.page.flags || h.u.page.data_type)
			return FAIL("%s: its page tables are of a kind that cannot be changed",
				    c->name);
		pages++;
	}
	if (pages != c->before.bytes / PAGE_SIZE)
		return FAIL("%s: not all of its page tables are in the file", c->name);
	return 0;
}

/* No page that stays may lie where VTL2's memory or its larger tables will be. */
static int check_room(const struct patcher *p, const struct change *c, struct igvm_error *err)
{
	u64 end = c->base + c->memory_size, old_end = c->base + c->pv.params.memory_size;
	struct igvm_iter it;
	struct igvm_header h;

	for (igvm_first(p->ig, &it); igvm_next_of(&it, 0, c->pv.mask, &h);) {
		u64 gpa, bytes = PAGE_SIZE;

		switch (h.type) {
		case IGVM_PAGE_DATA:
			gpa = h.u.page.gpa;
			bytes = igvm_page_bytes(&h);
			if (in_tables(c, gpa))
				continue;
			break;
		case IGVM_PARAMETER_INSERT: gpa = h.u.insert.gpa; break;
		case IGVM_ERROR_RANGE:
			gpa = h.u.error_range.gpa;
			bytes = h.u.error_range.size_bytes;
			break;
		default: continue;
		}
		if (gpa < end && gpa + bytes > MIN(old_end, c->tables_gpa))
			return FAIL("%s: VTL2 memory up to 0x%llx would cover page 0x%llx, which "
				    "the image fills",
				    c->name, (unsigned long long)end, (unsigned long long)gpa);
	}
	return 0;
}

static int change_imported(struct change *c, struct igvm_error *err)
{
	struct shim_imported_regions list;

	memcpy(&list, c->imported, sizeof(list));
	for (u32 i = 0; i < ARRAY_SIZE(list.range) && list.range[i].page_count; i++) {
		if (list.range[i].base_page == c->tables_gpa / PAGE_SIZE &&
		    list.range[i].page_count == c->before.bytes / PAGE_SIZE) {
			list.range[i].page_count = c->after.bytes / PAGE_SIZE;
			memcpy(c->imported, &list, sizeof(list));
			return 0;
		}
	}
	return FAIL("%s: its list of imported regions does not have the page tables", c->name);
}

static int change_memory(struct patcher *p, struct change *c, struct igvm_error *err)
{
	const struct shim_params *old = &c->pv.params;
	u64 size = p->patch->memory_size, used, end;
	int ret;

	c->memory = true;
	c->memory_size = size;
	c->tables_gpa = c->pv.shim_gpa + (u64)old->heap + old->heap_size;
	if (size % (2 * MiB) || size > 0xffffffffull || add_overflow(c->base, size, &end))
		return FAIL("VTL2 memory must be a multiple of 2 MiB below 4 GiB");
	if (c->base % (2 * MiB) || old->memory_size % (2 * MiB) || c->tables_gpa < c->base ||
	    c->tables_gpa % PAGE_SIZE || c->tables_gpa - c->base > old->memory_size)
		return FAIL("%s: the shim's parameters contradict each other", c->name);
	ret = make_tables(&c->before, c, old->memory_size, err);
	if (!ret)
		ret = make_tables(&c->after, c, size, err);
	if (!ret)
		ret = check_tables(p, c, err);
	if (ret)
		return ret;
	used = c->tables_gpa + c->after.bytes - c->base;
	if (used > size)
		return FAIL("%s: VTL2 memory of %llu KiB is too small, the image takes %llu KiB",
			    c->name, (unsigned long long)size / 1024,
			    (unsigned long long)used / 1024);
	ret = check_room(p, c, err);
	if (ret)
		return ret;
	c->params.memory_size = size;
	c->params.used_end = (s64)(c->base + used - c->pv.shim_gpa);
	return change_imported(c, err);
}

static int change_cmdline(struct patcher *p, struct change *c, struct igvm_error *err)
{
	const char *text = p->patch->cmdline, *append = p->patch->append;
	struct shim_cmdline *line = &c->cmdline;
	size_t len = MIN((size_t)line->length, sizeof(line->text));
	size_t more = append ? strlen(append) : 0;

	if (text) {
		len = strlen(text);
		if (len > sizeof(line->text))
			return FAIL("the command line has %zu characters, at most %zu fit", len,
				    sizeof(line->text));
		memset(line->text, 0, sizeof(line->text));
		memcpy(line->text, text, len);
	}
	if (more) {
		if (more + 1 > sizeof(line->text) - len)
			return FAIL("the command line would have %zu characters, at most %zu fit",
				    len + more + 1, sizeof(line->text));
		if (len)
			line->text[len++] = ' ';
		memcpy(line->text + len, append, more);
		len += more;
	}
	line->length = (u16)len;
	return 0;
}

static int plan_change(struct patcher *p, u32 index, struct igvm_error *err)
{
	const struct igvm_supported_platform *platform = &p->ig->platform[index];
	struct change *c = &p->change[index];
	const u8 *page;
	int ret = igvm_find_paravisor(p->ig, platform->mask, &c->pv, err);

	c->name = igvm_platform_name(platform->platform_type);
	if (ret)
		return ret == -EINVAL ? FAIL("platform %s: not a paravisor image", c->name) : ret;
	c->params = c->pv.params;
	c->base = c->pv.shim_gpa + (u64)c->params.memory_start;
	c->cmdline_gpa = c->pv.shim_gpa + (u64)c->params.cmdline;
	page = parts_page(p->ig, platform->mask, c->cmdline_gpa);
	if (page)
		memcpy(&c->cmdline, page, sizeof(c->cmdline));
	page = parts_page(p->ig, platform->mask, c->pv.imported_gpa);
	if (page)
		memcpy(c->imported, page, sizeof(c->imported));
	if (p->patch->cmdline || p->patch->append)
		ret = change_cmdline(p, c, err);
	if (!ret && p->patch->memory_size && p->patch->memory_size != c->params.memory_size)
		ret = change_memory(p, c, err);
	return ret;
}

/* --- writing */

static bool is_endorsement(u32 type)
{
	return type == IGVM_SNP_ID_BLOCK || type == IGVM_VBS_MEASUREMENT ||
	       type == IGVM_CORIM_DOCUMENT || type == IGVM_CORIM_SIGNATURE;
}

static bool is_zero_page(const u8 *page)
{
	return page[0] == 0 && !memcmp(page, page + 1, PAGE_SIZE - 1);
}

static void write_page(struct patcher *p, const struct igvm_header *h, u64 gpa, u32 mask,
		       const u8 *page)
{
	igvm_write_page(p->w, gpa, mask, h->u.page.flags, h->u.page.data_type, page,
			is_zero_page(page) ? 0 : PAGE_SIZE);
}

/* New tables of a platform take the place of the first page of the old ones. */
static bool replace_tables(struct patcher *p, struct change *c, const struct igvm_header *h)
{
	if (!c->memory || !in_tables(c, h->u.page.gpa))
		return false;
	for (u64 at = 0; !c->tables_written && at < c->after.bytes; at += PAGE_SIZE)
		write_page(p, h, c->tables_gpa + at, c->pv.mask, c->after.data + at);
	c->tables_written = true;
	return true;
}

/* True if the page of this platform is another one now, and written. */
static bool replace_page(struct patcher *p, struct change *c, const struct igvm_header *h)
{
	u64 gpa = h->u.page.gpa;
	u8 page[PAGE_SIZE];

	if (h->u.page.flags & IGVM_PAGE_2MB)
		return false;
	if (gpa == c->cmdline_gpa && (p->patch->cmdline || p->patch->append)) {
		write_page(p, h, gpa, c->pv.mask, (const u8 *)&c->cmdline);
		return true;
	}
	if (!c->memory)
		return false;
	if (gpa == c->pv.params_gpa) {
		memset(page, 0, sizeof(page));
		if (h->data)
			memcpy(page, h->data, sizeof(page));
		memcpy(page, &c->params, sizeof(c->params));
		write_page(p, h, gpa, c->pv.mask, page);
		return true;
	}
	if (gpa == c->pv.imported_gpa) {
		write_page(p, h, gpa, c->pv.mask, c->imported);
		return true;
	}
	return replace_tables(p, c, h);
}

/* A header for several platforms is divided where they differ now. */
static void write_page_data(struct patcher *p, const struct igvm_header *h)
{
	u32 mask = h->mask;

	for (u32 i = 0; i < p->ig->platform_count; i++) {
		if ((mask & p->ig->platform[i].mask) && replace_page(p, &p->change[i], h))
			mask &= ~p->ig->platform[i].mask;
	}
	if (mask == h->mask)
		igvm_write_copy(p->w, h);
	else if (mask & p->ig->platform_mask)
		igvm_write_page(p->w, h->u.page.gpa, mask, h->u.page.flags, h->u.page.data_type,
				h->data, h->data_len);
}

static void write_required(struct patcher *p, const struct igvm_header *h)
{
	struct igvm_required_memory r = h->u.required;
	u32 mask = h->mask;

	for (u32 i = 0; i < p->ig->platform_count; i++) {
		const struct change *c = &p->change[i];

		if (!(mask & c->pv.mask) || !c->memory || r.gpa != c->base ||
		    r.number_of_bytes != c->pv.params.memory_size ||
		    !(r.flags & IGVM_MEMORY_VTL2_PROTECTABLE))
			continue;
		igvm_write_required(p->w, r.gpa, c->pv.mask, (u32)c->memory_size, r.flags);
		mask &= ~c->pv.mask;
	}
	if (mask == h->mask)
		igvm_write_copy(p->w, h);
	else if (mask & p->ig->platform_mask)
		igvm_write_required(p->w, r.gpa, mask, r.number_of_bytes, r.flags);
}

static void write_page_table_region(struct patcher *p, const struct igvm_header *h)
{
	struct igvm_page_table_relocation r = h->u.page_table;

	for (u32 i = 0; i < p->ig->platform_count; i++) {
		const struct change *c = &p->change[i];

		if ((h->mask & c->pv.mask) && c->memory && r.gpa == c->tables_gpa) {
			r.size = c->after.bytes;
			r.used_size = c->after.used;
			igvm_write(p->w, h->type, &r, sizeof(r), NULL, 0);
			return;
		}
	}
	igvm_write_copy(p->w, h);
}

static int write_image(struct patcher *p, void **out, size_t *out_len, struct igvm_error *err)
{
	struct igvm_iter it;
	struct igvm_header h;

	p->w = igvm_writer_new(p->ig->version, p->ig->arch);
	if (!p->w)
		return igvm_fail_memory(err);
	for (igvm_first(p->ig, &it); igvm_next(&it, &h);) {
		if (is_endorsement(h.type))
			continue;
		switch (h.type) {
		case IGVM_PAGE_DATA: write_page_data(p, &h); break;
		case IGVM_REQUIRED_MEMORY: write_required(p, &h); break;
		case IGVM_PAGE_TABLE_RELOCATION: write_page_table_region(p, &h); break;
		default: igvm_write_copy(p->w, &h);
		}
	}
	return igvm_writer_finish(p->w, out, out_len, err);
}

static int check_endorsements(const struct patcher *p, struct igvm_error *err)
{
	struct igvm_iter it;
	struct igvm_header h;

	if (p->patch->drop_endorsements)
		return 0;
	for (igvm_first(p->ig, &it); igvm_next(&it, &h);) {
		if (is_endorsement(h.type))
			return igvm_fail(err, h.index, h.offset,
					 "%s would not match the changed image",
					 igvm_type_name(h.type));
	}
	return 0;
}

int igvm_patch(const void *image, size_t len, const struct igvm_patch *patch, void **out,
	       size_t *out_len, struct igvm_error *err)
{
	struct patcher *p = calloc(1, sizeof(*p));
	struct igvm ig;
	int ret;

	if (!p)
		return igvm_fail_memory(err);
	p->ig = &ig;
	p->patch = patch;
	ret = igvm_open(&ig, image, len, err);
	if (!ret)
		ret = check_endorsements(p, err);
	for (u32 i = 0; !ret && i < ig.platform_count; i++)
		ret = plan_change(p, i, err);
	if (!ret)
		ret = write_image(p, out, out_len, err);
	igvm_writer_free(p->w);
	for (u32 i = 0; i < IGVM_PLATFORM_TYPES; i++) {
		free(p->change[i].before.data);
		free(p->change[i].after.data);
	}
	free(p);
	return ret;
}
