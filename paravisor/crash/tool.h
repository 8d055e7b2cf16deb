/* What the programs that dump processes share. */
#ifndef PARAPET_PARAVISOR_CRASH_TOOL_H
#define PARAPET_PARAVISOR_CRASH_TOOL_H

#include "common/types.h"

/* False after a log line: this VM's memory is not for its host (paravisor/diag/policy.c). */
bool crash_allowed(void);
/* The kernel log as the note of a core, KMSG_NOTE_SIZE bytes; free() it. NULL without memory. */
u8 *crash_kmsg_note(void);
/* A whole small file; *len without the NUL that is added. NULL: errno. free() it. */
char *crash_load(const char *path, size_t *len);

#endif
