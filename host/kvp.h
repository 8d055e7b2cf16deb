/*
 * Key-value pairs of the guest over the control socket: a line "kvp {...}" asks, one line of JSON
 * answers.
 *
 *   {"op": "list" | "get" | "set" | "delete", "pool": 0, "key": "...", "value": "..."}
 *   {"ok": true}, with "pairs": [{"key": "...", "value": "..."}, ...] for list, "key" and "value"
 *   for get; or {"ok": false, "error": "..."}
 */
#ifndef PARAPET_HOST_KVP_H
#define PARAPET_HOST_KVP_H

#include "host/ic.h"

/* The longest request: key and value with each character escaped. */
#define KVP_LINE_MAX 16384

/* One request. Zero: none is running. */
struct kvp_job {
	struct ic *ic;
	enum kvp_op op;
	char *wanted; /* of a get: its key */
	void *items;  /* json_t */
	size_t bytes;
	bool running, truncated;
	void (*answer)(void *ctx, const char *line);
	void *ctx;
};

/*
 * Does what `text` (the JSON alone) asks for; answer is called once, inside of the call or later,
 * with a line and its newline. With the I/O thread's lock held, as all here.
 */
void kvp_job_start(struct kvp_job *job, struct ic *ic, const char *text,
		   void (*answer)(void *ctx, const char *line), void *ctx);
/* No answer will come. */
void kvp_job_cancel(struct kvp_job *job);

/* `parapet kvp` */
int kvp_command(int argc, char **argv);

#endif
