/*
 * Integration components on the wire: framing, negotiation, shutdown, heartbeat, time, KVP.
 * Little endian, packed; behind a pipe header. Linux include/linux/hyperv.h, drivers/hv/hv_util.c,
 * hv_kvp.c; OpenVMM hyperv_ic_protocol.
 */
#ifndef PARAPET_COMMON_ABI_VMBUS_IC_H
#define PARAPET_COMMON_ABI_VMBUS_IC_H

#include "common/abi/vmbus.h"

struct ic_version {
	u16 major, minor;
} VMBUS_PACKED;

enum ic_type {
	IC_NEGOTIATE = 0,
	IC_HEARTBEAT = 1,
	IC_KVP = 2,
	IC_SHUTDOWN = 3,
	IC_TIMESYNC = 4,
	IC_VSS = 5,
};

#define IC_FLAG_TRANSACTION 1u
#define IC_FLAG_REQUEST	    2u
#define IC_FLAG_RESPONSE    4u

#define IC_S_OK		   0u
#define IC_E_FAIL	   0x80004005u
#define IC_E_NO_MORE	   0x80070103u
#define IC_E_NOT_SUPPORTED 0x80070032u

struct ic_header {
	struct ic_version framework;
	u16 type;
	struct ic_version message;
	u16 size; /* of the body */
	u32 status;
	u8 transaction;
	u8 flags;
	u8 reserved[2];
} VMBUS_PACKED;

struct ic_negotiate {
	u16 frameworks, messages;
	u32 reserved;
	struct ic_version version[]; /* frameworks first */
} VMBUS_PACKED;

struct ic_heartbeat {
	u64 sequence;
	u32 application; /* 1 healthy */
	u32 reserved;
} VMBUS_PACKED;

#define IC_SHUTDOWN_FORCE     1u
#define IC_SHUTDOWN_RESTART   2u
#define IC_SHUTDOWN_HIBERNATE 4u
#define IC_SHUTDOWN_PLANNED   0x80000000u

struct ic_shutdown {
	u32 reason, timeout, flags;
	char text[2048];
} VMBUS_PACKED;

#define IC_TIME_SYNC   1u /* step the clock */
#define IC_TIME_SAMPLE 2u
/* 100 ns units from 1601-01-01 to 1970-01-01 */
#define FILETIME_UNIX_EPOCH 116444736000000000ull

struct ic_timesync {
	u64 time; /* FILETIME */
	u64 reference;
	u8 flags, leap, stratum;
	u8 reserved[5];
} VMBUS_PACKED;

struct ic_timesync_old { /* messages before 4.0 */
	u64 parent, child, round_trip;
	u8 flags;
} VMBUS_PACKED;

enum kvp_op { KVP_GET = 0, KVP_SET = 1, KVP_DELETE = 2, KVP_ENUMERATE = 3 };
enum kvp_pool { KVP_POOL_EXTERNAL = 0, KVP_POOL_GUEST = 1, KVP_POOL_AUTO = 2 };
enum kvp_type { KVP_STRING = 1, KVP_EXPAND = 2, KVP_DWORD = 4, KVP_QWORD = 8, KVP_QWORD2 = 11 };

#define KVP_KEY_MAX   512
#define KVP_VALUE_MAX 2048

struct kvp_value {
	u32 type, key_size, value_size; /* bytes, with the NUL */
	u8 key[KVP_KEY_MAX];		/* UTF-16 */
	u8 value[KVP_VALUE_MAX];
} VMBUS_PACKED;

struct kvp_body {
	u8 op, pool;
	u16 pad;
	union {
		struct kvp_value value; /* get, set */
		struct {
			u32 index;
			struct kvp_value value;
		} VMBUS_PACKED enumerate;
		struct {
			u32 key_size;
			u8 key[KVP_KEY_MAX];
		} VMBUS_PACKED remove;
	};
} VMBUS_PACKED;

_Static_assert(sizeof(struct ic_header) == 20, "wire format");
_Static_assert(sizeof(struct ic_negotiate) == 8, "wire format");
_Static_assert(sizeof(struct ic_heartbeat) == 16, "wire format");
_Static_assert(sizeof(struct ic_shutdown) == 2060, "wire format");
_Static_assert(sizeof(struct ic_timesync) == 24, "wire format");
_Static_assert(sizeof(struct ic_timesync_old) == 25, "wire format");
_Static_assert(sizeof(struct kvp_body) == 2580, "wire format");

#endif
