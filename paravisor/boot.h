/*
 * The boot timeline: when this process reached which point, in microseconds of the VTL2 kernel's
 * clock (0: the kernel started it, early in its boot).
 */
#ifndef PARAPET_PARAVISOR_BOOT_H
#define PARAPET_PARAVISOR_BOOT_H

#include "common/diag/inspect.h"
#include "common/saved.h"

enum boot_point {
	BOOT_INIT, /* the kernel runs the first program */
	BOOT_PARAVISOR,
	BOOT_CONFIG, /* device tree read */
	BOOT_GUEST_LOADED,
	BOOT_PROTECTED,
	BOOT_DEVICES,
	BOOT_VMBUS,
	BOOT_PROCESSORS, /* all VPs are ready */
	BOOT_GUEST_ENTRY,
	BOOT_POINTS,
};

/* Only the first time counts. Any thread. */
void boot_reached(enum boot_point point);
/* The same for a time that is known otherwise. */
void boot_reached_at(enum boot_point point, u64 us);
/* True for the record of /dev/kmsg (NUL-terminated) that tells of BOOT_INIT. */
bool boot_init_record(const char *record, u64 *us);

void boot_save(struct pb_writer *out);
bool boot_restore(struct pb_bytes state);

/* Points that have been reached, as POINT_us; uptime_us. */
void boot_inspect(struct inspect *dir);

#endif
