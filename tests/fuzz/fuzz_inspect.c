/* Inspect: an answer from a hostile peer, and questions (path, depth, new value) to a tree. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "common/diag/inspect.h"
#include "host/diag/render.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static FILE *sink;

static void answer(struct pb_bytes message)
{
	struct inspect_tree tree, again;
	struct inspect_node *node, *other;
	struct pb_writer w;

	inspect_decode_begin(&tree, 4 * MiB);
	node = inspect_decode_response(&tree, message);
	if (node) {
		pb_writer_init(&w, 16 * MiB);
		inspect_encode_node(&w, node);
		if (w.failed)
			abort();
		inspect_decode_begin(&again, 8 * MiB);
		other = inspect_decode_node(&again, (struct pb_bytes){w.data, w.used});
		if (!other)
			abort();
		render_rates(other, node, 1);
		render_text(sink, other);
		render_json(sink, node);
		tree.result = node;
		inspect_finish(&tree);
		pb_writer_free(&w);
		inspect_free(&again);
	}
	inspect_free(&tree);
	inspect_decode_begin(&tree, MiB);
	inspect_decode_update_response(&tree, message);
	inspect_free(&tree);
}

static char filter[16];

static const char *set(void *context, const char *text)
{
	(void)context;
	snprintf(filter, sizeof(filter), "%.8s", text);
	return text[0] == 'x' ? "refused" : NULL;
}

static void question(const char *path, u32 depth, const char *update, enum inspect_level level,
		     struct pb_bytes delegated)
{
	struct inspect_query query = {path, update, level, depth};
	struct inspect_tree tree, again;
	struct inspect root, a, b;
	struct pb_writer w;

	inspect_begin(&tree, &query, MiB, &root);
	inspect_text(&root, "name", "x");
	if (inspect_enter(&root, "a", &a)) {
		inspect_counter(&a, "c/d", 1);
		if (inspect_enter(&a, "c/e/10", &b))
			inspect_bool(&b, "f", true);
		inspect_level(&a, INSPECT_SAFE);
		inspect_text_rw(&a, "w", filter, set, NULL);
		inspect_delegate(&a, "far", 1, INSPECT_OPTIONAL);
	}
	inspect_delegate(&root, "far", 2, INSPECT_LEAF);
	for (struct inspect_node *n = tree.delegated; n; n = n->next_delegated)
		inspect_resolve(&tree, n, delegated);
	inspect_finish(&tree);
	pb_writer_init(&w, 16 * MiB);
	inspect_encode_response(&w, &tree);
	inspect_decode_begin(&again, 8 * MiB);
	/* a delegated answer may already stand at the limit of nested levels */
	if (!inspect_decode_response(&again, (struct pb_bytes){w.data, w.used}) && !delegated.size)
		abort();
	inspect_free(&again);
	pb_writer_free(&w);
	inspect_free(&tree);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	char path[64], update[16];
	size_t n;

	if (!sink)
		sink = fopen("/dev/null", "w");
	if (size < 4)
		return 0;
	if (data[0] & 1) {
		answer((struct pb_bytes){data + 1, size - 1});
		return 0;
	}
	n = MIN(data[1] % sizeof(path), size - 4);
	memcpy(path, data + 4, n);
	path[n] = 0;
	snprintf(update, sizeof(update), "%.10s", path);
	question(path, data[2] > 200 ? UINT32_MAX : data[2] % 5, data[0] & 2 ? update : NULL,
		 1 + data[3] % 3, (struct pb_bytes){data + 4 + n, size - 4 - n});
	return 0;
}
