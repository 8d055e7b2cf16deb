/* Passes the host's VMBus offers on to the guest. */
#include "paravisor/vmbus/relay_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* What a host must be able to do, or its channels' signals would have to pass through VTL2. */
#define NEEDED (VMBUS_F_SIGNAL_PARAMS | VMBUS_F_REDIRECT | VMBUS_F_MODIFY_CONN)
/* Served here, whatever the host knows. */
#define LOCAL_FEATURES VMBUS_F_CLIENT_ID

/* --- the guest's requests go to the host */

static void guest_opens(void *dev, struct vmbus_channel *ch, const struct vmbus_open *open)
{
	struct relay_channel *rc = dev;

	rc->relay->opens++;
	if (vmbus_client_open(rc->relay->client, rc->host, open))
		vmbus_channel_open_done(ch, VMBUS_STATUS_FAILED);
}

static void guest_closes(void *dev, struct vmbus_channel *ch)
{
	struct relay_channel *rc = dev;

	/* the host does not answer; that it has let go of the rings is told by their teardown */
	vmbus_client_close(rc->relay->client, rc->host);
	vmbus_channel_close_done(ch);
}

static void guest_gpadl(void *dev, struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	struct relay_channel *rc = dev;

	if (vmbus_client_gpadl(rc->relay->client, rc->host, gpadl->id, gpadl->ranges, gpadl->data,
			       gpadl->words))
		vmbus_channel_gpadl_done(ch, gpadl->id, VMBUS_STATUS_FAILED);
}

static void guest_gpadl_teardown(void *dev, struct vmbus_channel *ch, u32 gpadl)
{
	struct relay_channel *rc = dev;

	if (vmbus_client_gpadl_teardown(rc->relay->client, rc->host, gpadl))
		vmbus_channel_gpadl_torn_down(ch, gpadl);
}

static void guest_modifies(void *dev, struct vmbus_channel *ch, u32 vp)
{
	struct relay_channel *rc = dev;

	if (vmbus_client_modify(rc->relay->client, rc->host, vp))
		vmbus_channel_modify_done(ch, VMBUS_STATUS_FAILED);
	else if (rc->relay->version < VMBUS_V5_3) /* no answer will come */
		vmbus_channel_modify_done(ch, VMBUS_STATUS_SUCCESS);
}

static void nobody_opened(void *ctx, u16 host, u32 status)
{
	struct relay *r = ctx;

	(void)status;
	relay_give_back(r->channel[host]);
}

static void nobody_rescinded(void *ctx, u16 host)
{
	struct relay *r = ctx;

	relay_give_back(r->channel[host]);
}

static const struct relay_keeper nobody = {
	.opened = nobody_opened,
	.rescinded = nobody_rescinded,
	.name = "nobody",
};

/* Neither the guest nor a keeper has the channel any more: the id is the host's again. */
void relay_give_back(struct relay_channel *rc)
{
	struct relay *r = rc->relay;

	vmbus_client_release(r->client, rc->host);
	if (!vmbus_client_knows(r->client, rc->host)) {
		r->channel[rc->host] = NULL;
		free(rc);
		return;
	}
	/* refused while an open is under way: the answer to it comes by here again */
	rc->ch = NULL;
	rc->keeper = &r->nobody;
}

static void guest_released(void *dev)
{
	relay_give_back(dev);
}

const struct vmbus_device_ops relay_device_ops = {
	.open = guest_opens,
	.close = guest_closes,
	.gpadl = guest_gpadl,
	.gpadl_teardown = guest_gpadl_teardown,
	.modify = guest_modifies,
	.released = guest_released,
};

void relay_tl_connect(struct relay *r, const struct guid *endpoint, const struct guid *service,
		      const struct guid *silo)
{
	if (!r->version || vmbus_client_tl_connect(r->client, endpoint, service, silo))
		vmbus_server_tl_result(r->cfg.guest, endpoint, service, VMBUS_STATUS_CONN_REFUSED);
}

/* --- the host's offers and answers go to the guest */

static int post(void *ctx, u32 connection, const void *msg, size_t len)
{
	struct relay *r = ctx;

	return r->cfg.post(r->cfg.ctx, connection, msg, len);
}

