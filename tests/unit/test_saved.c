/* Saved state: malformed messages first, then the way there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/saved.h"

struct inner {
	u16 port;
	bool on;
};

struct outer {
	u64 kept;
	void *not_kept;
	u8 small;
	u32 list[3];
	struct inner one, two[2];
};

static const struct saved_field inner_fields[] = {
	SAVED_NUMBER(1, struct inner, port, 1000),
	SAVED_BOOL(2, struct inner, on),
};
static const struct saved_layout inner_layout = SAVED_LAYOUT(inner_fields);
static const struct saved_field outer_fields[] = {
	SAVED_ANY(1, struct outer, kept),
	SAVED_ANY(2, struct outer, small),
	SAVED_NUMBERS(3, struct outer, list, 9),
	SAVED_STRUCT(4, struct outer, one, &inner_layout),
	SAVED_STRUCTS(5, struct outer, two, &inner_layout),
};
static const struct saved_layout layout = SAVED_LAYOUT(outer_fields);

static const struct outer sample = {
	.kept = UINT64_MAX,
	.small = 255,
	.list = {0, 9, 1},
	.one = {1000, true},
	.two = {{0, false}, {7, true}},
};

static bool same(const struct outer *a, const struct outer *b)
{
	return a->kept == b->kept && a->small == b->small &&
	       !memcmp(a->list, b->list, sizeof(a->list)) && a->one.port == b->one.port &&
	       a->one.on == b->one.on && a->two[0].port == b->two[0].port &&
	       a->two[0].on == b->two[0].on && a->two[1].port == b->two[1].port &&
	       a->two[1].on == b->two[1].on;
}

static void refuses(const void *data, size_t size)
{
	struct outer o = sample;

	o.not_kept = &o;
	assert_false(saved_read((struct pb_bytes){data, size}, &layout, &o));
	assert_true(same(&o, &sample));
	assert_ptr_equal(o.not_kept, &o);
}

static void malformed(void **state)
{
	(void)state;
	refuses("\x08", 1);				/* a number without its value */
	refuses("\x10\x80\x02", 3);			/* 256 in a byte */
	refuses("\x0a\x01", 2);				/* a text longer than the message */
	refuses("\x1a\x01\x0a", 3);			/* 10 in the list */
	refuses("\x1a\x04\x01\x01\x01\x01", 6);		/* four elements */
	refuses("\x18\x01\x18\x01\x18\x01\x18\x01", 8); /* the same, one by one */
	refuses("\x22\x03\x08\xe9\x07", 5);		/* port 1001 */
	refuses("\x22\x02\x10\x02", 4);			/* a bool of 2 */
	refuses("\x22\x00\x22\x00", 4);			/* twice the one struct */
	refuses("\x2a\x00\x2a\x00\x2a\x00", 6);		/* three of two */
	refuses("\x20\x01", 2);				/* a number for a struct */
	refuses("\x0d\x01\x00\x00\x00", 5);		/* fixed32 for a number */
	refuses("\x78\x01\x7a", 3);			/* damage behind an unknown number */
}

/* Every beginning of a good message, each in memory of its own so that an overrun shows. */
static void cut_short(void **state)
{
	struct pb_writer w;
	unsigned taken = 0;

	(void)state;
	pb_writer_init(&w, 4096);
	saved_write(&w, &layout, &sample);
	for (size_t n = 0; n < w.used; n++) {
		u8 *copy = malloc(n ? n : 1);
		struct outer o = sample;

		memcpy(copy, w.data, n);
		if (saved_read((struct pb_bytes){copy, n}, &layout, &o))
			taken++;
		else
			assert_true(same(&o, &sample));
		free(copy);
	}
	/* where one field ends and the next begins, nothing looks wrong */
	assert_int_equal(taken, 6);
	pb_writer_free(&w);
}

static void there_and_back(void **state)
{
	struct outer o, pattern;
	struct pb_writer w;

	(void)state;
	pb_writer_init(&w, 4096);
	saved_write(&w, &layout, &sample);
	assert_false(w.failed);
	memset(&o, 0xa5, sizeof(o));
	memset(&pattern, 0xa5, sizeof(pattern));
	assert_true(saved_read((struct pb_bytes){w.data, w.used}, &layout, &o));
	assert_true(same(&o, &sample));
	assert_memory_equal(&o.not_kept, &pattern.not_kept, sizeof(o.not_kept));
	pb_writer_free(&w);
}

static void older_and_newer(void **state)
{
	static const struct outer zero;
	struct outer o = sample;

	(void)state;
	/* nothing known: all zero */
	assert_true(saved_read((struct pb_bytes){NULL, 0}, &layout, &o));
	assert_true(same(&o, &zero));
	/* an unknown number, a shorter list, a number given twice */
	o = sample;
	assert_true(
		saved_read((struct pb_bytes){(const u8 *)"\x78\x05\x1a\x01\x04\x08\x01\x08\x02", 9},
			   &layout, &o));
	assert_int_equal(o.kept, 2);
	assert_int_equal(o.list[0], 4);
	assert_int_equal(o.list[1], 0);
}

struct seen {
	char text[8];
	size_t n;
};

static bool see(void *context, struct pb_bytes bytes)
{
	struct seen *seen = context;

	assert_int_equal(bytes.size, 1);
	seen->text[seen->n++] = (char)bytes.data[0];
	return bytes.data[0] != '!';
}

static void each(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *seen;
		bool good;
	} cases[] = {
		{"", 0, "", true},
		{"\x0a\1a\x12\1x\x08\5\x12\1y", 11, "xy", true},
		/* one says no; field 2 as a number; cut short */
		{"\x12\1x\x12\1!\x12\1y", 9, "x!", false},
		{"\x12\1x\x10\5", 5, "x", false},
		{"\x12\1x\x12\5y", 6, "x", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pb_bytes in = {(const u8 *)cases[i].bytes, cases[i].size}, last;
		struct seen seen = {0};

		assert_int_equal(saved_each(in, 2, see, &seen), cases[i].good);
		assert_string_equal(seen.text, cases[i].seen);
		if (cases[i].good) {
			assert_true(pb_find_bytes(in, 2, &last));
			assert_int_equal(last.size, seen.n ? 1 : 0);
			assert_true(!seen.n || last.data[0] == (u8)seen.text[seen.n - 1]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed),	  cmocka_unit_test(cut_short),
		cmocka_unit_test(there_and_back), cmocka_unit_test(older_and_newer),
		cmocka_unit_test(each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
