/*
 * Host link: small messages between the paravisor and the Parapet host, for what VMBus devices
 * carry elsewhere: guest console bytes, power requests, boot marks.
 * VTL2 to host: HvCallPostMessage on HOSTLINK_CONNECTION (message type HOSTLINK_TYPE).
 * Host to VTL2: message of type HOSTLINK_TYPE, sender HOSTLINK_CONNECTION, on SINT 7.
 * A host that does not know the connection answers HV_STATUS_INVALID_CONNECTION_ID, and the
 * paravisor goes on without the link.
 */
#ifndef PARAPET_COMMON_ABI_HOSTLINK_H
#define PARAPET_COMMON_ABI_HOSTLINK_H

#include "common/types.h"

#define HOSTLINK_CONNECTION 0x00500050u
#define HOSTLINK_TYPE	    1u
#define HOSTLINK_SINT	    7
#define HOSTLINK_MAX_DATA   232u

enum hostlink_op {
	HOSTLINK_CONSOLE = 1, /* index = serial port 0..3, data = bytes; both directions */
	HOSTLINK_POWER = 2, /* index = enum hostlink_power; VTL2 to host. data: text for the user */
	HOSTLINK_MARK = 3,  /* index = enum hostlink_mark; VTL2 to host */
	HOSTLINK_CREDIT =
		4, /* VTL2 to host: index = serial port, data = u32 more bytes it can take */
	HOSTLINK_STATS = 5, /* host asks (no data); VTL2 answers with text lines, empty data ends */
	HOSTLINK_SHUTDOWN = 6, /* host to VTL2: press the guest's power button */
	HOSTLINK_TIME = 7,     /* VTL2 asks (no data); host answers: data = u64 ns since 1970 UTC */
};

enum hostlink_power {
	HOSTLINK_POWER_OFF = 0,
	HOSTLINK_POWER_RESET = 1,
	HOSTLINK_POWER_TRIPLE_FAULT = 2, /* data: registers as text */
	HOSTLINK_POWER_CRASH = 3,	 /* the paravisor cannot go on; data: reason */
	HOSTLINK_POWER_PANIC = 4,	 /* the guest reported its own panic; data: how */
};

enum hostlink_mark {
	HOSTLINK_MARK_INIT = 0,	     /* first program in VTL2 runs */
	HOSTLINK_MARK_PARAVISOR = 1, /* devices ready, VP threads start */
};

struct hostlink_message {
	u16 op;
	u16 index;
	u32 length; /* bytes of data that count */
	u8 data[HOSTLINK_MAX_DATA];
};
_Static_assert(sizeof(struct hostlink_message) == 240, "one SynIC message payload");

#endif
