#include "host/control_client.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/types.h"
#include "host/diag/client.h"

#define ANSWER_MAX MiB

bool control_path(const char *vm, char *path, size_t size)
{
	const char suffix[] = "control";
	char *dot;
	int n;

	if (strchr(vm, '/')) {
		n = snprintf(path, size, "%s", vm);
		return n >= 0 && (size_t)n < size;
	}
	if (!diag_running_path(vm, path, size))
		return false;
	dot = strrchr(path, '.');
	if (!dot || (size_t)(dot + 1 - path) + sizeof(suffix) > size)
		return false;
	memcpy(dot + 1, suffix, sizeof(suffix));
	return true;
}

static int dial(const char *vm)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (!control_path(vm, a.sun_path, sizeof(a.sun_path))) {
		log_error("%s: too long", vm);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	log_error("%s: %s", a.sun_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

char *control_exchange(const char *vm, const char *line)
{
	int fd = dial(vm);
	char *text = NULL;
	size_t used = 0, size = 0;
	FILE *f;
	char part[4096];
	ssize_t n;

	if (fd < 0)
		return NULL;
	f = open_memstream(&text, &size);
	if (f && send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line)) {
		while (used < ANSWER_MAX && (n = read(fd, part, sizeof(part))) > 0)
			used += fwrite(part, 1, (size_t)n, f);
	}
	close(fd);
	if (f && !fclose(f) && used)
		return text;
	log_error("%s: no answer", vm);
	free(text);
	return NULL;
}

static int ask(const char *vm, const char *word)
{
	char line[32], *text;
	bool ok;

	snprintf(line, sizeof(line), "%s\n", word);
	text = control_exchange(vm, line);
	if (!text)
		return 1;
	fputs(text, stdout);
	ok = !strncmp(text, "{\"ok\": true", 11);
	free(text);
	return !ok;
}

int control_command(int argc, char **argv)
{
	static const char usage[] =
		"usage: parapet status VM\n"
		"       parapet shutdown [--reboot] VM\n"
		"\n"
		"Asks a VM (its --name, or the path of --control) and prints its answer, a line\n"
		"of JSON.\n"
		"shutdown goes to the guest's integration driver, else it presses the power\n"
		"button.\n"
		"Exit code: 0 done, 1 failed or refused, 2 usage.\n";
	static const struct option options[] = {{"help", 0, 0, 'h'}, {"reboot", 0, 0, 'r'}, {0}};
	const char *word = argv[0];
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (opt != 'r' || strcmp(word, "shutdown") != 0) {
			fprintf(stderr, "See 'parapet %s --help'.\n", argv[0]);
			return 2;
		}
		word = "reboot";
	}
	if (optind + 1 != argc) {
		log_error("expected the name of a VM, or a path; see 'parapet %s --help'", argv[0]);
		return 2;
	}
	return ask(argv[optind], word);
}
