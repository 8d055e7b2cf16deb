/* parapet file, core-dump, save-state, capture: bytes from VTL2 into a file or standard output. */
#include "host/diag/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/log.h"
#include "host/diag/options.h"
#include "host/diag/process.h"

#define STREAMS_MAX  64
#define DUMP_PROGRAM "/bin/underhill-dump"

/* NULL: standard output, which must not be a terminal for binary data. -1: said. */
static int open_output(const char *path, bool binary)
{
	int fd;

	if (!path && binary && isatty(STDOUT_FILENO)) {
		log_error("binary data does not go to a terminal: use -o FILE");
		return -1;
	}
	if (!path || !strcmp(path, "-"))
		return dup(STDOUT_FILENO);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		log_error("%s: %s", path, strerror(errno));
	return fd;
}

static bool put(int fd, const void *data, size_t size)
{
	if (write_all(fd, data, size))
		return true;
	log_error("write: %s", strerror(errno));
	return false;
}

/* To the end of the stream. */
static bool copy_all(int from, int to)
{
	u8 buffer[65536];
	ssize_t n;

	while ((n = read(from, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			log_error("connection lost");
			return false;
		}
		if (!put(to, buffer, (size_t)n))
			return false;
	}
	return true;
}

struct options {
	struct diag_common common;
	struct process_choice process;
	const char *output;
	bool follow, verbose;
	u64 seconds, snaplen;
};

/* Common to the commands of this file: which of "ofvnpGs" apply is said by short_options. */
static bool parse(struct options *o, int argc, char **argv, const char *short_options,
		  const char *name, const char *usage)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"output", required_argument, NULL, 'o'},
		{"follow", no_argument, NULL, 'f'},
		{"verbose", no_argument, NULL, 'v'},
		{"name", required_argument, NULL, 'n'},
		{"pid", required_argument, NULL, 'p'},
		{"seconds", required_argument, NULL, 'G'},
		{"snaplen", required_argument, NULL, 's'},
		{0},
	};
	int option;

	*o = (struct options){.seconds = 60, .snaplen = 65535};
	diag_common_init(&o->common);
	while (o->common.exit < 0 &&
	       (option = getopt_long(argc, argv, short_options, options, NULL)) >= 0) {
		bool good = true;

		if (option < 256 && !strchr(short_options, option)) {
			log_error("unknown option; see 'parapet %s --help'", name);
			good = false;
		} else if (option == 'o') {
			o->output = optarg;
		} else if (option == 'f') {
			o->follow = true;
		} else if (option == 'v') {
			o->verbose = true;
		} else if (option == 'n' || option == 'p') {
			good = process_option(&o->process, option, optarg);
		} else if (option == 'G') {
			good = diag_parse_number("--seconds", optarg, 1, 1000000, &o->seconds);
		} else if (option == 's') {
			good = diag_parse_number("--snaplen", optarg, 1, 65535, &o->snaplen);
		} else {
			diag_common_option(&o->common, option, name, usage);
		}
		if (!good)
			o->common.exit = DIAG_EXIT_USAGE;
	}
	return o->common.exit < 0 && diag_common_vm(&o->common, argc, argv, name);
}

/* A file that is not complete is not left behind; /dev/null and the like are. */
static bool close_output(const struct options *o, int out, bool good)
{
	struct stat st;
	bool is_file = o->output && !fstat(out, &st) && S_ISREG(st.st_mode);

	if (close(out)) {
		log_error("write: %s", strerror(errno));
		good = false;
	}
	if (!good && is_file)
		unlink(o->output);
	return good;
}

/* Of the commands that write one whole output. */
static int write_output(struct options *o,
			bool (*run)(struct diag_client *client, struct options *o, int out))
{
	int out = open_output(o->output, true);
	struct diag_client client;
	bool good;

	if (out < 0)
		return DIAG_EXIT_FAILED;
	diag_client_init(&client, o->common.vm, o->common.wait_s);
	good = close_output(o, out, run(&client, o, out));
	diag_client_close(&client);
	return good ? 0 : DIAG_EXIT_FAILED;
}

/* --- file */

int diag_file_command(int argc, char **argv)
{
	static const char usage[] =
		"usage: parapet file [options] VM PATH\n"
		"\n"
		"Reads a file of VTL2. Of a character device each record ends with a NUL.\n"
		"\n"
		"  -o, --output FILE  to a file instead of standard output\n"
		"  -f, --follow       of a device: go on for ever\n";
	struct diag_client client;
	struct diag_reply *reply = NULL;
	const char *path;
	struct options o;
	struct pb_writer w;
	bool good = false;
	u64 id = 0;
	int in, out;

	if (!parse(&o, argc, argv, "o:f", "file", usage))
		return o.common.exit;
	if (optind >= argc) {
		log_error("which file? see 'parapet file --help'");
		return DIAG_EXIT_USAGE;
	}
	path = argv[optind++];
	if (!diag_common_end(&o.common, argc, argv, "file"))
		return o.common.exit;
	diag_client_init(&client, o.common.vm, o.common.wait_s);
	in = diag_data(&client, &id);
	if (in < 0)
		log_error("%s", client.error);
	pb_writer_init(&w, MiB);
	pb_put_u64(&w, 1, o.follow);
	pb_put_u64(&w, 2, id);
	pb_put_text(&w, 3, path);
	if (in >= 0)
		reply = diag_demand(&client, DIAG_SERVICE, "ReadFile", &w, 0);
	pb_writer_free(&w);
	/* the file here is only made when there is one to read */
	out = reply ? open_output(o.output, false) : -1;
	if (out >= 0) {
		good = copy_all(in, out);
		if (close(out)) {
			log_error("write: %s", strerror(errno));
			good = false;
		}
	}
	if (in >= 0)
		close(in);
	diag_reply_free(reply);
	diag_client_close(&client);
	return good ? 0 : DIAG_EXIT_FAILED;
}

