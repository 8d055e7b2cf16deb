/* A program in VTL2 that has our standard streams, from its start to its exit code. */
#ifndef PARAPET_HOST_DIAG_SESSION_H
#define PARAPET_HOST_DIAG_SESSION_H

#include "host/diag/client.h"

#define SESSION_UNKNOWN 125 /* as env and others: the program's own code is not known */

enum { SESSION_IN, SESSION_OUT, SESSION_ERR, SESSION_STREAMS };

struct session_stream {
	int from, to; /* -1: at its end */
	size_t at;    /* of used bytes in buffer */
	struct pb_writer buffer;
};

struct session {
	/* set by the caller, after session_init */
	bool tty, raw, no_input, combine;
	struct pb_writer request; /* ExecRequest without streams and terminal */
	/* the rest is the session's own */
	struct diag_client *client;
	struct session_stream stream[SESSION_STREAMS];
	int output[SESSION_STREAMS]; /* our own, for the program's */
	bool attached;		     /* the streams flow in the call */
	bool input_closed;	     /* nobody takes input any more */
	bool escape;
	u16 rows, columns; /* of the terminal, as the program was told at its start */
	int escape_state, signal_fd, last_signal;
	u64 pid, credit;
	u32 call;	   /* whose answer is the exit code */
	u32 signal_stream; /* the call that passes a signal on, without an answer yet; 0: none */
};

void session_init(struct session *session, struct diag_client *client);
/* A variable of the program's environment; value NULL: without it. */
void session_variable(struct session *session, const char *name, const char *value);
/* Runs it to its end, and frees what the session has. Its exit code, or SESSION_UNKNOWN. */
int session_run(struct session *session);

#endif
