/*
 * Moves the page tables of a relocatable image: pointers between tables, and the leaves that map
 * the moved region, which get a new address and a new place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/internal.h"

#define ENTRIES	      512u
#define PTE_PRESENT   BIT(0)
#define PTE_WRITE     BIT(1)
#define PTE_ACCESSED  BIT(5)
#define PTE_LARGE     BIT(7)
#define PTE_ADDRESS   0x000ffffffffff000ull
#define CR3_LOW_FLAGS 0xfffull

/* A leaf to be inserted again at its new address */
struct leaf {
	u64 va;
	u64 entry;
	int level;
};

struct relocator {
	u8 *tables;
	u64 old_gpa; /* of the page-table region */
	u64 size;
	u64 offset;
	u64 free; /* next free page in the region, as an offset */
	const struct igvm_relocatable_region *region;
	u8 *visited; /* a byte per page: each table may be reached once only */
	struct leaf *leaves;
	size_t leaf_count;
	size_t leaf_capacity;
	struct igvm_error *err;
};

/* Level 1 is a table of 4 KiB leaves, 4 the root. */
static u64 leaf_bytes(int level)
{
	return BIT(PAGE_SHIFT + 9 * (level - 1));
}

static bool is_leaf(u64 entry, int level)
{
	return level == 1 || (level < 4 && (entry & PTE_LARGE));
}

static u64 leaf_address(u64 entry, int level)
{
	return entry & PTE_ADDRESS & ~(leaf_bytes(level) - 1);
}

static u64 canonical(u64 va)
{
	return va & BIT(47) ? va | 0xffff000000000000ull : va & 0x0000ffffffffffffull;
}

static int keep_leaf(struct relocator *r, u64 va, u64 entry, int level)
{
	if (r->leaf_count == r->leaf_capacity) {
		size_t capacity = r->leaf_capacity ? r->leaf_capacity * 2 : 256;
		struct leaf *leaves = realloc(r->leaves, capacity * sizeof(*leaves));

		if (!leaves)
			return igvm_fail_memory(r->err);
		r->leaves = leaves;
		r->leaf_capacity = capacity;
	}
	r->leaves[r->leaf_count++] = (struct leaf){.va = va, .entry = entry, .level = level};
	return 0;
}

/* Takes a leaf that maps a part of the moved region out of its slot. */
static int move_leaf(struct relocator *r, u8 *slot, u64 va, u64 entry, int level)
{
	u64 bytes = leaf_bytes(level);
	u64 address = leaf_address(entry, level);
	u64 distance = (s64)r->offset < 0 ? -r->offset : r->offset;
	u64 moved;

	if (address >= r->region->gpa + r->region->size || r->region->gpa >= address + bytes)
		return 0;
	/* Both places lie within or beside one leaf: such a mapping covers a move by less. */
	if (distance < bytes)
		return 0;
	if (!IS_ALIGNED(va + r->offset, bytes))
		return igvm_fail(r->err, IGVM_NO_HEADER, 0,
				 "page tables: a leaf of 0x%llx bytes cannot move by 0x%llx",
				 (unsigned long long)bytes, (unsigned long long)r->offset);
	moved = address + r->offset;
	if (moved & ~PTE_ADDRESS)
		return igvm_fail(r->err, IGVM_NO_HEADER, 0,
				 "page tables: a mapping moves out of the address space");
	put_le64(slot, 0);
	return keep_leaf(r, canonical(va + r->offset),
			 (entry & ~(PTE_ADDRESS & ~(bytes - 1))) | moved, level);
}

