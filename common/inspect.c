/* Inspect: building, encoding and decoding of trees of values. */
#include "common/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE 16384u

/* --- memory: many small pieces with one end of life */

struct inspect_chunk {
	struct inspect_chunk *next;
	size_t used, size;
	_Alignas(16) u8 data[];
};

static struct inspect_chunk *add_chunk(struct inspect_tree *tree, size_t wanted)
{
	size_t size = MAX(wanted, (size_t)CHUNK_SIZE);
	struct inspect_chunk *chunk;

	if (size > tree->limit - tree->used)
		return NULL;
	chunk = malloc(sizeof(*chunk) + size);
	if (!chunk)
		return NULL;
	*chunk = (struct inspect_chunk){.next = tree->chunks, .size = size};
	tree->chunks = chunk;
	tree->used += size;
	return chunk;
}

static void *allocate(struct inspect_tree *tree, size_t size)
{
	struct inspect_chunk *chunk = tree->chunks;
	void *at;

	if (size > tree->limit || tree->failed) {
		tree->failed = true;
		return NULL;
	}
	size = ALIGN_UP(size, 16);
	if (!chunk || size > chunk->size - chunk->used)
		chunk = add_chunk(tree, size);
	if (!chunk) {
		tree->failed = true;
		return NULL;
	}
	at = chunk->data + chunk->used;
	chunk->used += size;
	return memset(at, 0, size);
}

static const char *copy_text(struct inspect_tree *tree, const char *text, size_t size)
{
	char *copy = allocate(tree, size + 1);

	if (copy)
		memcpy(copy, text, size);
	return copy;
}

static struct inspect_node *new_node(struct inspect_tree *tree)
{
	struct inspect_node *node = allocate(tree, sizeof(*node));

	if (node) {
		node->kind = INSPECT_UNEVALUATED;
		node->level = INSPECT_UNSPECIFIED;
	}
	return node;
}

static bool set_data(struct inspect_tree *tree, struct inspect_node *node, const void *data,
		     size_t size)
{
	const char *copy = size ? copy_text(tree, data, size) : NULL;

	node->data = (struct pb_bytes){(const u8 *)copy, copy ? size : 0};
	return !size || copy;
}

static void set_error(struct inspect_tree *tree, struct inspect_node *node,
		      enum inspect_error error, const char *text)
{
	node->kind = INSPECT_FAILED;
	node->error = error;
	node->children = NULL;
	set_data(tree, node, text, text ? strlen(text) : 0);
}

/* --- describing */

void inspect_begin(struct inspect_tree *tree, const struct inspect_query *query, size_t limit,
		   struct inspect *root)
{
	*tree = (struct inspect_tree){.query = *query, .limit = limit};
	*root = (struct inspect){
		.tree = tree,
		.path = query->path,
		.depth = query->depth,
		.level = INSPECT_UNSPECIFIED,
	};
	root->path += strspn(root->path, "/");
	if (*root->path)
		return;
	tree->result = new_node(tree);
	if (!tree->result)
		return;
	tree->result->kind = INSPECT_DIR;
	root->dir = tree->result;
	if (query->update)
		set_error(tree, tree->result, INSPECT_IMMUTABLE, NULL);
}

void inspect_free(struct inspect_tree *tree)
{
	while (tree->chunks) {
		struct inspect_chunk *next = tree->chunks->next;

		free(tree->chunks);
		tree->chunks = next;
	}
	*tree = (struct inspect_tree){.limit = tree->limit};
}

void inspect_level(struct inspect *i, enum inspect_level level)
{
	i->level = level;
}

/* One component of a path or name; *path moves behind it, not over the '/' that follows. */
static size_t component(const char **path, const char **start)
{
	size_t n;

	*path += strspn(*path, "/");
	n = strcspn(*path, "/");
	*start = *path;
	*path += n;
	return n;
}

/* The child of that name, made if there is none. */
static struct inspect_node *child_of(struct inspect *i, struct inspect_node *dir, const char *name,
				     size_t size)
{
	struct inspect_node **at, *node;

	for (at = &dir->children; *at; at = &(*at)->next) {
		node = *at;
		if (strlen(node->name) == size && !memcmp(node->name, name, size)) {
			node->level = MIN(node->level, i->level);
			return node;
		}
	}
	node = new_node(i->tree);
	if (!node)
		return NULL;
	node->name = copy_text(i->tree, name, size);
	if (!node->name)
		return NULL;
	node->level = i->level;
	*at = node;
	return node;
}

/* Where an entry goes, and what is wanted of it. */
struct place {
	struct inspect_node *node; /* to be filled; NULL: only to be walked through */
	const char *path;	   /* what remains of the question's path */
	u32 depth;		   /* for a directory's content */
	bool evaluate;		   /* a directory is to be filled */
};

