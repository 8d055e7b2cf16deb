/* MC146818 real-time clock with 128 bytes of CMOS RAM at ports 0x70 and 0x71. */
#ifndef PARAPET_VTL2_DEVICES_CMOS_RTC_H
#define PARAPET_VTL2_DEVICES_CMOS_RTC_H

#include "vtl2-devices/bus.h"

/* Source: Motorola MC146818A data sheet; century byte at 0x32 as FADT announces it. */
#define CMOS_SIZE    128u
#define CMOS_CENTURY 0x32

struct rtc_cfg {
	struct dev_irq irq;
	struct dev_clock clock;	   /* periodic rate and timers */
	struct dev_wallclock wall; /* time of day; the guest's setting is kept as an offset */
	struct dev_timers *timers;
};

struct rtc_state {
	u8 index;
	u8 ram[CMOS_SIZE]; /* registers 0..0x0b as written; time registers only while stopped */
	u8 flags;	   /* register C without IRQF */
	bool stopped;	   /* SET, or divider held in reset */
	s64 offset_s;	   /* guest time = wall + phase_ns + offset_s */
	u32 phase_ns;	   /* 0..999999999 */
	s64 seen_s;	   /* guest second up to which update and alarm were evaluated */
	u64 seen_tick;	   /* 32768 Hz tick up to which the periodic flag was evaluated */
};

struct cmos_rtc {
	struct rtc_cfg cfg;
	struct rtc_state s;
	struct dev_timer timer;
};

void rtc_init(struct cmos_rtc *rtc, const struct rtc_cfg *cfg);
/* Machine reset: interrupt enables and flags clear; time, RAM and the guest's clock setting stay.
 */
void rtc_reset(struct cmos_rtc *rtc);
/* port 0 = index (0x70), 1 = data (0x71). */
u8 rtc_read(struct cmos_rtc *rtc, unsigned port);
void rtc_write(struct cmos_rtc *rtc, unsigned port, u8 value);
/* Presets a RAM byte (memory size and the like); addr 0x0e..0x7f. */
void rtc_set_ram(struct cmos_rtc *rtc, u8 addr, u8 value);
/* For both see iface.h. */
void rtc_save(const struct cmos_rtc *rtc, struct pb_writer *out);
bool rtc_restore(struct cmos_rtc *rtc, struct pb_bytes state);
void rtc_inspect(struct cmos_rtc *rtc, const struct dev_inspect *out);

extern const struct bus_ops rtc_bus_ops; /* region of 2 ports */

#endif
