/* The paravisor process towards diagnostics: its state as a tree, pause, resume, restart. */
#ifndef PARAPET_PARAVISOR_INSPECTION_H
#define PARAPET_PARAVISOR_INSPECTION_H

#include "paravisor/config.h"
#include "paravisor/diag/control.h"

/*
 * Starts the thread that answers. config must stay. pending: what the process before left to be
 * answered, its socket included; NULL at a first start. paused: the processors are held. False
 * after a log line.
 */
bool inspection_start(const struct config *config, const struct control_pending *pending,
		      bool paused);

#endif
