/* The boot timeline. */
#include "paravisor/boot.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

static const char *const name[BOOT_POINTS] = {
	[BOOT_INIT] = "init_us",
	[BOOT_PARAVISOR] = "paravisor_us",
	[BOOT_CONFIG] = "config_us",
	[BOOT_GUEST_LOADED] = "guest_loaded_us",
	[BOOT_PROTECTED] = "protected_us",
	[BOOT_DEVICES] = "devices_us",
	[BOOT_VMBUS] = "vmbus_us",
	[BOOT_PROCESSORS] = "processors_us",
	[BOOT_GUEST_ENTRY] = "guest_entry_us",
};

static struct {
	u64 reached[BOOT_POINTS]; /* 0: not yet */
} timeline;

static const struct saved_field fields[] = {
	SAVED_NUMBERS(1, __typeof__(timeline), reached, UINT64_MAX),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

static u64 now_us(void)
{
	return clock_ns(CLOCK_BOOTTIME) / 1000;
}

void boot_reached_at(enum boot_point point, u64 us)
{
	u64 none = 0;

	__atomic_compare_exchange_n(&timeline.reached[point], &none, us, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
}

void boot_reached(enum boot_point point)
{
	boot_reached_at(point, now_us());
}

/* "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT": Linux Documentation/ABI/testing/dev-kmsg. */
bool boot_init_record(const char *record, u64 *us)
{
	const char *text = strchr(record, ';'), *at = record;
	char *end;

	if (!text || strncmp(text, ";Run ", 5) || !strstr(text, " as init process"))
		return false;
	/* the kernel's own: facility 0; anybody may write lines of other facilities */
	if (strtoul(at, &end, 10) >= 8 || end == at || *end != ',')
		return false;
	at = strchr(end + 1, ',');
	if (!at || at > text)
		return false;
	*us = strtoull(at + 1, &end, 10);
	return end > at + 1 && (*end == ',' || *end == ';');
}

void boot_save(struct pb_writer *out)
{
	saved_write(out, &layout, &timeline);
}

bool boot_restore(struct pb_bytes state)
{
	return saved_read(state, &layout, &timeline);
}

void boot_inspect(struct inspect *dir)
{
	for (unsigned i = 0; i < BOOT_POINTS; i++) {
		u64 us = __atomic_load_n(&timeline.reached[i], __ATOMIC_RELAXED);

		if (us)
			inspect_u64(dir, name[i], us);
	}
	inspect_counter(dir, "uptime_us", now_us());
}
