/* The methods of the diagnostics services. */
#include "paravisor/diag/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

#define WORDS_MAX      4096
#define CRASH_DELAY_NS 100000000ull /* for the reply to leave */
#define CAPTURE_CONNS  64

static const struct pb_bytes empty;

static void malformed(struct call *call)
{
	call_fail(call, TTRPC_INVALID_ARGUMENT, "malformed payload");
}

/* --- lists of texts */

struct words {
	char **word; /* NULL-terminated */
	size_t count;
	bool failed;
};

static void words_add(struct words *words, char *text)
{
	char **more;

	if (!text || words->count == WORDS_MAX) {
		free(text);
		words->failed = true;
		return;
	}
	more = realloc(words->word, (words->count + 2) * sizeof(*more));
	if (!more) {
		free(text);
		words->failed = true;
		return;
	}
	words->word = more;
	more[words->count++] = text;
	more[words->count] = NULL;
}

static void words_free(struct words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->word[i]);
	free(words->word);
}

static bool same_name(const char *word, const char *pair, size_t length)
{
	return !strncmp(word, pair, length) && word[length] == '=';
}

/* "NAME=VALUE" replaces or adds, "NAME" removes. */
static void set_environment(struct words *environment, const char *pair)
{
	size_t length = strcspn(pair, "="), kept = 0;

	for (size_t i = 0; i < environment->count; i++) {
		if (same_name(environment->word[i], pair, length))
			free(environment->word[i]);
		else
			environment->word[kept++] = environment->word[i];
	}
	environment->count = kept;
	if (environment->word)
		environment->word[kept] = NULL;
	if (pair[length])
		words_add(environment, strdup(pair));
}

/* EnvPair {name, optional value} as "NAME=VALUE", or as "NAME" without a value. NULL if malformed.
 */
static char *parse_pair(struct pb_bytes message)
{
	struct pb_bytes name = {0}, value = {0};
	bool has_value = false;
	struct pb_reader r;
	struct pb_field f;
	struct pb_writer w;
	char *pair = NULL;

	pb_reader_init(&r, message);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_BYTES)) {
			name = f.bytes;
		} else if (pb_is(&r, &f, 2, PB_BYTES)) {
			value = f.bytes;
			has_value = true;
		}
	}
	if (r.failed || !name.size || memchr(name.data, '=', name.size))
		return NULL;
	pb_writer_init(&w, REQUEST_MAX);
	pb_raw(&w, name.data, name.size);
	if (has_value)
		pb_raw(&w, "=", 1);
	pb_raw(&w, value.data, value.size);
	if (!w.failed)
		pair = pb_copy_text((struct pb_bytes){w.data, w.used});
	pb_writer_free(&w);
	return pair;
}

/* --- diag.OpenhclDiag */

static void on_ping(struct call *call, struct pb_bytes payload)
{
	(void)payload;
	call_reply(call, empty);
}

static void on_memory_profile(struct call *call, struct pb_bytes payload)
{
	(void)payload;
	call_fail(call, TTRPC_UNKNOWN, "memory profiles are not built in");
}

/* --- diag.UnderhillDiag: programs */

struct exec_request {
	struct words argv, pairs;
	u64 id[CHILD_STREAMS];
	bool clear_environment;
	struct child_spec spec;
};

/* Our own addition: {rows = 1, columns = 2}; others ignore the field. */
#define EXEC_WINDOW_FIELD 1000

static void parse_window(struct pb_bytes message, u16 *rows, u16 *columns)
{
	struct pb_reader r;
	struct pb_field f;

	pb_reader_init(&r, message);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_VARINT))
			*rows = (u16)f.value;
		else if (pb_is(&r, &f, 2, PB_VARINT))
			*columns = (u16)f.value;
	}
}

