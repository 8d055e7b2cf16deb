/* Not isolated: the host gives memory and processors ready to use. */
#include "loader/isolation.h"

const struct isolation_ops isolation_none_ops = {
	.has_hypercalls = true,
	.has_port_io = true,
};
