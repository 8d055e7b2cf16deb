/* MC146818 clock: time kept as an offset to the wall clock, flags evaluated when looked at. */
#include <string.h>

#include "vtl2-devices/cmos_rtc.h"

#define REG_SEC	       0x00
#define REG_SEC_ALARM  0x01
#define REG_MIN	       0x02
#define REG_MIN_ALARM  0x03
#define REG_HOUR       0x04
#define REG_HOUR_ALARM 0x05
#define REG_WDAY       0x06
#define REG_MDAY       0x07
#define REG_MONTH      0x08
#define REG_YEAR       0x09
#define REG_A	       0x0a
#define REG_B	       0x0b
#define REG_C	       0x0c
#define REG_D	       0x0d

#define A_UIP	    0x80
#define A_RATE	    0x0f
#define A_DIV_RESET 0x60 /* divider held: bits 6:5 both set */
#define A_DEFAULT   0x26 /* 32768 Hz, rate 1024 Hz */

#define B_SET  0x80
#define B_PIE  0x40
#define B_AIE  0x20
#define B_UIE  0x10
#define B_SQWE 0x08
#define B_BIN  0x04
#define B_24H  0x02

#define C_IRQF 0x80
#define C_PF   0x40
#define C_AF   0x20
#define C_UF   0x10
#define C_ALL  (C_PF | C_AF | C_UF)

#define D_VALID 0x80

#define ALARM_ANY 0xc0 /* both top bits set: matches every value */

/* UIP is up for 244 us before the update plus 1984 us of it; then the registers change at once. */
#define UIP_NS 2228000u
/* The first update comes half a second after the divider is released. */
#define DIVIDER_PHASE_NS 500000000u

#define TICK_HZ 32768u

/* Rounding between the two clocks must not make a timer fire again and again. */
#define TIMER_MIN_NS 50000u

/* Beyond all that registers with four digits for the year can make of any wall clock. */
#define SECONDS_MAX (1ll << 40)

struct civil {
	int sec, min, hour, wday, mday, month; /* wday 1 = Sunday, month 1..12 */
	s64 year;
};

