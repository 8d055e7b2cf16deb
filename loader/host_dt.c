/* Reader of the host's device tree: the content is hostile, each rule is checked here once. */
#include "loader/host_dt.h"

#include <libfdt.h>
#include <string.h>

#include "common/bytes.h"

#define MAX_DEPTH 16
#define COM3_PORT 0x3e8

/* One read: the tree, where to put it, and what has been seen already. */
struct reader {
	const void *fdt;
	struct host_dt *dt;
	struct shim_error *err;
	bool cpus, chosen, openhcl;
};

#define fail(r, ...) shim_fail((r)->err, "host device tree: " __VA_ARGS__)

static const char *node_name(const struct reader *r, int node)
{
	const char *name = fdt_get_name(r->fdt, node, NULL);

	return name ? name : "?";
}

/* ---- properties: 1 = there, 0 = absent, -1 = wrong length */

static int find_cells(struct reader *r, int node, const char *name, u32 width, const u8 **data,
		      u32 *count)
{
	int len;
	const void *p = fdt_getprop(r->fdt, node, name, &len);

	if (!p)
		return 0;
	if (len % (int)width)
		return fail(r, "%.40s/%s has %d bytes", node_name(r, node), name, len);
	*data = p;
	*count = (u32)len / width;
	return 1;
}

static int find_u32(struct reader *r, int node, const char *name, u32 *value)
{
	const u8 *p;
	u32 count;
	int got = find_cells(r, node, name, 4, &p, &count);

	if (got <= 0)
		return got;
	if (!count)
		return fail(r, "%.40s/%s is empty", node_name(r, node), name);
	*value = get_be32(p);
	return 1;
}

static int find_u64(struct reader *r, int node, const char *name, u64 *value)
{
	const u8 *p;
	u32 count;
	int got = find_cells(r, node, name, 8, &p, &count);

	if (got <= 0)
		return got;
	if (!count)
		return fail(r, "%.40s/%s is empty", node_name(r, node), name);
	*value = get_be64(p);
	return 1;
}

static int need_u32(struct reader *r, int node, const char *name, u32 *value)
{
	int got = find_u32(r, node, name, value);

	if (got == 0)
		return fail(r, "%.40s/%s is missing", node_name(r, node), name);
	return got < 0 ? -1 : 0;
}

/* NULL: absent or not a terminated string without NUL inside. */
static const char *find_string(struct reader *r, int node, const char *name, u32 *length)
{
	int len;
	const char *p = fdt_getprop(r->fdt, node, name, &len);

	if (!p || len < 1 || memchr(p, 0, (size_t)len) != p + len - 1)
		return NULL;
	*length = (u32)len - 1;
	return p;
}

static bool string_is(struct reader *r, int node, const char *name, const char *value)
{
	u32 length;
	const char *p = find_string(r, node, name, &length);

	return p && strcmp(p, value) == 0;
}

static bool compatible(struct reader *r, int node, const char *value)
{
	int len;
	const char *p = fdt_getprop(r->fdt, node, "compatible", &len);

	return p && fdt_stringlist_contains(p, len, value);
}

static int read_numa_node(struct reader *r, int node, u32 *value)
{
	if (need_u32(r, node, "numa-node-id", value))
		return -1;
	if (*value >= HOST_DT_MAX_NODES)
		return fail(r, "%.40s: NUMA node %u is above %d", node_name(r, node), *value,
			    HOST_DT_MAX_NODES - 1);
	return 0;
}

/* base and size of 4 KiB granularity, without wrap */
static int make_range(struct reader *r, int node, u64 base, u64 size, struct addr_range *range)
{
	u64 end;

	if (!IS_ALIGNED(base | size, PAGE_SIZE) || add_overflow(base, size, &end))
		return fail(r, "%.40s: range %llx, %llx bytes, is not valid", node_name(r, node),
			    (unsigned long long)base, (unsigned long long)size);
	*range = (struct addr_range){base, end};
	return 0;
}

/* ---- nodes */

static int read_cpu(struct reader *r, int node, u32 address_cells)
{
	struct host_dt *dt = r->dt;
	struct host_cpu cpu;
	u64 id = 0;
	u32 id32 = 0, length;
	int got;

	if (!find_string(r, node, "status", &length))
		return fail(r, "%.40s has no status", node_name(r, node));
	if (!string_is(r, node, "status", "okay"))
		return 0;
	if (address_cells == 1) {
		got = find_u32(r, node, "reg", &id32);
		id = id32;
	} else {
		got = find_u64(r, node, "reg", &id);
	}
	if (got < 0)
		return -1;
	if (!got || id > UINT32_MAX)
		return fail(r, "%.40s has no usable reg", node_name(r, node));
	cpu.apic_id = (u32)id;
	if (read_numa_node(r, node, &cpu.node))
		return -1;
	if (dt->cpu_count == HOST_DT_MAX_CPUS)
		return fail(r, "more than %d processors", HOST_DT_MAX_CPUS);
	dt->cpu[dt->cpu_count++] = cpu;
	return 0;
}

