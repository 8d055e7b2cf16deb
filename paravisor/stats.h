/* Counters per virtual processor, and the text form that the host asks for. */
#ifndef PARAPET_PARAVISOR_STATS_H
#define PARAPET_PARAVISOR_STATS_H

#include "common/saved.h"

enum exit_kind {
	EXIT_PORT_IN,
	EXIT_PORT_OUT,
	EXIT_PORT_STRING,
	EXIT_MEMORY,
	EXIT_MSR_READ,
	EXIT_MSR_WRITE,
	EXIT_HYPERCALL,
	EXIT_EOI,
	EXIT_DELIVERABLE,
	EXIT_CPUID,
	EXIT_KINDS,
};

#define STATS_HYPERCALLS 8

struct vp_hypercall_count {
	u16 code;
	u64 count;
};

/* Written by one thread; readers may see a value one exit old. */
struct vp_stats {
	u64 runs;      /* calls of the driver to enter VTL0 */
	u64 cancelled; /* of these, ended without an intercept */
	u64 exits[EXIT_KINDS];
	u64 exceptions; /* injected */
	u64 emulation_refused;
	struct vp_hypercall_count hypercall[STATS_HYPERCALLS];
	u64 hypercall_other;
};

extern const struct saved_layout stats_layout;

/* "port_in"... */
const char *stats_exit_name(enum exit_kind kind);

void stats_count_hypercall(struct vp_stats *stats, u16 code);

/*
 * Formats the counters of one VP as "vpN.name value" lines; zero counters are left out. Returns
 * the length, cut to size - 1.
 */
size_t stats_format(u32 vp, const struct vp_stats *stats, char *text, size_t size);

#endif
