/*
 * Adds a Linux guest for VTL0 to a paravisor image, as OpenHCL's direct manifests place it.
 * Facts on the kernel image: Linux Documentation/arch/x86/boot.rst.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/elf.h"
#include "igvm/internal.h"
#include "igvm/pages.h"

#define CMDLINE_GPA	 0x1000ull
#define LOW_MEMORY_END	 0x100000ull /* BIOS areas and hole below */
#define INITRD_ALIGNMENT (2 * MiB)

/* bzImage setup header, file offsets */
#define BZ_SETUP_SECTS	0x1f1
#define BZ_SYSSIZE	0x1f4
#define BZ_MAGIC	0x202
#define BZ_VERSION	0x206
#define BZ_LOADFLAGS	0x211
#define BZ_ALIGNMENT	0x230
#define BZ_RELOCATABLE	0x234
#define BZ_XLOADFLAGS	0x236
#define BZ_CMDLINE_SIZE 0x238
#define BZ_PREF_ADDRESS 0x258
#define BZ_INIT_SIZE	0x260
#define BZ_HEADER_END	0x264
#define BZ_MAGIC_HDRS	0x53726448u
#define BZ_LOADED_HIGH	BIT(0)
#define BZ_KERNEL_64	BIT(0)
#define BZ_ENTRY_64	0x200
#define BZ_VERSION_2_12 0x20c

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

struct payload {
	const struct igvm_vtl0_linux *in;
	struct page_plan plan;
	struct igvm_spans taken; /* what the image uses */
	struct shim_measured_vtl0 config;
	u64 kernel_low;
	u64 kernel_end; /* of all that the kernel writes to before it looks at the initrd */
};

/*
 * Where the file goes: so that its code lies at the kernel's preferred address, if pages allow.
 * Whoever boots it then need not move it.
 */
static u64 bzimage_base(u64 preferred, u64 setup)
{
	if (preferred >= IGVM_VTL0_KERNEL_BASE && preferred <= IGVM_VTL0_LIMIT &&
	    IS_ALIGNED(preferred - setup, PAGE_SIZE))
		return preferred - setup;
	return IGVM_VTL0_KERNEL_BASE;
}

static int plan_bzimage(struct payload *p, struct igvm_error *err)
{
	const u8 *k = p->in->kernel;
	size_t len = p->in->kernel_len;
	u64 base, setup, alignment, out, init_size;
	size_t cmdline_len = p->in->cmdline ? strlen(p->in->cmdline) : 0;

	if (len < BZ_HEADER_END || get_le16(k + BZ_VERSION) < BZ_VERSION_2_12 ||
	    !(k[BZ_LOADFLAGS] & BZ_LOADED_HIGH) || !(get_le16(k + BZ_XLOADFLAGS) & BZ_KERNEL_64))
		return FAIL("kernel: a bzImage without 64-bit entry point (too old, or 32-bit)");
	setup = ((k[BZ_SETUP_SECTS] ? k[BZ_SETUP_SECTS] : 4) + 1) * 512ull;
	if (setup + get_le32(k + BZ_SYSSIZE) * 16ull > len || setup + BZ_ENTRY_64 >= len)
		return FAIL("kernel: the bzImage is truncated: it has %zu bytes of %llu", len,
			    (unsigned long long)(setup + get_le32(k + BZ_SYSSIZE) * 16ull));
	if (len > IGVM_VTL0_LIMIT)
		return FAIL("kernel: %zu bytes are too large", len);
	if (cmdline_len > get_le32(k + BZ_CMDLINE_SIZE))
		return FAIL("command line: %zu characters, this kernel takes %u", cmdline_len,
			    get_le32(k + BZ_CMDLINE_SIZE));
	alignment = get_le32(k + BZ_ALIGNMENT);
	out = get_le64(k + BZ_PREF_ADDRESS);
	init_size = get_le32(k + BZ_INIT_SIZE);
	base = bzimage_base(out, setup);
	if (out > IGVM_VTL0_LIMIT || init_size > IGVM_VTL0_LIMIT)
		return FAIL("kernel: damaged setup header: it decompresses to 0x%llx + 0x%llx",
			    (unsigned long long)out, (unsigned long long)init_size);
	if (k[BZ_RELOCATABLE]) {
		if (!alignment || (alignment & (alignment - 1)) || alignment > GiB)
			return FAIL("kernel: damaged setup header: alignment 0x%llx",
				    (unsigned long long)alignment);
		out = MAX(out, ALIGN_UP(base + setup, alignment));
	}
	p->kernel_low = MIN(base, out);
	p->kernel_end = MAX(ALIGN_UP(base + len, PAGE_SIZE), ALIGN_UP(out + init_size, PAGE_SIZE));
	p->config.kernel_base_page = base / PAGE_SIZE;
	p->config.kernel_pages = ALIGN_UP(len, PAGE_SIZE) / PAGE_SIZE;
	p->config.kernel_entry = base + setup + BZ_ENTRY_64;
	return page_plan_add(&p->plan, base, k, len, len, "vtl0-kernel", err);
}