/* False where the entry is not asked for. */
static bool find_place(struct inspect *i, const char *name, struct place *place)
{
	struct inspect_node *dir = i->dir;
	const char *start, *wanted, *path = i->path;
	size_t n;
	u32 depth = i->depth;

	*place = (struct place){.path = "", .depth = depth, .evaluate = true};
	if (i->tree->failed || i->level > i->tree->query.level)
		return false;
	/* on the way: names must agree with the path */
	while (!dir && *(name += strspn(name, "/"))) {
		const char *before = path;

		if (!component(&path, &wanted)) {
			path = before;
			break;
		}
		n = component(&name, &start);
		if (n != (size_t)(path - wanted) || memcmp(start, wanted, n))
			return false;
	}
	if (!dir) {
		if (*path && (*name == 0)) {
			/* walk on below this entry */
			place->path = path;
			return true;
		}
		/* arrived, here or at a directory that the name implies */
		if (!i->tree->result)
			i->tree->result = new_node(i->tree);
		dir = i->tree->result;
		if (!dir)
			return false;
	}
	name += strspn(name, "/");
	if (!*name && !i->dir) {
		place->node = dir;
		return true;
	}
	if (i->tree->query.update) {
		set_error(i->tree, dir, INSPECT_IMMUTABLE, NULL);
		return false;
	}
	for (;;) {
		if (dir->kind != INSPECT_DIR) {
			dir->kind = INSPECT_DIR;
			dir->children = NULL;
		}
		n = component(&name, &start);
		dir = child_of(i, dir, start, n);
		if (!dir)
			return false;
		name += strspn(name, "/");
		if (!*name)
			break;
		if (!depth)
			return false; /* the implied directory stays unevaluated */
		depth--;
	}
	place->node = dir;
	place->evaluate = depth > 0;
	place->depth = depth ? depth - 1 : 0;
	return true;
}

bool inspect_enter(struct inspect *i, const char *name, struct inspect *sub)
{
	struct place place;

	if (!find_place(i, name, &place))
		return false;
	*sub = (struct inspect){
		.tree = i->tree,
		.dir = place.node,
		.path = place.path,
		.depth = place.depth,
		.level = INSPECT_UNSPECIFIED,
	};
	if (!place.node) {
		/* a slash at the end of a directory's path is fine */
		sub->path += strspn(sub->path, "/");
		if (*sub->path)
			return true;
		if (!i->tree->result)
			i->tree->result = new_node(i->tree);
		place.node = sub->dir = i->tree->result;
		if (!place.node)
			return false;
	}
	if (i->tree->query.update) {
		set_error(i->tree, place.node, INSPECT_IMMUTABLE, NULL);
		return false;
	}
	if (!place.evaluate)
		return false;
	if (place.node->kind != INSPECT_DIR) {
		place.node->kind = INSPECT_DIR;
		place.node->children = NULL;
	}
	return true;
}

/* The node of a leaf that is asked for; NULL if it is none, or an error was put there. */
static struct inspect_node *leaf(struct inspect *i, const char *name, bool writable)
{
	struct inspect_tree *tree = i->tree;
	struct place place;

	if (!find_place(i, name, &place))
		return NULL;
	if (!place.node) {
		if (!tree->result)
			tree->result = new_node(tree);
		if (tree->result && tree->result->kind != INSPECT_DIR)
			set_error(tree, tree->result, INSPECT_NOT_A_DIRECTORY, NULL);
		return NULL;
	}
	if (place.node->kind == INSPECT_DIR)
		return NULL; /* directories beat values */
	if (tree->query.update && !writable) {
		set_error(tree, place.node, INSPECT_IMMUTABLE, NULL);
		return NULL;
	}
	place.node->kind = INSPECT_VALUE;
	place.node->flags = 0;
	return place.node;
}

static void number(struct inspect *i, const char *name, enum inspect_type type, u64 value,
		   u64 flags)
{
	struct inspect_node *node = leaf(i, name, false);

	if (!node)
		return;
	node->type = type;
	node->number = value;
	node->flags = flags;
}

void inspect_u64(struct inspect *i, const char *name, u64 value)
{
	number(i, name, INSPECT_UNSIGNED, value, 0);
}

void inspect_hex(struct inspect *i, const char *name, u64 value)
{
	number(i, name, INSPECT_UNSIGNED, value, INSPECT_HEX);
}

void inspect_counter(struct inspect *i, const char *name, u64 value)
{
	number(i, name, INSPECT_UNSIGNED, value, INSPECT_COUNTER);
}

void inspect_s64(struct inspect *i, const char *name, s64 value)
{
	number(i, name, INSPECT_SIGNED, (u64)value, 0);
}

void inspect_bool(struct inspect *i, const char *name, bool value)
{
	number(i, name, INSPECT_BOOL, value, 0);
}

