/* Manifest reader. Fields: OpenVMM's igvmfilegen manifests; "resources" may stand in it as well. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/build.h"
#include "igvm/internal.h"

#define MAX_MANIFEST_BYTES MiB
#define MAX_PAGES	   (0xffffffffull / PAGE_SIZE)
#define LARGE_PAGES	   (SHIM_ALIGNMENT / PAGE_SIZE)
#define MAX_BASE_PAGE	   (BIT(46) / PAGE_SIZE)

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

static const char *const keys[RESOURCE_COUNT] = {
	"underhill_kernel", "openhcl_boot", "underhill_initrd", "linux_kernel", "linux_initrd",
};

const char *resource_key(u32 resource)
{
	return resource < RESOURCE_COUNT ? keys[resource] : NULL;
}

enum resource resource_find(const char *key, size_t len)
{
	u32 i = 0;

	while (i < RESOURCE_COUNT && (strlen(keys[i]) != len || memcmp(keys[i], key, len)))
		i++;
	return i;
}

/* A JSON object and where it stands */
struct node {
	const json_t *json;
	const char *path;
	struct igvm_error *err;
};

static int check_object(const struct node *n, const char *const *known)
{
	struct igvm_error *err = n->err;
	const char *key;
	json_t *value;

	if (!json_is_object(n->json))
		return FAIL("%s: must be an object", *n->path ? n->path : "manifest");
	json_object_foreach((json_t *)n->json, key, value)
	{
		const char *const *k = known;

		while (*k && strcmp(*k, key))
			k++;
		if (!*k)
			return FAIL("%s%s%.60s: unknown field", n->path, *n->path ? "." : "", key);
	}
	return 0;
}

#define FIELD_FAIL(n, key, text)                                                               \
	igvm_fail((n)->err, IGVM_NO_HEADER, 0, "%s%s%s: %s", (n)->path, *(n)->path ? "." : "", \
		  key, text)

/* The get_ functions leave the value as it is where the field is absent. */
static int get_number(const struct node *n, const char *key, u64 max, u64 *value)
{
	const json_t *j = json_object_get(n->json, key);

	if (!j)
		return 0;
	if (!json_is_integer(j) || json_integer_value(j) < 0 || (u64)json_integer_value(j) > max)
		return FIELD_FAIL(n, key, "must be a number in the possible range");
	*value = (u64)json_integer_value(j);
	return 0;
}

static int get_bool(const struct node *n, const char *key, bool *value)
{
	const json_t *j = json_object_get(n->json, key);

	if (!j)
		return 0;
	if (!json_is_boolean(j))
		return FIELD_FAIL(n, key, "must be true or false");
	*value = json_is_true(j);
	return 0;
}

static int get_string(const struct node *n, const char *key, size_t max, char **value)
{
	const json_t *j = json_object_get(n->json, key);
	char *copy;

	if (!j)
		return 0;
	if (!json_is_string(j))
		return FIELD_FAIL(n, key, "must be a string");
	if (json_string_length(j) > max)
		return FIELD_FAIL(n, key, "is too long");
	copy = strdup(json_string_value(j));
	if (!copy)
		return igvm_fail_memory(n->err);
	free(*value);
	*value = copy;
	return 0;
}

static int parse_resources(struct manifest *m, const json_t *json, struct igvm_error *err)
{
	struct node n = {.json = json, .path = "resources", .err = err};
	/* Two that OpenVMM's resource files name and no image of ours uses yet */
	static const char *const known[] = {
		"underhill_kernel", "openhcl_boot", "underhill_initrd",	 "linux_kernel",
		"linux_initrd",	    "uefi",	    "underhill_sidecar", NULL};
	int ret = check_object(&n, known);

	for (u32 i = 0; i < RESOURCE_COUNT && !ret; i++)
		ret = get_string(&n, keys[i], 4095, &m->resource[i]);
	return ret;
}

