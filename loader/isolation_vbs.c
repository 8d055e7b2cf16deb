/* VBS: memory must be taken away from lower VTLs and accepted before use; not done yet. */
#include "loader/isolation.h"

const struct isolation_ops isolation_vbs_ops = {
	.unsupported = "VBS isolation: this shim cannot accept memory yet",
	.has_hypercalls = true,
	.has_port_io = true,
};
