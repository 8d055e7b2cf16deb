/* Protobuf reader and writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/protobuf.h"
#include "tests/unit/hex.h"

static bool malformed(const char *text)
{
	struct pb_bytes bytes = hex(text);
	u8 *exact = malloc(bytes.size + 1); /* so that the sanitizer sees an overrun */
	struct pb_reader r;
	struct pb_field f;

	if (bytes.size)
		memcpy(exact, bytes.data, bytes.size);
	exact = realloc(exact, bytes.size ? bytes.size : 1);
	pb_reader_init(&r, (struct pb_bytes){exact, bytes.size});
	while (pb_next(&r, &f))
		;
	free(exact);
	return r.failed;
}

static void hostile_input(void **state)
{
	(void)state;
	assert_true(malformed("08"));				       /* value missing */
	assert_true(malformed("08 80"));			       /* varint without end */
	assert_true(malformed("08 ff ff ff ff ff ff ff ff ff 02"));    /* more than 64 bits */
	assert_true(malformed("08 80 80 80 80 80 80 80 80 80 80 00")); /* eleven bytes */
	assert_true(malformed("0a 02 61"));			       /* shorter than it says */
	assert_true(malformed("0a ff ff ff ff ff ff ff ff ff 01"));
	assert_true(malformed("09 01 02 03"));
	assert_true(malformed("0d 01 02 03"));
	assert_true(malformed("00 01")); /* field 0 */
	assert_true(malformed("0b 0c")); /* groups */
	assert_true(malformed("0e 00")); /* wire types 6 and 7 */
	assert_true(malformed("0f 00"));
	assert_true(malformed("88 80 80 80 10 01"));		    /* field 2^29 */
	assert_true(malformed("88 80 80 80 80 80 80 80 80 01 00")); /* field number that wraps */
	assert_false(malformed(""));
	assert_false(malformed("08 ff ff ff ff ff ff ff ff ff 01"));
	assert_false(malformed("f8 ff ff ff 0f 01"));
}

static void reads(void **state)
{
	struct pb_reader r;
	struct pb_field f;

	(void)state;
	pb_reader_init(&r, hex("08 96 01 11 01 00 00 00 00 00 00 80 1a 02 'vm' 25 02 00 00 80"));
	assert_true(pb_next(&r, &f) && f.number == 1 && f.type == PB_VARINT && f.value == 150);
	assert_true(pb_next(&r, &f) && f.number == 2 && f.value == 0x8000000000000001ull);
	assert_true(pb_next(&r, &f) && pb_is(&r, &f, 3, PB_BYTES) && pb_equal(f.bytes, "vm"));
	assert_true(pb_next(&r, &f) && f.type == PB_FIXED32 && f.value == 0x80000002);
	assert_false(pb_is(&r, &f, 3, PB_BYTES));
	assert_false(r.failed);
	/* the number fits, the form does not */
	assert_false(pb_is(&r, &f, 4, PB_VARINT));
	assert_true(r.failed);
	assert_int_equal(pb_zigzag(1), -1);
	assert_int_equal(pb_zigzag(UINT64_MAX), INT64_MIN);
}

static void add(void *context, u64 value)
{
	u64 *sum = context;

	*sum = *sum * 10 + value;
}

static void repeated_numbers(void **state)
{
	struct pb_reader r;
	struct pb_field f;
	u64 sum = 0;

	(void)state;
	pb_reader_init(&r, hex("12 03 01 02 03 10 04 12 00"));
	while (pb_next(&r, &f))
		assert_true(pb_each_u64(&r, &f, 2, add, &sum));
	assert_false(r.failed);
	assert_int_equal(sum, 1234);
	pb_reader_init(&r, hex("12 02 01 80"));
	assert_true(pb_next(&r, &f));
	pb_each_u64(&r, &f, 2, add, &sum);
	assert_true(r.failed);
}

