/*
 * The state of a VM as one message: what OpenHCL calls ServicingState (openvmm,
 * openhcl/underhill_core/src/servicing.rs), so that its tools find the units of ours. What is
 * inside a unit is our own.
 *
 *   ServicingState { InitState init_state = 1; repeated Unit units = 2; }
 *   InitState { oneof firmware_type (None = 3) = 1; uint64 vm_stop_reference_time = 2; }
 *   Unit { string name = 1; google.protobuf.Any state = 2; }
 */
#ifndef PARAPET_PARAVISOR_SERVICING_STATE_H
#define PARAPET_PARAVISOR_SERVICING_STATE_H

#include "common/protobuf.h"

/*
 * Of all units together: some ten KiB, unless a guest makes page lists without end. VTL2 must have
 * room for it twice.
 */
#define SERVICING_STATE_MAX (8 * MiB)

/* Starts a state; stop_time in units of 100 ns of the partition's reference time. */
void servicing_begin(struct pb_writer *w, u64 stop_time);

/* What is written between the two is the state of that unit. name: letters. */
struct servicing_unit {
	size_t unit, any, value;
};
struct servicing_unit servicing_begin_unit(struct pb_writer *w, const char *name);
void servicing_end_unit(struct pb_writer *w, struct servicing_unit unit);

/* The state of a unit. False: there is none of this name, two, or the whole is malformed. */
bool servicing_find(struct pb_bytes state, const char *name, struct pb_bytes *unit);

/*
 * What one process leaves to the next besides: file descriptors and the request that waits for an
 * answer. -1: none.
 */
struct servicing_handover {
	int listener, client;
	u32 request_id;
	u16 request_op;
	struct pb_bytes state;
};
/* What is written between the two is the state; handover's own is not looked at. */
size_t servicing_begin_handover(struct pb_writer *w, const struct servicing_handover *handover);
void servicing_end_handover(struct pb_writer *w, size_t mark);
bool servicing_get_handover(struct pb_bytes message, struct servicing_handover *handover);

#endif
