/*
 * The VMBus server of one guest: its connection and the channels that devices offer to it.
 *
 * Pure state machines: what leaves goes through struct vmbus_server_ops, what comes in is called
 * from outside. No locks: the caller serialises all calls of one server; exceptions say so. Device
 * callbacks and ops run inside such a call and may call back into the server.
 *
 * The guest is hostile: each of its messages is judged from a copy; what is malformed or out of
 * order is dropped and counted, never answered by a disconnect. Memory per guest is bounded.
 *
 * Protocol: Linux include/linux/hyperv.h, drivers/hv/connection.c, channel_mgmt.c; OpenVMM
 * vmbus_server.
 */
#ifndef PARAPET_COMMON_VMBUS_SERVER_H
#define PARAPET_COMMON_VMBUS_SERVER_H

#include "common/abi/vmbus.h"
#include "common/vmbus/gpadl.h"
#include "common/vmbus/ring.h"

struct vmbus_server;
struct vmbus_channel;

struct vmbus_server_ops {
	/*
	 * A message for (VTL, VP, SINT), len <= 240. 0: taken. -EAGAIN: slot busy, the server keeps
	 * it and tries again in vmbus_server_pump. Else: lost for good.
	 */
	int (*post)(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len);
	/* An event flag of (VTL, VP, SINT); see vmbus_channel_signal for threads. */
	void (*signal)(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag);
	/*
	 * From now on the guest's HvSignalEvent(connection) is for ch: call vmbus_server_event, or
	 * vmbus_channel_signalled. Non-zero refuses the guest's open. Optional.
	 */
	int (*map_port)(void *ctx, u32 connection, struct vmbus_channel *ch);
	void (*unmap_port)(void *ctx, u32 connection);
	/*
	 * The page of guest memory pfn, mapped as long as the server lives; NULL: no RAM. Optional
	 * when all channels are offered with no_map.
	 */
	u8 *(*page)(void *ctx, u64 pfn);
	/* Call vmbus_server_timer once after ms milliseconds. Optional. */
	void (*timer)(void *ctx, unsigned ms);
	/* Connected with `version`, or disconnected (0). Optional. */
	void (*connection)(void *ctx, u32 version);
	/* The monitor pages of the guest changed; 0, 0: none. Optional. */
	void (*monitor)(void *ctx, u64 p2c, u64 c2p);
	/* TL_CONNECT: answer by an offer, or by vmbus_server_tl_result. Optional: refused. */
	void (*tl_connect)(void *ctx, const struct guid *endpoint, const struct guid *service,
			   const struct guid *silo);
};

struct vmbus_server_config {
	const char *name; /* for log lines */
	u8 vtl;		  /* the guest's */
	u8 sint;	  /* its VMBus SINT; 0 means VMBUS_SINT */
	u8 post_vtl;	  /* where messages go: (vtl, sint) if post_sint is 0; VTL2's SINT7, VP 0 */
	u8 post_sint;	  /* when another VTL stands in for the guest */
	u32 vps;	  /* VP indices below this exist; 0: no limit */
	u32 max_version;  /* 0: newest */
	u32 features;	  /* VMBUS_F_* that may be granted */
	u32 connection;	  /* for later messages, answered from 5.0 on; 0: VMBUS_CONN_MULTI */
	u16 first_channel; /* ids from here (0: 1) */
	u16 max_queue;	   /* answers that may wait before guest messages get -EAGAIN; 0: 64 */
};

/* NULL without memory. */
struct vmbus_server *vmbus_server_new(const struct vmbus_server_config *config,
				      const struct vmbus_server_ops *ops, void *ctx);
/* Devices are not called any more. */
void vmbus_server_free(struct vmbus_server *s);

/* --- from the transport */

#define VMBUS_VIA_MULTI	  1u /* came on a multi-client port (not on VMBUS_CONN_LEGACY) */
#define VMBUS_VIA_TRUSTED 2u /* came by the paravisor's own path in an isolated VM */

/*
 * A message of the guest, copied out of its memory before. 0: taken (or dropped, which the guest
 * does not see). -EAGAIN: answers wait for the guest, give HV_STATUS_INSUFFICIENT_BUFFERS.
 */
