/* Inspect trees: questions, encodings, decoding of hostile answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/diag/inspect.h"
#include "tests/unit/hex.h"

static char filter[32] = "info";
static u64 limit = 5;
static bool flag;

static const char *set_filter(void *context, const char *text)
{
	if (!strcmp(text, "bad"))
		return "no such level";
	snprintf(context, sizeof(filter), "%s", text);
	return NULL;
}

static const char *set_limit(void *context, const char *text)
{
	return inspect_parse_u64(text, context);
}

static const char *set_flag(void *context, const char *text)
{
	return inspect_parse_bool(text, context);
}

static void describe(struct inspect *root)
{
	struct inspect vm, vp, safe;

	inspect_text(root, "name", "vm");
	inspect_level(root, INSPECT_SAFE);
	if (inspect_enter(root, "safe", &safe)) {
		inspect_u64(&safe, "hidden", 1);
		inspect_level(&safe, INSPECT_SAFE);
		inspect_u64(&safe, "shown", 2);
		inspect_text_rw(&safe, "filter", filter, set_filter, filter);
	}
	inspect_level(root, INSPECT_UNSPECIFIED);
	if (inspect_enter(root, "vm", &vm)) {
		for (u64 n = 11; n--;) {
			char name[8];

			snprintf(name, sizeof(name), "vp/%u", (unsigned)n);
			if (inspect_enter(&vm, name, &vp)) {
				inspect_counter(&vp, "exits", n);
				inspect_hex(&vp, "rip", 0x10);
			}
		}
		inspect_u64_rw(&vm, "limit", &limit, set_limit, &limit);
		inspect_bool_rw(&vm, "perf/flag", &flag, set_flag, &flag);
		inspect_level(&vm, INSPECT_SENSITIVE);
		inspect_text(&vm, "secret", "x");
	}
	inspect_delegate(root, "far", 7, 0);
	inspect_delegate(root, "maybe", 8, INSPECT_OPTIONAL);
}

/* Asks and gives the answer as text: names, =values, {} for directories. */
static void show(const struct inspect_node *node, char *out, size_t size)
{
	size_t used = strlen(out);

	switch (node->kind) {
	case INSPECT_UNEVALUATED: snprintf(out + used, size - used, "_"); break;
	case INSPECT_FAILED: inspect_error_text(node, out + used, size - used); break;
	case INSPECT_DELEGATED:
		snprintf(out + used, size - used, "ask %u '%s' %u", node->token, node->path,
			 node->depth);
		break;
	case INSPECT_VALUE:
		if (node->type == INSPECT_STRING)
			snprintf(out + used, size - used, "%.*s", (int)node->data.size,
				 (const char *)node->data.data);
		else
			snprintf(out + used, size - used, "%llu", (unsigned long long)node->number);
		break;
	case INSPECT_DIR:
		snprintf(out + used, size - used, "{");
		for (const struct inspect_node *c = node->children; c; c = c->next) {
			used = strlen(out);
			snprintf(out + used, size - used, "%s=", c->name);
			show(c, out, size);
			used = strlen(out);
			snprintf(out + used, size - used, "%s", c->next ? " " : "");
		}
		used = strlen(out);
		snprintf(out + used, size - used, "}");
		break;
	}
}

static const char *ask_level(const char *path, u32 depth, const char *update,
			     enum inspect_level level)
{
	static char out[4096];
	struct inspect_query query = {
		.path = path, .depth = depth, .update = update, .level = level};
	struct inspect_tree tree, again;
	struct inspect root;
	struct pb_writer w;
	const struct inspect_node *decoded;

	inspect_begin(&tree, &query, MiB, &root);
	describe(&root);
	inspect_finish(&tree);
	out[0] = 0;
	show(tree.result, out, sizeof(out));
	/* there and back again */
	pb_writer_init(&w, MiB);
	inspect_encode_response(&w, &tree);
	assert_false(w.failed);
	inspect_decode_begin(&again, MiB);
	decoded = inspect_decode_response(&again, written(&w));
	assert_non_null(decoded);
	if (!tree.delegated) {
		static char second[4096];

		second[0] = 0;
		show(decoded, second, sizeof(second));
		assert_string_equal(out, second);
	}
	inspect_free(&again);
	pb_writer_free(&w);
	inspect_free(&tree);
	return out;
}

