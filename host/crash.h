/*
 * Core dumps of VTL2's processes: the crash device on the VMBus of VTL2, and the folder where its
 * dumps are put. Only complete dumps stay there.
 */
#ifndef PARAPET_HOST_CRASH_H
#define PARAPET_HOST_CRASH_H

#include "host/vmbus.h"

struct crash;

#define CRASH_DUMP_MAX	(256 * MiB) /* of one dump */
#define CRASH_DUMPS_MAX 64	    /* in one life of the VM: VTL2 cannot fill the disk */
#define CRASH_LOG_LINES 5	    /* of VTL2's kernel log, shown with a dump */

/* Opens the folder for dumps, made if there is none. -1 after an error line. */
int crash_open_dir(const char *path);

/*
 * Offers the device, before vmbus_start(). dir: of crash_open_dir(), stays the caller's; -1: no
 * dumps are taken. path: its name, for people. NULL after an error line.
 */
struct crash *crash_create(struct vmbus *bus, int dir, const char *path);
/* After vmbus_stop(). A dump that is not complete goes. */
void crash_destroy(struct crash *crash);

/* Puts the last words of VTL2 (text) there too, and logs where. dir and path as above. */
void crash_save_report(int dir, const char *path, const char *text);

#endif