/* --- core-dump */

/* Passes the dump program's log on; its core goes to out. Exit code of the program, or -1. */
static int run_dump(struct diag_client *client, const struct options *o, int out)
{
	struct diag_data data[2];
	bool connected = diag_connect(client, data, 2);
	struct pollfd polled[] = {{data[0].fd, POLLIN, 0}, {data[1].fd, POLLIN, 0}};
	struct diag_reply *reply;
	struct pb_writer w;
	u8 buffer[65536];
	char number[24];
	u64 pid, value;
	int code = -1;
	bool good;

	if (!connected) {
		log_error("%s", client->error);
		return -1;
	}
	snprintf(number, sizeof(number), "%llu", (unsigned long long)o->process.pid);
	pb_writer_init(&w, 4096);
	pb_put_text(&w, 1, DUMP_PROGRAM);
	if (o->verbose)
		pb_put_text(&w, 2, "-v");
	pb_put_text(&w, 2, number);
	pb_put_u64(&w, 5, data[0].id);
	pb_put_u64(&w, 6, data[1].id);
	pb_put_u64(&w, 10, 1);
	reply = diag_demand(client, DIAG_SERVICE, "Exec", &w, 0);
	if (!reply)
		goto out;
	good = pb_find_u64(reply->payload, 1, &pid);
	diag_reply_free(reply);
	if (!good) {
		log_error("Exec: malformed answer");
		goto out;
	}
	while (polled[0].fd >= 0 || polled[1].fd >= 0) {
		if (poll(polled, 2, -1) < 0)
			continue;
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			if (polled[i].fd < 0 || !polled[i].revents)
				continue;
			n = read(polled[i].fd, buffer, sizeof(buffer));
			if (n <= 0)
				polled[i].fd = -1;
			else if (!put(i ? STDERR_FILENO : out, buffer, (size_t)n))
				goto out;
		}
	}
	w.used = 0;
	pb_put_u64(&w, 1, pid);
	reply = diag_demand(client, DIAG_SERVICE, "Wait", &w, 0);
	if (!reply)
		goto out;
	if (pb_find_u64(reply->payload, 1, &value))
		code = (int)(value & 0xff);
	else
		log_error("Wait: malformed answer");
	diag_reply_free(reply);
out:
	pb_writer_free(&w);
	close(data[0].fd);
	close(data[1].fd);
	return code;
}

static bool dump(struct diag_client *client, struct options *o, int out)
{
	int code = process_find(client, &o->process) ? run_dump(client, o, out) : -1;

	if (code > 0)
		log_error("the dump program ended with %d", code);
	return code == 0;
}

int diag_core_dump_command(int argc, char **argv)
{
	static const char usage[] =
		"usage: parapet core-dump [options] VM\n"
		"\n"
		"Takes an ELF core dump of a running process in VTL2, for gdb. Without -n or -p:\n"
		"the one that serves the guest, which stands still while it is copied.\n"
		"\n"
		"  -o, --output FILE  to a file (standard output if that is no terminal)\n"
		"  -n, --name NAME    process by name (see `parapet inspect VM mesh/hosts -r`)\n"
		"  -p, --pid PID      process by number\n"
		"  -v, --verbose      what is dumped\n";
	struct options o;

	if (!parse(&o, argc, argv, "o:n:p:v", "core-dump", usage) ||
	    !diag_common_end(&o.common, argc, argv, "core-dump"))
		return o.common.exit;
	return write_output(&o, dump);
}

/* --- save-state */

static bool save_state(struct diag_client *client, struct options *o, int out)
{
	struct diag_reply *reply = diag_demand(client, DIAG_SERVICE, "DumpSavedState", NULL, 0);
	struct pb_bytes state;
	bool good = false;

	(void)o;
	if (reply && !pb_find_bytes(reply->payload, 1, &state))
		log_error("DumpSavedState: malformed answer");
	else if (reply)
		good = put(out, state.data, state.size);
	diag_reply_free(reply);
	return good;
}

