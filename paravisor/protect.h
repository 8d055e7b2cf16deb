/* What must hold before the guest runs: VTL2's memory is closed, accesses are intercepted. */
#ifndef PARAPET_PARAVISOR_PROTECT_H
#define PARAPET_PARAVISOR_PROTECT_H

#include "paravisor/config.h"

/*
 * Partition configuration, intercepts, and protection of all VTL2 memory in config. Call on one
 * pinned thread. False (and a log line) when the hypervisor refuses: the guest must not run then.
 */
bool protect_partition(const struct config *config);

#endif
