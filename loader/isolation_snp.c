/* SEV-SNP: page validation, secrets and CPUID pages, measured hashes; not done yet. */
#include "loader/isolation.h"

const struct isolation_ops isolation_snp_ops = {
	.unsupported = "SEV-SNP isolation is not supported by this shim yet",
};
