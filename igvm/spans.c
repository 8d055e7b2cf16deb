/* Sets of guest address ranges with compatibility masks, to find overlaps in bounded time. */
#include <errno.h>
#include <stdlib.h>

#include "igvm/internal.h"

/* The caller has checked that start + bytes does not wrap. */
int igvm_spans_add(struct igvm_spans *s, u64 start, u64 bytes, u32 mask, u32 header)
{
	struct igvm_span *last = s->count ? &s->v[s->count - 1] : NULL;

	/* A page per header: the header of any page in it follows from the first one's. */
	if (last && last->end == start && last->mask == mask && bytes == IGVM_PAGE_SIZE &&
	    last->header + (last->end - last->start) / IGVM_PAGE_SIZE == header) {
		last->end += bytes;
		return 0;
	}
	if (s->count == s->capacity) {
		size_t capacity = s->capacity ? s->capacity * 2 : 64;
		struct igvm_span *v = realloc(s->v, capacity * sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->capacity = capacity;
	}
	s->v[s->count++] = (struct igvm_span){
		.start = start, .end = start + bytes, .mask = mask, .header = header};
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct igvm_span *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->header < y->header ? -1 : x->header > y->header;
}

void igvm_spans_sort(struct igvm_spans *s)
{
	if (s->count)
		qsort(s->v, s->count, sizeof(*s->v), compare);
}

const struct igvm_span *igvm_spans_overlap(const struct igvm_spans *s, u32 *other)
{
	u64 end[32] = {0};
	u32 owner[32] = {0};

	for (size_t i = 0; i < s->count; i++) {
		const struct igvm_span *span = &s->v[i];

		for (u32 bit = 0; bit < 32; bit++) {
			if (!(span->mask & BIT(bit)))
				continue;
			if (span->start < end[bit]) {
				*other = owner[bit];
				return span;
			}
			end[bit] = span->end;
			owner[bit] = span->header;
		}
	}
	return NULL;
}

void igvm_spans_free(struct igvm_spans *s)
{
	free(s->v);
	*s = (struct igvm_spans){0};
}
