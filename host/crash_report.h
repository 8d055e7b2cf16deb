/* Crashes that a VTL's kernel reports itself, by the crash MSRs (TLFS) or by pvpanic. */
#ifndef PARAPET_HOST_CRASH_REPORT_H
#define PARAPET_HOST_CRASH_REPORT_H

#include "host/vm.h"

/*
 * The VTL of `vp` has written CRASH_CTL with the notify bit: parameters, message (at most one page)
 * and, of VTL2, registers become the outcome of the run; or, with vm_config.crash_continues, lines
 * in the log if it was the guest. VP thread.
 */
void crash_report_msrs(struct vp *vp, enum vtl vtl, u64 ctl);
/* The guest says without details that it has crashed; `how` is printable. Any thread. */
void crash_report_guest(struct vm *vm, const char *how);

#endif
