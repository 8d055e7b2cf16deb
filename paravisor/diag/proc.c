/* /proc as inspect nodes. */
#include "paravisor/diag/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "paravisor/file.h"

#define TEXT_SIZE     65536u
#define CPUS_MAX      64
#define NAME_SIZE     64
#define PROCESSES_MAX 256
#define TASKS_MAX     256

static int compare_int(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void proc_each(bool (*visit)(void *context, int pid), void *context)
{
	int pid[PROCESSES_MAX];
	size_t count = 0;
	DIR *dir = opendir("/proc");
	const struct dirent *entry;

	if (!dir)
		return;
	while (count < PROCESSES_MAX && (entry = readdir(dir))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			pid[count++] = atoi(entry->d_name);
	}
	closedir(dir);
	qsort(pid, count, sizeof(pid[0]), compare_int);
	for (size_t i = 0; i < count && visit(context, pid[i]); i++)
		;
}

bool proc_name(int pid, char *name, size_t size)
{
	char path[64], text[256];
	const char *slash;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (file_read_text(path, text, sizeof(text)) <= 0)
		return false;
	slash = strrchr(text, '/');
	snprintf(name, size, "%s", slash ? slash + 1 : text);
	return true;
}

/* The line at *text, cut off at its end; NULL when there is none. */
static char *next_line(char **text)
{
	char *line = *text, *end;

	if (!*line)
		return NULL;
	end = strchr(line, '\n');
	if (end)
		*end++ = 0;
	else
		end = line + strlen(line);
	*text = end;
	return line;
}

static char *skip_blank(char *text)
{
	while (*text == ' ' || *text == '\t')
		text++;
	return text;
}

/* The name and value of the next line "name: value" of *text; false when there is none. */
static bool next_field(char **text, char **name, char **value)
{
	while ((*name = next_line(text))) {
		char *colon = strchr(*name, ':');

		if (!colon)
			continue;
		*colon = 0;
		*value = skip_blank(colon + 1);
		return true;
	}
	return false;
}

static void put_if_wanted(struct inspect *i, const char *const *wanted, size_t count,
			  const char *name, const char *value)
{
	for (size_t k = 0; k < count; k++) {
		if (!strcmp(name, wanted[k]))
			inspect_u64(i, name, strtoull(value, NULL, 10));
	}
}

void proc_describe_meminfo(struct inspect *i, char *text)
{
	static const char *const wanted[] = {
		"MemTotal",   "MemFree",      "MemAvailable", "Buffers",
		"Cached",     "AnonPages",    "Mapped",	      "Shmem",
		"Slab",	      "SReclaimable", "SUnreclaim",   "KernelStack",
		"PageTables", "VmallocUsed",  "Percpu",	      "AnonHugePages",
	};
	char *name, *value;

	inspect_level(i, INSPECT_SAFE);
	while (next_field(&text, &name, &value))
		put_if_wanted(i, wanted, ARRAY_SIZE(wanted), name, value);
}

/* "  24:   17   0  PCI-MSI  0-edge   name", below a line with one column for each CPU. */
static void describe_interrupt(struct inspect *i, char *line, const unsigned *cpu, size_t cpus)
{
	struct inspect irq, counters;
	char *at = strchr(line, ':'), name[24];
	u64 count[CPUS_MAX];
	size_t counts = 0;

	if (!at)
		return;
	*at++ = 0;
	line = skip_blank(line);
	if (!*line || strchr(line, '/'))
		return;
	while (counts < cpus) {
		char *end;

		at = skip_blank(at);
		if (!isdigit((unsigned char)*at))
			break;
		count[counts++] = strtoull(at, &end, 10);
		at = end;
	}
	at = skip_blank(at);
	if (!inspect_enter(i, line, &irq))
		return;
	inspect_level(&irq, INSPECT_SAFE);
	if (*at)
		inspect_text(&irq, "name", at);
	if (!inspect_enter(&irq, "cpu", &counters))
		return;
	inspect_level(&counters, INSPECT_SAFE);
	for (size_t k = 0; k < counts; k++) {
		snprintf(name, sizeof(name), "%u", cpu[k]);
		if (count[k])
			inspect_counter(&counters, name, count[k]);
	}
}

void proc_describe_interrupts(struct inspect *i, char *text)
{
	unsigned cpu[CPUS_MAX];
	size_t cpus = 0;
	char *line = next_line(&text), *word = line ? strstr(line, "CPU") : NULL;

	inspect_level(i, INSPECT_SAFE);
	for (; word && cpus < CPUS_MAX; word = strstr(word, "CPU"))
		cpu[cpus++] = (unsigned)strtoul(word + 3, &word, 10);
	while ((line = next_line(&text)))
		describe_interrupt(i, line, cpu, cpus);
}

/* --- processes */

struct processes {
	struct inspect *dir;
	char (*seen)[NAME_SIZE]; /* names are the keys of the directory: a second one gets its pid
				  */
	size_t count;
};

static bool name_is_new(struct processes *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++) {
		if (!strcmp(p->seen[i], name))
			return false;
	}
	if (p->count < PROCESSES_MAX)
		snprintf(p->seen[p->count++], NAME_SIZE, "%s", name);
	return true;
}

