/* TDX: page acceptance, mailbox start of processors, measured hashes; not done yet. */
#include "loader/isolation.h"

const struct isolation_ops isolation_tdx_ops = {
	.unsupported = "TDX isolation is not supported by this shim yet",
};
