/* The message that holds a VM's state. */
#include "paravisor/servicing/state.h"

#include "common/saved.h"

#include <stdio.h>
#include <string.h>

enum {
	STATE_INIT = 1,
	STATE_UNIT = 2,
	INIT_FIRMWARE = 1,
	INIT_STOP_TIME = 2,
	FIRMWARE_NONE = 3,
	UNIT_NAME = 1,
	UNIT_STATE = 2,
	ANY_TYPE = 1,
	ANY_VALUE = 2,
};

enum {
	HANDOVER_STATE = 1,
	HANDOVER_LISTENER = 2, /* descriptors plus one, as 0 is left out */
	HANDOVER_CLIENT = 3,
	HANDOVER_REQUEST_ID = 4,
	HANDOVER_REQUEST_OP = 5,
};

void servicing_begin(struct pb_writer *w, u64 stop_time)
{
	size_t init = pb_begin(w, STATE_INIT), firmware;

	firmware = pb_begin(w, INIT_FIRMWARE);
	pb_end(w, pb_begin(w, FIRMWARE_NONE));
	pb_end(w, firmware);
	pb_put_u64(w, INIT_STOP_TIME, stop_time);
	pb_end(w, init);
}

struct servicing_unit servicing_begin_unit(struct pb_writer *w, const char *name)
{
	struct servicing_unit unit;
	char type[64];

	snprintf(type, sizeof(type), "type.googleapis.com/parapet.%s", name);
	unit.unit = pb_begin(w, STATE_UNIT);
	pb_put_text(w, UNIT_NAME, name);
	unit.any = pb_begin(w, UNIT_STATE);
	pb_put_text(w, ANY_TYPE, type);
	unit.value = pb_begin(w, ANY_VALUE);
	return unit;
}

void servicing_end_unit(struct pb_writer *w, struct servicing_unit unit)
{
	pb_end(w, unit.value);
	pb_end(w, unit.any);
	pb_end(w, unit.unit);
}

bool servicing_find(struct pb_bytes state, const char *name, struct pb_bytes *unit)
{
	struct pb_bytes its_name, any;
	struct pb_reader r;
	struct pb_field f;
	unsigned found = 0;

	pb_reader_init(&r, state);
	while (pb_next(&r, &f)) {
		if (!pb_is(&r, &f, STATE_UNIT, PB_BYTES))
			continue;
		if (!pb_find_bytes(f.bytes, UNIT_NAME, &its_name))
			return false;
		if (!pb_equal(its_name, name))
			continue;
		found++;
		if (!pb_find_bytes(f.bytes, UNIT_STATE, &any) ||
		    !pb_find_bytes(any, ANY_VALUE, unit))
			return false;
	}
	return !r.failed && found == 1;
}

size_t servicing_begin_handover(struct pb_writer *w, const struct servicing_handover *handover)
{
	pb_put_u64(w, HANDOVER_LISTENER, (u64)(handover->listener + 1));
	pb_put_u64(w, HANDOVER_CLIENT, (u64)(handover->client + 1));
	pb_put_u64(w, HANDOVER_REQUEST_ID, handover->request_id);
	pb_put_u64(w, HANDOVER_REQUEST_OP, handover->request_op);
	return pb_begin(w, HANDOVER_STATE);
}

void servicing_end_handover(struct pb_writer *w, size_t mark)
{
	pb_end(w, mark);
}

bool servicing_get_handover(struct pb_bytes message, struct servicing_handover *handover)
{
	struct pb_reader r;
	struct pb_field f;
	bool good = true;

	*handover = (struct servicing_handover){.listener = -1, .client = -1};
	pb_reader_init(&r, message);
	while (pb_next(&r, &f)) {
		if (pb_is(&r, &f, HANDOVER_STATE, PB_BYTES)) {
			handover->state = f.bytes;
		} else if (pb_is(&r, &f, HANDOVER_LISTENER, PB_VARINT)) {
			good &= f.value <= INT32_MAX;
			handover->listener = (int)((s64)MIN(f.value, (u64)INT32_MAX) - 1);
		} else if (pb_is(&r, &f, HANDOVER_CLIENT, PB_VARINT)) {
			good &= f.value <= INT32_MAX;
			handover->client = (int)((s64)MIN(f.value, (u64)INT32_MAX) - 1);
		} else if (pb_is(&r, &f, HANDOVER_REQUEST_ID, PB_VARINT)) {
			good &= f.value <= UINT32_MAX;
			handover->request_id = (u32)f.value;
		} else if (pb_is(&r, &f, HANDOVER_REQUEST_OP, PB_VARINT)) {
			good &= f.value <= UINT16_MAX;
			handover->request_op = (u16)f.value;
		}
	}
	return good && !r.failed;
}
