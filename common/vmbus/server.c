/* VMBus server: its life, the bracket around calls, signals. */
#include "common/vmbus/server_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"

#define DEFAULT_QUEUE 64

void vsrv_mistake(struct vmbus_server *s, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	s->dropped++;
	if (s->mistakes >= VSRV_LOGGED_MISTAKES || s->lines >= VSRV_LOGGED_LINES)
		return;
	s->lines++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("%s: %s%s", s->cfg.name, text,
		 ++s->mistakes == VSRV_LOGGED_MISTAKES ? " (no more of these are shown)" : "");
}

void vsrv_enter(struct vmbus_server *s)
{
	s->depth++;
}

void vsrv_leave(struct vmbus_server *s)
{
	if (s->depth > 1) {
		s->depth--;
		return;
	}
	while (vsrv_disconnect_step(s))
		;
	while (s->dead) {
		struct vmbus_channel *ch = s->dead;

		s->dead = ch->next_dead;
		free(ch->page);
		free(ch);
	}
	s->depth--;
}

void vmbus_channel_signal(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;
	u32 vp = __atomic_load_n(&ch->open.target_vp, __ATOMIC_ACQUIRE);

	if (vp == VMBUS_VP_INTERRUPT_DISABLED)
		return;
	__atomic_fetch_add(&ch->signals_out, 1, __ATOMIC_RELAXED);
	if (ch->open.redirect)
		s->ops->signal(s->ctx, 2, 0, VMBUS_REDIRECT_SINT, ch->open.event_flag);
	else
		s->ops->signal(s->ctx, s->cfg.vtl, vp, s->cfg.sint, ch->open.event_flag);
}

void vmbus_channel_signalled(struct vmbus_channel *ch)
{
	struct vmbus_server *s = ch->server;

	if (ch->state != CH_OPEN && ch->state != CH_OPENING)
		return;
	vsrv_enter(s);
	ch->signals_in++;
	if (ch->ops->signal)
		ch->ops->signal(ch->dev, ch);
	vsrv_leave(s);
}

bool vmbus_server_event(struct vmbus_server *s, u32 connection)
{
	struct vmbus_channel *ch = s->channel[connection & (VMBUS_MAX_CHANNELS - 1)];

	/* nearly always the id itself */
	if (!ch || !ch->port_mapped || ch->open.connection != connection) {
		ch = NULL;
		for (unsigned i = 1; i < VMBUS_MAX_CHANNELS && !ch; i++) {
			struct vmbus_channel *c = s->channel[i];

			if (c && c->port_mapped && c->open.connection == connection)
				ch = c;
		}
	}
	if (!ch)
		return false;
	vmbus_channel_signalled(ch);
	return true;
}

struct vmbus_server *vmbus_server_new(const struct vmbus_server_config *config,
				      const struct vmbus_server_ops *ops, void *ctx)
{
	struct vmbus_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->cfg = *config;
	s->ops = ops;
	s->ctx = ctx;
	if (!s->cfg.name)
		s->cfg.name = "VMBus";
	if (!s->cfg.sint)
		s->cfg.sint = VMBUS_SINT;
	if (!s->cfg.max_version)
		s->cfg.max_version = VMBUS_V6_0;
	if (!s->cfg.connection)
		s->cfg.connection = VMBUS_CONN_MULTI;
	if (!s->cfg.first_channel)
		s->cfg.first_channel = 1;
	if (!s->cfg.max_queue)
		s->cfg.max_queue = DEFAULT_QUEUE;
	s->sint = s->cfg.sint;
	s->transient_hint = VSRV_TRANSIENT_FIRST;
	return s;
}

void vmbus_server_free(struct vmbus_server *s)
{
	if (!s)
		return;
	for (unsigned i = 1; i < VMBUS_MAX_CHANNELS; i++) {
		if (s->channel[i]) {
			free(s->channel[i]->page);
			free(s->channel[i]);
		}
	}
	vmbus_gpadl_free_all(&s->gpadls);
	vmbus_outbox_free(&s->out);
	free(s);
}

void vmbus_server_limit(struct vmbus_server *s, u32 max_version, u32 features)
{
	s->cfg.max_version = max_version;
	s->cfg.features = features;
}

struct vmbus_rx *vmbus_channel_rx(struct vmbus_channel *ch)
{
	return ch->rings ? &ch->rx : NULL;
}

struct vmbus_tx *vmbus_channel_tx(struct vmbus_channel *ch)
{
	return ch->rings ? &ch->tx : NULL;
}

u16 vmbus_channel_id(const struct vmbus_channel *ch)
{
	return ch->id;
}

bool vmbus_channel_revoked(const struct vmbus_channel *ch)
{
	return ch->state == CH_REVOKED;
}

struct vmbus_server *vmbus_channel_server(const struct vmbus_channel *ch)
{
	return ch->server;
}

void *vmbus_channel_device(const struct vmbus_channel *ch)
{
	return ch->dev;
}