static int read_cpus(struct reader *r, int cpus)
{
	u32 address_cells;
	int node;

	if (r->cpus)
		return fail(r, "two cpus nodes");
	r->cpus = true;
	if (need_u32(r, cpus, "#address-cells", &address_cells))
		return -1;
	if (address_cells > 2)
		return fail(r, "cpus/#address-cells is %u", address_cells);
	fdt_for_each_subnode(node, r->fdt, cpus) if (read_cpu(r, node, address_cells)) return -1;
	return 0;
}

static int read_memory(struct reader *r, int node)
{
	struct host_dt *dt = r->dt;
	struct host_ram ram = {.type = HOST_RAM_MEMORY};
	const u8 *reg;
	u32 count;
	int got = find_cells(r, node, "reg", 16, &reg, &count);

	if (got < 0)
		return -1;
	if (!got)
		return fail(r, "%.40s has no reg", node_name(r, node));
	if (read_numa_node(r, node, &ram.node) ||
	    find_u32(r, node, "microsoft,igvm-type", &ram.type) < 0)
		return -1;
	if (ram.type > HOST_RAM_HIDDEN)
		return fail(r, "%.40s: memory type %u is unknown", node_name(r, node), ram.type);
	for (u32 i = 0; i < count; i++, reg += 16) {
		if (make_range(r, node, get_be64(reg), get_be64(reg + 8), &ram.range))
			return -1;
		if (range_size(ram.range) == 0)
			continue;
		if (dt->ram_count == HOST_DT_MAX_RAM)
			return fail(r, "more than %d memory ranges", HOST_DT_MAX_RAM);
		dt->ram[dt->ram_count++] = ram;
	}
	return 0;
}

static int read_vmbus_mmio(struct reader *r, int node, struct host_vmbus *bus)
{
	const u8 *p = NULL;
	u32 count = 0;
	struct addr_range mmio;

	if (find_cells(r, node, "ranges", 24, &p, &count) < 0)
		return -1;
	if (count > HOST_DT_MAX_MMIO)
		return fail(r, "%.40s has %u MMIO ranges", node_name(r, node), count);
	for (u32 i = 0; i < count; i++, p += 24) {
		if (get_be64(p) != get_be64(p + 8))
			return fail(r, "%.40s: MMIO range %u is translated", node_name(r, node), i);
		if (make_range(r, node, get_be64(p), get_be64(p + 16), &mmio))
			return -1;
		if (range_size(mmio))
			bus->mmio[bus->mmio_count++] = mmio;
	}
	if (bus->mmio_count == 2 && bus->mmio[1].start < bus->mmio[0].start) {
		mmio = bus->mmio[0];
		bus->mmio[0] = bus->mmio[1];
		bus->mmio[1] = mmio;
	}
	return 0;
}

static int read_vmbus(struct reader *r, int node)
{
	struct host_vmbus *bus;
	u32 vtl, address_cells, size_cells;

	if (need_u32(r, node, "microsoft,vtl", &vtl))
		return -1;
	if (vtl != 0 && vtl != 2)
		return fail(r, "%.40s: VTL %u", node_name(r, node), vtl);
	bus = vtl ? &r->dt->vtl2 : &r->dt->vtl0;
	if (bus->present)
		return fail(r, "two VMBus nodes for VTL%u", vtl);
	bus->present = true;
	if (need_u32(r, node, "#address-cells", &address_cells) ||
	    need_u32(r, node, "#size-cells", &size_cells))
		return -1;
	if (address_cells != 2 || size_cells != 2)
		return fail(r, "%.40s: cells are %u and %u, not 2", node_name(r, node),
			    address_cells, size_cells);
	if (need_u32(r, node, "microsoft,message-connection-id", &bus->connection_id))
		return -1;
	return read_vmbus_mmio(r, node, bus);
}

static int read_simple_bus(struct reader *r, int bus)
{
	int len, node;

	if (!fdt_getprop(r->fdt, bus, "ranges", &len))
		return fail(r, "%.40s has no ranges", node_name(r, bus));
	/* A bus that translates addresses is none of ours. */
	if (len)
		return 0;
	fdt_for_each_subnode(node, r->fdt, bus) if (compatible(r, node, "microsoft,vmbus") &&
						    read_vmbus(r, node)) return -1;
	return 0;
}

