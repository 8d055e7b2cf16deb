/* VTL2's side of the host's crash dump device. */
#include "paravisor/crash/device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/log.h"
#include "paravisor/crash/tool.h"
#include "paravisor/file.h"

#define DRIVER	"/sys/bus/vmbus/drivers/uio_hv_generic/"
#define DEVICE	"/sys/bus/vmbus/devices/" CRASH_GUID_TEXT
#define POLL_MS 100 /* a lost signal costs that much, not the dump */

/* --- the kernel's driver */

/* Name of the UIO device that stands for ours. */
static bool find_uio(char name[32])
{
	DIR *dir = opendir(DEVICE "/uio");
	const struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		found = !strncmp(entry->d_name, "uio", 3) && strlen(entry->d_name) < 32;
		if (found)
			strcpy(name, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/*
 * The driver takes the device only now: its rings are 4 MiB, which VTL2 does not set aside for what
 * hopefully never happens.
 */
static bool bind_driver(char name[32])
{
	if (access(DEVICE, F_OK)) {
		log_error("the host offers no crash device");
		return false;
	}
	if (find_uio(name))
		return true;
	/* from the second time on the driver knows the name, and is asked by it */
	if (!file_write_text(DRIVER "new_id", CRASH_GUID_TEXT) && errno != EEXIST)
		log_warn(DRIVER "new_id: %s", strerror(errno));
	if (!find_uio(name) && !file_write_text(DRIVER "bind", CRASH_GUID_TEXT))
		log_warn(DRIVER "bind: %s", strerror(errno));
	if (find_uio(name))
		return true;
	log_error("crash device: the kernel has no driver or memory for it");
	return false;
}

static size_t ring_bytes(const char *name)
{
	char path[96], *text;
	size_t len, size = 0;

	snprintf(path, sizeof(path), "/sys/class/uio/%s/maps/map0/size", name);
	text = crash_load(path, &len);
	if (text)
		size = strtoull(text, NULL, 0);
	free(text);
	return IS_ALIGNED(size, 2 * PAGE_SIZE) ? size : 0;
}

/*
 * Two writers would share one ring. A name that only one can have, which goes with its process;
 * this kernel has no file locks. The program's own clock bounds the wait.
 */
static int take_turn(void)
{
	const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0underhill-crash"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	while (fd >= 0 && bind(fd, (const struct sockaddr *)&name, sizeof(name))) {
		if (errno == EADDRINUSE) {
			usleep(POLL_MS * 1000);
			continue;
		}
		close(fd);
		return -1;
	}
	return fd;
}

bool crash_device_open(struct crash_device *d)
{
	char name[32], path[48];
	u32 pages;

	*d = (struct crash_device){.fd = -1, .turn = take_turn()};
	if (d->turn < 0) {
		log_error("crash device: %s", strerror(errno));
		return false;
	}
	if (!bind_driver(name))
		return false;
	snprintf(path, sizeof(path), "/dev/%s", name);
	/* opens the channel */
	d->fd = open(path, O_RDWR | O_CLOEXEC);
	d->ring_size = ring_bytes(name);
	if (d->fd < 0 || !d->ring_size) {
		log_error("%s: %s", path, d->fd < 0 ? strerror(errno) : "odd rings");
		return false;
	}
	d->ring = mmap(NULL, d->ring_size, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
	pages = (u32)(d->ring_size / PAGE_SIZE);
	d->page = calloc(pages, sizeof(*d->page));
	if (d->ring == MAP_FAILED || !d->page) {
		log_error("%s: %s", path, strerror(errno));
		return false;
	}
	for (u32 i = 0; i < pages; i++)
		d->page[i] = d->ring + (size_t)i * PAGE_SIZE;
	/* first the ring that the host reads */
	if (!vmbus_tx_init(&d->tx, d->page, pages / 2) ||
	    !vmbus_rx_init(&d->rx, d->page + pages / 2, pages / 2)) {
		log_error("crash device: the host broke its rings");
		return false;
	}
	vmbus_pipe_init(&d->pipe, &d->rx, &d->tx);
	return true;
}

void crash_device_close(struct crash_device *d)
{
	if (d->ring && d->ring != MAP_FAILED)
		munmap(d->ring, d->ring_size);
	if (d->fd >= 0)
		close(d->fd);
	free(d->page);
	if (d->turn < 0)
		return;
	if (!file_write_text(DRIVER "unbind", CRASH_GUID_TEXT))
		log_debug(DRIVER "unbind: %s", strerror(errno));
	close(d->turn);
}

/* --- messages */

static void signal_host(struct crash_device *d)
{
	/* also unmasks our interrupt, which does no harm: we look before we sleep */
	const s32 on = 1;

	if (write(d->fd, &on, sizeof(on)) != sizeof(on))
		log_debug("crash device: signal: %s", strerror(errno));
}

static void wait_host(struct crash_device *d)
{
	struct pollfd polled = {.fd = d->fd, .events = POLLIN};
	u32 count;

	if (poll(&polled, 1, POLL_MS) > 0 && read(d->fd, &count, sizeof(count)) < 0)
		usleep(POLL_MS * 1000);
}

/* The program's own clock bounds the wait. */
static bool send_message(struct crash_device *d, const void *msg, u32 len)
{
	bool signal = false;
	int ret;

	while ((ret = vmbus_pipe_send(&d->pipe, msg, len, &signal)) == -EAGAIN) {
		if (signal)
			signal_host(d);
		signal = false;
		wait_host(d);
	}
	if (signal)
		signal_host(d);
	if (ret)
		log_error("crash device: send: %s", strerror(-ret));
	return !ret;
}

static bool receive(struct crash_device *d, u64 type, void *msg, size_t len)
{
	struct crash_header head = {0};
	bool signal = false;
	u8 buf[64];
	size_t got;
	int ret;

	while ((ret = vmbus_pipe_recv(&d->pipe, buf, sizeof(buf), &got, &signal)) == -EAGAIN)
		wait_host(d);
	if (signal)
		signal_host(d);
	if (!ret && got >= sizeof(head))
		memcpy(&head, buf, sizeof(head));
	if (ret || got != len || head.type != type + CRASH_RESPONSE) {
		log_error("crash device: the host answers with something else");
		return false;
	}
	memcpy(msg, buf, len);
	return true;
}

static bool ask(struct crash_device *d, u64 type, void *msg, size_t len)
{
	struct crash_header head = {.type = type};

	if (getrandom(&head.activity, sizeof(head.activity), 0) != sizeof(head.activity))
		log_debug("getrandom: %s", strerror(errno));
	return send_message(d, &head, sizeof(head)) && receive(d, type, msg, len);
}

bool crash_device_start(struct crash_device *d)
{
	struct crash_capabilities capabilities;
	struct crash_config config;
	struct crash_status status;

	if (!ask(d, CRASH_CAPABILITIES, &capabilities, sizeof(capabilities)))
		return false;
	if (!(capabilities.can & CRASH_CAN_LINUX) ||
	    !ask(d, CRASH_CONFIG, &config, sizeof(config)) || !config.max_size ||
	    config.dump != CRASH_DUMP_ELF) {
		log_warn("the host wants no core dump");
		return false;
	}
	d->max_size = config.max_size;
	if (!ask(d, CRASH_START, &status, sizeof(status)))
		return false;
	if (status.status) {
		log_warn("the host refuses a core dump: %d", status.status);
		return false;
	}
	d->activity = status.head.activity;
	return true;
}

/* An answer to a write tells that it failed. */
static bool refused(struct crash_device *d)
{
	bool signal = false;
	u8 buf[64];
	size_t got;

	if (vmbus_pipe_recv(&d->pipe, buf, sizeof(buf), &got, &signal) == -EAGAIN)
		return false;
	log_error("crash device: the host stops the dump after %llu bytes",
		  (unsigned long long)d->done);
	return true;
}

bool crash_device_write(struct crash_device *d, const void *data, u32 len)
{
	struct crash_write msg = {.head = {.activity = d->activity, .type = CRASH_WRITE},
				  .offset = d->done};
	u64 left = d->max_size - d->done;

	if (len > left)
		log_warn("core dump: cut at %llu bytes", (unsigned long long)d->max_size);
	len = (u32)MIN((u64)len, left);
	if (!len)
		return true;
	msg.size = len;
	if (!send_message(d, &msg, sizeof(msg)) || !send_message(d, data, len))
		return false;
	d->done += len;
	return !refused(d);
}

bool crash_device_complete(struct crash_device *d)
{
	struct crash_complete msg = {.head = {.activity = d->activity, .type = CRASH_COMPLETE},
				     .vtl = 2};
	char *banner;
	size_t len;
	struct utsname kernel;

	if (uname(&kernel) == 0) {
		char *end;

		msg.major = (u32)strtoul(kernel.release, &end, 10);
		msg.minor = *end == '.' ? (u32)strtoul(end + 1, NULL, 10) : 0;
	}
	banner = crash_load("/proc/version", &len);
	if (banner)
		memcpy(msg.banner, banner, MIN(len, sizeof(msg.banner)));
	free(banner);
	if (!send_message(d, &msg, sizeof(msg)))
		return false;
	/* nobody tells that it was read, and the channel closes behind us */
	while (!vmbus_pipe_drained(&d->pipe))
		wait_host(d);
	return !refused(d);
}
