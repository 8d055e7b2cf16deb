/*
 * Crash dump device on the wire: a VMBus message pipe by which VTL2 writes an ELF core to its host.
 * Little endian, packed. OpenVMM vm/devices/get/get_protocol/src/crash.rs.
 *
 * Order: capabilities, config, start, then any number of write (each followed by one message of
 * bare data), complete. Answers repeat the activity of the request.
 */
#ifndef PARAPET_COMMON_ABI_CRASH_H
#define PARAPET_COMMON_ABI_CRASH_H

#include "common/guid.h"

/* Interface and instance */
#define CRASH_GUID	GUID(0x427b03e7, 0x4ceb, 0x4286, 0xb5, 0xfc, 0x48, 0x6f, 0x4a, 0x1d, 0xd4, 0x39)
#define CRASH_GUID_TEXT "427b03e7-4ceb-4286-b5fc-486f4a1dd439"

#define CRASH_PACKED __attribute__((packed))

enum crash_type {
	CRASH_CAPABILITIES = 0x1,
	CRASH_CONFIG = 0x102,
	CRASH_START = 0x103,
	CRASH_WRITE = 0x104,
	CRASH_COMPLETE = 0x105,
	CRASH_RESPONSE = 0x10000, /* added to the type of the request */
};

struct crash_header {
	struct guid activity;
	u64 type;
} CRASH_PACKED;

#define CRASH_CAN_WINDOWS 1ull
#define CRASH_CAN_LINUX	  2ull

struct crash_capabilities {
	struct crash_header head;
	u64 can;
} CRASH_PACKED;

enum crash_dump { CRASH_DUMP_NONE = 0, CRASH_DUMP_ELF = 1, CRASH_DUMP_KDUMP = 2 };

struct crash_config {
	struct crash_header head;
	u64 max_size; /* bytes */
	u32 dump;     /* enum crash_dump */
} CRASH_PACKED;

/* To start; to a write only if it failed. 0: good. */
struct crash_status {
	struct crash_header head;
	s32 status;
} CRASH_PACKED;

#define CRASH_REFUSED (-1)

#define CRASH_CHUNK 16384u /* data bytes of a write */

struct crash_write {
	struct crash_header head;
	u64 offset; /* bytes written before */
	u32 size;   /* of the data in the next message */
} CRASH_PACKED;

/* Not answered. */
struct crash_complete {
	struct crash_header head;
	u32 major, minor; /* kernel version */
	u8 banner[256];	  /* /proc/version, padded with NULs */
	u8 vtl;
} CRASH_PACKED;

_Static_assert(sizeof(struct crash_header) == 24, "wire format");
_Static_assert(sizeof(struct crash_capabilities) == 32, "wire format");
_Static_assert(sizeof(struct crash_config) == 36, "wire format");
_Static_assert(sizeof(struct crash_status) == 28, "wire format");
_Static_assert(sizeof(struct crash_write) == 36, "wire format");
_Static_assert(sizeof(struct crash_complete) == 289, "wire format");

#endif
