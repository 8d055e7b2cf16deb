/* Kernel log records from a hostile server. */
#include <stdlib.h>
#include <string.h>

#include "host/diag/kmsg.h"
#include "host/plain.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct kmsg_splitter splitter;
	struct pb_bytes input = {data, size}, bytes;
	struct kmsg_record record;
	char text[256];
	size_t n;

	splitter = (struct kmsg_splitter){0};
	while (kmsg_split(&splitter, &input, &bytes)) {
		if (bytes.size > KMSG_RECORD_MAX)
			abort();
		if (!kmsg_parse(bytes, &record))
			continue;
		if (record.level > 7 || record.text.size > bytes.size)
			abort();
		n = kmsg_unescape(record.text, size & 1, text, sizeof(text));
		if (n >= sizeof(text))
			abort();
		for (size_t i = 0; i < n; i++)
			if (plain_control(text + i, n - i) && text[i] != '\t' &&
			    (text[i] != 0x1b || !(size & 1)))
				abort();
	}
	return 0;
}
