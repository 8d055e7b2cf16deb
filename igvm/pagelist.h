/*
 * The pages and registers of a measurement with the first bytes of their digests: enough to name
 * the one that differs. What counts is the launch measurement; this only explains.
 */
#ifndef PARAPET_IGVM_PAGELIST_H
#define PARAPET_IGVM_PAGELIST_H

#include <jansson.h>
#include <stdio.h>

#include "igvm/igvm.h"

#define PAGE_DIGEST_BYTES 16

enum page_state { PAGE_MEASURED, PAGE_UNMEASURED, PAGE_SHARED };

struct page_entry {
	u64 gpa;
	u32 register_name; /* of IGVM_STEP_REGISTER */
	u8 kind;	   /* enum igvm_step_kind */
	u8 state;	   /* enum page_state */
	u8 digest[PAGE_DIGEST_BYTES];
};

struct page_list {
	struct page_entry *v;
	size_t count;
	size_t capacity;
	bool failed; /* out of memory */
};

/* An igvm_measure_step_fn whose ctx is a struct page_list */
void page_list_step(void *ctx, const struct igvm_measure_step *step);
void page_list_free(struct page_list *list);

/* Runs of pages with the digests one after the other; NULL: out of memory */
json_t *page_list_json(const struct page_list *list);
/* 0, -EINVAL, -ENOMEM */
int page_list_from_json(const json_t *json, struct page_list *list);

/* The listing `igvm measure --explain`: a line that names the platform, then one for each step */
void explain_platform(FILE *out, enum igvm_platform_type type);
/* An igvm_measure_step_fn whose ctx is a FILE */
void explain_step(void *ctx, const struct igvm_measure_step *step);
/* Reads the part of such a listing that is about the platform. 0, -EINVAL, -ENOENT, -ENOMEM */
int page_list_from_text(const char *text, size_t len, enum igvm_platform_type type,
			struct page_list *list);

/* How `found` differs from `expected`; a page that is in one only differs too. */
struct page_difference {
	size_t measured;		  /* number of entries */
	size_t unmeasured;		  /* unmeasured and shared ones */
	struct page_entry first_measured; /* as expected, or as found if it is not expected */
	struct page_entry first_unmeasured;
};
void page_list_compare(const struct page_list *expected, const struct page_list *found,
		       struct page_difference *out);
/* "page 0x1000" or "register rip". Returns buf. */
const char *page_entry_name(const struct page_entry *e, char *buf, size_t len);

#endif
