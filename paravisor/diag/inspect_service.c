/* inspect.InspectService: the own tree, with the paravisor process's part asked for in parallel. */
#include "paravisor/diag/server.h"

#include <stdlib.h>
#include <string.h>

#define TREE_BYTES     (12 * MiB)
#define PATH_BYTES     LINK_PATH_MAX
#define RESPONSE_BYTES (TTRPC_BODY_MAX - 64)

/* One delegated directory of one question. */
struct part {
	struct inspect_job *job;
	struct inspect_node *node; /* NULL: not used, or answered */
};

struct inspect_job {
	struct call *call;
	struct inspect_tree tree;
	struct part part[TREE_TOKENS];
	unsigned pending;
	char *path, *value;
};

static void free_job(struct call *call)
{
	struct inspect_job *job = call->job;

	for (size_t i = 0; i < ARRAY_SIZE(job->part); i++)
		link_cancel(&call->server->link, &job->part[i]);
	inspect_free(&job->tree);
	free(job->path);
	free(job->value);
	free(job);
}

/* Answers with what there is; the rest shows as unresolved. */
static void finish(struct call *call)
{
	struct inspect_tree *tree = &call->job->tree;
	struct pb_writer w;
	char text[256];

	inspect_finish(tree);
	pb_writer_init(&w, RESPONSE_BYTES);
	if (!tree->query.update) {
		inspect_encode_response(&w, tree);
		if (w.failed || tree->failed)
			call_fail(call, TTRPC_RESOURCE_EXHAUSTED,
				  "the answer is too large: ask for a part of the tree");
		else
			call_reply(call, (struct pb_bytes){w.data, w.used});
	} else if (tree->result->kind == INSPECT_VALUE) {
		inspect_encode_update_response(&w, tree);
		call_reply(call, (struct pb_bytes){w.data, w.used});
	} else if (tree->result->kind == INSPECT_FAILED) {
		inspect_error_text(tree->result, text, sizeof(text));
		call_fail(call, TTRPC_UNKNOWN, "%s", text);
	} else {
		call_fail(call, TTRPC_UNKNOWN, "%s",
			  tree->result->kind == INSPECT_DELEGATED ? "unresolved" : "immutable");
	}
	pb_writer_free(&w);
}

static void on_answer(void *context, bool failed, struct pb_bytes answer)
{
	struct part *part = context;
	struct inspect_job *job = part->job;
	char text[256];

	if (failed) {
		size_t n = MIN(answer.size, sizeof(text) - 1);

		memcpy(text, answer.data, n);
		text[n] = 0;
		inspect_resolve_error(&job->tree, part->node, INSPECT_CHANNEL, text);
	} else {
		inspect_resolve(&job->tree, part->node, answer);
	}
	part->node = NULL;
	if (--job->pending == 0)
		finish(job->call);
}

static void ask(struct part *part)
{
	struct inspect_job *job = part->job;
	struct inspect_node *node = part->node;
	const struct inspect_query *query = &job->tree.query;
	struct pb_writer w, path;
	const char *reason;

	pb_writer_init(&w, 4 * PATH_BYTES);
	pb_writer_init(&path, 2 * PATH_BYTES);
	/* there the directory stands under the same name */
	pb_raw(&path, tree_delegated[node->token], strlen(tree_delegated[node->token]));
	if (node->path) {
		pb_raw(&path, "/", *node->path && *node->path != '/');
		pb_raw(&path, node->path, strlen(node->path));
	}
	pb_put_bytes(&w, LINK_FIELD_PATH, (struct pb_bytes){path.data, path.used});
	pb_put_u64(&w, LINK_FIELD_DEPTH, node->depth);
	pb_put_u64(&w, LINK_FIELD_LEVEL, query->level);
	if (query->update)
		pb_put_bytes_always(&w, LINK_FIELD_VALUE, pb_text(query->update));
	if (w.failed || path.failed)
		reason = "out of memory";
	else if (link_ask(&job->call->server->link, LINK_INSPECT, (struct pb_bytes){w.data, w.used},
			  on_answer, part, &reason))
		reason = NULL;
	if (reason) {
		inspect_resolve_error(&job->tree, node, INSPECT_CHANNEL, reason);
		part->node = NULL;
	} else {
		job->pending++;
	}
	pb_writer_free(&w);
	pb_writer_free(&path);
}

static void run(struct call *call, struct inspect_job *job, u32 depth)
{
	struct inspect_query query = {
		.path = job->path ? job->path : "",
		.update = job->value,
		.level = policy_inspect_level(&call->server->policy),
		.depth = depth,
	};
	struct inspect root;
	unsigned parts = 0;

	inspect_begin(&job->tree, &query, TREE_BYTES, &root);
	tree_describe(call->server, &root);
	call->job = job;
	call->timeout = finish;
	call_defer(call, free_job);
	for (struct inspect_node *node = job->tree.delegated; node; node = node->next_delegated) {
		if (parts == ARRAY_SIZE(job->part) || node->kind != INSPECT_DELEGATED)
			continue;
		job->part[parts] = (struct part){job, node};
		ask(&job->part[parts++]);
	}
	if (!job->pending)
		finish(call);
}

static bool take_text(char **text, struct pb_bytes bytes)
{
	free(*text);
	*text = bytes.size <= PATH_BYTES && pb_is_utf8(bytes) ? pb_copy_text(bytes) : NULL;
	return *text;
}

static void handle(struct call *call, struct pb_bytes payload, bool update)
{
	struct inspect_job *job = calloc(1, sizeof(*job));
	struct pb_reader r;
	struct pb_field f;
	bool good = job;
	u32 depth = 0;

	pb_reader_init(&r, payload);
	while (good && pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_BYTES))
			good = take_text(&job->path, f.bytes);
		else if (update && pb_is(&r, &f, 2, PB_BYTES))
			good = take_text(&job->value, f.bytes);
		else if (!update && pb_is(&r, &f, 2, PB_VARINT))
			depth = (u32)MIN(f.value, (u64)INSPECT_DEPTH_ALL);
	}
	if (good && update && !job->value) {
		job->value = strdup("");
		good = job->value;
	}
	if (!good || r.failed) {
		if (job) {
			free(job->path);
			free(job->value);
			free(job);
		}
		call_fail(call, TTRPC_INVALID_ARGUMENT, "malformed payload");
		return;
	}
	job->call = call;
	run(call, job, depth);
}

void inspect_service_read(struct call *call, struct pb_bytes payload)
{
	handle(call, payload, false);
}

void inspect_service_update(struct call *call, struct pb_bytes payload)
{
	handle(call, payload, true);
}
