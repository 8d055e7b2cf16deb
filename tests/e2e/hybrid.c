/*
 * Both sides of the hybrid-vsock convention, for tests:
 *   hybrid echo PATH                 listens there and sends back what comes, to each its own
 *   hybrid ping PATH PORT N SIZE     connects to PORT of the guest and bounces N messages
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/bounce.h"

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static bool address(const char *path, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
	return strlen(path) < sizeof(a->sun_path);
}

static int echo(const char *path)
{
	struct sockaddr_un a;
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	unlink(path);
	if (s < 0 || !address(path, &a) || bind(s, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(s, 16))
		return fail(path);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int c = accept(s, NULL, NULL);

		if (c < 0)
			return fail("accept");
		if (fork()) {
			close(c);
			continue;
		}
		send_back(c);
		return 0;
	}
}

static int connect_guest(const char *path, const char *port)
{
	char line[64], got;
	struct sockaddr_un a;
	size_t n = 0;
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	if (s < 0 || !address(path, &a) || connect(s, (struct sockaddr *)&a, sizeof(a)))
		goto failed;
	snprintf(line, sizeof(line), "CONNECT %s\n", port);
	if (!write_all(s, line, strlen(line)))
		goto failed;
	while (n < sizeof(line) - 1 && read(s, &got, 1) == 1 && got != '\n')
		line[n++] = got;
	line[n] = 0;
	if (!strncmp(line, "OK ", 3))
		return s;
failed:
	close(s);
	return -1;
}

static int ping(const char *path, const char *port, unsigned count, size_t size)
{
	int s = -1, ret;

	/* the guest may not listen yet */
	for (int i = 0; s < 0 && i < 1200; i++) {
		s = connect_guest(path, port);
		if (s < 0)
			usleep(100000);
	}
	if (s < 0)
		return fail("connect");
	ret = bounce("HOST-PING", s, count, size);
	close(s);
	return ret;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "echo"))
		return echo(argv[2]);
	if (argc == 6 && !strcmp(argv[1], "ping"))
		return ping(argv[2], argv[3], (unsigned)atoi(argv[4]), (size_t)atol(argv[5]));
	fprintf(stderr, "usage: hybrid echo PATH | ping PATH PORT N SIZE\n");
	return 2;
}