static int read_pio_bus(struct reader *r, int bus)
{
	int node;

	fdt_for_each_subnode(node, r->fdt, bus)
	{
		const u8 *reg;
		u32 speed, count;
		int got;

		if (need_u32(r, node, "current-speed", &speed))
			return -1;
		got = find_cells(r, node, "reg", 8, &reg, &count);
		if (got < 0)
			return -1;
		if (!got || count < 2)
			return fail(r, "%.40s has no reg pair", node_name(r, node));
		if (compatible(r, node, "ns16550") && get_be64(reg) == COM3_PORT) {
			r->dt->com3 = true;
			r->dt->com3_speed = speed;
		}
	}
	return 0;
}

static int read_chosen(struct reader *r, int node)
{
	const char *text;
	u32 length;

	if (r->chosen)
		return fail(r, "two chosen nodes");
	r->chosen = true;
	if (!fdt_getprop(r->fdt, node, "bootargs", NULL))
		return 0;
	text = find_string(r, node, "bootargs", &length);
	if (!text || length > HOST_DT_MAX_BOOTARGS)
		return fail(r, "bootargs is not a string of at most %d bytes",
			    HOST_DT_MAX_BOOTARGS);
	memcpy(r->dt->bootargs, text, length + 1);
	r->dt->bootargs_length = length;
	return 0;
}

static int read_entropy(struct reader *r, int node)
{
	int len;
	const void *p = fdt_getprop(r->fdt, node, "reg", &len);

	if (!p)
		return fail(r, "entropy has no reg");
	r->dt->entropy_length = MIN((u32)len, HOST_DT_MAX_ENTROPY);
	memcpy(r->dt->entropy, p, r->dt->entropy_length);
	return 0;
}

/* Sizes that the memory plan computes with: page multiples, below any address */
static int find_size(struct reader *r, int node, const char *name, bool *has, u64 *value)
{
	int got = find_u64(r, node, name, value);

	if (got < 0)
		return -1;
	if (got && (!IS_ALIGNED(*value, PAGE_SIZE) || *value >= BIT(52)))
		return fail(r, "openhcl/%s is %llx", name, (unsigned long long)*value);
	*has = got;
	return 0;
}

static int read_openhcl(struct reader *r, int openhcl)
{
	struct host_dt *dt = r->dt;
	int node, got;

	if (r->openhcl)
		return fail(r, "two openhcl nodes");
	r->openhcl = true;
	dt->self_allocate = string_is(r, openhcl, "memory-allocation-mode", "vtl2");
	if (!dt->self_allocate && !string_is(r, openhcl, "memory-allocation-mode", "host"))
		return fail(r, "memory-allocation-mode is neither host nor vtl2");
	if (dt->self_allocate &&
	    (find_size(r, openhcl, "memory-size", &dt->has_memory_size, &dt->memory_size) ||
	     find_size(r, openhcl, "mmio-size", &dt->has_mmio_size, &dt->mmio_size)))
		return -1;
	got = find_u64(r, openhcl, "vtl0-alias-map", &dt->alias_map);
	if (got < 0)
		return -1;
	dt->has_alias_map = got;
	fdt_for_each_subnode(node, r->fdt, openhcl)
	{
		const char *name = node_name(r, node);
		struct shim_error ignored;
		struct reader lenient = *r;

		lenient.err = &ignored;
		if (strcmp(name, "entropy") == 0) {
			if (read_entropy(r, node))
				return -1;
		} else if (strcmp(name, "keep-alive") == 0) {
			dt->nvme_keep_alive = string_is(r, node, "device-types", "nvme");
		} else if (strcmp(name, "device-dma") == 0) {
			if (find_u64(&lenient, node, "total-pages", &dt->dma_pages) <= 0)
				dt->dma_pages = 0;
		}
	}
	return 0;
}

static int read_root_child(struct reader *r, int node)
{
	const char *name = node_name(r, node);

	if (strcmp(name, "cpus") == 0)
		return read_cpus(r, node);
	if (strncmp(name, "memory@", 7) == 0)
		return read_memory(r, node);
	if (strcmp(name, "chosen") == 0)
		return read_chosen(r, node);
	if (strcmp(name, "openhcl") == 0)
		return read_openhcl(r, node);
	if (compatible(r, node, "simple-bus"))
		return read_simple_bus(r, node);
	if (compatible(r, node, "x86-pio-bus"))
		return read_pio_bus(r, node);
	return 0;
}

/* ---- whole tree */

