/* Bytes written as hex text, for expected values in tests. */
#ifndef PARAPET_TESTS_UNIT_HEX_H
#define PARAPET_TESTS_UNIT_HEX_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/protobuf.h"

/* "0a 04 'vm'": pairs of hex digits, and text in quotes. At most 1024 bytes; static buffers, taken
 * in turn. */
static inline struct pb_bytes hex(const char *text)
{
	static u8 buffer[4][1024];
	static unsigned turn;
	u8 *out = buffer[turn++ % 4];
	size_t n = 0;

	while (*text && n < sizeof(buffer[0])) {
		if (*text == '\'') {
			for (text++; *text && *text != '\''; text++)
				out[n++] = (u8)*text;
			text++;
		} else if (*text == ' ') {
			text++;
		} else {
			char pair[3] = {text[0], text[1], 0};

			out[n++] = (u8)strtoul(pair, NULL, 16);
			text += 2;
		}
	}
	return (struct pb_bytes){out, n};
}

static inline bool same_bytes(struct pb_bytes is, struct pb_bytes wanted)
{
	if (is.size == wanted.size && (!is.size || !memcmp(is.data, wanted.data, is.size)))
		return true;
	fprintf(stderr, "is    ");
	for (size_t i = 0; i < is.size; i++)
		fprintf(stderr, " %02x", is.data[i]);
	fprintf(stderr, "\nwanted");
	for (size_t i = 0; i < wanted.size; i++)
		fprintf(stderr, " %02x", wanted.data[i]);
	fprintf(stderr, "\n");
	return false;
}

static inline struct pb_bytes written(const struct pb_writer *w)
{
	return (struct pb_bytes){w->data, w->used};
}

#endif
