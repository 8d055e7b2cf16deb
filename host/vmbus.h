/* The host's VMBus for VTL2: contact, an empty list of offers, unload. */
#ifndef PARAPET_HOST_VMBUS_H
#define PARAPET_HOST_VMBUS_H

#include "host/vm.h"

/* A message on a VMBus connection. Returns a HV_STATUS; unknown connections are refused. */
u16 vmbus_receive(struct vm *vm, const struct hv_post_message *in);

#endif
