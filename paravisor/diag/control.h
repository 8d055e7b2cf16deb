/* The answering side of the local link, for the paravisor process (paravisor/diag/link.h). */
#ifndef PARAPET_PARAVISOR_DIAG_CONTROL_H
#define PARAPET_PARAVISOR_DIAG_CONTROL_H

#include "common/diag/inspect.h"
#include "paravisor/diag/link.h"

/* A request that another process of the same program will answer. */
struct control_pending {
	int listener, client; /* sockets; -1: none */
	struct link_header request;
};

/*
 * What the process offers. Calls come one after the other, on the thread that serves. Those that
 * return a text: NULL = done, else why not (a constant, or a buffer of the callee). A missing
 * function answers that it is not supported.
 */
struct control_ops {
	void *context;
	/* Describes the whole tree of this process: vm, control_state, boot, trace/filter. */
	void (*inspect)(void *context, struct inspect *root);
	const char *(*start)(void *context, char **arguments, char **environment);
	/* Returns only if it fails, or if the caller is to answer. */
	const char *(*restart)(void *context, const struct control_pending *pending);
	const char *(*pause)(void *context);
	const char *(*resume)(void *context);
	/* Appends the state to out. */
	const char *(*save)(void *context, struct pb_writer *out);
};

/* A listening socket at that path, which is replaced. -1 with errno. */
int control_listen(const char *path);
/*
 * Serves clients one after the other, for ever; returns only if listener fails. Needs 64 KiB stack.
 * pending (or NULL): the first client, whose request gets a good answer at once.
 */
void control_serve(int listener, const struct control_ops *ops,
		   const struct control_pending *pending);

#endif
