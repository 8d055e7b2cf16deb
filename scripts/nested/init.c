/*
 * First program of the nested machine (scripts/run-nested): loads KVM and the virtio console, runs
 * one program with the terminal or pipes of the outside, and hands its exit code and files out.
 *
 * In the initramfs, under /nested: `modules` (lines "file parameters"), `argv` and `out` (strings,
 * each ended by a zero byte), `env` (NAME=VALUE, likewise), `cwd`, `tty` if the outside is a
 * terminal, and `sockets` if it wants the program's sockets (sockets.c).
 * On the control port, text lines. Out: "up", "ready", "file LENGTH PATH" + bytes, "exit CODE",
 * "error TEXT". In: "signal NUMBER", "size ROWS COLUMNS", "poke" (only to interrupt).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "sockets.h"

#define MAX_ARGS 1024

static int control = -1;

static void write_all(int fd, const void *data, size_t length)
{
	const char *p = data;

	while (length) {
		ssize_t n = write(fd, p, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		p += n;
		length -= (size_t)n;
	}
}

static void __attribute__((format(printf, 1, 2))) tell(const char *format, ...)
{
	char line[4352];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		n = sizeof(line) - 1;
	/* without a control port the kernel's console (the log file outside) is all there is */
	write_all(control >= 0 ? control : STDERR_FILENO, line, (size_t)n);
}

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) fail(const char *what, const char *name)
{
	tell("error %s %s: %s\n", what, name, strerror(errno));
	usleep(200000);
	power_off();
}

/* Reads a whole file of /nested; a zero byte follows the content. NULL: no such file. */
static char *slurp(const char *path, size_t *length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *data;
	size_t have = 0;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) || !(data = calloc(1, (size_t)st.st_size + 1)))
		fail("read", path);
	while (have < (size_t)st.st_size) {
		ssize_t n = read(fd, data + have, (size_t)st.st_size - have);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	close(fd);
	*length = have;
	return data;
}

static void load_modules(void)
{
	size_t length;
	char *list = slurp("/nested/modules", &length), *line, *next = list;

	while (next && (line = strsep(&next, "\n"))) {
		char path[256], *parameters = line;
		int fd;

		strsep(&parameters, " ");
		if (!*line)
			continue;
		snprintf(path, sizeof(path), "/nested/%s", line);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, parameters ? parameters : "", 0) &&
			       errno != EEXIST))
			fail("load module", path);
		close(fd);
	}
	free(list);
}

/* Opens the virtio port of that name; ports appear a little after their driver is loaded. */
static int open_port(const char *name, int flags)
{
	for (int attempt = 0; attempt < 5000; attempt++) {
		DIR *dir = opendir("/sys/class/virtio-ports");
		struct dirent *entry;

		while (dir && (entry = readdir(dir))) {
			char path[512], text[64] = "";
			int fd, n;

			snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name",
				 entry->d_name);
			fd = open(path, O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				continue;
			n = (int)read(fd, text, sizeof(text) - 1);
			close(fd);
			text[n > 0 ? n : 0] = 0;
			text[strcspn(text, "\n")] = 0;
			if (strcmp(text, name))
				continue;
			snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
			fd = open(path, flags | O_CLOEXEC);
			if (fd >= 0) {
				closedir(dir);
				return fd;
			}
		}
		if (dir)
			closedir(dir);
		usleep(1000);
	}
	errno = ENODEV;
	fail("open port", name);
}

static void set_limits(void)
{
	struct rlimit limit = {1 << 20, 1 << 20};

	setrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
	setrlimit(RLIMIT_MEMLOCK, &limit);
}

