/* Inspect: a program describes its state, and what was asked for becomes a tree. */
#include "common/diag/inspect_impl.h"

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

const char *inspect_copy_text(struct inspect_tree *tree, const char *text, size_t size)
{
	char *copy = allocate(tree, size + 1);

	if (copy)
		memcpy(copy, text, size);
	return copy;
}

struct inspect_node *inspect_new_node(struct inspect_tree *tree)
{
	struct inspect_node *node = allocate(tree, sizeof(*node));

	if (node) {
		node->kind = INSPECT_UNEVALUATED;
		node->level = INSPECT_UNSPECIFIED;
	}
	return node;
}

bool inspect_set_data(struct inspect_tree *tree, struct inspect_node *node, const void *data,
		      size_t size)
{
	const char *copy = size ? inspect_copy_text(tree, data, size) : NULL;

	node->data = (struct pb_bytes){(const u8 *)copy, copy ? size : 0};
	return !size || copy;
}

static void set_error(struct inspect_tree *tree, struct inspect_node *node,
		      enum inspect_error error, const char *text)
{
	node->kind = INSPECT_FAILED;
	node->error = error;
	node->children = NULL;
	inspect_set_data(tree, node, text, text ? strlen(text) : 0);
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
	tree->result = inspect_new_node(tree);
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
	node = inspect_new_node(i->tree);
	if (!node)
		return NULL;
	node->name = inspect_copy_text(i->tree, name, size);
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
			i->tree->result = inspect_new_node(i->tree);
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
			i->tree->result = inspect_new_node(i->tree);
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
			tree->result = inspect_new_node(tree);
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
	inspect_set_data(tree, node, text.data, text.size);
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
	inspect_set_data(i->tree, node, data, size);
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
			tree->result = inspect_new_node(tree);
		node = tree->result;
	}
	if (!node)
		return;
	node->kind = INSPECT_DELEGATED;
	node->children = NULL;
	node->path = inspect_copy_text(tree, place.path, strlen(place.path));
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

/* --- the finished tree */

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
