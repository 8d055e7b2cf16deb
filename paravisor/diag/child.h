/* Programs that clients have started, and what connects them. */
#ifndef PARAPET_PARAVISOR_DIAG_CHILD_H
#define PARAPET_PARAVISOR_DIAG_CHILD_H

#include <sys/types.h>

#include "paravisor/diag/pump.h"

#define CHILDREN_MAX 512 /* running ones */
#define EXITED_MAX   256 /* ended, and nobody has asked yet how; then the oldest is forgotten */

enum { CHILD_STDIN, CHILD_STDOUT, CHILD_STDERR, CHILD_STREAMS };

struct child_spec {
	char **argv, **environment; /* NULL-terminated */
	int socket[CHILD_STREAMS];  /* -1 = the server's own stream */
	/* Streams without a socket whose other ends the caller wants: see child_start. */
	bool attach[CHILD_STREAMS];
	bool tty, combine_stderr, raw;
	u16 rows, columns; /* of the terminal, 0 = not known */
	u64 owner;	   /* the control connection that asked for it */
};

struct child {
	struct child_table *table;
	struct child *next;
	struct pump *stream[CHILD_STREAMS];
	struct loop_timer kill_timer, weight_timer;
	void (*waiter)(void *context, int code);
	void *context;
	u64 owner;	     /* 0 = it is gone */
	const int *terminal; /* of who has attached to it; NULL: the streams have it */
	pid_t pid;
	int code;
	bool exited, tty, connected, hung_up;
};

struct child_table {
	struct loop *loop;
	struct child *first; /* newest first */
	unsigned running, exited;
};

void child_init(struct child_table *table, struct loop *loop);
/*
 * Starts a program; takes the sockets in any case. NULL with errno: what open, fork or exec said.
 * end[] gets the other ends of the streams to attach to (non-blocking, the caller's), else -1; with
 * a terminal, whose output is one stream, both of its ends are the same. NULL if there are none.
 */
struct child *child_start(struct child_table *table, const struct child_spec *spec,
			  int end[CHILD_STREAMS]);
/*
 * waiter gets the exit code (0..255; 255 for death by signal), at once if it is known already.
 * False if nobody by that number is to be waited for.
 */
bool child_wait(struct child_table *table, pid_t pid, void (*waiter)(void *context, int code),
		void *context);
/* The waiter is no longer there; its child can be waited for again. */
void child_cancel_wait(struct child_table *table, void *context);
/* Collects programs that have ended: on SIGCHLD. */
void child_reap(struct child_table *table);
/*
 * A control connection is closed. Its programs go on; those whose data connections the peer has all
 * closed as well are hung up, and killed a little later if that does not help.
 */
void child_owner_gone(struct child_table *table, u64 owner);
/* Nobody is interested in it any more: SIGHUP, and a little later SIGKILL. */
void child_hang_up(struct child *child);
/* Size of its terminal. False if it is not a running program with one. */
bool child_resize(struct child_table *table, pid_t pid, u16 rows, u16 columns);
/* Sends a signal to its process group. False if it does not run. */
bool child_signal(struct child_table *table, pid_t pid, int number);
/* Kills and forgets all. */
void child_free(struct child_table *table);

#endif
