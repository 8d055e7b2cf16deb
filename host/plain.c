/* Control characters in text of others. */
#include "host/plain.h"

#include <string.h>

size_t plain_control(const void *text, size_t size)
{
	const u8 *c = text;

	if (size && (c[0] < 0x20 || c[0] == 0x7f))
		return 1;
	return size >= 2 && c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0 ? 2 : 0;
}

void plain_text(char *text, char instead)
{
	size_t left = strlen(text);
	char *to = text;

	while (left) {
		size_t control = plain_control(text, left), n = control ? control : 1;

		*to++ = control ? instead : *text;
		text += n;
		left -= n;
	}
	*to = 0;
}
