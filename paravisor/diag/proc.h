/* What VTL2's kernel tells under /proc, as inspect nodes. */
#ifndef PARAPET_PARAVISOR_DIAG_PROC_H
#define PARAPET_PARAVISOR_DIAG_PROC_H

#include "common/diag/inspect.h"

/* Calls visit for each process, in order of their number, until it returns false. */
void proc_each(bool (*visit)(void *context, int pid), void *context);
/* The program's own name for itself (first word of its command line, without folders). */
bool proc_name(int pid, char *name, size_t size);

/* Directories rlimit (values can be changed) and tasks of one process. */
void proc_describe_host(struct inspect *i, int pid);
/* Directories meminfo, interrupts, processes. */
void proc_describe(struct inspect *i);
/* Parsers of the three, on text (which they change). */
void proc_describe_meminfo(struct inspect *i, char *text);
void proc_describe_interrupts(struct inspect *i, char *text);

#endif
