/* What diagnostics may show and do. */
#include "paravisor/diag/policy.h"

#include <string.h>

static bool is_set(const char *(*get)(const char *name), const char *name, const char *old_name)
{
	const char *value = get(name);

	if (!value)
		value = get(old_name);
	return value && *value && strcmp(value, "0") != 0;
}

void policy_read(struct policy *policy, const char *(*get)(const char *name))
{
	policy->confidential = is_set(get, "OPENHCL_CONFIDENTIAL", "UNDERHILL_CONFIDENTIAL");
	policy->debug = is_set(get, "OPENHCL_CONFIDENTIAL_DEBUG", "UNDERHILL_CONFIDENTIAL_DEBUG");
}

static bool filtered(const struct policy *policy)
{
	return policy->confidential && !policy->debug;
}

const char *policy_refusal(const struct policy *policy, enum policy_right right)
{
	if ((right == POLICY_DIAGNOSE || right == POLICY_DUMP) && filtered(policy))
		return "refused: the VM is confidential and its image is not a debug image";
	return NULL;
}

enum inspect_level policy_inspect_level(const struct policy *policy)
{
	return filtered(policy) ? INSPECT_SAFE : INSPECT_SENSITIVE;
}
