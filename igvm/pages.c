/* Page plans: collecting what goes to which guest page, and writing it to an image. */
#include <string.h>

#include "igvm/internal.h"
#include "igvm/pages.h"

int page_plan_add(struct page_plan *plan, u64 gpa, const void *data, size_t len, u64 bytes,
		  const char *tag, struct igvm_error *err)
{
	u32 lead = (u32)(gpa % PAGE_SIZE);

	if (plan->count == PAGE_PLAN_MAX_RUNS)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "more than %u regions",
				 PAGE_PLAN_MAX_RUNS);
	plan->run[plan->count++] = (struct page_run){
		.gpa = gpa - lead,
		.pages = MAX(ALIGN_UP(lead + bytes, PAGE_SIZE) / PAGE_SIZE, 1),
		.lead = lead,
		.data = data,
		.len = len,
		.tag = tag,
	};
	return 0;
}

int page_plan_add_elf(struct page_plan *plan, const struct elf_image *elf, u64 shift,
		      const char *tag, struct igvm_error *err)
{
	for (u32 i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segment[i];
		int ret = page_plan_add(plan, s->paddr + shift, s->data, s->filesz, s->memsz, tag,
					err);

		if (ret)
			return ret;
	}
	return 0;
}

void page_plan_sort(struct page_plan *plan)
{
	for (u32 i = 1; i < plan->count; i++) {
		struct page_run run = plan->run[i];
		u32 j = i;

		for (; j > 0 && plan->run[j - 1].gpa > run.gpa; j--)
			plan->run[j] = plan->run[j - 1];
		plan->run[j] = run;
	}
}

void page_plan_share(struct page_plan *plan, u32 first)
{
	for (u32 i = first; i < plan->count; i++)
		plan->run[i].flags = IGVM_PAGE_SHARED;
}

static bool is_zero_page(const u8 *page, size_t len)
{
	return len == 0 || (page[0] == 0 && !memcmp(page, page + 1, len - 1));
}

const u8 *page_run_get(const struct page_run *run, u64 i, u8 scratch[PAGE_SIZE], size_t *len)
{
	u64 start = i * PAGE_SIZE - run->lead; /* in data; wraps in the first page */
	const u8 *page = NULL;

	*len = 0;
	if (i == 0 && run->len) {
		*len = MIN(run->len, (size_t)(PAGE_SIZE - run->lead));
		memset(scratch, 0, run->lead);
		memcpy(scratch + run->lead, run->data, *len);
		*len += run->lead;
		page = scratch;
	} else if (i > 0 && start < run->len) {
		*len = MIN(run->len - start, (size_t)PAGE_SIZE);
		page = (const u8 *)run->data + start;
	}
	if (is_zero_page(page, *len))
		*len = 0;
	return page;
}

void page_run_write(const struct page_run *run, struct igvm_writer *w, u32 mask)
{
	u8 scratch[PAGE_SIZE];
	size_t len;

	for (u64 i = 0; i < run->pages; i++) {
		const u8 *page = page_run_get(run, i, scratch, &len);

		igvm_write_page(w, run->gpa + i * PAGE_SIZE, mask, run->flags, run->type, page,
				len);
	}
}