static pid_t start(char **argv, const char *cwd, int tty)
{
	int in, out, err;
	pid_t pid;

	if (tty) {
		in = out = open("/dev/hvc0", O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (in < 0)
			fail("open", "/dev/hvc0");
	} else {
		in = open_port("stdin", O_RDONLY);
		out = open_port("stdout", O_WRONLY);
	}
	err = open_port("stderr", O_WRONLY);
	pid = fork();
	if (pid < 0)
		fail("fork", argv[0]);
	if (!pid) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		dup2(in, 0);
		dup2(out, 1);
		dup2(err, 2);
		if (tty)
			ioctl(0, TIOCSCTTY, 1);
		set_limits();
		if (chdir(cwd))
			dprintf(2, "nested: chdir %s: %s\n", cwd, strerror(errno));
		execv(argv[0], argv);
		dprintf(2, "nested: %s: %s\n", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	close(in);
	if (out != in)
		close(out);
	close(err);
	return pid;
}

static void control_line(const char *line, pid_t child, int tty)
{
	struct winsize size = {0};
	int number;

	if (sscanf(line, "signal %d", &number) == 1) {
		kill(child, number);
	} else if (tty && sscanf(line, "size %hu %hu", &size.ws_row, &size.ws_col) == 2) {
		int fd = open("/dev/hvc0", O_RDWR | O_NOCTTY | O_CLOEXEC);

		if (fd >= 0) {
			ioctl(fd, TIOCSWINSZ, &size);
			close(fd);
		}
	}
}

/* Waits for the program, and does what the outside asks meanwhile. Returns its exit code. */
static int serve(pid_t child, int tty, int signals)
{
	char buffer[512];
	size_t have = 0;
	static struct pollfd fds[2 + SOCKETS_FDS];

	fds[0] = (struct pollfd){.fd = signals, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = control, .events = POLLIN};

	for (;;) {
		struct signalfd_siginfo info;
		int status, timeout_ms = -1;
		size_t count = sockets_wait(fds + 2, &timeout_ms);
		pid_t pid;

		if (poll(fds, 2 + count, timeout_ms) < 0)
			continue;
		if (fds[0].revents && read(signals, &info, sizeof(info)) < 0)
			return 125;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
							   : WEXITSTATUS(status);
		if (fds[1].revents & POLLIN) {
			ssize_t n = read(control, buffer + have, sizeof(buffer) - 1 - have);
			char *end;

			have += n > 0 ? (size_t)n : 0;
			buffer[have] = 0;
			while ((end = strchr(buffer, '\n'))) {
				*end++ = 0;
				control_line(buffer, child, tty);
				have -= (size_t)(end - buffer);
				memmove(buffer, end, have + 1);
			}
			if (have == sizeof(buffer) - 1)
				have = 0;
		} else if (fds[1].revents) {
			fds[1].fd =
				-1; /* the outside is gone; the program may still end by itself */
		}
		sockets_serve(fds + 2, count);
	}
}

static void hand_out(const char *path)
{
	static char block[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	off_t left;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	tell("file %lld %s\n", (long long)st.st_size, path);
	for (left = st.st_size; left > 0;) {
		ssize_t n = read(fd, block,
				 left < (off_t)sizeof(block) ? (size_t)left : sizeof(block));

		if (n <= 0) { /* it shrank: keep the promised length */
			memset(block, 0, sizeof(block));
			n = left < (off_t)sizeof(block) ? (ssize_t)left : (ssize_t)sizeof(block);
		}
		write_all(control, block, (size_t)n);
		left -= n;
	}
	close(fd);
}

static size_t split(char *data, size_t length, char **list, size_t max)
{
	size_t count = 0;

	for (char *p = data; data && p < data + length && count < max; p += strlen(p) + 1)
		list[count++] = p;
	list[count] = NULL;
	return count;
}

/* Guest memory is shared memory; nested paging over 4 KiB pages is more than twice as slow. */
static void allow_huge_pages(void)
{
	int fd = open("/sys/kernel/mm/transparent_hugepage/shmem_enabled", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "advise", 6) < 0)
		fprintf(stderr, "no huge pages for shared memory\n");
	if (fd >= 0)
		close(fd);
}

int main(void)
{
	static char *argv[MAX_ARGS + 1], *outs[MAX_ARGS + 1], *env[MAX_ARGS + 1];
	size_t length, out_count, env_count;
	char *cwd, *data;
	int code, signals, tty;
	sigset_t set;

	mkdir("/dev", 0755);
	mkdir("/proc", 0555);
	mkdir("/sys", 0555);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	allow_huge_pages();
	mkdir("/dev/pts", 0755);
	mkdir("/dev/shm", 01777);
	mkdir("/tmp", 01777);
	mkdir("/run", 0755);
	mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=0666");
	mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777");
	if (symlink("/proc/self/fd", "/dev/fd") && errno != EEXIST)
		fail("symlink", "/dev/fd");
	load_modules();
	control = open_port("control", O_RDWR);
	tell("up\n");

	tty = !access("/nested/tty", F_OK);
	cwd = slurp("/nested/cwd", &length);
	data = slurp("/nested/argv", &length);
	if (!split(data, length, argv, MAX_ARGS))
		fail("read", "/nested/argv");
	data = slurp("/nested/out", &length);
	out_count = split(data, length, outs, MAX_ARGS);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/", 1);
	setenv("PARAPET_NESTED", "1", 1);
	data = slurp("/nested/env", &length);
	env_count = split(data, length, env, MAX_ARGS);
	for (size_t i = 0; i < env_count; i++)
		putenv(env[i]);

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0)
		fail("open", "signalfd");
	if (chdir(cwd ? cwd : "/"))
		fail("enter", cwd);
	if (!access("/nested/sockets", F_OK))
		sockets_open(open_port("sockets", O_RDWR));
	tell("ready\n");
	code = serve(start(argv, cwd ? cwd : "/", tty), tty, signals);
	for (size_t i = 0; i < out_count; i++)
		hand_out(outs[i]);
	tell("exit %d\n", code);
	for (;;)
		pause(); /* the outside ends the machine */
}
