/* Relay: what its parts share; for paravisor/vmbus/relay*.c only. */
#ifndef PARAPET_PARAVISOR_VMBUS_RELAY_IMPL_H
#define PARAPET_PARAVISOR_VMBUS_RELAY_IMPL_H

#include "paravisor/vmbus/relay.h"

struct relay_channel {
	struct relay *relay;
	u16 host;		  /* the host's id */
	struct vmbus_channel *ch; /* the guest's; NULL: kept, or revoked and not yet released */
	const struct keeper *keeper;
	struct guid interface, instance;
	u16 subchannel;
};

struct keeper {
	const struct relay_keeper *ops;
	void *ctx;
};

struct relay {
	struct relay_config cfg;
	struct vmbus_client *client;
	struct relay_channel *channel[VMBUS_MAX_CHANNELS]; /* by the host's id */
	struct keeper keeper[RELAY_KEEPERS];
	unsigned keepers;
	struct keeper nobody; /* has what must be given back, and cannot be at once */
	u32 version;
	u64 offers, dropped_offers, opens;
};

/* Of every channel that is relayed; dev is its struct relay_channel. */
extern const struct vmbus_device_ops relay_device_ops;
/* Named so at the guest's server. */
#define RELAY_OFFER_NAME "relayed"

void relay_give_back(struct relay_channel *rc);
const char *relay_keeper_name(const struct keeper *keeper);

#endif