static bool parse_exec(struct pb_bytes payload, struct exec_request *e)
{
	struct pb_reader r;
	struct pb_field f;

	words_add(&e->argv, strdup(""));
	pb_reader_init(&r, payload);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_BYTES)) {
			char *command = pb_copy_text(f.bytes);

			if (!command || !e->argv.count) {
				free(command);
				return false;
			}
			free(e->argv.word[0]);
			e->argv.word[0] = command;
		} else if (pb_is(&r, &f, 2, PB_BYTES)) {
			words_add(&e->argv, pb_copy_text(f.bytes));
		} else if (pb_is(&r, &f, 3, PB_VARINT)) {
			e->spec.tty = f.value;
		} else if (f.number >= 4 && f.number <= 6 && pb_is(&r, &f, f.number, PB_VARINT)) {
			e->id[f.number - 4] = f.value;
		} else if (pb_is(&r, &f, 7, PB_VARINT)) {
			e->spec.combine_stderr = f.value;
		} else if (pb_is(&r, &f, 8, PB_BYTES)) {
			words_add(&e->pairs, parse_pair(f.bytes));
		} else if (pb_is(&r, &f, 9, PB_VARINT)) {
			e->clear_environment = f.value;
		} else if (pb_is(&r, &f, 10, PB_VARINT)) {
			e->spec.raw = f.value;
		} else if (pb_is(&r, &f, EXEC_WINDOW_FIELD, PB_BYTES)) {
			parse_window(f.bytes, &e->spec.rows, &e->spec.columns);
		}
	}
	return !r.failed && !e->argv.failed && !e->pairs.failed;
}

static void build_environment(const struct exec_request *e, struct words *environment)
{
	for (char **at = environ; !e->clear_environment && *at; at++)
		words_add(environment, strdup(*at));
	for (size_t i = 0; i < e->pairs.count; i++)
		set_environment(environment, e->pairs.word[i]);
}

static void run_exec(struct call *call, struct exec_request *e)
{
	static char *none[] = {NULL};
	struct words environment = {0};
	const struct child *child;
	struct pb_writer w;

	build_environment(e, &environment);
	e->spec.argv = e->argv.word;
	e->spec.environment = environment.word ? environment.word : none;
	e->spec.owner = call_connection(call);
	if (e->spec.tty)
		e->spec.raw = false;
	errno = ENOMEM;
	child = environment.failed ? NULL : child_start(&call->server->children, &e->spec);
	if (child) {
		pb_writer_init(&w, 64);
		pb_put_u64(&w, 1, (u64)child->pid);
		call_reply(call, (struct pb_bytes){w.data, w.used});
		pb_writer_free(&w);
	} else {
		int error = errno;

		if (environment.failed) {
			for (int i = 0; i < CHILD_STREAMS; i++)
				if (e->spec.socket[i] >= 0)
					close(e->spec.socket[i]);
		}
		call_fail(call, TTRPC_UNKNOWN, "cannot run %.200s: %s", e->argv.word[0],
			  strerror(error));
	}
	words_free(&environment);
}

static void on_exec(struct call *call, struct pb_bytes payload)
{
	struct exec_request e = {.spec.socket = {-1, -1, -1}};

	if (!parse_exec(payload, &e)) {
		malformed(call);
		goto out;
	}
	for (int i = 0; i < CHILD_STREAMS; i++) {
		if (!e.id[i])
			continue;
		e.spec.socket[i] = data_take(&call->server->data, e.id[i]);
		if (e.spec.socket[i] >= 0)
			continue;
		for (int j = 0; j < i; j++)
			if (e.spec.socket[j] >= 0)
				close(e.spec.socket[j]);
		call_fail(call, TTRPC_UNKNOWN, "no data connection %llu",
			  (unsigned long long)e.id[i]);
		goto out;
	}
	run_exec(call, &e);
out:
	words_free(&e.argv);
	words_free(&e.pairs);
}

/* The first field as a number; false if malformed. */
static bool parse_number(struct pb_bytes payload, u64 *value)
{
	struct pb_reader r;
	struct pb_field f;

	*value = 0;
	pb_reader_init(&r, payload);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_VARINT))
			*value = f.value;
	}
	return !r.failed;
}

static void on_exit_code(void *context, int code)
{
	struct call *call = context;
	struct pb_writer w;

	call->release = NULL;
	pb_writer_init(&w, 64);
	pb_put_u64(&w, 1, (u64)code);
	call_reply(call, (struct pb_bytes){w.data, w.used});
	pb_writer_free(&w);
}

