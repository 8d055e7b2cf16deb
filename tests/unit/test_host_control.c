/* The control socket: words, answers, clients that say nothing, too much, or leave. */
#include "tests/unit/host_test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/control.h"
#include "host/control_client.h"
#include "host/kvp.h"
#include "host/unix_socket.h"

static struct ic *ic;
static struct control *control;
static char path[64];
static int listener;

static int set_up(void **state)
{
	host_setup(state);
	f->vm.vmbus = vmbus_create(&f->vm);
	assert_non_null(f->vm.vmbus);
	ic = ic_create(&f->vm);
	assert_non_null(ic);
	snprintf(path, sizeof(path), "/tmp/parapet-control-%d", (int)getpid());
	listener = unix_listen(path, true, 64);
	assert_true(listener >= 0);
	control = control_create(&f->vm, ic, listener);
	assert_non_null(control);
	assert_int_equal(vmbus_start(f->vm.vmbus), 0);
	return 0;
}

static int tear_down(void **state)
{
	vmbus_stop(f->vm.vmbus);
	control_destroy(control);
	ic_destroy(ic);
	vmbus_destroy(f->vm.vmbus);
	unix_unlisten(listener, path);
	return host_teardown(state);
}

static int dial(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* What comes until the end. */
static const char *hear(int fd)
{
	static char text[4096];
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
	close(fd);
	return text;
}

static const char *ask(const char *words)
{
	int fd = dial();

	assert_int_equal(send(fd, words, strlen(words), MSG_NOSIGNAL), strlen(words));
	return hear(fd);
}

static void words(void **state)
{
	const char *text = ask("status\n");

	(void)state;
	assert_non_null(strstr(text, "{\"ok\": true, \"guest\": {\"shutdown\": false"));
	assert_non_null(strstr(text, "\"heartbeat_age_ms\": -1"));
	assert_int_equal(text[strlen(text) - 1], '\n');
	assert_string_equal(ask("reboot\n"),
			    "{\"ok\": false, \"error\": \"the guest has no shutdown driver\"}\n");
	assert_non_null(strstr(ask("Status\n"), "unknown word"));
	assert_non_null(strstr(ask("\n"), "unknown word"));
	assert_non_null(strstr(ask("statusstatusstatusstatus\n"), "unknown word"));
	assert_non_null(strstr(ask("kvp {\"op\": \"list\"}\n"), "no driver for key-value pairs"));
	assert_non_null(strstr(ask("kvp {\n"), "not JSON"));
	assert_non_null(strstr(ask("kvp\n"), "unknown word"));
	/* what follows the line does not count */
	assert_non_null(strstr(ask("status\nx"), "\"ok\": true"));
}

/* As long as a line may be, and longer. */
static void long_lines(void **state)
{
	char *line = malloc(2 * KVP_LINE_MAX);
	int fd;

	(void)state;
	memset(line, ' ', 2 * KVP_LINE_MAX);
	memcpy(line, "kvp {}", 6);
	strcpy(line + KVP_LINE_MAX - 2, "\n");
	assert_non_null(strstr(ask(line), "unknown operation"));
	memset(line, 'x', 2 * KVP_LINE_MAX);
	fd = dial();
	send(fd, line, 2 * KVP_LINE_MAX, MSG_NOSIGNAL);
	/* it does not read on: the end may come as a reset */
	assert_true(strstr(hear(fd), "unknown word") || errno == ECONNRESET);
	free(line);
}

static void in_pieces(void **state)
{
	int fd = dial();

	(void)state;
	for (const char *p = "status\n"; *p; p++) {
		assert_int_equal(send(fd, p, 1, MSG_NOSIGNAL), 1);
		usleep(2000);
	}
	assert_non_null(strstr(hear(fd), "\"ok\": true"));
}

static void leavers_and_many(void **state)
{
	int fd[20];

	(void)state;
	for (int i = 0; i < 50; i++)
		close(dial());
	/* more than it serves at a time: the rest wait, none is lost */
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = dial();
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		assert_int_equal(send(fd[i], "status\n", 7, MSG_NOSIGNAL), 7);
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		assert_non_null(strstr(hear(fd[i]), "\"ok\": true"));
}

static void names(void **state)
{
	char out[40];

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_true(control_path("demo", out, sizeof(out)));
	assert_string_equal(out, "/run/user/7/parapet/demo.control");
	assert_false(control_path("a-name-that-is-long", out, sizeof(out)));
	assert_true(control_path("./x", out, sizeof(out)));
	assert_string_equal(out, "./x");
	assert_false(control_path("/a/path/that/is/longer/than/there/is/room", out, sizeof(out)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(words, set_up, tear_down),
		cmocka_unit_test_setup_teardown(long_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(leavers_and_many, set_up, tear_down),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("host_control", tests, NULL, NULL);
}
