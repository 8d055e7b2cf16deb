/*
 * Chipset wiring.
 *
 * Locks, in the order they are taken:
 *   post_lock     keeps console batches in order while they are posted; held across a hypercall.
 *   chipset_lock  the chipset, the console queues, todo and armed_ns. Never held while posting to
 *                 the host (that may wait). Interrupt messages are sent under it: their order is
 *                 the order of the line changes.
 * Device callbacks run under chipset_lock and leave what must happen outside in todo.
 */
#include "paravisor/machine.h"

#include "common/clock.h"
#include "common/log.h"
#include "paravisor/console.h"
#include "paravisor/hostlink.h"
#include "paravisor/mshv.h"
#include "paravisor/stop.h"
#include "paravisor/thread.h"
#include "paravisor/vp.h"
#include "vtl2-devices/chipset.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* What the guest's mistakes may write into our log */
#define LOG_UNCLAIMED_MAX  64
#define LOG_DEBUG_PORT_MAX 64

#define MACHINE_PORTS 2 /* COM1 and COM2 */

/* pvpanic (QEMU docs/specs/pvpanic): the guest kernel tells that it panicked */
#define PANIC_PORT     0x505
#define PANIC_PANICKED BIT(0)

enum todo {
	TODO_FLUSH = 1 << 0,
	TODO_POWER = 1 << 1,
	TODO_INPUT = 1 << 2, /* a serial port has room again */
	TODO_PANIC = 1 << 3,
};

static pthread_mutex_t post_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t chipset_lock = PTHREAD_MUTEX_INITIALIZER;

static struct chipset chipset;
static struct console console[MACHINE_PORTS];
static u32 todo;
static u64 armed_ns = DEV_TIMER_NEVER; /* when the timer thread wakes */
static int timer_fd = -1;
static bool pic_pending; /* atomic: read without the lock */
static enum dev_power_event power_event;
static const char *power_why;
static s64 wall_offset_ns;
static u32 unclaimed_logged;
static struct {
	char line[120];
	u32 length, lines;
} debug_port;

const struct acpi_chipset machine_acpi = {
	.pm1_event_port = ACPI_PM_BASE + ACPI_PM1_STS,
	.pm1_control_port = ACPI_PM_BASE + ACPI_PM1_CNT,
	.pm_timer_port = ACPI_PM_BASE + ACPI_PM_TMR,
	.pm_timer_32bit = true,
	.sleep_type_s5 = ACPI_S5_TYP,
	.reset_port = ACPI_PM_BASE + ACPI_PM_RESET,
	.reset_value = ACPI_PM_RESET_VALUE,
	.sci_irq = ACPI_SCI_IRQ,
	.ioapic_base = IOAPIC_BASE,
	.ioapic_id = 0,
	.timer_gsi = 2,
	.com = {{0x3f8, 4}, {0x2f8, 3}},
	.rtc_port = 0x70,
	.rtc_irq = 8,
	.panic_port = PANIC_PORT,
};

/* ---- what the devices call, under chipset_lock ---- */

static u64 on_clock(void *ctx)
{
	(void)ctx;
	return monotonic_ns();
}

static u64 on_wall_clock(void *ctx)
{
	(void)ctx;
	return clock_ns(CLOCK_REALTIME) + (u64)__atomic_load_n(&wall_offset_ns, __ATOMIC_RELAXED);
}

static void on_power(void *ctx, enum dev_power_event event, const char *why)
{
	(void)ctx;
	power_event = event;
	power_why = why;
	todo |= TODO_POWER;
}

static void on_apic_message(void *ctx, const struct apic_msg *msg)
{
	struct hv_assert_interrupt in = {
		.partition_id = HV_PARTITION_ID_SELF,
		.control = msg->delivery,
		.destination = msg->dest,
		.vector = msg->vector,
		.target_vtl = 0,
	};
	u16 status;
	static u32 logged;

	(void)ctx;
	if (msg->level)
		in.control |= HV_INTERRUPT_LEVEL;
	if (msg->logical)
		in.control |= HV_INTERRUPT_LOGICAL;
	status = (u16)mshv_hypercall(HV_CALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in), NULL, 0);
	if (status && logged++ < 8)
		log_warn("interrupt vector %#x for APIC %u refused: hypervisor status %#x",
			 msg->vector, msg->dest, status);
}

