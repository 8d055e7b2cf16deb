/* VMBus client: what its parts share; for common/vmbus/client*.c only. */
#ifndef PARAPET_COMMON_VMBUS_CLIENT_IMPL_H
#define PARAPET_COMMON_VMBUS_CLIENT_IMPL_H

#include "common/vmbus/client.h"
#include "common/vmbus/outbox.h"

#define CLIENT_MAX_GPADLS GPADL_MAX_COUNT

/* The numbers of these enums stand in saved states. */
enum client_state { CL_IDLE, CL_CONTACT, CL_UP, CL_UNLOADING };

enum channel_state { CC_NONE, CC_CLOSED, CC_OPENING, CC_OPEN };

struct client_channel {
	u8 state;
	bool rescinded;
	bool modifying;
	bool modify_void; /* closed meanwhile: the answer is of no interest */
	u32 open_id;
};

enum gpadl_state { CG_CREATING, CG_CREATED, CG_TEARDOWN };

struct client_gpadl {
	struct client_gpadl *next;
	u32 id;
	u16 channel;
	u8 state;
};

struct vmbus_client {
	struct vmbus_client_config cfg;
	const struct vmbus_client_ops *ops;
	void *ctx;
	enum client_state state;
	u32 version, features, connection;
	bool offers_requested, pausing, paused, conn_modifying;
	struct client_channel channel[VMBUS_MAX_CHANNELS];
	struct client_gpadl *gpadl[GPADL_BUCKETS];
	unsigned channels, gpadls;
	struct vmbus_outbox out;
	unsigned mistakes;
	u64 messages_in, messages_out, dropped, stale, lost;
};

/* One that we speak. */
bool vclient_version_known(u32 version);
/* Asks for the newest version below `below` that the host may take. False: there is none left. */
bool vclient_try_next(struct vmbus_client *c, u32 below);
/* At the end of a connection. */
void vclient_forget_all(struct vmbus_client *c);
/* A channel that has been offered and not released; NULL: there is none of that id. */
struct client_channel *vclient_known(struct vmbus_client *c, u32 id);
/* channel, state < 0: any. NULL: none. */
struct client_gpadl *vclient_find_gpadl(struct vmbus_client *c, int channel, u32 id, int state);
/* Found first from then on. NULL without memory. */
struct client_gpadl *vclient_add_gpadl(struct vmbus_client *c, u16 channel, u32 id);
void vclient_drop_gpadl(struct vmbus_client *c, struct client_gpadl *g);

#endif
