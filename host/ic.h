/*
 * Integration components offered to the guest: shutdown, heartbeat, time, key-value pairs, on the
 * I/O thread of the VMBus.
 */
#ifndef PARAPET_HOST_IC_H
#define PARAPET_HOST_IC_H

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
