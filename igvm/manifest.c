/*
 * Manifest reader. Fields and their meaning: openvmm vm/loader/igvmfilegen_config; "resources" may
 * stand in it as well, and guest_svn and max_vtl may be left out.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/build_parts.h"
#include "igvm/internal.h"
#include "igvm/manifest_json.h"

#define MAX_MANIFEST_BYTES MiB
#define MAX_PAGES	   (0xffffffffull / PAGE_SIZE)
#define LARGE_PAGES	   (SHIM_ALIGNMENT / PAGE_SIZE)
#define MAX_BASE_PAGE	   (BIT(46) / PAGE_SIZE)

/* SNP guest policy */
#define SNP_POLICY_RESERVED_ONE BIT(17)
#define SNP_POLICY_DEBUG	BIT(19)
#define SNP_POLICY_KNOWN	(BIT(26) - 1)

/* Bits of an address that may be the shared boundary or the encryption bit of page tables */
#define MIN_BOUNDARY_BITS 32
#define MAX_BOUNDARY_BITS 50
#define MAX_C_BIT	  51

#define FAIL(...) igvm_fail(err, IGVM_NO_HEADER, 0, __VA_ARGS__)

static const char *const keys[RESOURCE_COUNT] = {
	"underhill_kernel", "openhcl_boot", "underhill_initrd", "underhill_sidecar", "uefi",
	"linux_kernel",	    "linux_initrd",
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

const char *manifest_isolation_name(enum manifest_isolation_kind kind)
{
	static const char *const names[] = {"none", "vbs", "snp", "tdx"};

	return names[kind];
}

/* ------------------------------------------------------------------------------------ isolation */

static int parse_vbs(struct manifest_isolation *iso, const struct node *n)
{
	static const char *const known[] = {"enable_debug", NULL};
	int ret = node_check_object(n, known);

	iso->kind = MANIFEST_VBS;
	return ret ? ret : node_require_bool(n, "enable_debug", &iso->debug);
}

static int parse_tdx(struct manifest_isolation *iso, const struct node *n)
{
	static const char *const known[] = {"enable_debug", "sept_ve_disable", NULL};
	int ret = node_check_object(n, known);

	iso->kind = MANIFEST_TDX;
	if (!ret)
		ret = node_require_bool(n, "enable_debug", &iso->debug);
	if (!ret)
		ret = node_require_bool(n, "sept_ve_disable", &iso->sept_ve_disable);
	return ret;
}

/* The debug bit stands in two places. */
static int check_snp_policy(struct manifest_isolation *iso, const struct node *n)
{
	if (iso->policy & ~SNP_POLICY_KNOWN)
		return node_fail(n, "policy", "0x%llx has bits that SEV-SNP reserves",
				 (unsigned long long)iso->policy);
	if (!(iso->policy & SNP_POLICY_RESERVED_ONE))
		return node_fail(n, "policy", "bit 17 must be 1");
	if ((iso->policy & SNP_POLICY_DEBUG) && !iso->debug)
		return node_fail(n, "policy", "allows debugging (bit 19), enable_debug does not");
	if (iso->debug)
		iso->policy |= SNP_POLICY_DEBUG;
	return 0;
}

static int parse_snp(struct manifest_isolation *iso, const struct node *n)
{
	static const char *const known[] = {
		"shared_gpa_boundary_bits", "policy",	   "enable_debug",
		"injection_type",	    "secure_avic", NULL};
	struct node boundary = node_member(n, "shared_gpa_boundary_bits");
	u64 bits = 0;
	int ret = node_check_object(n, known);

	iso->kind = MANIFEST_SNP;
	iso->has_boundary = boundary.json;
	if (!ret && iso->has_boundary)
		ret = node_get_number(n, "shared_gpa_boundary_bits", MIN_BOUNDARY_BITS,
				      MAX_BOUNDARY_BITS, &bits);
	iso->boundary_bits = (u8)bits;
	if (!ret)
		ret = node_require(n, "policy");
	if (!ret)
		ret = node_get_number(n, "policy", 0, ~0ull >> 1, &iso->policy);
	if (!ret)
		ret = node_require_bool(n, "enable_debug", &iso->debug);
	if (!ret)
		ret = node_require(n, "injection_type");
	if (!ret)
		ret = node_get_choice(n, "injection_type", "normal", "restricted",
				      &iso->restricted_injection);
	if (!ret)
		ret = node_get_choice(n, "secure_avic", "disabled", "enabled", &iso->secure_avic);
	return ret ? ret : check_snp_policy(iso, n);
}

static int parse_isolation(struct manifest_isolation *iso, const struct node *config)
{
	struct node n = node_member(config, "isolation_type"), body;
	const char *word;

	if (!n.json)
		return node_fail(&n, "", "is missing");
	word = node_get_variant(&n, &body);
	if (word && !strcmp(word, "none") && !body.json)
		return 0;
	if (word && !strcmp(word, "vbs"))
		return parse_vbs(iso, &body);
	if (word && !strcmp(word, "snp"))
		return parse_snp(iso, &body);
	if (word && !strcmp(word, "tdx"))
		return parse_tdx(iso, &body);
	return node_fail(&n, "", "must be \"none\" or one of {\"vbs\"|\"snp\"|\"tdx\": {...}}");
}

/* --------------------------------------------------------------------------------------- images */

static int parse_linux(struct manifest_linux *l, const struct node *n)
{
	static const char *const known[] = {"use_initrd", "command_line", NULL};
	int ret = node_check_object(n, known);

	if (!ret)
		ret = node_get_bool(n, "use_initrd", &l->use_initrd);
	if (!ret)
		ret = node_get_string(n, "command_line", IGVM_VTL0_CMDLINE_PAGES * PAGE_SIZE - 1,
				      &l->command_line);
	l->present = true;
	return ret;
}

static int parse_memory(struct manifest_config *c, const struct node *n)
{
	struct node base = node_member(n, "memory_page_base");
	int ret = node_require(n, "memory_page_count");

	c->relocatable = !base.json && c->isolation.kind == MANIFEST_NONE;
	c->memory_page_base = SHIM_DEFAULT_BASE / PAGE_SIZE;
	if (!ret && base.json)
		ret = node_get_number(n, "memory_page_base", LARGE_PAGES, MAX_BASE_PAGE,
				      &c->memory_page_base);
	if (!ret)
		ret = node_get_number(n, "memory_page_count", LARGE_PAGES, MAX_PAGES,
				      &c->memory_page_count);
	if (ret)
		return ret;
	if (c->memory_page_base % LARGE_PAGES)
		return node_fail(n, "memory_page_base", "must be a multiple of 512");
	if (c->memory_page_count % LARGE_PAGES)
		return node_fail(n, "memory_page_count", "must be a multiple of 512");
	/* Page tables of SNP and TDX map 2-4 MiB for the shim's own use. */
	if (c->isolation.kind >= MANIFEST_SNP && c->memory_page_base < 2 * LARGE_PAGES)
		return node_fail(n, "memory_page_base", "must be 1024 or more with snp and tdx");
	/* A TDX processor starts with a CR3 of 32 bits, and in the last page below 4 GiB. */
	if (c->isolation.kind == MANIFEST_TDX &&
	    c->memory_page_base + c->memory_page_count > 4 * GiB / PAGE_SIZE - LARGE_PAGES)
		return node_fail(n, "memory_page_base", "with tdx the memory must end below 4 GiB");
	if (c->isolation.kind == MANIFEST_SNP &&
	    (c->memory_page_base + c->memory_page_count) * PAGE_SIZE >
		    BIT(c->isolation.boundary_bits))
		return node_fail(n, "memory_page_base", "the memory passes the shared boundary");
	return 0;
}

static int parse_openhcl(struct manifest_config *c, const struct node *n)
{
	static const char *const known[] = {"command_line",
					    "static_command_line",
					    "memory_page_base",
					    "memory_page_count",
					    "uefi",
					    "linux",
					    "product_policy",
					    NULL};
	struct node linux_guest = node_member(n, "linux"),
		    policy = node_member(n, "product_policy");
	int ret = node_check_object(n, known);

	if (!ret && c->isolation.kind == MANIFEST_SNP && !c->isolation.has_boundary)
		return node_fail(n, "", "needs isolation_type.snp.shared_gpa_boundary_bits");
	if (!ret)
		ret = node_get_string(n, "command_line", sizeof(((struct shim_cmdline *)0)->text),
				      &c->command_line);
	if (!ret)
		ret = node_get_bool(n, "static_command_line", &c->static_command_line);
	if (!ret)
		ret = parse_memory(c, n);
	if (!ret)
		ret = node_get_bool(n, "uefi", &c->uefi);
	if (ret)
		return ret;
	if (c->uefi && linux_guest.json)
		return node_fail(n, "linux", "an image carries either uefi or linux, not both");
	if (linux_guest.json)
		ret = parse_linux(&c->linux_guest, &linux_guest);
	if (!ret && policy.json)
		ret = product_policy_parse(&c->policy, &policy);
	return ret;
}

static int parse_uefi(struct manifest_config *c, const struct node *n)
{
	static const char *const known[] = {"config_type", NULL};
	int ret = node_check_object(n, known);

	if (!ret)
		ret = node_require(n, "config_type");
	if (!ret)
		ret = node_get_choice(n, "config_type", "none", "igvm", &c->uefi_igvm_parameters);
	return ret;
}

/* A guest without paravisor, which uses the encryption bit in its page tables */
static int parse_snp_linux(struct manifest_config *c, const struct node *n)
{
	static const char *const known[] = {"linux", "processor_count", "memory_page_count",
					    "c_bit_position", NULL};
	const struct manifest_isolation *iso = &c->isolation;
	struct node linux_guest = node_member(n, "linux");
	u64 processors = 0, c_bit = 0;
	int ret = node_check_object(n, known);

	for (u32 i = 0; i < 4 && !ret; i++)
		ret = node_require(n, known[i]);
	if (!ret)
		ret = node_get_number(n, "processor_count", 1, 0xffffffff, &processors);
	if (!ret)
		ret = node_get_number(n, "memory_page_count", 1, MAX_PAGES, &c->memory_page_count);
	if (!ret)
		ret = node_get_number(n, "c_bit_position", MIN_BOUNDARY_BITS, MAX_C_BIT, &c_bit);
	if (!ret)
		ret = parse_linux(&c->linux_guest, &linux_guest);
	c->processor_count = (u32)processors;
	c->c_bit = (u8)c_bit;
	if (ret)
		return ret;
	if (iso->kind != MANIFEST_SNP)
		return node_fail(n, "", "needs isolation_type.snp");
	if (iso->has_boundary || iso->restricted_injection || iso->secure_avic)
		return node_fail(n, "",
				 "takes no shared_gpa_boundary_bits, no restricted injection_type "
				 "and no secure_avic in isolation_type.snp");
	return 0;
}

static int parse_image(struct manifest_config *c, const struct node *config)
{
	struct node n = node_member(config, "image"), body;
	const char *word;

	if (!n.json)
		return node_fail(&n, "", "is missing");
	word = node_get_variant(&n, &body);
	if (!word || !(body.json || !strcmp(word, "none")))
		return node_fail(&n, "", "must be \"none\" or an object with one member");
	if (!strcmp(word, "none") && !body.json)
		return 0;
	if (!strcmp(word, "openhcl")) {
		c->image = MANIFEST_IMAGE_OPENHCL;
		return parse_openhcl(c, &body);
	}
	if (!strcmp(word, "uefi")) {
		c->image = MANIFEST_IMAGE_UEFI;
		return parse_uefi(c, &body);
	}
	if (!strcmp(word, "linux")) {
		c->image = MANIFEST_IMAGE_LINUX;
		return parse_linux(&c->linux_guest, &body);
	}
	if (!strcmp(word, "snp_linux_direct")) {
		c->image = MANIFEST_IMAGE_SNP_LINUX;
		return parse_snp_linux(c, &body);
	}
	return node_fail(&n, word, "unknown field");
}

static int parse_config(struct manifest_config *c, const struct node *n)
{
	static const char *const known[] = {"guest_svn", "max_vtl", "isolation_type", "image",
					    NULL};
	u64 svn = 0, max_vtl = 2;
	int ret = node_check_object(n, known);

	c->command_line = strdup("");
	c->linux_guest.command_line = strdup("");
	if (!c->command_line || !c->linux_guest.command_line)
		return igvm_fail_memory(n->err);
	if (!ret)
		ret = node_get_number(n, "guest_svn", 0, 0xffffffff, &svn);
	if (!ret)
		ret = node_get_number(n, "max_vtl", 0, 2, &max_vtl);
	if (!ret && max_vtl == 1)
		return node_fail(n, "max_vtl", "must be 2 or 0");
	c->guest_svn = (u32)svn;
	c->max_vtl = (u8)max_vtl;
	if (!ret)
		ret = parse_isolation(&c->isolation, n);
	if (!ret)
		ret = parse_image(c, n);
	if (!ret && (c->image == MANIFEST_IMAGE_OPENHCL) != (max_vtl == 2))
		return node_fail(n, "max_vtl",
				 c->image == MANIFEST_IMAGE_OPENHCL
					 ? "must be 2: the paravisor runs in VTL2"
					 : "must be 0: the image has no paravisor");
	return ret;
}

/* ------------------------------------------------------------------------------ whole manifests */

static int parse_resources(struct manifest *m, const struct node *n)
{
	static const char *known[RESOURCE_COUNT + 1];
	int ret;

	memcpy(known, keys, sizeof(keys));
	ret = node_check_object(n, known);
	for (u32 i = 0; i < RESOURCE_COUNT && !ret; i++)
		ret = node_get_string(n, keys[i], 4095, &m->resource[i]);
	return ret;
}

static bool same_platform(const struct manifest_config *a, const struct manifest_config *b)
{
	return MAX(a->isolation.kind, MANIFEST_VBS) == MAX(b->isolation.kind, MANIFEST_VBS);
}

static int parse_configs(struct manifest *m, const struct node *top)
{
	struct node list = node_member(top, "guest_configs");
	size_t count = json_array_size(list.json);

	if (!count)
		return node_fail(&list, "", "must be a list of configurations");
	for (size_t i = 0; i < count; i++) {
		struct node n = {.json = json_array_get(list.json, i), .err = top->err};
		struct manifest_config *c;
		int ret;

		snprintf(n.path, sizeof(n.path), "guest_configs[%zu]", i);
		/* Not reached with valid ones: each platform occurs once */
		if (i == MANIFEST_MAX_CONFIGS)
			return node_fail(&n, "", "more configurations than platforms");
		c = &m->config[m->count++];
		ret = parse_config(c, &n);
		if (ret)
			return ret;
		if (c->image == MANIFEST_IMAGE_SNP_LINUX && count > 1)
			return node_fail(&n, "image", "snp_linux_direct must be the only one");
		for (size_t j = 0; j < i; j++) {
			if (same_platform(c, &m->config[j]))
				return node_fail(&n, "isolation_type",
						 "guest_configs[%zu] is for the same platform "
						 "(none and vbs are one)",
						 j);
		}
	}
	return 0;
}

static int parse_top(struct manifest *m, const struct node *n)
{
	static const char *const known[] = {"guest_arch", "guest_configs", "resources", NULL};
	const char *arch = json_string_value(json_object_get(n->json, "guest_arch"));
	struct node resources = node_member(n, "resources");
	int ret = node_check_object(n, known);

	if (ret)
		return ret;
	if (!arch || (strcmp(arch, "x64") && strcmp(arch, "aarch64")))
		return node_fail(n, "guest_arch", "must be \"x64\"");
	if (strcmp(arch, "x64"))
		return node_fail(n, "guest_arch",
				 "only \"x64\" can be built: there is no boot shim for aarch64");
	ret = parse_configs(m, n);
	if (!ret && resources.json)
		ret = parse_resources(m, &resources);
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
	struct node n = {.err = err};
	json_t *json;
	int ret;

	memset(m, 0, sizeof(*m));
	json = load(text, len, err);
	if (!json)
		return -EINVAL;
	n.json = json;
	ret = parse_top(m, &n);
	json_decref(json);
	return ret;
}

int manifest_parse_resources(struct manifest *m, const char *text, size_t len,
			     struct igvm_error *err)
{
	static const char *const known[] = {"resources", NULL};
	json_t *json = load(text, len, err);
	struct node n = {.json = json, .err = err}, resources;
	int ret;

	if (!json)
		return -EINVAL;
	ret = node_check_object(&n, known);
	resources = node_member(&n, "resources");
	if (!ret)
		ret = parse_resources(m, &resources);
	json_decref(json);
	return ret;
}

void manifest_free(struct manifest *m)
{
	for (u32 i = 0; i < m->count; i++) {
		free(m->config[i].command_line);
		free(m->config[i].linux_guest.command_line);
		free(m->config[i].policy.custom_uefi);
	}
	for (u32 i = 0; i < RESOURCE_COUNT; i++)
		free(m->resource[i]);
	memset(m, 0, sizeof(*m));
}

static bool config_needs(const struct manifest_config *c, enum resource resource)
{
	switch (resource) {
	case RESOURCE_KERNEL:
	case RESOURCE_SHIM:
	case RESOURCE_INITRD: return c->image == MANIFEST_IMAGE_OPENHCL;
	case RESOURCE_UEFI: return c->uefi || c->image == MANIFEST_IMAGE_UEFI;
	case RESOURCE_LINUX_KERNEL: return c->linux_guest.present;
	case RESOURCE_LINUX_INITRD: return c->linux_guest.present && c->linux_guest.use_initrd;
	case RESOURCE_SIDECAR:
	case RESOURCE_COUNT: break;
	}
	return false;
}

bool manifest_needs(const struct manifest *m, enum resource resource)
{
	for (u32 i = 0; i < m->count; i++) {
		if (config_needs(&m->config[i], resource))
			return true;
	}
	return false;
}

bool manifest_uses(const struct manifest *m, enum resource resource)
{
	return manifest_needs(m, resource == RESOURCE_SIDECAR ? RESOURCE_SHIM : resource);
}
