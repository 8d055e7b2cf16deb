/* Hypercalls and the hypervisor's time, before Linux has its own. Shim only. */
#ifndef PARAPET_LOADER_HYPERCALL_H
#define PARAPET_LOADER_HYPERCALL_H

#include "loader/error.h"
#include "loader/host_dt.h"

/* Hypervisor of our kind under us. */
bool hv_present(void);
/* Partition privileges: leaf 40000003, EBX high and EAX low (HV_PRIV_*). */
u64 hv_privileges(void);
bool hv_has_crash_msrs(void);

/* Reference time, 100 ns units. */
u64 hv_reference_time(void);

/* Enables the hypercall page, which is inside the shim. */
int hv_enable(struct shim_error *err);
/* Gives the page back; Linux sets its own. */
void hv_disable(void);

/* Active VTL of this processor, 0 if the hypervisor does not tell. */
u32 hv_current_vtl(void);

/* The i-th processor of the tree must have VP index i, or VTL2 would start the wrong ones. */
int hv_check_vp_indexes(const struct host_dt *dt, struct shim_error *err);

#endif