static const char *ask(const char *path, u32 depth)
{
	return ask_level(path, depth, NULL, INSPECT_SENSITIVE);
}

static void depth_and_paths(void **state)
{
	(void)state;
	assert_string_equal(ask("", 0), "{far=_ maybe=_ name=vm safe=_ vm=_}");
	assert_string_equal(ask("//", 0), "{far=_ maybe=_ name=vm safe=_ vm=_}");
	assert_string_equal(ask("vm", 0), "{limit=5 perf=_ secret=x vp=_}");
	assert_string_equal(ask("/vm//perf/", 0), "{flag=0}");
	assert_string_equal(ask("vm/vp", 0), "{0=_ 1=_ 2=_ 3=_ 4=_ 5=_ 6=_ 7=_ 8=_ 9=_ 10=_}");
	assert_string_equal(ask("vm/vp/10", 0), "{exits=10 rip=16}");
	assert_string_equal(ask("vm/vp/10/exits", 0), "10");
	assert_string_equal(ask("vm", 1), "{limit=5 perf={flag=0} secret=x vp={0=_ 1=_ 2=_ 3=_ 4=_ "
					  "5=_ 6=_ 7=_ 8=_ 9=_ 10=_}}");
	assert_string_equal(ask("safe", INSPECT_DEPTH_ALL), "{filter=info hidden=1 shown=2}");
	assert_string_equal(ask("name", 0), "vm");
	assert_string_equal(ask("name/", 0), "not a directory");
	assert_string_equal(ask("name/x", 0), "not a directory");
	assert_string_equal(ask("nam", 0), "not found");
	assert_string_equal(ask("vm/vp/11", 0), "not found");
	assert_string_equal(ask("vm/vp/1/none", 0), "not found");
}

static void levels(void **state)
{
	(void)state;
	assert_string_equal(ask_level("", INSPECT_DEPTH_ALL, NULL, INSPECT_SAFE),
			    "{safe={filter=info shown=2}}");
	assert_string_equal(ask_level("vm", 0, NULL, INSPECT_SAFE), "not found");
	assert_string_equal(ask_level("safe/hidden", 0, NULL, INSPECT_SAFE), "not found");
	assert_string_equal(ask_level("vm/secret", 0, NULL, INSPECT_UNSPECIFIED), "not found");
	assert_string_equal(ask_level("vm/limit", 0, "3", INSPECT_SAFE), "not found");
	assert_int_equal(limit, 5);
}

static void updates(void **state)
{
	const enum inspect_level all = INSPECT_SENSITIVE;

	(void)state;
	assert_string_equal(ask_level("safe/filter", 0, "debug", INSPECT_SAFE), "debug");
	assert_string_equal(filter, "debug");
	assert_string_equal(ask_level("safe/filter", 0, "bad", all), "update error: no such level");
	assert_string_equal(ask_level("vm/limit", 0, "17", all), "17");
	assert_string_equal(ask_level("vm/limit", 0, "-1", all), "update error: not a number");
	assert_string_equal(ask_level("vm/limit", 0, "", all), "update error: not a number");
	assert_int_equal(limit, 17);
	limit = 5;
	assert_string_equal(ask_level("vm/perf/flag", 0, "true", all), "1");
	assert_true(flag);
	flag = false;
	assert_string_equal(ask_level("name", 0, "x", all), "immutable");
	assert_string_equal(ask_level("vm", 0, "x", all), "immutable");
	assert_string_equal(ask_level("vm/perf", 0, "x", all), "immutable");
	assert_string_equal(ask_level("", 0, "x", all), "immutable");
	assert_string_equal(ask_level("safe/filter/x", 0, "x", all), "not a directory");
	assert_string_equal(ask_level("none", 0, "x", all), "not found");
	snprintf(filter, sizeof(filter), "info");
}

