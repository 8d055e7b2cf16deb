/* Control characters in text of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "host/plain.h"

static void control_characters(void **state)
{
	char text[3] = {0};

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		text[0] = (char)c;
		assert_int_equal(plain_control(text, 1), c < 0x20 || c == 0x7f);
	}
	for (unsigned c = 0x80; c < 0xc0; c++) {
		text[0] = (char)0xc2;
		text[1] = (char)c;
		assert_int_equal(plain_control(text, 2), c < 0xa0 ? 2 : 0);
		text[0] = (char)0xc3;
		assert_int_equal(plain_control(text, 2), 0);
	}
	assert_int_equal(plain_control("", 0), 0);
}

static void half_a_character(void **state)
{
	(void)state;
	assert_int_equal(plain_control("\xc2\x9b", 1), 0);
	assert_int_equal(plain_control("\xc2", 2), 0);
	assert_int_equal(plain_control("\xc2\x1b", 2), 0);
}

static void plain_texts(void **state)
{
	static const struct {
		const char *from, *to;
	} text[] = {
		{"", ""},
		{"vm 1", "vm 1"},
		{"\x1b[2J\r\n\t", "?[2J???"},
		{"a\x7f\xc2\x9b"
		 "b",
		 "a??b"},
		{"\xc2\x9f\xc2\xa0\xc3\x9b", "?\xc2\xa0\xc3\x9b"},
		{"\xc2\x9b\xc2", "?\xc2"},
		{"\xc2\x1b", "\xc2?"},
	};
	char buffer[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
		strcpy(buffer, text[i].from);
		plain_text(buffer, '?');
		assert_string_equal(buffer, text[i].to);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_characters),
		cmocka_unit_test(half_a_character),
		cmocka_unit_test(plain_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
