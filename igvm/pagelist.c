/* Lists of measured pages: collecting, writing, reading, comparing. See pagelist.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/internal.h"
#include "igvm/pagelist.h"

static const char *const state_names[] = {"measured", "unmeasured", "shared"};
#define KINDS	   (IGVM_STEP_REGISTER + 1)
#define LOOK_AHEAD 512 /* entries, for pages that one list has more than the other */

static struct page_entry *append(struct page_list *list)
{
	if (list->count == list->capacity) {
		size_t capacity = MAX(2 * list->capacity, 256);
		struct page_entry *v = realloc(list->v, capacity * sizeof(*v));

		if (!v) {
			list->failed = true;
			return NULL;
		}
		list->v = v;
		list->capacity = capacity;
	}
	memset(&list->v[list->count], 0, sizeof(*list->v));
	return &list->v[list->count++];
}

static enum page_state state_of(const struct igvm_measure_step *s)
{
	return s->shared ? PAGE_SHARED : s->measured ? PAGE_MEASURED : PAGE_UNMEASURED;
}

void page_list_step(void *ctx, const struct igvm_measure_step *s)
{
	struct page_entry *e = append(ctx);

	if (!e)
		return;
	e->gpa = s->gpa;
	e->register_name = s->register_name;
	e->kind = (u8)s->kind;
	e->state = (u8)state_of(s);
	memcpy(e->digest, s->contents, sizeof(e->digest));
}

void page_list_free(struct page_list *list)
{
	free(list->v);
	*list = (struct page_list){0};
}

/* Entries from i on that one JSON object can hold */
static size_t run_length(const struct page_list *list, size_t i)
{
	const struct page_entry *first = &list->v[i];
	size_t n = 1;

	if (first->kind == IGVM_STEP_REGISTER)
		return 1;
	while (i + n < list->count && list->v[i + n].kind == first->kind &&
	       list->v[i + n].state == first->state &&
	       list->v[i + n].gpa == first->gpa + n * IGVM_PAGE_SIZE)
		n++;
	return n;
}

static json_t *run_json(const struct page_entry *e, size_t n)
{
	char *digests = malloc(n * 2 * PAGE_DIGEST_BYTES + 1), gpa[24];
	json_t *json = NULL;

	if (!digests)
		return NULL;
	digests[0] = 0;
	for (size_t i = 0; i < n; i++)
		igvm_hex(e[i].digest, PAGE_DIGEST_BYTES, digests + i * 2 * PAGE_DIGEST_BYTES);
	snprintf(gpa, sizeof(gpa), "0x%" PRIx64, e->gpa);
	if (e->kind == IGVM_STEP_REGISTER)
		json = json_pack("{s:s, s:I, s:s, s:s}", "kind", igvm_step_name(e->kind), "name",
				 (json_int_t)e->register_name, "state", state_names[e->state],
				 "digests", digests);
	else
		json = json_pack("{s:s, s:s, s:I, s:s, s:s}", "kind", igvm_step_name(e->kind),
				 "gpa", gpa, "pages", (json_int_t)n, "state", state_names[e->state],
				 "digests", digests);
	free(digests);
	return json;
}

