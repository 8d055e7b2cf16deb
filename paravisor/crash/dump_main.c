/*
 * underhill-dump [-v] PID: an ELF core of a process that goes on afterwards, on standard output. It
 * stands still only while it is copied: who reads our output may be slow, or may be waiting for
 * that process.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#undef PAGE_SIZE /* musl's, which is not a plain number; ours is */
#include <sys/ptrace.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/diag/elfcore.h"
#include "common/io.h"
#include "common/log.h"
#include "paravisor/crash/maps.h"
#include "paravisor/crash/tool.h"
#include "paravisor/programs.h"

#define THREADS_MAX    1024
#define MAPS_MAX       1024
#define NOTES_MAX      (32 * MiB)
#define ATTACH_SECONDS 10
#define XSTATE_MAX     16384
#define COPY_BYTES     (16 * PAGE_SIZE)

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

struct target {
	pid_t pid;
	pid_t thread[THREADS_MAX];
	unsigned threads;
	struct core_map map[MAPS_MAX];
	unsigned maps;
	char *maps_text;
	u8 *core; /* the copy */
	u64 core_size;
};

/* --- stopping */

static bool known(const struct target *t, pid_t tid)
{
	for (unsigned i = 0; i < t->threads; i++)
		if (t->thread[i] == tid)
			return true;
	return false;
}

/* Stops one thread. One that ends meanwhile is no error. */
static void stop_thread(struct target *t, pid_t tid)
{
	int status;

	if (t->threads == THREADS_MAX || ptrace(PTRACE_SEIZE, tid, NULL, NULL))
		return;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) || waitpid(tid, &status, __WALL) != tid ||
	    !WIFSTOPPED(status)) {
		ptrace(PTRACE_DETACH, tid, NULL, NULL);
		return;
	}
	t->thread[t->threads++] = tid;
}

/* Until all threads that there are stand still. The first is the one that gave the process its
 * number. */
static bool stop_all(struct target *t)
{
	char path[48];
	unsigned before;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)t->pid);
	stop_thread(t, t->pid);
	do {
		DIR *dir = opendir(path);
		const struct dirent *entry;

		before = t->threads;
		while (dir && (entry = readdir(dir))) {
			pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

			if (tid > 0 && !known(t, tid))
				stop_thread(t, tid);
		}
		if (dir)
			closedir(dir);
	} while (t->threads > before);
	return t->threads;
}

static void let_go(const struct target *t)
{
	for (unsigned i = 0; i < t->threads; i++)
		ptrace(PTRACE_DETACH, t->thread[i], NULL, NULL);
}

static void on_alarm(int signal)
{
	static const char text[] = "underhill-dump: a thread does not stop\n";

	(void)signal;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(1); /* the kernel lets the others go on */
}

/* --- notes */

static char *load(const struct target *t, const char *name, size_t *len)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)t->pid, name);
	return crash_load(path, len);
}

static void put_thread(struct pb_writer *w, pid_t tid)
{
	static u8 state[XSTATE_MAX];
	struct elf_prstatus status = {.pr_pid = tid, .pr_fpvalid = 1};
	struct iovec iov = {&status.pr_reg, sizeof(status.pr_reg)};

	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &iov))
		log_warn("registers of thread %d: %s", (int)tid, strerror(errno));
	elfcore_put_note(w, "CORE", NT_PRSTATUS, &status, sizeof(status));
	iov = (struct iovec){state, 512};
	if (!ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRFPREG, &iov))
		elfcore_put_note(w, "CORE", NT_PRFPREG, state, (u32)iov.iov_len);
	iov = (struct iovec){state, sizeof(state)};
	if (!ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &iov))
		elfcore_put_note(w, "LINUX", NT_X86_XSTATE, state, (u32)iov.iov_len);
}

static void put_process(struct pb_writer *w, const struct target *t)
{
	struct elf_prpsinfo info = {.pr_sname = 'R', .pr_pid = t->pid};
	size_t len;
	char *text = load(t, "comm", &len);

	if (text)
		memcpy(info.pr_fname, text, MIN(strcspn(text, "\n"), sizeof(info.pr_fname) - 1));
	free(text);
	text = load(t, "cmdline", &len);
	if (text) {
		len = MIN(len, sizeof(info.pr_psargs) - 1);
		memcpy(info.pr_psargs, text, len);
		for (size_t i = 0; i + 1 < len; i++)
			if (!info.pr_psargs[i])
				info.pr_psargs[i] = ' ';
	}
	free(text);
	elfcore_put_note(w, "CORE", NT_PRPSINFO, &info, sizeof(info));
	text = load(t, "auxv", &len);
	if (text)
		elfcore_put_note(w, "CORE", NT_AUXV, text, (u32)len);
	free(text);
}

/* NT_FILE: count, page size, a triple for each mapping of a file, their names */
static void put_files(struct pb_writer *w, const struct target *t)
{
	u64 head[2] = {0, PAGE_SIZE};
	struct pb_writer desc;

	pb_writer_init(&desc, MiB);
	for (unsigned i = 0; i < t->maps; i++)
		head[0] += t->map[i].path[0] == '/';
	pb_raw(&desc, head, sizeof(head));
	for (unsigned i = 0; i < t->maps; i++) {
		const struct core_map *map = &t->map[i];
		const u64 triple[3] = {map->start, map->end, map->offset / PAGE_SIZE};

		if (map->path[0] == '/')
			pb_raw(&desc, triple, sizeof(triple));
	}
	for (unsigned i = 0; i < t->maps; i++)
		if (t->map[i].path[0] == '/')
			pb_raw(&desc, t->map[i].path, strlen(t->map[i].path) + 1);
	if (!desc.failed)
		elfcore_put_note(w, "CORE", NT_FILE, desc.data, (u32)desc.used);
	pb_writer_free(&desc);
}

