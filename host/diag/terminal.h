/* The user's terminal: raw mode, size, and the way back. */
#ifndef PARAPET_HOST_DIAG_TERMINAL_H
#define PARAPET_HOST_DIAG_TERMINAL_H

#include "common/types.h"

/* No echo, no lines, no signals from keys (keep_output: output is still processed). Undone at exit.
 */
bool terminal_raw(bool keep_output);
void terminal_restore(void);
/* False if standard output and input are no terminal, or it has no size. */
bool terminal_size(u16 *rows, u16 *columns);

/*
 * Looks for "~." at the start of a line, which ends the connection. Filters input in place: returns
 * the bytes that remain, sets *leave. state: 0 at first.
 */
size_t terminal_escape(int *state, char *data, size_t size, bool *leave);

#endif
