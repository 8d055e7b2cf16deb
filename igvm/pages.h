/* A plan of guest pages to be written to an image: runs with their content, sorted by address. */
#ifndef PARAPET_IGVM_PAGES_H
#define PARAPET_IGVM_PAGES_H

#include "igvm/elf.h"
#include "igvm/igvm.h"

#define PAGE_PLAN_MAX_RUNS 96

/* Pages from gpa; data begins `lead` bytes into the first one, the rest is zero. */
struct page_run {
	u64 gpa;
	u64 pages;
	u32 lead;
	const void *data; /* borrowed */
	size_t len;
	const char *tag; /* what it is, for people */
	u32 flags;	 /* IGVM_PAGE_SHARED or 0 */
	enum igvm_page_type type;
};

struct page_plan {
	struct page_run run[PAGE_PLAN_MAX_RUNS];
	u32 count;
};

/* Any address and length; rounds out to pages, at least one. bytes >= len: zeros behind data. */
int page_plan_add(struct page_plan *plan, u64 gpa, const void *data, size_t len, u64 bytes,
		  const char *tag, struct igvm_error *err);
/* All segments, each at paddr + shift (wraps) */
int page_plan_add_elf(struct page_plan *plan, const struct elf_image *elf, u64 shift,
		      const char *tag, struct igvm_error *err);
/* Marks all runs from the one with index `first` on as shared with the host. */
void page_plan_share(struct page_plan *plan, u32 first);
void page_plan_sort(struct page_plan *plan);
/*
 * Page i of a run: returns its first bytes, *len of them; zeros follow. In scratch or in the data
 * of the run. *len is 0 for a page of zeros.
 */
const u8 *page_run_get(const struct page_run *run, u64 i, u8 scratch[PAGE_SIZE], size_t *len);
/* Writes one run; a page of zeros needs no data in the file. */
void page_run_write(const struct page_run *run, struct igvm_writer *w, u32 mask);

#endif
