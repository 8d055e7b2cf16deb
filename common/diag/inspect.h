/*
 * Inspect: the state of a program as a tree of named values, built for one question at a time.
 * A program describes its whole tree in plain calls; what the question does not ask for costs no
 * more than a comparison of names:
 *
 *	static void show(struct inspect *i)
 *	{
 *		struct inspect vp;
 *
 *		inspect_level(i, INSPECT_SAFE);
 *		inspect_counter(i, "exits", exits);
 *		if (inspect_enter(i, "vp/0", &vp))
 *			inspect_text(&vp, "state", "running");
 *	}
 *
 * Paths are names joined by '/'; a name that holds one stands for nested directories. Depth counts
 * from the directory that is asked for: 0 = with its values, directories in it not evaluated.
 * The encoding is that of OpenHCL's InspectService (a stricter dialect of protobuf: a Rust enum is
 *a message with one of its fields, always present).
 */
#ifndef PARAPET_COMMON_DIAG_INSPECT_H
#define PARAPET_COMMON_DIAG_INSPECT_H

#include "common/protobuf.h"

#define INSPECT_DEPTH_ALL  UINT32_MAX
#define INSPECT_NESTED_MAX 256u /* levels; nothing real comes near */

/* Who may see a node. A question has a level, too: it sees what is not above that. */
enum inspect_level { INSPECT_SAFE = 1, INSPECT_UNSPECIFIED = 2, INSPECT_SENSITIVE = 3 };

/* Numbers are those of the encoding. */
enum inspect_kind {
	INSPECT_UNEVALUATED = 1,
	INSPECT_FAILED = 2,
	INSPECT_VALUE = 3,
	INSPECT_DIR = 4,
	INSPECT_DELEGATED = 100, /* somebody else is asked; encoded as unresolved */
};

enum inspect_error {
	INSPECT_UNRESOLVED = 1,
	INSPECT_CHANNEL = 2, /* with text */
	INSPECT_IMMUTABLE = 3,
	INSPECT_UPDATE = 4, /* with text */
	INSPECT_NOT_A_DIRECTORY = 5,
	INSPECT_NOT_FOUND = 6,
	INSPECT_INTERNAL = 7,
};

enum inspect_type {
	INSPECT_SIGNED = 1,
	INSPECT_UNSIGNED = 2,
	INSPECT_FLOAT = 3,  /* number = the bits */
	INSPECT_DOUBLE = 4, /* number = the bits */
	INSPECT_BOOL = 5,
	INSPECT_STRING = 6,
	INSPECT_BYTES = 7,
};

#define INSPECT_HEX	BIT(0)
#define INSPECT_COUNTER BIT(1) /* only grows: a rate makes sense */
#define INSPECT_BINARY	BIT(2)

struct inspect_node {
	struct inspect_node *next;     /* in its directory */
	struct inspect_node *children; /* of a directory, sorted after inspect_finish */
	const char *name;	       /* NULL for the root of an answer */
	enum inspect_kind kind;
	enum inspect_level level;
	enum inspect_error error;
	enum inspect_type type;
	u64 flags, number;
	struct pb_bytes data; /* string, bytes, text of an error */
	/* INSPECT_DELEGATED: what to ask whom */
	struct inspect_node *next_delegated;
	const char *path;
	u32 depth, token;
	u32 delegation; /* INSPECT_OPTIONAL, INSPECT_LEAF */
};

struct inspect_query {
	const char *path;   /* "" = everything */
	const char *update; /* new value as text; NULL = only look */
	enum inspect_level level;
	u32 depth;
};

struct inspect_chunk;
struct inspect_tree {
	struct inspect_query query;
	struct inspect_node *result;	/* what the path names; NULL = not found (yet) */
	struct inspect_node *delegated; /* list by next_delegated */
	struct inspect_chunk *chunks;
	size_t used, limit;
	bool failed; /* no memory within the limit: the answer is not complete */
};

/* A place in the tree that is being described. Copies are fine. */
struct inspect {
	struct inspect_tree *tree;
	struct inspect_node *dir; /* NULL while still on the way to what was asked for */
	const char *path;
	u32 depth;
	enum inspect_level level; /* of what comes next; INSPECT_UNSPECIFIED in a new directory */
};

