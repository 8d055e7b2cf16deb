/* What tests of damaged IGVM files share. */
#ifndef PARAPET_TESTS_UNIT_IGVM_REPAIR_H
#define PARAPET_TESTS_UNIT_IGVM_REPAIR_H

#include "common/bytes.h"
#include "common/crc32.h"
#include "common/types.h"

/* Size and checksum are made right: otherwise nothing behind them would ever be reached. */
static inline void igvm_repair(u8 *file, size_t size)
{
	u32 fixed, offset, bytes;

	if (size < 32)
		return;
	fixed = get_le32(file + 4) == 2 ? 32 : 24;
	put_le32(file + 0x10, (u32)size);
	put_le32(file + 0x14, 0);
	offset = get_le32(file + 8);
	bytes = get_le32(file + 12);
	if (offset <= size && bytes <= size - offset)
		put_le32(file + 0x14, crc32(crc32(0, file, fixed), file + offset, bytes));
}

#endif
