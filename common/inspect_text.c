/* Inspect: names in order, errors and values as text. */
#include "common/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c, bool hex)
{
	return (c >= '0' && c <= '9') ||
	       (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of the number at text, 0 if none is there; a number has no letter directly behind it. */
static size_t number_at(const char *text, u64 *value)
{
	bool hex = text[0] == '0' && text[1] == 'x' && is_digit(text[2], true);
	size_t n = hex ? 2 : 0;
	u64 v = 0;

	for (; is_digit(text[n], hex); n++) {
		unsigned digit = (unsigned)(text[n] <= '9' ? text[n] - '0'
							   : (text[n] | 0x20) - 'a' + 10);

		if (__builtin_mul_overflow(v, hex ? 16 : 10, &v) || add_overflow(v, digit, &v))
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
		if (is_digit(*a, false) && is_digit(*b, false) &&
		    (a == a_start || !is_digit(a[-1], false))) {
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
