/* 8254: counters computed from the clock, channel 0 edges by the timer service. */
#include <string.h>

#include "vtl2-devices/pit8254.h"

#define CONTROL_BCD	    0x01
#define CONTROL_MODE(c)	    ((c) >> 1 & 7)
#define CONTROL_RW(c)	    ((c) >> 4 & 3)
#define RW_LATCH	    0
#define RW_LOW		    1
#define RW_HIGH		    2
#define RW_BOTH		    3
#define READ_BACK	    3
#define READ_BACK_NO_STATUS 0x10
#define READ_BACK_NO_COUNT  0x20
#define STATUS_OUT	    0x80
#define STATUS_NULL	    0x40
#define CONTROL_MASK	    0x3f

#define PORT61_GATE2   0x01
#define PORT61_KEPT    0x0f /* gate, speaker, and the two NMI masks */
#define PORT61_REFRESH 0x10
#define PORT61_OUT2    0x20
#define REFRESH_NS     15085u /* one DRAM refresh request */

/* Edges that come faster are merged: the host's timers are not the guest's to exhaust. */
#define EDGE_MIN_NS 50000u

/* Modes 6 and 7 are 2 and 3. */
static unsigned mode_of(const struct pit_channel *ch)
{
	unsigned mode = CONTROL_MODE(ch->control);

	return mode > 5 ? mode & 3 : mode;
}

static bool is_periodic(const struct pit_channel *ch)
{
	return mode_of(ch) == 2 || mode_of(ch) == 3;
}

static bool gate_starts(const struct pit_channel *ch)
{
	return mode_of(ch) == 1 || mode_of(ch) == 5;
}

static bool running(const struct pit_channel *ch)
{
	return ch->counting && (gate_starts(ch) ? ch->armed : ch->gate);
}

/* Clocks counted since the present count was loaded. */
static u64 elapsed(const struct pit_channel *ch, u64 now)
{
	u64 clocks = ch->paused_clocks;

	if (running(ch) && now > ch->start_ns)
		clocks += dev_mul_div(now - ch->start_ns, PIT_HZ, NS_PER_S);
	return clocks;
}

