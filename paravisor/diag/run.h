/* Programs whose streams flow in the call that has started them. */
#ifndef PARAPET_PARAVISOR_DIAG_RUN_H
#define PARAPET_PARAVISOR_DIAG_RUN_H

#include "paravisor/diag/server.h"

/* Starts one, attached to the streams in spec->attach; the call ends when the program's output
 * does. */
void run_start(struct call *call, const struct child_spec *spec);

#endif
