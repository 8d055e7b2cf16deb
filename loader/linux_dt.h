/* Device tree for Linux and the paravisor in VTL2. */
#ifndef PARAPET_LOADER_LINUX_DT_H
#define PARAPET_LOADER_LINUX_DT_H

#include "loader/host_dt.h"
#include "loader/memory_plan.h"

struct linux_dt_input {
	const struct host_dt *host;
	const struct memory_plan *plan;
	const struct imported_list *imported;
	enum isolation isolation;
	bool has_alias_map;
	u64 alias_map;
	bool has_times; /* reference time, 100 ns */
	u64 boot_start, boot_end;
};

/* Writes a finished tree to buf (8-byte aligned). Returns its bytes, or -1 when it does not fit. */
s64 linux_dt_write(void *buf, size_t size, const struct linux_dt_input *in, struct shim_error *err);

#endif
