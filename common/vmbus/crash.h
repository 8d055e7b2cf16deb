/*
 * The host's side of the crash dump device: takes ELF cores from the guest. A state machine without
 * files or clock; serialised with the server's calls. The guest is hostile: what comes in a wrong
 * order, size or place ends the dump, and the rest of it is read and thrown away.
 */
#ifndef PARAPET_COMMON_VMBUS_CRASH_H
#define PARAPET_COMMON_VMBUS_CRASH_H

#include "common/abi/crash.h"
#include "common/vmbus/pipe.h"
#include "common/vmbus/server.h"

struct vmbus_crash_ops {
	/* A dump begins. False: not now; nothing follows. Else ends in complete or abort. */
	bool (*start)(void *ctx);
	/* Its next bytes, len > 0. False: it has failed; abort follows. */
	bool (*write)(void *ctx, const void *data, u32 len);
	void (*complete)(void *ctx);
	void (*abort)(void *ctx, const char *why);
	/* The guest wanted to dump, and the device takes none (max_size 0). Optional. */
	void (*unwanted)(void *ctx);
	/* There is more in the ring: call vmbus_crash_run soon, not from here. */
	void (*again)(void *ctx);
};

struct vmbus_crash {
	struct vmbus_server *server;
	struct vmbus_channel *ch;
	const struct vmbus_crash_ops *ops;
	void *ctx;
	u64 max_size; /* bytes of a dump; 0: none are taken */
	bool open;
	bool dumping;	  /* between start and its end */
	bool expect_data; /* the next message is bare data, not a header */
	bool expect_good; /* and it belongs to a dump that goes on */
	u32 expect_len;
	struct crash_header expect_head; /* of the write that announced it */
	u64 done;			 /* bytes of this dump */
	struct vmbus_pipe pipe;
	/* an answer that the ring had no room for: nothing is read before it is out */
	u8 answer[sizeof(struct crash_config)];
	u32 answer_len;
	u8 msg[CRASH_CHUNK];
	u64 dumps, aborted, bad; /* bad: messages that broke a rule */
};

/* Offers the device. False: the offer failed. */
bool vmbus_crash_init(struct vmbus_crash *c, struct vmbus_server *server, u64 max_size,
		      const struct vmbus_crash_ops *ops, void *ctx);
/* After op again. */
void vmbus_crash_run(struct vmbus_crash *c);
/* Ends a dump that is under way, and the offer. Before the server is freed. */
void vmbus_crash_end(struct vmbus_crash *c);

#endif
