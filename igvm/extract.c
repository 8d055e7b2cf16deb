/*
 * Takes an image apart into files. What a loader places is all that an image has of a kernel, so
 * that is what comes out: a flat image, and an ELF file around it with one segment for each run of
 * pages.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/extract.h"
#include "igvm/internal.h"
#include "igvm/parts.h"

#define MAX_SEGMENTS 64

struct extractor {
	const struct igvm *ig;
	u32 index; /* of the platform */
	u32 mask;
	struct extract_files *out;
	struct igvm_error *err;
};

/* Guest pages of a range that the image loads, first to last */
struct loaded {
	u64 start, end; /* equal: none */
	u64 run_start[MAX_SEGMENTS], run_end[MAX_SEGMENTS];
	u32 runs; /* more than MAX_SEGMENTS: not all are kept */
};

/* Takes data, which is malloc'ed. */
static int add_file(struct extractor *x, const char *name, u64 gpa, u8 *data, size_t len)
{
	struct extract_files *files = x->out;
	struct extract_file *f;

	if (files->count == files->capacity) {
		u32 capacity = files->capacity ? files->capacity * 2 : 64;
		struct extract_file *v = NULL;

		if (files->count < EXTRACT_MAX_FILES)
			v = realloc(files->v, capacity * sizeof(*v));
		if (!v) {
			free(data);
			return files->count < EXTRACT_MAX_FILES
				       ? igvm_fail_memory(x->err)
				       : igvm_fail(x->err, IGVM_NO_HEADER, 0, "more than %u files",
						   EXTRACT_MAX_FILES);
		}
		files->v = v;
		files->capacity = capacity;
	}
	f = &files->v[files->count++];
	*f = (struct extract_file){.platform = x->index, .gpa = gpa, .data = data, .len = len};
	snprintf(f->name, sizeof(f->name), "%s", name);
	return 0;
}

static int add_copy(struct extractor *x, const char *name, const void *data, size_t len)
{
	u8 *copy = malloc(len ? len : 1);

	if (!copy)
		return igvm_fail_memory(x->err);
	if (len)
		memcpy(copy, data, len);
	return add_file(x, name, 0, copy, len);
}

static void extend_runs(struct loaded *l, u64 start, u64 end)
{
	if (l->runs && l->runs <= MAX_SEGMENTS && l->run_end[l->runs - 1] == start) {
		l->run_end[l->runs - 1] = end;
		return;
	}
	if (l->runs < MAX_SEGMENTS) {
		l->run_start[l->runs] = start;
		l->run_end[l->runs] = end;
	}
	if (l->runs <= MAX_SEGMENTS)
		l->runs++;
}

static struct loaded find_loaded(const struct extractor *x, u64 start, u64 end)
{
	struct loaded l = {.start = ~0ull};
	struct igvm_iter it;
	struct igvm_header h;

	for (igvm_first(x->ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, x->mask, &h);) {
		u64 gpa = h.u.page.gpa;

		if (gpa < start || gpa >= end)
			continue;
		l.start = MIN(l.start, gpa);
		l.end = MAX(l.end, gpa + igvm_page_bytes(&h));
		extend_runs(&l, gpa, gpa + igvm_page_bytes(&h));
	}
	if (!l.end)
		l.start = 0;
	return l;
}

static int read_range(const struct extractor *x, const char *name, u64 start, u64 end, u8 **out)
{
	struct igvm_iter it;
	struct igvm_header h;

	if (end - start > EXTRACT_MAX_BYTES)
		return igvm_fail(x->err, IGVM_NO_HEADER, 0, "%s: larger than %llu MiB", name,
				 (unsigned long long)(EXTRACT_MAX_BYTES / MiB));
	*out = calloc(1, end - start ? end - start : 1);
	if (!*out)
		return igvm_fail_memory(x->err);
	for (igvm_first(x->ig, &it); igvm_next_of(&it, IGVM_PAGE_DATA, x->mask, &h);) {
		u64 gpa = h.u.page.gpa;

		if (h.data && gpa >= start && gpa < end)
			memcpy(*out + (gpa - start), h.data, MIN((u64)h.data_len, end - gpa));
	}
	return 0;
}

/* The loaded pages of [start, start + bytes); bytes is exact if the part is loaded to its end. */
static int add_range(struct extractor *x, const char *name, u64 start, u64 bytes)
{
	struct loaded l;
	u8 *data;
	u64 end;
	int ret;

	if (!bytes || add_overflow(start, bytes, &end))
		return 0;
	l = find_loaded(x, start, end);
	if (l.start == l.end)
		return 0;
	l.end = MIN(l.end, end);
	ret = read_range(x, name, l.start, l.end, &data);
	return ret ? ret : add_file(x, name, l.start, data, l.end - l.start);
}

static int add_pages(struct extractor *x, const char *name, u64 page, u64 pages)
{
	if (page > ~0ull / PAGE_SIZE || pages > ~0ull / PAGE_SIZE)
		return 0;
	return add_range(x, name, page * PAGE_SIZE, pages * PAGE_SIZE);
}

