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
#include <time.h>
#include <unistd.h>

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

static bool write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool read_all(int fd, char *data, size_t len)
{
	while (len) {
		ssize_t n = read(fd, data, len);

		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static int echo(const char *path)
{
	static char data[65536];
	struct sockaddr_un a;
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	unlink(path);
	if (s < 0 || !address(path, &a) || bind(s, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(s, 16))
		return fail(path);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int c = accept(s, NULL, NULL);
		ssize_t n;

		if (c < 0)
			return fail("accept");
		if (fork()) {
			close(c);
			continue;
		}
		while ((n = read(c, data, sizeof(data))) > 0)
			if (!write_all(c, data, (size_t)n))
				break;
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
	char *out = malloc(size), *in = malloc(size);
	struct timespec a, b;
	double ms;
	int s = -1;

	/* the guest may not listen yet */
	for (int i = 0; s < 0 && i < 1200; i++) {
		s = connect_guest(path, port);
		if (s < 0)
			usleep(100000);
	}
	if (s < 0 || !out || !in)
		return fail("connect");
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < count; i++) {
		memset(out, (int)i, size);
		if (!write_all(s, out, size) || !read_all(s, in, size))
			return fail("ping");
		if (memcmp(in, out, size)) {
			printf("message %u came back changed\n", i);
			return 1;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	printf("HOST-PING %u of %zu bytes in %.1f ms\n", count, size, ms);
	close(s);
	free(in);
	free(out);
	return 0;
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
