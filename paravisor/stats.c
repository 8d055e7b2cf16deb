/* VP counters as text. */
#include "paravisor/stats.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const exit_name[EXIT_KINDS] = {
	[EXIT_PORT_IN] = "port_in",	    [EXIT_PORT_OUT] = "port_out",
	[EXIT_PORT_STRING] = "port_string", [EXIT_MEMORY] = "mmio",
	[EXIT_MSR_READ] = "msr_read",	    [EXIT_MSR_WRITE] = "msr_write",
	[EXIT_HYPERCALL] = "hypercall",	    [EXIT_EOI] = "eoi",
	[EXIT_DELIVERABLE] = "deliverable", [EXIT_CPUID] = "cpuid",
};

static const struct saved_field hypercall_fields[] = {
	SAVED_ANY(1, struct vp_hypercall_count, code),
	SAVED_ANY(2, struct vp_hypercall_count, count),
};
static const struct saved_layout hypercall_layout = SAVED_LAYOUT(hypercall_fields);

static const struct saved_field stats_fields[] = {
	SAVED_ANY(1, struct vp_stats, runs),
	SAVED_ANY(2, struct vp_stats, cancelled),
	SAVED_NUMBERS(3, struct vp_stats, exits, UINT64_MAX),
	SAVED_ANY(4, struct vp_stats, exceptions),
	SAVED_ANY(5, struct vp_stats, emulation_refused),
	SAVED_STRUCTS(6, struct vp_stats, hypercall, &hypercall_layout),
	SAVED_ANY(7, struct vp_stats, hypercall_other),
};
const struct saved_layout stats_layout = SAVED_LAYOUT(stats_fields);

const char *stats_exit_name(enum exit_kind kind)
{
	return exit_name[kind];
}

void stats_count_hypercall(struct vp_stats *stats, u16 code)
{
	for (size_t i = 0; i < STATS_HYPERCALLS; i++) {
		if (stats->hypercall[i].count && stats->hypercall[i].code != code)
			continue;
		stats->hypercall[i].code = code;
		stats->hypercall[i].count++;
		return;
	}
	stats->hypercall_other++;
}

struct text {
	char *at;
	size_t used, size;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text->at + text->used, text->size - text->used, format, ap);
	va_end(ap);
	if (n > 0)
		text->used = MIN(text->used + (size_t)n, text->size - 1);
}

static void add_counter(struct text *text, u32 vp, const char *name, u64 value)
{
	if (value)
		add(text, "vp%u.%s %llu\n", vp, name, (unsigned long long)value);
}

size_t stats_format(u32 vp, const struct vp_stats *stats, char *buffer, size_t size)
{
	struct text text = {.at = buffer, .size = size};

	add_counter(&text, vp, "runs", stats->runs);
	add_counter(&text, vp, "cancelled", stats->cancelled);
	for (size_t i = 0; i < EXIT_KINDS; i++)
		add_counter(&text, vp, exit_name[i], stats->exits[i]);
	add_counter(&text, vp, "exceptions", stats->exceptions);
	add_counter(&text, vp, "emulation_refused", stats->emulation_refused);
	for (size_t i = 0; i < STATS_HYPERCALLS && stats->hypercall[i].count; i++)
		add(&text, "vp%u.hypercall_%#x %llu\n", vp, stats->hypercall[i].code,
		    (unsigned long long)stats->hypercall[i].count);
	add_counter(&text, vp, "hypercall_other", stats->hypercall_other);
	return text.used;
}
