/* ELF cores: the stream filter, the writer, the reader, the mappings; hostile streams first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/diag/elfcore.h"
#include "paravisor/crash/filter.h"
#include "paravisor/crash/maps.h"

struct sink {
	u8 *data;
	size_t used, limit;
};

static bool emit(void *ctx, const void *data, size_t len)
{
	struct sink *s = ctx;

	assert_true(len > 0);
	if (len > s->limit - s->used)
		return false;
	memcpy(s->data + s->used, data, len);
	s->used += len;
	return true;
}

static u8 *make_note(const char *text)
{
	u8 *note = calloc(1, KMSG_NOTE_SIZE);

	memcpy(kmsg_note_text(note), text, strlen(text));
	kmsg_note_finish(note, (u32)strlen(text));
	return note;
}

/* Through the filter in pieces of that size. */
static struct sink filter(const void *core, size_t len, size_t piece, bool *inserted)
{
	struct core_filter *f = malloc(sizeof(*f));
	struct sink s = {malloc(len + KMSG_NOTE_SIZE + 1), 0, len + KMSG_NOTE_SIZE};
	u8 *note = make_note("6,1,2,-;hello\n");

	core_filter_init(f, note, KMSG_NOTE_SIZE, emit, &s);
	for (size_t at = 0, n; at < len; at += n) {
		u8 *copy;

		n = MIN(piece, len - at);
		copy = malloc(n);
		memcpy(copy, (const u8 *)core + at, n);
		assert_true(core_filter_put(f, copy, n));
		free(copy);
	}
	assert_true(core_filter_end(f));
	*inserted = f->inserted;
	assert_int_equal(!f->inserted, f->why != NULL);
	free(note);
	free(f);
	return s;
}

/* A core of one note and two segments, the first with 8192 bytes in the file. */
static void make_core(struct pb_writer *w)
{
	static const struct elfcore_segment segment[] = {
		{.start = 0x400000, .size = 0x2000, .file_size = 0x2000, .flags = PF_R},
		{.start = 0x800000, .size = 0x2000},
	};
	struct pb_writer notes;
	u8 status[336] = {0}, info[136] = {0}, memory[0x2000];
	u64 data;

	status[12] = 11;
	put_le32(status + 32, 77);
	put_le32(info + 24, 76);
	memcpy(info + 40, "a\x1b[2Jname", 9);
	pb_writer_init(&notes, MiB);
	elfcore_put_note(&notes, "CORE", NT_PRSTATUS, status, sizeof(status));
	elfcore_put_note(&notes, "CORE", NT_PRPSINFO, info, sizeof(info));
	elfcore_put_note(&notes, "OTHERS", 99, "abcde", 5);
	memset(memory, 0x5a, sizeof(memory));
	pb_writer_init(w, MiB);
	assert_true(elfcore_put_head(w, notes.used, segment, 2, &data));
	pb_raw(w, notes.data, notes.used);
	while (w->used < data)
		pb_raw(w, "", 1);
	pb_raw(w, memory, sizeof(memory));
	assert_false(w->failed);
	pb_writer_free(&notes);
}

static bool read_at(void *ctx, u64 offset, void *buf, u32 len)
{
	const struct sink *s = ctx;

	if (offset > s->used || len > s->used - offset)
		return false;
	memcpy(buf, s->data + offset, len);
	return true;
}

static bool summarise(struct sink *s, struct elfcore_summary *summary, const char **why)
{
	const struct elfcore_reader r = {read_at, s, s->used};

	return elfcore_summarise(&r, summary, why);
}

/* --- hostile */

