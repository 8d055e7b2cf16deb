/* The relay: saved and restored. */
#include <stdlib.h>

#include "common/log.h"
#include "common/vmbus/save.h"
#include "paravisor/vmbus/relay_impl.h"

#define KEEPER_NAME 32

/* Fields behind the numbers: of the relay, of a channel. */
enum { RELAY_CLIENT = 40, RELAY_CHANNEL };
enum { CHANNEL_KEEPER = 40 };

static const struct saved_field relay_fields[] = {
	SAVED_ANY(1, struct relay, version),
	SAVED_ANY(2, struct relay, offers),
	SAVED_ANY(3, struct relay, dropped_offers),
	SAVED_ANY(4, struct relay, opens),
};
static const struct saved_layout relay_layout = SAVED_LAYOUT(relay_fields);

struct saved_channel {
	struct relay_channel rc;
	bool revoked; /* at the guest's server, which has not released it */
};

static const struct saved_field channel_fields[] = {
	SAVED_NUMBER(1, struct saved_channel, rc.host, VMBUS_MAX_CHANNELS - 1),
	SAVED_STRUCT(2, struct saved_channel, rc.interface, &vmbus_saved_guid),
	SAVED_STRUCT(3, struct saved_channel, rc.instance, &vmbus_saved_guid),
	SAVED_ANY(4, struct saved_channel, rc.subchannel),
	SAVED_BOOL(5, struct saved_channel, revoked),
};
static const struct saved_layout channel_layout = SAVED_LAYOUT(channel_fields);

/* A subchannel goes with its primary one, before the host has said so of it. */
static bool is_revoked(const struct relay_channel *rc)
{
	return !rc->keeper && (!rc->ch || vmbus_channel_revoked(rc->ch));
}

void relay_save(const struct relay *r, struct pb_writer *w)
{
	size_t mark;

	saved_write(w, &relay_layout, r);
	mark = pb_begin(w, RELAY_CLIENT);
	vmbus_client_save(r->client, w);
	pb_end(w, mark);
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		const struct relay_channel *rc = r->channel[i];
		struct saved_channel out;

		if (!rc)
			continue;
		out = (struct saved_channel){.rc = *rc, .revoked = is_revoked(rc)};
		mark = pb_begin(w, RELAY_CHANNEL);
		saved_write(w, &channel_layout, &out);
		if (rc->keeper)
			pb_put_text(w, CHANNEL_KEEPER, relay_keeper_name(rc->keeper));
		pb_end(w, mark);
	}
}

void relay_restore_done(struct relay *r)
{
	for (u16 i = 1; i < VMBUS_MAX_CHANNELS; i++)
		if (r->channel[i] && r->channel[i]->keeper == &r->nobody)
			relay_give_back(r->channel[i]);
}

static const struct keeper *keeper_named(struct relay *r, const char *name, u16 host)
{
	for (unsigned i = 0; i < r->keepers; i++)
		if (pb_equal(pb_text(name), relay_keeper_name(&r->keeper[i])))
			return &r->keeper[i];
	log_warn("VMBus: channel %u of the host was kept by %s, which is not there any more", host,
		 name);
	return &r->nobody;
}

/* --- restore */

static bool restore_channel(void *context, struct pb_bytes state)
{
	struct vmbus_offer offer = {.no_map = true, .name = RELAY_OFFER_NAME};
	struct saved_channel in = {0};
	struct relay_channel *rc;
	struct relay *r = context;
	char keeper[KEEPER_NAME];

	if (!saved_read(state, &channel_layout, &in) ||
	    !vmbus_saved_text(state, CHANNEL_KEEPER, keeper, sizeof(keeper)) ||
	    !vmbus_client_knows(r->client, in.rc.host) || r->channel[in.rc.host])
		return false;
	rc = malloc(sizeof(*rc));
	if (!rc)
		return false;
	*rc = in.rc;
	rc->relay = r;
	r->channel[rc->host] = rc;
	if (*keeper) {
		rc->keeper = keeper_named(r, keeper, rc->host);
		return true;
	}
	offer.interface = rc->interface;
	offer.instance = rc->instance;
	offer.subchannel = rc->subchannel;
	if (in.revoked)
		return vmbus_server_adopt_revoked(r->cfg.guest, &offer, &relay_device_ops, rc);
	rc->ch = vmbus_server_adopt(r->cfg.guest, &offer, &relay_device_ops, rc);
	return rc->ch;
}

bool relay_restore(struct relay *r, struct pb_bytes state)
{
	struct relay_info info;
	struct pb_bytes client;

	if (!saved_read(state, &relay_layout, r) || !pb_find_bytes(state, RELAY_CLIENT, &client) ||
	    !vmbus_client_restore(r->client, client) ||
	    !saved_each(state, RELAY_CHANNEL, restore_channel, r))
		return false;
	/* each channel that the host has offered is here, too */
	relay_describe(r, &info);
	return info.kept + info.relayed == info.host.channels;
}