json_t *page_list_json(const struct page_list *list)
{
	json_t *array = json_array();
	size_t n;

	for (size_t i = 0; array && i < list->count; i += n) {
		n = run_length(list, i);
		if (json_array_append_new(array, run_json(&list->v[i], n))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static int find_name(const char *name, size_t len, const char *(*nth)(u32), u32 count)
{
	for (u32 i = 0; i < count; i++) {
		if (strlen(nth(i)) == len && !memcmp(nth(i), name, len))
			return (int)i;
	}
	return -1;
}

static const char *kind_name(u32 i)
{
	return igvm_step_name((enum igvm_step_kind)i);
}

static const char *state_name(u32 i)
{
	return state_names[i];
}

static int parse_number(const char *text, u64 *out)
{
	char *end;

	if (strncmp(text, "0x", 2) || strlen(text) > 18)
		return -EINVAL;
	*out = strtoull(text + 2, &end, 16);
	return *end || end == text + 2 ? -EINVAL : 0;
}

static int run_from_json(const json_t *json, struct page_list *list)
{
	const char *kind = json_string_value(json_object_get(json, "kind"));
	const char *state = json_string_value(json_object_get(json, "state"));
	const char *gpa = json_string_value(json_object_get(json, "gpa"));
	const char *digests = json_string_value(json_object_get(json, "digests"));
	const json_t *name = json_object_get(json, "name");
	struct page_entry e = {0};
	int k, s;
	size_t n;

	if (!kind || !state || !digests || strlen(digests) % (2 * PAGE_DIGEST_BYTES))
		return -EINVAL;
	k = find_name(kind, strlen(kind), kind_name, KINDS);
	s = find_name(state, strlen(state), state_name, ARRAY_SIZE(state_names));
	n = strlen(digests) / (2 * PAGE_DIGEST_BYTES);
	if (k < 0 || s < 0)
		return -EINVAL;
	e.kind = (u8)k;
	e.state = (u8)s;
	e.register_name = (u32)json_integer_value(name);
	if (k != IGVM_STEP_REGISTER && (!gpa || parse_number(gpa, &e.gpa)))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct page_entry *to = append(list);

		if (!to)
			return -ENOMEM;
		*to = e;
		e.gpa += IGVM_PAGE_SIZE;
		if (igvm_unhex(digests + i * 2 * PAGE_DIGEST_BYTES, 2 * PAGE_DIGEST_BYTES,
			       to->digest))
			return -EINVAL;
	}
	return 0;
}

int page_list_from_json(const json_t *json, struct page_list *list)
{
	const json_t *run;
	size_t i;
	int ret = json_is_array(json) ? 0 : -EINVAL;

	json_array_foreach(json, i, run)
	{
		ret = ret ? ret : run_from_json(run, list);
	}
	return ret;
}

void explain_platform(FILE *out, enum igvm_platform_type type)
{
	fprintf(out, "platform %s: address, kind, state, digest of the content, digest so far\n",
		igvm_platform_name(type));
}

/* Without header numbers and file offsets, so that only changes of meaning change a line */
void explain_step(void *ctx, const struct igvm_measure_step *s)
{
	const char *name = igvm_register_name(s->register_name);
	char contents[2 * IGVM_MAX_DIGEST + 1], chain[2 * IGVM_MAX_DIGEST + 1];
	bool is_register = s->kind == IGVM_STEP_REGISTER;

	fprintf(ctx, "0x%016" PRIx64 " %-11s %-10s %s %s%s%s\n",
		is_register ? (u64)s->register_name : s->gpa, igvm_step_name(s->kind),
		state_names[state_of(s)], igvm_hex(s->contents, s->digest_len, contents),
		igvm_hex(s->chain, s->digest_len, chain), is_register && name ? " " : "",
		is_register && name ? name : "");
}

/* The next word of a line; *len 0 at its end */
static const char *word(const char **p, const char *end, size_t *len)
{
	const char *start;

	while (*p < end && **p == ' ')
		(*p)++;
	start = *p;
	while (*p < end && **p != ' ')
		(*p)++;
	*len = (size_t)(*p - start);
	return start;
}

static bool is_word(const char *w, size_t len, const char *text)
{
	return strlen(text) == len && !memcmp(w, text, len);
}

static int parse_line(const char *p, const char *end, struct page_list *list)
{
	struct page_entry *e = append(list);
	size_t len;
	const char *w = word(&p, end, &len);
	char address[24];
	u64 number;
	int k, s;

	if (!e)
		return -ENOMEM;
	if (!len || len >= sizeof(address))
		return -EINVAL;
	memcpy(address, w, len);
	address[len] = 0;
	w = word(&p, end, &len);
	k = find_name(w, len, kind_name, KINDS);
	w = word(&p, end, &len);
	s = find_name(w, len, state_name, ARRAY_SIZE(state_names));
	w = word(&p, end, &len);
	if (k < 0 || s < 0 || len < 2 * PAGE_DIGEST_BYTES ||
	    igvm_unhex(w, 2 * PAGE_DIGEST_BYTES, e->digest))
		return -EINVAL;
	e->kind = (u8)k;
	e->state = (u8)s;
	if (parse_number(address, &number))
		return -EINVAL;
	if (k == IGVM_STEP_REGISTER)
		e->register_name = (u32)number;
	else
		e->gpa = number;
	return 0;
}

int page_list_from_text(const char *text, size_t len, enum igvm_platform_type type,
			struct page_list *list)
{
	char heading[32];
	bool ours = false, found = false;
	const char *p = text, *end = text + len;
	size_t heading_len = (size_t)snprintf(heading, sizeof(heading),
					      "platform %s:", igvm_platform_name(type));
	int ret;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *stop = nl ? nl : end;
		const char *q = p;
		size_t n;
		const char *w = word(&q, stop, &n);

		if (is_word(w, n, "platform")) {
			ours = (size_t)(stop - p) >= heading_len &&
			       !memcmp(p, heading, heading_len);
			found |= ours;
		} else if (ours && n) {
			ret = parse_line(p, stop, list);
			if (ret)
				return ret;
		}
		p = nl ? nl + 1 : end;
	}
	return found ? 0 : -ENOENT;
}

static bool same_place(const struct page_entry *a, const struct page_entry *b)
{
	return a->gpa == b->gpa && a->kind == b->kind && a->register_name == b->register_name;
}

static void note(struct page_difference *d, const struct page_entry *e)
{
	if (e->state == PAGE_MEASURED) {
		if (!d->measured++)
			d->first_measured = *e;
	} else if (!d->unmeasured++) {
		d->first_unmeasured = *e;
	}
}

/* Position of the place in the list from `from` on, or the list's end; a short way only */
static size_t look_ahead(const struct page_list *list, size_t from, const struct page_entry *e)
{
	size_t end = MIN(list->count, from + LOOK_AHEAD);

	for (size_t i = from; i < end; i++) {
		if (same_place(&list->v[i], e))
			return i;
	}
	return list->count;
}

void page_list_compare(const struct page_list *expected, const struct page_list *found,
		       struct page_difference *out)
{
	size_t i = 0, j = 0, i2, j2;

	*out = (struct page_difference){0};
	while (i < expected->count && j < found->count) {
		const struct page_entry *a = &expected->v[i], *b = &found->v[j];

		if (same_place(a, b)) {
			if (a->state != b->state)
				note(out, a->state == PAGE_MEASURED ? a : b);
			else if (memcmp(a->digest, b->digest, sizeof(a->digest)))
				note(out, a);
			i++;
			j++;
			continue;
		}
		i2 = look_ahead(expected, i, b);
		j2 = look_ahead(found, j, a);
		if (j2 == found->count || (i2 < expected->count && i2 - i < j2 - j)) {
			note(out, a);
			i++;
		} else {
			note(out, b);
			j++;
		}
	}
	for (; i < expected->count; i++)
		note(out, &expected->v[i]);
	for (; j < found->count; j++)
		note(out, &found->v[j]);
}

const char *page_entry_name(const struct page_entry *e, char *buf, size_t len)
{
	const char *name = igvm_register_name(e->register_name);

	if (e->kind != IGVM_STEP_REGISTER)
		snprintf(buf, len, "%s%s 0x%" PRIx64, igvm_step_name(e->kind),
			 e->kind == IGVM_STEP_PAGE ? "" : " page", e->gpa);
	else if (name)
		snprintf(buf, len, "register %s", name);
	else
		snprintf(buf, len, "register 0x%x", e->register_name);
	return buf;
}
