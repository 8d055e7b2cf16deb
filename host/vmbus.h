/*
 * The host's VMBus: servers over common/vmbus, the SynIC as their transport, and the thread that
 * serves the devices behind them. VTL2's own channels are offered to it directly; those meant for
 * the guest go to VTL2 as well (redirection), whose relay passes them on.
 */
#ifndef PARAPET_HOST_VMBUS_H
#define PARAPET_HOST_VMBUS_H

#include "common/vmbus/server.h"
#include "host/iothread.h"
#include "host/vm.h"

struct hvsock;
struct vmbus;

/* NULL after an error line. Its thread runs from vmbus_start() on. */
struct vmbus *vmbus_create(struct vm *vm);
int vmbus_start(struct vmbus *v);
/* Ends the thread. Devices go before vmbus_destroy(), which the VP threads must not outlive. */
void vmbus_stop(struct vmbus *v);
void vmbus_destroy(struct vmbus *v);

/* For devices; everything that they do runs with the I/O thread's lock held. */
struct iothread *vmbus_iothread(struct vmbus *v);
/* To whom channels are offered: VTL2, or VTL0 by way of VTL2. */
struct vmbus_server *vmbus_server(struct vmbus *v, enum vtl vtl);

/* Who answers the guest's hv_sock connects; NULL: nobody. */
void vmbus_set_hvsock(struct vmbus *v, enum vtl vtl, struct hvsock *hvsock);

/* A message on a VMBus connection. Returns a HV_STATUS; unknown connections are refused. */
u16 vmbus_receive(struct vm *vm, const struct hv_post_message *in);
/*
 * HvSignalEvent. Returns a HV_STATUS. The guest may signal the channels that are meant for it
 * itself: a relay opens them in its name.
 */
u16 vmbus_signal(struct vm *vm, enum vtl caller, u32 connection);

#endif