/* Time that a process or thread has run, in clock ticks of 1/100 s there; from FOLDER/stat. */
static u64 run_ms(const char *folder)
{
	char path[96], text[1024], *at;
	u64 user, kernel;

	snprintf(path, sizeof(path), "%s/stat", folder);
	if (file_read_text(path, text, sizeof(text)) <= 0)
		return 0;
	/* the name in parentheses may hold anything */
	at = strrchr(text, ')');
	for (unsigned field = 2; at && field < 13; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return 0;
	user = strtoull(at + 1, &at, 10);
	kernel = strtoull(at, NULL, 10);
	return (user + kernel) * 10;
}

static void describe_process(struct inspect *i, int pid, char *text)
{
	static const char *const wanted[] = {"VmSize",	"VmPeak",  "VmRSS",    "VmHWM",
					     "RssAnon", "RssFile", "RssShmem", "Threads"};
	char *name, *value, folder[32];

	inspect_level(i, INSPECT_SAFE);
	inspect_u64(i, "pid", (u64)pid);
	snprintf(folder, sizeof(folder), "/proc/%d", pid);
	inspect_counter(i, "cpu_ms", run_ms(folder));
	while (next_field(&text, &name, &value)) {
		if (!strcmp(name, "State"))
			inspect_text(i, "state", value);
		else if (!strcmp(name, "PPid"))
			inspect_u64(i, "parent", strtoull(value, NULL, 10));
		else
			put_if_wanted(i, wanted, ARRAY_SIZE(wanted), name, value);
	}
}

/* --- limits and threads of one process */

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{"as", RLIMIT_AS},
	{"core", RLIMIT_CORE},
	{"cpu", RLIMIT_CPU},
	{"data", RLIMIT_DATA},
	{"fsize", RLIMIT_FSIZE},
	{"locks", RLIMIT_LOCKS},
	{"memlock", RLIMIT_MEMLOCK},
	{"msgqueue", RLIMIT_MSGQUEUE},
	{"nice", RLIMIT_NICE},
	{"nofile", RLIMIT_NOFILE},
	{"nproc", RLIMIT_NPROC},
	{"rss", RLIMIT_RSS},
	{"rtprio", RLIMIT_RTPRIO},
	{"rttime", RLIMIT_RTTIME},
	{"sigpending", RLIMIT_SIGPENDING},
	{"stack", RLIMIT_STACK},
};

struct limit {
	int pid, resource;
	bool max;
	char text[24];
};

static rlim_t *limit_field(struct rlimit *both, const struct limit *l)
{
	return l->max ? &both->rlim_max : &both->rlim_cur;
}

static bool read_limit(struct limit *l)
{
	struct rlimit both;
	rlim_t value;

	if (prlimit(l->pid, l->resource, NULL, &both))
		return false;
	value = *limit_field(&both, l);
	if (value == RLIM_INFINITY)
		snprintf(l->text, sizeof(l->text), "unlimited");
	else
		snprintf(l->text, sizeof(l->text), "%llu", (unsigned long long)value);
	return true;
}

static const char *set_limit(void *context, const char *text)
{
	struct limit *l = context;
	struct rlimit both;
	u64 value = 0;

	if (strcmp(text, "unlimited")) {
		if (inspect_parse_u64(text, &value))
			return "a number or \"unlimited\"";
	} else {
		value = RLIM_INFINITY;
	}
	if (prlimit(l->pid, l->resource, NULL, &both))
		return strerror(errno);
	*limit_field(&both, l) = value;
	if (prlimit(l->pid, l->resource, &both, NULL) || !read_limit(l))
		return strerror(errno);
	return NULL;
}

