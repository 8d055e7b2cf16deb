/* End of the shim with a reason that a human can read. Shim only. */
#ifndef PARAPET_LOADER_PANIC_H
#define PARAPET_LOADER_PANIC_H

#include "common/types.h"

/* What a panic may use to be heard: crash MSRs need a hypervisor that has them. */
void panic_allow(bool crash_msrs, bool port_io);

/* Logs the reason, reports it by the crash MSRs, resets the processor. */
_Noreturn __attribute__((format(printf, 1, 2))) void shim_panic(const char *fmt, ...);

#endif
