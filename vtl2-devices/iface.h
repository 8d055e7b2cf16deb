/* What device models get from whoever owns them: interrupts, time, timers, power, characters. */
#ifndef PARAPET_VTL2_DEVICES_IFACE_H
#define PARAPET_VTL2_DEVICES_IFACE_H

#include "common/saved.h"
#include "common/types.h"

/*
 * Models make no OS calls, allocate nothing and take no lock. The owner serialises every call into
 * a device (one lock around the whole chipset); all callbacks below run with that lock held, so
 * they must not call back into a device and must not block.
 *
 * Every callback may be NULL: the event is then dropped, time reads as zero.
 */

/* An interrupt line. level is the logical state (asserted or not), whatever the wire's polarity. */
struct dev_irq {
	void (*set)(void *ctx, unsigned line, bool level);
	void *ctx;
	unsigned line;
};

/* Monotonic time of the guest in nanoseconds; starts anywhere, never goes back. */
struct dev_clock {
	u64 (*now_ns)(void *ctx);
	void *ctx;
};

/* Wall clock: nanoseconds since 1970-01-01 UTC. May jump; untrusted. */
struct dev_wallclock {
	u64 (*unix_ns)(void *ctx);
	void *ctx;
};

enum dev_power_event { DEV_POWER_OFF, DEV_POWER_RESET };

/* The guest asked for power-off or reset. The sink only takes a note: the access still completes.
 * why is a static string. */
struct dev_power {
	void (*request)(void *ctx, enum dev_power_event event, const char *why);
	void *ctx;
};

/* Takes what the guest sends. It must take all of it at once (queue or drop on its own account). */
struct dev_char_sink {
	void (*write)(void *ctx, const u8 *data, size_t len);
	void *ctx;
};

enum apic_delivery {
	APIC_FIXED = 0,
	APIC_LOWEST = 1,
	APIC_SMI = 2,
	APIC_NMI = 4,
	APIC_INIT = 5,
	APIC_SIPI = 6,
	APIC_EXTINT = 7,
};

/* An interrupt message to the local APICs of the guest (HvCallAssertVirtualInterrupt fields). */
struct apic_msg {
	u32 dest; /* APIC id, or logical destination */
	u8 vector;
	u8 delivery; /* enum apic_delivery */
	bool logical;
	bool level;
};

struct dev_apic {
	void (*send)(void *ctx, const struct apic_msg *msg);
	void *ctx;
};

/* Receives one line of a device's state, without newline; text is valid during the call only. */
struct dev_inspect {
	void (*line)(void *ctx, const char *text);
	void *ctx;
};

/* Formats one line (cut at 159 characters). */
__attribute__((format(printf, 2, 3))) void dev_inspect_line(const struct dev_inspect *out,
							    const char *fmt, ...);

static inline void dev_irq_set(const struct dev_irq *irq, bool level)
{
	if (irq->set)
		irq->set(irq->ctx, irq->line, level);
}

static inline u64 dev_now(const struct dev_clock *clock)
{
	return clock->now_ns ? clock->now_ns(clock->ctx) : 0;
}

static inline u64 dev_wall_ns(const struct dev_wallclock *wall)
{
	return wall->unix_ns ? wall->unix_ns(wall->ctx) : 0;
}

static inline void dev_power_request(const struct dev_power *power, enum dev_power_event event,
				     const char *why)
{
	if (power->request)
		power->request(power->ctx, event, why);
}

/* a * mul / div without losing bits in between. The result wraps at 2^64 like the counter it feeds;
 * div must not be 0. */
static inline u64 dev_mul_div(u64 a, u64 mul, u64 div)
{
	return (u64)((unsigned __int128)a * mul / div);
}

/*
 * Saved state. X_save() writes the device's fields (common/saved.h), without a tag around them.
 * X_restore() sets a freshly initialised device from them, silently: a line that the device drives
 * has its level still, and a deadline that has passed meanwhile fires at the next
 * dev_timers_run(). The clock of struct dev_clock must go on where it was. False: malformed, or no
 * state that the device can have; the device is then as after init.
 *
 * Fields are in the tables of each device. A deadline that is missing (0) lets the device look for
 * itself at once.
 */

/* --- timers: a device arms, the owner polls dev_timers_next() and calls dev_timers_run() --- */

#define DEV_TIMERS_MAX	16
#define DEV_TIMER_NEVER UINT64_MAX

struct dev_timer {
	u64 deadline; /* ns of dev_clock, DEV_TIMER_NEVER when idle */
	void (*fire)(void *ctx, u64 now_ns);
	void *ctx;
};

struct dev_timers {
	struct dev_timer *timer[DEV_TIMERS_MAX];
	unsigned count;
};

/* Adds a timer, idle. Registration happens once, at device init; the timer stays owned by the
 * device. false when the table is full (a wiring mistake). timers may be NULL: never fires. */
bool dev_timer_register(struct dev_timers *timers, struct dev_timer *timer,
			void (*fire)(void *ctx, u64 now_ns), void *ctx);

static inline void dev_timer_arm(struct dev_timer *timer, u64 deadline_ns)
{
	timer->deadline = deadline_ns;
}

static inline void dev_timer_cancel(struct dev_timer *timer)
{
	timer->deadline = DEV_TIMER_NEVER;
}

/* Earliest deadline in ns of dev_clock, or DEV_TIMER_NEVER. Ask again after every access. */
u64 dev_timers_next(const struct dev_timers *timers);

/* Fires each timer due at now_ns once; what a handler arms again in the past waits for the next
 * call, so one call is bounded. */
void dev_timers_run(struct dev_timers *timers, u64 now_ns);

#endif
