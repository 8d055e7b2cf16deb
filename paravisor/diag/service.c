/* The methods of the diagnostics services. */
#include "paravisor/diag/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define CRASH_DELAY_NS 100000000ull /* for the reply to leave */
#define CAPTURE_CONNS  64

static const struct pb_bytes empty;

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
		call_malformed(call);
	free(request.path);
}

static void on_read_file(struct call *call, struct pb_bytes payload)
{
	struct file_request request = {0};

	if (parse_file(payload, &request))
		send_file(call, request.path ? request.path : "", request.follow, request.conn);
	else
		call_malformed(call);
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
			pair = exec_parse_pair(f.bytes);
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
		call_malformed(call);
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

	if (!pb_find_u64(payload, 1, &pid)) {
		call_malformed(call);
		return;
	}
	call_reply(call, empty);
	log_info("crash of process %lld requested", (long long)pid);
	if (pid > INT32_MAX || !tree_is_ours((pid_t)pid)) {
		log_warn("process %lld is none of the paravisor's: nothing to crash",
			 (long long)pid);
	} else if ((pid_t)pid == getpid()) {
		server->crash_timer.expired = crash_now;
		loop_arm(&server->loop, &server->crash_timer, monotonic_ns() + CRASH_DELAY_NS);
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
		call_malformed(call);
	else if (operation == CAPTURE_START)
		call_fail(call, TTRPC_UNKNOWN, "the paravisor serves no NIC to capture from");
	else
		call_reply(call, empty); /* num_streams = 0 */
}

/* The service is there; no profiler is: the caller reads an end of file. */
static void on_profile(struct call *call, struct pb_bytes payload)
{
	u64 id;

	if (!pb_find_u64(payload, 1, &id)) {
		call_malformed(call);
		return;
	}
	close_conn_id(&call->server->data, id);
	call_reply(call, empty);
}

/* --- all of them; who may call what is told by policy.c */

static const struct method {
	const char *service, *name;
	void (*handle)(struct call *call, struct pb_bytes payload);
} methods[] = {
	{"diag.OpenhclDiag", "Ping", on_ping},
	{"diag.OpenhclDiag", "MemoryProfileTrace", on_memory_profile},
	{"diag.UnderhillDiag", "Exec", exec_service_exec},
	{"diag.UnderhillDiag", "Wait", exec_service_wait},
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
	{"parapet.Diag", "Run", exec_service_run},
	{"parapet.Diag", "WindowSize", exec_service_window_size},
	{"parapet.Diag", "Signal", exec_service_signal},
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