static int parse_linux(struct manifest *m, const json_t *json, struct igvm_error *err)
{
	struct node n = {.json = json, .path = "guest_configs[0].image.openhcl.linux", .err = err};
	static const char *const known[] = {"use_initrd", "command_line", NULL};
	int ret = check_object(&n, known);

	if (!ret)
		ret = get_bool(&n, "use_initrd", &m->linux_initrd);
	if (!ret)
		ret = get_string(&n, "command_line", IGVM_VTL0_CMDLINE_PAGES * PAGE_SIZE - 1,
				 &m->linux_command_line);
	m->has_linux = true;
	return ret;
}

static int parse_memory(struct manifest *m, const struct node *n)
{
	int ret;

	if (!json_object_get(n->json, "memory_page_count"))
		return FIELD_FAIL(n, "memory_page_count", "is missing");
	m->relocatable = !json_object_get(n->json, "memory_page_base");
	m->memory_page_base = SHIM_DEFAULT_BASE / PAGE_SIZE;
	ret = get_number(n, "memory_page_base", MAX_BASE_PAGE, &m->memory_page_base);
	if (!ret)
		ret = get_number(n, "memory_page_count", MAX_PAGES, &m->memory_page_count);
	if (ret)
		return ret;
	if (!m->memory_page_base || m->memory_page_base % LARGE_PAGES)
		return FIELD_FAIL(n, "memory_page_base", "must be a multiple of 512 and not 0");
	if (!m->memory_page_count || m->memory_page_count % LARGE_PAGES)
		return FIELD_FAIL(n, "memory_page_count", "must be a multiple of 512 and not 0");
	return 0;
}

static int parse_openhcl(struct manifest *m, const json_t *json, struct igvm_error *err)
{
	struct node n = {.json = json, .path = "guest_configs[0].image.openhcl", .err = err};
	static const char *const known[] = {"command_line",
					    "static_command_line",
					    "memory_page_base",
					    "memory_page_count",
					    "uefi",
					    "linux",
					    "product_policy",
					    NULL};
	const json_t *linux_json = json_object_get(json, "linux");
	bool uefi = false;
	int ret = check_object(&n, known);

	if (!ret)
		ret = get_string(&n, "command_line", sizeof(((struct shim_cmdline *)0)->text),
				 &m->command_line);
	if (!ret)
		ret = get_bool(&n, "static_command_line", &m->static_command_line);
	if (!ret)
		ret = parse_memory(m, &n);
	if (!ret)
		ret = get_bool(&n, "uefi", &uefi);
	if (ret)
		return ret;
	if (uefi && linux_json && !json_is_null(linux_json))
		return FIELD_FAIL(&n, "linux", "an image carries either uefi or linux, not both");
	if (uefi)
		return FIELD_FAIL(&n, "uefi", "a UEFI payload is not supported yet");
	if (json_object_get(json, "product_policy"))
		return FIELD_FAIL(&n, "product_policy", "is not supported yet");
	if (linux_json && !json_is_null(linux_json))
		return parse_linux(m, linux_json, err);
	return 0;
}

static int parse_config(struct manifest *m, const json_t *json, struct igvm_error *err)
{
	struct node n = {.json = json, .path = "guest_configs[0]", .err = err};
	struct node image = {.path = "guest_configs[0].image", .err = err};
	static const char *const known[] = {"guest_svn", "max_vtl", "isolation_type", "image",
					    NULL};
	static const char *const images[] = {"uefi", "openhcl", "linux", "snp_linux_direct", NULL};
	const json_t *isolation = json_object_get(json, "isolation_type");
	u64 svn = 0, max_vtl = 2;
	int ret = check_object(&n, known);

	if (!ret)
		ret = get_number(&n, "guest_svn", 0xffffffff, &svn);
	if (!ret)
		ret = get_number(&n, "max_vtl", 255, &max_vtl);
	if (ret)
		return ret;
	m->guest_svn = (u32)svn;
	if (max_vtl != 2)
		return FIELD_FAIL(&n, "max_vtl", "must be 2: the paravisor runs in VTL2");
	if (!isolation)
		return FIELD_FAIL(&n, "isolation_type", "is missing");
	if (json_is_object(isolation) &&
	    (json_object_get(isolation, "vbs") || json_object_get(isolation, "snp") ||
	     json_object_get(isolation, "tdx")))
		return FIELD_FAIL(&n, "isolation_type", "is not supported yet, only \"none\" is");
	if (!json_is_string(isolation) || strcmp(json_string_value(isolation), "none"))
		return FIELD_FAIL(&n, "isolation_type", "must be \"none\"");
	image.json = json_object_get(json, "image");
	if (!image.json)
		return FIELD_FAIL(&n, "image", "is missing");
	if (json_is_string(image.json))
		return FIELD_FAIL(&n, "image", "must be {\"openhcl\": {...}}");
	ret = check_object(&image, images);
	if (ret)
		return ret;
	if (json_object_size(image.json) != 1 || !json_object_get(image.json, "openhcl"))
		return FIELD_FAIL(&n, "image",
				  "must hold \"openhcl\" alone, others are not supported yet");
	return parse_openhcl(m, json_object_get(image.json, "openhcl"), err);
}