static void on_pic_output(void *ctx, unsigned line, bool level)
{
	(void)ctx;
	(void)line;
	__atomic_store_n(&pic_pending, level, __ATOMIC_RELEASE);
	if (level)
		vp_kick(0);
}

static void on_uart_output(void *ctx, const u8 *data, size_t size)
{
	struct console *port = ctx;
	/* only the first byte of a batch starts its clock */
	u64 now_ns = port->deadline == CONSOLE_NEVER ? monotonic_ns() : 0;

	if (console_write(port, data, size, now_ns))
		todo |= TODO_FLUSH;
}

static void on_uart_room(void *ctx)
{
	(void)ctx;
	todo |= TODO_INPUT;
}

static u64 panic_read(void *ctx, u64 offset, unsigned size)
{
	(void)ctx;
	(void)offset;
	(void)size;
	return PANIC_PANICKED;
}

static void panic_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)ctx;
	(void)offset;
	(void)size;
	if (value & PANIC_PANICKED)
		todo |= TODO_PANIC;
}

static bool register_panic_port(void)
{
	static const struct bus_ops ops = {.read = panic_read, .write = panic_write};
	const struct bus_region region = {
		.name = "pvpanic",
		.base = PANIC_PORT,
		.len = 1,
		.widths = BUS_BYTE,
		.ops = &ops,
	};

	return pio_register(&chipset.pio, &region);
}

static void on_debug_port(void *ctx, const u8 *data, size_t size)
{
	(void)ctx;
	for (size_t i = 0; i < size && debug_port.lines < LOG_DEBUG_PORT_MAX; i++) {
		if (data[i] != '\n' && debug_port.length < sizeof(debug_port.line) - 1) {
			char c = (char)data[i];

			debug_port.line[debug_port.length++] = c >= ' ' && c <= '~' ? c : '?';
			continue;
		}
		debug_port.line[debug_port.length] = 0;
		log_info("guest debug port: %s", debug_port.line);
		debug_port.length = 0;
		debug_port.lines++;
	}
}

static void log_unclaimed(const char *what, u64 address, unsigned size, bool write)
{
	if (unclaimed_logged == LOG_UNCLAIMED_MAX)
		log_info("further accesses to nothing are only counted");
	if (unclaimed_logged++ < LOG_UNCLAIMED_MAX)
		log_info("guest %s %s %#llx, %u bytes: nothing there", write ? "writes" : "reads",
			 what, (unsigned long long)address, size);
	else
		unclaimed_logged = LOG_UNCLAIMED_MAX + 1;
}

static void on_unclaimed_port(void *ctx, u64 address, unsigned size, bool write, u64 value)
{
	(void)ctx;
	(void)value;
	log_unclaimed("port", address, size, write);
}

static void on_unclaimed_address(void *ctx, u64 address, unsigned size, bool write, u64 value)
{
	(void)ctx;
	(void)value;
	log_unclaimed("address", address, size, write);
}

/* ---- after each access ---- */

static void arm_timer(u64 deadline_ns)
{
	struct itimerspec spec = {0};

	/* 0 would disarm */
	deadline_ns = MAX(deadline_ns, 1);
	spec.it_value.tv_sec = (time_t)(deadline_ns / NS_PER_S);
	spec.it_value.tv_nsec = (long)(deadline_ns % NS_PER_S);
	timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
	armed_ns = deadline_ns;
}

static void feed_uarts(void)
{
	for (unsigned i = 0; i < MACHINE_PORTS; i++) {
		size_t size, taken;

		do {
			const u8 *data = console_peek(&console[i], &size);

			taken = size ? chipset_uart_rx(&chipset, i, data, size) : 0;
			console_consume(&console[i], taken);
		} while (taken && taken == size);
		if (console_owes_credit(&console[i]))
			todo |= TODO_FLUSH;
	}
}

