/*
 * Page tables of the shim: identity mapped ranges with their access, in tables from a fixed pool.
 * Four levels; format: Intel SDM volume 3, "4-Level Paging".
 */
#ifndef PARAPET_LOADER_PAGE_TABLES_H
#define PARAPET_LOADER_PAGE_TABLES_H

#include "loader/error.h"
#include "loader/range.h"

/* Reading is always allowed. */
#define PAGE_WRITE BIT(0)
#define PAGE_EXEC  BIT(1)

#define PAGE_TABLE_ENTRIES 512

struct shim_tables {
	u64 (*table)[PAGE_TABLE_ENTRIES]; /* borrowed; [0] is the root */
	u64 address;			  /* of table[0], for the processor; page aligned */
	u32 capacity, used;		  /* in tables */
};

/* Takes `capacity` (at least 1) tables at `pool` in any state; nothing is mapped at first. */
void shim_tables_init(struct shim_tables *pt, u64 (*pool)[PAGE_TABLE_ENTRIES], u64 address,
		      u32 capacity);

/*
 * Maps [range) to itself, in leaves of 2 MiB where they fit (1 GiB is not offered by every
 * processor, and no image is that large). Refuses what is not page aligned, page 0, addresses from
 * 2^47 on, pages that are mapped already, and more tables than there are; then a part may have been
 * mapped. An empty range maps nothing.
 */
int shim_tables_map(struct shim_tables *pt, struct addr_range range, u32 access,
		    struct shim_error *err);

#endif
