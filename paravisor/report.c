/* Statistics as "name value" lines over the host link. */
#include "paravisor/report.h"

#include "common/diag/inspect.h"
#include "paravisor/file.h"
#include "paravisor/hostlink.h"
#include "paravisor/machine.h"
#include "paravisor/vmbus/vmbus.h"
#include "paravisor/vp.h"

#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VMBUS_BYTES MiB /* of the tree; a node for each channel is some 200 bytes */

/* Only the receive thread sends reports. */
static char text[4096];
static size_t used;

/* Adds to text; what has no room is cut. */
__attribute__((format(printf, 1, 2))) static void put(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text + used, sizeof(text) - used, fmt, ap);
	va_end(ap);
	if (n > 0)
		used = MIN(used + (size_t)n, sizeof(text) - 1);
}

static void send(const char *line)
{
	size_t left = strlen(line);

	/* an empty message would end the answer */
	while (left) {
		size_t n = MIN(left, (size_t)HOSTLINK_MAX_DATA);

		if (!hostlink_post(HOSTLINK_STATS, 0, line, n))
			return;
		line += n;
		left -= n;
	}
}

/* The number after "Key:" in a /proc file, 0 if absent. */
static unsigned long field(const char *in, const char *key)
{
	const char *at = strstr(in, key);

	return at ? strtoul(at + strlen(key), NULL, 10) : 0;
}

/* Memory of all processes of VTL2, in KiB. */
struct process_memory {
	unsigned long pss; /* 0 on a kernel without CONFIG_PROC_PAGE_MONITOR */
	unsigned long rss; /* counts a page once per process that shares it: never below pss */
};

static struct process_memory memory_of_processes(void)
{
	static char rollup[1024], status[2048];
	struct process_memory sum = {0};
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		char path[64];

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		/* kernel threads have an empty one, and no VmRSS line */
		snprintf(path, sizeof(path), "/proc/%.20s/smaps_rollup", entry->d_name);
		if (file_read_text(path, rollup, sizeof(rollup)) > 0)
			sum.pss += field(rollup, "\nPss:");
		snprintf(path, sizeof(path), "/proc/%.20s/status", entry->d_name);
		if (file_read_text(path, status, sizeof(status)) > 0)
			sum.rss += field(status, "\nVmRSS:");
	}
	if (proc)
		closedir(proc);
	return sum;
}

static void send_memory(void)
{
	static char meminfo[2048];
	struct process_memory processes = memory_of_processes();
	char line[160];

	if (file_read_text("/proc/meminfo", meminfo, sizeof(meminfo)) <= 0)
		return;
	snprintf(line, sizeof(line),
		 "memory.total_kib %lu\nmemory.free_kib %lu\nmemory.pss_kib %lu\n"
		 "memory.rss_kib %lu\n",
		 field(meminfo, "MemTotal:"), field(meminfo, "MemFree:"), processes.pss,
		 processes.rss);
	send(line);
}

static void put_numbers(const struct inspect_node *node, const char *path)
{
	char name[128];

	if (node->kind == INSPECT_VALUE && node->type == INSPECT_UNSIGNED)
		put("%s %llu\n", path, (unsigned long long)node->number);
	for (node = node->children; node; node = node->next) {
		snprintf(name, sizeof(name), "%s.%s", path, node->name);
		put_numbers(node, name);
	}
}

/* Inspection's numbers under their names there, without those of single channels. */
static void send_vmbus(void)
{
	const struct inspect_query query = {.path = "", .level = INSPECT_SENSITIVE, .depth = 2};
	struct inspect_tree tree;
	struct inspect root;

	inspect_begin(&tree, &query, VMBUS_BYTES, &root);
	vmbus_inspect(&root);
	inspect_finish(&tree);
	text[used = 0] = 0;
	for (const struct inspect_node *n = tree.result->children; n; n = n->next)
		put_numbers(n, n->name);
	inspect_free(&tree);
	send(text);
}

static void device_line(void *ctx, const char *line)
{
	(void)ctx;
	put("device %s\n", line);
}

static void send_devices(void)
{
	const struct dev_inspect out = {.line = device_line};

	/* collected first: the chipset lock is held while the lines come */
	text[used = 0] = 0;
	machine_inspect(&out);
	send(text);
}

void report_send(void)
{
	const struct vp *vp;

	for (u32 i = 0; (vp = vp_get(i)); i++) {
		stats_format(i, &vp->stats, text, sizeof(text));
		send(text);
	}
	send_vmbus();
	send_memory();
	send_devices();
	hostlink_post(HOSTLINK_STATS, 0, NULL, 0);
}