static void release_wait(struct call *call)
{
	child_cancel_wait(&call->server->children, call);
}

static void on_wait(struct call *call, struct pb_bytes payload)
{
	struct child_table *children = &call->server->children;
	u64 pid;

	if (!parse_number(payload, &pid)) {
		malformed(call);
		return;
	}
	call_defer(call, release_wait);
	if (!child_wait(children, (pid_t)pid, on_exit_code, call))
		call_fail(call, TTRPC_UNKNOWN, "no process %lld to wait for", (long long)pid);
}

/* --- files and logs */

static void send_file(struct call *call, const char *path, bool follow, u64 id)
{
	int socket = data_take(&call->server->data, id), fd = -1;
	enum pump_kind kind = PUMP_OUTPUT;
	struct stat st;

	if (socket < 0) {
		call_fail(call, TTRPC_UNKNOWN, "no data connection %llu", (unsigned long long)id);
		return;
	}
	/* neither a FIFO nor a terminal may hold us */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		call_fail(call, TTRPC_UNKNOWN, "%.200s: %s", path, strerror(errno));
		goto failed;
	}
	if (S_ISCHR(st.st_mode)) {
		kind = follow ? PUMP_RECORDS_FOLLOW : PUMP_RECORDS;
	} else if (!S_ISREG(st.st_mode)) {
		call_fail(call, TTRPC_UNKNOWN, "%.200s: neither a file nor a character device",
			  path);
		goto failed;
	}
	if (pump_start(&call->server->loop, kind, fd, socket, NULL, NULL, NULL))
		call_reply(call, empty);
	else
		call_fail(call, TTRPC_UNKNOWN, "out of memory");
	return;
failed:
	if (fd >= 0)
		close(fd);
	close(socket);
}

struct file_request {
	char *path;
	u64 conn;
	bool follow;
};

static bool parse_file(struct pb_bytes payload, struct file_request *request)
{
	struct pb_reader r;
	struct pb_field f;

	pb_reader_init(&r, payload);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_VARINT)) {
			request->follow = f.value;
		} else if (pb_is(&r, &f, 2, PB_VARINT)) {
			request->conn = f.value;
		} else if (pb_is(&r, &f, 3, PB_BYTES)) {
			free(request->path);
			request->path = pb_copy_text(f.bytes);
			if (!request->path)
				return false;
		}
	}
	return !r.failed;
}

static void on_kmsg(struct call *call, struct pb_bytes payload)
{
	struct file_request request = {0};

	if (parse_file(payload, &request))
		send_file(call, "/dev/kmsg", request.follow, request.conn);
	else
		malformed(call);
	free(request.path);
}

static void on_read_file(struct call *call, struct pb_bytes payload)
{
	struct file_request request = {0};

	if (parse_file(payload, &request))
		send_file(call, request.path ? request.path : "", request.follow, request.conn);
	else
		malformed(call);
	free(request.path);
}

/* --- the paravisor process */

static void release_link(struct call *call)
{
	link_cancel(&call->server->link, call);
}

static void on_done(void *context, bool failed, struct pb_bytes answer)
{
	struct call *call = context;

	call->release = NULL;
	if (failed)
		call_fail(call, TTRPC_UNKNOWN, "%.*s", (int)MIN(answer.size, (size_t)400),
			  (const char *)answer.data);
	else
		call_reply(call, empty);
}

static void on_saved(void *context, bool failed, struct pb_bytes answer)
{
	struct call *call = context;
	struct pb_writer w;

	if (failed) {
		on_done(context, failed, answer);
		return;
	}
	call->release = NULL;
	pb_writer_init(&w, LINK_BYTES + 16);
	pb_put_bytes(&w, 1, answer);
	call_reply(call, (struct pb_bytes){w.data, w.used});
	pb_writer_free(&w);
}

