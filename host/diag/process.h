/* A process of the paravisor, named by the user. */
#ifndef PARAPET_HOST_DIAG_PROCESS_H
#define PARAPET_HOST_DIAG_PROCESS_H

#include "host/diag/client.h"

struct process_choice {
	const char *name; /* NULL and no pid: the one that serves the guest */
	u64 pid;
};

/* Options 'n' (name) and 'p' (number). False (and said) if the number is none. */
bool process_option(struct process_choice *choice, int option, const char *text);
/* Fills in the pid, by inspect mesh/hosts if a name is given. False: said on stderr. */
bool process_find(struct diag_client *client, struct process_choice *choice);

#endif