/* --- one question: begin, describe the tree, finish, encode, free. query's texts must stay. */
void inspect_begin(struct inspect_tree *tree, const struct inspect_query *query, size_t limit,
		   struct inspect *root);
/* Sorts, and puts an error where nothing was found. Delegated nodes can be resolved before. */
void inspect_finish(struct inspect_tree *tree);
void inspect_free(struct inspect_tree *tree);

/* --- describing */
void inspect_level(struct inspect *i, enum inspect_level level);
/* A directory: true if its content is wanted; describe it with sub. */
bool inspect_enter(struct inspect *i, const char *name, struct inspect *sub);
void inspect_u64(struct inspect *i, const char *name, u64 value);
void inspect_hex(struct inspect *i, const char *name, u64 value);
void inspect_counter(struct inspect *i, const char *name, u64 value);
void inspect_s64(struct inspect *i, const char *name, s64 value);
void inspect_bool(struct inspect *i, const char *name, bool value);
void inspect_double(struct inspect *i, const char *name, double value);
/* What is no UTF-8 goes out as bytes. NULL: no node. */
void inspect_text(struct inspect *i, const char *name, const char *value);
void inspect_bytes(struct inspect *i, const char *name, const void *data, size_t size);
/*
 * Values that can be changed. set gets the new text and returns NULL, or what is wrong with it; the
 * value is read again after it.
 */
typedef const char *(*inspect_set_fn)(void *context, const char *text);
void inspect_text_rw(struct inspect *i, const char *name, const char *value, inspect_set_fn set,
		     void *context);
void inspect_u64_rw(struct inspect *i, const char *name, const u64 *value, inspect_set_fn set,
		    void *context);
void inspect_bool_rw(struct inspect *i, const char *name, const bool *value, inspect_set_fn set,
		     void *context);
/*
 * A directory or value that another process answers: leaves a node in tree->delegated, if it is
 * wanted, with the path and depth to ask there.
 */
#define INSPECT_OPTIONAL BIT(0) /* leave it out where the other side does not know it */
#define INSPECT_LEAF	 BIT(1) /* a value: wanted whatever the depth */
void inspect_delegate(struct inspect *i, const char *name, u32 token, u32 flags);
/* The other side's answer (an encoded Node; checked), or an error. */
bool inspect_resolve(struct inspect_tree *tree, struct inspect_node *node, struct pb_bytes answer);
void inspect_resolve_error(struct inspect_tree *tree, struct inspect_node *node,
			   enum inspect_error error, const char *text);

/* --- encoding, after inspect_finish: Node as the content of the current message */
void inspect_encode_node(struct pb_writer *w, const struct inspect_node *node);
/* InspectResponse {result}, UpdateResponse {new_value} (the result must be a value). */
void inspect_encode_response(struct pb_writer *w, const struct inspect_tree *tree);
void inspect_encode_update_response(struct pb_writer *w, const struct inspect_tree *tree);

/* --- decoding: the result belongs to tree (which needs limit only); NULL if malformed or too big
 */
void inspect_decode_begin(struct inspect_tree *tree, size_t limit);
struct inspect_node *inspect_decode_node(struct inspect_tree *tree, struct pb_bytes message);
struct inspect_node *inspect_decode_response(struct inspect_tree *tree, struct pb_bytes message);
struct inspect_node *inspect_decode_update_response(struct inspect_tree *tree,
						    struct pb_bytes message);

/* --- helpers */
/* Order of names: runs of digits, and of hex digits after 0x, count as numbers. */
int inspect_compare_names(const char *a, const char *b);
/* The node at a path below node; NULL if there is none. */
const struct inspect_node *inspect_find(const struct inspect_node *node, const char *path);
/* An error for people, such as "not found"; includes the node's own text. */
void inspect_error_text(const struct inspect_node *node, char *text, size_t size);
/* Text to value; NULL or what is wrong. */
const char *inspect_parse_u64(const char *text, u64 *value);
const char *inspect_parse_bool(const char *text, bool *value);

#endif
