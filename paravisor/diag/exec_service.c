/* Methods that start programs, wait for them, and reach the running ones. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/diag/run.h"
#include "paravisor/diag/run.h"

#define WORDS_MAX 4096

static const struct pb_bytes empty;

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

char *exec_parse_pair(struct pb_bytes message)
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

/* --- Exec and Run */

struct exec_request {
	struct words argv, pairs;
	u64 id[CHILD_STREAMS];
	bool clear_environment;
	struct child_spec spec;
};

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
			words_add(&e->pairs, exec_parse_pair(f.bytes));
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

static void close_sockets(struct child_spec *spec)
{
	for (int i = 0; i < CHILD_STREAMS; i++) {
		if (spec->socket[i] >= 0)
			close(spec->socket[i]);
		spec->socket[i] = -1;
	}
}

static bool take_sockets(struct call *call, struct exec_request *e)
{
	for (int i = 0; i < CHILD_STREAMS; i++) {
		if (!e->id[i])
			continue;
		e->spec.socket[i] = data_take(&call->server->data, e->id[i]);
		if (e->spec.socket[i] >= 0)
			continue;
		close_sockets(&e->spec);
		call_fail(call, TTRPC_UNKNOWN, "no data connection %llu",
			  (unsigned long long)e->id[i]);
		return false;
	}
	return true;
}

/* Starts what e->spec says, on its sockets. */
static void start_exec(struct call *call, struct exec_request *e)
{
	const struct child *child;

	if (!take_sockets(call, e))
		return;
	child = child_start(&call->server->children, &e->spec, NULL);
	if (child)
		call_reply_number(call, (u64)child->pid);
	else
		call_fail(call, TTRPC_UNKNOWN, "cannot run %.200s: %s", e->spec.argv[0],
			  strerror(errno));
}

/* Starts what e->spec says, on this call. */
static void start_run(struct call *call, struct exec_request *e)
{
	e->spec.raw = false;
	for (int i = 0; i < CHILD_STREAMS; i++)
		e->spec.attach[i] = e->id[i];
	run_start(call, &e->spec);
}

static void exec_or_run(struct call *call, struct pb_bytes payload,
			void (*start)(struct call *call, struct exec_request *e))
{
	static char *none[] = {NULL};
	struct exec_request e = {.spec.socket = {-1, -1, -1}};
	struct words environment = {0};
	bool good = parse_exec(payload, &e);

	if (good)
		build_environment(&e, &environment);
	e.spec.argv = e.argv.word;
	e.spec.environment = environment.word ? environment.word : none;
	e.spec.owner = call_connection(call);
	if (e.spec.tty)
		e.spec.raw = false;
	if (!good)
		call_malformed(call);
	else if (environment.failed)
		call_fail(call, TTRPC_UNKNOWN, "out of memory");
	else
		start(call, &e);
	words_free(&environment);
	words_free(&e.argv);
	words_free(&e.pairs);
}

void exec_service_exec(struct call *call, struct pb_bytes payload)
{
	exec_or_run(call, payload, start_exec);
}

void exec_service_run(struct call *call, struct pb_bytes payload)
{
	exec_or_run(call, payload, start_run);
}

/* --- Wait */

static void on_exit_code(void *context, int code)
{
	struct call *call = context;

	call->release = NULL;
	call_reply_number(call, (u64)code);
}

static void release_wait(struct call *call)
{
	child_cancel_wait(&call->server->children, call);
}

void exec_service_wait(struct call *call, struct pb_bytes payload)
{
	struct child_table *children = &call->server->children;
	u64 pid;

	if (!pb_find_u64(payload, 1, &pid)) {
		call_malformed(call);
		return;
	}
	call_defer(call, release_wait);
	if (!child_wait(children, (pid_t)pid, on_exit_code, call))
		call_fail(call, TTRPC_UNKNOWN, "no process %lld to wait for", (long long)pid);
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

void exec_service_window_size(struct call *call, struct pb_bytes payload)
{
	u64 v[3];

	if (!parse_triple(payload, v) || v[1] > UINT16_MAX || v[2] > UINT16_MAX)
		call_malformed(call);
	else if (child_resize(&call->server->children, (pid_t)v[0], (u16)v[1], (u16)v[2]))
		call_reply(call, empty);
	else
		call_fail(call, TTRPC_UNKNOWN, "process %lld has no terminal", (long long)v[0]);
}

void exec_service_signal(struct call *call, struct pb_bytes payload)
{
	u64 v[3];

	if (!parse_triple(payload, v) || v[1] > INT32_MAX)
		call_malformed(call);
	else if (child_signal(&call->server->children, (pid_t)v[0], (int)v[1]))
		call_reply(call, empty);
	else
		call_fail(call, TTRPC_UNKNOWN, "signal %lld does not reach process %lld",
			  (long long)v[1], (long long)v[0]);
}