/* libfdt checks that each token is in bounds; nesting and order of tokens are checked here. */
static int check_structure(struct reader *r)
{
	u32 child_seen = 0; /* bit per depth */
	int depth = 0, offset = 0, next;

	for (;; offset = next) {
		switch (fdt_next_tag(r->fdt, offset, &next)) {
		case FDT_BEGIN_NODE:
			if (depth == 0 && (child_seen & 1))
				return fail(r, "more than one root");
			if (depth == MAX_DEPTH)
				return fail(r, "nodes nest deeper than %d", MAX_DEPTH);
			child_seen |= 1u << depth;
			depth++;
			child_seen &= ~(1u << depth);
			break;
		case FDT_END_NODE:
			if (depth-- == 0)
				return fail(r, "node ends twice");
			break;
		case FDT_PROP:
			if (depth == 0 || (child_seen & 1u << depth))
				return fail(r, "property behind a child node");
			break;
		case FDT_NOP: break;
		case FDT_END:
			if (next < 0 || depth || !(child_seen & 1))
				return fail(r, "structure is cut off");
			if ((u32)next != fdt_size_dt_struct(r->fdt))
				return fail(r, "structure goes on behind its end");
			return 0;
		default: return fail(r, "unknown token");
		}
		if (next <= offset)
			return fail(r, "structure is cut off");
	}
}

static int check_header(struct reader *r, size_t size)
{
	int rc;

	if (size < sizeof(struct fdt_header) || *(const u8 *)r->fdt == 0)
		return fail(r, "there is none");
	if (fdt_magic(r->fdt) != FDT_MAGIC)
		return fail(r, "bad magic %x", fdt_magic(r->fdt));
	if (fdt_totalsize(r->fdt) > size)
		return fail(r, "%u bytes do not fit its area", fdt_totalsize(r->fdt));
	if (fdt_version(r->fdt) < 17 || fdt_last_comp_version(r->fdt) > 16)
		return fail(r, "version %u, compatible to %u", fdt_version(r->fdt),
			    fdt_last_comp_version(r->fdt));
	rc = fdt_check_full(r->fdt, size);
	if (rc)
		return fail(r, "malformed (libfdt error %d)", rc);
	return check_structure(r);
}

/* Heap sort: in place, no recursion, and no bad case for a host to find. */
static void sift_down(struct host_ram *ram, u32 root, u32 count)
{
	struct host_ram moving = ram[root];
	u32 child;

	for (; (child = 2 * root + 1) < count; root = child) {
		if (child + 1 < count && ram[child + 1].range.start > ram[child].range.start)
			child++;
		if (ram[child].range.start <= moving.range.start)
			break;
		ram[root] = ram[child];
	}
	ram[root] = moving;
}

static void sort_ram(struct host_ram *ram, u32 count)
{
	for (u32 i = count / 2; i-- > 0;)
		sift_down(ram, i, count);
	for (u32 n = count; n > 1; n--) {
		struct host_ram top = ram[0];

		ram[0] = ram[n - 1];
		ram[n - 1] = top;
		sift_down(ram, 0, n - 1);
	}
}

static int check_overlaps(struct reader *r)
{
	struct host_dt *dt = r->dt;
	struct addr_range mmio[2 * HOST_DT_MAX_MMIO];
	u32 count = 0;

	for (u32 i = 1; i < dt->ram_count; i++)
		if (dt->ram[i].range.start < dt->ram[i - 1].range.end)
			return fail(r, "memory ranges overlap at %llx",
				    (unsigned long long)dt->ram[i].range.start);
	for (u32 i = 0; i < dt->vtl0.mmio_count; i++)
		mmio[count++] = dt->vtl0.mmio[i];
	for (u32 i = 0; i < dt->vtl2.mmio_count; i++)
		mmio[count++] = dt->vtl2.mmio[i];
	for (u32 i = 0; i < count; i++) {
		for (u32 k = 0; k < i; k++)
			if (range_overlaps(mmio[i], mmio[k]))
				return fail(r, "MMIO ranges overlap at %llx",
					    (unsigned long long)mmio[i].start);
		for (u32 k = 0; k < dt->ram_count; k++)
			if (range_overlaps(mmio[i], dt->ram[k].range))
				return fail(r, "MMIO and memory overlap at %llx",
					    (unsigned long long)mmio[i].start);
	}
	return 0;
}

int host_dt_read(struct host_dt *dt, const void *area, size_t size, struct shim_error *err)
{
	struct reader r = {.fdt = area, .dt = dt, .err = err};
	int node;

	memset(dt, 0, sizeof(*dt));
	if (check_header(&r, size))
		return -1;
	dt->bsp_apic_id = fdt_boot_cpuid_phys(area);
	fdt_for_each_subnode(node, area, 0) if (read_root_child(&r, node)) return -1;
	if (dt->cpu_count == 0)
		return fail(&r, "no processors");
	if (dt->ram_count == 0)
		return fail(&r, "no memory");
	if (!dt->vtl0.present || !dt->vtl2.present)
		return fail(&r, "no VMBus for VTL%d", dt->vtl0.present ? 2 : 0);
	sort_ram(dt->ram, dt->ram_count);
	return check_overlaps(&r);
}