static int parse_top(struct manifest *m, const json_t *json, struct igvm_error *err)
{
	struct node n = {.json = json, .path = "", .err = err};
	static const char *const known[] = {"guest_arch", "guest_configs", "resources", NULL};
	const json_t *arch = json_object_get(json, "guest_arch");
	const json_t *configs = json_object_get(json, "guest_configs");
	const json_t *resources = json_object_get(json, "resources");
	int ret = check_object(&n, known);

	if (ret)
		return ret;
	if (!json_is_string(arch))
		return FIELD_FAIL(&n, "guest_arch", "must be \"x64\"");
	if (strcmp(json_string_value(arch), "x64"))
		return FIELD_FAIL(&n, "guest_arch", "only \"x64\" is supported");
	if (!json_is_array(configs) || !json_array_size(configs))
		return FIELD_FAIL(&n, "guest_configs", "must be a list of one configuration");
	if (json_array_size(configs) > 1)
		return FIELD_FAIL(&n, "guest_configs[1]",
				  "more than one configuration is not supported yet");
	ret = parse_config(m, json_array_get(configs, 0), err);
	if (!ret && resources)
		ret = parse_resources(m, resources, err);
	return ret;
}

static json_t *load(const char *text, size_t len, struct igvm_error *err)
{
	json_error_t je;
	json_t *json;

	if (len > MAX_MANIFEST_BYTES) {
		FAIL("larger than 1 MiB");
		return NULL;
	}
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!json)
		FAIL("line %d, column %d: %s", je.line, je.column, je.text);
	return json;
}

int manifest_parse(struct manifest *m, const char *text, size_t len, struct igvm_error *err)
{
	json_t *json;
	int ret;

	memset(m, 0, sizeof(*m));
	m->command_line = strdup("");
	m->linux_command_line = strdup("");
	if (!m->command_line || !m->linux_command_line)
		return igvm_fail_memory(err);
	json = load(text, len, err);
	if (!json)
		return -EINVAL;
	ret = parse_top(m, json, err);
	json_decref(json);
	return ret;
}

int manifest_parse_resources(struct manifest *m, const char *text, size_t len,
			     struct igvm_error *err)
{
	static const char *const known[] = {"resources", NULL};
	json_t *json = load(text, len, err);
	struct node n = {.json = json, .path = "", .err = err};
	int ret;

	if (!json)
		return -EINVAL;
	ret = check_object(&n, known);
	if (!ret)
		ret = parse_resources(m, json_object_get(json, "resources"), err);
	json_decref(json);
	return ret;
}

void manifest_free(struct manifest *m)
{
	free(m->command_line);
	free(m->linux_command_line);
	for (u32 i = 0; i < RESOURCE_COUNT; i++)
		free(m->resource[i]);
	memset(m, 0, sizeof(*m));
}

bool manifest_needs(const struct manifest *m, enum resource resource)
{
	switch (resource) {
	case RESOURCE_KERNEL:
	case RESOURCE_SHIM:
	case RESOURCE_INITRD: return true;
	case RESOURCE_LINUX_KERNEL: return m->has_linux;
	case RESOURCE_LINUX_INITRD: return m->has_linux && m->linux_initrd;
	case RESOURCE_COUNT: break;
	}
	return false;
}
