/* Writer of the device tree for Linux; sequential, into a fixed buffer. */
#include "loader/linux_dt.h"

#include <libfdt.h>

#include "common/bytes.h"
#include "loader/format.h"

/* First libfdt error sticks: the writer checks once at the end. */
struct writer {
	void *fdt;
	int rc;
};

static void begin(struct writer *w, const char *name)
{
	if (!w->rc)
		w->rc = fdt_begin_node(w->fdt, name);
}

static void begin_at(struct writer *w, const char *name, u64 unit)
{
	char full[48];

	shim_format(full, sizeof(full), "%s@%llx", name, (unsigned long long)unit);
	begin(w, full);
}

static void end(struct writer *w)
{
	if (!w->rc)
		w->rc = fdt_end_node(w->fdt);
}

static void add_data(struct writer *w, const char *name, const void *data, u32 length)
{
	if (!w->rc)
		w->rc = fdt_property(w->fdt, name, data, (int)length);
}

static void add_u32(struct writer *w, const char *name, u32 value)
{
	if (!w->rc)
		w->rc = fdt_property_u32(w->fdt, name, value);
}

static void add_u64(struct writer *w, const char *name, u64 value)
{
	if (!w->rc)
		w->rc = fdt_property_u64(w->fdt, name, value);
}

static void add_text(struct writer *w, const char *name, const char *value)
{
	if (!w->rc)
		w->rc = fdt_property_string(w->fdt, name, value);
}

static void add_empty(struct writer *w, const char *name)
{
	add_data(w, name, NULL, 0);
}

static void add_cells(struct writer *w, u32 address, u32 size)
{
	add_u32(w, "#address-cells", address);
	add_u32(w, "#size-cells", size);
}

static void add_reg(struct writer *w, struct addr_range range)
{
	fdt64_t reg[2] = {cpu_to_fdt64(range.start), cpu_to_fdt64(range_size(range))};

	add_data(w, "reg", reg, sizeof(reg));
}

static void write_reservations(struct writer *w, const struct memory_plan *plan)
{
	for (u32 i = 0; i < plan->entry_count && !w->rc; i++) {
		const struct plan_entry *e = &plan->entry[i];

		if (plan_type_is_reserved(e->type))
			w->rc = fdt_add_reservemap_entry(w->fdt, e->range.start,
							 range_size(e->range));
	}
	if (!w->rc)
		w->rc = fdt_finish_reservemap(w->fdt);
}

static void write_cpus(struct writer *w, const struct host_dt *host)
{
	begin(w, "cpus");
	add_cells(w, 1, 0);
	for (u32 i = 0; i < host->cpu_count; i++) {
		char name[24];

		shim_format(name, sizeof(name), "cpu@%u", i + 1);
		begin(w, name);
		add_text(w, "device_type", "cpu");
		add_u32(w, "reg", host->cpu[i].apic_id);
		add_u32(w, "numa-node-id", host->cpu[i].node);
		add_text(w, "status", "okay");
		end(w);
	}
	end(w);
}

static void write_memory(struct writer *w, const struct memory_plan *plan)
{
	for (u32 i = 0; i < plan->ram_count; i++) {
		begin_at(w, "memory", plan->ram[i].range.start);
		add_text(w, "device_type", "memory");
		add_reg(w, plan->ram[i].range);
		add_u32(w, "numa-node-id", plan->ram[i].node);
		end(w);
	}
}

/* VTL2's own VMBus; VTL0's is the paravisor's business and is found in /openhcl. */
static void write_bus(struct writer *w, const struct linux_dt_input *in)
{
	fdt64_t ranges[3 * HOST_DT_MAX_MMIO];

	for (u32 i = 0; i < in->plan->mmio2_count; i++) {
		struct addr_range r = in->plan->mmio2[i];

		ranges[3 * i] = ranges[3 * i + 1] = cpu_to_fdt64(r.start);
		ranges[3 * i + 2] = cpu_to_fdt64(range_size(r));
	}
	begin(w, "bus");
	add_text(w, "compatible", "simple-bus");
	add_cells(w, 2, 2);
	add_empty(w, "ranges");
	begin(w, "vmbus");
	add_cells(w, 2, 2);
	add_empty(w, "dma-coherent");
	add_data(w, "ranges", ranges, in->plan->mmio2_count * 24);
	add_text(w, "compatible", "microsoft,vmbus");
	add_u32(w, "microsoft,vtl", 2);
	add_u32(w, "microsoft,message-connection-id", in->host->vtl2.connection_id);
	end(w);
	end(w);
}

static void write_openhcl(struct writer *w, const struct linux_dt_input *in)
{
	const struct host_dt *host = in->host;

	begin(w, "openhcl");
	add_text(w, "isolation-type", isolation_name(in->isolation));
	add_text(w, "memory-allocation-mode", host->self_allocate ? "vtl2" : "host");
	if (host->self_allocate && host->has_memory_size)
		add_u64(w, "memory-size", host->memory_size);
	if (host->self_allocate && host->has_mmio_size)
		add_u64(w, "mmio-size", host->mmio_size);
	if (in->has_alias_map)
		add_u64(w, "vtl0-alias-map", in->alias_map);
	for (u32 i = 0; i < in->plan->entry_count; i++) {
		const struct plan_entry *e = &in->plan->entry[i];

		begin_at(w, "memory", e->range.start);
		/* A type that Linux does not take for its own memory */
		add_text(w, "device_type", "memory-openhcl");
		add_reg(w, e->range);
		if (!plan_type_is_mmio(e->type)) {
			add_u32(w, "numa-node-id", e->node);
			add_u32(w, "microsoft,igvm-type", e->host_type);
		}
		add_u32(w, "openhcl,memory-type", e->type);
		end(w);
	}
	for (u32 i = 0; i < in->imported->count; i++) {
		begin_at(w, "accepted-memory", in->imported->entry[i].range.start);
		add_reg(w, in->imported->entry[i].range);
		end(w);
	}
	if (host->entropy_length) {
		begin(w, "entropy");
		add_data(w, "reg", host->entropy, host->entropy_length);
		end(w);
	}
	end(w);
}

s64 linux_dt_write(void *buf, size_t size, const struct linux_dt_input *in, struct shim_error *err)
{
	struct writer w = {.fdt = buf};

	w.rc = fdt_create(buf, (int)size);
	write_reservations(&w, in->plan);
	begin(&w, "");
	add_cells(&w, 2, 2);
	add_text(&w, "compatible", "microsoft,openvmm");
	if (in->has_times) {
		add_u64(&w, "reftime_boot_start", in->boot_start);
		add_u64(&w, "reftime_boot_end", in->boot_end);
	}
	begin(&w, "hypervisor");
	add_text(&w, "compatible", "microsoft,hyperv");
	end(&w);
	write_cpus(&w, in->host);
	write_memory(&w, in->plan);
	write_bus(&w, in);
	write_openhcl(&w, in);
	end(&w);
	if (!w.rc)
		w.rc = fdt_finish(buf);
	if (w.rc)
		return shim_fail(err,
				 "device tree for Linux: %u processors and %u memory ranges do "
				 "not fit %zu bytes (libfdt error %d)",
				 in->host->cpu_count, in->plan->entry_count, size, w.rc);
	fdt_set_boot_cpuid_phys(buf, in->host->bsp_apic_id);
	return fdt_totalsize(buf);
}