/* An ELF file whose segments are the runs of pages, at their guest addresses */
static int add_elf(struct extractor *x, const char *name, u64 start, u64 end, u64 entry)
{
	struct loaded l = find_loaded(x, start, end);
	Elf64_Ehdr eh = {.e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_entry = entry,
			 .e_phoff = sizeof(eh),
			 .e_ehsize = sizeof(eh),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = (u16)l.runs};
	size_t len = PAGE_SIZE;
	u8 *flat, *file;
	int ret;

	if (!l.runs || l.runs > MAX_SEGMENTS || l.end > end)
		return 0; /* the flat image has it */
	ret = read_range(x, name, l.start, l.end, &flat);
	if (ret)
		return ret;
	for (u32 i = 0; i < l.runs; i++)
		len += l.run_end[i] - l.run_start[i];
	file = calloc(1, len);
	if (!file) {
		free(flat);
		return igvm_fail_memory(x->err);
	}
	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_ident[EI_VERSION] = EV_CURRENT;
	memcpy(file, &eh, sizeof(eh));
	len = PAGE_SIZE;
	for (u32 i = 0; i < l.runs; i++) {
		u64 bytes = l.run_end[i] - l.run_start[i];
		Elf64_Phdr ph = {.p_type = PT_LOAD,
				 .p_flags = PF_R | PF_W | PF_X,
				 .p_offset = len,
				 .p_vaddr = l.run_start[i],
				 .p_paddr = l.run_start[i],
				 .p_filesz = bytes,
				 .p_memsz = bytes,
				 .p_align = PAGE_SIZE};

		memcpy(file + sizeof(eh) + i * sizeof(ph), &ph, sizeof(ph));
		memcpy(file + len, flat + (l.run_start[i] - l.start), bytes);
		len += bytes;
	}
	free(flat);
	return add_file(x, name, l.start, file, len);
}

/* --- paravisor images */

static int add_cmdline(struct extractor *x, u64 gpa)
{
	const u8 *page = parts_page(x->ig, x->mask, gpa);
	struct shim_cmdline c = {0};

	if (page)
		memcpy(&c, page, sizeof(c));
	return add_copy(x, "command-line.txt", c.text, MIN((size_t)c.length, sizeof(c.text)));
}

static int add_vtl0(struct extractor *x, const struct shim_measured_vtl0 *v)
{
	const u8 *line = parts_page(x->ig, x->mask, v->cmdline_page * PAGE_SIZE);
	int ret = add_range(x, "vtl0-config.bin", 0, PAGE_SIZE);

	if (!ret)
		ret = add_pages(x, "vtl0-uefi.bin", v->uefi_base_page, v->uefi_pages);
	if (!ret)
		ret = add_pages(x, "vtl0-uefi-context.bin", v->uefi_context_page,
				v->uefi_context_pages);
	if (!ret)
		ret = add_pages(x, "vtl0-kernel.bin", v->kernel_base_page, v->kernel_pages);
	if (!ret && v->initrd_base_page <= ~0ull / PAGE_SIZE)
		ret = add_range(x, "vtl0-initrd.bin", v->initrd_base_page * PAGE_SIZE,
				v->initrd_size);
	if (!ret && v->cmdline_pages)
		ret = add_copy(x, "vtl0-command-line.txt", line,
			       line ? strnlen((const char *)line, PAGE_SIZE) : 0);
	return ret;
}

static int add_paravisor(struct extractor *x, const struct igvm_paravisor *pv)
{
	const struct shim_params *p = &pv->params;
	u64 shim = pv->shim_gpa, config = shim + (u64)p->parameter_region;
	u64 sidecar = shim + (u64)p->sidecar;
	u64 kernel = shim + (u64)p->persisted_state + p->persisted_state_size +
		     p->bounce_buffer_size;
	u64 kernel_end = p->sidecar_size ? sidecar : shim;
	u64 initrd = shim + (u64)p->initrd;
	u64 heap_end = shim + (u64)p->heap + p->heap_size;
	const struct {
		const char *name;
		u64 gpa, bytes;
	} ranges[] = {
		{"kernel.bin", kernel, kernel_end - kernel},
		{"sidecar.bin", sidecar, p->sidecar_size},
		{"shim.bin", shim, initrd - shim},
		{"initrd.bin", initrd, p->initrd_size},
		{"shim-params.bin", pv->params_gpa, PAGE_SIZE},
		{"imported-regions.bin", config + SHIM_CONFIG_IMPORTED * PAGE_SIZE, PAGE_SIZE},
		{"vtl2-config.bin", config + SHIM_CONFIG_MEASURED * PAGE_SIZE, PAGE_SIZE},
		{"page-hashes.bin", config + SHIM_CONFIG_HASHES * PAGE_SIZE,
		 SHIM_CONFIG_HASHES_PAGES * PAGE_SIZE},
		{"reserved.bin", shim + (u64)p->reserved_region, p->reserved_region_size},
		{"page-tables.bin", heap_end, shim + (u64)p->used_end - heap_end},
		{"reset-page.bin", SHIM_TDX_RESET_PAGE, PAGE_SIZE},
	};
	int ret = 0;

	for (u32 i = 0; i < ARRAY_SIZE(ranges) && !ret; i++)
		ret = add_range(x, ranges[i].name, ranges[i].gpa, ranges[i].bytes);
	if (!ret && kernel < kernel_end)
		ret = add_elf(x, "kernel.elf", kernel, kernel_end, shim + (u64)p->kernel_entry);
	if (!ret)
		ret = add_cmdline(x, shim + (u64)p->cmdline);
	return !ret && pv->has_vtl0_config ? add_vtl0(x, &pv->vtl0) : ret;
}

