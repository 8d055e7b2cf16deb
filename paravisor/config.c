/* Device tree reader for the shim's description of the partition. */
#include "paravisor/config.h"

#include "common/bytes.h"

#include <libfdt.h>
#include <string.h>

static int fail(const char **reason, const char *text)
{
	*reason = text;
	return -1;
}

static bool tree_is_sound(const void *fdt, size_t size)
{
	/* fdt_check_full walks everything once: no later call can leave the blob */
	return size >= 64 && size <= 1 * MiB && fdt_check_full(fdt, size) == 0;
}

static bool get_u32(const void *fdt, int node, const char *name, u32 *value)
{
	int length;
	const void *p = fdt_getprop(fdt, node, name, &length);

	if (!p || length != 4)
		return false;
	*value = get_be32(p);
	return true;
}

static bool is_device_type(const void *fdt, int node, const char *type)
{
	int length;
	const char *p = fdt_getprop(fdt, node, "device_type", &length);

	return p && (size_t)length == strlen(type) + 1 && memcmp(p, type, (size_t)length) == 0;
}

static int parse_isolation(const void *fdt, int openhcl, enum config_isolation *isolation)
{
	static const char *const name[] = {"none", "vbs", "snp", "tdx"};
	int length;
	const char *p = fdt_getprop(fdt, openhcl, "isolation-type", &length);

	for (size_t i = 0; p && i < ARRAY_SIZE(name); i++) {
		if ((size_t)length == strlen(name[i]) + 1 && !memcmp(p, name[i], (size_t)length)) {
			*isolation = (enum config_isolation)i;
			return 0;
		}
	}
	return -1;
}

static int parse_cpus(const void *fdt, struct config *config, const char **reason)
{
	int cpus = fdt_path_offset(fdt, "/cpus");
	int node;

	if (cpus < 0)
		return fail(reason, "no /cpus node");
	fdt_for_each_subnode(node, fdt, cpus)
	{
		u32 id, numa = 0;

		if (!is_device_type(fdt, node, "cpu"))
			continue;
		if (!get_u32(fdt, node, "reg", &id))
			return fail(reason, "cpu node without reg");
		if (config->vp_count == CONFIG_MAX_VPS)
			return fail(reason, "more than 64 processors");
		for (u32 i = 0; i < config->vp_count; i++) {
			if (config->apic_id[i] == id)
				return fail(reason, "two processors with one APIC id");
		}
		get_u32(fdt, node, "numa-node-id", &numa);
		config->apic_id[config->vp_count] = id;
		config->vp_node[config->vp_count] = numa;
		config->vp_count++;
	}
	if (!config->vp_count)
		return fail(reason, "no processor in /cpus");
	return 0;
}

/* Keeps the table ascending; the shim writes it in order, so this rarely moves anything. */
static int insert_range(struct config *config, const struct config_range *range,
			const char **reason)
{
	u32 at = config->range_count;

	if (at == CONFIG_MAX_RANGES)
		return fail(reason, "too many memory ranges");
	while (at && config->range[at - 1].base > range->base) {
		config->range[at] = config->range[at - 1];
		at--;
	}
	config->range[at] = *range;
	config->range_count++;
	return 0;
}

static int parse_memory(const void *fdt, int openhcl, struct config *config, const char **reason)
{
	int node;

	fdt_for_each_subnode(node, fdt, openhcl)
	{
		struct config_range range = {0};
		const u8 *reg;
		u64 end;
		int length;

		if (!is_device_type(fdt, node, "memory-openhcl"))
			continue;
		reg = fdt_getprop(fdt, node, "reg", &length);
		if (!reg || length != 16 || !get_u32(fdt, node, "openhcl,memory-type", &range.type))
			return fail(reason, "memory node without reg or type");
		range.base = get_be64(reg);
		range.size = get_be64(reg + 8);
		if (!range.size || !IS_ALIGNED(range.base | range.size, PAGE_SIZE) ||
		    add_overflow(range.base, range.size, &end))
			return fail(reason, "bad memory range");
		get_u32(fdt, node, "numa-node-id", &range.node);
		if (insert_range(config, &range, reason))
			return -1;
	}
	for (u32 i = 1; i < config->range_count; i++) {
		if (config->range[i - 1].base + config->range[i - 1].size > config->range[i].base)
			return fail(reason, "memory ranges overlap");
	}
	return 0;
}