void inspect_double(struct inspect *i, const char *name, double value)
{
	u64 bits;

	memcpy(&bits, &value, sizeof(bits));
	number(i, name, INSPECT_DOUBLE, bits, 0);
}

static void fill_text(struct inspect_tree *tree, struct inspect_node *node, const char *value)
{
	struct pb_bytes text = pb_text(value);

	node->type = pb_is_utf8(text) ? INSPECT_STRING : INSPECT_BYTES;
	set_data(tree, node, text.data, text.size);
}

void inspect_text(struct inspect *i, const char *name, const char *value)
{
	struct inspect_node *node = value ? leaf(i, name, false) : NULL;

	if (node)
		fill_text(i->tree, node, value);
}

void inspect_bytes(struct inspect *i, const char *name, const void *data, size_t size)
{
	struct inspect_node *node = leaf(i, name, false);

	if (!node)
		return;
	node->type = INSPECT_BYTES;
	set_data(i->tree, node, data, size);
}

/* The leaf after the change, if there is one to make. */
static struct inspect_node *leaf_rw(struct inspect *i, const char *name, inspect_set_fn set,
				    void *context)
{
	struct inspect_node *node = leaf(i, name, true);
	const char *update = i->tree->query.update, *wrong;

	if (!node || !update)
		return node;
	wrong = set(context, update);
	if (!wrong)
		return node;
	set_error(i->tree, node, INSPECT_UPDATE, wrong);
	return NULL;
}

void inspect_text_rw(struct inspect *i, const char *name, const char *value, inspect_set_fn set,
		     void *context)
{
	struct inspect_node *node = leaf_rw(i, name, set, context);

	if (node)
		fill_text(i->tree, node, value);
}

void inspect_u64_rw(struct inspect *i, const char *name, const u64 *value, inspect_set_fn set,
		    void *context)
{
	struct inspect_node *node = leaf_rw(i, name, set, context);

	if (!node)
		return;
	node->type = INSPECT_UNSIGNED;
	node->number = *value;
}

void inspect_bool_rw(struct inspect *i, const char *name, const bool *value, inspect_set_fn set,
		     void *context)
{
	struct inspect_node *node = leaf_rw(i, name, set, context);

	if (!node)
		return;
	node->type = INSPECT_BOOL;
	node->number = *value;
}

void inspect_delegate(struct inspect *i, const char *name, u32 token, u32 flags)
{
	struct inspect_tree *tree = i->tree;
	struct inspect_node *node;
	struct place place;

	if (!find_place(i, name, &place) || (!place.evaluate && !(flags & INSPECT_LEAF)))
		return;
	node = place.node;
	if (!node) {
		if (!tree->result)
			tree->result = new_node(tree);
		node = tree->result;
	}
	if (!node)
		return;
	node->kind = INSPECT_DELEGATED;
	node->children = NULL;
	node->path = copy_text(tree, place.path, strlen(place.path));
	node->depth = place.depth;
	node->token = token;
	node->delegation = node == tree->result ? flags & ~INSPECT_OPTIONAL : flags;
	node->next_delegated = tree->delegated;
	tree->delegated = node;
}

void inspect_resolve_error(struct inspect_tree *tree, struct inspect_node *node,
			   enum inspect_error error, const char *text)
{
	set_error(tree, node, error, text);
}

bool inspect_resolve(struct inspect_tree *tree, struct inspect_node *node, struct pb_bytes answer)
{
	struct inspect_node *other = inspect_decode_node(tree, answer);

	if (!other) {
		set_error(tree, node, tree->failed ? INSPECT_INTERNAL : INSPECT_CHANNEL,
			  "malformed answer");
		return false;
	}
	node->kind = other->kind;
	node->children = other->children;
	node->error = other->error;
	node->type = other->type;
	node->flags = other->flags;
	node->number = other->number;
	node->data = other->data;
	return true;
}

/* --- order */

