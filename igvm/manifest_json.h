/* JSON values that know where they stand in a manifest, so that an error can name the field. */
#ifndef PARAPET_IGVM_MANIFEST_JSON_H
#define PARAPET_IGVM_MANIFEST_JSON_H

#include <jansson.h>

#include "igvm/igvm.h"

#define NODE_MAX_PATH 96

/* A JSON value and where it stands */
struct node {
	const json_t *json;
	char path[NODE_MAX_PATH];
	struct igvm_error *err;
};

/* Error text "PATH.KEY: ..."; key may be "". Returns -EINVAL. */
__attribute__((format(printf, 3, 4))) int node_fail(const struct node *n, const char *key,
						    const char *fmt, ...);

/* The member `key` of an object; its json is NULL if there is none, or if it is null. */
struct node node_member(const struct node *n, const char *key);
/* Refuses what is no object and members whose names are not in the list, which ends with NULL. */
int node_check_object(const struct node *n, const char *const *known);
int node_require(const struct node *n, const char *key);

/* The get_ functions leave the value as it is where the field is absent. */
int node_get_number(const struct node *n, const char *key, u64 min, u64 max, u64 *value);
int node_get_bool(const struct node *n, const char *key, bool *value);
int node_require_bool(const struct node *n, const char *key, bool *value);
/* max: bytes without the end. *value: NULL or malloc'ed, is replaced. */
int node_get_string(const struct node *n, const char *key, size_t max, char **value);
/* One of two words; *second tells which. */
int node_get_choice(const struct node *n, const char *key, const char *word0, const char *word1,
		    bool *second);

/*
 * An enum as these manifests write it: "WORD", or {"WORD": {...}}. Returns the word, or NULL where
 * it is neither; *body gets the object (json NULL for a bare word).
 */
const char *node_get_variant(const struct node *n, struct node *body);

#endif
