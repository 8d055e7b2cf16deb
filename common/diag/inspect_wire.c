/* Inspect: trees as the protobuf messages of InspectService, and back. */
#include "common/diag/inspect_impl.h"

#include <string.h>

/* --- encoding */

static void encode_error(struct pb_writer *w, enum inspect_error error, struct pb_bytes text)
{
	size_t failed = pb_begin(w, INSPECT_FAILED);
	size_t mark = pb_begin(w, 1);
	size_t variant = pb_begin(w, error);

	if (error == INSPECT_CHANNEL || error == INSPECT_UPDATE)
		pb_put_bytes(w, 1, text);
	pb_end(w, variant);
	pb_end(w, mark);
	pb_end(w, failed);
}

/* Value as the content of the current message. */
static void encode_value(struct pb_writer *w, const struct inspect_node *node)
{
	size_t kind = pb_begin(w, 1), variant = pb_begin(w, node->type), flags;

	switch (node->type) {
	case INSPECT_SIGNED: pb_put_s64_zigzag(w, 1, (s64)node->number); break;
	case INSPECT_UNSIGNED:
	case INSPECT_BOOL: pb_put_u64(w, 1, node->number); break;
	case INSPECT_FLOAT: pb_put_fixed32(w, 1, (u32)node->number); break;
	case INSPECT_DOUBLE: pb_put_fixed64(w, 1, node->number); break;
	case INSPECT_STRING:
	case INSPECT_BYTES: pb_put_bytes(w, 1, node->data); break;
	}
	pb_end(w, variant);
	pb_end(w, kind);
	if (node->flags) {
		flags = pb_begin(w, 2);
		pb_put_u64(w, 1, node->flags);
		pb_end(w, flags);
	}
}

void inspect_encode_node(struct pb_writer *w, const struct inspect_node *node)
{
	size_t variant, value;

	switch (node->kind) {
	case INSPECT_UNEVALUATED: pb_end(w, pb_begin(w, INSPECT_UNEVALUATED)); break;
	case INSPECT_DELEGATED: encode_error(w, INSPECT_UNRESOLVED, (struct pb_bytes){0}); break;
	case INSPECT_FAILED: encode_error(w, node->error, node->data); break;
	case INSPECT_VALUE:
		variant = pb_begin(w, INSPECT_VALUE);
		value = pb_begin(w, 1);
		encode_value(w, node);
		pb_end(w, value);
		pb_end(w, variant);
		break;
	case INSPECT_DIR:
		variant = pb_begin(w, INSPECT_DIR);
		for (const struct inspect_node *child = node->children; child;
		     child = child->next) {
			size_t entry = pb_begin(w, 1), inner;

			pb_put_text(w, 1, child->name);
			inner = pb_begin(w, 2);
			inspect_encode_node(w, child);
			pb_end(w, inner);
			inner = pb_begin(w, 3);
			pb_end(w, pb_begin(w, child->level));
			pb_end(w, inner);
			pb_end(w, entry);
		}
		pb_end(w, variant);
		break;
	}
}

void inspect_encode_response(struct pb_writer *w, const struct inspect_tree *tree)
{
	size_t mark = pb_begin(w, 1);

	inspect_encode_node(w, tree->result);
	pb_end(w, mark);
}

void inspect_encode_update_response(struct pb_writer *w, const struct inspect_tree *tree)
{
	size_t mark = pb_begin(w, 1);

	encode_value(w, tree->result);
	pb_end(w, mark);
}

/* --- decoding */

void inspect_decode_begin(struct inspect_tree *tree, size_t limit)
{
	*tree = (struct inspect_tree){.limit = limit};
}

/*
 * The one field of a message that stands for an enum: the last one counts. False if there is none,
 * or its number is above max.
 */
static bool one_of(struct pb_bytes message, u32 max, u32 *variant, struct pb_bytes *content)
{
	struct pb_reader r;
	struct pb_field f;

	*variant = 0;
	pb_reader_init(&r, message);
	while (pb_next(&r, &f)) {
		if (f.type != PB_BYTES)
			return false;
		*variant = f.number;
		*content = f.bytes;
	}
	return !r.failed && *variant && *variant <= max;
}

static bool decode_error(struct inspect_tree *tree, struct pb_bytes message,
			 struct inspect_node *node)
{
	struct pb_bytes content = {0};
	struct pb_field f;
	u32 variant;

	if (!pb_find(message, 1, PB_BYTES, &f) ||
	    !one_of(f.bytes, INSPECT_INTERNAL, &variant, &content))
		return false;
	node->error = (enum inspect_error)variant;
	if (variant != INSPECT_CHANNEL && variant != INSPECT_UPDATE)
		return true;
	return pb_find(content, 1, PB_BYTES, &f) && pb_is_utf8(f.bytes) &&
	       inspect_set_data(tree, node, f.bytes.data, f.bytes.size);
}

