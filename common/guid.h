/* GUIDs as they stand in memory and on the wire: first three fields little endian. */
#ifndef PARAPET_COMMON_GUID_H
#define PARAPET_COMMON_GUID_H

#include <string.h>

#include "common/types.h"

struct guid {
	u32 data1;
	u16 data2;
	u16 data3;
	u8 data4[8];
};

_Static_assert(sizeof(struct guid) == 16, "wire format");

#define GUID(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7) \
	((struct guid){(a), (b), (c), {(d0), (d1), (d2), (d3), (d4), (d5), (d6), (d7)}})

/* 8-4-4-4-12 digits and the NUL */
#define GUID_TEXT 37

static inline bool guid_equal(const struct guid *a, const struct guid *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline bool guid_is_zero(const struct guid *g)
{
	return guid_equal(g, &(struct guid){0});
}

/* Lower-case text with NUL into out; returns out. */
char *guid_format(const struct guid *g, char out[GUID_TEXT]);
/*
 * Reads exactly len characters: 8-4-4-4-12 hex digits of either case, in braces or not.
 * False, and *out untouched, when they are anything else.
 */
bool guid_parse(const char *text, size_t len, struct guid *out);

#endif
