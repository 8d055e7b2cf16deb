/* `parapet kvp`: key-value pairs of a guest, by way of the VM's control socket. */
#include "host/kvp.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/log.h"
#include "host/control_client.h"
#include "host/plain.h"

static const char help[] =
	"usage: parapet kvp [--pool N] [--json] VM [list]\n"
	"       parapet kvp [--pool N] [--json] VM get KEY\n"
	"       parapet kvp [--pool N] [--json] VM set KEY VALUE\n"
	"       parapet kvp [--pool N] [--json] VM delete KEY\n"
	"\n"
	"Key-value pairs that a VM's guest keeps for its host (its --name, or the path of\n"
	"--control). The guest needs a daemon for them, such as hv_kvp_daemon.\n"
	"\n"
	"  --pool N  0 what the host sets (default), 1 what the guest sets, 2 what the guest's\n"
	"            system tells of itself, 3 and 4 others\n"
	"  --json    the answer as a line of JSON; else control characters show as '?'\n"
	"\n"
	"Exit code: 0 done, 1 failed or refused, 2 usage.\n";

static void print_text(const char *text)
{
	for (size_t left = strlen(text), n; left; text += n, left -= n) {
		size_t control = plain_control(text, left);

		n = MAX(control, (size_t)1);
		putchar(control ? '?' : *text);
	}
}

static void print_answer(const json_t *answer)
{
	const char *value = json_string_value(json_object_get(answer, "value"));
	const json_t *pair;
	size_t i;

	json_array_foreach(json_object_get(answer, "pairs"), i, pair)
	{
		const char *key = json_string_value(json_object_get(pair, "key"));
		const char *its = json_string_value(json_object_get(pair, "value"));

		print_text(key ? key : "");
		putchar('=');
		print_text(its ? its : "");
		putchar('\n');
	}
	if (value) {
		print_text(value);
		putchar('\n');
	}
	if (json_is_true(json_object_get(answer, "truncated")))
		log_warn("the guest has more pairs than one answer holds");
}

static int ask(const char *vm, json_t *request, bool as_json)
{
	char *text = request ? json_dumps(request, JSON_ENSURE_ASCII) : NULL, *line = NULL;
	char *said = NULL;
	json_t *answer = NULL;
	bool ok = false;

	json_decref(request);
	if (!text || asprintf(&line, "kvp %s\n", text) < 0) {
		line = NULL;
		log_error("the key or value is not UTF-8");
	} else if (strlen(line) >= KVP_LINE_MAX) {
		log_error("the key or value is too long");
	} else {
		said = control_exchange(vm, line);
	}
	if (said) {
		answer = json_loads(said, 0, NULL);
		ok = json_is_true(json_object_get(answer, "ok"));
		if (as_json) {
			fputs(said, stdout);
		} else if (ok) {
			print_answer(answer);
		} else {
			const char *why = json_string_value(json_object_get(answer, "error"));

			log_error("%s: %s", vm, why ? why : "no answer");
		}
	}
	json_decref(answer);
	free(said);
	free(line);
	free(text);
	return !ok;
}

int kvp_command(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", 0, 0, 'h'}, {"pool", 1, 0, 'p'}, {"json", 0, 0, 'j'}, {0}};
	static const struct {
		const char *name;
		int words;
	} ops[] = {{"list", 0}, {"get", 1}, {"set", 2}, {"delete", 1}};
	const char *op;
	bool as_json = false;
	json_t *request;
	int opt, pool = 0;
	char *end;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'h': fputs(help, stdout); return 0;
		case 'j': as_json = true; break;
		case 'p':
			pool = (int)strtoul(optarg, &end, 10);
			if (end != optarg + 1 || pool < 0 || pool > IC_KVP_POOL_LAST) {
				log_error("--pool: a number from 0 to %d", IC_KVP_POOL_LAST);
				return 2;
			}
			break;
		default: fprintf(stderr, "See 'parapet kvp --help'.\n"); return 2;
		}
	}
	argv += optind;
	argc -= optind;
	op = argc > 1 ? argv[1] : "list";
	for (size_t i = 0; argc && i < ARRAY_SIZE(ops); i++) {
		if (strcmp(op, ops[i].name) || MAX(argc, 2) != 2 + ops[i].words)
			continue;
		request = json_pack("{s:s, s:i}", "op", op, "pool", pool);
		/* NULL, and so does the request, when a text is not UTF-8 */
		if ((argc > 2 && json_object_set_new(request, "key", json_string(argv[2]))) ||
		    (argc > 3 && json_object_set_new(request, "value", json_string(argv[3])))) {
			json_decref(request);
			request = NULL;
		}
		return ask(argv[0], request, as_json);
	}
	log_error("expected a VM and list, get KEY, set KEY VALUE or delete KEY; see 'parapet kvp "
		  "--help'");
	return 2;
}
