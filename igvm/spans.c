/* Sets of guest address ranges with compatibility masks, to find overlaps in bounded time. */
#include <errno.h>
#include <stdlib.h>

#include "igvm/internal.h"

/* Headers of several platforms take turns: look back for the range that a page continues. */
#define LOOK_BACK 8u

/* The caller has checked that start + bytes does not wrap. */
int igvm_spans_add(struct igvm_spans *s, u64 start, u64 bytes, u32 mask, u32 header)
{
	for (size_t i = 1; i <= LOOK_BACK && i <= s->count; i++) {
		struct igvm_span *span = &s->v[s->count - i];

		if (span->end == start && span->mask == mask) {
			span->end += bytes;
			return 0;
		}
	}
	if (s->count == IGVM_MAX_SPANS)
		return -E2BIG;
	if (s->count == s->capacity) {
		size_t capacity = s->capacity + MAX(s->capacity / 4, 64);
		struct igvm_span *v;

		v = realloc(s->v, capacity * sizeof(*v));
		if (!v)
			return -ENOMEM;
		s->v = v;
		s->capacity = capacity;
	}
	s->v[s->count++] = (struct igvm_span){
		.start = start, .end = start + bytes, .mask = mask, .header = header};
	return 0;
}

static bool before(const struct igvm_span *a, const struct igvm_span *b)
{
	return a->start != b->start ? a->start < b->start : a->header < b->header;
}

static void swap(struct igvm_span *a, struct igvm_span *b)
{
	struct igvm_span t = *a;

	*a = *b;
	*b = t;
}

static void sift_down(struct igvm_span *v, size_t root, size_t count)
{
	for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
		if (child + 1 < count && before(&v[child], &v[child + 1]))
			child++;
		if (!before(&v[root], &v[child]))
			return;
		swap(&v[root], &v[child]);
		root = child;
	}
}

/* In place and never quadratic: the C library's qsort() may take as much memory again. */
static void heap_sort(struct igvm_span *v, size_t count)
{
	for (size_t i = count / 2; i-- > 0;)
		sift_down(v, i, count);
	for (size_t end = count; end-- > 1;) {
		swap(&v[0], &v[end]);
		sift_down(v, 0, end);
	}
}

static void insertion_sort(struct igvm_span *v, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct igvm_span span = v[i];
		size_t j = i;

		for (; j > 0 && before(&span, &v[j - 1]); j--)
			v[j] = v[j - 1];
		v[j] = span;
	}
}

/* Quicksort; an order that it does not like goes to the heap sort after `depth` divisions. */
static void sort(struct igvm_span *v, size_t count, u32 depth)
{
	while (count > 16) {
		struct igvm_span pivot;
		size_t i = 0, j = count - 1;

		if (depth-- == 0) {
			heap_sort(v, count);
			return;
		}
		/* The median of three becomes the pivot. */
		if (before(&v[count / 2], &v[0]))
			swap(&v[count / 2], &v[0]);
		if (before(&v[count - 1], &v[0]))
			swap(&v[count - 1], &v[0]);
		if (before(&v[count - 1], &v[count / 2]))
			swap(&v[count - 1], &v[count / 2]);
		pivot = v[count / 2];
		for (;; i++, j--) {
			while (before(&v[i], &pivot))
				i++;
			while (before(&pivot, &v[j]))
				j--;
			if (i >= j)
				break;
			swap(&v[i], &v[j]);
		}
		/* [0, j] and [j + 1, count): recursion into the smaller part only */
		if (j + 1 < count - j - 1) {
			sort(v, j + 1, depth);
			v += j + 1;
			count -= j + 1;
		} else {
			sort(v + j + 1, count - j - 1, depth);
			count = j + 1;
		}
	}
	insertion_sort(v, count);
}

void igvm_spans_sort(struct igvm_spans *s)
{
	u32 depth = 2;

	for (size_t n = s->count; n; n >>= 1)
		depth += 2;
	/* Most files are in order already. */
	for (size_t i = 1; i < s->count; i++) {
		if (before(&s->v[i], &s->v[i - 1])) {
			sort(s->v, s->count, depth);
			return;
		}
	}
}

const struct igvm_span *igvm_spans_overlap(const struct igvm_spans *s, u32 *other)
{
	u64 end[32] = {0};
	u32 owner[32] = {0};

	for (size_t i = 0; i < s->count; i++) {
		const struct igvm_span *span = &s->v[i];

		for (u32 mask = span->mask; mask; mask &= mask - 1) {
			u32 bit = (u32)__builtin_ctz(mask);

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
