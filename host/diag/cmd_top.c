/* parapet ps, parapet top: processes; processors, exits and memory as they change. */
#include "host/diag/commands.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "host/diag/options.h"
#include "host/diag/query.h"
#include "host/diag/render.h"
#include "host/diag/terminal.h"
#include "host/plain.h"

#define VP_PATH	  "vm/partition/vp"
#define KINDS_MAX 32
#define SHOWN_MAX 10 /* processes of top */

/* --- ps */

static const char ps_usage[] =
	"usage: parapet ps [options] VM\n"
	"\n"
	"Lists the processes in VTL2 with their memory in KiB and processor time.\n"
	"\n"
	"  -j, --json  JSON\n";

static const char *text_of(const struct inspect_node *node, const char *path, char *buffer,
			   size_t size)
{
	const struct inspect_node *found = inspect_find(node, path);

	if (!found || found->kind != INSPECT_VALUE || found->type != INSPECT_STRING)
		snprintf(buffer, size, "-");
	else
		snprintf(buffer, size, "%.*s", (int)found->data.size,
			 (const char *)found->data.data);
	plain_text(buffer, '?');
	return buffer;
}

/* A name that the server chose, for the screen. */
static const char *plain_name(const char *name, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s", name);
	plain_text(buffer, '?');
	return buffer;
}

static void put_number(const struct inspect_node *node, const char *path, int width)
{
	u64 value = query_u64(node, path, UINT64_MAX);

	if (value == UINT64_MAX)
		printf("%*s ", width, "-");
	else
		printf("%*llu ", width, (unsigned long long)value);
}

static void list_processes(const struct inspect_node *processes)
{
	printf("%6s %-12s %8s %8s %8s %4s %10s %s\n", "PID", "STATE", "SIZE", "RSS", "ANON", "THR",
	       "CPU-MS", "NAME");
	for (const struct inspect_node *p = processes->children; p; p = p->next) {
		char state[32], name[64];

		put_number(p, "pid", 6);
		printf("%-12.12s ", text_of(p, "state", state, sizeof(state)));
		put_number(p, "VmSize", 8);
		put_number(p, "VmRSS", 8);
		put_number(p, "RssAnon", 8);
		put_number(p, "Threads", 4);
		put_number(p, "cpu_ms", 10);
		printf("%s\n", plain_name(p->name, name, sizeof(name)));
	}
}

int diag_ps_command(int argc, char **argv)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS, {"json", no_argument, NULL, 'j'}, {0}};
	const struct inspect_node *node;
	struct diag_client client;
	struct diag_common common;
	struct inspect_tree tree;
	bool json = false, good;
	char error[256];
	int option;

	diag_common_init(&common);
	while (common.exit < 0 && (option = getopt_long(argc, argv, "j", options, NULL)) >= 0) {
		if (option == 'j')
			json = true;
		else
			diag_common_option(&common, option, "ps", ps_usage);
	}
	if (common.exit >= 0 || !diag_common_vm(&common, argc, argv, "ps") ||
	    !diag_common_end(&common, argc, argv, "ps"))
		return common.exit;
	diag_client_init(&client, common.vm, common.wait_s);
	node = query_inspect(&client, "proc/processes", 1, QUERY_TIMEOUT_NS, &tree);
	good = node && node->kind == INSPECT_DIR;
	if (good && json) {
		render_json(stdout, node);
		putchar('\n');
	} else if (good) {
		list_processes(node);
	} else if (node) {
		inspect_error_text(node, error, sizeof(error));
		log_error("proc/processes: %s", error);
	}
	inspect_free(&tree);
	diag_client_close(&client);
	return good ? 0 : DIAG_EXIT_FAILED;
}

/* --- top */

static const char top_usage[] =
	"usage: parapet top [options] VM\n"
	"\n"
	"Shows the guest's processors with their exits per second by kind, VTL2's memory and its\n"
	"processes, again every second. q or Ctrl-C leaves.\n"
	"\n"
	"  -p, --period S  seconds between two looks (default 1)\n"
	"  -c, --count N   end after N looks\n"
	"  -b, --batch     plain text, one block after the other (also when not on a terminal)\n";

/* One look: everything that the screen shows. */
struct sample {
	struct inspect_tree vp_tree, memory_tree, process_tree;
	struct inspect_node *vp, *memory, *process;
	double at;
};

