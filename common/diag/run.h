/*
 * Messages of parapet.Diag/Run: a program whose standard streams flow in the call itself, so that
 * one connection carries all of it. A streaming call of ttrpc; our own, beside Exec and Wait, which
 * need a connection for each stream.
 *
 * The request is an ExecRequest in which a number other than 0 for a stream (fields 4 to 6) means
 * that it flows in the call. The caller's data frames carry {input = 1}, the last of them the flag
 * REMOTE_CLOSED; the server's {pid = 1, output = 2, error = 3, credit = 4, input_closed = 5}, the
 * first of them the pid. The answer, with {exit_code = 1}, comes when the program has ended and
 * nobody holds its output any more.
 *
 * Of the input not more than RUN_WINDOW bytes may be on their way beyond what the server has given
 * credit for: so the connection stays free for other calls while the program does not read.
 */
#ifndef PARAPET_COMMON_DIAG_RUN_H
#define PARAPET_COMMON_DIAG_RUN_H

#include "common/protobuf.h"

#define RUN_WINDOW 65536u

/* In an ExecRequest, of our own: the terminal's size {rows = 1, columns = 2}; others ignore it. */
#define EXEC_WINDOW_FIELD 1000

enum { RUN_OUTPUT, RUN_ERROR, RUN_OUTPUTS };

/* From the server; what is 0 or empty is not there. */
struct run_event {
	u64 pid;
	struct pb_bytes text[RUN_OUTPUTS];
	u64 credit; /* so many more bytes of input are taken */
	bool input_closed;
};

/* Parsing: false for what is not decodable; bytes point into message. */
void run_event_write(struct pb_writer *w, const struct run_event *event);
bool run_event_parse(struct pb_bytes message, struct run_event *event);
void run_input_write(struct pb_writer *w, struct pb_bytes input);
bool run_input_parse(struct pb_bytes message, struct pb_bytes *input);

#endif
