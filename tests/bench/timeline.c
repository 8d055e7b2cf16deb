/*
 * Runs commands one after the other and prints each line of their output with the milliseconds
 * since that command's start: NAME<tab>MS<tab>LINE; first NAME<tab>0.0<tab>!start, at the end
 * NAME<tab>MS<tab>!exit CODE.
 *
 * usage: timeline NAME SECONDS UNTIL COMMAND [ARGUMENT]... [++ NAME SECONDS UNTIL COMMAND...]...
 *
 * A command is ended (SIGTERM, later SIGKILL) after SECONDS, or when a line contains UNTIL ("" is
 * never). Its standard input is empty, its errors go to ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

/*
 * Output is collected that often: waking up for each byte would cost a command that writes its
 * console byte by byte far more than one that writes lines.
 */
#define COLLECT_MS   5
#define GRACE_MS     3000
#define LINE_MAX_LEN 4096

struct command {
	const char *name, *until;
	double limit_ms, start;
	pid_t pid;
	int out;
	size_t len;
	char line[LINE_MAX_LEN];
	double line_ms; /* when the line's last bytes came */
	bool found;
};

static double now_ms(void)
{
	return (double)monotonic_ns() / 1e6;
}

static void end_line(struct command *c)
{
	c->line[c->len] = 0;
	printf("%s\t%.1f\t%s\n", c->name, c->line_ms, c->line);
	fflush(stdout);
	if (*c->until && strstr(c->line, c->until))
		c->found = true;
	c->len = 0;
}

static void take(struct command *c, const char *data, size_t n)
{
	c->line_ms = now_ms() - c->start;
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n' || c->len == LINE_MAX_LEN - 1)
			end_line(c);
		if ((unsigned char)data[i] >= ' ')
			c->line[c->len++] = data[i];
	}
}

/* Returns false at the end of the output. */
static bool collect(struct command *c)
{
	char data[4096];
	ssize_t n;

	while ((n = read(c->out, data, sizeof(data))) > 0)
		take(c, data, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static bool start(struct command *c, char **argv)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return false;
	printf("%s\t0.0\t!start\n", c->name);
	fflush(stdout);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
	c->out = ends[0];
	c->start = now_ms();
	c->pid = fork();
	if (c->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(ends[1], 1);
		execv(argv[0], argv);
		dprintf(2, "timeline: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(ends[1]);
	return c->pid > 0;
}

static int run(struct command *c, char **argv)
{
	double kill_at = -1;
	bool open = true;
	int status = 0;

	if (!start(c, argv)) {
		fprintf(stderr, "timeline: %s: %s\n", argv[0], strerror(errno));
		return 1;
	}
	for (;;) {
		double ms;
		bool ended = waitpid(c->pid, &status, WNOHANG) == c->pid;

		if (open)
			open = collect(c);
		ms = now_ms() - c->start;
		if (ended)
			break;
		if (kill_at < 0 && (c->found || ms > c->limit_ms)) {
			if (!c->found)
				printf("%s\t%.1f\t!timeout\n", c->name, ms);
			kill(c->pid, SIGTERM);
			kill_at = ms + GRACE_MS;
		} else if (kill_at >= 0 && ms > kill_at) {
			kill(c->pid, SIGKILL);
		}
		poll(NULL, 0, COLLECT_MS);
	}
	if (c->len)
		end_line(c);
	printf("%s\t%.1f\t!exit %d\n", c->name, now_ms() - c->start,
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	fflush(stdout);
	close(c->out);
	return 0;
}

int main(int argc, char **argv)
{
	int at = 1;

	while (at < argc) {
		static struct command c;
		int end = at;

		while (end < argc && strcmp(argv[end], "++"))
			end++;
		if (end - at < 4) {
			fprintf(stderr, "usage: timeline NAME SECONDS UNTIL COMMAND [ARGUMENT]... "
					"[++ ...]\n");
			return 2;
		}
		argv[end] = NULL;
		c = (struct command){.name = argv[at],
				     .limit_ms = atof(argv[at + 1]) * 1e3,
				     .until = argv[at + 2]};
		if (run(&c, argv + at + 3))
			return 1;
		at = end + 1;
	}
	return 0;
}