/* --- any image */

static int add_runs(struct extractor *x)
{
	u64 start = 0, end = 0;
	struct igvm_iter it;
	struct igvm_header h;
	char name[48];
	bool more;
	int ret = 0;

	igvm_first(x->ig, &it);
	do {
		more = igvm_next_of(&it, IGVM_PAGE_DATA, x->mask, &h);
		if (more && end && h.u.page.gpa == end) {
			end += igvm_page_bytes(&h);
			continue;
		}
		if (end > start) {
			snprintf(name, sizeof(name), "pages-0x%llx.bin", (unsigned long long)start);
			ret = add_range(x, name, start, end - start);
		}
		if (more) {
			start = h.u.page.gpa;
			end = start + igvm_page_bytes(&h);
		}
	} while (more && !ret);
	return ret;
}

/* What is in headers, not in guest memory */
static int add_headers(struct extractor *x)
{
	struct igvm_iter it;
	struct igvm_header h;
	char name[48];
	int ret = 0;

	for (igvm_first(x->ig, &it); !ret && igvm_next_of(&it, 0, x->mask, &h);) {
		switch (h.type) {
		case IGVM_VP_CONTEXT:
			snprintf(name, sizeof(name), "vp-context-%u.bin", h.u.vp.vp_index);
			if (igvm_platform_of(x->ig, h.mask) == IGVM_PLATFORM_VSM)
				snprintf(name, sizeof(name), "vp-context-%u-vtl%u.bin",
					 h.u.vp.vp_index, h.data[4]);
			ret = add_copy(x, name, h.data, h.data_len);
			break;
		case IGVM_CORIM_DOCUMENT:
			ret = add_copy(x, "corim.cbor", h.data, h.data_len);
			break;
		case IGVM_CORIM_SIGNATURE:
			ret = add_copy(x, "corim-signature.cbor", h.data, h.data_len);
			break;
		case IGVM_SNP_ID_BLOCK:
			ret = add_copy(x, "snp-id-block.bin", h.content, h.length);
			break;
		case IGVM_VBS_MEASUREMENT:
			ret = add_copy(x, "vbs-measurement.bin", h.content, h.length);
			break;
		case IGVM_PARAMETER_AREA:
			if (!h.data)
				break;
			snprintf(name, sizeof(name), "parameter-area-%u.bin", h.u.area.index);
			ret = add_copy(x, name, h.data, h.data_len);
			break;
		}
	}
	return ret;
}

static bool is_same(const struct extract_file *a, const struct extract_file *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

/* Of files that are the same on each platform that has them, the first one stays. */
static void join_platforms(struct extract_files *files)
{
	u32 kept = 0;

	for (u32 i = 0; i < files->count; i++) {
		struct extract_file *f = &files->v[i];
		bool same = true;

		for (u32 j = 0; j < files->count && same; j++) {
			const struct extract_file *other = &files->v[j];

			if (other->platform == f->platform || strcmp(other->name, f->name))
				continue;
			same = is_same(f, other);
		}
		f->common = same;
	}
	for (u32 i = 0; i < files->count; i++) {
		bool again = false;

		for (u32 j = 0; j < kept && files->v[i].common && !again; j++)
			again = files->v[j].common && !strcmp(files->v[j].name, files->v[i].name);
		if (again)
			free(files->v[i].data);
		else
			files->v[kept++] = files->v[i];
	}
	files->count = kept;
}

int extract_all(const struct igvm *ig, u32 mask, struct extract_files *out, struct igvm_error *err)
{
	int ret = 0;

	*out = (struct extract_files){0};
	for (u32 i = 0; i < ig->platform_count && !ret; i++) {
		struct extractor x = {
			.ig = ig, .index = i, .mask = ig->platform[i].mask, .out = out, .err = err};
		struct igvm_paravisor pv;

		if (!(x.mask & mask))
			continue;
		if (igvm_find_paravisor(ig, x.mask, &pv, NULL))
			ret = add_runs(&x);
		else
			ret = add_paravisor(&x, &pv);
		if (!ret)
			ret = add_headers(&x);
	}
	if (!ret)
		join_platforms(out);
	return ret;
}

void extract_free(struct extract_files *files)
{
	for (u32 i = 0; i < files->count; i++)
		free(files->v[i].data);
	free(files->v);
	*files = (struct extract_files){0};
}

bool extract_matches(const struct extract_file *file, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(file->name, name, len) && (!file->name[len] || file->name[len] == '.');
}