int vmbus_server_message(struct vmbus_server *s, const void *msg, size_t len, unsigned via);
/* VTL to which a contact message is addressed (for demultiplexing), or -1: it is no contact. */
int vmbus_contact_vtl(const void *msg, size_t len, unsigned via);
/* The guest signalled a connection id. False: no open channel has it. */
bool vmbus_server_event(struct vmbus_server *s, u32 connection);
/* A message slot may be free again. */
void vmbus_server_pump(struct vmbus_server *s);
/* Messages wait for a slot: call vmbus_server_pump on EOM or by a timer. */
bool vmbus_server_waiting(const struct vmbus_server *s);
void vmbus_server_timer(struct vmbus_server *s);
/*
 * The VM resets: closes everything, reserved channels too, forgets the connection. It is over when
 * vmbus_server_idle, which waits for devices only.
 */
void vmbus_server_reset(struct vmbus_server *s);
bool vmbus_server_idle(const struct vmbus_server *s);
/* For a relay: what the host grants; holds from the next contact on. */
void vmbus_server_limit(struct vmbus_server *s, u32 max_version, u32 features);
/* Status VMBUS_STATUS_*; failure of a TL_CONNECT. */
void vmbus_server_tl_result(struct vmbus_server *s, const struct guid *endpoint,
			    const struct guid *service, u32 status);

/* --- devices */

struct vmbus_open {
	u32 open_id, gpadl, target_vp, downstream;
	u32 connection;
	u16 event_flag;
	bool redirect; /* interrupts go to VTL2's SINT7 */
	bool reserved; /* no interrupts, outlives the connection */
	u8 reserved_sint;
	u8 user[VMBUS_USER_DATA];
};

/*
 * Each request is answered exactly once, in the callback or later, by the function named; an
 * answer too many is ignored. A NULL callback stands for an immediate success.
 */
struct vmbus_device_ops {
	/* Rings are mapped (unless no_map) and valid until closed. vmbus_channel_open_done */
	void (*open)(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open);
	/* Stop using the rings. vmbus_channel_close_done */
	void (*close)(void *dev, struct vmbus_channel *ch);
	/* A complete GPADL; valid until torn down. vmbus_channel_gpadl_done */
	void (*gpadl)(void *dev, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl);
	/* Stop using it. vmbus_channel_gpadl_torn_down */
	void (*gpadl_teardown)(void *dev, struct vmbus_channel *ch, u32 gpadl);
	/* Interrupts are to go to another VP. vmbus_channel_modify_done */
	void (*modify)(void *dev, struct vmbus_channel *ch, u32 vp);
	/* The guest signalled: packets, or room. No answer. */
	void (*signal)(void *dev, struct vmbus_channel *ch);
	/* A revoked channel is gone at the guest too; its id is free. The last call. No answer. */
	void (*released)(void *dev);
};

struct vmbus_offer {
	struct guid interface;
	struct guid instance; /* unique over all offers, subchannels apart */
	u16 subchannel;	      /* 0: primary */
	u16 flags;	      /* VMBUS_OFFER_* */
	u16 mmio_mb;
	u8 user[VMBUS_USER_DATA];
	u16 channel;	/* wanted id; 0: any */
	bool transient; /* hv_sock: ids are taken from the upper half */
	bool no_map;	/* the rings are not ours (relay) */
	const char *name;
};

/*
 * Offers a channel, at once when the guest is connected. ops and dev must outlive it. NULL: no id
 * or memory, or the key (interface, instance, subchannel) is in use. A key that the guest has not
 * released yet is offered when it has.
 */
struct vmbus_channel *vmbus_server_offer(struct vmbus_server *s, const struct vmbus_offer *offer,
					 const struct vmbus_device_ops *ops, void *dev);
/*
 * The device goes: its outstanding requests count as answered, ch and its rings must not be used
 * any more; no callback follows but `released`. Subchannels of it are revoked first.
 */
void vmbus_channel_revoke(struct vmbus_channel *ch);

/* status: VMBUS_STATUS_* */
void vmbus_channel_open_done(struct vmbus_channel *ch, u32 status);
void vmbus_channel_close_done(struct vmbus_channel *ch);
void vmbus_channel_gpadl_done(struct vmbus_channel *ch, u32 gpadl, u32 status);
void vmbus_channel_gpadl_torn_down(struct vmbus_channel *ch, u32 gpadl);
void vmbus_channel_modify_done(struct vmbus_channel *ch, u32 status);