static s64 floor_div(s64 a, s64 b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970-01-01 in the Gregorian calendar; March-based years keep February at the end. */
static s64 days_from_date(s64 year, int month, int mday)
{
	s64 y = month <= 2 ? year - 1 : year;
	s64 era = floor_div(y, 400);
	s64 of_era = y - era * 400;
	s64 of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + mday - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void civil_from_time(s64 t, struct civil *c)
{
	s64 days = floor_div(t, 86400);
	int rest = (int)(t - days * 86400);
	s64 z = days + 719468;
	s64 era = floor_div(z, 146097);
	s64 doe = z - era * 146097;
	s64 yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int doy = (int)(doe - (365 * yoe + yoe / 4 - yoe / 100));
	int mp = (5 * doy + 2) / 153;
	s64 wday = (days + 4) % 7;

	c->sec = rest % 60;
	c->min = rest / 60 % 60;
	c->hour = rest / 3600;
	c->wday = (int)(wday < 0 ? wday + 7 : wday) + 1;
	c->mday = doy - (153 * mp + 2) / 5 + 1;
	c->month = mp < 10 ? mp + 3 : mp - 9;
	c->year = yoe + era * 400 + (c->month <= 2);
}

static u8 encode(const struct cmos_rtc *rtc, int value)
{
	return (u8)(rtc->s.ram[REG_B] & B_BIN ? value : value / 10 << 4 | value % 10);
}

/* Any byte may come from the guest; the result is clamped to [lo, hi]. */
static int decode(const struct cmos_rtc *rtc, u8 value, int lo, int hi)
{
	int v = rtc->s.ram[REG_B] & B_BIN ? value : (value >> 4) * 10 + (value & 15);

	return v < lo ? lo : MIN(v, hi);
}

static u8 encode_hour(const struct cmos_rtc *rtc, int hour)
{
	if (rtc->s.ram[REG_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static int decode_hour(const struct cmos_rtc *rtc, u8 value)
{
	if (rtc->s.ram[REG_B] & B_24H)
		return decode(rtc, value, 0, 23);
	return decode(rtc, value & 0x7f, 1, 12) % 12 + (value & 0x80 ? 12 : 0);
}

static bool is_time_reg(u8 addr)
{
	return addr == REG_SEC || addr == REG_MIN || addr == REG_HOUR ||
	       (addr >= REG_WDAY && addr <= REG_YEAR) || addr == CMOS_CENTURY;
}

/* Guest time in seconds since 1970, *ns the part of a second. */
static s64 guest_time(const struct cmos_rtc *rtc, u32 *ns)
{
	u64 t = dev_wall_ns(&rtc->cfg.wall) + rtc->s.phase_ns;

	*ns = (u32)(t % NS_PER_S);
	return (s64)(t / NS_PER_S) + rtc->s.offset_s;
}

/* Puts the running time into the registers. */
static void store_time(struct cmos_rtc *rtc)
{
	u8 *ram = rtc->s.ram;
	struct civil c;
	u32 ns;

	civil_from_time(guest_time(rtc, &ns), &c);
	ram[REG_SEC] = encode(rtc, c.sec);
	ram[REG_MIN] = encode(rtc, c.min);
	ram[REG_HOUR] = encode_hour(rtc, c.hour);
	ram[REG_WDAY] = encode(rtc, c.wday);
	ram[REG_MDAY] = encode(rtc, c.mday);
	ram[REG_MONTH] = encode(rtc, c.month);
	ram[REG_YEAR] = encode(rtc, (int)(((c.year % 100) + 100) % 100));
	ram[CMOS_CENTURY] = encode(rtc, (int)((c.year / 100 % 100 + 100) % 100));
}

/* Takes the time from the registers; the day of the week follows from the date. */
static void load_time(struct cmos_rtc *rtc)
{
	const u8 *ram = rtc->s.ram;
	s64 year = decode(rtc, ram[CMOS_CENTURY], 0, 99) * 100 + decode(rtc, ram[REG_YEAR], 0, 99);
	s64 t = days_from_date(year, decode(rtc, ram[REG_MONTH], 1, 12),
			       decode(rtc, ram[REG_MDAY], 1, 31)) *
			86400 +
		decode_hour(rtc, ram[REG_HOUR]) * 3600 + decode(rtc, ram[REG_MIN], 0, 59) * 60 +
		decode(rtc, ram[REG_SEC], 0, 59);
	u32 ns;

	rtc->s.offset_s += t - guest_time(rtc, &ns);
	rtc->s.seen_s = t;
}

static bool alarm_matches(u8 alarm, u8 value)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == value;
}

/* First second after `after` that the alarm registers match, within a day; -1 if none does. */
static s64 next_alarm(const struct cmos_rtc *rtc, s64 after)
{
	const u8 *ram = rtc->s.ram;
	s64 start = after + 1;
	s64 midnight = floor_div(start, 86400) * 86400;
	int of_day = (int)(start - midnight);
	int first_sec = -1;

	for (int s = 0; s < 60 && first_sec < 0; s++)
		if (alarm_matches(ram[REG_SEC_ALARM], encode(rtc, s)))
			first_sec = s;
	if (first_sec < 0)
		return -1;

	/* With a matching second known to exist, at most the first minute can be without one. */
	for (int h = of_day / 3600; h < of_day / 3600 + 25; h++) {
		if (!alarm_matches(ram[REG_HOUR_ALARM], encode_hour(rtc, h % 24)))
			continue;
		for (int m = 0; m < 60; m++) {
			if (!alarm_matches(ram[REG_MIN_ALARM], encode(rtc, m)))
				continue;
			for (int s = first_sec; s < 60; s++) {
				if (h * 3600 + m * 60 + s >= of_day &&
				    alarm_matches(ram[REG_SEC_ALARM], encode(rtc, s)))
					return midnight + h * 3600 + m * 60 + s;
			}
		}
	}
	return -1;
}

/* log2 of the periodic interval in 32768 Hz ticks; -1 when off. */
static int periodic_shift(const struct cmos_rtc *rtc)
{
	int rate = rtc->s.ram[REG_A] & A_RATE;

	if (rate == 0 || (rtc->s.ram[REG_A] & A_DIV_RESET) == A_DIV_RESET)
		return -1;
	return rate <= 2 ? rate + 6 : rate - 1;
}

static u64 tick_at(u64 now)
{
	return dev_mul_div(now, TICK_HZ, NS_PER_S);
}

static u64 deadline_of(const struct cmos_rtc *rtc, u64 now, s64 sec, u32 ns)
{
	u8 b = rtc->s.ram[REG_B];
	int shift = periodic_shift(rtc);
	u64 next = DEV_TIMER_NEVER;
	s64 alarm;

	if ((b & B_PIE) && shift >= 0) {
		u64 tick = ((rtc->s.seen_tick >> shift) + 1) << shift;

		next = dev_mul_div(tick, NS_PER_S, TICK_HZ) + 1;
	}
	if ((b & B_UIE) && !rtc->s.stopped)
		next = MIN(next, now + NS_PER_S - ns);
	if ((b & B_AIE) && !rtc->s.stopped) {
		alarm = next_alarm(rtc, sec);
		if (alarm > sec)
			next = MIN(next, now + (u64)(alarm - sec) * NS_PER_S - ns);
	}
	return next == DEV_TIMER_NEVER ? next : MAX(next, now + TIMER_MIN_NS);
}

/* Brings the flags up to now, drives the line, and sets the timer for what the guest waits for.
 * While an interrupt is pending no timer runs: nothing can change for the guest. */
static void sync_flags(struct cmos_rtc *rtc)
{
	struct rtc_state *s = &rtc->s;
	u64 now = dev_now(&rtc->cfg.clock);
	u64 tick = tick_at(now);
	int shift = periodic_shift(rtc);
	u32 ns = 0;
	s64 sec = s->stopped ? s->seen_s : guest_time(rtc, &ns);
	s64 alarm;
	bool pending;

	if (shift >= 0 && tick >> shift != s->seen_tick >> shift)
		s->flags |= C_PF;
	s->seen_tick = tick;
	if (sec > s->seen_s) {
		s->flags |= C_UF;
		alarm = next_alarm(rtc, s->seen_s);
		if (alarm > s->seen_s && alarm <= sec)
			s->flags |= C_AF;
	}
	s->seen_s = sec; /* also when the wall clock went back */

	pending = s->flags & s->ram[REG_B] & C_ALL;
	dev_irq_set(&rtc->cfg.irq, pending);
	dev_timer_arm(&rtc->timer, pending ? DEV_TIMER_NEVER : deadline_of(rtc, now, sec, ns));
}

static void on_timer(void *ctx, u64 now_ns)
{
	(void)now_ns;
	sync_flags(ctx);
}

static bool must_stop(const struct rtc_state *s)
{
	return (s->ram[REG_B] & B_SET) || (s->ram[REG_A] & A_DIV_RESET) == A_DIV_RESET;
}

/* SET and the divider stop the clock; the registers hold the time meanwhile. */
static void update_stopped(struct cmos_rtc *rtc, bool divider_released)
{
	struct rtc_state *s = &rtc->s;
	bool stop = must_stop(s);
	u32 ns;

	if (stop == s->stopped)
		return;
	if (stop) {
		store_time(rtc);
	} else {
		if (divider_released) {
			guest_time(rtc, &ns);
			s->phase_ns = (u32)((s->phase_ns + NS_PER_S - ns + DIVIDER_PHASE_NS) %
					    NS_PER_S);
		}
		load_time(rtc);
	}
	s->stopped = stop;
}

static void write_data(struct cmos_rtc *rtc, u8 addr, u8 value)
{
	struct rtc_state *s = &rtc->s;
	u8 *ram = s->ram;
	bool held;

	switch (addr) {
	case REG_A:
		held = (ram[REG_A] & A_DIV_RESET) == A_DIV_RESET;
		ram[REG_A] = value & (u8)~A_UIP;
		update_stopped(rtc, held);
		break;
	case REG_B:
		/* Stop in the old format, start in the new one. */
		if (value & B_SET) {
			ram[REG_B] |= B_SET;
			update_stopped(rtc, false);
			value &= (u8)~B_UIE;
		}
		ram[REG_B] = value;
		update_stopped(rtc, false);
		break;
	case REG_C:
	case REG_D: break;
	default:
		if (!is_time_reg(addr) || s->stopped) {
			ram[addr] = value;
			break;
		}
		/* A write to the running clock: one field changes, the others go on. */
		store_time(rtc);
		ram[addr] = value;
		load_time(rtc);
	}
}

static u8 read_data(struct cmos_rtc *rtc, u8 addr)
{
	struct rtc_state *s = &rtc->s;
	u8 value;
	u32 ns;

	switch (addr) {
	case REG_A:
		guest_time(rtc, &ns);
		return s->ram[REG_A] | (!s->stopped && ns >= NS_PER_S - UIP_NS ? A_UIP : 0);
	case REG_C:
		value = s->flags | (s->flags & s->ram[REG_B] & C_ALL ? C_IRQF : 0);
		s->flags = 0;
		return value;
	case REG_D: return D_VALID;
	default:
		if (is_time_reg(addr) && !s->stopped)
			store_time(rtc);
		return s->ram[addr];
	}
}

u8 rtc_read(struct cmos_rtc *rtc, unsigned port)
{
	u8 value;

	if (port == 0)
		return 0xff; /* the index is write-only */
	sync_flags(rtc);
	value = read_data(rtc, rtc->s.index);
	if (rtc->s.index == REG_C)
		sync_flags(rtc);
	return value;
}

void rtc_write(struct cmos_rtc *rtc, unsigned port, u8 value)
{
	if (port == 0) {
		rtc->s.index = value & 0x7f; /* bit 7 masks NMI, which nothing here raises */
		return;
	}
	sync_flags(rtc);
	write_data(rtc, rtc->s.index, value);
	sync_flags(rtc);
}

void rtc_set_ram(struct cmos_rtc *rtc, u8 addr, u8 value)
{
	if (addr > REG_D && addr < CMOS_SIZE && addr != CMOS_CENTURY)
		rtc->s.ram[addr] = value;
}

void rtc_reset(struct cmos_rtc *rtc)
{
	rtc->s.index = 0;
	rtc->s.ram[REG_B] &= (u8) ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	sync_flags(rtc);
	rtc->s.flags = 0;
	sync_flags(rtc);
}

void rtc_init(struct cmos_rtc *rtc, const struct rtc_cfg *cfg)
{
	u32 ns;

	memset(rtc, 0, sizeof(*rtc));
	rtc->cfg = *cfg;
	dev_timer_register(cfg->timers, &rtc->timer, on_timer, rtc);
	rtc->s.ram[REG_A] = A_DEFAULT;
	rtc->s.ram[REG_B] = B_24H;
	rtc->s.seen_s = guest_time(rtc, &ns);
	rtc->s.seen_tick = tick_at(dev_now(&cfg->clock));
	rtc_reset(rtc);
}

static const struct saved_field fields[] = {
	SAVED_NUMBER(1, struct cmos_rtc, s.index, CMOS_SIZE - 1),
	SAVED_NUMBERS(2, struct cmos_rtc, s.ram, UINT8_MAX),
	SAVED_ANY(3, struct cmos_rtc, s.flags),
	SAVED_ANY(4, struct cmos_rtc, s.offset_s),
	SAVED_NUMBER(5, struct cmos_rtc, s.phase_ns, NS_PER_S - 1),
	SAVED_ANY(6, struct cmos_rtc, s.seen_s),
	SAVED_ANY(7, struct cmos_rtc, s.seen_tick),
	SAVED_ANY(8, struct cmos_rtc, timer.deadline),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void rtc_save(const struct cmos_rtc *rtc, struct pb_writer *out)
{
	saved_write(out, &layout, rtc);
}

static bool seconds_valid(s64 seconds)
{
	return seconds >= -SECONDS_MAX && seconds <= SECONDS_MAX;
}

bool rtc_restore(struct cmos_rtc *rtc, struct pb_bytes state)
{
	struct cmos_rtc next = *rtc;
	struct rtc_state *s = &next.s;

	if (!saved_read(state, &layout, &next) || (s->ram[REG_A] & A_UIP) || (s->flags & ~C_ALL) ||
	    !seconds_valid(s->offset_s) || !seconds_valid(s->seen_s) ||
	    s->seen_tick > tick_at(dev_now(&rtc->cfg.clock)))
		return false;
	s->stopped = must_stop(s);
	*rtc = next;
	return true;
}

void rtc_inspect(struct cmos_rtc *rtc, const struct dev_inspect *out)
{
	const struct rtc_state *s = &rtc->s;
	struct civil c;
	u32 ns;

	civil_from_time(guest_time(rtc, &ns), &c);
	dev_inspect_line(out, "  %04lld-%02d-%02d %02d:%02d:%02d%s offset %lld s",
			 (long long)c.year, c.month, c.mday, c.hour, c.min, c.sec,
			 s->stopped ? " (stopped)" : "", (long long)s->offset_s);
	dev_inspect_line(out, "  index %02x a %02x b %02x flags %02x alarm %02x:%02x:%02x",
			 s->index, s->ram[REG_A], s->ram[REG_B], s->flags, s->ram[REG_HOUR_ALARM],
			 s->ram[REG_MIN_ALARM], s->ram[REG_SEC_ALARM]);
}

static u64 bus_read(void *ctx, u64 offset, unsigned size)
{
	(void)size; /* bytes only */
	return rtc_read(ctx, (unsigned)offset);
}

static void bus_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)size;
	rtc_write(ctx, (unsigned)offset, (u8)value);
}

const struct bus_ops rtc_bus_ops = {.read = bus_read, .write = bus_write};