static void ask_link(struct call *call, enum link_op op, struct pb_bytes request,
		     link_answer_fn answer)
{
	const char *reason;

	call_defer(call, release_link);
	if (!link_ask(&call->server->link, op, request, answer, call, &reason))
		call_fail(call, TTRPC_UNKNOWN, "%s", reason);
}

static void on_start(struct call *call, struct pb_bytes payload)
{
	struct pb_writer w;
	struct pb_reader r;
	struct pb_field f;
	char *pair;

	pb_writer_init(&w, LINK_BYTES);
	pb_reader_init(&r, payload);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 1, PB_BYTES)) {
			pair = parse_pair(f.bytes);
			if (!pair)
				r.failed = true;
			else
				pb_put_text(&w, LINK_FIELD_ENVIRONMENT, pair);
			free(pair);
		} else if (pb_is(&r, &f, 2, PB_BYTES)) {
			pb_put_bytes_always(&w, LINK_FIELD_ARGUMENT, f.bytes);
		}
	}
	if (r.failed || w.failed)
		malformed(call);
	else
		ask_link(call, LINK_START, (struct pb_bytes){w.data, w.used}, on_done);
	pb_writer_free(&w);
}

static void on_restart(struct call *call, struct pb_bytes payload)
{
	(void)payload;
	ask_link(call, LINK_RESTART, empty, on_done);
}

static void on_pause(struct call *call, struct pb_bytes payload)
{
	(void)payload;
	ask_link(call, LINK_PAUSE, empty, on_done);
}

static void on_resume(struct call *call, struct pb_bytes payload)
{
	(void)payload;
	ask_link(call, LINK_RESUME, empty, on_done);
}

static void on_save(struct call *call, struct pb_bytes payload)
{
	(void)payload;
	ask_link(call, LINK_SAVE, empty, on_saved);
}

static void crash_now(struct loop_timer *timer)
{
	(void)timer;
	abort();
}

/* Always succeeds, also for a process that there is not: so does the reference. */
static void on_crash(struct call *call, struct pb_bytes payload)
{
	struct diag_server *server = call->server;
	u64 pid;

	if (!parse_number(payload, &pid)) {
		malformed(call);
		return;
	}
	call_reply(call, empty);
	log_info("crash of process %lld requested", (long long)pid);
	if (pid > INT32_MAX || !tree_is_ours((pid_t)pid)) {
		log_warn("process %lld is none of the paravisor's: nothing to crash",
			 (long long)pid);
	} else if ((pid_t)pid == getpid()) {
		server->crash_timer.expired = crash_now;
		loop_arm(&server->loop, &server->crash_timer, loop_now_ns() + CRASH_DELAY_NS);
	} else if (kill((pid_t)pid, SIGABRT)) {
		log_warn("crash of process %lld: %s", (long long)pid, strerror(errno));
	}
}

/* --- packet capture: there is no NIC yet, so there are no streams */

enum { CAPTURE_QUERY, CAPTURE_START, CAPTURE_STOP };

static void close_conn_id(void *context, u64 id)
{
	int fd = data_take(context, id);

	if (fd >= 0)
		close(fd);
}

static void on_capture(struct call *call, struct pb_bytes payload)
{
	struct pb_reader r, start;
	struct pb_field f;
	u64 operation = CAPTURE_QUERY;

	pb_reader_init(&r, payload);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, 3, PB_VARINT)) {
			operation = f.value;
		} else if (pb_is(&r, &f, 4, PB_BYTES)) {
			pb_reader_init(&start, f.bytes);
			while (pb_next(&start, &f))
				pb_each_u64(&start, &f, 2, close_conn_id, &call->server->data);
			r.failed |= start.failed;
		}
	}
	if (r.failed)
		malformed(call);
	else if (operation == CAPTURE_START)
		call_fail(call, TTRPC_UNKNOWN, "the paravisor serves no NIC to capture from");
	else
		call_reply(call, empty); /* num_streams = 0 */
}

/* The service is there; no profiler is: the caller reads an end of file. */
static void on_profile(struct call *call, struct pb_bytes payload)
{
	u64 id;

	if (!parse_number(payload, &id)) {
		malformed(call);
		return;
	}
	close_conn_id(&call->server->data, id);
	call_reply(call, empty);
}

