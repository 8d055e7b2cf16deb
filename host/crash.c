#include "host/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/diag/elfcore.h"
#include "common/io.h"
#include "common/log.h"
#include "common/vmbus/crash.h"
#include "host/diag/kmsg.h"

#define NAME_TRIES 1000
#define LINE_MAX   240

struct crash {
	struct vmbus_crash device;
	struct iothread *io;
	struct iothread_work work;
	const char *path;
	int dir;
	int fd;	       /* of the dump under way, -1: none */
	char part[64]; /* its name until it is complete */
	u64 size;
	unsigned dumps;
	bool told;
};

int crash_open_dir(const char *path)
{
	int fd;

	if (mkdir(path, 0700) && errno != EEXIST) {
		log_error("--crash-dir: cannot create %s: %s", path, strerror(errno));
		return -1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0)
		return fd;
	log_error("--crash-dir: cannot write to %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* --- a finished dump */

static bool read_at(void *ctx, u64 offset, void *buf, u32 len)
{
	const struct crash *crash = ctx;

	return pread(crash->fd, buf, len, (off_t)offset) == (ssize_t)len;
}

/* Begin of the line in front of the one that begins at `at`; records go on with a space. */
static size_t previous_record(const char *text, size_t at)
{
	do {
		at--;
		while (at && text[at - 1] != '\n')
			at--;
	} while (at && text[at] == ' ');
	return at;
}

static void show_log(const struct crash *crash, const struct elfcore_summary *s)
{
	char *text = malloc(s->kmsg_len ? s->kmsg_len : 1), line[LINE_MAX];
	size_t at = s->kmsg_len;
	struct kmsg_record r;

	if (!text || !s->kmsg_len || !read_at((void *)crash, s->kmsg_offset, text, s->kmsg_len)) {
		free(text);
		return;
	}
	for (unsigned n = 0; n < CRASH_LOG_LINES && at; n++)
		at = previous_record(text, at);
	while (at < s->kmsg_len) {
		const char *end = memchr(text + at, '\n', s->kmsg_len - at);
		size_t len = end ? (size_t)(end - text) - at : s->kmsg_len - at;

		if (kmsg_parse((struct pb_bytes){(u8 *)text + at, len}, &r)) {
			kmsg_unescape(r.text, false, line, sizeof(line));
			log_warn("VTL2: [%5llu.%06llu] %s", (unsigned long long)(r.usec / 1000000),
				 (unsigned long long)(r.usec % 1000000), line);
		}
		at += len + 1;
	}
	free(text);
}

/*
 * Makes the file vtl2.DATE-TIME.WHAT (.2.WHAT and on where that is taken); what is there already
 * stays. Returns its descriptor, or -1.
 */
static int create_file(int dir, const char *what, char name[96])
{
	time_t now = time(NULL);
	char stamp[32];
	struct tm tm;
	int fd = -1;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
	for (unsigned i = 1; i < NAME_TRIES && fd < 0; i++) {
		if (i == 1)
			snprintf(name, 96, "vtl2.%s.%s", stamp, what);
		else
			snprintf(name, 96, "vtl2.%s.%u.%s", stamp, i, what);
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			return -1;
	}
	return fd;
}

static bool finish_file(struct crash *crash, u32 pid, char name[96])
{
	char what[24];
	int fd;

	snprintf(what, sizeof(what), "%u.core", pid);
	fd = create_file(crash->dir, what, name);
	if (fd < 0)
		return false;
	close(fd);
	if (renameat(crash->dir, crash->part, crash->dir, name) == 0)
		return true;
	unlinkat(crash->dir, name, 0);
	return false;
}

void crash_save_report(int dir, const char *path, const char *text)
{
	char name[96];
	int fd = create_file(dir, "report.txt", name);
	bool ok = fd >= 0 && write_all(fd, text, strlen(text)) && write_all(fd, "\n", 1);

	if (fd >= 0)
		close(fd);
	if (ok)
		log_info("report: %s/%s", path, name);
	else
		log_error("cannot write a report to %s: %s", path, strerror(errno));
}

static void drop_file(struct crash *crash)
{
	if (crash->fd < 0)
		return;
	close(crash->fd);
	crash->fd = -1;
	unlinkat(crash->dir, crash->part, 0);
}

/* --- ops of the device */

static bool on_start(void *ctx)
{
	struct crash *crash = ctx;

	if (crash->dumps == CRASH_DUMPS_MAX) {
		log_warn("VTL2: no more core dumps are taken after %u", crash->dumps);
		return false;
	}
	snprintf(crash->part, sizeof(crash->part), ".vtl2.%d.%u.part", (int)getpid(), crash->dumps);
	unlinkat(crash->dir, crash->part, 0);
	crash->fd = openat(crash->dir, crash->part,
			   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (crash->fd < 0) {
		log_error("core dump of VTL2: %s: %s", crash->path, strerror(errno));
		return false;
	}
	crash->dumps++;
	crash->size = 0;
	return true;
}

static bool on_write(void *ctx, const void *data, u32 len)
{
	struct crash *crash = ctx;

	if (!write_all(crash->fd, data, len)) {
		log_error("core dump of VTL2: %s: %s", crash->path, strerror(errno));
		return false;
	}
	crash->size += len;
	return true;
}

static void on_complete(void *ctx)
{
	struct crash *crash = ctx;
	struct elfcore_reader reader = {read_at, crash, crash->size};
	struct elfcore_summary s;
	const char *why;
	char name[96];

	if (!elfcore_summarise(&reader, &s, &why))
		log_warn("core dump of VTL2: %s", why);
	if (finish_file(crash, s.pid, name)) {
		log_warn("VTL2: core dump of %s, process %u, signal %u: %s/%s, %llu KiB",
			 *s.name ? s.name : "?", s.pid, s.signal, crash->path, name,
			 (unsigned long long)(crash->size + 1023) / 1024);
		show_log(crash, &s);
		close(crash->fd);
		crash->fd = -1;
	} else {
		log_error("core dump of VTL2: %s: %s", crash->path, strerror(errno));
		drop_file(crash);
	}
}

static void on_abort(void *ctx, const char *why)
{
	struct crash *crash = ctx;

	log_warn("core dump of VTL2 given up: %s", why);
	drop_file(crash);
}

static void on_unwanted(void *ctx)
{
	struct crash *crash = ctx;

	if (!crash->told)
		log_warn("VTL2: a process has crashed; a core dump is kept with --crash-dir DIR");
	crash->told = true;
}

static void on_again(void *ctx)
{
	struct crash *crash = ctx;

	iothread_post(crash->io, &crash->work);
}

static void run(struct iothread_work *work)
{
	struct crash *crash = (struct crash *)((u8 *)work - offsetof(struct crash, work));

	vmbus_crash_run(&crash->device);
}

static const struct vmbus_crash_ops ops = {
	.start = on_start,
	.write = on_write,
	.complete = on_complete,
	.abort = on_abort,
	.unwanted = on_unwanted,
	.again = on_again,
};

/* --- life */

struct crash *crash_create(struct vmbus *bus, int dir, const char *path)
{
	struct crash *crash = calloc(1, sizeof(*crash));
	bool good = crash;

	if (crash) {
		crash->io = vmbus_iothread(bus);
		crash->work.run = run;
		crash->dir = dir;
		crash->path = path;
		crash->fd = -1;
		iothread_lock(crash->io);
		good = vmbus_crash_init(&crash->device, vmbus_server(bus, VTL2),
					dir >= 0 ? CRASH_DUMP_MAX : 0, &ops, crash);
		iothread_unlock(crash->io);
	}
	if (good)
		return crash;
	log_error("crash device: out of memory");
	free(crash);
	return NULL;
}

void crash_destroy(struct crash *crash)
{
	if (!crash)
		return;
	iothread_lock(crash->io);
	iothread_cancel(crash->io, &crash->work);
	vmbus_crash_end(&crash->device);
	iothread_unlock(crash->io);
	free(crash);
}
