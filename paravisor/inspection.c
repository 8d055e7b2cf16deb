#include "paravisor/inspection.h"

#include "common/log.h"
#include "paravisor/boot.h"
#include "paravisor/diag/control.h"
#include "paravisor/diag/link.h"
#include "paravisor/machine.h"
#include "paravisor/servicing/servicing.h"
#include "paravisor/thread.h"
#include "paravisor/vmbus/vmbus.h"
#include "paravisor/vp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KMSG_RECORDS 4096 /* looked through for one of the first */

static const struct config *config;
static bool paused; /* changed by the serving thread only */
static struct control_pending first = {.listener = -1, .client = -1};

/* --- trace/filter: the level of this process's log lines */

static const char *const level_name[] = {
	[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

static const char *set_level(void *context, const char *text)
{
	(void)context;
	for (unsigned i = 0; i < ARRAY_SIZE(level_name); i++) {
		if (strcmp(text, level_name[i]))
			continue;
		log_max_level = (enum log_level)i;
		return NULL;
	}
	return "error, warn, info or debug";
}

/* --- vm */

static void describe_vp(struct inspect *dir, const struct vp *vp)
{
	const struct vp_stats *stats = &vp->stats;
	struct inspect in, kinds;
	char name[16];

	inspect_level(dir, INSPECT_SAFE);
	if (!inspect_enter(dir, "stats", &in))
		return;
	inspect_level(&in, INSPECT_SAFE);
	inspect_counter(&in, "vtl_transitions", stats->runs);
	inspect_counter(&in, "cancelled", stats->cancelled);
	inspect_counter(&in, "exceptions", stats->exceptions);
	inspect_counter(&in, "emulation_refused", stats->emulation_refused);
	if (inspect_enter(&in, "exits", &kinds)) {
		inspect_level(&kinds, INSPECT_SAFE);
		for (enum exit_kind k = 0; k < EXIT_KINDS; k++)
			inspect_counter(&kinds, stats_exit_name(k), stats->exits[k]);
	}
	if (inspect_enter(&in, "hypercalls", &kinds)) {
		inspect_level(&kinds, INSPECT_SAFE);
		for (unsigned i = 0; i < STATS_HYPERCALLS && stats->hypercall[i].count; i++) {
			snprintf(name, sizeof(name), "%#x", stats->hypercall[i].code);
			inspect_counter(&kinds, name, stats->hypercall[i].count);
		}
		inspect_counter(&kinds, "other", stats->hypercall_other);
	}
}

static void describe_partition(struct inspect *dir)
{
	const struct vp *vp;
	struct inspect in;
	char name[16];

	inspect_level(dir, INSPECT_SAFE);
	inspect_text(dir, "power_state", paused ? "paused" : "running");
	inspect_u64(dir, "vp_count", config->vp_count);
	for (u32 i = 0; (vp = vp_get(i)); i++) {
		snprintf(name, sizeof(name), "vp/%u", i);
		if (inspect_enter(dir, name, &in))
			describe_vp(&in, vp);
	}
}

static void describe_memory(struct inspect *dir)
{
	struct inspect in;
	char name[40];

	for (u32 i = 0; i < config->range_count; i++) {
		const struct config_range *range = &config->range[i];

		snprintf(name, sizeof(name), "%#llx", (unsigned long long)range->base);
		if (!inspect_enter(dir, name, &in))
			continue;
		inspect_hex(&in, "size", range->size);
		inspect_u64(&in, "node", range->node);
		inspect_text(&in, "of", config_is_vtl2_memory(range) ? "vtl2" : "vtl0");
	}
}

/* Device models describe themselves in lines; one without a leading space names the next device. */
struct chipset_text {
	char text[8192];
	size_t used;
};

static void collect_line(void *context, const char *line)
{
	struct chipset_text *t = context;
	int n = snprintf(t->text + t->used, sizeof(t->text) - t->used, "%s\n", line);

	if (n > 0)
		t->used = MIN(t->used + (size_t)n, sizeof(t->text) - 1);
}

static void describe_chipset(struct inspect *dir)
{
	static struct chipset_text t; /* one question at a time */
	const struct dev_inspect out = {.line = collect_line, .ctx = &t};
	struct inspect in = *dir;
	bool inside = false;
	char *save = NULL, number[16];
	unsigned n = 0;

	/* Collected first: the chipset's lock is held while the lines come. */
	t.used = 0;
	t.text[0] = 0;
	machine_inspect(&out);
	for (char *line = strtok_r(t.text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (*line != ' ') {
			char *rest = line + strcspn(line, ":");

			if (*rest)
				*rest++ = 0;
			n = 0;
			inside = inspect_enter(dir, line, &in);
			line = rest;
		}
		line += strspn(line, " ");
		snprintf(number, sizeof(number), "%u", n);
		if (inside && *line) {
			inspect_text(&in, number, line);
			n++;
		}
	}
}

static void describe(void *context, struct inspect *root)
{
	struct inspect vm, dir;

	(void)context;
	inspect_level(root, INSPECT_SAFE);
	inspect_text(root, "control_state", "started");
	inspect_text_rw(root, "trace/filter", level_name[log_max_level], set_level, NULL);
	inspect_level(root, INSPECT_UNSPECIFIED);
	if (inspect_enter(root, "boot", &dir))
		boot_inspect(&dir);
	inspect_level(root, INSPECT_SAFE);
	if (!inspect_enter(root, "vm", &vm))
		return;
	inspect_level(&vm, INSPECT_SAFE);
	if (inspect_enter(&vm, "partition", &dir))
		describe_partition(&dir);
	inspect_level(&vm, INSPECT_UNSPECIFIED);
	if (inspect_enter(&vm, "vtl0_memory_map", &dir))
		describe_memory(&dir);
	if (inspect_enter(&vm, "chipset", &dir))
		describe_chipset(&dir);
	if (inspect_enter(&vm, "servicing", &dir))
		servicing_inspect(&dir);
	vmbus_inspect(&vm);
}

/* --- control */

static const char *start(void *context, char **arguments, char **environment)
{
	(void)context;
	(void)arguments;
	(void)environment;
	return "the guest has started already";
}

static const char *pause_guest(void *context)
{
	(void)context;
	if (paused)
		return "already paused";
	if (!vp_pause_all())
		return "a processor does not leave the guest";
	paused = true;
	return NULL;
}

static const char *resume_guest(void *context)
{
	(void)context;
	if (!paused)
		return "not paused";
	vp_resume_all();
	paused = false;
	return NULL;
}

static const char *restart(void *context, const struct control_pending *pending)
{
	(void)context;
	return servicing_restart(paused, pending);
}

static const char *save(void *context, struct pb_writer *out)
{
	(void)context;
	return servicing_save(paused, out);
}

/* The kernel's line about the first program is among its oldest. */
static void find_init(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char record[2048];
	u64 us;

	for (int i = 0; fd >= 0 && i < KMSG_RECORDS; i++) {
		ssize_t n = read(fd, record, sizeof(record) - 1);

		/* EPIPE: older ones have been overwritten meanwhile */
		if (n <= 0 && errno != EPIPE)
			break;
		record[MAX(n, 0)] = 0;
		if (boot_init_record(record, &us)) {
			boot_reached_at(BOOT_INIT, us);
			break;
		}
	}
	if (fd >= 0)
		close(fd);
}

static void *serve(void *arg)
{
	const struct control_ops ops = {
		.inspect = describe,
		.start = start,
		.restart = restart,
		.pause = pause_guest,
		.resume = resume_guest,
		.save = save,
	};
	int listener = first.listener;

	(void)arg;
	if (listener < 0) {
		listener = control_listen(LINK_PATH);
		find_init();
	}
	if (listener >= 0)
		control_serve(listener, &ops, &first);
	log_warn("%s: %s; diagnostics see no state of the guest", LINK_PATH, strerror(errno));
	return NULL;
}

bool inspection_start(const struct config *c, const struct control_pending *pending, bool held)
{
	config = c;
	paused = held;
	if (pending)
		first = *pending;
	return thread_start("inspect", THREAD_SERVICE, serve, NULL);
}