static void describe_limits(struct inspect *i, int pid)
{
	struct inspect dir;

	inspect_level(i, INSPECT_SAFE);
	for (size_t k = 0; k < ARRAY_SIZE(limits); k++) {
		struct limit current = {.pid = pid, .resource = limits[k].resource};
		struct limit max = {.pid = pid, .resource = limits[k].resource, .max = true};

		if (!inspect_enter(i, limits[k].name, &dir) || !read_limit(&current) ||
		    !read_limit(&max))
			continue;
		inspect_level(&dir, INSPECT_SAFE);
		inspect_text_rw(&dir, "current", current.text, set_limit, &current);
		inspect_text_rw(&dir, "max", max.text, set_limit, &max);
	}
}

static void describe_task(struct inspect *i, const char *folder)
{
	char path[96], text[1024], *rest = text, *name, *value;

	inspect_counter(i, "cpu_ms", run_ms(folder));
	snprintf(path, sizeof(path), "%s/status", folder);
	if (file_read_text(path, text, sizeof(text)) <= 0)
		return;
	while (next_field(&rest, &name, &value)) {
		if (!strcmp(name, "Name"))
			inspect_text(i, "name", value);
		else if (!strcmp(name, "State"))
			inspect_text(i, "state", value);
	}
}

static void describe_tasks(struct inspect *i, int pid)
{
	char folder[64];
	const struct dirent *entry;
	struct inspect task;
	size_t count = 0;
	DIR *dir;

	snprintf(folder, sizeof(folder), "/proc/%d/task", pid);
	dir = opendir(folder);
	while (dir && count < TASKS_MAX && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		count++;
		snprintf(folder, sizeof(folder), "/proc/%d/task/%.16s", pid, entry->d_name);
		if (inspect_enter(i, entry->d_name, &task))
			describe_task(&task, folder);
	}
	if (dir)
		closedir(dir);
}

void proc_describe_host(struct inspect *i, int pid)
{
	struct inspect dir;

	if (inspect_enter(i, "rlimit", &dir))
		describe_limits(&dir, pid);
	inspect_level(i, INSPECT_UNSPECIFIED);
	if (inspect_enter(i, "tasks", &dir))
		describe_tasks(&dir, pid);
}

/* --- all processes */

static bool visit_process(void *context, int pid)
{
	struct processes *p = context;
	struct inspect process;
	char path[64], status[4096], name[NAME_SIZE], key[NAME_SIZE + 16];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	/* threads of the kernel have no memory of their own */
	if (file_read_text(path, status, sizeof(status)) <= 0 || !strstr(status, "\nVmSize:") ||
	    !proc_name(pid, name, sizeof(name)))
		return true;
	for (char *c = name; *c; c++) {
		if (*c == '/' || (unsigned char)*c < ' ')
			*c = '_';
	}
	if (!*name || !pb_is_utf8(pb_text(name)))
		snprintf(name, sizeof(name), "process");
	if (name_is_new(p, name))
		snprintf(key, sizeof(key), "%s", name);
	else
		snprintf(key, sizeof(key), "%s-%d", name, pid);
	if (inspect_enter(p->dir, key, &process))
		describe_process(&process, pid, status);
	return true;
}

void proc_describe(struct inspect *i)
{
	char *text = malloc(TEXT_SIZE);
	struct inspect dir;

	inspect_level(i, INSPECT_SAFE);
	if (!text)
		return;
	if (inspect_enter(i, "meminfo", &dir) &&
	    file_read_text("/proc/meminfo", text, TEXT_SIZE) > 0)
		proc_describe_meminfo(&dir, text);
	if (inspect_enter(i, "interrupts", &dir) &&
	    file_read_text("/proc/interrupts", text, TEXT_SIZE) > 0)
		proc_describe_interrupts(&dir, text);
	if (inspect_enter(i, "processes", &dir)) {
		struct processes p = {.dir = &dir, .seen = calloc(PROCESSES_MAX, NAME_SIZE)};

		inspect_level(&dir, INSPECT_SAFE);
		if (p.seen)
			proc_each(visit_process, &p);
		free(p.seen);
	}
	free(text);
}
