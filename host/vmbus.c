/* VMBus channel messages: include/linux/hyperv.h names; layouts as Linux's driver uses them. */
#include "host/vmbus.h"

#include <string.h>

#include "common/bytes.h"
#include "common/log.h"
#include "host/synic.h"

#define VMBUS_SINT 2

enum {
	CHANNELMSG_REQUESTOFFERS = 3,
	CHANNELMSG_ALLOFFERS_DELIVERED = 4,
	CHANNELMSG_INITIATE_CONTACT = 14,
	CHANNELMSG_VERSION_RESPONSE = 15,
	CHANNELMSG_UNLOAD = 16,
	CHANNELMSG_UNLOAD_RESPONSE = 17,
};

#define VERSION_WIN10_V5_3 0x00050003u

static void reply(struct vm *vm, const u8 *payload, u8 size)
{
	struct hv_message m = {
		.type = HV_MSG_VMBUS, .payload_size = size, .sender = HV_CONNECTION_VMBUS_VTL2};

	memcpy(m.payload, payload, size);
	synic_post(&vm->vp[0], VTL2, VMBUS_SINT, &m, true);
}

static void initiate_contact(struct vm *vm, const u8 *p, u32 size)
{
	u8 out[16] = {CHANNELMSG_VERSION_RESPONSE};
	u32 version;

	if (size < 20)
		return;
	version = get_le32(p + 8);
	/* @16: target SINT, @17: target VTL */
	if (version <= VERSION_WIN10_V5_3 && p[16] == VMBUS_SINT && p[17] == 2) {
		out[8] = 1;
		put_le32(out + 12, HV_CONNECTION_VMBUS_VTL2);
	}
	log_debug("VMBus: VTL2 asks for version %u.%u: %s", version >> 16, version & 0xffff,
		  out[8] ? "accepted" : "refused");
	reply(vm, out, sizeof(out));
}

u16 vmbus_receive(struct vm *vm, const struct hv_post_message *in)
{
	u8 out[8] = {0};

	if (in->connection_id != HV_CONNECTION_VMBUS_VTL2 &&
	    in->connection_id != HV_CONNECTION_VMBUS_MULTI &&
	    in->connection_id != HV_CONNECTION_VMBUS_RELAY)
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (in->payload_size < 8)
		return HV_STATUS_SUCCESS;
	switch (get_le32(in->payload)) {
	case CHANNELMSG_INITIATE_CONTACT:
		initiate_contact(vm, in->payload, in->payload_size);
		break;
	case CHANNELMSG_REQUESTOFFERS:
		out[0] = CHANNELMSG_ALLOFFERS_DELIVERED;
		reply(vm, out, sizeof(out));
		break;
	case CHANNELMSG_UNLOAD:
		out[0] = CHANNELMSG_UNLOAD_RESPONSE;
		reply(vm, out, sizeof(out));
		break;
	default: log_debug("VMBus: message %u of VTL2 ignored", get_le32(in->payload));
	}
	return HV_STATUS_SUCCESS;
}
