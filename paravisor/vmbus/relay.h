/*
 * Passes the host's VMBus offers on to the guest: a client of the host and the guest's server,
 * joined channel by channel. The rings stay between guest and host: the guest's page lists, event
 * flag and connection id go to the host unchanged, so that each signals the other without VTL2.
 * What VTL2 wants for itself, a keeper takes out of the offers before the guest sees them.
 *
 * Pure: what leaves goes through the client's and the server's ops. No locks: the caller serialises
 * all calls of server, client and relay.
 */
#ifndef PARAPET_PARAVISOR_VMBUS_RELAY_H
#define PARAPET_PARAVISOR_VMBUS_RELAY_H

#include "common/vmbus/client.h"
#include "common/vmbus/server.h"

struct relay;

struct relay_config {
	/* HvPostMessage to the host, see struct vmbus_client_ops */
	int (*post)(void *ctx, u32 connection, const void *msg, size_t len);
	void *ctx;
	struct vmbus_server *guest;
	u32 connection; /* where the host is to be asked; 0: VMBUS_CONN_VTL2_REDIRECT */
};

/* NULL without memory. */
struct relay *relay_new(const struct relay_config *config);
/* After vmbus_server_free() of the guest's. */
void relay_free(struct relay *r);

/* Begins: contact, then offers. 0, or -errno when the host has no VMBus. */
int relay_connect(struct relay *r);
/* A message of the host, copied out of its slot. */
void relay_message(struct relay *r, const void *msg, size_t len);
void relay_pump(struct relay *r);
bool relay_waiting(const struct relay *r);

/* Ops of the guest's server that are the relay's. */
void relay_tl_connect(struct relay *r, const struct guid *endpoint, const struct guid *service,
		      const struct guid *silo);

/* Who keeps offers for VTL2: a channel that it wants is its own until it has released it. */
struct relay_keeper {
	bool (*wants)(void *ctx, const struct vmbus_msg_offer *offer);
	/* Answers to requests by the client functions, see struct vmbus_client_ops; optional. */
	void (*opened)(void *ctx, u16 channel, u32 status);
	void (*gpadl_created)(void *ctx, u16 channel, u32 gpadl, u32 status);
	void (*gpadl_torndown)(void *ctx, u16 channel, u32 gpadl);
	/* Stop using it, then relay_keeper_release(). */
	void (*rescinded)(void *ctx, u16 channel);
	const char *name; /* for inspection and saved states; NULL: "vtl2" */
};
#define RELAY_KEEPERS 4
/* Before relay_connect(); the first who wants an offer gets it. False: too many keepers. */
bool relay_add_keeper(struct relay *r, const struct relay_keeper *keeper, void *ctx);
/* For a keeper's requests. */
struct vmbus_client *relay_host(struct relay *r);
void relay_keeper_release(struct relay *r, u16 channel);

/*
 * --- saved state: relay and client go on in another process, and neither guest nor host notices.
 * In the new one: relay_new, relay_add_keeper for each, vmbus_server_restore of the guest's server,
 * relay_restore (no relay_connect), vmbus_server_restore_done and relay_restore_done.
 *
 * Keepers are found again by their names. What they have asked the host for is still asked for;
 * what they know of their channels they save themselves. A channel whose keeper is not there any
 * more is given back to the host: the guest must not see it, and a VM should not end for a device
 * that only VTL2 used.
 */
void relay_save(const struct relay *r, struct pb_writer *w);
/* False: malformed, or it does not fit the server's state; r is only good for relay_free. */
bool relay_restore(struct relay *r, struct pb_bytes state);
void relay_restore_done(struct relay *r);

struct relay_info {
	struct vmbus_client_info host;
	unsigned relayed, kept;
	u64 offers, dropped_offers, opens;
};
void relay_describe(const struct relay *r, struct relay_info *info);

struct relay_channel_info {
	struct guid interface, instance;
	u16 subchannel;
	u16 guest;	    /* channel id there; 0: the guest does not have it */
	const char *keeper; /* NULL: relayed */
};
/* False: the host offers no channel of this id (below VMBUS_MAX_CHANNELS). */
bool relay_channel(const struct relay *r, u16 host, struct relay_channel_info *info);

#endif
