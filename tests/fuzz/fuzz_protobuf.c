/* Protobuf reader: every field lies inside the message, and written again it reads the same. */
#include <stdlib.h>
#include <string.h>

#include "common/protobuf.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void count(void *context, u64 value)
{
	(void)value;
	++*(size_t *)context;
}

static void walk(struct pb_bytes message, unsigned levels)
{
	struct pb_reader r, packed;
	struct pb_field f, again;
	struct pb_writer w;
	size_t n = 0;

	pb_reader_init(&r, message);
	while (pb_next(&r, &f)) {
		if (!f.number ||
		    (f.bytes.size && (f.bytes.data < message.data ||
				      f.bytes.data + f.bytes.size > message.data + message.size)))
			abort();
		pb_each_u64(&r, &f, f.number, count, &n);
		if (n > 11 * (message.size + 1))
			abort();
		if (f.type != PB_BYTES)
			continue;
		pb_writer_init(&w, MAX(message.size * 2, (size_t)64));
		pb_put_bytes_always(&w, f.number, f.bytes);
		pb_reader_init(&packed, (struct pb_bytes){w.data, w.used});
		if (w.failed || !pb_next(&packed, &again) || again.number != f.number ||
		    again.bytes.size != f.bytes.size)
			abort();
		pb_writer_free(&w);
		pb_is_utf8(f.bytes);
		free(pb_copy_text(f.bytes));
		if (levels)
			walk(f.bytes, levels - 1);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	walk((struct pb_bytes){data, size}, 8);
	return 0;
}
