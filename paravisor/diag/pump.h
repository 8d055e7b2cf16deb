/* Moves bytes from one descriptor to another until an end comes. */
#ifndef PARAPET_PARAVISOR_DIAG_PUMP_H
#define PARAPET_PARAVISOR_DIAG_PUMP_H

#include "paravisor/diag/loop.h"

#define PUMP_BUFFER 4096u
/* A kernel log record with its NUL; the reader on the other side has no larger buffer. */
#define PUMP_RECORD 2048u

enum pump_kind {
	PUMP_INPUT,	     /* data socket to program: done at either end's end */
	PUMP_OUTPUT,	     /* program to data socket; the socket stays until the peer closes it */
	PUMP_RECORDS,	     /* log device to data socket, a NUL after each read */
	PUMP_RECORDS_FOLLOW, /* the same, for ever */
	PUMP_WATCH,	     /* an output socket that somebody else writes to: see pump_finish */
};

struct pump {
	struct loop *loop;
	enum pump_kind kind;
	int from, to; /* non-blocking and owned; -1 when closed */
	struct loop_handler from_handler, to_handler;
	struct loop_task task;
	bool from_polled, from_end, peer_closed, lingering;
	unsigned errors; /* in a row */
	size_t at, used;
	struct pump **slot; /* whose pointer to this pump is cleared at its end */
	void (*ended)(void *context);
	void *context;
	struct pump *next_lingering, **linger_link;
	u8 buffer[PUMP_BUFFER];
};

/*
 * Starts one and takes from and to, also on failure (NULL). *slot, if any, holds it until it ends;
 * ended, if any, is then called, and also when the peer of a PUMP_INPUT has closed its end.
 */
struct pump *pump_start(struct loop *loop, enum pump_kind kind, int from, int to,
			struct pump **slot, void (*ended)(void *context), void *context);
/* The peer gets an end of file now and has to close; the pump ends after that, by itself. */
void pump_finish(struct pump *pump);
/* Ends it at once, without a call of ended. */
void pump_stop(struct pump *pump);
/* Forgets the owner: what remains to be done is done without it. */
void pump_orphan(struct pump *pump);

#endif