/* What is not understood is passed on to the last byte. */
static void test_filter_passes(void **state)
{
	static const struct {
		size_t at;
		u8 value;
	} wrong[] = {
		{0, 0},
		{4, 1},
		{5, 2},
		{16, 2},
		{32, 65},
		{39, 0x80},
		{40, 1},
		{54, 55},
		{56, 0},
		{57, 5},
		{60, 1},
		{64, PT_LOAD},
		{64 + 8, 0},
		{64 + 15, 0xff},
		{64 + 32, 1},
		{64 + 39, 0xff},
		{120 + 8 + 1, 0x01},
		{120 + 15, 0xff},
	};
	struct pb_writer core;
	bool inserted;
	struct sink s;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		make_core(&core);
		assert_int_not_equal(core.data[wrong[i].at], wrong[i].value);
		core.data[wrong[i].at] = wrong[i].value;
		if (wrong[i].at == 120 + 15)
			memset(core.data + 120 + 8, 0xff, 8);
		s = filter(core.data, core.used, 1000, &inserted);
		assert_false(inserted);
		assert_int_equal(s.used, core.used);
		assert_memory_equal(s.data, core.data, core.used);
		free(s.data);
		pb_writer_free(&core);
	}
}

static void test_filter_cut(void **state)
{
	struct pb_writer core;
	bool inserted;
	struct sink s;
	u64 notes_end;

	(void)state;
	make_core(&core);
	notes_end = get_le64(core.data + 64 + 8) + get_le64(core.data + 64 + 32);
	for (size_t len = 0; len < core.used; len += len < 1200 ? 1 : 1111) {
		s = filter(core.data, len, 100, &inserted);
		assert_int_equal(inserted, len >= notes_end);
		assert_int_equal(s.used, len + (inserted ? KMSG_NOTE_SIZE : 0));
		free(s.data);
	}
	pb_writer_free(&core);
}

static void test_filter_full(void **state)
{
	struct core_filter *f = malloc(sizeof(*f));
	struct pb_writer core;
	u8 *note = make_note("");

	(void)state;
	make_core(&core);
	for (size_t limit = 0; limit < core.used + KMSG_NOTE_SIZE; limit += 997) {
		struct sink s = {malloc(limit + 1), 0, limit};

		core_filter_init(f, note, KMSG_NOTE_SIZE, emit, &s);
		assert_false(core_filter_put(f, core.data, core.used));
		free(s.data);
	}
	pb_writer_free(&core);
	free(note);
	free(f);
}

/* Any byte of the headers and notes changed: an answer or a reason, and no read beyond. */
static void test_summary_damaged(void **state)
{
	static const u8 values[] = {0, 1, 0x7f, 0x80, 0xff};
	struct elfcore_summary summary;
	struct pb_writer core;
	const char *why;

	(void)state;
	make_core(&core);
	for (size_t at = 0; at < 1200; at++) {
		u8 old = core.data[at];

		for (size_t i = 0; i < sizeof(values); i++) {
			struct sink s = {core.data, core.used, core.used};
			bool good;

			core.data[at] = values[i];
			good = summarise(&s, &summary, &why);
			assert_int_equal(good, why == NULL);
			for (const char *c = summary.name; *c; c++)
				assert_in_range(*c, 0x20, 0x7e);
		}
		core.data[at] = old;
	}
	for (size_t len = 0; len < core.used; len += 13) {
		struct sink s = {malloc(len), len, len};

		memcpy(s.data, core.data, len);
		assert_false(summarise(&s, &summary, &why));
		free(s.data);
	}
	pb_writer_free(&core);
}

/* --- as it should be */

static void test_filter(void **state)
{
	static const size_t pieces[] = {1, 7, 64, 4096, 1u << 30};
	struct elfcore_summary summary;
	struct pb_writer core;
	const char *why;
	bool inserted;

	(void)state;
	make_core(&core);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct sink s = filter(core.data, core.used, pieces[i], &inserted);

		assert_true(inserted);
		assert_int_equal(s.used, core.used + KMSG_NOTE_SIZE);
		assert_true(summarise(&s, &summary, &why));
		assert_int_equal(summary.pid, 76);
		assert_int_equal(summary.signal, 11);
		assert_string_equal(summary.name, "a?[2Jname");
		assert_int_equal(summary.kmsg_len, 14);
		assert_memory_equal(s.data + summary.kmsg_offset, "6,1,2,-;hello\n", 14);
		/* the memory of the first segment is where its header says */
		assert_int_equal(s.data[get_le64(s.data + 120 + 8)], 0x5a);
		assert_int_equal(s.data[get_le64(s.data + 120 + 8) + 0x1fff], 0x5a);
		assert_int_equal(get_le64(s.data + 120 + 8) + 0x2000, s.used);
		free(s.data);
	}
	pb_writer_free(&core);
}

