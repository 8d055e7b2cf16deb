/* Virtual processors: one pinned thread each, which runs VTL0 and serves its intercepts. */
#ifndef PARAPET_PARAVISOR_VP_H
#define PARAPET_PARAVISOR_VP_H

#include "paravisor/config.h"
#include "paravisor/linux_boot.h"
#include "paravisor/mshv.h"
#include "paravisor/stats.h"

struct vp {
	u32 index;
	struct mshv_run_page *run;
	struct hv_register_page *page; /* NULL: registers by hypercall */
	bool notify_armed;	       /* InterruptionDeliverable message asked for */
	u32 wake;		       /* atomic: there is work outside the guest */
	int kick_fd;
	struct vp_stats stats; /* written by this VP's thread only */
} __attribute__((aligned(64)));

/*
 * Prepares all processors of config and starts their threads; returns when they are about to enter
 * the guest. plan: what the boot processor starts with; NULL after vp_restore. held: as if
 * vp_pause_all had been called. False when a thread cannot start.
 */
bool vp_start_all(const struct config *config, const struct linux_boot_plan *plan, bool held);

/* Makes a processor leave the guest and look for work. Any thread. */
void vp_kick(u32 index);

/*
 * Takes all processors out of the guest and holds them; false, and they go on, when one does not
 * come within some seconds, and before vp_start_all. Not from a VP's thread.
 */
bool vp_pause_all(void);
void vp_resume_all(void);

/* What a processor's thread knows of it, while all are held; before vp_start_all. False: malformed.
 */
void vp_save(struct pb_writer *out);
bool vp_restore(const struct config *config, struct pb_bytes state);

/* For statistics; NULL beyond the last. */
const struct vp *vp_get(u32 index);

#endif
