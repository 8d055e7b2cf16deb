/* Messages to a peer that sends back what comes, for tests of sockets on both sides. */
#ifndef PARAPET_TESTS_LIB_BOUNCE_H
#define PARAPET_TESTS_LIB_BOUNCE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

static inline bool write_all(int fd, const char *data, size_t len)
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

static inline bool read_all(int fd, char *data, size_t len)
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

/* Sends back what comes, to the end of the stream. */
static inline void send_back(int fd)
{
	static char data[65536];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0)
		if (!write_all(fd, data, (size_t)n))
			break;
}

/* Bounces count messages of size bytes, prints "NAME count of size bytes in ... ms". Exit code. */
static inline int bounce(const char *name, int fd, unsigned count, size_t size)
{
	char *out = malloc(size), *in = malloc(size);
	u64 start;
	int ret = 1;

	start = monotonic_ns();
	for (unsigned i = 0; i < count; i++) {
		if (out)
			memset(out, (int)i, size);
		if (!out || !in || !write_all(fd, out, size) || !read_all(fd, in, size)) {
			perror("ping");
			goto out;
		}
		if (memcmp(in, out, size)) {
			printf("message %u came back changed\n", i);
			goto out;
		}
	}
	printf("%s %u of %zu bytes in %.1f ms\n", name, count, size,
	       (double)(monotonic_ns() - start) / 1e6);
	ret = 0;
out:
	free(in);
	free(out);
	return ret;
}

#endif