static void test_note(void **state)
{
	u8 *note = make_note("x");

	(void)state;
	assert_int_equal(get_le32(note), 5);
	assert_int_equal(get_le32(note + 4), 262124);
	assert_int_equal(get_le32(note + 8), 0xffffffff);
	assert_memory_equal(note + 12, "KMSG\0\0\0\0x\0", 10);
	assert_int_equal(get_le32(note + 262140), 1);
	kmsg_note_finish(note, UINT32_MAX);
	assert_int_equal(get_le32(note + 262140), 262120);
	free(note);
}

static void test_maps(void **state)
{
	char text[] = "00400000-00401000 r--p 00000000 00:02 7   /init\n"
		      "Size:                  4 kB\n"
		      "Anonymous:             0 kB\n"
		      "VmFlags: rd mr mw me \n"
		      "00401000-00403000 r-xp 00001000 00:02 7   /init\n"
		      "Anonymous:             0 kB\n"
		      "00403000-00405000 rw-p 00003000 00:02 7   /init\n"
		      "Anonymous:             4 kB\n"
		      "7f0000000000-7f0010000000 rw-s 00000000 00:06 99  /dev/mshv_vtl_low\n"
		      "Anonymous:             4 kB\n"
		      "VmFlags: rd wr sh mr mw me ms dd mm hg \n"
		      "7f0010000000-7f0010001000 rw-s 00000000 00:06 99  /dev/other\n"
		      "7f0020000000-7f0020001000 rw-s 00000000 00:01 3   /dev/zero (deleted)\n"
		      "7f0030000000-7f0030001000 rw-s 00000000 00:0e 4   anon_inode:mshv_vtl\n"
		      "7f0040000000-7f0040003000 rw-p 00000000 00:00 0 \n"
		      "Anonymous:             8 kB\n"
		      "VmFlags: rd wr mr mw me ac dd \n"
		      "7f0050000000-7f0050003000 rw-p 00000000 00:00 0 \n"
		      "Anonymous:             8 kB\n"
		      "VmFlags: rd wr mr mw me ac sd \n"
		      "7f0060000000-7f0060002000 r--p 00000000 00:00 0   [vvar]\n"
		      "7f0060002000-7f0060003000 r-xp 00000000 00:00 0   [vdso]\n"
		      "VmFlags: rd ex mr mw me de \n"
		      "7f0070000000-7f0070001000 rw-p 00000000 00:00 0   [stack]\n"
		      "Anonymous:             4 kB\n";
	static const u64 bytes[] = {4096, 0, 8192, 0, 0, 4096, 0, 0, 12288, 0, 4096, 4096};
	char odd[] =
		"1000-0 r--p 0 0:0 0 x\n1-2 r--p 0 0:0 0 x\nffff\nAnonymous: 7 kB\nVmFlags: dd\n"
		"10000-20000 r--p 0 0:0 0\n10000-20000 rwxpp 0 0:0 0 \n\n1000-2000 r--p 0 0:0 0 y";
	struct core_map map[32];
	char many[] = "1000-2000 rw-p 0 0:0 0 \n2000-3000 rw-p 0 0:0 0 \nAnonymous: 4 kB\n";

	(void)state;
	assert_int_equal(core_maps_parse(text, map, 32), ARRAY_SIZE(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++)
		assert_int_equal(core_map_bytes(&map[i]), bytes[i]);
	assert_string_equal(map[0].path, "/init");
	assert_int_equal(map[4].start, 0x7f0010000000);
	assert_true(core_maps_parse(odd, map, 32) <= 2);
	assert_int_equal(core_maps_parse(many, map, 1), 1);
	assert_int_equal(map[0].anonymous, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter_passes), cmocka_unit_test(test_filter_cut),
		cmocka_unit_test(test_filter_full),   cmocka_unit_test(test_summary_damaged),
		cmocka_unit_test(test_filter),	      cmocka_unit_test(test_note),
		cmocka_unit_test(test_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
