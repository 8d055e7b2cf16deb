/* Listening at a path: what stands there already, who may connect, what is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/unix_socket.h"
#include "tests/lib/no_log.h"

static char dir[64], path[80];

static int setup(void **state)
{
	(void)state;
	log_set_sink(no_log);
	strcpy(dir, "/tmp/unix-socket-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir); /* fails when something was left behind */
}

static bool answers(void)
{
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	bool good;

	assert_true(unix_address(&a, path, ""));
	good = !connect(fd, (struct sockaddr *)&a, sizeof(a));
	close(fd);
	return good;
}

static mode_t mode(void)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	return st.st_mode & 0777;
}

static void bad_paths(void **state)
{
	char longer[200];
	struct sockaddr_un a;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(unix_listen(longer, true, 1), -1);
	assert_int_equal(unix_listen("", true, 1), -1);
	snprintf(longer, sizeof(longer), "%s/no/such", dir);
	assert_int_equal(unix_listen(longer, true, 1), -1);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(a.sun_path) - 1] = 0;
	assert_true(unix_address(&a, longer, ""));
	assert_false(unix_address(&a, longer, "_"));
	unix_unlisten(-1, NULL);
}

static void who_may_connect(void **state)
{
	mode_t mask = umask(022);
	int fd = unix_listen(path, true, 1);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(mode(), 0600);
	unix_unlisten(fd, path);
	assert_int_equal(access(path, F_OK), -1);
	fd = unix_listen(path, false, 1);
	assert_true(fd >= 0);
	assert_int_equal(mode(), 0755);
	unix_unlisten(fd, path);
	umask(mask);
}

static void one_listens_already(void **state)
{
	int fd = unix_listen(path, true, 1);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(unix_listen(path, true, 1), -1);
	/* also while it does not come to accept its clients */
	assert_int_equal(unix_listen(path, true, 1), -1);
	assert_int_equal(unix_listen(path, true, 1), -1);
	assert_int_equal(mode(), 0600);
	unix_unlisten(fd, path);
}

static void left_over(void **state)
{
	int fd = unix_listen(path, true, 4);

	(void)state;
	close(fd); /* as when its program is killed */
	assert_false(answers());
	fd = unix_listen(path, true, 4);
	assert_true(fd >= 0);
	assert_true(answers());
	unix_unlisten(fd, path);
}

static void never_a_file(void **state)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	(void)state;
	close(fd);
	assert_int_equal(unix_listen(path, true, 1), -1);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(bad_paths), T(who_may_connect), T(one_listens_already),
		T(left_over), T(never_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
