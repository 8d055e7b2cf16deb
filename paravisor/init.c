/* Process 1 of VTL2. */
#include "common/io.h"
#include "common/log.h"
#include "paravisor/config.h"
#include "paravisor/diag/policy.h"
#include "paravisor/file.h"
#include "paravisor/hostlink.h"
#include "paravisor/klog.h"
#include "paravisor/mshv.h"
#include "paravisor/programs.h"
#include "paravisor/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/serial.h>
#include <linux/random.h>

#define SHELL		  "/bin/sh"
#define SHELL_RESTARTS	  100
#define SHELL_UNUSABLE	  126 /* exit status: VTL2 has no console */
#define RESTART_DELAY	  1   /* seconds */
#define ENTROPY_BYTES_MAX 512

static void mount_all(void)
{
	static const struct {
		const char *type, *path;
	} mounts[] = {
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"devpts", "/dev/pts"}};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].path, 0755);
		/* EBUSY: the kernel mounted it already */
		if (mount(mounts[i].type, mounts[i].path, mounts[i].type, MS_NOSUID | MS_NOEXEC,
			  NULL) &&
		    errno != EBUSY)
			log_error("mount %s: %s", mounts[i].path, strerror(errno));
	}
}

/* The host's seed. Only counted as random where the host is trusted anyway. */
static void credit_entropy(void)
{
	struct {
		int bits, bytes;
		u8 data[ENTROPY_BYTES_MAX];
	} pool;
	struct config config;
	const char *reason;
	size_t size, length = 0;
	const void *seed;
	void *fdt = file_load(FDT_PATH, FDT_SIZE_MAX, &size);
	int fd;

	_Static_assert(offsetof(__typeof__(pool), data) == sizeof(struct rand_pool_info), "uAPI");
	if (!fdt)
		return;
	seed = config_entropy(fdt, size, &length);
	if (seed && config_parse(fdt, size, &config, &reason) == 0) {
		pool.bytes = (int)MIN(length, (size_t)ENTROPY_BYTES_MAX);
		pool.bits = config.isolation == ISOLATION_NONE ? pool.bytes * 8 : 0;
		memcpy(pool.data, seed, (size_t)pool.bytes);
		fd = open("/dev/random", O_WRONLY | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, (int)RNDADDENTROPY, &pool))
			log_warn("entropy: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		memset(&pool, 0, sizeof(pool));
	}
	file_release(fdt, FDT_SIZE_MAX);
}

static void write_setting(const char *path, const char *value)
{
	if (!file_write_text(path, value))
		log_warn("%s: %s", path, strerror(errno));
}

/* A process that dies by a signal is piped to a helper, which brings it to the host. */
static void set_up_core_dumps(void)
{
	struct policy policy;
	bool refused;

	policy_read(&policy, getenv);
	refused = policy_refusal(&policy, POLICY_DUMP);
	/* one at a time; its end is not reported to us before the helper is done */
	write_setting("/proc/sys/kernel/core_pipe_limit", "1");
	/* anonymous memory and ELF headers: no files, no devices, nothing of the guest's */
	write_setting("/proc/self/coredump_filter", "0x33");
	write_setting("/proc/sys/kernel/core_pattern",
		      refused ? "\n" : "|/bin/underhill-crash %p %i %s %e");
}

/* Another program of this binary, after that many seconds. */
static pid_t start_program(const char *name, unsigned delay, char *const environment[])
{
	pid_t pid = fork();

	if (pid == 0) {
		char *const argv[] = {(char *)name, NULL};

		sleep(delay);
		execve("/proc/self/exe", argv, environment);
		_exit(127);
	}
	return pid;
}

static pid_t start_paravisor(void)
{
	char *const environment[] = {NULL};

	return start_program("paravisor", 0, environment);
}

/* The process without which there is no guest: tools find it by name, and the kernel spares it. */
static void note_paravisor(pid_t pid)
{
	char path[32], text[16];

	snprintf(text, sizeof(text), "%d\n", (int)pid);
	write_setting("/run/underhill.pid", text);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	write_setting(path, "-1000");
}