static int plan_vmlinux(struct payload *p, struct igvm_error *err)
{
	struct elf_image elf;
	u64 entry = 0;
	int ret = elf_parse(&elf, p->in->kernel, p->in->kernel_len, "kernel", err);

	if (!ret)
		ret = elf_entry(&elf, &entry, "kernel", err);
	if (ret)
		return ret;
	p->kernel_low = elf.low;
	p->kernel_end = elf.high;
	p->config.kernel_base_page = elf.low / PAGE_SIZE;
	p->config.kernel_pages = (elf.high - elf.low) / PAGE_SIZE;
	p->config.kernel_entry = entry;
	return page_plan_add_elf(&p->plan, &elf, 0, "vtl0-kernel", err);
}

static int plan_kernel(struct payload *p, struct igvm_error *err)
{
	const u8 *k = p->in->kernel;
	size_t len = p->in->kernel_len;
	int ret;

	if (len >= BZ_MAGIC + 4 && get_le32(k + BZ_MAGIC) == BZ_MAGIC_HDRS)
		ret = plan_bzimage(p, err);
	else if (elf_has_magic(k, len))
		ret = plan_vmlinux(p, err);
	else
		return FAIL("kernel: neither a bzImage nor an ELF vmlinux");
	if (ret)
		return ret;
	if (p->kernel_low < LOW_MEMORY_END || p->kernel_end > IGVM_VTL0_LIMIT)
		return FAIL("kernel: needs memory 0x%llx-0x%llx, possible is 1 MiB to %llu MiB",
			    (unsigned long long)p->kernel_low, (unsigned long long)p->kernel_end,
			    (unsigned long long)(IGVM_VTL0_LIMIT / MiB));
	for (size_t i = 0; i < p->taken.count; i++) {
		const struct igvm_span *s = &p->taken.v[i];

		if (s->start < p->kernel_end && p->kernel_low < s->end)
			return FAIL("kernel: too large: needs memory 0x%llx-0x%llx, the image "
				    "itself uses 0x%llx-0x%llx",
				    (unsigned long long)p->kernel_low,
				    (unsigned long long)p->kernel_end, (unsigned long long)s->start,
				    (unsigned long long)s->end);
	}
	return 0;
}

static int plan_initrd(struct payload *p, struct igvm_error *err)
{
	u64 bytes = ALIGN_UP(p->in->initrd_len, PAGE_SIZE);
	u64 gpa = ALIGN_UP(p->kernel_end, INITRD_ALIGNMENT);

	if (!p->in->initrd_len)
		return 0;
	if (p->in->initrd_len > IGVM_VTL0_LIMIT)
		return FAIL("initrd: %zu bytes are too large", p->in->initrd_len);
	for (size_t i = 0; i < p->taken.count; i++) { /* sorted by start */
		const struct igvm_span *s = &p->taken.v[i];

		if (s->start < gpa + bytes && gpa < s->end)
			gpa = ALIGN_UP(s->end, INITRD_ALIGNMENT);
		if (gpa > IGVM_VTL0_LIMIT)
			break;
	}
	if (gpa + bytes > IGVM_VTL0_LIMIT)
		return FAIL("initrd: %zu bytes do not fit below %llu MiB", p->in->initrd_len,
			    (unsigned long long)(IGVM_VTL0_LIMIT / MiB));
	p->config.initrd_base_page = gpa / PAGE_SIZE;
	p->config.initrd_pages = bytes / PAGE_SIZE;
	p->config.initrd_size = p->in->initrd_len;
	return page_plan_add(&p->plan, gpa, p->in->initrd, p->in->initrd_len, bytes, "vtl0-initrd",
			     err);
}

