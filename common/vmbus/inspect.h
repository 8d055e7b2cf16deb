/*
 * The state of a VMBus as inspect nodes; names are OpenHCL's where it has them. No locks: the
 * caller serialises as for other calls of the server or client. One call is short, so that a caller
 * may let go of its lock between channels.
 */
#ifndef PARAPET_COMMON_VMBUS_INSPECT_H
#define PARAPET_COMMON_VMBUS_INSPECT_H

#include "common/diag/inspect.h"
#include "common/vmbus/client.h"
#include "common/vmbus/server.h"

/* Connection and counters. */
void vmbus_inspect_server(struct inspect *dir, const struct vmbus_server *s);
/* INSTANCE or INSTANCE/subchannels/N in the directory of channels; nothing where no channel is. */
void vmbus_inspect_channel(struct inspect *channels, const struct vmbus_server *s, u16 id);
void vmbus_inspect_client(struct inspect *dir, const struct vmbus_client *c);

/* interface_name (if it has one), interface_id, instance_id. */
void vmbus_inspect_offer(struct inspect *dir, const struct guid *interface,
			 const struct guid *instance);

#endif
