/* Interrupts into the KVM local APICs of the two VTLs. */
#ifndef PARAPET_HOST_INTERRUPT_H
#define PARAPET_HOST_INTERRUPT_H

#include "host/vm.h"

/* HvCallAssertVirtualInterrupt for VTL0. Returns a HV_STATUS. Any thread. */
u16 interrupt_assert(struct vm *vm, u32 type, bool level, bool logical, u64 destination,
		     u32 vector);

#endif