static bool put_notes(struct pb_writer *w, const struct target *t)
{
	u8 *kmsg = crash_kmsg_note();

	put_thread(w, t->thread[0]);
	put_process(w, t);
	put_files(w, t);
	for (unsigned i = 1; i < t->threads; i++)
		put_thread(w, t->thread[i]);
	if (kmsg)
		pb_raw(w, kmsg, KMSG_NOTE_SIZE);
	free(kmsg);
	return !w->failed;
}

/* --- output */

/* What cannot be read stays zero, page by page. */
static void copy_memory(int memory, u64 start, u64 len, u8 *to)
{
	for (u64 at = 0; at < len; at += COPY_BYTES) {
		size_t n = (size_t)MIN(len - at, (u64)COPY_BYTES);

		if (pread(memory, to + at, n, (off_t)(start + at)) == (ssize_t)n)
			continue;
		for (u64 page = at; page < at + n; page += PAGE_SIZE)
			if (pread(memory, to + page, PAGE_SIZE, (off_t)(start + page)) < 0)
				memset(to + page, 0, PAGE_SIZE);
	}
}

/* A part of what is free: VTL2 must not run out of memory over a dump. */
static bool fits(u64 size)
{
	struct sysinfo info;

	return !sysinfo(&info) &&
	       size <= ((u64)info.freeram + info.bufferram) * info.mem_unit / 4 * 3;
}

/* Copies the core into fresh memory. False after an error line. */
static bool copy_core(struct target *t, const struct pb_writer *notes, int memory)
{
	static struct elfcore_segment segment[MAPS_MAX];
	struct pb_writer head;
	u64 data = 0, size;

	for (unsigned i = 0; i < t->maps; i++) {
		const struct core_map *map = &t->map[i];

		segment[i] = (struct elfcore_segment){
			.start = map->start,
			.size = map->end - map->start,
			.file_size = core_map_bytes(map),
			.flags = (map->read ? PF_R : 0u) | (map->write ? PF_W : 0u) |
				 (map->exec ? PF_X : 0u),
		};
	}
	pb_writer_init(&head, MiB);
	if (elfcore_put_head(&head, notes->used, segment, t->maps, &data)) {
		size = data;
		for (unsigned i = 0; i < t->maps; i++)
			size += segment[i].file_size;
		t->core = fits(size) ? calloc(1, size) : NULL;
		t->core_size = size;
		if (!t->core)
			log_error("process %d: no memory to copy %llu KiB", (int)t->pid,
				  (unsigned long long)size / 1024);
	}
	if (t->core) {
		memcpy(t->core, head.data, head.used);
		memcpy(t->core + head.used, notes->data, notes->used);
		for (unsigned i = 0; i < t->maps; i++) {
			copy_memory(memory, segment[i].start, segment[i].file_size, t->core + data);
			data += segment[i].file_size;
		}
	}
	pb_writer_free(&head);
	return t->core;
}

static void tell(const struct target *t)
{
	log_debug("%u threads stood still", t->threads);
	for (unsigned i = 0; i < t->maps; i++)
		log_debug("%llx-%llx %llu KiB %s", (unsigned long long)t->map[i].start,
			  (unsigned long long)t->map[i].end,
			  (unsigned long long)core_map_bytes(&t->map[i]) / 1024, t->map[i].path);
}

static bool dump(struct target *t)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	struct pb_writer notes;
	bool good = false;
	char path[48];
	int memory;
	size_t len;

	sigaction(SIGALRM, &action, NULL);
	alarm(ATTACH_SECONDS);
	if (!stop_all(t)) {
		log_error("process %d: %s", (int)t->pid, strerror(errno));
		return false;
	}
	alarm(0);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)t->pid);
	memory = open(path, O_RDONLY | O_CLOEXEC);
	t->maps_text = load(t, "smaps", &len);
	pb_writer_init(&notes, NOTES_MAX);
	if (memory < 0 || !t->maps_text) {
		log_error("process %d: %s", (int)t->pid, strerror(errno));
	} else {
		t->maps = core_maps_parse(t->maps_text, t->map, MAPS_MAX);
		good = put_notes(&notes, t) && copy_core(t, &notes, memory);
	}
	let_go(t);
	if (good) {
		tell(t);
		good = write_all(STDOUT_FILENO, t->core, t->core_size);
		if (!good)
			log_error("write: %s", strerror(errno));
	}
	free(t->core);
	pb_writer_free(&notes);
	free(t->maps_text);
	if (memory >= 0)
		close(memory);
	return good;
}

int dump_main(int argc, char **argv)
{
	static struct target target;
	char *end;
	long pid;

	log_set_name("underhill-dump");
	log_max_level = LOG_WARN;
	if (argc > 1 && (!strcmp(argv[1], "-v") || !strcmp(argv[1], "--verbose"))) {
		log_max_level = LOG_DEBUG;
		argc--;
		argv++;
	}
	pid = argc == 2 ? strtol(argv[1], &end, 10) : 0;
	if (pid <= 0 || pid > INT32_MAX || *end) {
		log_error("usage: underhill-dump [-v] PID");
		return 2;
	}
	if (!crash_allowed())
		return 1;
	signal(SIGPIPE, SIG_IGN);
	target.pid = (pid_t)pid;
	return !dump(&target);
}
