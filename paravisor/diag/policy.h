/* The one place that says what diagnostics may show and do. */
#ifndef PARAPET_PARAVISOR_DIAG_POLICY_H
#define PARAPET_PARAVISOR_DIAG_POLICY_H

#include "common/diag/inspect.h"

/*
 * Decided by the environment that the kernel made of its command line, whose policy is part of the
 * measured image: the boot shim appends OPENHCL_CONFIDENTIAL=1 for every isolated VM, and
 * OPENHCL_CONFIDENTIAL_DEBUG=1 only if the measured part of the command line holds it. Nothing
 * changes it at run time.
 */
struct policy {
	bool confidential;
	bool debug; /* a confidential VM whose image is measured as a debug one */
};

/* What a call can do. */
enum policy_right {
	POLICY_DIAGNOSE, /* run programs, read files and logs, stop and go */
	POLICY_INSPECT,	 /* read and change inspect nodes up to policy_inspect_level */
	POLICY_DUMP,	 /* give core dumps of VTL2's processes to the host */
	POLICY_PROFILE,	 /* the profiler's service, which does nothing here */
	POLICY_RIGHTS,
};

/* The services and methods, and what each is. */
struct policy_method {
	const char *service, *method;
	enum policy_right right;
};
extern const struct policy_method policy_methods[];
extern const size_t policy_method_count;

/* get: the value of an environment variable or NULL, as getenv(). */
void policy_read(struct policy *policy, char *(*get)(const char *name));
/* NULL if allowed, or the reason for the peer. */
const char *policy_refusal(const struct policy *policy, enum policy_right right);
/* The same for a ttrpc call; what is not in the table is refused. */
const char *policy_call_refusal(const struct policy *policy, const char *service,
				const char *method);
/* Inspect nodes above this level do not exist for the peer. */
enum inspect_level policy_inspect_level(const struct policy *policy);

#endif
