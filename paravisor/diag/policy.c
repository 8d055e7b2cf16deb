/* What diagnostics may show and do. */
#include "paravisor/diag/policy.h"

#include <string.h>

static bool is_set(char *(*get)(const char *name), const char *name, const char *old_name)
{
	const char *value = get(name);

	if (!value)
		value = get(old_name);
	return value && *value && strcmp(value, "0") != 0;
}

void policy_read(struct policy *policy, char *(*get)(const char *name))
{
	policy->confidential = is_set(get, "OPENHCL_CONFIDENTIAL", "UNDERHILL_CONFIDENTIAL");
	policy->debug = is_set(get, "OPENHCL_CONFIDENTIAL_DEBUG", "UNDERHILL_CONFIDENTIAL_DEBUG");
}

/* A release image refuses nothing by itself, as OpenHCL's does not; a debug image nothing. */
static const bool refused_when_confidential[POLICY_RIGHTS] = {
	[POLICY_DIAGNOSE] = true,
	[POLICY_INSPECT] = false,
	[POLICY_DUMP] = true,
	[POLICY_PROFILE] = false,
};

/*
 * All that ttrpc calls can do; the service's own table has the same names. Services of the
 * reference that a confidential VM does not register at all are refused method by method here, so
 * that the peer is told why.
 */
const struct policy_method policy_methods[] = {
	/* runs programs, reads files, logs and memory, stops and starts the guest */
	{"diag.OpenhclDiag", "Ping", POLICY_DIAGNOSE},
	{"diag.OpenhclDiag", "MemoryProfileTrace", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "Exec", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "Wait", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "Start", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "Crash", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "Kmsg", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "ReadFile", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "Restart", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "Pause", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "Resume", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "DumpSavedState", POLICY_DIAGNOSE},
	{"diag.UnderhillDiag", "PacketCapture", POLICY_DIAGNOSE},
	{"parapet.Diag", "Ping", POLICY_DIAGNOSE},
	{"parapet.Diag", "Run", POLICY_DIAGNOSE},
	{"parapet.Diag", "WindowSize", POLICY_DIAGNOSE},
	{"parapet.Diag", "Signal", POLICY_DIAGNOSE},
	/* nodes up to policy_inspect_level */
	{"inspect.InspectService", "Inspect", POLICY_INSPECT},
	{"inspect.InspectService", "Update", POLICY_INSPECT},
	/* does nothing here */
	{"profile.AzureProfiler", "Profile", POLICY_PROFILE},
};
const size_t policy_method_count = ARRAY_SIZE(policy_methods);

static bool filtered(const struct policy *policy)
{
	return policy->confidential && !policy->debug;
}

const char *policy_refusal(const struct policy *policy, enum policy_right right)
{
	if (refused_when_confidential[right] && filtered(policy))
		return "refused: the VM is confidential and its image is not a debug image";
	return NULL;
}

const char *policy_call_refusal(const struct policy *policy, const char *service,
				const char *method)
{
	for (size_t i = 0; i < policy_method_count; i++) {
		const struct policy_method *m = &policy_methods[i];

		if (!strcmp(m->service, service) && !strcmp(m->method, method))
			return policy_refusal(policy, m->right);
	}
	return "refused: no rule allows this call";
}

enum inspect_level policy_inspect_level(const struct policy *policy)
{
	return filtered(policy) ? INSPECT_SAFE : INSPECT_SENSITIVE;
}