static void flush_port(u16 port)
{
	u8 data[HOSTLINK_MAX_DATA];
	size_t size;
	u32 credit;

	do {
		pthread_mutex_lock(&chipset_lock);
		size = console_take(&console[port], data, sizeof(data));
		credit = console_take_credit(&console[port]);
		pthread_mutex_unlock(&chipset_lock);
		if (size)
			hostlink_post(HOSTLINK_CONSOLE, port, data, size);
		if (credit)
			hostlink_post(HOSTLINK_CREDIT, port, &credit, sizeof(credit));
	} while (size);
}

void machine_flush(void)
{
	pthread_mutex_lock(&post_lock);
	for (u16 i = 0; i < MACHINE_PORTS; i++)
		flush_port(i);
	pthread_mutex_unlock(&post_lock);
}

static void do_outside(u32 what)
{
	machine_flush();
	if (what & TODO_PANIC) {
		static const char how[] = "reported by its kernel";

		/* Whether the guest may go on, to a crash kernel, is for the host to say. */
		log_warn("guest panic");
		hostlink_post(HOSTLINK_POWER, HOSTLINK_POWER_PANIC, how, strlen(how));
	}
	if (what & TODO_POWER) {
		log_info("guest asks for %s: %s",
			 power_event == DEV_POWER_OFF ? "power-off" : "reset", power_why);
		stop_partition(power_event == DEV_POWER_OFF ? HOSTLINK_POWER_OFF
							    : HOSTLINK_POWER_RESET,
			       power_why);
	}
}

static u64 next_deadline(void)
{
	u64 deadline = chipset_next_deadline(&chipset);

	for (unsigned i = 0; i < MACHINE_PORTS; i++)
		deadline = MIN(deadline, console[i].deadline);
	return deadline;
}

/* Ends every call into the chipset: releases the lock, then does what the devices asked for. */
static void leave(void)
{
	u64 deadline;
	u32 what;

	if (todo & TODO_INPUT)
		feed_uarts();
	what = todo & ~(u32)TODO_INPUT;
	todo = 0;
	/* the flush will empty the queues, so only the devices' timers count then */
	deadline = what & TODO_FLUSH ? chipset_next_deadline(&chipset) : next_deadline();
	if (deadline < armed_ns)
		arm_timer(deadline);
	pthread_mutex_unlock(&chipset_lock);
	if (what)
		do_outside(what);
}