static void finds_the_last(void **state)
{
	struct pb_bytes bytes;
	u64 value;

	(void)state;
	assert_false(pb_find_u64(hex("08 01 0a 00"), 1, &value)); /* another form */
	assert_false(pb_find_bytes(hex("0a 00 08 01"), 1, &bytes));
	assert_false(pb_find_u64(hex("08 01 12 05"), 1, &value)); /* cut short elsewhere */
	assert_true(pb_find_u64(hex("08 01 12 00 08 02 18 03"), 1, &value));
	assert_int_equal(value, 2);
	assert_true(pb_find_bytes(hex("0a 01 'a' 08 01 12 01 'b' 12 02 'cd'"), 2, &bytes));
	assert_true(pb_equal(bytes, "cd"));
	assert_true(pb_find_u64(hex("10 01"), 1, &value));
	assert_int_equal(value, 0);
	assert_true(pb_find_bytes(hex(""), 1, &bytes));
	assert_int_equal(bytes.size, 0);
}

static void writes(void **state)
{
	struct pb_writer w;
	u8 long_text[200];
	size_t a, b;

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	pb_writer_init(&w, 10000);
	pb_put_u64(&w, 1, 0);
	pb_put_text(&w, 2, "");
	pb_put_fixed32(&w, 3, 0);
	assert_int_equal(w.used, 0);
	pb_put_u64(&w, 1, (u64)-1);
	pb_put_s64_zigzag(&w, 16, -1);
	pb_put_bytes_always(&w, 2, (struct pb_bytes){0});
	pb_put_fixed64(&w, 3, 1);
	a = pb_begin(&w, 4);
	pb_end(&w, a);
	assert_true(
		same_bytes(written(&w), hex("08 ff ff ff ff ff ff ff ff ff 01 80 01 01 12 00 19 "
					    "01 00 00 00 00 00 00 00 22 00")));
	w.used = 0;
	a = pb_begin(&w, 1);
	b = pb_begin(&w, 1);
	pb_raw(&w, long_text, sizeof(long_text));
	pb_end(&w, b);
	pb_put_u64(&w, 2, 7);
	pb_end(&w, a);
	assert_int_equal(w.used, 3 + 3 + 200 + 2);
	assert_memory_equal(w.data, "\x0a\xcd\x01\x0a\xc8\x01x", 7);
	assert_memory_equal(w.data + w.used - 3, "x\x10\x07", 3);
	pb_writer_free(&w);
}

static void write_limit(void **state)
{
	struct pb_writer w;
	size_t a;

	(void)state;
	pb_writer_init(&w, 5);
	a = pb_begin(&w, 1);
	pb_raw(&w, "abcd", 4);
	assert_false(w.failed);
	pb_end(&w, a); /* no room for the length */
	assert_true(w.failed);
	pb_put_u64(&w, 1, 1);
	assert_true(w.used <= 5);
	pb_writer_free(&w);
}

static void utf8(void **state)
{
	(void)state;
	assert_true(pb_is_utf8(hex("'abc' c3 a4 e2 82 ac f0 9f 98 80")));
	assert_true(pb_is_utf8(hex("")));
	assert_false(pb_is_utf8(hex("80")));
	assert_false(pb_is_utf8(hex("c3")));
	assert_false(pb_is_utf8(hex("c0 80")));	      /* too long a form */
	assert_false(pb_is_utf8(hex("ed a0 80")));    /* surrogate */
	assert_false(pb_is_utf8(hex("f4 90 80 80"))); /* above U+10FFFF */
	assert_false(pb_is_utf8(hex("ff")));
	assert_null(pb_copy_text(hex("61 00 62")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_input),
		cmocka_unit_test(reads),
		cmocka_unit_test(repeated_numbers),
		cmocka_unit_test(finds_the_last),
		cmocka_unit_test(writes),
		cmocka_unit_test(write_limit),
		cmocka_unit_test(utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
