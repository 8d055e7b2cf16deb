/* What depends on the kind of isolation: found at start, one file per kind implements it. */
#ifndef PARAPET_LOADER_ISOLATION_H
#define PARAPET_LOADER_ISOLATION_H

#include "common/types.h"

enum isolation { ISOLATION_NONE, ISOLATION_VBS, ISOLATION_SNP, ISOLATION_TDX };

/* As in the device tree: "none", "vbs", "snp", "tdx" */
const char *isolation_name(enum isolation isolation);

struct memory_plan;
struct imported_list;

/*
 * One isolation kind, shim only. NULL functions: nothing to do.
 * `unsupported` is the reason when this shim cannot run under that kind.
 */
struct isolation_ops {
	const char *unsupported;
	bool has_hypercalls; /* guest OS id, hypercall page, synthetic MSRs without a #VC or #VE */
	bool has_port_io;    /* COM3 may be used */
	void (*accept_memory)(const struct memory_plan *plan, const struct imported_list *imported);
	void (*start_processors)(const struct memory_plan *plan);
};

extern const struct isolation_ops isolation_none_ops;
extern const struct isolation_ops isolation_vbs_ops;
extern const struct isolation_ops isolation_snp_ops;
extern const struct isolation_ops isolation_tdx_ops;

#endif
