/* The few libc functions that the shim, libfdt and the compiler call. */
#include <string.h>

#include "common/types.h"

/* Eight bytes a step: string instructions are slow per step under emulation, not per byte. */
void *memcpy(void *restrict dest, const void *restrict src, size_t n)
{
	void *d = dest;
	size_t words = n / 8, rest = n % 8;

	__asm__ volatile("rep movsq\n\tmov %[rest], %%rcx\n\trep movsb"
			 : "+D"(d), "+S"(src), "+c"(words)
			 : [rest] "r"(rest)
			 : "memory");
	return dest;
}

void *memmove(void *dest, const void *src, size_t n)
{
	u8 *d = dest;
	const u8 *s = src;

	/* Copying upwards is right unless dest lies inside the source. */
	if ((uintptr_t)d - (uintptr_t)s >= n)
		return memcpy(dest, src, n);
	d += n;
	s += n;
	for (; n % 8; n--)
		*--d = *--s;
	n /= 8;
	d -= 8;
	s -= 8;
	__asm__ volatile("std\n\trep movsq\n\tcld" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	return dest;
}

void *memset(void *dest, int value, size_t n)
{
	void *d = dest;
	size_t words = n / 8, rest = n % 8;
	u64 pattern = 0x0101010101010101ull * (u8)value;

	__asm__ volatile("rep stosq\n\tmov %[rest], %%rcx\n\trep stosb"
			 : "+D"(d), "+c"(words)
			 : "a"(pattern), [rest] "r"(rest)
			 : "memory");
	return dest;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

void *memchr(const void *p, int c, size_t n)
{
	const u8 *b = p;

	for (; n; n--, b++)
		if (*b == (u8)c)
			return (void *)(uintptr_t)b;
	return NULL;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++) {
		if (*a != *b)
			return (u8)*a - (u8)*b;
		if (!*a)
			break;
	}
	return 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}

char *strrchr(const char *s, int c)
{
	const char *found = NULL;

	for (;; s++) {
		if (*s == (char)c)
			found = s;
		if (!*s)
			return (char *)(uintptr_t)found;
	}
}
