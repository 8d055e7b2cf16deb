/* The message link to the Parapet host (common/abi/hostlink.h). */
#ifndef PARAPET_PARAVISOR_HOSTLINK_H
#define PARAPET_PARAVISOR_HOSTLINK_H

#include "common/abi/hostlink.h"

/*
 * Posts one message; size is cut to HOSTLINK_MAX_DATA. Waits a bounded time while the host's queue
 * is full. False when the host does not know the link (then all later calls return at once) or
 * does not take it. Any thread; messages of one thread keep their order.
 */
bool hostlink_post(enum hostlink_op op, u16 index, const void *data, size_t size);

/* Called on the receive thread for each message from the host; message is a checked copy. */
typedef void (*hostlink_receive_fn)(const struct hostlink_message *message);
/* The same for messages of other senders on the SINT: VMBus. Not checked but for their size. */
typedef void (*hostlink_other_fn)(const void *payload, size_t size);
/* Starts the receive thread. False when it cannot start; posting works without it. */
bool hostlink_start(hostlink_receive_fn receive, hostlink_other_fn other);

/*
 * Between the two no message is taken from the host, and none is in anybody's hands; what comes
 * waits in the kernel. Posting goes on.
 */
void hostlink_stop(void);
void hostlink_go_on(void);

#endif