static u16 to_bcd(u32 v)
{
	return (u16)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

/* Digits above 9, which BCD does not have, count as what they are. */
static u32 from_bcd(u32 v)
{
	return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}

static u16 count_now(const struct pit_channel *ch, u64 now)
{
	u32 modulus = ch->control & CONTROL_BCD ? 10000 : 0x10000;
	u64 e = elapsed(ch, now);
	u32 count;

	if (!ch->reload)
		return 0; /* nothing was ever loaded */
	if (mode_of(ch) == 2)
		count = ch->reload - (u32)(e % ch->reload);
	else if (mode_of(ch) == 3) /* counts by two, twice per period */
		count = ch->reload - (u32)(e % ch->reload * 2 % ch->reload & ~1ull);
	else
		count = (ch->reload % modulus + modulus - (u32)(e % modulus)) % modulus;
	return ch->control & CONTROL_BCD ? to_bcd(count) : (u16)count;
}

static bool out_now(const struct pit_channel *ch, u64 now)
{
	u64 e = elapsed(ch, now);

	if (!ch->counting)
		return mode_of(ch) != 0;
	switch (mode_of(ch)) {
	case 0: return e >= ch->reload;
	case 1: return !ch->armed || e >= ch->reload;
	case 2: return !ch->gate || e % ch->reload != ch->reload - 1;
	case 3: return !ch->gate || e % ch->reload < (ch->reload + 1) / 2;
	case 4: return e != ch->reload;
	default: return !ch->armed || e != ch->reload;
	}
}

/* --- channel 0: rising edges of OUT become IRQ 0 --- */

/* How many edges the present count has produced after this many clocks. */
static u64 edges_after(const struct pit_channel *ch, u64 clocks)
{
	if (!running(ch) || gate_starts(ch)) /* the gate of channel 0 is tied high: never an edge */
		return 0;
	if (is_periodic(ch))
		return clocks / ch->reload;
	return clocks >= ch->reload + (mode_of(ch) == 4);
}

static void arm_edge(struct pit8254 *pit, u64 now)
{
	const struct pit_channel *ch = &pit->s.ch[0];
	u64 clocks, at;

	if (!running(ch) || gate_starts(ch) || (!is_periodic(ch) && pit->s.seen_edges)) {
		dev_timer_cancel(&pit->timer);
		return;
	}
	clocks = (pit->s.seen_edges + 1) * ch->reload + (mode_of(ch) == 4);
	at = ch->start_ns + dev_mul_div(clocks, NS_PER_S, PIT_HZ) + 1;
	dev_timer_arm(&pit->timer, MAX(at, now + EDGE_MIN_NS));
}

static void on_timer(void *ctx, u64 now_ns)
{
	struct pit8254 *pit = ctx;
	const struct pit_channel *ch = &pit->s.ch[0];
	u64 edges = edges_after(ch, elapsed(ch, now_ns));

	if (edges > pit->s.seen_edges) {
		pit->s.seen_edges = edges;
		pit->ticks++;
		dev_irq_set(&pit->cfg.irq, false);
		dev_irq_set(&pit->cfg.irq, true);
	}
	arm_edge(pit, now_ns);
}

/* Channel 0 was given a new control word or count. */
static void restart_edges(struct pit8254 *pit, u64 now)
{
	pit->s.seen_edges = 0;
	dev_irq_set(&pit->cfg.irq, false);
	arm_edge(pit, now);
}

/* --- counts and latches --- */

static void load_count(struct pit8254 *pit, struct pit_channel *ch, u16 value, u64 now)
{
	bool bcd = ch->control & CONTROL_BCD;

	ch->reload = bcd ? from_bcd(value) : value;
	if (!ch->reload)
		ch->reload = bcd ? 10000 : 0x10000;
	/* A new count starts at once in every mode (the chip finishes the period in 2 and 3 first).
	 */
	ch->null_count = false;
	ch->counting = true;
	ch->start_ns = now;
	ch->paused_clocks = 0;
	if (ch == &pit->s.ch[0])
		restart_edges(pit, now);
}

static void write_count(struct pit8254 *pit, struct pit_channel *ch, u8 value)
{
	u64 now = dev_now(&pit->cfg.clock);

	switch (CONTROL_RW(ch->control)) {
	case RW_LOW: load_count(pit, ch, value, now); break;
	case RW_HIGH: load_count(pit, ch, (u16)(value << 8), now); break;
	case RW_BOTH:
		if (ch->write_high) {
			ch->write_high = false;
			load_count(pit, ch, (u16)(value << 8 | ch->write_low), now);
			break;
		}
		ch->write_low = value;
		ch->write_high = true;
		ch->null_count = true;
		if (mode_of(ch) == 0) { /* the first byte stops the count and lowers OUT */
			ch->counting = false;
			if (ch == &pit->s.ch[0])
				restart_edges(pit, now);
		}
		break;
	default: break; /* no control word yet */
	}
}

static void latch_count(struct pit8254 *pit, struct pit_channel *ch)
{
	if (ch->latched)
		return; /* a second latch before the read is ignored */
	ch->latch = count_now(ch, dev_now(&pit->cfg.clock));
	ch->latched = true;
}

static void latch_status(struct pit8254 *pit, struct pit_channel *ch)
{
	if (ch->status_latched)
		return;
	ch->status = (ch->control & CONTROL_MASK) | (ch->null_count ? STATUS_NULL : 0) |
		     (out_now(ch, dev_now(&pit->cfg.clock)) ? STATUS_OUT : 0);
	ch->status_latched = true;
}

static u8 read_count(struct pit8254 *pit, struct pit_channel *ch)
{
	bool high = CONTROL_RW(ch->control) == RW_HIGH;
	u16 count;

	if (ch->status_latched) {
		ch->status_latched = false;
		return ch->status;
	}
	count = ch->latched ? ch->latch : count_now(ch, dev_now(&pit->cfg.clock));
	if (CONTROL_RW(ch->control) == RW_BOTH) {
		high = ch->read_high;
		ch->read_high = !high;
		if (high)
			ch->latched = false;
	} else {
		ch->latched = false;
	}
	return (u8)(high ? count >> 8 : count);
}

static void read_back(struct pit8254 *pit, u8 command)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(command & BIT(i + 1)))
			continue;
		if (!(command & READ_BACK_NO_COUNT))
			latch_count(pit, &pit->s.ch[i]);
		if (!(command & READ_BACK_NO_STATUS))
			latch_status(pit, &pit->s.ch[i]);
	}
}

