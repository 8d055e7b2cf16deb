/* What unit tests of device models share: a clock they move, recorded lines, power and messages. */
#ifndef PARAPET_TESTS_UNIT_DEV_FAKE_H
#define PARAPET_TESTS_UNIT_DEV_FAKE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "vtl2-devices/iface.h"

struct fake {
	u64 now, wall;
	bool level[32];
	unsigned rises[32];
	unsigned offs, resets;
	const char *why;
	struct apic_msg msg[64];
	unsigned msgs;
	char text[4096];
	size_t text_len;
};

static inline u64 fake_now(void *ctx)
{
	return ((struct fake *)ctx)->now;
}

static inline u64 fake_wall(void *ctx)
{
	return ((struct fake *)ctx)->wall;
}

static inline void fake_irq_set(void *ctx, unsigned line, bool level)
{
	struct fake *f = ctx;

	assert_true(line < 32);
	f->rises[line] += level && !f->level[line];
	f->level[line] = level;
}

static inline void fake_power_request(void *ctx, enum dev_power_event event, const char *why)
{
	struct fake *f = ctx;

	if (event == DEV_POWER_OFF)
		f->offs++;
	else
		f->resets++;
	f->why = why;
}

static inline void fake_send(void *ctx, const struct apic_msg *msg)
{
	struct fake *f = ctx;

	f->msg[f->msgs++ % ARRAY_SIZE(f->msg)] = *msg;
}

static inline void fake_write(void *ctx, const u8 *data, size_t len)
{
	struct fake *f = ctx;

	assert_true(f->text_len + len < sizeof(f->text));
	memcpy(f->text + f->text_len, data, len);
	f->text_len += len;
}

static inline void fake_line(void *ctx, const char *text)
{
	fake_write(ctx, (const u8 *)text, strlen(text));
	fake_write(ctx, (const u8 *)"\n", 1);
}

static inline struct dev_clock fake_clock(struct fake *f)
{
	return (struct dev_clock){fake_now, f};
}

static inline struct dev_wallclock fake_wallclock(struct fake *f)
{
	return (struct dev_wallclock){fake_wall, f};
}

static inline struct dev_irq fake_irq(struct fake *f, unsigned line)
{
	return (struct dev_irq){fake_irq_set, f, line};
}

static inline struct dev_power fake_power(struct fake *f)
{
	return (struct dev_power){fake_power_request, f};
}

static inline struct dev_apic fake_apic(struct fake *f)
{
	return (struct dev_apic){fake_send, f};
}

static inline struct dev_char_sink fake_sink(struct fake *f)
{
	return (struct dev_char_sink){fake_write, f};
}

/* Lets both clocks run to `until`, firing timers as their owner would. */
static inline void fake_run(struct fake *f, struct dev_timers *timers, u64 until)
{
	for (unsigned guard = 0; dev_timers_next(timers) <= until; guard++) {
		u64 next = MAX(dev_timers_next(timers), f->now);

		assert_true(guard < 100000);
		f->wall += next - f->now;
		f->now = next;
		dev_timers_run(timers, f->now);
	}
	f->wall += until - f->now;
	f->now = until;
}

#endif
