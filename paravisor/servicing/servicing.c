/* From one process of the paravisor to the next. */
#include "paravisor/servicing/servicing.h"

#include "common/clock.h"
#include "common/io.h"
#include "common/log.h"
#include "paravisor/boot.h"
#include "paravisor/file.h"
#include "paravisor/hostlink.h"
#include "paravisor/machine.h"
#include "paravisor/mshv.h"
#include "paravisor/servicing/state.h"
#include "paravisor/stop.h"
#include "paravisor/vmbus/vmbus.h"
#include "paravisor/vp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define PROGRAM	     "/proc/self/exe"
#define STATE_PATH   "/run/parapet.state"
#define HANDOVER_MAX (SERVICING_STATE_MAX + 256)
#define MEMORY_LEFT  (4 * MiB) /* what VTL2 needs besides */

/* Of this module itself. */
struct record {
	u64 stopped_ns; /* CLOCK_MONOTONIC, which goes on from one process to the next */
	u32 restarts;
	u8 log_level;
	bool paused;
};

static const struct saved_field fields[] = {
	SAVED_ANY(1, struct record, stopped_ns),
	SAVED_ANY(2, struct record, restarts),
	SAVED_NUMBER(3, struct record, log_level, LOG_DEBUG),
	SAVED_BOOL(4, struct record, paused),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

static struct record record;
static u64 stood_us;
static struct servicing_handover handover;
static void *handover_data; /* what handover.state points into */

/* --- what this process leaves */

/* From here on nobody but the caller touches the VM. NULL, or why not. */
static const char *stop_all(bool paused)
{
	if (!paused && !vp_pause_all())
		return "a processor does not leave the guest";
	/* from the outside inwards: each of them may be calling the next */
	hostlink_stop();
	vmbus_stop();
	machine_stop();
	return NULL;
}

static void go_on(bool paused)
{
	machine_go_on();
	vmbus_go_on();
	hostlink_go_on();
	if (!paused)
		vp_resume_all();
}

static u64 reference_time(void)
{
	struct hv_register_assoc reg = {.name = HV_REG_TIME_REF_COUNT};

	return mshv_get_registers(0, &reg, 1) ? 0 : reg.value.low;
}

static void save_unit(struct pb_writer *out, const char *name, void (*save)(struct pb_writer *out))
{
	struct servicing_unit unit = servicing_begin_unit(out, name);

	save(out);
	servicing_end_unit(out, unit);
}

static void save_record(struct pb_writer *out)
{
	saved_write(out, &layout, &record);
}

/* With everything stopped. */
static const char *save_all(struct pb_writer *out)
{
	servicing_begin(out, reference_time());
	save_unit(out, "paravisor", save_record);
	save_unit(out, "boot", boot_save);
	save_unit(out, "chipset", machine_save);
	save_unit(out, "vmbus", vmbus_save);
	save_unit(out, "vps", vp_save);
	return out->failed ? "the state is too large, or memory is short" : NULL;
}

static void take_record(bool paused, u64 stopped_ns)
{
	record.stopped_ns = stopped_ns;
	record.log_level = (u8)log_max_level;
	record.paused = paused;
}

const char *servicing_save(bool paused, struct pb_writer *out)
{
	u64 stopped_ns = monotonic_ns();
	const char *wrong = stop_all(paused);

	if (wrong)
		return wrong;
	take_record(paused, stopped_ns);
	wrong = save_all(out);
	go_on(paused);
	return wrong;
}

/* What the next process could not live with, once there is no way back. NULL: nothing. */
static const char *obstacle(size_t state_size)
{
	static const struct {
		int resource;
		rlim_t least;
		const char *what;
	} limit[] = {
		{RLIMIT_NOFILE, 64, "the limit of open files is too low"},
		{RLIMIT_STACK, 1 * MiB, "the limit of the stack is too low"},
		{RLIMIT_DATA, 64 * MiB, "the limit of data is too low"},
		{RLIMIT_AS, RLIM_INFINITY, "the address space has a limit"},
	};
	struct sysinfo info;
	struct rlimit r;

	for (size_t i = 0; i < ARRAY_SIZE(limit); i++) {
		if (getrlimit(limit[i].resource, &r) == 0 && r.rlim_cur < limit[i].least)
			return limit[i].what;
	}
	/* the file lies in memory that nothing bounds, and the next process has a copy of it */
	if (sysinfo(&info) == 0 && (u64)info.freeram * info.mem_unit < 2 * state_size + MEMORY_LEFT)
		return "memory is short";
	return NULL;
}

static bool keep_over_exec(int fd, bool keep)
{
	return fd < 0 || fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC) == 0;
}