static void write_control(struct pit8254 *pit, u8 value)
{
	struct pit_channel *ch;

	if (value >> 6 == READ_BACK) {
		read_back(pit, value);
		return;
	}
	ch = &pit->s.ch[value >> 6];
	if (CONTROL_RW(value) == RW_LATCH) {
		latch_count(pit, ch);
		return;
	}
	ch->control = value & CONTROL_MASK;
	ch->null_count = true;
	ch->counting = ch->armed = false;
	ch->write_high = ch->read_high = false;
	ch->latched = ch->status_latched = false;
	ch->paused_clocks = 0;
	if (ch == &pit->s.ch[0])
		restart_edges(pit, dev_now(&pit->cfg.clock));
}

static void set_gate(struct pit8254 *pit, struct pit_channel *ch, bool gate)
{
	u64 now = dev_now(&pit->cfg.clock);

	if (gate == ch->gate)
		return;
	if (gate_starts(ch)) {
		if (gate) { /* each rising edge triggers anew */
			ch->armed = true;
			ch->start_ns = now;
			ch->paused_clocks = 0;
		}
	} else if (!gate) {
		ch->paused_clocks = elapsed(ch, now);
	} else {
		ch->start_ns = now;
		if (is_periodic(ch))
			ch->paused_clocks = 0; /* synchronises the period */
	}
	ch->gate = gate;
}

u8 pit_read(struct pit8254 *pit, unsigned port)
{
	return port < 3 ? read_count(pit, &pit->s.ch[port]) : 0xff; /* control is write-only */
}

void pit_write(struct pit8254 *pit, unsigned port, u8 value)
{
	if (port < 3)
		write_count(pit, &pit->s.ch[port], value);
	else
		write_control(pit, value);
}

u8 pit_port61_read(struct pit8254 *pit)
{
	u64 now = dev_now(&pit->cfg.clock);

	return pit->s.port61 | (now / REFRESH_NS & 1 ? PORT61_REFRESH : 0) |
	       (out_now(&pit->s.ch[2], now) ? PORT61_OUT2 : 0);
}

void pit_port61_write(struct pit8254 *pit, u8 value)
{
	pit->s.port61 = value & PORT61_KEPT;
	set_gate(pit, &pit->s.ch[2], value & PORT61_GATE2);
}

void pit_reset(struct pit8254 *pit)
{
	memset(&pit->s, 0, sizeof(pit->s));
	pit->s.ch[0].gate = pit->s.ch[1].gate = true;
	restart_edges(pit, 0);
}

void pit_init(struct pit8254 *pit, const struct pit_cfg *cfg)
{
	memset(pit, 0, sizeof(*pit));
	pit->cfg = *cfg;
	dev_timer_register(cfg->timers, &pit->timer, on_timer, pit);
	pit_reset(pit);
}

/* The gates are not among the fields: those of channels 0 and 1 are wired, and port 0x61 has the
 * third. */
