/* Kernel log records. */
#include "host/diag/kmsg.h"

#include <string.h>

#include "common/hex.h"
#include "host/plain.h"

/* A decimal number up to one of the characters in ends; moves *at behind it. */
static bool number(struct pb_bytes header, size_t *at, u64 max, u64 *value)
{
	size_t start = *at;

	*value = 0;
	for (; *at < header.size && header.data[*at] >= '0' && header.data[*at] <= '9'; ++*at) {
		if (__builtin_mul_overflow(*value, 10, value) ||
		    add_overflow(*value, header.data[*at] - '0', value))
			return false;
	}
	if (*at == start || *value > max)
		return false;
	if (*at < header.size && header.data[*at] != ',')
		return false;
	++*at;
	return true;
}

bool kmsg_parse(struct pb_bytes record, struct kmsg_record *parsed)
{
	const u8 *semicolon = record.size ? memchr(record.data, ';', record.size) : NULL;
	struct pb_bytes header = {record.data, 0};
	const u8 *line_end;
	u64 priority;
	size_t at = 0;

	if (!semicolon || !pb_is_utf8(record))
		return false;
	header.size = (size_t)(semicolon - record.data);
	if (!number(header, &at, UINT32_MAX, &priority) ||
	    !number(header, &at, UINT64_MAX, &parsed->sequence) ||
	    !number(header, &at, UINT64_MAX, &parsed->usec))
		return false;
	parsed->facility = (u32)priority / 8;
	parsed->level = (u32)priority % 8;
	parsed->text = (struct pb_bytes){semicolon + 1, record.size - header.size - 1};
	line_end = parsed->text.size ? memchr(parsed->text.data, '\n', parsed->text.size) : NULL;
	if (line_end)
		parsed->text.size = (size_t)(line_end - parsed->text.data);
	return true;
}

size_t kmsg_unescape(struct pb_bytes text, bool keep_escape, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < text.size; i++) {
		const u8 *c = text.data + i;
		size_t left = text.size - i, control = plain_control(c, left), more;
		char piece[12];

		if (*c == '\\' && left >= 2 && c[1] == '\\') {
			snprintf(piece, sizeof(piece), "\\");
			i += 1;
		} else if (*c == '\\' && left >= 4 && c[1] == 'x' && hex_digit((char)c[2]) >= 0 &&
			   hex_digit((char)c[3]) >= 0) {
			int byte = hex_digit((char)c[2]) << 4 | hex_digit((char)c[3]);

			/* the kernel writes a backslash that way, too */
			if (byte == '\\' || (byte == 0x1b && keep_escape))
				snprintf(piece, sizeof(piece), "%c", byte);
			else
				snprintf(piece, sizeof(piece), "<%02x>", (unsigned)byte);
			i += 3;
		} else if (control && *c != '\t') {
			/* no control characters on a terminal */
			for (more = 0; more < control; more++)
				snprintf(piece + 4 * more, sizeof(piece) - 4 * more, "<%02x>",
					 c[more]);
			i += control - 1;
		} else {
			piece[0] = (char)*c;
			piece[1] = 0;
		}
		more = strlen(piece);
		if (used + more >= size)
			break;
		memcpy(out + used, piece, more);
		used += more;
	}
	out[used] = 0;
	return used;
}

bool kmsg_split(struct kmsg_splitter *s, struct pb_bytes *data, struct pb_bytes *record)
{
	while (data->size) {
		u8 byte = *data->data++;

		data->size--;
		if (byte) {
			if (s->used < sizeof(s->record))
				s->record[s->used++] = byte;
			else
				s->skipping = true;
			continue;
		}
		*record = (struct pb_bytes){s->record, s->skipping ? 0 : s->used};
		s->used = 0;
		s->skipping = false;
		return true;
	}
	return false;
}
