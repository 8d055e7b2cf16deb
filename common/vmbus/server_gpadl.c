/* VMBus server: the GPADLs of a channel, from the header to the end of the teardown. */
#include "common/vmbus/server_impl.h"

void vchan_gpadl_drop(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	ch->gpadls--;
	vmbus_gpadl_free(&ch->server->gpadls, g);
}

bool vchan_has_rings(const struct vmbus_channel *ch)
{
	switch (ch->state) {
	case CH_OPENING:
	case CH_OPEN:
	case CH_CLOSING:
	case CH_CLOSING_REOPEN:
	case CH_OPENING_RELEASED:
	case CH_CLOSING_RELEASED: return true;
	default: return false;
	}
}

static bool ring_in_use(const struct vmbus_channel *ch, u32 gpadl)
{
	return vchan_has_rings(ch) && ch->open.gpadl == gpadl;
}

/* Asks the device to let go, unless its open rings still lie there. */
void vchan_gpadl_try_teardown(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	if (g->asked || ring_in_use(ch, g->id))
		return;
	g->asked = true;
	if (ch->ops->gpadl_teardown)
		ch->ops->gpadl_teardown(ch->dev, ch, g->id);
	else
		vmbus_channel_gpadl_torn_down(ch, g->id);
}

/*
 * Calls fn once for each. Devices that fn asks may let go of any of them, or of the channel, so the
 * search starts anew after each call; marks tell what was seen.
 */
void vchan_each_gpadl(struct vmbus_channel *ch,
		      void (*fn)(struct vmbus_channel *ch, struct vmbus_gpadl *g))
{
	struct vmbus_server *s = ch->server;
	u32 mark = ++s->gpadl_mark;

	for (unsigned i = 0; i < GPADL_BUCKETS && ch->gpadls && ch->state != CH_GONE; i++) {
		struct vmbus_gpadl *g = s->gpadls.bucket[i];

		while (g) {
			if (g->channel != ch->id || g->mark == mark) {
				g = g->next;
				continue;
			}
			g->mark = mark;
			fn(ch, g);
			if (ch->state == CH_GONE)
				break;
			g = s->gpadls.bucket[i];
		}
	}
}

void vchan_gpadl_release(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	g->announce = false;
	switch (g->state) {
	case GPADL_IN_PROGRESS: vchan_gpadl_drop(ch, g); break;
	case GPADL_OFFERED: g->state = GPADL_OFFERED_TEARING_DOWN; break;
	case GPADL_ACCEPTED:
		g->state = GPADL_TEARING_DOWN;
		vchan_gpadl_try_teardown(ch, g);
		break;
	case GPADL_TEARING_DOWN:
	case GPADL_OFFERED_TEARING_DOWN: break;
	}
}

void vchan_gpadl_revoke(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	switch (g->state) {
	case GPADL_OFFERED:
		vsrv_send_gpadl_created(ch->server, ch->id, g->id, VMBUS_STATUS_FAILED);
		vchan_gpadl_drop(ch, g);
		break;
	case GPADL_TEARING_DOWN:
		if (g->announce)
			vsrv_send_gpadl_torndown(ch->server, g->id);
		vchan_gpadl_drop(ch, g);
		break;
	case GPADL_OFFERED_TEARING_DOWN: vchan_gpadl_drop(ch, g); break;
	/* the guest's to unwind */
	case GPADL_IN_PROGRESS:
	case GPADL_ACCEPTED: break;
	}
}

void vchan_gpadl_resume_teardown(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	if (g->state == GPADL_TEARING_DOWN)
		vchan_gpadl_try_teardown(ch, g);
}

void vchan_gpadl_complete(struct vmbus_channel *ch, struct vmbus_gpadl *g)
{
	if (ch->state == CH_REVOKED) {
		g->state = GPADL_ACCEPTED;
		vsrv_send_gpadl_created(ch->server, ch->id, g->id, VMBUS_STATUS_SUCCESS);
	} else if (ch->ops->gpadl) {
		ch->ops->gpadl(ch->dev, ch, g);
	} else {
		vmbus_channel_gpadl_done(ch, g->id, VMBUS_STATUS_SUCCESS);
	}
}

void vmbus_channel_gpadl_done(struct vmbus_channel *ch, u32 gpadl, u32 status)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_gpadl *g = vmbus_gpadl_find(&s->gpadls, gpadl, ch->id);

	if (!g)
		return;
	vsrv_enter(s);
	if (g->state == GPADL_OFFERED) {
		vsrv_send_gpadl_created(s, ch->id, gpadl, status);
		if (status)
			vchan_gpadl_drop(ch, g);
		else
			g->state = GPADL_ACCEPTED;
	} else if (g->state == GPADL_OFFERED_TEARING_DOWN) {
		if (status) {
			vchan_gpadl_drop(ch, g);
		} else {
			g->state = GPADL_TEARING_DOWN;
			vchan_gpadl_try_teardown(ch, g);
		}
	}
	vsrv_leave(s);
}

void vmbus_channel_gpadl_torn_down(struct vmbus_channel *ch, u32 gpadl)
{
	struct vmbus_server *s = ch->server;
	struct vmbus_gpadl *g = vmbus_gpadl_find(&s->gpadls, gpadl, ch->id);

	if (!g || g->state != GPADL_TEARING_DOWN || !g->asked)
		return;
	vsrv_enter(s);
	if (g->announce)
		vsrv_send_gpadl_torndown(s, gpadl);
	vchan_gpadl_drop(ch, g);
	vsrv_leave(s);
}

const struct vmbus_gpadl *vmbus_channel_gpadl(struct vmbus_channel *ch, u32 id)
{
	const struct vmbus_gpadl *g = vmbus_gpadl_find(&ch->server->gpadls, id, ch->id);

	return g && g->state == GPADL_ACCEPTED ? g : NULL;
}
