/* CRC-32 as in zip and Ethernet (reflected polynomial 0xEDB88320): IGVM header and initrd checks.
 */
#ifndef PARAPET_COMMON_CRC32_H
#define PARAPET_COMMON_CRC32_H

#include "common/types.h"

/* Continues `crc` (0 to begin) over `len` bytes. Returns the finished value. */
u32 crc32(u32 crc, const void *data, size_t len);

#endif
