/*
 * VMBus server: what its parts share; for common/vmbus/server*.c only. vsrv_ is about the server
 * and its connection, vchan_ about one channel.
 *
 * Every call from outside is bracketed by vsrv_enter and vsrv_leave: channels that end inside are
 * freed, and a disconnect that waited for devices goes on, in the outermost vsrv_leave only, so
 * that no function sees a channel vanish under its hands.
 */
#ifndef PARAPET_COMMON_VMBUS_SERVER_IMPL_H
#define PARAPET_COMMON_VMBUS_SERVER_IMPL_H

#include "common/vmbus/outbox.h"
#include "common/vmbus/server.h"

#define VSRV_LOGGED_MISTAKES 10	  /* per connection */
#define VSRV_LOGGED_LINES    100  /* in all: a guest may connect again and again */
#define VSRV_TRANSIENT_FIRST 1024 /* ids of transient offers */
#define VSRV_RECHECK_MS	     100
#define VSRV_NAME	     32

/* The numbers of these enums stand in saved states. */
enum chan_state {
	CH_RELEASED, /* the guest does not know it */
	CH_CLOSED,
	CH_OPENING,
	CH_OPEN,
	CH_CLOSING,
	CH_CLOSING_REOPEN,
	CH_REVOKED, /* no device any more; the guest has not released it */
	CH_HELD,    /* waits for the release of a revoked one with the same key */
	CH_OPENING_RELEASED,
	CH_CLOSING_RELEASED,
	CH_GONE,
};

/* By enum chan_state. */
extern const char *const vchan_state_name[];

struct vmbus_channel {
	struct vmbus_server *server;
	struct vmbus_channel *next_dead;
	u16 id;
	enum chan_state state;
	bool offered; /* the guest knows it */
	bool reserved_open;
	bool answer_reserved_close;
	bool port_mapped;
	bool modify_busy, modify_again;
	u32 modify_vp, modify_next;
	u32 reserved_vp; /* to answer a reserved open or close */
	u8 reserved_sint;
	unsigned gpadls;
	struct vmbus_offer offer;
	const struct vmbus_device_ops *ops;
	void *dev;
	struct vmbus_open open, reopen;
	u8 **page; /* of both rings */
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	bool rings; /* rx and tx are set up */
	bool recheck;
	u64 signals_in, signals_out;
	char saved_name[VSRV_NAME]; /* of a restored one without a device */
};

enum conn_state { CONN_NONE, CONN_UP, CONN_ENDING };
enum conn_next { NEXT_NOTHING, NEXT_UNLOADED, NEXT_CONTACT };

struct vsrv_contact {
	struct vmbus_msg_contact msg;
	u8 sint, vtl;
	bool trusted;
};

struct vmbus_server {
	struct vmbus_server_config cfg;
	const struct vmbus_server_ops *ops;
	void *ctx;
	unsigned depth;

	enum conn_state state;
	enum conn_next next;
	struct vsrv_contact contact; /* of NEXT_CONTACT */
	u32 version, features;
	u32 vp;
	u8 sint;
	bool offers_sent, paused, trusted;
	u64 monitor_p2c, monitor_c2p;
	struct guid client;

	struct vmbus_channel *channel[VMBUS_MAX_CHANNELS];
	struct vmbus_channel *dead;
	unsigned channels;
	u16 transient_hint;
	struct vmbus_gpadls gpadls;
	u32 gpadl_mark;

	bool restoring; /* devices still adopt their channels */

	struct vmbus_outbox out;
	u32 sendable; /* while paused: so many may still go */

	unsigned mistakes, lines;
	u64 messages_in, messages_out, refused, dropped, lost, contacts;
};

/* --- server.c */

void vsrv_enter(struct vmbus_server *s);
void vsrv_leave(struct vmbus_server *s);
/* Counts what the guest did wrong, and logs it while that is bounded. */
__attribute__((format(printf, 2, 3))) void vsrv_mistake(struct vmbus_server *s, const char *fmt,
							...);

/* --- server_send.c: at once, or by way of the queue when the slot is busy */