static void *timer_loop(void *arg)
{
	(void)arg;
	for (;;) {
		u64 expirations, now;

		if (read(timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EINTR)
			stop_crash("timer: %s", strerror(errno));
		pthread_mutex_lock(&chipset_lock);
		now = monotonic_ns();
		armed_ns = DEV_TIMER_NEVER;
		chipset_run_timers(&chipset);
		for (unsigned i = 0; i < MACHINE_PORTS; i++) {
			if (console[i].deadline <= now)
				todo |= TODO_FLUSH;
		}
		leave();
	}
	return NULL;
}

/* ---- interface ---- */

bool machine_init(void)
{
	struct chipset_cfg cfg = {
		.clock.now_ns = on_clock,
		.wall.unix_ns = on_wall_clock,
		.power.request = on_power,
		.apic.send = on_apic_message,
		.intr.set = on_pic_output,
		.debug.write = on_debug_port,
		.unclaimed_pio.first = on_unclaimed_port,
		.unclaimed_mmio.first = on_unclaimed_address,
	};

	for (unsigned i = 0; i < MACHINE_PORTS; i++) {
		console_init(&console[i]);
		cfg.uart[i] = (struct chipset_uart_cfg){
			.present = true,
			.tx = {.write = on_uart_output, .ctx = &console[i]},
			.rx_room = on_uart_room,
		};
	}
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (timer_fd < 0) {
		log_error("timerfd: %s", strerror(errno));
		return false;
	}
	if (!chipset_init(&chipset, &cfg) || !register_panic_port()) {
		log_error("chipset: wiring mistake");
		return false;
	}
	return thread_start("timer", THREAD_URGENT, timer_loop, NULL);
}

u32 machine_pio_read(u16 port, unsigned size)
{
	u32 value;

	pthread_mutex_lock(&chipset_lock);
	value = chipset_pio_read(&chipset, port, size);
	leave();
	return value;
}

void machine_pio_write(u16 port, unsigned size, u32 value)
{
	pthread_mutex_lock(&chipset_lock);
	chipset_pio_write(&chipset, port, size, value);
	leave();
}

u64 machine_mmio_read(u64 gpa, unsigned size)
{
	u64 value;

	pthread_mutex_lock(&chipset_lock);
	value = chipset_mmio_read(&chipset, gpa, size);
	leave();
	return value;
}

void machine_mmio_write(u64 gpa, unsigned size, u64 value)
{
	pthread_mutex_lock(&chipset_lock);
	chipset_mmio_write(&chipset, gpa, size, value);
	leave();
}

void machine_eoi(u8 vector)
{
	pthread_mutex_lock(&chipset_lock);
	chipset_eoi(&chipset, vector);
	leave();
}

bool machine_pic_pending(void)
{
	return __atomic_load_n(&pic_pending, __ATOMIC_ACQUIRE);
}

bool machine_pic_acknowledge(u8 *vector)
{
	bool pending;

	pthread_mutex_lock(&chipset_lock);
	pending = chipset_pic_pending(&chipset);
	if (pending)
		*vector = chipset_pic_acknowledge(&chipset);
	leave();
	return pending;
}

void machine_console_input(unsigned port, const u8 *data, size_t size)
{
	if (port >= MACHINE_PORTS)
		return;
	pthread_mutex_lock(&chipset_lock);
	console_input(&console[port], data, size);
	todo |= TODO_INPUT;
	leave();
}

void machine_set_wall_clock(u64 unix_ns)
{
	__atomic_store_n(&wall_offset_ns, (s64)(unix_ns - clock_ns(CLOCK_REALTIME)),
			 __ATOMIC_RELAXED);
}

void machine_press_power_button(void)
{
	pthread_mutex_lock(&chipset_lock);
	chipset_press_power_button(&chipset);
	leave();
}

void machine_inspect(const struct dev_inspect *out)
{
	pthread_mutex_lock(&chipset_lock);
	chipset_inspect(&chipset, out);
	leave();
}

/* ---- from one process to the next ---- */

enum {
	SAVED_CHIPSET = 1,
	SAVED_CONSOLE = 2, /* one per port, in order */
	SAVED_WALL_OFFSET = 3,
};

void machine_stop(void)
{
	pthread_mutex_lock(&post_lock);
	pthread_mutex_lock(&chipset_lock);
}

void machine_go_on(void)
{
	pthread_mutex_unlock(&chipset_lock);
	pthread_mutex_unlock(&post_lock);
}

void machine_save(struct pb_writer *out)
{
	size_t mark = pb_begin(out, SAVED_CHIPSET);

	chipset_save(&chipset, out);
	pb_end(out, mark);
	for (unsigned i = 0; i < MACHINE_PORTS; i++) {
		mark = pb_begin(out, SAVED_CONSOLE);
		console_save(&console[i], out);
		pb_end(out, mark);
	}
	pb_put_s64_zigzag(out, SAVED_WALL_OFFSET, wall_offset_ns);
}

static bool restore_locked(struct pb_bytes state)
{
	bool good = true, have_chipset = false;
	struct pb_reader r;
	struct pb_field f;
	unsigned ports = 0;

	pb_reader_init(&r, state);
	while (good && pb_next(&r, &f)) {
		if (pb_is(&r, &f, SAVED_CHIPSET, PB_BYTES)) {
			good = !have_chipset && chipset_restore(&chipset, f.bytes);
			have_chipset = true;
		} else if (pb_is(&r, &f, SAVED_CONSOLE, PB_BYTES)) {
			good = ports < MACHINE_PORTS && console_restore(&console[ports++], f.bytes);
		} else if (pb_is(&r, &f, SAVED_WALL_OFFSET, PB_VARINT)) {
			wall_offset_ns = pb_zigzag(f.value);
		}
	}
	return good && !r.failed && have_chipset && ports == MACHINE_PORTS;
}

bool machine_restore(struct pb_bytes state)
{
	bool good;

	pthread_mutex_lock(&chipset_lock);
	good = restore_locked(state);
	/* whatever waited for room or for its time is looked at */
	todo |= TODO_INPUT;
	leave();
	return good;
}