/* table: offset in the region. Recursion ends at level 1. */
static int walk(struct relocator *r, u64 table, int level, u64 va_base)
{
	int ret = 0;

	if (table >= r->free)
		return igvm_fail(r->err, IGVM_NO_HEADER, 0,
				 "page tables: a table lies behind the used part of their region");
	if (r->visited[table / PAGE_SIZE])
		return igvm_fail(r->err, IGVM_NO_HEADER, 0, "page tables: one table is used twice");
	r->visited[table / PAGE_SIZE] = 1;
	for (u32 i = 0; i < ENTRIES && !ret; i++) {
		u8 *slot = r->tables + table + i * 8;
		u64 entry = get_le64(slot);
		u64 va = canonical(va_base + i * leaf_bytes(level));
		u64 address;

		if (!(entry & PTE_PRESENT))
			continue;
		if (is_leaf(entry, level)) {
			ret = move_leaf(r, slot, va, entry, level);
			continue;
		}
		address = entry & PTE_ADDRESS;
		/* Tables outside the region do not move, and neither does what they map. */
		if (address < r->old_gpa || address - r->old_gpa >= r->size)
			continue;
		put_le64(slot, (entry & ~PTE_ADDRESS) | ((address + r->offset) & PTE_ADDRESS));
		ret = walk(r, address - r->old_gpa, level - 1, va);
	}
	return ret;
}

/* Puts a leaf at its address, with new tables where there are none. */
static int insert(struct relocator *r, u64 root, const struct leaf *leaf)
{
	u64 table = root;
	u8 *slot;
	u64 entry;

	for (int level = 4; level > leaf->level; level--) {
		slot = r->tables + table + ((leaf->va >> (PAGE_SHIFT + 9 * (level - 1))) & 511) * 8;
		entry = get_le64(slot);
		if (!(entry & PTE_PRESENT)) {
			if (r->free >= r->size)
				return igvm_fail(r->err, IGVM_NO_HEADER, 0,
						 "page tables: no free page left in their region");
			entry = ((r->old_gpa + r->offset + r->free) & PTE_ADDRESS) | PTE_PRESENT |
				PTE_WRITE | PTE_ACCESSED;
			memset(r->tables + r->free, 0, PAGE_SIZE);
			put_le64(slot, entry);
			r->free += PAGE_SIZE;
		}
		if (is_leaf(entry, level) ||
		    (entry & PTE_ADDRESS) - (r->old_gpa + r->offset) >= r->size)
			return igvm_fail(r->err, IGVM_NO_HEADER, 0,
					 "page tables: no room for a mapping at 0x%llx",
					 (unsigned long long)leaf->va);
		table = (entry & PTE_ADDRESS) - (r->old_gpa + r->offset);
	}
	slot = r->tables + table + ((leaf->va >> (PAGE_SHIFT + 9 * (leaf->level - 1))) & 511) * 8;
	entry = get_le64(slot);
	if ((entry & PTE_PRESENT) && entry != leaf->entry)
		return igvm_fail(r->err, IGVM_NO_HEADER, 0, "page tables: 0x%llx is mapped already",
				 (unsigned long long)leaf->va);
	put_le64(slot, leaf->entry);
	return 0;
}

int igvm_relocate_page_tables(void *tables, const struct igvm_page_table_relocation *pt,
			      const struct igvm_relocatable_region *region, u64 offset, u64 *cr3,
			      struct igvm_error *err)
{
	u64 root = *cr3 & PTE_ADDRESS, new_base = pt->gpa + offset;
	struct relocator r = {.tables = tables,
			      .old_gpa = pt->gpa,
			      .size = pt->size,
			      .offset = offset,
			      .free = pt->used_size,
			      .region = region,
			      .err = err};
	int ret;

	if (root < pt->gpa || root - pt->gpa >= pt->size)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "page tables: CR3 does not point into their region");
	if (!IS_ALIGNED(offset, PAGE_SIZE) || (new_base & ~PTE_ADDRESS) ||
	    new_base + pt->size > PTE_ADDRESS)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "page tables: cannot move by 0x%llx",
				 (unsigned long long)offset);
	root -= pt->gpa;
	r.visited = calloc(1, pt->size / PAGE_SIZE);
	if (!r.visited)
		return igvm_fail_memory(err);
	ret = walk(&r, root, 4, 0);
	for (size_t i = 0; i < r.leaf_count && !ret; i++)
		ret = insert(&r, root, &r.leaves[i]);
	free(r.visited);
	free(r.leaves);
	if (!ret)
		*cr3 = (*cr3 & CR3_LOW_FLAGS) | (new_base + root);
	return ret;
}

bool igvm_base_is_valid(const struct igvm_relocatable_region *region, u64 base)
{
	return base % region->alignment == 0 && base >= region->minimum_gpa &&
	       base <= region->maximum_gpa && region->size <= region->maximum_gpa - base;
}