/* To a VP and SINT that the message named; the others go where the contact said. */
void vsrv_send_to(struct vmbus_server *s, u32 vp, u8 sint, const void *msg, size_t len);
void vsrv_send(struct vmbus_server *s, const void *msg, size_t len);
void vsrv_send_channel(struct vmbus_server *s, u32 type, u32 channel);
void vsrv_send_plain(struct vmbus_server *s, u32 type);
void vsrv_send_gpadl_created(struct vmbus_server *s, u32 channel, u32 gpadl, u32 status);
void vsrv_send_gpadl_torndown(struct vmbus_server *s, u32 gpadl);
void vchan_send_open_result(struct vmbus_channel *ch, const struct vmbus_open *open, u32 status);
/* From then on the guest knows ch. */
void vchan_send_offer(struct vmbus_channel *ch);
void vchan_send_modified(struct vmbus_channel *ch, u32 status);
/* What a guest that has left would have got; not all: answers about reserved channels stay. */
void vsrv_queue_drop(struct vmbus_server *s, bool all);

/* --- server_channel.c */

/* Ids that a guest may choose for its signals: those of channels, not the message ports. */
bool vsrv_connection_allowed(u32 connection);
/* The guest's pages of both rings into ch->page. */
bool vchan_map_pages(struct vmbus_channel *ch, const struct vmbus_gpadl_view *view);
void vchan_unmap(struct vmbus_channel *ch);
/* A channel that neither device nor guest knows any more. */
void vchan_gone(struct vmbus_channel *ch);
/* Checks what the guest gave, maps it, and asks the device; a failure is answered. */
void vchan_start_open(struct vmbus_channel *ch, const struct vmbus_open *open);
/* Asks the device; state is one of CH_CLOSING*. */
void vchan_start_close(struct vmbus_channel *ch, enum chan_state state);
/* A modify that is outstanding fails. */
void vchan_fail_modify(struct vmbus_channel *ch);
/* The guest lets go of a channel that still has a device. */
void vchan_release(struct vmbus_channel *ch);
bool vchan_same_device(const struct vmbus_offer *a, const struct vmbus_offer *b);

/* --- server_gpadl.c */

/* Between the guest's open and the end of its close: rings, GPADL and port are in use. */
bool vchan_has_rings(const struct vmbus_channel *ch);
/* Calls fn once for each GPADL of ch; fn may end any of them, or the channel. */
void vchan_each_gpadl(struct vmbus_channel *ch,
		      void (*fn)(struct vmbus_channel *ch, struct vmbus_gpadl *g));
void vchan_gpadl_drop(struct vmbus_channel *ch, struct vmbus_gpadl *g);
/* The guest lets go of it; the device is asked. */
void vchan_gpadl_release(struct vmbus_channel *ch, struct vmbus_gpadl *g);
/* The device goes. */
void vchan_gpadl_revoke(struct vmbus_channel *ch, struct vmbus_gpadl *g);
/* Asks the device to let go, unless its open rings still lie there. */
void vchan_gpadl_try_teardown(struct vmbus_channel *ch, struct vmbus_gpadl *g);
void vchan_gpadl_resume_teardown(struct vmbus_channel *ch, struct vmbus_gpadl *g);
/* The last part has come. */
void vchan_gpadl_complete(struct vmbus_channel *ch, struct vmbus_gpadl *g);

/* --- server_connection.c */

/* Lets go of everything; `next` follows when no device owes an answer. reset: reserved too. */
void vsrv_disconnect(struct vmbus_server *s, enum conn_next next, bool reset);
/* Ends a disconnect when no device owes an answer; true: it did. */
bool vsrv_disconnect_step(struct vmbus_server *s);
/* False: too short. */
bool vsrv_contact_read(const void *msg, size_t len, unsigned via, u8 default_sint,
		       struct vsrv_contact *c);
bool vsrv_monitor_pages_valid(u64 p2c, u64 c2p);
bool vsrv_version_known(u32 version);
/* Nothing of it keeps a disconnect waiting. */
bool vchan_idle(const struct vmbus_channel *ch);

#endif