/* From any thread between the device's open and its close_done. */
void vmbus_channel_signal(struct vmbus_channel *ch);
struct vmbus_rx *vmbus_channel_rx(struct vmbus_channel *ch);
struct vmbus_tx *vmbus_channel_tx(struct vmbus_channel *ch);
/* A GPADL that the guest has created on ch and not torn down; NULL: none. */
const struct vmbus_gpadl *vmbus_channel_gpadl(struct vmbus_channel *ch, u32 id);

u16 vmbus_channel_id(const struct vmbus_channel *ch);
/* Since vmbus_channel_revoke of it or of its primary channel; the guest has not released it. */
bool vmbus_channel_revoked(const struct vmbus_channel *ch);
struct vmbus_server *vmbus_channel_server(const struct vmbus_channel *ch);
void *vmbus_channel_device(const struct vmbus_channel *ch);
/* The guest signalled ch (by way of map_port). */
void vmbus_channel_signalled(struct vmbus_channel *ch);

/*
 * --- saved state: the server goes on in another process, and the guest notices nothing
 *
 * In the new one: vmbus_server_new with the same config, vmbus_server_restore, then each device
 * adopts its channels, then vmbus_server_restore_done. Messages of the guest get -EAGAIN until
 * then. A device finds the rings of a channel that was open as it left them, and no callback comes
 * for what it was asked before: its answer to that counts as if nothing had been. It looks into its
 * rings once by itself. The ops connection and monitor are not called either.
 */

/*
 * Not from within a callback. At most 4 MiB of page lists, 4 MiB of messages that wait, and 1 KiB a
 * channel.
 */
void vmbus_server_save(const struct vmbus_server *s, struct pb_writer *w);
/* False: malformed, or a state that no server gets into; s is only good for vmbus_server_free. */
bool vmbus_server_restore(struct vmbus_server *s, struct pb_bytes state);
/*
 * The channel that was offered with this key, and not revoked; of offer only the key, no_map and
 * name count. NULL: there is none, or map_port refused an open one.
 */
struct vmbus_channel *vmbus_server_adopt(struct vmbus_server *s, const struct vmbus_offer *offer,
					 const struct vmbus_device_ops *ops, void *dev);
/* The one that was revoked and that the guest has not released: dev gets `released`. */
bool vmbus_server_adopt_revoked(struct vmbus_server *s, const struct vmbus_offer *offer,
				const struct vmbus_device_ops *ops, void *dev);
/* Revokes what nobody has adopted. */
void vmbus_server_restore_done(struct vmbus_server *s);

/* --- inspection */

struct vmbus_channel_info {
	u16 id;
	const char *name, *state;
	struct guid interface, instance;
	u16 subchannel, flags, mmio_mb;
	u32 connection; /* as offered */
	bool offered;	/* the guest knows it */
	bool no_map;	/* relayed: signals and packets do not come by here */
	/* Another of a lower id has the same instance and subchannel (one of them is revoked). */
	bool twin;
	struct vmbus_open open; /* valid when is_open */
	bool is_open, reserved; /* reserved: open beyond the connection */
	u32 reserved_vp;
	u32 ring_pages; /* of the page list that holds both rings; 0: not open */
	u32 rx_size, tx_size;
	u64 signals_in, signals_out;
	u64 rx_packets, rx_bytes, tx_packets, tx_bytes, tx_full;
	const char *ring_error; /* NULL: none */
	unsigned gpadls;
};

struct vmbus_server_info {
	const char *state;
	u32 version, features;
	const char *next; /* what follows a disconnect; NULL: nothing */
	u32 vp;		  /* where messages go */
	u8 sint;
	bool offers_sent, paused, trusted;
	u64 monitor_p2c, monitor_c2p; /* GPAs; 0: none */
	struct guid client;
	unsigned channels, gpadls, queued;
	u64 messages_in, messages_out, refused, dropped, lost, contacts;
};

/* False: no channel has this id. Ids are below VMBUS_MAX_CHANNELS. */
bool vmbus_server_channel(const struct vmbus_server *s, u16 id, struct vmbus_channel_info *info);
void vmbus_server_describe(const struct vmbus_server *s, struct vmbus_server_info *info);

#endif