static void delegation(void **state)
{
	struct inspect_query query = {.path = "", .level = INSPECT_SENSITIVE, .depth = 2};
	struct inspect_tree tree;
	struct inspect root;
	char out[1024] = "";

	(void)state;
	assert_string_equal(ask("far/a/b", 3), "ask 7 '/a/b' 3");
	assert_string_equal(ask("far", 0), "ask 7 '' 0");
	assert_string_equal(ask_level("far/a", 0, "v", INSPECT_SENSITIVE), "ask 7 '/a' 0");
	inspect_begin(&tree, &query, MiB, &root);
	describe(&root);
	for (struct inspect_node *n = tree.delegated; n; n = n->next_delegated) {
		assert_int_equal(n->depth, 1);
		if (n->token == 8) {
			assert_true(inspect_resolve(&tree, n, hex("12 04 0a 02 32 00")));
			continue;
		}
		assert_false(inspect_resolve(&tree, n, hex("22 01 0a")));
		assert_int_equal(n->error, INSPECT_CHANNEL);
		/* a directory whose order is not ours */
		assert_true(inspect_resolve(&tree, n,
					    hex("22 1a 0a 0b 0a 01 'b' 12 02 0a 00 1a 02 0a 00 0a "
						"0b 0a 01 'a' 12 02 0a 00 1a 02 0a 00")));
	}
	inspect_finish(&tree);
	show(tree.result, out, sizeof(out));
	assert_non_null(strstr(out, "{far={a=_ b=_} name=vm"));
	assert_null(strstr(out, "maybe"));
	inspect_free(&tree);
}

/* The examples of the protocol's description, byte for byte. */
static void encoded(struct inspect *i)
{
	inspect_level(i, INSPECT_SAFE);
	inspect_text(i, "name", "vm");
}

static void exact_bytes(void **state)
{
	static const struct {
		struct inspect_node node;
		const char *wanted;
	} nodes[] = {
		{{.kind = INSPECT_VALUE, .type = INSPECT_UNSIGNED, .number = 2},
		 "1a 08 0a 06 0a 04 12 02 08 02"},
		{{.kind = INSPECT_VALUE,
		  .type = INSPECT_UNSIGNED,
		  .number = 0x10,
		  .flags = INSPECT_HEX},
		 "1a 0c 0a 0a 0a 04 12 02 08 10 12 02 08 01"},
		{{.kind = INSPECT_VALUE, .type = INSPECT_SIGNED, .number = 0},
		 "1a 06 0a 04 0a 02 0a 00"},
		{{.kind = INSPECT_VALUE, .type = INSPECT_SIGNED, .number = (u64)-1},
		 "1a 08 0a 06 0a 04 0a 02 08 01"},
		{{.kind = INSPECT_VALUE, .type = INSPECT_BOOL, .number = 0},
		 "1a 06 0a 04 0a 02 2a 00"},
		{{.kind = INSPECT_VALUE, .type = INSPECT_BOOL, .number = 1},
		 "1a 08 0a 06 0a 04 2a 02 08 01"},
		{{.kind = INSPECT_VALUE, .type = INSPECT_STRING, .data = {(const u8 *)"vm", 2}},
		 "1a 0a 0a 08 0a 06 32 04 0a 02 76 6d"},
		{{.kind = INSPECT_UNEVALUATED}, "0a 00"},
		{{.kind = INSPECT_DIR}, "22 00"},
		{{.kind = INSPECT_FAILED, .error = INSPECT_NOT_FOUND}, "12 04 0a 02 32 00"},
		{{.kind = INSPECT_DELEGATED}, "12 04 0a 02 0a 00"},
	};
	struct inspect_query query = {.path = "", .level = INSPECT_SAFE};
	struct inspect_tree tree;
	struct inspect root;
	struct pb_writer w;

	(void)state;
	pb_writer_init(&w, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		w.used = 0;
		inspect_encode_node(&w, &nodes[i].node);
		assert_true(same_bytes(written(&w), hex(nodes[i].wanted)));
	}
	w.used = 0;
	inspect_begin(&tree, &query, MiB, &root);
	encoded(&root);
	inspect_finish(&tree);
	inspect_encode_response(&w, &tree);
	assert_true(same_bytes(written(&w),
			       hex("0a 1c 22 1a 0a 18 0a 04 6e 61 6d 65 12 0c 1a 0a 0a 08 0a 06 "
				   "32 04 0a 02 76 6d 1a 02 0a 00")));
	inspect_free(&tree);
	query = (struct inspect_query){.path = "name", .level = INSPECT_SAFE};
	w.used = 0;
	inspect_begin(&tree, &query, MiB, &root);
	encoded(&root);
	inspect_finish(&tree);
	inspect_encode_update_response(&w, &tree);
	assert_true(same_bytes(written(&w), hex("0a 08 0a 06 32 04 0a 02 76 6d")));
	inspect_free(&tree);
	pb_writer_free(&w);
}

