/* x64 page tables of an image, built in a buffer. */
#include "igvm/tables.h"
#include "common/bytes.h"

#define PTE_TABLE      0x23ull /* present, writable, accessed */
#define PTE_PAGE       0x63ull /* and dirty */
#define PTE_LARGE_PAGE 0xe3ull
#define PTE_ADDRESS    0x000ffffffffff000ull

/* The entry that maps gpa at the level of `leaf_shift`, or NULL when no page is left. */
static u8 *slot_of(struct page_tables *t, u64 gpa, u32 leaf_shift)
{
	u64 table = 0;

	if (!t->used)
		t->used = PAGE_SIZE;
	for (u32 shift = 39; shift > leaf_shift; shift -= 9) {
		u8 *slot = t->table + table + (gpa >> shift & 511) * 8;

		if (!get_le64(slot)) {
			if (t->used == t->bytes) {
				t->is_full = true;
				return NULL;
			}
			put_le64(slot, (t->gpa + t->used) | PTE_TABLE | t->extra);
			t->used += PAGE_SIZE;
		}
		table = (get_le64(slot) & PTE_ADDRESS & ~t->extra) - t->gpa;
	}
	return t->table + table + (gpa >> leaf_shift & 511) * 8;
}

static void map(struct page_tables *t, u64 gpa, u32 leaf_shift, u64 bits)
{
	u8 *slot = slot_of(t, gpa, leaf_shift);

	if (slot)
		put_le64(slot, gpa | bits | t->extra);
}

void page_tables_map(struct page_tables *t, u64 start, u64 end)
{
	for (u64 gpa = start; gpa < end && !t->is_full; gpa += 2 * MiB)
		map(t, gpa, 21, PTE_LARGE_PAGE);
}

void page_tables_map_page(struct page_tables *t, u64 gpa)
{
	map(t, gpa, 12, PTE_PAGE);
}