int config_parse(const void *fdt, size_t size, struct config *config, const char **reason)
{
	int openhcl;
	bool ram = false;

	memset(config, 0, sizeof(*config));
	if (!tree_is_sound(fdt, size))
		return fail(reason, "device tree is damaged");
	openhcl = fdt_path_offset(fdt, "/openhcl");
	if (openhcl < 0)
		return fail(reason, "no /openhcl node");
	if (parse_isolation(fdt, openhcl, &config->isolation))
		return fail(reason, "isolation-type missing or unknown");
	if (parse_cpus(fdt, config, reason) || parse_memory(fdt, openhcl, config, reason))
		return -1;
	for (u32 i = 0; i < config->range_count; i++)
		ram |= config->range[i].type == SHIM_MEM_VTL0;
	if (!ram)
		return fail(reason, "no memory for the guest");
	return 0;
}

const void *config_entropy(const void *fdt, size_t size, size_t *length)
{
	const void *reg;
	int node, n;

	if (!tree_is_sound(fdt, size))
		return NULL;
	node = fdt_path_offset(fdt, "/openhcl/entropy");
	if (node < 0)
		return NULL;
	reg = fdt_getprop(fdt, node, "reg", &n);
	if (!reg || n <= 0)
		return NULL;
	*length = (size_t)n;
	return reg;
}

bool config_is_vtl2_memory(const struct config_range *range)
{
	switch (range->type) {
	case SHIM_MEM_VTL0:
	case SHIM_MEM_VTL0_MMIO:
	case SHIM_MEM_VTL2_MMIO: return false;
	default: return true;
	}
}

bool config_is_vtl0_ram(const struct config *config, u64 base, u64 size)
{
	u64 end;

	if (add_overflow(base, size, &end))
		return false;
	/* ranges ascend, so neighbours (one per NUMA node) are walked in order */
	for (u32 i = 0; i < config->range_count; i++) {
		const struct config_range *range = &config->range[i];
		u64 range_end = range->base + range->size;

		if (range->type != SHIM_MEM_VTL0 || base < range->base || base >= range_end)
			continue;
		if (end <= range_end)
			return true;
		base = range_end;
	}
	return false;
}

static bool pages_are_ram(const struct config *config, u64 page, u64 pages)
{
	u64 limit = BIT(52 - PAGE_SHIFT);

	return page < limit && pages <= limit &&
	       config_is_vtl0_ram(config, page * PAGE_SIZE, pages * PAGE_SIZE);
}

int config_check_vtl0(const struct shim_measured_vtl0 *vtl0, const struct config *config,
		      const char **reason)
{
	if (vtl0->magic != SHIM_MEASURED_VTL0_MAGIC)
		return fail(reason, "the image has no VTL0 configuration");
	if (!(vtl0->supported & SHIM_VTL0_LINUX) || !vtl0->kernel_pages)
		return fail(reason, "the image carries no Linux kernel for the guest");
	if (!pages_are_ram(config, vtl0->kernel_base_page, vtl0->kernel_pages))
		return fail(reason, "the guest kernel does not lie in guest memory");
	if (vtl0->initrd_pages &&
	    (!pages_are_ram(config, vtl0->initrd_base_page, vtl0->initrd_pages) ||
	     vtl0->initrd_size > vtl0->initrd_pages * PAGE_SIZE))
		return fail(reason, "the guest initrd does not lie in guest memory");
	if (vtl0->cmdline_pages && !pages_are_ram(config, vtl0->cmdline_page, vtl0->cmdline_pages))
		return fail(reason, "the guest command line does not lie in guest memory");
	return 0;
}
