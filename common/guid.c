/* GUIDs: text to bytes and back. */
#include "common/guid.h"

#include <stdio.h>

#include "common/hex.h"

/* Order in which the text shows the bytes of the memory form */
static const u8 guid_order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

char *guid_format(const struct guid *g, char out[GUID_TEXT])
{
	const u8 *d = g->data4;

	snprintf(out, GUID_TEXT, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", g->data1,
		 g->data2, g->data3, d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]);
	return out;
}

bool guid_parse(const char *text, size_t len, struct guid *out)
{
	u8 bytes[16];

	if (len == GUID_TEXT + 1 && text[0] == '{' && text[len - 1] == '}') {
		text++;
		len -= 2;
	}
	if (len != GUID_TEXT - 1)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		int hi, lo;

		if (i == 4 || i == 6 || i == 8 || i == 10) {
			if (*text++ != '-')
				return false;
		}
		hi = hex_digit(*text++);
		lo = hex_digit(*text++);
		if (hi < 0 || lo < 0)
			return false;
		bytes[guid_order[i]] = (u8)(hi << 4 | lo);
	}
	memcpy(out, bytes, sizeof(bytes));
	return true;
}
