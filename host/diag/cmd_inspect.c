/* parapet inspect: the paravisor's state, once or again and again. */
#include "host/diag/commands.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "host/diag/options.h"
#include "host/diag/query.h"
#include "host/diag/render.h"
#include "host/plain.h"

static const char usage[] =
	"usage: parapet inspect [options] VM [PATH]\n"
	"\n"
	"Shows a part of the paravisor's state. PATH is made of names, such as vm/partition/vp/0;\n"
	"`_` stands for a directory that was not looked into.\n"
	"\n"
	"  -r, --recursive    all below PATH\n"
	"  -d, --depth N      N levels below PATH (default 0; implies nothing else)\n"
	"  -j, --json         JSON; values that could not be had are {\"$error\": TEXT}\n"
	"  -w, --watch        again every second, with counters as growth per second\n"
	"  -p, --period S     seconds between two looks (default 1)\n"
	"  -c, --count N      end after N looks\n"
	"  -u, --update TEXT  change the value at PATH\n"
	"  -t, --timeout S    what takes longer is shown as unresolved (default 1; 0: wait)\n";

struct options {
	struct diag_common common;
	const char *path, *update;
	bool json, watch;
	u32 depth;
	u64 count;
	double period, timeout;
};

static int update(const struct options *o, struct diag_client *client)
{
	struct inspect_tree tree;
	const struct inspect_node *node;
	struct diag_reply *reply;
	struct pb_writer w;

	pb_writer_init(&w, TTRPC_BODY_MAX);
	pb_put_text(&w, 1, o->path);
	pb_put_text(&w, 2, o->update);
	reply = diag_demand(client, DIAG_INSPECT, "Update", &w, (u64)(o->timeout * 1e9));
	pb_writer_free(&w);
	if (!reply)
		return DIAG_EXIT_FAILED;
	inspect_decode_begin(&tree, MiB);
	node = inspect_decode_update_response(&tree, reply->payload);
	if (!node)
		log_error("Update: malformed answer");
	else if (o->json)
		render_json(stdout, node), putchar('\n');
	else if (node->type == INSPECT_STRING)
		printf("%.*s\n", (int)node->data.size, (const char *)node->data.data);
	else
		render_text(stdout, node);
	diag_reply_free(reply);
	inspect_free(&tree);
	return node ? 0 : DIAG_EXIT_FAILED;
}

static double now(void)
{
	return (double)monotonic_ns() / 1e9;
}

/* A path that there is not is an error of ours; errors further down are shown. */
static bool is_error(const struct options *o, const struct inspect_node *node)
{
	char text[1200];

	if (node->kind != INSPECT_FAILED || o->json)
		return node->kind == INSPECT_FAILED;
	inspect_error_text(node, text, sizeof(text));
	plain_text(text, ' ');
	log_error("%s: %s", *o->path ? o->path : "/", text);
	return true;
}

/* Counters need their absolute values for the next look, so the rates go into a second copy. */
static int look(const struct options *o, struct diag_client *client)
{
	struct inspect_tree tree[2], shown;
	const struct inspect_node *before = NULL;
	double then = 0, at;
	u64 timeout = (u64)(o->timeout * 1e9);
	bool failed = false;

	for (u64 n = 0; !o->count || n < o->count; n++) {
		struct inspect_tree *mine = &tree[n & 1];
		struct inspect_node *node, *copy;
		struct pb_writer w;

		if (n)
			usleep((useconds_t)(o->period * 1e6));
		node = query_inspect(client, o->path, o->depth, timeout, mine);
		at = now();
		if (!node) {
			failed = true;
			inspect_free(mine);
			break;
		}
		failed = is_error(o, node);
		pb_writer_init(&w, 512 * MiB);
		inspect_encode_node(&w, node);
		inspect_decode_begin(&shown, 256 * MiB);
		copy = inspect_decode_node(&shown, (struct pb_bytes){w.data, w.used});
		pb_writer_free(&w);
		if (copy && o->watch)
			render_rates(copy, before, n ? at - then : 1);
		if (copy && o->watch && !o->json && isatty(STDOUT_FILENO))
			fputs("\x1b[H\x1b[2J", stdout);
		if (copy && o->json)
			render_json(stdout, copy), putchar('\n');
		else if (copy && !failed)
			render_text(stdout, copy);
		inspect_free(&shown);
		if (n)
			inspect_free(&tree[~n & 1]);
		before = node;
		then = at;
		if (fflush(stdout))
			break;
	}
	if (before)
		inspect_free(tree[0].chunks ? &tree[0] : &tree[1]);
	return failed ? DIAG_EXIT_FAILED : 0;
}

int diag_inspect_command(int argc, char **argv)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"recursive", no_argument, NULL, 'r'},
		{"depth", required_argument, NULL, 'd'},
		{"json", no_argument, NULL, 'j'},
		{"watch", no_argument, NULL, 'w'},
		{"period", required_argument, NULL, 'p'},
		{"count", required_argument, NULL, 'c'},
		{"update", required_argument, NULL, 'u'},
		{"timeout", required_argument, NULL, 't'},
		{0},
	};
	struct options o = {.path = "", .count = 1, .period = 1, .timeout = 1};
	struct diag_client client;
	bool counted = false;
	int option, code;
	u64 depth;

	diag_common_init(&o.common);
	while (o.common.exit < 0 &&
	       (option = getopt_long(argc, argv, "rd:jwp:c:u:t:", options, NULL)) >= 0) {
		bool good = true;

		switch (option) {
		case 'r': o.depth = INSPECT_DEPTH_ALL; break;
		case 'd':
			good = diag_parse_number("--depth", optarg, 0, INSPECT_DEPTH_ALL, &depth);
			o.depth = (u32)depth;
			break;
		case 'j': o.json = true; break;
		case 'w': o.watch = true; break;
		case 'p': good = diag_parse_seconds("--period", optarg, 0.01, &o.period); break;
		case 'c':
			good = diag_parse_number("--count", optarg, 1, UINT32_MAX, &o.count);
			counted = true;
			break;
		case 'u': o.update = optarg; break;
		case 't': good = diag_parse_seconds("--timeout", optarg, 0, &o.timeout); break;
		default: diag_common_option(&o.common, option, "inspect", usage); break;
		}
		if (!good)
			o.common.exit = DIAG_EXIT_USAGE;
	}
	if (o.common.exit >= 0 || !diag_common_vm(&o.common, argc, argv, "inspect"))
		return o.common.exit;
	if (optind < argc)
		o.path = argv[optind++];
	if (!diag_common_end(&o.common, argc, argv, "inspect"))
		return o.common.exit;
	if (o.watch && !counted)
		o.count = 0;
	diag_client_init(&client, o.common.vm, o.common.wait_s);
	code = o.update ? update(&o, &client) : look(&o, &client);
	diag_client_close(&client);
	return code;
}
