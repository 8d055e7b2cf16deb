/* Inspect: names in order, errors and values as text. */
#include "common/diag/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hex.h"

/* Its value, -1: none. */
static int digit(char c, int base)
{
	int value = hex_digit(c);

	return value < base ? value : -1;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of the number at text, 0 if none is there; a number has no letter directly behind it. */
static size_t number_at(const char *text, u64 *value)
{
	int base = text[0] == '0' && text[1] == 'x' && digit(text[2], 16) >= 0 ? 16 : 10;
	size_t n = base == 16 ? 2 : 0;
	u64 v = 0;

	for (int d; (d = digit(text[n], base)) >= 0; n++) {
		if (__builtin_mul_overflow(v, base, &v) || add_overflow(v, (u64)d, &v))
			return 0;
	}
	if (is_letter(text[n]))
		return 0;
	*value = v;
	return n;
}

int inspect_compare_names(const char *a, const char *b)
{
	const char *a_start = a, *b_start = b;

	while (*a && *b) {
		u64 x, y;
		size_t m = 0, n = 0;

		/* only at the start of a run */
		if (digit(*a, 10) >= 0 && digit(*b, 10) >= 0 &&
		    (a == a_start || digit(a[-1], 10) < 0)) {
			m = number_at(a, &x);
			n = number_at(b, &y);
		}
		if (m && n) {
			if (x != y)
				return x < y ? -1 : 1;
			a += m;
			b += n;
			continue;
		}
		if (*a != *b)
			return (u8)*a < (u8)*b ? -1 : 1;
		a++;
		b++;
	}
	if (*a || *b)
		return *a ? 1 : -1;
	/* the same as numbers: still one order */
	return strcmp(a_start, b_start);
}

void inspect_error_text(const struct inspect_node *node, char *text, size_t size)
{
	static const char *const name[] = {
		[INSPECT_UNRESOLVED] = "unresolved",
		[INSPECT_CHANNEL] = "channel error",
		[INSPECT_IMMUTABLE] = "immutable",
		[INSPECT_UPDATE] = "update error",
		[INSPECT_NOT_A_DIRECTORY] = "not a directory",
		[INSPECT_NOT_FOUND] = "not found",
		[INSPECT_INTERNAL] = "internal error",
	};
	const char *what = node->error < ARRAY_SIZE(name) ? name[node->error] : NULL;

	what = what ? what : "error";
	if (node->data.size)
		snprintf(text, size, "%s: %.*s", what, (int)MIN(node->data.size, (size_t)1000),
			 (const char *)node->data.data);
	else
		snprintf(text, size, "%s", what);
}

const char *inspect_parse_u64(const char *text, u64 *value)
{
	char *end;
	u64 v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] < '0' || text[0] > '9')
		return "not a number";
	*value = v;
	return NULL;
}

const char *inspect_parse_bool(const char *text, bool *value)
{
	if (!strcmp(text, "true"))
		*value = true;
	else if (!strcmp(text, "false"))
		*value = false;
	else
		return "neither true nor false";
	return NULL;
}
