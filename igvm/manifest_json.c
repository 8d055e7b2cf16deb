/* JSON values that know where they stand in a manifest. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/internal.h"
#include "igvm/manifest_json.h"

int node_fail(const struct node *n, const char *key, const char *fmt, ...)
{
	char text[160];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return igvm_fail(n->err, IGVM_NO_HEADER, 0, "%s%s%.60s: %s", n->path,
			 *n->path && *key ? "." : "", key, text);
}

struct node node_member(const struct node *n, const char *key)
{
	struct node out = {.json = json_object_get(n->json, key), .err = n->err};

	if (json_is_null(out.json))
		out.json = NULL;
	if (snprintf(out.path, sizeof(out.path), "%s%s%s", n->path, *n->path ? "." : "", key) >=
	    (int)sizeof(out.path))
		out.path[sizeof(out.path) - 2] = '~'; /* a name that no field has */
	return out;
}

int node_check_object(const struct node *n, const char *const *known)
{
	const char *key;
	json_t *value;

	if (!json_is_object(n->json))
		return igvm_fail(n->err, IGVM_NO_HEADER, 0, "%s: must be an object",
				 *n->path ? n->path : "manifest");
	json_object_foreach((json_t *)n->json, key, value)
	{
		const char *const *k = known;

		while (*k && strcmp(*k, key))
			k++;
		if (!*k)
			return node_fail(n, key, "unknown field");
	}
	return 0;
}

int node_require(const struct node *n, const char *key)
{
	return json_object_get(n->json, key) ? 0 : node_fail(n, key, "is missing");
}

int node_get_number(const struct node *n, const char *key, u64 min, u64 max, u64 *value)
{
	const json_t *j = json_object_get(n->json, key);

	if (!j)
		return 0;
	if (!json_is_integer(j) || json_integer_value(j) < 0 || (u64)json_integer_value(j) < min ||
	    (u64)json_integer_value(j) > max)
		return node_fail(n, key, "must be a number from %llu to %llu",
				 (unsigned long long)min, (unsigned long long)max);
	*value = (u64)json_integer_value(j);
	return 0;
}

int node_get_bool(const struct node *n, const char *key, bool *value)
{
	const json_t *j = json_object_get(n->json, key);

	if (!j)
		return 0;
	if (!json_is_boolean(j))
		return node_fail(n, key, "must be true or false");
	*value = json_is_true(j);
	return 0;
}

int node_require_bool(const struct node *n, const char *key, bool *value)
{
	int ret = node_require(n, key);

	return ret ? ret : node_get_bool(n, key, value);
}

int node_get_string(const struct node *n, const char *key, size_t max, char **value)
{
	const json_t *j = json_object_get(n->json, key);
	char *copy;

	if (!j)
		return 0;
	if (!json_is_string(j))
		return node_fail(n, key, "must be a string");
	if (json_string_length(j) > max)
		return node_fail(n, key, "is too long: %zu bytes, %zu are possible",
				 json_string_length(j), max);
	copy = strdup(json_string_value(j));
	if (!copy)
		return igvm_fail_memory(n->err);
	free(*value);
	*value = copy;
	return 0;
}

int node_get_choice(const struct node *n, const char *key, const char *word0, const char *word1,
		    bool *second)
{
	const json_t *j = json_object_get(n->json, key);
	const char *s = json_string_value(j);

	if (!j)
		return 0;
	if (!s || (strcmp(s, word0) && strcmp(s, word1)))
		return node_fail(n, key, "must be \"%s\" or \"%s\"", word0, word1);
	*second = !strcmp(s, word1);
	return 0;
}

const char *node_get_variant(const struct node *n, struct node *body)
{
	const char *key = NULL;

	*body = (struct node){.err = n->err};
	if (json_is_string(n->json)) {
		key = json_string_value(n->json);
		*body = node_member(n, key);
		return key;
	}
	if (!json_is_object(n->json) || json_object_size(n->json) != 1)
		return NULL;
	key = json_object_iter_key(json_object_iter((json_t *)n->json));
	*body = node_member(n, key);
	return key;
}
