/* The diagnostics server: what its parts share. */
#ifndef PARAPET_PARAVISOR_DIAG_SERVER_H
#define PARAPET_PARAVISOR_DIAG_SERVER_H

#include "common/diag/ttrpc.h"
#include "paravisor/diag/child.h"
#include "paravisor/diag/data.h"
#include "paravisor/diag/link.h"
#include "paravisor/diag/policy.h"

/* AF_VSOCK ports in VTL2 */
#define DIAG_PORT_CONTROL 1
#define DIAG_PORT_DATA	  2

#define CONNECTIONS_MAX 64
#define CALLS_MAX	64		    /* at a time, of one connection; also of streams */
#define REQUEST_MAX	(1u * 1024 * 1024)  /* bytes; nobody asks for more than a few KiB */
#define REPLIES_MAX	(24u * 1024 * 1024) /* bytes that wait for a peer that does not read */
#define REPLIES_PAUSE	(1u * 1024 * 1024)  /* above that no more requests are read */
#define DATA_PAUSE	(64u * 1024)	    /* above that no more data is to be sent */

struct diag_options {
	int control_listener, data_listener; /* listening stream sockets, non-blocking */
	const char *link_path;		     /* of the paravisor process; NULL: none */
	struct policy policy;
	const char *revision; /* of the sources; NULL: not known */
};

struct listener {
	struct loop_handler handler;
	struct diag_server *server;
	int fd;
};

struct diag_server {
	struct loop loop;
	struct data_table data;
	struct child_table children;
	struct link link;
	struct policy policy;
	const char *revision;
	struct listener control, data_listener;
	struct loop_handler signals;
	struct loop_timer crash_timer;
	int signal_fd;
	struct conn *connections;
	unsigned connection_count;
	u64 last_connection;
	u64 calls; /* since the start */
	char filter[128];
};

/* One request that is being answered. */
struct inspect_job;
struct run;
struct call {
	struct conn *conn;
	struct diag_server *server;
	struct call *next, **link;
	struct loop_timer timer;
	/* what is due when the time of the request is over; NULL: it fails */
	void (*timeout)(struct call *call);
	/* releases what the call waits for; before it is freed in any case */
	void (*release)(struct call *call);
	/* NULL where no data is expected: see call_stream */
	void (*data)(struct call *call, u8 flags, struct pb_bytes message);
	void (*writable)(struct call *call);
	struct inspect_job *job;
	struct run *run;
	u64 timeout_ns;
	u32 stream;
};

/* Exactly one of these ends a call. */
void call_reply(struct call *call, struct pb_bytes payload);
void call_reply_number(struct call *call, u64 value); /* in the field 1 */
void call_malformed(struct call *call);
void call_fail(struct call *call, enum ttrpc_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The answer comes later: starts the clock of the request. */
void call_defer(struct call *call, void (*release)(struct call *call));
u64 call_connection(const struct call *call);
/*
 * Makes it a stream. data: a message of the caller's, and the flags that came with it. writable:
 * what has gone out makes room again, after call_congested; may not end the call. False if the
 * connection has too many of them.
 */
bool call_stream(struct call *call,
		 void (*data)(struct call *call, u8 flags, struct pb_bytes message),
		 void (*writable)(struct call *call));
/* Sends a message of the call's stream before its end. */
void call_data(struct call *call, struct pb_bytes message);
/* So much waits for the peer that data has to wait for call->writable. */
bool call_congested(struct call *call);

/* A new control connection (conn.c). */
void conn_accept(struct diag_server *server, int fd);
void conn_close_all(struct diag_server *server);

/* Finds the method and starts it (service.c). payload is valid during the call only. */
void service_call(struct call *call, const struct ttrpc_request *request);
/* The method number i; false when there are no more. */
bool service_method(size_t i, const char **service, const char **method);

/* Programs (exec_service.c). */
void exec_service_exec(struct call *call, struct pb_bytes payload);
void exec_service_run(struct call *call, struct pb_bytes payload);
void exec_service_wait(struct call *call, struct pb_bytes payload);
void exec_service_window_size(struct call *call, struct pb_bytes payload);
void exec_service_signal(struct call *call, struct pb_bytes payload);
/* "NAME=VALUE", or "NAME" without a value, of an EnvPair; to be freed. NULL if malformed. */
char *exec_parse_pair(struct pb_bytes message);

/* InspectService (inspect_service.c). */
void inspect_service_read(struct call *call, struct pb_bytes payload);
void inspect_service_update(struct call *call, struct pb_bytes payload);

/* The server's own part of the tree (tree.c). */
enum { TREE_TOKEN_VM, TREE_TOKEN_BOOT, TREE_TOKEN_CONTROL, TREE_TOKENS };
extern const char *const tree_delegated[TREE_TOKENS];
void tree_describe(struct diag_server *server, struct inspect *root);
/* Is it one of the processes of this program (by executable)? Also by number only: name may be
 * NULL. */
bool tree_is_ours(pid_t pid);

/* Serves until SIGTERM; takes the listeners. Exit code. */
int diag_serve(const struct diag_options *options);

#endif
