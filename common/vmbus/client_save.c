/* A VMBus client: saved and restored, with what the host still owes it. */
#include <stdlib.h>

#include "common/vmbus/client_impl.h"
#include "common/vmbus/save.h"

/* Fields of the client's message behind its numbers. */
enum { CLIENT_CHANNEL = 40, CLIENT_GPADL, CLIENT_MESSAGE };

static const struct saved_field client_fields[] = {
	SAVED_NUMBER(1, struct vmbus_client, state, CL_UNLOADING),
	SAVED_ANY(2, struct vmbus_client, version),
	SAVED_ANY(3, struct vmbus_client, features),
	SAVED_ANY(4, struct vmbus_client, connection),
	SAVED_BOOL(5, struct vmbus_client, offers_requested),
	SAVED_BOOL(6, struct vmbus_client, pausing),
	SAVED_BOOL(7, struct vmbus_client, paused),
	SAVED_BOOL(8, struct vmbus_client, conn_modifying),
	SAVED_ANY(9, struct vmbus_client, mistakes),
	SAVED_ANY(10, struct vmbus_client, messages_in),
	SAVED_ANY(11, struct vmbus_client, messages_out),
	SAVED_ANY(12, struct vmbus_client, dropped),
	SAVED_ANY(13, struct vmbus_client, stale),
	SAVED_ANY(14, struct vmbus_client, lost),
};
static const struct saved_layout client_layout = SAVED_LAYOUT(client_fields);

struct saved_channel {
	u16 id;
	struct client_channel ch;
};

static const struct saved_field channel_fields[] = {
	SAVED_NUMBER(1, struct saved_channel, id, VMBUS_MAX_CHANNELS - 1),
	SAVED_NUMBER(2, struct saved_channel, ch.state, CC_OPEN),
	SAVED_BOOL(3, struct saved_channel, ch.rescinded),
	SAVED_BOOL(4, struct saved_channel, ch.modifying),
	SAVED_BOOL(5, struct saved_channel, ch.modify_void),
	SAVED_ANY(6, struct saved_channel, ch.open_id),
};
static const struct saved_layout channel_layout = SAVED_LAYOUT(channel_fields);

static const struct saved_field gpadl_fields[] = {
	SAVED_ANY(1, struct client_gpadl, id),
	SAVED_NUMBER(2, struct client_gpadl, channel, VMBUS_MAX_CHANNELS - 1),
	SAVED_NUMBER(3, struct client_gpadl, state, CG_TEARDOWN),
};
static const struct saved_layout gpadl_layout = SAVED_LAYOUT(gpadl_fields);

static void save_gpadls(const struct vmbus_client *c, struct pb_writer *w)
{
	const struct client_gpadl **list;
	unsigned n = 0;

	if (!c->gpadls)
		return;
	list = malloc(c->gpadls * sizeof(*list));
	if (!list) {
		w->failed = true;
		return;
	}
	/* the oldest, which stand last, are the first to be added again */
	for (unsigned i = 0; i < GPADL_BUCKETS; i++)
		for (const struct client_gpadl *g = c->gpadl[i]; g; g = g->next)
			list[n++] = g;
	while (n)
		saved_put(w, CLIENT_GPADL, &gpadl_layout, list[--n]);
	free(list);
}

void vmbus_client_save(const struct vmbus_client *c, struct pb_writer *w)
{
	saved_write(w, &client_layout, c);
	for (u16 i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		struct saved_channel out = {i, c->channel[i]};

		if (out.ch.state != CC_NONE)
			saved_put(w, CLIENT_CHANNEL, &channel_layout, &out);
	}
	save_gpadls(c, w);
	vmbus_outbox_save(&c->out, w, CLIENT_MESSAGE);
}

static bool restore_channel(void *client, struct pb_bytes state)
{
	struct vmbus_client *c = client;
	struct saved_channel in = {0};

	if (!saved_read(state, &channel_layout, &in) || !in.id || in.ch.state == CC_NONE ||
	    c->channel[in.id].state != CC_NONE || (in.ch.modify_void && !in.ch.modifying) ||
	    (in.ch.state == CC_OPENING && in.ch.rescinded))
		return false;
	c->channel[in.id] = in.ch;
	c->channels++;
	return true;
}

static bool restore_gpadl(void *client, struct pb_bytes state)
{
	struct vmbus_client *c = client;
	struct client_gpadl in = {0}, *g;

	if (!saved_read(state, &gpadl_layout, &in) || !vmbus_client_knows(c, in.channel) ||
	    c->gpadls >= CLIENT_MAX_GPADLS || vclient_find_gpadl(c, in.channel, in.id, -1) ||
	    (in.state == CG_CREATING && vclient_find_gpadl(c, -1, in.id, CG_CREATING)))
		return false;
	g = vclient_add_gpadl(c, in.channel, in.id);
	if (!g)
		return false;
	g->state = in.state;
	return true;
}

static bool restore_message(void *client, struct pb_bytes state)
{
	struct vmbus_client *c = client;
	struct vmbus_outmsg m;

	return vmbus_outmsg_restore(state, &m) && !m.vtl && !m.sint &&
	       vmbus_outbox_put(&c->out, m.target, 0, 0, m.data, m.len);
}

static bool connection_valid(const struct vmbus_client *c)
{
	if (c->state == CL_IDLE ? c->version != 0 : !vclient_version_known(c->version))
		return false;
	if (c->pausing && !c->paused)
		return false;
	if (c->state == CL_UP || c->state == CL_UNLOADING)
		return c->offers_requested || !c->channels;
	return !c->features && !c->channels && !c->offers_requested && !c->paused &&
	       !c->conn_modifying;
}

bool vmbus_client_restore(struct vmbus_client *c, struct pb_bytes state)
{
	return saved_read(state, &client_layout, c) &&
	       saved_each(state, CLIENT_CHANNEL, restore_channel, c) &&
	       saved_each(state, CLIENT_GPADL, restore_gpadl, c) &&
	       saved_each(state, CLIENT_MESSAGE, restore_message, c) && connection_valid(c);
}
