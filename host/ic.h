/*
 * Integration components offered to the guest: shutdown, heartbeat, time, key-value pairs, on the
 * I/O thread of the VMBus.
 */
#ifndef PARAPET_HOST_IC_H
#define PARAPET_HOST_IC_H

#include "common/abi/vmbus_ic.h"
#include "host/vmbus.h"

struct ic;

/* Offers them, before vmbus_start(). NULL after an error line. */
struct ic *ic_create(struct vm *vm);
/* After vmbus_stop(). */
void ic_destroy(struct ic *ic);

/*
 * Asks the guest to shut itself down, or to reboot. False: its driver is not there, or has not
 * answered the last request. With the I/O thread's lock held.
 */
bool ic_shutdown(struct ic *ic, bool reboot);

#define IC_KVP_POOL_LAST 4

struct ic_kvp_request {
	enum kvp_op op;
	enum kvp_pool pool; /* up to IC_KVP_POOL_LAST */
	const char *key, *value;
};
/* Texts are UTF-8 of the guest's choice. done comes last, once, after the call. */
struct ic_kvp_sink {
	void (*item)(void *ctx, const char *key, const char *value);
	void (*done)(void *ctx, u32 status); /* IC_S_OK, IC_E_* */
};
/*
 * Asks the guest for pairs, or changes one. 0, and done will be called; -ENODEV: its driver is not
 * there; -EBUSY: an earlier question is not answered; -EINVAL: key or value. With the I/O thread's
 * lock held.
 */
int ic_kvp(struct ic *ic, const struct ic_kvp_request *request, const struct ic_kvp_sink *sink,
	   void *ctx);
/* ctx will not be called any more. */
void ic_kvp_forget(struct ic *ic, const void *ctx);

#define IC_TEXT_MAX 128
#define IC_PAIRS    24

struct ic_pair {
	char key[64], value[IC_TEXT_MAX]; /* printable ASCII without quotes and \\, cut */
};

struct ic_info {
	bool shutdown, heartbeat, timesync, kvp; /* the guest's driver is there */
	u64 heartbeat_age_ms;			 /* UINT64_MAX: never */
	u64 heartbeats;
	u64 time_samples;
	u32 shutdown_status; /* the guest's answer, UINT32_MAX: none yet */
	/* What the guest says of itself: FullyQualifiedDomainName, OSName, OSVersion, ... */
	struct ic_pair pair[IC_PAIRS];
	unsigned pairs;
};
/* With the I/O thread's lock held. */
void ic_describe(struct ic *ic, struct ic_info *info);

#endif