static int plan_cmdline(struct payload *p, struct igvm_error *err)
{
	const char *text = p->in->cmdline ? p->in->cmdline : "";
	size_t len = strlen(text) + 1;

	if (len > IGVM_VTL0_CMDLINE_PAGES * PAGE_SIZE)
		return FAIL("command line: %zu characters are too long", len - 1);
	p->config.cmdline_page = CMDLINE_GPA / PAGE_SIZE;
	p->config.cmdline_pages = ALIGN_UP(len, PAGE_SIZE) / PAGE_SIZE;
	return page_plan_add(&p->plan, CMDLINE_GPA, text, len, len, "vtl0-cmdline", err);
}

/* All guest memory that the image speaks of, but for an empty VTL0 configuration page */
static int find_taken(struct payload *p, const struct igvm *ig, bool has_config,
		      struct igvm_error *err)
{
	u64 area_bytes[IGVM_MAX_AREAS];
	u32 area_index[IGVM_MAX_AREAS], areas = 0;
	struct igvm_iter it;
	struct igvm_header h;
	int ret = 0;

	igvm_first(ig, &it);
	while (!ret && igvm_next(&it, &h)) {
		switch (h.type) {
		case IGVM_PARAMETER_AREA:
			area_bytes[areas] = h.u.area.number_of_bytes;
			area_index[areas++] = h.u.area.index;
			break;
		case IGVM_PARAMETER_INSERT:
			for (u32 i = 0; i < areas; i++) {
				if (area_index[i] == h.u.insert.area)
					ret = igvm_spans_add(&p->taken, h.u.insert.gpa,
							     area_bytes[i], h.mask, h.index);
			}
			break;
		case IGVM_PAGE_DATA:
			if (h.u.page.gpa || !has_config)
				ret = igvm_spans_add(&p->taken, h.u.page.gpa, igvm_page_bytes(&h),
						     h.mask, h.index);
			break;
		case IGVM_REQUIRED_MEMORY:
			ret = igvm_spans_add(&p->taken, h.u.required.gpa,
					     h.u.required.number_of_bytes, h.mask, h.index);
			break;
		case IGVM_RELOCATABLE_REGION:
			ret = igvm_spans_add(&p->taken, h.u.relocatable.gpa, h.u.relocatable.size,
					     h.mask, h.index);
			break;
		case IGVM_PAGE_TABLE_RELOCATION:
			ret = igvm_spans_add(&p->taken, h.u.page_table.gpa, h.u.page_table.size,
					     h.mask, h.index);
			break;
		case IGVM_ERROR_RANGE:
			ret = igvm_spans_add(&p->taken, h.u.error_range.gpa,
					     h.u.error_range.size_bytes, h.mask, h.index);
			break;
		}
	}
	igvm_spans_sort(&p->taken);
	return ret ? igvm_fail_memory(err) : 0;
}

/* What the configuration and command line pages would cover must be free. */
static int check_low_pages(const struct payload *p, struct igvm_error *err)
{
	u64 end = CMDLINE_GPA + p->config.cmdline_pages * PAGE_SIZE;

	if (p->taken.count && p->taken.v[0].start < end)
		return FAIL("the image uses guest page 0x%llx itself",
			    (unsigned long long)p->taken.v[0].start / PAGE_SIZE);
	return 0;
}

static int make_plan(struct payload *p, const struct igvm *ig, bool has_config,
		     struct igvm_error *err)
{
	int ret = find_taken(p, ig, has_config, err);

	if (!ret)
		ret = plan_kernel(p, err);
	if (!ret)
		ret = plan_initrd(p, err);
	if (!ret)
		ret = plan_cmdline(p, err);
	if (!ret)
		ret = check_low_pages(p, err);
	if (ret)
		return ret;
	p->config.magic = SHIM_MEASURED_VTL0_MAGIC;
	p->config.supported = SHIM_VTL0_LINUX;
	ret = page_plan_add(&p->plan, 0, &p->config, sizeof(p->config), sizeof(p->config),
			    "vtl0-config", err);
	page_plan_sort(&p->plan);
	return ret;
}