static bool decodes(const char *text)
{
	struct inspect_tree tree;
	bool good;

	inspect_decode_begin(&tree, MiB);
	good = inspect_decode_node(&tree, hex(text));
	inspect_free(&tree);
	return good;
}

static void hostile_answers(void **state)
{
	struct inspect_tree tree;
	struct pb_writer w;

	(void)state;
	assert_false(decodes(""));		    /* no variant */
	assert_false(decodes("2a 00"));		    /* unknown variant */
	assert_false(decodes("08 01"));		    /* a number */
	assert_false(decodes("1a 00"));		    /* value without a kind */
	assert_false(decodes("12 00"));		    /* failed without an error */
	assert_false(decodes("12 04 0a 02 42 00")); /* unknown error */
	assert_false(decodes("1a 06 0a 04 0a 02 42 00"));
	assert_false(decodes("1a 08 0a 06 0a 04 32 02 0a 01"));	   /* string field missing a byte */
	assert_false(decodes("1a 09 0a 07 0a 05 32 03 0a 01 ff")); /* not UTF-8 */
	assert_false(decodes("22 0a 0a 08 0a 01 'a' 12 02 0a 00 1a"));		/* cut */
	assert_false(decodes("22 09 0a 07 0a 01 'a' 12 02 0a 00"));		/* no sensitivity */
	assert_false(decodes("22 0d 0a 0b 0a 01 'a' 12 02 0a 00 1a 02 22 00")); /* level 4 */
	assert_false(decodes("22 0b 0a 09 0a 01 'a' 12 00 1a 02 0a 00"));	/* no node */
	assert_false(decodes("22 0d 0a 0b 0a 01 00 12 02 0a 00 1a 02 0a 00")); /* name with a NUL */
	assert_true(decodes("22 0d 0a 0b 0a 01 'a' 12 02 0a 00 1a 02 0a 00"));
	assert_true(decodes("1a 06 0a 04 0a 02 12 00"));
	/* nested for ever */
	pb_writer_init(&w, MiB);
	{
		size_t mark[1000][3];

		for (size_t i = 0; i < 1000; i++) {
			mark[i][0] = pb_begin(&w, 4);
			mark[i][1] = pb_begin(&w, 1);
			pb_put_text(&w, 1, "x");
			mark[i][2] = pb_begin(&w, 2);
		}
		for (size_t i = 1000; i--;) {
			pb_end(&w, mark[i][2]);
			pb_end(&w, pb_begin(&w, 3));
			pb_end(&w, mark[i][1]);
			pb_end(&w, mark[i][0]);
		}
	}
	inspect_decode_begin(&tree, MiB);
	assert_null(inspect_decode_node(&tree, written(&w)));
	inspect_free(&tree);
	pb_writer_free(&w);
	/* more nodes than memory is granted for */
	pb_writer_init(&w, MiB);
	{
		size_t dir = pb_begin(&w, 4);

		for (unsigned i = 0; i < 20000; i++) {
			struct pb_bytes entry = hex("0a 01 'a' 12 02 0a 00 1a 02 0a 00");

			pb_put_bytes(&w, 1, entry);
		}
		pb_end(&w, dir);
	}
	inspect_decode_begin(&tree, MiB);
	assert_null(inspect_decode_node(&tree, written(&w)));
	assert_true(tree.failed);
	inspect_free(&tree);
	pb_writer_free(&w);
}

static void order(void **state)
{
	static const char *const sorted[] = {"",   "0x9", "0xa",  "0x10", "a",	  "a1",	  "a02",
					     "a2", "a10", "a10b", "b-2",  "b-10", "vp/9", "vp/10"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sorted); j++) {
			int c = inspect_compare_names(sorted[i], sorted[j]);

			if (strcmp(sorted[i], "a10b") && strcmp(sorted[j], "a10b"))
				assert_true(i < j ? c < 0 : i > j ? c > 0 : c == 0);
		}
	}
	/* a letter behind it: no number */
	assert_true(inspect_compare_names("a10b", "a2") < 0);
	assert_true(inspect_compare_names("99999999999999999999999", "1") > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_answers), cmocka_unit_test(depth_and_paths),
		cmocka_unit_test(levels),	   cmocka_unit_test(updates),
		cmocka_unit_test(delegation),	   cmocka_unit_test(exact_bytes),
		cmocka_unit_test(order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