static void connected(void *ctx, u32 version, u32 features)
{
	struct relay *r = ctx;

	if (!version) {
		log_warn("VMBus: the host takes no version of ours; nothing is relayed");
		return;
	}
	if ((features & NEEDED) != NEEDED) {
		log_warn("VMBus: the host (%u.%u, features %#x) cannot signal the guest directly; "
			 "nothing is relayed",
			 version >> 16, version & 0xffff, features);
		vmbus_client_unload(r->client);
		return;
	}
	log_info("VMBus: connected to the host, version %u.%u, features %#x", version >> 16,
		 version & 0xffff, features);
	r->version = version;
	/* the guest's event flag and connection are passed on in any case */
	vmbus_server_limit(r->cfg.guest, version, LOCAL_FEATURES | VMBUS_F_SIGNAL_PARAMS);
	vmbus_client_request_offers(r->client);
}

static const struct keeper *keeper_of(struct relay *r, const struct vmbus_msg_offer *msg)
{
	for (unsigned i = 0; i < r->keepers; i++)
		if (r->keeper[i].ops->wants(r->keeper[i].ctx, msg))
			return &r->keeper[i];
	return NULL;
}

static void offered(void *ctx, const struct vmbus_msg_offer *msg)
{
	struct relay *r = ctx;
	struct vmbus_offer offer = {
		.interface = msg->interface,
		.instance = msg->instance,
		.subchannel = msg->subchannel,
		/* the rings of a relayed channel lie in the host's sight */
		.flags = msg->flags &
			 (u16) ~(VMBUS_OFFER_CONFIDENTIAL_RING | VMBUS_OFFER_CONFIDENTIAL_EXTERNAL),
		.mmio_mb = msg->mmio_mb,
		.transient = msg->flags & VMBUS_OFFER_TLNPI,
		.no_map = true,
		.name = RELAY_OFFER_NAME,
	};
	struct relay_channel *rc = calloc(1, sizeof(*rc));
	u16 host = (u16)msg->channel; /* checked by the client, not taken twice */

	r->offers++;
	if (!rc) {
		r->dropped_offers++;
		vmbus_client_release(r->client, host);
		return;
	}
	rc->relay = r;
	rc->host = host;
	rc->interface = msg->interface;
	rc->instance = msg->instance;
	rc->subchannel = msg->subchannel;
	r->channel[host] = rc;
	rc->keeper = keeper_of(r, msg);
	if (rc->keeper)
		return;
	memcpy(offer.user, msg->user, sizeof(offer.user));
	rc->ch = vmbus_server_offer(r->cfg.guest, &offer, &relay_device_ops, rc);
	if (!rc->ch) {
		r->dropped_offers++;
		relay_give_back(rc);
	}
}

static struct relay_channel *find(struct relay *r, u16 host)
{
	return r->channel[host];
}

static void rescinded(void *ctx, u16 host)
{
	struct relay_channel *rc = find(ctx, host);

	if (!rc)
		return;
	if (rc->keeper) {
		if (rc->keeper->ops->rescinded)
			rc->keeper->ops->rescinded(rc->keeper->ctx, host);
	} else if (rc->ch) {
		struct vmbus_channel *ch = rc->ch;

		/* gone at once (and rc with it) when the guest does not know the channel */
		rc->ch = NULL;
		vmbus_channel_revoke(ch);
	}
}

static void opened(void *ctx, u16 host, u32 status)
{
	struct relay_channel *rc = find(ctx, host);

	if (rc && rc->keeper && rc->keeper->ops->opened)
		rc->keeper->ops->opened(rc->keeper->ctx, host, status);
	else if (rc && rc->ch)
		vmbus_channel_open_done(rc->ch, status);
}

static void gpadl_created(void *ctx, u16 host, u32 gpadl, u32 status)
{
	struct relay_channel *rc = find(ctx, host);

	if (rc && rc->keeper && rc->keeper->ops->gpadl_created)
		rc->keeper->ops->gpadl_created(rc->keeper->ctx, host, gpadl, status);
	else if (rc && rc->ch)
		vmbus_channel_gpadl_done(rc->ch, gpadl, status);
}

