/* Page tables of the shim. */
#include "loader/page_tables.h"

#include <string.h>

#define PTE_PRESENT    BIT(0)
#define PTE_WRITE      BIT(1)
#define PTE_ACCESSED   BIT(5)
#define PTE_DIRTY      BIT(6)
#define PTE_LARGE      BIT(7)
#define PTE_NO_EXECUTE BIT(63)
#define PTE_ADDRESS    0x000ffffffffff000ull

/* Accessed and dirty from the start: the processor need not write to the tables. */
#define PTE_TABLE (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED)
#define PTE_LEAF  (PTE_PRESENT | PTE_ACCESSED)

#define ADDRESS_LIMIT BIT(47) /* beyond, an identity map has no canonical address */
#define ROOT_SHIFT    39
#define LARGE_SHIFT   21

#define fail(err, ...) shim_fail(err, "page tables: " __VA_ARGS__)

typedef unsigned long long ull;

void shim_tables_init(struct shim_tables *pt, u64 (*pool)[PAGE_TABLE_ENTRIES], u64 address,
		      u32 capacity)
{
	*pt = (struct shim_tables){
		.table = pool, .address = address, .capacity = capacity, .used = 1};
	memset(pool[0], 0, sizeof(pool[0]));
}

static u64 leaf_bits(u32 access)
{
	return PTE_LEAF | (access & PAGE_WRITE ? PTE_WRITE | PTE_DIRTY : 0) |
	       (access & PAGE_EXEC ? 0 : PTE_NO_EXECUTE);
}

/* The table below *entry; a new one where there is none. NULL: no table left, or a leaf. */
static u64 *table_below(struct shim_tables *pt, u64 *entry)
{
	u32 index;

	if (*entry & PTE_LARGE)
		return NULL;
	if (*entry)
		return pt->table[((*entry & PTE_ADDRESS) - pt->address) / PAGE_SIZE];
	if (pt->used == pt->capacity)
		return NULL;
	index = pt->used++;
	memset(pt->table[index], 0, sizeof(pt->table[index]));
	*entry = (pt->address + index * PAGE_SIZE) | PTE_TABLE;
	return pt->table[index];
}

static u32 slot(u64 at, u32 shift)
{
	return at >> shift & (PAGE_TABLE_ENTRIES - 1);
}

/* One leaf of 1 << shift bytes */
static int map_leaf(struct shim_tables *pt, u64 at, u32 shift, u64 bits, struct shim_error *err)
{
	u64 *table = pt->table[0];

	for (u32 level = ROOT_SHIFT; level > shift; level -= 9) {
		u64 *entry = &table[slot(at, level)];

		table = table_below(pt, entry);
		if (table)
			continue;
		if (*entry)
			return fail(err, "%llx is mapped twice", (ull)at);
		return fail(err, "no room for %llx in %u tables", (ull)at, pt->capacity);
	}
	if (table[slot(at, shift)])
		return fail(err, "%llx is mapped twice", (ull)at);
	table[slot(at, shift)] = at | bits | (shift > PAGE_SHIFT ? PTE_LARGE : 0);
	return 0;
}

int shim_tables_map(struct shim_tables *pt, struct addr_range range, u32 access,
		    struct shim_error *err)
{
	u64 bits = leaf_bits(access);
	u64 large = 1ull << LARGE_SHIFT;
	u64 at = range.start;

	if (range.start == range.end)
		return 0;
	if (!range_page_aligned(range) || range.start > range.end || range.start < PAGE_SIZE ||
	    range.end > ADDRESS_LIMIT)
		return fail(err, "%llx-%llx cannot be mapped", (ull)range.start, (ull)range.end);
	while (at < range.end) {
		bool fits = IS_ALIGNED(at, large) && range.end - at >= large;
		u32 shift = fits ? LARGE_SHIFT : PAGE_SHIFT;

		if (map_leaf(pt, at, shift, bits, err))
			return -1;
		at += 1ull << shift;
	}
	return 0;
}
