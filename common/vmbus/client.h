/*
 * A VMBus client: connects to a server as a guest does, for a paravisor that relays its host's
 * offers. Requests go out in order; answers come by struct vmbus_client_ops. No locks: the caller
 * serialises. The host is not trusted: a message that answers nothing asked, or names what does not
 * exist, is dropped and counted.
 */
#ifndef PARAPET_COMMON_VMBUS_CLIENT_H
#define PARAPET_COMMON_VMBUS_CLIENT_H

#include "common/abi/vmbus.h"
#include "common/vmbus/server.h"

struct vmbus_client;

struct vmbus_client_ops {
	/*
	 * HvPostMessage. 0: taken. -EAGAIN: no buffer, try again in vmbus_client_pump. -ENXIO: no
	 * such connection. Else: lost.
	 */
	int (*post)(void *ctx, u32 connection, const void *msg, size_t len);
	/* version 0: the host takes none of ours. */
	void (*connected)(void *ctx, u32 version, u32 features);
	void (*offer)(void *ctx, const struct vmbus_msg_offer *offer);
	void (*offers_delivered)(void *ctx);
	/* Stop using the channel, then vmbus_client_release. */
	void (*rescinded)(void *ctx, u16 channel);
	void (*opened)(void *ctx, u16 channel, u32 status);
	void (*gpadl_created)(void *ctx, u16 channel, u32 gpadl, u32 status);
	void (*gpadl_torndown)(void *ctx, u16 channel, u32 gpadl);
	void (*modified)(void *ctx, u16 channel, u32 status);
	void (*tl_result)(void *ctx, const struct guid *endpoint, const struct guid *service,
			  u32 status);
	void (*conn_modified)(void *ctx, u8 state);
	void (*unloaded)(void *ctx);
	void (*paused)(void *ctx);
};

struct vmbus_client_config {
	const char *name;
	u32 connection, fallback; /* for the contact; fallback when there is no such: 0 none */
	u8 target_vtl;
	u32 target_vp;
	u32 features;		      /* to ask for */
	u32 min_version, max_version; /* 0: 4.0, 6.0 */
	struct guid client_id;	      /* sent with VMBUS_F_CLIENT_ID */
	u64 monitor_p2c, monitor_c2p;
};

struct vmbus_client *vmbus_client_new(const struct vmbus_client_config *config,
				      const struct vmbus_client_ops *ops, void *ctx);
void vmbus_client_free(struct vmbus_client *c);

/* A message of the host, copied out of the slot. */
void vmbus_client_message(struct vmbus_client *c, const void *msg, size_t len);
void vmbus_client_pump(struct vmbus_client *c);
bool vmbus_client_waiting(const struct vmbus_client *c);

/*
 * Requests: 0; -EINVAL: the channel or GPADL is not in a state for it; -ENOBUFS: too much waits;
 * -EOPNOTSUPP: not negotiated.
 */
int vmbus_client_connect(struct vmbus_client *c); /* tries versions downward; op connected */
int vmbus_client_request_offers(struct vmbus_client *c);
int vmbus_client_open(struct vmbus_client *c, u16 channel, const struct vmbus_open *open);
int vmbus_client_close(struct vmbus_client *c, u16 channel);
/* data: words as in struct vmbus_gpadl. Ids may be the same on several channels. */
int vmbus_client_gpadl(struct vmbus_client *c, u16 channel, u32 gpadl, u16 ranges, const u64 *data,
		       u16 words);
/* The answer may come as late as the close of the channel; never, if it is rescinded. */
int vmbus_client_gpadl_teardown(struct vmbus_client *c, u16 channel, u32 gpadl);
/* The id is the host's again; GPADLs of it are forgotten. While paused: -EINVAL, to be tried again.
 */
int vmbus_client_release(struct vmbus_client *c, u16 channel);
int vmbus_client_modify(struct vmbus_client *c, u16 channel, u32 vp);
int vmbus_client_tl_connect(struct vmbus_client *c, const struct guid *endpoint,
			    const struct guid *service, const struct guid *silo);
int vmbus_client_modify_conn(struct vmbus_client *c, u64 monitor_p2c, u64 monitor_c2p);
int vmbus_client_unload(struct vmbus_client *c);
int vmbus_client_pause(struct vmbus_client *c);
int vmbus_client_resume(struct vmbus_client *c);

/*
 * --- saved state: the client goes on in another process, and the host notices nothing. An answer
 * that comes after the restore counts as asked for.
 */

/* Not from within an op. At most 4 MiB of messages that wait, and 100 KiB. */
void vmbus_client_save(const struct vmbus_client *c, struct pb_writer *w);
/*
 * Into a client just made with the same config; no op is called. False: malformed, or a state that
 * no client gets into; c is only good for vmbus_client_free.
 */
bool vmbus_client_restore(struct vmbus_client *c, struct pb_bytes state);
/* The host has offered the channel, and it was not released. */
bool vmbus_client_knows(const struct vmbus_client *c, u16 channel);

struct vmbus_client_info {
	const char *state;
	u32 version, features, connection;
	unsigned channels, gpadls, queued;
	u64 messages_in, messages_out, lost;
	u64 dropped; /* the host's mistakes */
	u64 stale;   /* answers that a release or the end of a connection overtook */
};

void vmbus_client_describe(const struct vmbus_client *c, struct vmbus_client_info *info);

#endif
