/* Back ends of serial ports: bad specifications, readers that pause or leave, held output, clients.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/chardev.h"
#include "tests/lib/no_log.h"

static char dir[64];
static struct chardev c;

static int setup(void **state)
{
	(void)state;
	log_set_sink(no_log);
	strcpy(dir, "/tmp/chardev-XXXXXX");
	alarm(60); /* a writer that never comes back */
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	chardev_close(&c);
	return rmdir(dir); /* fails when something was left behind */
}

static const char *path_of(const char *kind, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s%s/%s", kind, dir, name);
	return path;
}

static bool put(const char *text)
{
	return chardev_write(&c, (const u8 *)text, strlen(text));
}

static void expect_read(int fd, const char *text)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static int client(const char *name)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sa.sun_path, path_of("", name));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* One round of the main loop; the result of chardev_handle(). */
static enum chardev_event serve(bool want, u8 *data, size_t *len)
{
	struct pollfd fds[2];
	unsigned n = chardev_poll(&c, want, fds);

	assert_true(n <= 2);
	*len = 0;
	if (poll(fds, n, 0) <= 0)
		return CHARDEV_IDLE;
	return chardev_handle(&c, fds, n, data, 64, len);
}

static void bad_specs(void **state)
{
	char longer[300] = "unix:/";
	static const char *const specs[] = {
		"", "stdi", "stdio ", "file", "file:", "unix:", "tcp:1", "null:", "unix", "FILE:x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		assert_int_equal(chardev_open(&c, specs[i]), -1);
	memset(longer + 6, 'x', 200);
	assert_int_equal(chardev_open(&c, longer), -1);
	assert_int_equal(chardev_open(&c, path_of("file:", "no/such")), -1);
	assert_int_equal(chardev_open(&c, path_of("unix:", "no/such")), -1);
	chardev_close(&c);
}

static void nothing(void **state)
{
	u8 data[64];
	size_t len;

	(void)state;
	assert_int_equal(chardev_open(&c, "null"), 0);
	assert_false(put("lost"));
	assert_int_equal(serve(true, data, &len), CHARDEV_IDLE);
}

static void held_until_line_end(void **state)
{
	char big[3000];
	int fd;

	(void)state;
	assert_int_equal(chardev_open(&c, path_of("file:", "out")), 0);
	fd = open(path_of("", "out"), O_RDONLY);
	assert_true(put("a"));
	assert_false(put("b")); /* held already: no second wake-up */
	expect_read(fd, "");
	assert_false(put("c\nd"));
	expect_read(fd, "abc\nd");
	assert_true(put("e"));
	chardev_flush(&c);
	expect_read(fd, "e");
	/* larger than the buffer, in pieces and at once */
	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 2000; i++)
		put("y");
	chardev_write(&c, (u8 *)big, sizeof(big));
	chardev_write(&c, (u8 *)big, 0);
	put("z");
	chardev_close(&c);
	assert_int_equal(lseek(fd, 0, SEEK_END), 6 + 2000 + 3000 + 1);
	close(fd);
	unlink(path_of("", "out"));
}

static void *fill(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++)
		put("0123456789abcdef\n");
	return NULL;
}

/* A pipe that nobody empties: writer waits, the main loop does not, and the end can be had. */
static void reader_pauses(void **state)
{
	pthread_t t;
	int p[2];
	char buf[100];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(chardev_open(&c, path_of("file:", "out")), 0);
	unlink(path_of("", "out"));
	close(c.out);
	c.out = p[1];
	assert_int_equal(pthread_create(&t, NULL, fill, NULL), 0);
	usleep(300000);
	chardev_flush(&c); /* would never return if it waited */
	assert_int_equal(read(p[0], buf, 17), 17);
	assert_memory_equal(buf, "0123456789abcdef\n", 17);
	atomic_store(&c.abandon, true);
	pthread_join(t, NULL);
	chardev_close(&c);
	close(p[0]);
}

/* Slow is not lost. */
static void slow_reader(void **state)
{
	pthread_t t;
	size_t got = 0;
	int p[2];
	char buf[4000];

	(void)state;
	assert_int_equal(pipe(p), 0);
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	assert_int_equal(chardev_open(&c, path_of("file:", "out")), 0);
	unlink(path_of("", "out"));
	close(c.out);
	c.out = p[1];
	assert_int_equal(pthread_create(&t, NULL, fill, NULL), 0);
	while (got < 20000 * 17) {
		ssize_t n = read(p[0], buf, sizeof(buf));

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(buf[i], "0123456789abcdef\n"[got % 17]);
		if (got % 3 == 0)
			usleep(1000);
	}
	pthread_join(t, NULL);
	close(p[0]);
}

static void reader_is_gone(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(chardev_open(&c, path_of("file:", "out")), 0);
	unlink(path_of("", "out"));
	close(c.out);
	c.out = p[1];
	close(p[0]);
	put("lost\n");
	put("lost\n");
}

static void clients(void **state)
{
	u8 data[64];
	size_t len;
	struct stat st;
	struct chardev second;
	char spec[256];
	int a, b;

	(void)state;
	strcpy(spec, path_of("unix:", "s"));
	assert_int_equal(chardev_open(&c, spec), 0);
	assert_int_equal(chardev_open(&second, spec), -1); /* somebody listens */
	assert_int_equal(stat(path_of("", "s"), &st), 0);
	/* that one's question was a client, which has left: no credit is needed to see it */
	assert_int_equal(serve(false, data, &len), CHARDEV_IDLE);
	put("nobody there\n");
	assert_int_equal(serve(false, data, &len), CHARDEV_IDLE);
	a = client("s");
	serve(false, data, &len);
	put("hello\n");
	expect_read(a, "hello\n");
	assert_int_equal(write(a, "input", 5), 5);
	assert_int_equal(serve(false, data, &len), CHARDEV_IDLE); /* no credit */
	assert_int_equal(serve(true, data, &len), CHARDEV_DATA);
	assert_int_equal(len, 5);
	assert_memory_equal(data, "input", 5);
	/* Ctrl-A X is for terminals */
	assert_int_equal(write(a, "\001x", 2), 2);
	assert_int_equal(serve(true, data, &len), CHARDEV_DATA);
	close(a);
	put("to a closed one\n");
	assert_int_equal(serve(true, data, &len), CHARDEV_IDLE);
	b = client("s");
	serve(true, data, &len);
	put("again\n");
	expect_read(b, "again\n");
	/* A client that never reads loses output, nobody waits. */
	for (int i = 0; i < 50000; i++)
		put("0123456789abcdef0123456789abcdef\n");
	close(b);
	chardev_close(&c);
	assert_int_equal(stat(path_of("", "s"), &st), -1);
}

static void stale_socket(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	strcpy(sa.sun_path, path_of("", "s"));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(chardev_open(&c, path_of("unix:", "s")), 0);
	close(client("s"));
	/* but never a file */
	fd = open(path_of("", "f"), O_CREAT | O_WRONLY, 0600);
	close(fd);
	{
		struct chardev other;

		assert_int_equal(chardev_open(&other, path_of("unix:", "f")), -1);
	}
	assert_int_equal(unlink(path_of("", "f")), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(bad_specs),	  T(nothing),	   T(held_until_line_end),
		T(reader_pauses), T(slow_reader),  T(reader_is_gone),
		T(clients),	  T(stale_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
