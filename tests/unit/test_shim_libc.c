/* The shim's libc functions against the system's, at every small size and alignment. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/types.h"

/* The same source under other names */
#define memcpy	shim_memcpy
#define memmove shim_memmove
#define memset	shim_memset
#define memcmp	shim_memcmp
#define memchr	shim_memchr
#define strlen	shim_strlen
#define strnlen shim_strnlen
#define strcmp	shim_strcmp
#define strncmp shim_strncmp
#define strchr	shim_strchr
#define strrchr shim_strrchr
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "loader/libc.c"
#pragma GCC diagnostic pop
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr

#define SPAN 64

static u8 a[SPAN], b[SPAN];

static void fill(void)
{
	for (u32 i = 0; i < SPAN; i++)
		a[i] = b[i] = (u8)(i + 1);
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static void copies(void **state)
{
	(void)state;
	for (u32 to = 0; to < 20; to++)
		for (u32 from = 0; from < 20; from++)
			for (u32 n = 0; n < 40; n++) {
				fill();
				assert_ptr_equal(shim_memmove(a + to, a + from, n), a + to);
				memmove(b + to, b + from, n);
				assert_memory_equal(a, b, SPAN);
				if (to + n > from && from + n > to)
					continue;
				fill();
				assert_ptr_equal(shim_memcpy(a + to, a + from, n), a + to);
				memcpy(b + to, b + from, n);
				assert_memory_equal(a, b, SPAN);
			}
}

static void sets(void **state)
{
	(void)state;
	for (u32 to = 0; to < 20; to++)
		for (u32 n = 0; n < 40; n++) {
			fill();
			assert_ptr_equal(shim_memset(a + to, 0x1a5, n), a + to);
			memset(b + to, 0x1a5, n);
			assert_memory_equal(a, b, SPAN);
		}
}

static void searches(void **state)
{
	const char *const text[] = {"", "a", "b", "ab", "abc", "abd", "\xff", "a\xff", "aXbXc"};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(text); i++) {
		const char *s = text[i];

		assert_int_equal(shim_strlen(s), strlen(s));
		for (size_t n = 0; n < 5; n++)
			assert_int_equal(shim_strnlen(s, n), strnlen(s, n));
		for (u32 c = 0; c < 256; c++) {
			assert_ptr_equal(shim_strchr(s, (int)c), strchr(s, (int)c));
			assert_ptr_equal(shim_strrchr(s, (int)c), strrchr(s, (int)c));
			assert_ptr_equal(shim_memchr(s, (int)c, strlen(s)),
					 memchr(s, (int)c, strlen(s)));
		}
		for (u32 k = 0; k < ARRAY_SIZE(text); k++) {
			const char *t = text[k];
			size_t shorter = MIN(strlen(s), strlen(t));

			assert_int_equal(sign(shim_strcmp(s, t)), sign(strcmp(s, t)));
			assert_int_equal(sign(shim_memcmp(s, t, shorter)),
					 sign(memcmp(s, t, shorter)));
			for (size_t n = 0; n < 5; n++)
				assert_int_equal(sign(shim_strncmp(s, t, n)),
						 sign(strncmp(s, t, n)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies),
		cmocka_unit_test(sets),
		cmocka_unit_test(searches),
	};

	return cmocka_run_group_tests_name("shim_libc", tests, NULL, NULL);
}
