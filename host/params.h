/* What the host tells an IGVM image about the VM: device tree, ACPI tables, memory map. */
#ifndef PARAPET_HOST_PARAMS_H
#define PARAPET_HOST_PARAMS_H

#include "host/vm.h"

/*
 * Writes the parameter of that IGVM header type into `room` bytes at `to`. Returns 0, or -1 when it
 * does not fit.
 */
int params_write(struct vm *vm, u32 type, u8 *to, u64 room);

#endif