/* A file without a name, which the next process finds open. */
static int leave(const void *data, size_t size)
{
	int fd;

	/* nobody else has to do with it */
	unlink(STATE_PATH);
	fd = open(STATE_PATH, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return -1;
	unlink(STATE_PATH);
	if (write_all(fd, data, size))
		return fd;
	close(fd);
	return -1;
}

/* With everything stopped. Returns only if it fails. */
static const char *replace_process(const struct control_pending *pending)
{
	static char error[128];
	char *const environment[] = {NULL};
	char number[16];
	char *const argv[] = {(char *)"paravisor", (char *)"--restore", number, NULL};
	struct servicing_handover next = {
		.listener = pending->listener,
		.client = pending->client,
		.request_id = pending->request.id,
		.request_op = pending->request.op,
	};
	struct pb_writer out;
	const char *wrong;
	size_t mark;
	int fd = -1;

	pb_writer_init(&out, HANDOVER_MAX);
	mark = servicing_begin_handover(&out, &next);
	wrong = save_all(&out);
	servicing_end_handover(&out, mark);
	if (!wrong && out.failed)
		wrong = "memory is short";
	if (!wrong)
		wrong = obstacle(out.used);
	if (!wrong) {
		fd = leave(out.data, out.used);
		snprintf(number, sizeof(number), "%d", fd);
		if (fd >= 0 && keep_over_exec(next.listener, true) &&
		    keep_over_exec(next.client, true))
			execve(PROGRAM, argv, environment);
		snprintf(error, sizeof(error), "the next process cannot start: %s",
			 strerror(errno));
		wrong = error;
		keep_over_exec(next.listener, false);
		keep_over_exec(next.client, false);
		if (fd >= 0)
			close(fd);
	}
	pb_writer_free(&out);
	return wrong;
}

const char *servicing_restart(bool paused, const struct control_pending *pending)
{
	u64 stopped_ns = monotonic_ns();
	const char *wrong = stop_all(paused);

	if (wrong)
		return wrong;
	take_record(paused, stopped_ns);
	record.restarts++;
	/* a limit of files' size must not end the guest */
	signal(SIGXFSZ, SIG_IGN);
	wrong = replace_process(pending);
	record.restarts--;
	go_on(paused);
	log_warn("restart: %s; the guest goes on as before", wrong);
	return wrong;
}

/* --- what this process finds */

static struct pb_bytes unit_of(const char *name)
{
	struct pb_bytes unit;

	if (!servicing_find(handover.state, name, &unit))
		stop_crash("restart: the saved state lacks %s", name);
	return unit;
}

static void restore(const char *name, bool (*restore_unit)(struct pb_bytes state))
{
	if (!restore_unit(unit_of(name)))
		stop_crash("restart: the saved state of %s is not valid", name);
}

static bool restore_record(struct pb_bytes state)
{
	if (!saved_read(state, &layout, &record))
		return false;
	log_max_level = (enum log_level)record.log_level;
	return true;
}

bool servicing_takes_over(int argc, char **argv)
{
	char path[32];
	size_t size;
	int fd;

	if (argc != 3 || strcmp(argv[1], "--restore"))
		return false;
	fd = atoi(argv[2]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	handover_data = file_load(path, HANDOVER_MAX, &size);
	if (!handover_data)
		stop_crash("restart: the saved state: %s", strerror(errno));
	close(fd);
	if (!servicing_get_handover((struct pb_bytes){handover_data, size}, &handover))
		stop_crash("restart: the saved state is malformed");
	keep_over_exec(handover.listener, false);
	keep_over_exec(handover.client, false);
	restore("paravisor", restore_record);
	restore("boot", boot_restore);
	return true;
}

void servicing_restore_machine(void)
{
	restore("chipset", machine_restore);
}

void servicing_restore_vmbus(void)
{
	restore("vmbus", vmbus_restore);
}

bool servicing_restore_vps(const struct config *config)
{
	if (!vp_restore(config, unit_of("vps")))
		stop_crash("restart: the saved state of vps is not valid");
	return record.paused;
}

void servicing_done(struct control_pending *pending)
{
	*pending = (struct control_pending){
		.listener = handover.listener,
		.client = handover.client,
		.request = {.id = handover.request_id, .op = handover.request_op},
	};
	stood_us = (monotonic_ns() - record.stopped_ns) / 1000;
	log_info("restarted with a state of %zu bytes; the guest stood still for %llu.%03llu ms%s",
		 handover.state.size, (unsigned long long)stood_us / 1000,
		 (unsigned long long)stood_us % 1000, record.paused ? ", and is paused" : "");
	file_release(handover_data, HANDOVER_MAX);
	handover.state = (struct pb_bytes){0};
}

void servicing_inspect(struct inspect *dir)
{
	inspect_counter(dir, "restarts", record.restarts);
	if (record.restarts)
		inspect_u64(dir, "last_stop_us", stood_us);
}