/* NAME=VALUE words of the kernel's command line are its environment. */
static pid_t start_diagnostics(unsigned delay)
{
	return start_program("diag", delay, environ);
}

/* The guest goes on without diagnostics; they come back. */
static pid_t on_diagnostics_end(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == DIAG_STATUS_NO_VSOCK)
		return -1;
	log_warn("diagnostics ended with status %#x; starting them again", (unsigned int)status);
	return start_diagnostics(RESTART_DELAY);
}

/*
 * VTL2 has no legacy interrupts: the driver must look at the UART by itself. Only possible while
 * the port is open once, which is what the kernel did for its first program.
 */
static void poll_console(void)
{
	struct serial_struct serial;
	int null;

	if (ioctl(STDIN_FILENO, TIOCGSERIAL, &serial))
		return; /* the console is no serial port */
	serial.irq = 0;
	if (ioctl(STDIN_FILENO, TIOCSSERIAL, &serial))
		log_warn("console: cannot be polled: %s", strerror(errno));
	/* What was opened with an interrupt stays in error; the shell opens it anew. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
}

/* A shell on the console, in the debug image only. */
static pid_t start_shell(void)
{
	pid_t pid;

	if (access(SHELL, X_OK))
		return -1;
	pid = fork();
	if (pid == 0) {
		char *const argv[] = {(char *)"sh", NULL};
		char *const environment[] = {(char *)"PATH=/bin:/sbin", (char *)"HOME=/", NULL};
		int fd;

		setsid();
		fd = open("/dev/console", O_RDWR);
		if (fd < 0) {
			log_info("no shell on the console: %s", strerror(errno));
			_exit(SHELL_UNUSABLE);
		}
		ioctl(fd, TIOCSCTTY, 1);
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		execve(SHELL, argv, environment);
		_exit(127);
	}
	return pid;
}

/* VTL2 cannot restart alone: the host sees the triple fault and ends or restarts the machine. */
__attribute__((noreturn)) static void reboot_machine(void)
{
	sync();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

__attribute__((noreturn)) static void on_paravisor_end(int status)
{
	char reason[128];

	if (WIFEXITED(status) && WEXITSTATUS(status) == STOP_STATUS_UNLINKED)
		reboot_machine();
	if (WIFEXITED(status) && WEXITSTATUS(status) == STOP_STATUS_REPORTED)
		reboot_machine();
	if (WIFSIGNALED(status))
		snprintf(reason, sizeof(reason), "the paravisor was killed by signal %d",
			 WTERMSIG(status));
	else
		snprintf(reason, sizeof(reason), "the paravisor exited with status %d",
			 WEXITSTATUS(status));
	log_error("%s", reason);
	if (hostlink_post(HOSTLINK_POWER, HOSTLINK_POWER_CRASH, reason, strlen(reason)))
		sleep(2);
	reboot_machine();
}

int init_main(int argc, char **argv)
{
	pid_t paravisor, shell, diagnostics;
	int shells = 1;

	(void)argc;
	(void)argv;
	mount_all();
	/* without a console the kernel opens none for us */
	io_open_standard();
	klog_start("init");
	umask(077);
	credit_entropy();
	set_up_core_dumps();
	if (mshv_open_sint())
		hostlink_post(HOSTLINK_MARK, HOSTLINK_MARK_INIT, NULL, 0);
	/* before anybody inherits the console as it is */
	poll_console();
	paravisor = start_paravisor();
	if (paravisor < 0) {
		log_error("start the paravisor: %s", strerror(errno));
		reboot_machine();
	}
	note_paravisor(paravisor);
	diagnostics = start_diagnostics(0);
	shell = start_shell();
	for (;;) {
		int status;
		pid_t pid = wait(&status);

		if (pid == paravisor)
			on_paravisor_end(status);
		if (pid > 0 && pid == diagnostics)
			diagnostics = on_diagnostics_end(status);
		if (pid > 0 && pid == shell) {
			bool usable = !WIFEXITED(status) || WEXITSTATUS(status) != SHELL_UNUSABLE;

			log_info("shell ended with status %#x", (unsigned int)status);
			shell = usable && ++shells <= SHELL_RESTARTS ? start_shell() : -1;
		}
	}
}