static void gpadl_torndown(void *ctx, u16 host, u32 gpadl)
{
	struct relay_channel *rc = find(ctx, host);

	if (rc && rc->keeper && rc->keeper->ops->gpadl_torndown)
		rc->keeper->ops->gpadl_torndown(rc->keeper->ctx, host, gpadl);
	else if (rc && rc->ch)
		vmbus_channel_gpadl_torn_down(rc->ch, gpadl);
}

static void modified(void *ctx, u16 host, u32 status)
{
	struct relay_channel *rc = find(ctx, host);

	if (rc && rc->ch)
		vmbus_channel_modify_done(rc->ch, status);
}

static void tl_result(void *ctx, const struct guid *endpoint, const struct guid *service,
		      u32 status)
{
	struct relay *r = ctx;

	vmbus_server_tl_result(r->cfg.guest, endpoint, service, status);
}

static const struct vmbus_client_ops client_ops = {
	.post = post,
	.connected = connected,
	.offer = offered,
	.rescinded = rescinded,
	.opened = opened,
	.gpadl_created = gpadl_created,
	.gpadl_torndown = gpadl_torndown,
	.modified = modified,
	.tl_result = tl_result,
};

/* --- life */

struct relay *relay_new(const struct relay_config *config)
{
	const struct vmbus_client_config client = {
		.name = "VMBus host",
		.connection = config->connection ? config->connection : VMBUS_CONN_VTL2_REDIRECT,
		.features = NEEDED | VMBUS_F_CLIENT_ID | VMBUS_F_PAUSE,
		.min_version = VMBUS_V6_0, /* before, no guest could be signalled directly */
		/* OpenVMM's relay names itself like this */
		.client_id = GUID(0xceb1cd55, 0x6a3b, 0x41c5, 0x94, 0x73, 0x4d, 0xd3, 0x06, 0x24,
				  0xc3, 0xd8),
	};
	struct relay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->cfg = *config;
	r->nobody = (struct keeper){&nobody, r};
	r->client = vmbus_client_new(&client, &client_ops, r);
	if (!r->client) {
		free(r);
		return NULL;
	}
	return r;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++)
		free(r->channel[i]);
	vmbus_client_free(r->client);
	free(r);
}

int relay_connect(struct relay *r)
{
	return vmbus_client_connect(r->client);
}

void relay_message(struct relay *r, const void *msg, size_t len)
{
	vmbus_client_message(r->client, msg, len);
}

void relay_pump(struct relay *r)
{
	vmbus_client_pump(r->client);
}

bool relay_waiting(const struct relay *r)
{
	return vmbus_client_waiting(r->client);
}

bool relay_add_keeper(struct relay *r, const struct relay_keeper *keeper, void *ctx)
{
	if (r->keepers == RELAY_KEEPERS)
		return false;
	r->keeper[r->keepers++] = (struct keeper){keeper, ctx};
	return true;
}

const char *relay_keeper_name(const struct keeper *keeper)
{
	return keeper->ops->name ? keeper->ops->name : "vtl2";
}

struct vmbus_client *relay_host(struct relay *r)
{
	return r->client;
}

void relay_keeper_release(struct relay *r, u16 channel)
{
	struct relay_channel *rc = channel < VMBUS_MAX_CHANNELS ? r->channel[channel] : NULL;

	if (rc && rc->keeper)
		relay_give_back(rc);
}

void relay_describe(const struct relay *r, struct relay_info *info)
{
	*info = (struct relay_info){
		.offers = r->offers,
		.dropped_offers = r->dropped_offers,
		.opens = r->opens,
	};
	vmbus_client_describe(r->client, &info->host);
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		if (!r->channel[i])
			continue;
		info->kept += r->channel[i]->keeper != NULL;
		info->relayed += r->channel[i]->keeper == NULL;
	}
}

bool relay_channel(const struct relay *r, u16 host, struct relay_channel_info *info)
{
	const struct relay_channel *rc = host < VMBUS_MAX_CHANNELS ? r->channel[host] : NULL;

	if (!rc)
		return false;
	*info = (struct relay_channel_info){
		.interface = rc->interface,
		.instance = rc->instance,
		.subchannel = rc->subchannel,
		.guest = rc->ch ? vmbus_channel_id(rc->ch) : 0,
	};
	if (rc->keeper)
		info->keeper = relay_keeper_name(rc->keeper);
	return true;
}
