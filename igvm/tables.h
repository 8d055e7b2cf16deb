/* x64 page tables of an image, built in a buffer: identity maps in leaves of 2 MiB and 4 KiB. */
#ifndef PARAPET_IGVM_TABLES_H
#define PARAPET_IGVM_TABLES_H

#include "common/types.h"

struct page_tables {
	u8 *table;    /* bytes of it, zero at the start; the caller's */
	u64 bytes;    /* multiple of 4096, at least one page */
	u64 gpa;      /* where the buffer will be; the root is its first page */
	u64 used;     /* bytes in use; 0 at the start */
	u64 extra;    /* bits that every entry gets: SNP's encryption bit */
	bool is_full; /* a page was missing: the tables are not complete */
};

/* Both ends are multiples of 2 MiB; never larger leaves, as those could not move by 2 MiB. */
void page_tables_map(struct page_tables *t, u64 start, u64 end);
void page_tables_map_page(struct page_tables *t, u64 gpa);

#endif
