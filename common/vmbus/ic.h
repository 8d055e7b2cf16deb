/*
 * Integration components offered to a guest: shutdown, heartbeat, timesync, key-value pairs. State
 * machines without clock or thread; serialised with the server's calls. One request at a time each.
 *
 * What the guest answers is hostile: sizes and state are checked, texts are cut and made UTF-8
 * (they may hold control characters: mind that before printing).
 */
#ifndef PARAPET_COMMON_VMBUS_IC_H
#define PARAPET_COMMON_VMBUS_IC_H

#include "common/abi/vmbus_ic.h"
#include "common/vmbus/pipe.h"
#include "common/vmbus/server.h"

#define IC_HEARTBEAT_MS 2000
#define IC_TIMESYNC_MS	5000
#define IC_KVP_MS	60000 /* for an answer; Linux gives its daemon 30 s */
#define IC_KVP_ITEMS	1024

/* Bytes of the UTF-8 text that comes of so many bytes of UTF-16, and its NUL */
#define KVP_TEXT_MAX(utf16) ((utf16)*3 / 2 + 1)

struct vmbus_ic;

struct vmbus_ic_ops {
	u64 (*now_ms)(void *ctx);    /* of a clock that does not jump */
	u64 (*filetime)(void *ctx);  /* wall clock, 100 ns since 1601; timesync */
	u64 (*reference)(void *ctx); /* the guest's reference counter, 100 ns; timesync */
	/* Negotiated with the guest's driver, or gone again. Optional. */
	void (*ready)(void *ctx, struct vmbus_ic *ic, bool ready);
	/* The guest's answer to vmbus_ic_shutdown: IC_S_OK or an error; it acts after it. */
	void (*shutdown_done)(void *ctx, u32 status);
	/*
	 * Items of vmbus_ic_kvp_enumerate, or the one of vmbus_ic_kvp_get; then the end of any KVP
	 * request with IC_S_OK or an error. Linux answers IC_E_NO_MORE for a key that is not there.
	 */
	void (*kvp_item)(void *ctx, const char *key, const char *value);
	void (*kvp_done)(void *ctx, u32 status);
};

struct vmbus_ic {
	struct vmbus_server *server;
	struct vmbus_channel *ch;
	const struct vmbus_ic_ops *ops;
	void *ctx;
	enum ic_type type;
	enum { IC_CLOSED, IC_NEGOTIATING, IC_READY, IC_FAILED } state;
	struct ic_version framework, message; /* chosen by the guest */
	struct vmbus_pipe pipe;
	u64 deadline; /* UINT64_MAX: none */
	u8 transaction;
	bool asked; /* an answer is due */
	bool more;  /* the ring was not drained */
	u64 sent, received;
	/* heartbeat */
	u64 sequence, last_beat; /* last_beat: now_ms of the last answer, 0 none */
	/* timesync */
	bool synced;
	/* KVP */
	bool kvp_running;
	u8 kvp_op, kvp_pool;
	u32 kvp_index;
	char kvp_key[KVP_TEXT_MAX(KVP_KEY_MAX)]; /* of a get */
};

/* Offers the component `type` with its usual instance. False: the offer failed. */
bool vmbus_ic_init(struct vmbus_ic *ic, struct vmbus_server *server, enum ic_type type,
		   const struct vmbus_ic_ops *ops, void *ctx);
/* Call vmbus_ic_tick at this time of now_ms, or later. */
u64 vmbus_ic_deadline(const struct vmbus_ic *ic);
void vmbus_ic_tick(struct vmbus_ic *ic);

/* flags: IC_SHUTDOWN_*. False: the guest's driver is not there, or has not answered the last. */
bool vmbus_ic_shutdown(struct vmbus_ic *ic, u32 flags, const char *reason);
/* Asks for all pairs of a pool; KVP_POOL_AUTO: what the guest says of its system. False as above.
 */
bool vmbus_ic_kvp_enumerate(struct vmbus_ic *ic, enum kvp_pool pool);
/* A key has at least one character. False: no UTF-8, or longer than the guest takes. */
bool vmbus_ic_kvp_key_valid(const char *key);
bool vmbus_ic_kvp_value_valid(const char *value);
/*
 * One pair of a pool. False as above, or the key or value is not valid. Linux' driver (6.1) loses
 * the first four bytes of the answer to a get: a list is safer.
 */
bool vmbus_ic_kvp_get(struct vmbus_ic *ic, enum kvp_pool pool, const char *key);
bool vmbus_ic_kvp_set(struct vmbus_ic *ic, enum kvp_pool pool, const char *key, const char *value);
bool vmbus_ic_kvp_delete(struct vmbus_ic *ic, enum kvp_pool pool, const char *key);
/* The guest's clock is to be stepped at once (the VM was restored). */
void vmbus_ic_timesync_step(struct vmbus_ic *ic);
/* Milliseconds since the guest answered a heartbeat; UINT64_MAX: never. */
u64 vmbus_ic_heartbeat_age(const struct vmbus_ic *ic);

#endif