static const struct saved_field channel_fields[] = {
	SAVED_NUMBER(1, struct pit_channel, control, CONTROL_MASK),
	SAVED_BOOL(2, struct pit_channel, null_count),
	SAVED_BOOL(3, struct pit_channel, counting),
	SAVED_BOOL(4, struct pit_channel, armed),
	SAVED_BOOL(5, struct pit_channel, write_high),
	SAVED_BOOL(6, struct pit_channel, read_high),
	SAVED_ANY(7, struct pit_channel, write_low),
	SAVED_BOOL(8, struct pit_channel, latched),
	SAVED_BOOL(9, struct pit_channel, status_latched),
	SAVED_ANY(10, struct pit_channel, latch),
	SAVED_ANY(11, struct pit_channel, status),
	SAVED_NUMBER(12, struct pit_channel, reload, 0x10000),
	SAVED_ANY(13, struct pit_channel, start_ns),
	SAVED_ANY(14, struct pit_channel, paused_clocks),
};
static const struct saved_layout channel_layout = SAVED_LAYOUT(channel_fields);
static const struct saved_field fields[] = {
	SAVED_STRUCTS(1, struct pit8254, s.ch, &channel_layout),
	SAVED_NUMBER(2, struct pit8254, s.port61, PORT61_KEPT),
	SAVED_ANY(3, struct pit8254, s.seen_edges),
	SAVED_ANY(4, struct pit8254, timer.deadline),
	SAVED_ANY(5, struct pit8254, ticks),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void pit_save(const struct pit8254 *pit, struct pb_writer *out)
{
	saved_write(out, &layout, pit);
}

/* What counts from a time counts from one that has been, and only counters with a count do. */
static bool channel_valid(const struct pit_channel *ch, u64 now)
{
	return (!ch->counting || ch->reload) && ch->start_ns <= now &&
	       ch->paused_clocks <= dev_mul_div(now, PIT_HZ, NS_PER_S);
}

bool pit_restore(struct pit8254 *pit, struct pb_bytes state)
{
	u64 now = dev_now(&pit->cfg.clock);
	struct pit8254 next = *pit;

	if (!saved_read(state, &layout, &next))
		return false;
	next.s.ch[2].gate = next.s.port61 & PORT61_GATE2;
	for (unsigned i = 0; i < 3; i++)
		if (!channel_valid(&next.s.ch[i], now))
			return false;
	if (next.s.seen_edges > edges_after(&next.s.ch[0], elapsed(&next.s.ch[0], now)))
		return false;
	*pit = next;
	return true;
}

void pit_inspect(struct pit8254 *pit, const struct dev_inspect *out)
{
	u64 now = dev_now(&pit->cfg.clock);

	for (unsigned i = 0; i < 3; i++) {
		const struct pit_channel *ch = &pit->s.ch[i];

		dev_inspect_line(out, "  channel %u mode %u reload %u count %04x gate %u out %u%s",
				 i, mode_of(ch), ch->reload, count_now(ch, now), ch->gate,
				 out_now(ch, now), ch->counting ? "" : " (idle)");
	}
	dev_inspect_line(out, "  port 61 %02x ticks sent %llu", pit->s.port61,
			 (unsigned long long)pit->ticks);
}

static u64 bus_read(void *ctx, u64 offset, unsigned size)
{
	(void)size; /* bytes only */
	return pit_read(ctx, (unsigned)offset);
}

static void bus_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)size;
	pit_write(ctx, (unsigned)offset, (u8)value);
}

static u64 port61_bus_read(void *ctx, u64 offset, unsigned size)
{
	(void)offset, (void)size;
	return pit_port61_read(ctx);
}

static void port61_bus_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)offset, (void)size;
	pit_port61_write(ctx, (u8)value);
}

const struct bus_ops pit_bus_ops = {.read = bus_read, .write = bus_write};
const struct bus_ops pit_port61_bus_ops = {.read = port61_bus_read, .write = port61_bus_write};