struct top {
	struct diag_common common;
	struct diag_client client;
	double period;
	u64 count;
	bool screen;
	/* kinds of exits, as columns, in the order in which they were first seen */
	char kind[KINDS_MAX][32];
	size_t kinds;
};

static double now(void)
{
	return (double)monotonic_ns() / 1e9;
}

static bool take_sample(struct top *top, struct sample *s)
{
	struct diag_client *c = &top->client;

	*s = (struct sample){0};
	s->vp = query_inspect(c, VP_PATH, 3, QUERY_TIMEOUT_NS, &s->vp_tree);
	if (s->vp)
		s->memory = query_inspect(c, "proc/meminfo", 0, QUERY_TIMEOUT_NS, &s->memory_tree);
	if (s->memory)
		s->process = query_inspect(c, "proc/processes", 1, QUERY_TIMEOUT_NS,
					   &s->process_tree);
	s->at = now();
	return s->process;
}

static void free_sample(struct sample *s)
{
	inspect_free(&s->vp_tree);
	inspect_free(&s->memory_tree);
	inspect_free(&s->process_tree);
	*s = (struct sample){0};
}

static void learn_kinds(struct top *top, const struct inspect_node *exits)
{
	if (!exits || exits->kind != INSPECT_DIR)
		return;
	for (const struct inspect_node *k = exits->children; k; k = k->next) {
		size_t i = 0;

		while (i < top->kinds && strcmp(top->kind[i], k->name) != 0)
			i++;
		if (i == top->kinds && i < KINDS_MAX && strlen(k->name) < sizeof(top->kind[0]))
			strcpy(top->kind[top->kinds++], k->name);
	}
}

/* Growth of a counter per second; negative if it is not there. */
static double rate(const struct inspect_node *is, const struct inspect_node *was, const char *path,
		   double seconds)
{
	u64 a = query_u64(was, path, UINT64_MAX), b = query_u64(is, path, UINT64_MAX);

	if (b == UINT64_MAX)
		return -1;
	return a > b || a == UINT64_MAX ? 0 : (double)(b - a) / seconds;
}

static void put_rate(double value, int width)
{
	if (value < 0)
		printf(" %*s", width, "-");
	else
		printf(" %*.0f", width, value);
}

static void show_processors(struct top *top, const struct sample *s, const struct sample *before,
			    double seconds)
{
	double sum[KINDS_MAX] = {0};
	char path[64], name[32];

	if (s->vp->kind != INSPECT_DIR) {
		inspect_error_text(s->vp, path, sizeof(path));
		plain_text(path, '?');
		printf("processors: %s\n", path);
		return;
	}
	for (const struct inspect_node *vp = s->vp->children; vp; vp = vp->next)
		learn_kinds(top, inspect_find(vp, "stats/exits"));
	printf("%5s %10s", "VP", "entries/s");
	for (size_t k = 0; k < top->kinds; k++)
		printf(" %*s", (int)MAX(strlen(top->kind[k]), (size_t)8),
		       plain_name(top->kind[k], name, sizeof(name)));
	printf("\n");
	for (const struct inspect_node *vp = s->vp->children; vp; vp = vp->next) {
		const struct inspect_node *was = before->vp ? inspect_find(before->vp, vp->name)
							    : NULL;

		printf("%5.5s", plain_name(vp->name, name, sizeof(name)));
		put_rate(rate(vp, was, "stats/vtl_transitions", seconds), 10);
		for (size_t k = 0; k < top->kinds; k++) {
			double r;

			snprintf(path, sizeof(path), "stats/exits/%s", top->kind[k]);
			r = rate(vp, was, path, seconds);
			sum[k] += MAX(r, 0.0);
			put_rate(r, (int)MAX(strlen(top->kind[k]), (size_t)8));
		}
		printf("\n");
	}
	if (s->vp->children && s->vp->children->next && top->kinds) {
		printf("%5s %10s", "sum", "");
		for (size_t k = 0; k < top->kinds; k++)
			put_rate(sum[k], (int)MAX(strlen(top->kind[k]), (size_t)8));
		printf("\n");
	}
}