int diag_save_state_command(int argc, char **argv)
{
	static const char usage[] =
		"usage: parapet save-state [options] VM\n"
		"\n"
		"Reads the saved state of the paravisor and its devices (protobuf). The guest\n"
		"stands still for a moment.\n"
		"\n"
		"  -o, --output FILE  to a file (standard output if that is no terminal)\n";
	struct options o;

	if (!parse(&o, argc, argv, "o:", "save-state", usage) ||
	    !diag_common_end(&o.common, argc, argv, "save-state"))
		return o.common.exit;
	return write_output(&o, save_state);
}

/* --- capture */

enum { CAPTURE_QUERY, CAPTURE_START, CAPTURE_STOP };

struct capture {
	struct diag_client client;
	struct pollfd polled[STREAMS_MAX + 1];
	int file[STREAMS_MAX];
	u64 id[STREAMS_MAX];
	u64 count;
};

static struct diag_reply *capture_call(struct capture *c, u64 operation, u64 snaplen)
{
	struct diag_reply *reply;
	struct pb_writer w;
	size_t mark;

	pb_writer_init(&w, 4096);
	pb_put_u64(&w, 3, operation);
	if (operation == CAPTURE_START) {
		size_t ids;

		mark = pb_begin(&w, 4);
		pb_put_u64(&w, 1, snaplen);
		ids = pb_begin(&w, 2);
		for (u64 i = 0; i < c->count; i++)
			pb_varint(&w, c->id[i]);
		pb_end(&w, ids);
		pb_end(&w, mark);
	}
	reply = diag_demand(&c->client, DIAG_SERVICE, "PacketCapture", &w, 0);
	pb_writer_free(&w);
	return reply;
}

/* "x.pcapng" and stream 1: "x-1.pcapng". */
static bool open_capture(struct capture *c, u64 i, const char *path)
{
	const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
	char name[4096];
	int stem = (int)strlen(path);

	if (dot && (!slash || dot > slash + 1))
		stem = (int)(dot - path);
	snprintf(name, sizeof(name), "%.*s-%llu%s", stem, path, (unsigned long long)i, path + stem);
	c->polled[i].fd = diag_data(&c->client, &c->id[i]);
	c->polled[i].events = POLLIN;
	if (c->polled[i].fd < 0) {
		log_error("%s", c->client.error);
		return false;
	}
	c->file[i] = open_output(name, false);
	return c->file[i] >= 0;
}

static void run_capture(struct capture *c, u64 seconds)
{
	u64 open = c->count;
	sigset_t set;
	u8 buffer[65536];

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	c->polled[c->count] = (struct pollfd){signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
					      POLLIN, 0};
	alarm((unsigned)seconds);
	while (open && poll(c->polled, c->count + 1, -1) >= 0) {
		struct signalfd_siginfo info;

		if (c->polled[c->count].revents &&
		    read(c->polled[c->count].fd, &info, sizeof(info)) == sizeof(info))
			diag_reply_free(capture_call(c, CAPTURE_STOP, 0));
		for (u64 i = 0; i < c->count; i++) {
			ssize_t n;

			if (c->polled[i].fd < 0 || !c->polled[i].revents)
				continue;
			n = read(c->polled[i].fd, buffer, sizeof(buffer));
			if (n > 0 && put(c->file[i], buffer, (size_t)n))
				continue;
			close(c->polled[i].fd);
			c->polled[i].fd = -1;
			open--;
		}
	}
}

int diag_capture_command(int argc, char **argv)
{
	static const char usage[] =
		"usage: parapet capture [options] VM\n"
		"\n"
		"Captures the packets of the network adapters that VTL2 serves, one file each\n"
		"(pcapng; NAME-0.EXT, NAME-1.EXT, ...), until the time is over or Ctrl-C.\n"
		"\n"
		"  -o, --output FILE  name of the files (default nic.pcapng)\n"
		"  -G, --seconds N    how long (default 60)\n"
		"  -s, --snaplen N    bytes of each packet (default 65535)\n";
	static struct capture c;
	struct diag_reply *reply;
	struct options o;
	bool good;

	if (!parse(&o, argc, argv, "o:G:s:", "capture", usage) ||
	    !diag_common_end(&o.common, argc, argv, "capture"))
		return o.common.exit;
	c = (struct capture){0};
	diag_client_init(&c.client, o.common.vm, o.common.wait_s);
	reply = capture_call(&c, CAPTURE_QUERY, 0);
	if (!reply) {
		diag_client_close(&c.client);
		return DIAG_EXIT_FAILED;
	}
	good = pb_find_u64(reply->payload, 1, &c.count);
	c.count = MIN(c.count, (u64)STREAMS_MAX);
	diag_reply_free(reply);
	if (!good) {
		log_error("PacketCapture: malformed answer");
	} else if (!c.count) {
		log_error("the paravisor serves no network adapter: nothing to capture");
		good = false;
	}
	for (u64 i = 0; good && i < c.count; i++)
		good = open_capture(&c, i, o.output ? o.output : "nic.pcapng");
	reply = good && c.count ? capture_call(&c, CAPTURE_START, o.snaplen) : NULL;
	good = reply;
	diag_reply_free(reply);
	if (good)
		run_capture(&c, o.seconds);
	diag_client_close(&c.client);
	return good ? 0 : DIAG_EXIT_FAILED;
}