/* The imported-regions page with the new pages in it. page 0 is listed there once. */
static int list_pages(const struct payload *p, const u8 *old, u8 *page, struct igvm_error *err)
{
	struct shim_imported_regions list;
	u32 count = 0, first = 0;

	memcpy(page, old, PAGE_SIZE);
	memcpy(&list, old, sizeof(list));
	while (count < ARRAY_SIZE(list.range) && list.range[count].page_count)
		count++;
	if (count && list.range[0].base_page == 0)
		first = 1; /* plan.run[0] is the configuration page */
	for (u32 i = first; i < p->plan.count; i++) {
		const struct page_run *run = &p->plan.run[i];
		u32 j = count;

		if (count++ == ARRAY_SIZE(list.range))
			return FAIL("no room in the image's list of imported regions");
		for (; j > 0 && list.range[j - 1].base_page > run->gpa / PAGE_SIZE; j--)
			list.range[j] = list.range[j - 1];
		list.range[j] = (struct shim_imported_range){
			.base_page = run->gpa / PAGE_SIZE, .page_count = run->pages, .accepted = 1};
	}
	memcpy(page, &list, sizeof(list));
	return 0;
}

/* Writes the planned runs below `below`, which is how all pages stay in ascending order. */
static void write_runs(const struct payload *p, struct igvm_writer *w, u32 mask, u32 *next,
		       u64 below)
{
	while (*next < p->plan.count && p->plan.run[*next].gpa < below)
		page_run_write(&p->plan.run[(*next)++], w, mask);
}

static int write_image(const struct payload *p, const struct igvm *ig,
		       const struct igvm_paravisor *pv, struct igvm_writer *w,
		       struct igvm_error *err)
{
	u32 next = 0;
	u64 previous = 0;
	bool listed = false;
	struct igvm_iter it;
	struct igvm_header h;
	u8 page[PAGE_SIZE];

	igvm_first(ig, &it);
	while (igvm_next(&it, &h)) {
		if (h.type != IGVM_PAGE_DATA) {
			igvm_write_copy(w, &h);
			continue;
		}
		/* Pages ascend up to the hash region and the imported-regions page, which end. */
		write_runs(p, w, pv->mask, &next, h.u.page.gpa < previous ? ~0ull : h.u.page.gpa);
		previous = h.u.page.gpa;
		if (h.u.page.gpa == 0) {
			write_runs(p, w, pv->mask, &next, PAGE_SIZE);
		} else if (h.u.page.gpa == pv->imported_gpa && h.data) {
			int ret = list_pages(p, h.data, page, err);

			if (ret)
				return ret;
			igvm_write_page(w, h.u.page.gpa, h.mask, h.u.page.flags, h.u.page.data_type,
					page, sizeof(page));
			listed = true;
		} else {
			igvm_write_copy(w, &h);
		}
	}
	write_runs(p, w, pv->mask, &next, ~0ull);
	if (!listed)
		return FAIL("not a paravisor image: no imported-regions page");
	return 0;
}

int igvm_add_vtl0_linux(const void *image, size_t len, const struct igvm_vtl0_linux *payload,
			void **out, size_t *out_len, struct igvm_error *err)
{
	struct payload p = {.in = payload};
	struct igvm_paravisor pv;
	struct igvm_writer *w = NULL;
	struct igvm ig;
	int ret = igvm_open(&ig, image, len, err);

	if (ret)
		return ret;
	if (ig.platform_count != 1)
		return FAIL("adding a guest to an image of %u platforms is not supported",
			    ig.platform_count);
	ret = igvm_find_paravisor(&ig, ig.platform[0].mask, &pv, err);
	if (ret)
		return ret;
	if (pv.has_vtl0_config && pv.vtl0.supported)
		return FAIL("the image has a VTL0 payload already; use one without");
	ret = make_plan(&p, &ig, pv.has_vtl0_config, err);
	if (!ret) {
		w = igvm_writer_new(ig.version, ig.arch);
		ret = w ? write_image(&p, &ig, &pv, w, err) : igvm_fail_memory(err);
	}
	if (!ret)
		ret = igvm_writer_finish(w, out, out_len, err);
	igvm_writer_free(w);
	igvm_spans_free(&p.taken);
	return ret;
}
