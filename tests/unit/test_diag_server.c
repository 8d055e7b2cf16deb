/* Parts of the diagnostics server: policy, event loop, /proc parsers, the local link's wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "paravisor/diag/control.h"
#include "paravisor/diag/link.h"
#include "paravisor/diag/policy.h"
#include "paravisor/diag/proc.h"
#include "paravisor/diag/server.h"
#include "tests/unit/hex.h"

/* --- policy */

static const char *variables; /* "NAME=VALUE\n"... */

static char *get(const char *name)
{
	static char value[2][32];
	static unsigned turn;
	const char *line = variables;
	size_t n = strlen(name);

	while (line && *line) {
		if (!strncmp(line, name, n) && line[n] == '=') {
			char *out = value[turn++ & 1];

			snprintf(out, sizeof(value[0]), "%.*s", (int)strcspn(line + n + 1, "\n"),
				 line + n + 1);
			return out;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return NULL;
}

static void policies(void **state)
{
	static const struct {
		const char *variables;
		bool refused;
	} cases[] = {
		{"OPENHCL_CONFIDENTIAL=1\n", true},
		{"OPENHCL_CONFIDENTIAL=true\n", true},
		{"UNDERHILL_CONFIDENTIAL=1\n", true},
		{"OPENHCL_CONFIDENTIAL=1\nOPENHCL_CONFIDENTIAL_DEBUG=0\n", true},
		{"OPENHCL_CONFIDENTIAL=1\nOPENHCL_CONFIDENTIAL_DEBUG=1\n", false},
		{"UNDERHILL_CONFIDENTIAL=1\nUNDERHILL_CONFIDENTIAL_DEBUG=1\n", false},
		{"OPENHCL_CONFIDENTIAL_DEBUG=1\n", false},
		{"OPENHCL_CONFIDENTIAL=0\n", false},
		{"OPENHCL_CONFIDENTIAL=\n", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct policy policy;

		variables = cases[i].variables;
		policy_read(&policy, get);
		assert_int_equal(policy_refusal(&policy, POLICY_DIAGNOSE) != NULL,
				 cases[i].refused);
		assert_int_equal(policy_refusal(&policy, POLICY_DUMP) != NULL, cases[i].refused);
		assert_null(policy_refusal(&policy, POLICY_INSPECT));
		assert_null(policy_refusal(&policy, POLICY_PROFILE));
		assert_int_equal(policy_inspect_level(&policy),
				 cases[i].refused ? INSPECT_SAFE : INSPECT_SENSITIVE);
	}
}

/* Every method in every kind of VM; a method without a rule, or a rule without a method, fails. */
static void policy_table(void **state)
{
	static const char *const open_services[] = {"inspect.InspectService",
						    "profile.AzureProfiler"};
	const char *service, *method, *refusal;
	size_t methods = 0;

	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		const struct policy policy = {.confidential = kind & 1, .debug = kind & 2};

		for (methods = 0; service_method(methods, &service, &method); methods++) {
			bool open = !strcmp(service, open_services[0]) ||
				    !strcmp(service, open_services[1]);

			refusal = policy_call_refusal(&policy, service, method);
			assert_int_equal(refusal != NULL, kind == 1 && !open);
			if (refusal)
				assert_non_null(strstr(refusal, "refused: the VM is confidential"));
		}
		assert_int_equal(methods, policy_method_count);
		/* closed to what nobody thought of */
		assert_non_null(policy_call_refusal(&policy, "diag.UnderhillDiag", "exec"));
		assert_non_null(policy_call_refusal(&policy, "diag.UnderhillDiag", ""));
		assert_non_null(policy_call_refusal(&policy, "", "Exec"));
		assert_non_null(policy_call_refusal(&policy, "inspect.InspectService", "Exec"));
	}
	for (size_t i = 0; i < policy_method_count; i++) {
		for (size_t k = 0; k < i; k++)
			assert_true(strcmp(policy_methods[i].service, policy_methods[k].service) ||
				    strcmp(policy_methods[i].method, policy_methods[k].method));
	}
}

/* --- loop */

static struct loop loop;
static char order[32];

struct named_task {
	struct loop_task task;
	char name;
};

static void run_task(struct loop_task *task)
{
	strncat(order, &((struct named_task *)task)->name, 1);
	if (strlen(order) < 6)
		loop_queue(&loop, task);
	else
		loop.stop = true;
}

static void fired(struct loop_timer *timer)
{
	(void)timer;
	loop.stop = true;
}

static void loop_order(void **state)
{
	struct named_task a = {{run_task}, 'a'}, b = {{run_task}, 'b'}, c = {{run_task}, 'c'};
	struct loop_timer first = {fired}, second = {fired}, third = {fired};
	u64 now;

	(void)state;
	assert_true(loop_init(&loop));
	loop_queue(&loop, &a.task);
	loop_queue(&loop, &b.task);
	loop_queue(&loop, &c.task);
	loop_queue(&loop, &a.task); /* is queued already */
	loop_dequeue(&b.task);
	loop_dequeue(&b.task);
	loop_run(&loop);
	assert_string_equal(order, "acacac");
	loop.tasks = NULL;
	now = monotonic_ns();
	loop_arm(&loop, &second, now + 20000000);
	loop_arm(&loop, &third, now + 30000000);
	loop_arm(&loop, &first, now + 10000000);
	loop_disarm(&second);
	loop_disarm(&second);
	loop.stop = false;
	loop_run(&loop);
	assert_null(first.link);
	assert_non_null(third.link);
	assert_true(monotonic_ns() >= now + 10000000);
	loop_free(&loop);
}

/* --- /proc */

static u64 value_of(const struct inspect_tree *tree, const char *path)
{
	const struct inspect_node *node = inspect_find(tree->result, path);

	return node && node->kind == INSPECT_VALUE ? node->number : UINT64_MAX;
}

static void proc_texts(void **state)
{
	struct inspect_query query = {
		.path = "", .level = INSPECT_SAFE, .depth = INSPECT_DEPTH_ALL};
	char interrupts[] = "            CPU0       CPU2\n"
			    "  9:        17          0   IO-APIC   9-fasteoi   acpi\n"
			    "HYP:         0          5   Hypervisor callback interrupts\n"
			    "ERR:         3\n"
			    "garbage\n"
			    ":  1 2\n"
			    "a/b: 1 2\n";
	char memory[] = "MemTotal:       48000 kB\nMemFree: 1\nNot wanted: 7 kB\nnonsense\nCached:";
	struct inspect_tree tree;
	struct inspect root;

	(void)state;
	inspect_begin(&tree, &query, MiB, &root);
	proc_describe_interrupts(&root, interrupts);
	inspect_finish(&tree);
	assert_int_equal(value_of(&tree, "9/cpu/0"), 17);
	assert_null(inspect_find(tree.result, "9/cpu/2"));
	assert_int_equal(value_of(&tree, "HYP/cpu/2"), 5);
	assert_int_equal(value_of(&tree, "ERR/cpu/0"), 3);
	assert_null(inspect_find(tree.result, "a"));
	assert_null(inspect_find(tree.result, "garbage"));
	inspect_free(&tree);
	inspect_begin(&tree, &query, MiB, &root);
	proc_describe_meminfo(&root, memory);
	inspect_finish(&tree);
	assert_int_equal(value_of(&tree, "MemTotal"), 48000);
	assert_int_equal(value_of(&tree, "MemFree"), 1);
	assert_null(inspect_find(tree.result, "Not wanted"));
	inspect_free(&tree);
}

/* --- the local link against a paravisor process that misbehaves */

struct answer {
	unsigned count, failed;
	char text[100];
	size_t size;
};

static void take_answer(void *context, bool failed, struct pb_bytes answer)
{
	struct answer *a = context;

	a->count++;
	a->failed += failed;
	a->size = answer.size;
	snprintf(a->text, sizeof(a->text), "%.*s", (int)MIN(answer.size, (size_t)90),
		 (const char *)answer.data);
}

static void turn(struct loop *l, struct answer *a, unsigned count)
{
	struct loop_timer timer = {fired};

	for (unsigned i = 0; a->count < count && i < 1000; i++) {
		loop.stop = false;
		loop_arm(l, &timer, monotonic_ns() + 1000000);
		loop_run(l);
	}
	loop_disarm(&timer);
	assert_int_equal(a->count, count);
}

static void hostile_link(void **state)
{
	static const char *const bad[] = {
		"", /* shorter than a header */
		"01 00 00 00 01 00 00",
		"02 00 00 00 01 00 00 00 'x'", /* an id that was not asked */
		"01 00 00 00 02 00 00 00 'x'", /* another operation */
	};
	char path[] = "/tmp/parapet-link-XXXXXX", name[64];
	const char *reason;

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(name, sizeof(name), "%s/s", path);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int listener = control_listen(name), fd;
		struct answer a = {0};
		struct pb_bytes answer = hex(bad[i]);
		struct link link;
		u8 buffer[100];

		assert_true(listener >= 0);
		assert_true(loop_init(&loop));
		link_init(&link, &loop, name);
		assert_true(link_ask(&link, LINK_INSPECT, pb_text("q"), take_answer, &a, &reason));
		fd = accept(listener, NULL, NULL);
		assert_int_equal(recv(fd, buffer, sizeof(buffer), 0), 9);
		/* an empty message looks like an end, and is treated as one */
		if (answer.size)
			assert_int_equal(send(fd, answer.data, answer.size, 0), answer.size);
		else
			close(fd);
		turn(&loop, &a, 1);
		assert_int_equal(a.failed, 1);
		assert_int_equal(link.fd, -1);
		if (answer.size)
			close(fd);
		close(listener);
		assert_false(link_ask(&link, LINK_INSPECT, pb_text("q"), take_answer, &a, &reason));
		link_free(&link);
		loop_free(&loop);
	}
	unlink(name);
	rmdir(path);
}

static const char *save(void *context, struct pb_writer *out)
{
	(void)context;
	for (u32 i = 0; i < 100000; i++)
		pb_raw(out, &i, sizeof(i));
	return NULL;
}

static void serve_link(void **state)
{
	const struct control_ops ops = {.save = save};
	char path[] = "/tmp/parapet-link-XXXXXX", name[64];
	struct answer a = {0};
	const char *reason;
	struct link link;
	struct stat st;
	int listener;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(name, sizeof(name), "%s/s", path);
	listener = control_listen(name);
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	pid = fork();
	if (pid == 0) {
		control_serve(listener, &ops, NULL);
		_exit(0);
	}
	close(listener);
	assert_true(loop_init(&loop));
	link_init(&link, &loop, name);
	assert_true(link_ask(&link, LINK_SAVE, pb_text(""), take_answer, &a, &reason));
	turn(&loop, &a, 1);
	assert_true(a.failed == 0 && a.size == 400000);
	assert_true(link_ask(&link, LINK_PAUSE, pb_text(""), take_answer, &a, &reason));
	turn(&loop, &a, 2);
	assert_true(a.failed == 1 && strstr(a.text, "not supported"));
	assert_true(link_ask(&link, 999, pb_text(""), take_answer, &a, &reason));
	turn(&loop, &a, 3);
	assert_int_equal(a.failed, 2);
	/* a request that is no message: the other side hangs up */
	assert_true(link_ask(&link, LINK_INSPECT, hex("0a 05 61"), take_answer, &a, &reason));
	turn(&loop, &a, 4);
	assert_int_equal(a.failed, 3);
	/* and takes the next connection */
	assert_true(link_ask(&link, LINK_SAVE, pb_text(""), take_answer, &a, &reason));
	link_cancel(&link, &a);
	assert_true(link_ask(&link, LINK_SAVE, pb_text(""), take_answer, &a, &reason));
	turn(&loop, &a, 5);
	assert_true(a.failed == 3 && a.size == 400000);
	/* the process is killed in the middle */
	kill(pid, SIGSTOP);
	assert_true(link_ask(&link, LINK_SAVE, pb_text(""), take_answer, &a, &reason));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	turn(&loop, &a, 6);
	assert_int_equal(a.failed, 4);
	link_free(&link);
	loop_free(&loop);
	unlink(name);
	rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_link), cmocka_unit_test(serve_link),
		cmocka_unit_test(policies),	cmocka_unit_test(policy_table),
		cmocka_unit_test(loop_order),	cmocka_unit_test(proc_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
