/* The paravisor process towards diagnostics: its state as a tree, pause and resume. */
#ifndef PARAPET_PARAVISOR_INSPECTION_H
#define PARAPET_PARAVISOR_INSPECTION_H

#include "paravisor/config.h"

/* Starts the thread that answers. config must stay. False after a log line. */
bool inspection_start(const struct config *config);

#endif
