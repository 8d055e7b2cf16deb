/* CRC-32, slicing by four: the boot shim checks megabytes of initrd with it. */
#include "common/crc32.h"

#include "common/bytes.h"

static u32 table[4][256];

static void fill_table(void)
{
	for (u32 n = 0; n < 256; n++) {
		u32 c = n;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
		table[0][n] = c;
	}
	for (u32 n = 0; n < 256; n++)
		for (int k = 1; k < 4; k++)
			table[k][n] = table[k - 1][n] >> 8 ^ table[0][table[k - 1][n] & 0xff];
}

u32 crc32(u32 crc, const void *data, size_t len)
{
	const u8 *p = data;

	/* Filling twice from two threads writes the same values. */
	if (!table[0][1])
		fill_table();
	crc = ~crc;
	for (; len >= 4; p += 4, len -= 4) {
		crc ^= get_le32(p);
		crc = table[3][crc & 0xff] ^ table[2][crc >> 8 & 0xff] ^
		      table[1][crc >> 16 & 0xff] ^ table[0][crc >> 24];
	}
	while (len--)
		crc = table[0][(crc ^ *p++) & 0xff] ^ crc >> 8;
	return ~crc;
}