static bool decode_value(struct inspect_tree *tree, struct pb_bytes message,
			 struct inspect_node *node)
{
	static const enum pb_type form[] = {
		[INSPECT_SIGNED] = PB_VARINT, [INSPECT_UNSIGNED] = PB_VARINT,
		[INSPECT_FLOAT] = PB_FIXED32, [INSPECT_DOUBLE] = PB_FIXED64,
		[INSPECT_BOOL] = PB_VARINT,   [INSPECT_STRING] = PB_BYTES,
		[INSPECT_BYTES] = PB_BYTES,
	};
	struct pb_bytes kind = {0}, content = {0};
	struct pb_field f, inner;
	struct pb_reader r;
	u32 variant;

	pb_reader_init(&r, message);
	node->flags = 0;
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_BYTES)) {
			kind = f.bytes;
		} else if (pb_is(&r, &f, 2, PB_BYTES)) {
			if (!pb_find(f.bytes, 1, PB_VARINT, &inner))
				return false;
			node->flags = inner.value;
		}
	}
	if (r.failed || !one_of(kind, INSPECT_BYTES, &variant, &content) ||
	    !pb_find(content, 1, form[variant], &f))
		return false;
	node->type = (enum inspect_type)variant;
	node->number = variant == INSPECT_SIGNED ? (u64)pb_zigzag(f.value)
		       : variant == INSPECT_BOOL ? f.value != 0
						 : f.value;
	if (variant == INSPECT_STRING && !pb_is_utf8(f.bytes))
		return false;
	return inspect_set_data(tree, node, f.bytes.data, f.bytes.size);
}

static struct inspect_node *decode_node(struct inspect_tree *tree, struct pb_bytes message,
					unsigned levels);

static struct inspect_node *decode_entry(struct inspect_tree *tree, struct pb_bytes message,
					 unsigned levels)
{
	struct pb_bytes name = {0}, node_bytes = {0}, level_bytes = {0}, content;
	struct inspect_node *node;
	struct pb_reader r;
	struct pb_field f;
	u32 level;

	pb_reader_init(&r, message);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_BYTES))
			name = f.bytes;
		else if (pb_is(&r, &f, 2, PB_BYTES))
			node_bytes = f.bytes;
		else if (pb_is(&r, &f, 3, PB_BYTES))
			level_bytes = f.bytes;
	}
	if (r.failed || !pb_is_utf8(name) || (name.size && memchr(name.data, 0, name.size)) ||
	    !one_of(level_bytes, INSPECT_SENSITIVE, &level, &content))
		return NULL;
	node = decode_node(tree, node_bytes, levels);
	if (!node)
		return NULL;
	node->level = (enum inspect_level)level;
	node->name = name.size ? inspect_copy_text(tree, (const char *)name.data, name.size) : "";
	return node->name ? node : NULL;
}

static bool decode_dir(struct inspect_tree *tree, struct pb_bytes message,
		       struct inspect_node *node, unsigned levels)
{
	struct inspect_node **tail = &node->children;
	struct pb_reader r;
	struct pb_field f;

	pb_reader_init(&r, message);
	while (pb_next(&r, &f)) {
		if (!pb_is(&r, &f, 1, PB_BYTES))
			continue;
		*tail = decode_entry(tree, f.bytes, levels);
		if (!*tail)
			return false;
		tail = &(*tail)->next;
	}
	return !r.failed;
}

static struct inspect_node *decode_node(struct inspect_tree *tree, struct pb_bytes message,
					unsigned levels)
{
	struct inspect_node *node;
	struct pb_bytes content = {0};
	struct pb_field f;
	bool good = true;
	u32 variant;

	if (!levels || !one_of(message, INSPECT_DIR, &variant, &content))
		return NULL;
	node = inspect_new_node(tree);
	if (!node)
		return NULL;
	node->kind = (enum inspect_kind)variant;
	switch (node->kind) {
	case INSPECT_FAILED: good = decode_error(tree, content, node); break;
	case INSPECT_VALUE:
		good = pb_find(content, 1, PB_BYTES, &f) && decode_value(tree, f.bytes, node);
		break;
	case INSPECT_DIR: good = decode_dir(tree, content, node, levels - 1); break;
	default: break;
	}
	return good ? node : NULL;
}

struct inspect_node *inspect_decode_node(struct inspect_tree *tree, struct pb_bytes message)
{
	return decode_node(tree, message, INSPECT_NESTED_MAX);
}

struct inspect_node *inspect_decode_response(struct inspect_tree *tree, struct pb_bytes message)
{
	struct pb_field f;

	if (!pb_find(message, 1, PB_BYTES, &f))
		return NULL;
	return inspect_decode_node(tree, f.bytes);
}

struct inspect_node *inspect_decode_update_response(struct inspect_tree *tree,
						    struct pb_bytes message)
{
	struct inspect_node *node;
	struct pb_field f;

	if (!pb_find(message, 1, PB_BYTES, &f))
		return NULL;
	node = inspect_new_node(tree);
	if (!node)
		return NULL;
	node->kind = INSPECT_VALUE;
	return decode_value(tree, f.bytes, node) ? node : NULL;
}
