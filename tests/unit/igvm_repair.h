/* What tests of damaged IGVM files share. */
#ifndef PARAPET_TESTS_UNIT_IGVM_REPAIR_H
#define PARAPET_TESTS_UNIT_IGVM_REPAIR_H

#include "common/bytes.h"
#include "common/crc32.h"
#include "common/types.h"
#include "igvm/igvm.h"

static inline void fix_checksum(u8 *file)
{
	u32 fixed = get_le32(file + 4) == 2 ? 32 : 24;

	put_le32(file + 0x14, 0);
	put_le32(file + 0x14,
		 crc32(crc32(0, file, fixed), file + get_le32(file + 8), get_le32(file + 12)));
}

/* Size and checksum are made right: otherwise nothing behind them would ever be reached. */
static inline void igvm_repair(u8 *file, size_t size)
{
	if (size < 32)
		return;
	put_le32(file + 0x10, (u32)size);
	put_le32(file + 0x14, 0);
	if (get_le32(file + 8) <= size && get_le32(file + 12) <= size - get_le32(file + 8))
		fix_checksum(file);
}

/* Reads everything that a loader would. */
static inline u32 touch_all(const struct igvm *ig)
{
	struct igvm_iter it;
	struct igvm_header h;
	struct igvm_register reg;
	u32 sum = 0;

	for (igvm_first(ig, &it); igvm_next(&it, &h);) {
		for (u32 i = 0; i < h.data_len; i++)
			sum += h.data[i];
		if (h.type != IGVM_VP_CONTEXT || igvm_platform_of(ig, h.mask) != IGVM_PLATFORM_VSM)
			continue;
		for (u32 i = 0; i < igvm_register_count(&h); i++) {
			igvm_register_get(ig, &h, i, &reg);
			sum += reg.name;
		}
	}
	return sum;
}

#endif
