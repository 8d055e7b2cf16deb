/* Inspect questions of a client. */
#include "host/diag/query.h"

#include "common/log.h"

#define TREE_BYTES (256 * MiB)

struct inspect_node *query_inspect(struct diag_client *client, const char *path, u32 depth,
				   u64 timeout_ns, struct inspect_tree *tree)
{
	struct inspect_node *node = NULL;
	struct diag_reply *reply;
	struct pb_writer w;

	inspect_decode_begin(tree, TREE_BYTES);
	pb_writer_init(&w, TTRPC_BODY_MAX);
	pb_put_text(&w, 1, path);
	pb_put_u64(&w, 2, depth);
	reply = diag_demand(client, DIAG_INSPECT, "Inspect", &w, timeout_ns);
	pb_writer_free(&w);
	if (!reply)
		return NULL;
	node = inspect_decode_response(tree, reply->payload);
	if (!node)
		log_error("Inspect: malformed answer");
	diag_reply_free(reply);
	return node;
}

u64 query_u64(const struct inspect_node *node, const char *path, u64 fallback)
{
	const struct inspect_node *found = inspect_find(node, path);

	if (!found || found->kind != INSPECT_VALUE ||
	    (found->type != INSPECT_UNSIGNED && found->type != INSPECT_SIGNED))
		return fallback;
	return found->number;
}
