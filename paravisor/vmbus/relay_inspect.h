/* The relay as inspect nodes; locks as for the relay. */
#ifndef PARAPET_PARAVISOR_VMBUS_RELAY_INSPECT_H
#define PARAPET_PARAVISOR_VMBUS_RELAY_INSPECT_H

#include "common/diag/inspect.h"
#include "paravisor/vmbus/relay.h"

/* Counters. */
void relay_inspect(struct inspect *dir, const struct relay *r);
/* The host's channel `host` by its number in the directory of channels; nothing where none is. */
void relay_inspect_channel(struct inspect *channels, const struct relay *r, u16 host);

#endif