static bool is_digit(char c, bool hex)
{
	return (c >= '0' && c <= '9') ||
	       (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of the number at text, 0 if none is there; a number has no letter directly behind it. */
static size_t number_at(const char *text, u64 *value)
{
	bool hex = text[0] == '0' && text[1] == 'x' && is_digit(text[2], true);
	size_t n = hex ? 2 : 0;
	u64 v = 0;

	for (; is_digit(text[n], hex); n++) {
		unsigned digit = (unsigned)(text[n] <= '9' ? text[n] - '0'
							   : (text[n] | 0x20) - 'a' + 10);

		if (__builtin_mul_overflow(v, hex ? 16 : 10, &v) || add_overflow(v, digit, &v))
			return 0;
	}
	if (is_letter(text[n]))
		return 0;
	*value = v;
	return n;
}

int inspect_compare_names(const char *a, const char *b)
{
	const char *a_start = a, *b_start = b;

	while (*a && *b) {
		u64 x, y;
		size_t m = 0, n = 0;

		/* only at the start of a run */
		if (is_digit(*a, false) && is_digit(*b, false) &&
		    (a == a_start || !is_digit(a[-1], false))) {
			m = number_at(a, &x);
			n = number_at(b, &y);
		}
		if (m && n) {
			if (x != y)
				return x < y ? -1 : 1;
			a += m;
			b += n;
			continue;
		}
		if (*a != *b)
			return (u8)*a < (u8)*b ? -1 : 1;
		a++;
		b++;
	}
	if (*a || *b)
		return *a ? 1 : -1;
	/* the same as numbers: still one order */
	return strcmp(a_start, b_start);
}

static struct inspect_node *sort_list(struct inspect_node *list)
{
	struct inspect_node *half, *fast, *a, *b, *first = NULL, **tail = &first;

	if (!list || !list->next)
		return list;
	for (half = list, fast = list->next; fast && fast->next; fast = fast->next->next)
		half = half->next;
	b = half->next;
	half->next = NULL;
	a = sort_list(list);
	b = sort_list(b);
	while (a && b) {
		struct inspect_node **smaller = inspect_compare_names(a->name, b->name) <= 0 ? &a
											     : &b;

		*tail = *smaller;
		*smaller = (*smaller)->next;
		tail = &(*tail)->next;
	}
	*tail = a ? a : b;
	return first;
}

static void finish_node(struct inspect_node *node, unsigned levels)
{
	if (node->kind != INSPECT_DIR)
		return;
	if (!levels) {
		node->kind = INSPECT_FAILED;
		node->error = INSPECT_INTERNAL;
		return;
	}
	for (struct inspect_node **at = &node->children; *at;) {
		const struct inspect_node *child = *at;

		if (child->delegation & INSPECT_OPTIONAL && child->kind == INSPECT_FAILED &&
		    child->error == INSPECT_NOT_FOUND)
			*at = child->next;
		else
			at = &(*at)->next;
	}
	node->children = sort_list(node->children);
	for (struct inspect_node *child = node->children; child; child = child->next)
		finish_node(child, levels - 1);
}

void inspect_finish(struct inspect_tree *tree)
{
	static struct inspect_node not_found = {.kind = INSPECT_FAILED, .error = INSPECT_NOT_FOUND};
	static struct inspect_node internal = {.kind = INSPECT_FAILED, .error = INSPECT_INTERNAL};

	if (!tree->result)
		tree->result = tree->failed ? &internal : &not_found;
	else
		finish_node(tree->result, INSPECT_NESTED_MAX);
}

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
	       set_data(tree, node, f.bytes.data, f.bytes.size);
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
	return set_data(tree, node, f.bytes.data, f.bytes.size);
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
	node->name = name.size ? copy_text(tree, (const char *)name.data, name.size) : "";
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
	node = new_node(tree);
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
	node = new_node(tree);
	if (!node)
		return NULL;
	node->kind = INSPECT_VALUE;
	return decode_value(tree, f.bytes, node) ? node : NULL;
}

/* --- helpers */

const struct inspect_node *inspect_find(const struct inspect_node *node, const char *path)
{
	const char *start;
	size_t n;

	while (node && (n = component(&path, &start)) > 0) {
		if (node->kind != INSPECT_DIR)
			return NULL;
		for (node = node->children; node; node = node->next) {
			if (strlen(node->name) == n && !memcmp(node->name, start, n))
				break;
		}
	}
	return node;
}

void inspect_error_text(const struct inspect_node *node, char *text, size_t size)
{
	static const char *const name[] = {
		[INSPECT_UNRESOLVED] = "unresolved",
		[INSPECT_CHANNEL] = "channel error",
		[INSPECT_IMMUTABLE] = "immutable",
		[INSPECT_UPDATE] = "update error",
		[INSPECT_NOT_A_DIRECTORY] = "not a directory",
		[INSPECT_NOT_FOUND] = "not found",
		[INSPECT_INTERNAL] = "internal error",
	};
	const char *what = node->error < ARRAY_SIZE(name) ? name[node->error] : NULL;

	what = what ? what : "error";
	if (node->data.size)
		snprintf(text, size, "%s: %.*s", what, (int)MIN(node->data.size, (size_t)1000),
			 (const char *)node->data.data);
	else
		snprintf(text, size, "%s", what);
}

const char *inspect_parse_u64(const char *text, u64 *value)
{
	char *end;
	u64 v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] < '0' || text[0] > '9')
		return "not a number";
	*value = v;
	return NULL;
}

const char *inspect_parse_bool(const char *text, bool *value)
{
	if (!strcmp(text, "true"))
		*value = true;
	else if (!strcmp(text, "false"))
		*value = false;
	else
		return "neither true nor false";
	return NULL;
}