/* --- parapet.Diag: what the other services lack. {pid = 1, rows or signal = 2, columns = 3} */

static bool parse_triple(struct pb_bytes payload, u64 value[3])
{
	struct pb_reader r;
	struct pb_field f;

	value[0] = value[1] = value[2] = 0;
	pb_reader_init(&r, payload);
	while (pb_next(&r, &f)) {
		if (f.number <= 3 && pb_is(&r, &f, f.number, PB_VARINT))
			value[f.number - 1] = f.value;
	}
	return !r.failed;
}

static void on_window_size(struct call *call, struct pb_bytes payload)
{
	u64 v[3];

	if (!parse_triple(payload, v) || v[1] > UINT16_MAX || v[2] > UINT16_MAX)
		malformed(call);
	else if (child_resize(&call->server->children, (pid_t)v[0], (u16)v[1], (u16)v[2]))
		call_reply(call, empty);
	else
		call_fail(call, TTRPC_UNKNOWN, "process %lld has no terminal", (long long)v[0]);
}

static void on_signal(struct call *call, struct pb_bytes payload)
{
	u64 v[3];

	if (!parse_triple(payload, v) || v[1] > INT32_MAX)
		malformed(call);
	else if (child_signal(&call->server->children, (pid_t)v[0], (int)v[1]))
		call_reply(call, empty);
	else
		call_fail(call, TTRPC_UNKNOWN, "signal %lld does not reach process %lld",
			  (long long)v[1], (long long)v[0]);
}

/* --- all of them; who may call what is told by policy.c */

static const struct method {
	const char *service, *name;
	void (*handle)(struct call *call, struct pb_bytes payload);
} methods[] = {
	{"diag.OpenhclDiag", "Ping", on_ping},
	{"diag.OpenhclDiag", "MemoryProfileTrace", on_memory_profile},
	{"diag.UnderhillDiag", "Exec", on_exec},
	{"diag.UnderhillDiag", "Wait", on_wait},
	{"diag.UnderhillDiag", "Start", on_start},
	{"diag.UnderhillDiag", "Crash", on_crash},
	{"diag.UnderhillDiag", "Kmsg", on_kmsg},
	{"diag.UnderhillDiag", "ReadFile", on_read_file},
	{"diag.UnderhillDiag", "Restart", on_restart},
	{"diag.UnderhillDiag", "Pause", on_pause},
	{"diag.UnderhillDiag", "Resume", on_resume},
	{"diag.UnderhillDiag", "DumpSavedState", on_save},
	{"diag.UnderhillDiag", "PacketCapture", on_capture},
	{"inspect.InspectService", "Inspect", inspect_service_read},
	{"inspect.InspectService", "Update", inspect_service_update},
	{"profile.AzureProfiler", "Profile", on_profile},
	{"parapet.Diag", "Ping", on_ping},
	{"parapet.Diag", "WindowSize", on_window_size},
	{"parapet.Diag", "Signal", on_signal},
};

bool service_method(size_t i, const char **service, const char **method)
{
	if (i >= ARRAY_SIZE(methods))
		return false;
	*service = methods[i].service;
	*method = methods[i].name;
	return true;
}

void service_call(struct call *call, const struct ttrpc_request *request)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		const char *refusal;

		if (!pb_equal(request->service, methods[i].service) ||
		    !pb_equal(request->method, methods[i].name))
			continue;
		refusal = policy_call_refusal(&call->server->policy, methods[i].service,
					      methods[i].name);
		/* clients know this code, and that it means a server that runs */
		if (refusal)
			call_fail(call, TTRPC_UNIMPLEMENTED, "%s", refusal);
		else
			methods[i].handle(call, request->payload);
		return;
	}
	call_fail(call, TTRPC_UNIMPLEMENTED, "no method %.*s of service %.*s",
		  (int)MIN(request->method.size, (size_t)100), (const char *)request->method.data,
		  (int)MIN(request->service.size, (size_t)100),
		  (const char *)request->service.data);
}
