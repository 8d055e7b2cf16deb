/* Text formatting for log lines, error reasons, node names and the kernel command line. */
#include "loader/format.h"

#include "loader/error.h"

struct sink {
	char *buf;
	size_t size;
	size_t used;
};

static void put(struct sink *s, char c)
{
	if (s->used + 1 < s->size)
		s->buf[s->used++] = c;
}

struct spec {
	bool zero;
	unsigned int width;
	int precision; /* -1: none */
	unsigned int longs;
};

static void put_number(struct sink *s, const struct spec *spec, u64 v, unsigned int base, bool neg)
{
	char digits[24];
	unsigned int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (neg && spec->zero)
		put(s, '-');
	if (neg && !spec->zero)
		digits[n++] = '-';
	for (unsigned int i = n; i < spec->width; i++)
		put(s, spec->zero ? '0' : ' ');
	while (n)
		put(s, digits[--n]);
}

static void put_text(struct sink *s, const struct spec *spec, const char *text)
{
	if (!text)
		text = "(null)";
	for (int i = 0; (spec->precision < 0 || i < spec->precision) && text[i]; i++)
		put(s, text[i]);
}

size_t shim_vformat(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct sink s = {.buf = buf, .size = size};

	for (; *fmt; fmt++) {
		struct spec spec = {.precision = -1};

		if (*fmt != '%') {
			put(&s, *fmt);
			continue;
		}
		fmt++;
		if (*fmt == '0') {
			spec.zero = true;
			fmt++;
		}
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			spec.width = spec.width * 10 + (unsigned int)(*fmt - '0');
		if (fmt[0] == '.' && fmt[1] == '*') {
			spec.precision = va_arg(ap, int);
			fmt += 2;
		} else if (*fmt == '.') {
			spec.precision = 0;
			for (fmt++; *fmt >= '0' && *fmt <= '9'; fmt++)
				spec.precision = spec.precision * 10 + (*fmt - '0');
		}
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			spec.longs++;
		switch (*fmt) {
		case 'c': put(&s, (char)va_arg(ap, int)); break;
		case 's': put_text(&s, &spec, va_arg(ap, const char *)); break;
		case 'd': {
			s64 v = spec.longs ? va_arg(ap, s64) : va_arg(ap, int);

			put_number(&s, &spec, v < 0 ? -(u64)v : (u64)v, 10, v < 0);
			break;
		}
		case 'u':
		case 'x':
			put_number(&s, &spec, spec.longs ? va_arg(ap, u64) : va_arg(ap, u32),
				   *fmt == 'u' ? 10 : 16, false);
			break;
		case '%': put(&s, '%'); break;
		default:
			/* A format this function does not know ends the text: visible, and safe. */
			put(&s, '?');
			s.buf[s.used] = 0;
			return s.used;
		}
	}
	s.buf[s.used] = 0;
	return s.used;
}

size_t shim_format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = shim_vformat(buf, size, fmt, ap);
	va_end(ap);
	return n;
}

int shim_fail(struct shim_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	shim_vformat(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -1;
}
