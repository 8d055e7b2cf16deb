/*
 * The guest's VMBus: a server in VTL2 that its unmodified driver connects to, fed by a relay of
 * what the host offers. Only control messages come through here; rings and signals of relayed
 * channels pass between guest and host.
 */
#ifndef PARAPET_PARAVISOR_VMBUS_VMBUS_H
#define PARAPET_PARAVISOR_VMBUS_VMBUS_H

#include "common/inspect.h"
#include "paravisor/config.h"

/* False (and a log line) when it cannot be set up. Before vmbus_receive() and the hypercalls. */
bool vmbus_init(const struct config *config);
/* Connects to the host, if that has a VMBus. The answers come by vmbus_receive(). */
void vmbus_connect(void);

/*
 * Hypercalls of the guest on connections that the hypervisor does not know; input as the guest gave
 * it. They return a HV_STATUS. Any VP's thread.
 */
u16 vmbus_post_message(u64 input_gpa);
u16 vmbus_signal_event(bool fast, u64 input);

/* A message of the host on SINT 7. */
void vmbus_receive(const void *payload, size_t size);

/* State and counters as "vmbus.name value" lines; the length, cut to size - 1. */
size_t vmbus_report(char *text, size_t size);
/* vmbus, vmbus_relay and vmbus_client in the directory vm. Any thread. */
void vmbus_inspect(struct inspect *vm);

#endif