static void show(struct top *top, const struct sample *s, const struct sample *before)
{
	double seconds = before->at > 0 ? s->at - before->at : 1;
	u64 total = query_u64(s->memory, "MemTotal", 0),
	    available = query_u64(s->memory, "MemAvailable", 0);
	unsigned shown = 0;
	char name[41];

	if (top->screen)
		fputs("\x1b[H\x1b[2J", stdout);
	printf("%s   every %g s   VTL2 memory: %llu KiB used of %llu, %llu free\n\n",
	       top->common.vm, top->period, (unsigned long long)(total - MIN(available, total)),
	       (unsigned long long)total, (unsigned long long)query_u64(s->memory, "MemFree", 0));
	show_processors(top, s, before, seconds);
	printf("\n%6s %6s %10s %s\n", "PID", "CPU%", "RSS KiB", "NAME");
	for (const struct inspect_node *p = s->process->children; p && shown < SHOWN_MAX;
	     p = p->next, shown++) {
		const struct inspect_node *was = before->process
							 ? inspect_find(before->process, p->name)
							 : NULL;

		put_number(p, "pid", 6);
		printf("%6.1f ", MAX(rate(p, was, "cpu_ms", seconds), 0.0) / 10);
		put_number(p, "VmRSS", 10);
		printf("%s\n", plain_name(p->name, name, sizeof(name)));
	}
	if (!top->screen)
		printf("\n");
	fflush(stdout);
}

static volatile sig_atomic_t ended;

static void on_end(int number)
{
	(void)number;
	ended = 1;
}

/* False when the user wants to leave. */
static bool pause_between(struct top *top)
{
	double until = now() + top->period;

	while (!ended) {
		struct pollfd input = {top->screen ? STDIN_FILENO : -1, POLLIN, 0};
		double left = until - now();
		char key;

		if (left <= 0)
			return true;
		if (poll(&input, 1, (int)(left * 1000) + 1) <= 0 || !input.revents)
			continue;
		if (read(STDIN_FILENO, &key, 1) != 1)
			return false;
		if (key == 'q' || key == 'Q' || key == 3)
			return false;
		if (key == ' ' || key == '\r')
			return true;
	}
	return false;
}

static int run_top(struct top *top)
{
	static struct sample sample[2];
	struct sigaction action = {.sa_handler = on_end};
	bool good = true;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	diag_client_init(&top->client, top->common.vm, top->common.wait_s);
	/* the first look only gives the second one its rates */
	good = take_sample(top, &sample[0]);
	if (good && top->screen) {
		terminal_raw(true);
		fputs("\x1b[?1049h\x1b[?25l", stdout);
	}
	for (u64 n = 1; good && (!top->count || n <= top->count); n++) {
		if (!pause_between(top))
			break;
		free_sample(&sample[n & 1]);
		good = take_sample(top, &sample[n & 1]);
		if (good)
			show(top, &sample[n & 1], &sample[~n & 1]);
		if (ferror(stdout))
			break;
	}
	if (top->screen) {
		fputs("\x1b[?25h\x1b[?1049l", stdout);
		fflush(stdout);
		terminal_restore();
	}
	free_sample(&sample[0]);
	free_sample(&sample[1]);
	diag_client_close(&top->client);
	return good ? 0 : DIAG_EXIT_FAILED;
}

int diag_top_command(int argc, char **argv)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"period", required_argument, NULL, 'p'},
		{"count", required_argument, NULL, 'c'},
		{"batch", no_argument, NULL, 'b'},
		{0},
	};
	static struct top top;
	bool good;
	int option;

	top = (struct top){.period = 1, .screen = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
	diag_common_init(&top.common);
	while (top.common.exit < 0 &&
	       (option = getopt_long(argc, argv, "p:c:b", options, NULL)) >= 0) {
		good = true;
		switch (option) {
		case 'p': good = diag_parse_seconds("--period", optarg, 0.1, &top.period); break;
		case 'c':
			good = diag_parse_number("--count", optarg, 1, UINT32_MAX, &top.count);
			break;
		case 'b': top.screen = false; break;
		default: diag_common_option(&top.common, option, "top", top_usage); break;
		}
		if (!good)
			top.common.exit = DIAG_EXIT_USAGE;
	}
	if (top.common.exit >= 0 || !diag_common_vm(&top.common, argc, argv, "top") ||
	    !diag_common_end(&top.common, argc, argv, "top"))
		return top.common.exit;
	return run_top(&top);
}
