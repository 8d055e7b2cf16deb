/*
 * underhill-crash: the kernel starts it for a process that dies by a signal (core_pattern), and
 * pipes the core into it; it goes to the host. `underhill-crash PID TID SIGNAL NAME <CORE`.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "paravisor/crash/device.h"
#include "paravisor/crash/filter.h"
#include "paravisor/crash/tool.h"
#include "paravisor/klog.h"
#include "paravisor/programs.h"

#define TIMEOUT_SECONDS 15

struct output {
	struct crash_device device;
	u8 chunk[CRASH_CHUNK];
	u32 used;
};

static bool is_on(const char *name)
{
	const char *value = getenv(name);

	return value && (!strcmp(value, "1") || !strcmp(value, "true"));
}

static void on_alarm(int signal)
{
	static const char text[] = "<3>crash: the host takes the core dump too slowly: given up\n";
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	(void)signal;
	if (fd < 0 || write(fd, text, sizeof(text) - 1) < 0)
		_exit(-ETIMEDOUT & 0xff);
	_exit(-ETIMEDOUT & 0xff);
}

/* A process whose end waits for us must not wait for ever. */
static void start_clock(void)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	const char *text = getenv("UNDERHILL_CRASH_TIMEOUT");
	unsigned long seconds = text ? strtoul(text, NULL, 10) : 0;

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds && seconds < 86400 ? (unsigned)seconds : TIMEOUT_SECONDS);
}

/* The kernel gives us nothing but the pipe. */
static void open_output(void)
{
	int fd = open("/dev/ttyprintk", O_WRONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static bool emit(void *ctx, const void *data, size_t len)
{
	struct output *out = ctx;
	const u8 *from = data;

	while (len) {
		u32 n = (u32)MIN(len, (size_t)(CRASH_CHUNK - out->used));

		memcpy(out->chunk + out->used, from, n);
		out->used += n;
		from += n;
		len -= n;
		if (out->used < CRASH_CHUNK)
			break;
		if (!crash_device_write(&out->device, out->chunk, out->used))
			return false;
		out->used = 0;
	}
	return true;
}

static bool send_core(struct output *out, const u8 *note)
{
	static struct core_filter filter;
	static u8 buffer[65536];
	ssize_t n;

	core_filter_init(&filter, note, note ? KMSG_NOTE_SIZE : 0, emit, out);
	while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			log_error("core dump: %s", strerror(errno));
			return false;
		}
		if (!core_filter_put(&filter, buffer, (size_t)n))
			return false;
	}
	if (!core_filter_end(&filter) ||
	    (out->used && !crash_device_write(&out->device, out->chunk, out->used)) ||
	    !crash_device_complete(&out->device))
		return false;
	if (note && !filter.inserted)
		log_warn("core dump without kernel log: %s", filter.why);
	return true;
}

int crash_main(int argc, char **argv)
{
	static struct output out;
	bool good = false;
	u8 *note = NULL;

	if (is_on("UNDERHILL_CRASH_NO_REDIRECT")) {
		log_set_name("underhill-crash");
	} else {
		open_output();
		klog_start("crash");
	}
	if (argc != 5) {
		log_error("usage: underhill-crash PID TID SIGNAL NAME <CORE");
		return 2;
	}
	if (is_on("UNDERHILL_CRASH_VERBOSE"))
		log_max_level = LOG_DEBUG;
	start_clock();
	signal(SIGPIPE, SIG_IGN);
	if (!crash_allowed())
		return 1;
	/* before we add to the log ourselves */
	if (!is_on("UNDERHILL_CRASH_NO_KMSG"))
		note = crash_kmsg_note();
	log_warn("process %.20s (%.40s), thread %.20s, has got signal %.20s", argv[1], argv[4],
		 argv[2], argv[3]);
	if (crash_device_open(&out.device) && crash_device_start(&out.device))
		good = send_core(&out, note);
	if (good)
		log_info("the host has the core dump, %llu bytes",
			 (unsigned long long)out.device.done);
	crash_device_close(&out.device);
	free(note);
	return !good;
}
