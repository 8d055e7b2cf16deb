/*
 * The guest's VMBus: a server in VTL2 that its unmodified driver connects to, fed by a relay of
 * what the host offers. Only control messages come through here; rings and signals of relayed
 * channels pass between guest and host.
 */
#ifndef PARAPET_PARAVISOR_VMBUS_VMBUS_H
#define PARAPET_PARAVISOR_VMBUS_VMBUS_H

#include "common/diag/inspect.h"
#include "common/protobuf.h"
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

/*
 * The process is replaced under the guest: vmbus_stop, vmbus_save, exec. Nothing comes in or goes
 * out in between: who calls vmbus_post_message, vmbus_signal_event or vmbus_receive meanwhile
 * waits, and what it brought is lost with the process; so VPs and the receiver of host messages
 * must have been halted before, each without a message in its hands. vmbus_go_on, from the same
 * thread, when the process stays after all.
 */
void vmbus_stop(void);
void vmbus_go_on(void);
/*
 * Some KiB; up to 5 MiB for a guest that makes as many page lists as it may, and 16 MiB if the host
 * offers as much as it may and takes no message, too.
 */
void vmbus_save(struct pb_writer *out);
/*
 * In place of vmbus_connect, before any VP runs and before hostlink_start. False: malformed; then
 * vmbus is of no use any more.
 */
bool vmbus_restore(struct pb_bytes state);

/* vmbus, vmbus_relay and vmbus_client in the directory vm. Any thread. */
void vmbus_inspect(struct inspect *vm);

#endif
