/* An arbitrary core stream through the filter and the reader; arbitrary text as mappings. */
#include <stdlib.h>
#include <string.h>

#include "common/diag/elfcore.h"
#include "paravisor/crash/filter.h"
#include "paravisor/crash/maps.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u8 output[KMSG_NOTE_SIZE + 65536];
static size_t used;

static bool emit(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	if (!len || len > sizeof(output) - used)
		abort();
	memcpy(output + used, data, len);
	used += len;
	return true;
}

static bool read_at(void *ctx, u64 offset, void *buf, u32 len)
{
	unsigned *reads = ctx;

	if (++*reads > 20000)
		abort();
	if (offset > used || len > used - offset)
		return false;
	memcpy(buf, output + offset, len);
	return true;
}

static void stream(const u8 *data, size_t size, size_t piece)
{
	static u8 note[KMSG_NOTE_SIZE];
	static struct core_filter f;
	struct elfcore_summary summary;
	unsigned reads = 0;
	struct elfcore_reader r = {read_at, &reads, size};
	const char *why;

	memset(note, 0, sizeof(note));
	kmsg_note_finish(note, 0);
	memcpy(output, data, size);
	used = size;
	elfcore_summarise(&r, &summary, &why);
	used = 0;
	core_filter_init(&f, note, sizeof(note), emit, NULL);
	for (size_t at = 0; at < size; at += piece)
		core_filter_put(&f, data + at, MIN(piece, size - at));
	core_filter_end(&f);
	if (used != size + (f.inserted ? sizeof(note) : 0) || f.inserted != !f.why)
		abort();
	if (!f.inserted && f.state != FILTER_NOTES && memcmp(output, data, size))
		abort();
	r.size = used;
	reads = 0;
	elfcore_summarise(&r, &summary, &why);
}

static void maps(const u8 *data, size_t size)
{
	static struct core_map map[16];
	char *text = malloc(size + 1);
	unsigned n;

	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = 0;
	n = core_maps_parse(text, map, ARRAY_SIZE(map));
	for (unsigned i = 0; i < n; i++) {
		if (map[i].start >= map[i].end || strlen(map[i].path) > size ||
		    core_map_bytes(&map[i]) > map[i].end - map[i].start)
			abort();
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	if (!size || size > 65536)
		return 0;
	if (data[0] & 1)
		maps(data + 1, size - 1);
	else
		stream(data + 1, size - 1, (size_t)(data[0] >> 1) * 16 + 1);
	return 0;
}
