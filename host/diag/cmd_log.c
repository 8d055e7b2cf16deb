/* parapet kmsg: VTL2's kernel log. */
#include "host/diag/commands.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "host/diag/kmsg.h"
#include "host/diag/options.h"
#include "host/diag/render.h"

static const char usage[] =
	"usage: parapet kmsg [options] VM\n"
	"\n"
	"Shows the kernel log of VTL2, in which its processes write too.\n"
	"\n"
	"  -f, --follow     go on with what is logged from now on\n"
	"  -r, --reconnect  when the connection is lost, wait for VTL2 to come back\n"
	"  -l, --level N    only records up to this level (0 to 7)\n"
	"  -j, --json       one JSON object a line\n";

struct options {
	struct diag_common common;
	bool follow, reconnect, json;
	u64 level;
};

static void show_json(const struct kmsg_record *record, const char *text)
{
	printf("{\"level\":%u,\"facility\":%u,\"sequence\":%llu,\"usec\":%llu,\"text\":",
	       record->level, record->facility, (unsigned long long)record->sequence,
	       (unsigned long long)record->usec);
	render_json_string(stdout, pb_text(text));
	puts("}");
}

/* Time green, "target:" yellow, the rest by severity. */
static void show_text(const struct kmsg_record *record, const char *text, bool color)
{
	unsigned long long s = record->usec / 1000000, us = record->usec % 1000000;
	size_t word = strcspn(text, " ");

	if (!color) {
		printf("[%5llu.%06llu] %s\n", s, us, text);
		return;
	}
	printf("\x1b[32m[%5llu.%06llu]\x1b[0m ", s, us);
	if (word && text[word - 1] == ':') {
		printf("\x1b[33m%.*s\x1b[0m", (int)word, text);
		text += word;
	}
	printf("%s%s\x1b[0m\n",
	       record->level <= 3   ? "\x1b[31m"
	       : record->level == 4 ? "\x1b[33m"
				    : "",
	       text);
}

static void show(const struct options *o, struct pb_bytes bytes)
{
	static char text[4 * KMSG_RECORD_MAX + 1];
	bool color = isatty(STDOUT_FILENO);
	struct kmsg_record record;

	if (!kmsg_parse(bytes, &record)) {
		printf("%s\n", o->json ? "{\"invalid\":true}" : "[invalid record]");
		return;
	}
	if (record.level > o->level)
		return;
	kmsg_unescape(record.text, color, text, sizeof(text));
	if (o->json)
		show_json(&record, text);
	else
		show_text(&record, text, color);
}

/* One connection from the log's start to the end of the stream. False if there was none. */
static bool read_log(const struct options *o, struct diag_client *client)
{
	static struct kmsg_splitter splitter;
	struct diag_reply *reply = NULL;
	struct pb_bytes record, input;
	struct pb_writer w;
	u8 buffer[8192];
	u64 id = 0;
	ssize_t n;
	int fd = diag_data(client, &id);

	if (fd < 0) {
		log_error("%s", client->error);
		return false;
	}
	splitter.used = 0;
	splitter.skipping = false;
	pb_writer_init(&w, 64);
	pb_put_u64(&w, 1, o->follow);
	pb_put_u64(&w, 2, id);
	reply = diag_demand(client, DIAG_SERVICE, "Kmsg", &w, 0);
	pb_writer_free(&w);
	while (reply && (n = read(fd, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		input = (struct pb_bytes){buffer, (size_t)n};
		while (kmsg_split(&splitter, &input, &record))
			show(o, record);
		/* each as it comes, also through a pipe */
		if (fflush(stdout))
			break;
	}
	close(fd);
	diag_reply_free(reply);
	return reply;
}

int diag_kmsg_command(int argc, char **argv)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"follow", no_argument, NULL, 'f'},
		{"reconnect", no_argument, NULL, 'r'},
		{"level", required_argument, NULL, 'l'},
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	struct options o = {.level = 7};
	struct diag_client client;
	bool good;
	int option;

	diag_common_init(&o.common);
	while (o.common.exit < 0 &&
	       (option = getopt_long(argc, argv, "frl:j", options, NULL)) >= 0) {
		switch (option) {
		case 'f': o.follow = true; break;
		case 'r': o.reconnect = true; break;
		case 'j': o.json = true; break;
		case 'l':
			if (!diag_parse_number("--level", optarg, 0, 7, &o.level))
				o.common.exit = DIAG_EXIT_USAGE;
			break;
		default: diag_common_option(&o.common, option, "kmsg", usage); break;
		}
	}
	if (o.common.exit >= 0 || !diag_common_vm(&o.common, argc, argv, "kmsg") ||
	    !diag_common_end(&o.common, argc, argv, "kmsg"))
		return o.common.exit;
	do {
		diag_client_init(&client, o.common.vm, o.reconnect ? 1000000 : o.common.wait_s);
		good = read_log(&o, &client);
		diag_client_close(&client);
	} while (o.reconnect && !ferror(stdout));
	return good ? 0 : DIAG_EXIT_FAILED;
}
