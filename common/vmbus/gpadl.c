/* GPADLs of one guest: page lists that come in a header and body messages. */
#include "common/vmbus/gpadl.h"

#include <stdlib.h>
#include <string.h>

static struct vmbus_gpadl **bucket(struct vmbus_gpadls *t, u32 id)
{
	return &t->bucket[(id ^ id >> 6) % GPADL_BUCKETS];
}

struct vmbus_gpadl *vmbus_gpadl_find(const struct vmbus_gpadls *t, u32 id, u32 channel)
{
	struct vmbus_gpadl *g = *bucket((struct vmbus_gpadls *)t, id);

	while (g && (g->id != id || g->channel != channel))
		g = g->next;
	return g;
}

static struct vmbus_gpadl *find_in_progress(struct vmbus_gpadls *t, u32 id)
{
	struct vmbus_gpadl *g = *bucket(t, id);

	while (g && (g->id != id || g->state != GPADL_IN_PROGRESS))
		g = g->next;
	return g;
}

void vmbus_gpadl_free(struct vmbus_gpadls *t, struct vmbus_gpadl *gpadl)
{
	struct vmbus_gpadl **at = bucket(t, gpadl->id);

	while (*at != gpadl)
		at = &(*at)->next;
	*at = gpadl->next;
	t->count--;
	t->words -= gpadl->words;
	free(gpadl);
}

void vmbus_gpadl_free_all(struct vmbus_gpadls *t)
{
	for (unsigned i = 0; i < GPADL_BUCKETS; i++) {
		while (t->bucket[i])
			vmbus_gpadl_free(t, t->bucket[i]);
	}
}

/* Word at which range i starts, or `words` when the list has no such range. */
static bool range_at(const struct vmbus_gpadl *g, u32 *at, struct vmbus_gpadl_view *view)
{
	u64 head, pages;

	if (*at >= g->words)
		return false;
	head = g->data[*at];
	view->len = (u32)head;
	view->offset = (u32)(head >> 32);
	if (!view->len || view->offset >= PAGE_SIZE)
		return false;
	pages = ALIGN_UP((u64)view->offset + view->len, PAGE_SIZE) / PAGE_SIZE;
	if (pages > g->words - *at - 1u)
		return false;
	view->pages = (u32)pages;
	view->pfn = &g->data[*at + 1];
	*at += 1 + (u32)pages;
	return true;
}

bool vmbus_gpadl_range(const struct vmbus_gpadl *gpadl, unsigned i, struct vmbus_gpadl_view *view)
{
	u32 at = 0;

	if (i >= gpadl->ranges || gpadl->state == GPADL_IN_PROGRESS)
		return false;
	do {
		if (!range_at(gpadl, &at, view))
			return false;
	} while (i--);
	return true;
}

bool vmbus_gpadl_is_ring(const struct vmbus_gpadl *gpadl, struct vmbus_gpadl_view *view)
{
	return gpadl->ranges == 1 && vmbus_gpadl_range(gpadl, 0, view) && !view->offset &&
	       view->len % PAGE_SIZE == 0;
}

static bool well_formed(const struct vmbus_gpadl *g)
{
	struct vmbus_gpadl_view view;
	u32 at = 0;

	for (unsigned i = 0; i < g->ranges; i++) {
		if (!range_at(g, &at, &view))
			return false;
	}
	/* words behind the last range are of no use and do no harm */
	return true;
}

static struct vmbus_gpadl *create(struct vmbus_gpadls *t, u32 id, u32 channel, u16 ranges,
				  u16 words)
{
	u32 max_count = t->max_count ? t->max_count : GPADL_MAX_COUNT;
	u32 max_words = t->max_words ? t->max_words : GPADL_MAX_WORDS;
	struct vmbus_gpadl *g;

	/* each range takes a header and a PFN */
	if (!ranges || words < 2 * (u32)ranges)
		return NULL;
	if (vmbus_gpadl_find(t, id, channel) || find_in_progress(t, id))
		return NULL;
	if (t->count >= max_count || t->words + words > max_words)
		return NULL;
	g = calloc(1, sizeof(*g) + words * sizeof(u64));
	if (!g)
		return NULL;
	g->id = id;
	g->channel = channel;
	g->ranges = ranges;
	g->words = words;
	g->next = *bucket(t, id);
	*bucket(t, id) = g;
	t->count++;
	t->words += words;
	return g;
}

static enum vmbus_gpadl_result take(struct vmbus_gpadls *t, struct vmbus_gpadl *g, const u8 *data,
				    size_t len)
{
	size_t n = MIN(len / sizeof(u64), (size_t)(g->words - g->filled));

	if (n)
		memcpy(g->data + g->filled, data, n * sizeof(u64));
	g->filled += (u16)n;
	if (g->filled < g->words)
		return GPADL_MORE;
	if (!well_formed(g)) {
		vmbus_gpadl_free(t, g);
		return GPADL_FAILED;
	}
	g->state = GPADL_OFFERED;
	return GPADL_COMPLETE;
}

enum vmbus_gpadl_result vmbus_gpadl_header(struct vmbus_gpadls *t, const void *msg, size_t len,
					   struct vmbus_gpadl **gpadl, u32 *id, u32 *channel)
{
	struct vmbus_msg_gpadl_header head;
	enum vmbus_gpadl_result result;
	struct vmbus_gpadl *g;

	if (len < sizeof(head) || len > VMBUS_MESSAGE_MAX)
		return GPADL_IGNORED;
	memcpy(&head, msg, sizeof(head));
	*id = head.gpadl;
	*channel = head.channel;
	g = create(t, head.gpadl, head.channel, head.range_count, head.range_bytes / sizeof(u64));
	if (!g)
		return GPADL_FAILED;
	result = take(t, g, (const u8 *)msg + sizeof(head), len - sizeof(head));
	*gpadl = result == GPADL_FAILED ? NULL : g;
	return result;
}

enum vmbus_gpadl_result vmbus_gpadl_body(struct vmbus_gpadls *t, const void *msg, size_t len,
					 struct vmbus_gpadl **gpadl, u32 *id, u32 *channel)
{
	struct vmbus_msg_gpadl_body body;
	enum vmbus_gpadl_result result;
	struct vmbus_gpadl *g;

	if (len < sizeof(body) || len > VMBUS_MESSAGE_MAX)
		return GPADL_IGNORED;
	memcpy(&body, msg, sizeof(body));
	g = find_in_progress(t, body.gpadl);
	if (!g)
		return GPADL_IGNORED;
	*id = g->id;
	*channel = g->channel;
	result = take(t, g, (const u8 *)msg + sizeof(body), len - sizeof(body));
	*gpadl = result == GPADL_FAILED ? NULL : g;
	return result;
}

struct vmbus_gpadl *vmbus_gpadl_add(struct vmbus_gpadls *t, u32 id, u32 channel, u16 ranges,
				    const void *data, u16 words, u16 filled)
{
	struct vmbus_gpadl *g;

	if (filled > words)
		return NULL;
	g = create(t, id, channel, ranges, words);
	if (!g)
		return NULL;
	return take(t, g, data, filled * sizeof(u64)) == GPADL_FAILED ? NULL : g;
}
