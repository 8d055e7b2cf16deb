/*
 * Time and heap of reading and checking an IGVM file: `igvm_read [FILE]`, or files of 16 MiB made
 * here, the usual and the worst. Prints one JSON object per file.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/crc32.h"
#include "igvm/igvm.h"

#define ROUNDS 20

/* Linked with --wrap: every allocation of the reader goes through these. */
static size_t heap, heap_peak;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);

static void *count(void *p)
{
	heap += p ? malloc_usable_size(p) : 0;
	if (heap > heap_peak)
		heap_peak = heap;
	return p;
}

void *__wrap_malloc(size_t size)
{
	return count(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return count(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size)
{
	size_t before = p ? malloc_usable_size(p) : 0;

	p = __real_realloc(p, size);
	if (p)
		heap -= before;
	return count(p);
}

void __wrap_free(void *p)
{
	if (p)
		heap -= malloc_usable_size(p);
	__real_free(p);
}

static double now_ms(void)
{
	return (double)monotonic_ns() / 1e6;
}

static int measure(const char *name, const void *file, size_t len)
{
	double best = 1e9;
	size_t before = heap;
	struct igvm_error err;
	struct igvm ig;

	for (u32 i = 0; i < ROUNDS; i++) {
		double start = now_ms();

		heap_peak = heap;
		if (igvm_open(&ig, file, len, &err)) {
			fprintf(stderr, "igvm_read: %s: header %u: %s\n", name, err.header,
				err.text);
			return 1;
		}
		if (now_ms() - start < best)
			best = now_ms() - start;
	}
	printf("{\"file\": \"%s\", \"bytes\": %zu, \"headers\": %u, \"ms\": %.3f, \"heap_kib\": "
	       "%zu}\n",
	       name, len, ig.header_count, best, (heap_peak - before + 1023) / 1024);
	return 0;
}

static const u32 types[] = {IGVM_PLATFORM_NATIVE, IGVM_PLATFORM_VSM, IGVM_PLATFORM_SEV_SNP,
			    IGVM_PLATFORM_TDX,	  IGVM_PLATFORM_SEV, IGVM_PLATFORM_SEV_ES};

/*
 * `pages` pages, each for every one of `platforms` by a header of its own; data of its own for
 * each page if with_data. scattered: in no order and without neighbours.
 */
static int made(const char *name, u32 pages, u32 platforms, bool scattered, bool with_data)
{
	size_t headers = 24 * platforms + (size_t)32 * pages * platforms;
	size_t len = 24 + headers + (with_data ? (size_t)pages * 4096 : 8);
	u8 *file = calloc(1, len), *p;
	int ret;

	if (!file)
		return 1;
	p = file + 24;
	put_le32(file, IGVM_MAGIC);
	put_le32(file + 4, 1);
	put_le32(file + 8, 24);
	put_le32(file + 12, (u32)headers);
	put_le32(file + 16, (u32)len);
	for (u32 i = 0; i < platforms; i++, p += 24) {
		struct igvm_supported_platform s = {
			.mask = 1u << i, .platform_type = (u8)types[i], .platform_version = 1};

		put_le32(p, IGVM_SUPPORTED_PLATFORM);
		put_le32(p + 4, sizeof(s));
		memcpy(p + 8, &s, sizeof(s));
	}
	for (u32 i = 0; i < pages; i++) {
		for (u32 j = 0; j < platforms; j++, p += 32) {
			struct igvm_page_data d = {.gpa = i * 4096ull, .mask = 1u << j};

			if (scattered) /* an odd factor permutes */
				d.gpa = (i * 0x9e3779b1ull % BIT(32)) * 8192;
			if (with_data)
				d.file_offset = (u32)(24 + headers + i * 4096ull);
			put_le32(p, IGVM_PAGE_DATA);
			put_le32(p + 4, sizeof(d));
			memcpy(p + 8, &d, sizeof(d));
		}
	}
	put_le32(file + 20, crc32(crc32(0, file, 24), file + 24, headers));
	ret = measure(name, file, len);
	free(file);
	return ret;
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		FILE *f = fopen(argv[1], "rb");
		u8 *file;
		size_t len;
		int ret;

		if (!f || fseek(f, 0, SEEK_END)) {
			perror(argv[1]);
			return 1;
		}
		len = (size_t)ftell(f);
		rewind(f);
		file = malloc(len + 1);
		if (!file || fread(file, 1, len, f) != len) {
			perror(argv[1]);
			exit(1);
		}
		fclose(f);
		ret = measure(argv[1], file, len);
		free(file);
		return ret;
	}
	return made("16 MiB of pages", 4096, 1, false, true) ||
	       made("16 MiB of pages, 3 platforms by turns", 4096, 3, false, true) ||
	       made("16 MiB of pages, 6 platforms, in no order", 4096, 6, true, true) ||
	       made("16 MiB of headers, in no order", 524000, 1, true, false);
}
