/*
 * Speed of measuring an IGVM image of 16 MiB, next to that of the hash alone over the same bytes.
 * Prints one JSON object; processor time, speeds in MB (10^6 bytes) a second, of the best of
 * several rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "igvm/hash.h"
#include "igvm/igvm.h"

#define ROUNDS 15
#define PAGES  4096

static double now(void)
{
	return (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9;
}

/* Pages with content of their own, for three platforms */
static void *make_image(size_t *len)
{
	static const enum igvm_platform_type types[] = {IGVM_PLATFORM_SEV_SNP, IGVM_PLATFORM_TDX,
							IGVM_PLATFORM_VSM};
	struct igvm_writer *w = igvm_writer_new(1, IGVM_ARCH_X64);
	struct igvm_guest_policy policy = {.policy = 0x30000, .mask = 1};
	u32 state = 1, page[1024];
	struct igvm_error err;
	void *out;

	for (u32 i = 0; w && i < ARRAY_SIZE(types); i++) {
		struct igvm_supported_platform p = {
			.mask = 1u << i, .platform_type = (u8)types[i], .platform_version = 1};

		igvm_write_platform(w, &p);
	}
	if (w)
		igvm_write(w, IGVM_GUEST_POLICY, &policy, sizeof(policy), NULL, 0);
	for (u32 i = 0; w && i < PAGES; i++) {
		for (u32 j = 0; j < ARRAY_SIZE(page); j++)
			page[j] = state = state * 1664525 + 1013904223;
		igvm_write_page(w, i * 4096ull, 7, 0, IGVM_PAGE_NORMAL, page, sizeof(page));
	}
	if (!w || igvm_writer_finish(w, &out, len, &err))
		return NULL;
	igvm_writer_free(w);
	return out;
}

static double hash_once(u32 digest_len, const void *data, size_t len)
{
	double start = now();
	u8 digest[SHA384_BYTES];
	struct igvm_hash h;

	igvm_hash_init(&h, digest_len);
	igvm_hash_update(&h, data, len);
	igvm_hash_finish(&h, digest);
	igvm_hash_free(&h);
	return now() - start;
}

/* By turns, so that other work on the machine disturbs both alike */
static int measure(const struct igvm *ig, enum igvm_platform_type type, u32 digest_len)
{
	struct igvm_measurement m;
	double best = 1e9, hash = 1e9, speed, start;

	for (u32 i = 0; i < ROUNDS; i++) {
		hash = MIN(hash, hash_once(digest_len, ig->file, ig->file_size));
		start = now();
		if (igvm_measure(ig, igvm_find_platform(ig, type), NULL, NULL, &m, NULL))
			return 1;
		best = MIN(best, now() - start);
	}
	speed = (double)ig->file_size / hash / 1e6;
	printf(", \"%s\": {\"ms\": %.2f, \"hash_mb_s\": %.1f, \"hashed_mb_s\": %.1f, "
	       "\"image_mb_s\": %.1f, \"share\": %.4f}",
	       igvm_platform_name(type), best * 1e3, speed, (double)m.hashed_bytes / best / 1e6,
	       (double)PAGES * 4096 / best / 1e6, (double)m.hashed_bytes / best / 1e6 / speed);
	return 0;
}

int main(void)
{
	double best = 1e9;
	struct igvm ig;
	size_t len;
	void *file = make_image(&len);
	int ret;

	if (!file)
		return 1;
	for (u32 i = 0; i < ROUNDS; i++) {
		double start = now();

		if (igvm_open(&ig, file, len, NULL))
			return 1;
		best = MIN(best, now() - start);
	}
	printf("{\"bytes\": %zu, \"open_ms\": %.3f", len, best * 1e3);
	ret = measure(&ig, IGVM_PLATFORM_SEV_SNP, SHA384_BYTES) ||
	      measure(&ig, IGVM_PLATFORM_TDX, SHA384_BYTES) ||
	      measure(&ig, IGVM_PLATFORM_VSM, SHA256_BYTES);
	printf("}\n");
	free(file);
	return ret;
}
