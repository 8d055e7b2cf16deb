/*
 * The local link: the diagnostics process asks the paravisor process, one message at a time each
 * way, over a unix SOCK_SEQPACKET socket. Either process may end and come back.
 *
 * A message is struct link_header and at most LINK_CHUNK bytes; a longer payload goes on in more
 * messages of the same id, marked LINK_MORE but the last. Payloads of requests are protobuf
 * messages (enum link_field); of answers: an encoded inspect Node, state bytes, or the text of an
 * error.
 */
#ifndef PARAPET_PARAVISOR_DIAG_LINK_H
#define PARAPET_PARAVISOR_DIAG_LINK_H

#include "common/protobuf.h"
#include "paravisor/diag/loop.h"

#define LINK_PATH     "/run/parapet.control"
#define LINK_CHUNK    32768u
#define LINK_BYTES    (8 * MiB) /* whole payload */
#define LINK_WAITING  256u	/* requests without an answer */
#define LINK_PATH_MAX 4096u	/* an inspect path, or a new value */

enum link_op {
	LINK_INSPECT = 1, /* PATH, DEPTH, LEVEL; VALUE present: change */
	LINK_START = 2,	  /* ARGUMENT..., ENVIRONMENT... ("NAME=VALUE", or "NAME": remove) */
	LINK_RESTART = 3,
	LINK_PAUSE = 4,
	LINK_RESUME = 5,
	LINK_SAVE = 6, /* answer: the saved state */
	LINK_OPS,
};

enum link_field {
	LINK_FIELD_PATH = 1,
	LINK_FIELD_DEPTH = 2,
	LINK_FIELD_LEVEL = 3,
	LINK_FIELD_VALUE = 4,
	LINK_FIELD_ARGUMENT = 5,
	LINK_FIELD_ENVIRONMENT = 6,
};

#define LINK_MORE   BIT(0)
#define LINK_FAILED BIT(1) /* an answer: the payload says why */

struct link_header {
	u32 id; /* chosen by the asking side */
	u16 op; /* enum link_op; repeated in the answer */
	u16 flags;
};
_Static_assert(sizeof(struct link_header) == 8, "one layout on both sides");

/* --- the asking side */
struct link_request;
struct link {
	struct loop_handler handler;
	struct loop *loop;
	const char *path;
	int fd; /* -1: not connected; tried again at the next request */
	u32 last_id;
	unsigned waiting;
	struct link_request *requests;
};

/* failed: the answer is a text. Called once, never from inside link_ask. */
typedef void (*link_answer_fn)(void *context, bool failed, struct pb_bytes answer);

void link_init(struct link *link, struct loop *loop, const char *path);
void link_free(struct link *link);
bool link_connected(struct link *link);
/* False if nobody can be asked: reason tells why. */
bool link_ask(struct link *link, enum link_op op, struct pb_bytes request, link_answer_fn answer,
	      void *context, const char **reason);
/* No answers to context any more. */
void link_cancel(struct link *link, void *context);

/* --- both sides: sends one payload in pieces. False with errno. */
bool link_send(int fd, struct link_header header, struct pb_bytes payload);

#endif
