/* The few functions behind the device interfaces: timer table and inspect lines. */
#include <stdarg.h>
#include <stdio.h>

#include "vtl2-devices/iface.h"

void dev_inspect_line(const struct dev_inspect *out, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	if (!out->line)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out->line(out->ctx, text);
}

bool dev_timer_register(struct dev_timers *timers, struct dev_timer *timer,
			void (*fire)(void *ctx, u64 now_ns), void *ctx)
{
	*timer = (struct dev_timer){.deadline = DEV_TIMER_NEVER, .fire = fire, .ctx = ctx};
	if (!timers)
		return true;
	if (timers->count == ARRAY_SIZE(timers->timer))
		return false;
	timers->timer[timers->count++] = timer;
	return true;
}

u64 dev_timers_next(const struct dev_timers *timers)
{
	u64 next = DEV_TIMER_NEVER;

	for (unsigned i = 0; i < timers->count; i++)
		next = MIN(next, timers->timer[i]->deadline);
	return next;
}

void dev_timers_run(struct dev_timers *timers, u64 now_ns)
{
	for (unsigned i = 0; i < timers->count; i++) {
		struct dev_timer *t = timers->timer[i];

		if (t->deadline == DEV_TIMER_NEVER || t->deadline > now_ns)
			continue;
		t->deadline = DEV_TIMER_NEVER;
		t->fire(t->ctx, now_ns);
	}
}
