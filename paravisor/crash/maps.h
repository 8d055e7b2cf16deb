/* The mappings of a process, from the text of /proc/PID/smaps, and what a core dump has of each. */
#ifndef PARAPET_PARAVISOR_CRASH_MAPS_H
#define PARAPET_PARAVISOR_CRASH_MAPS_H

#include "common/types.h"

struct core_map {
	u64 start, end, offset; /* offset: in the file */
	u64 anonymous;		/* bytes that are the process's own */
	bool read, write, exec, shared;
	bool device;	  /* memory of a device, or marked as not to be dumped */
	const char *path; /* in the text; "" */
};

/*
 * Cuts up the text (which stays in use) into at most max mappings. Returns their number; what is
 * malformed or too much is left out.
 */
unsigned core_maps_parse(char *text, struct core_map *map, unsigned max);

/*
 * Bytes from the start of the mapping that go into a dump, as the kernel does it with coredump
 * filter 0x33: anonymous memory, private or shared, and first pages of ELF files. Never memory of
 * devices, through which the guest's is mapped.
 */
u64 core_map_bytes(const struct core_map *map);

#endif
