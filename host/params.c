#include "host/params.h"

#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/bytes.h"
#include "igvm/igvm.h"

/* One entry of the partition's memory map, MEMORY_MAP_ENTRY types of IGVM */
static unsigned map_type(const struct ram_range *r)
{
	return r->kind == RAM_VTL2 ? 3 : 0; /* VTL2_PROTECTABLE : MEMORY */
}

static int write_memory_map(struct vm *vm, u8 *to, u64 room)
{
	if (room < (vm->mem.ram_count + 1) * 24ull)
		return -1;
	for (unsigned i = 0; i < vm->mem.ram_count; i++, to += 24) {
		memset(to, 0, 24);
		put_le64(to, vm->mem.ram[i].gpa / PAGE_SIZE);
		put_le64(to + 8, vm->mem.ram[i].size / PAGE_SIZE);
		put_le16(to + 16, (u16)map_type(&vm->mem.ram[i]));
	}
	memset(to, 0, 24);
	return 0;
}

static int write_mmio(struct vm *vm, u8 *to, u64 room)
{
	if (room < 32)
		return -1;
	put_le64(to, LOW_MMIO_BASE / PAGE_SIZE);
	put_le64(to + 8, (LOW_MMIO_END - LOW_MMIO_BASE) / PAGE_SIZE);
	put_le64(to + 16, vm->mem.high_mmio / PAGE_SIZE);
	put_le64(to + 24, HIGH_MMIO_SIZE / PAGE_SIZE);
	return 0;
}

/* ---- ACPI tables ---- */

static void acpi_header(u8 *t, const char *signature, u32 len, u8 revision)
{
	u8 sum = 0;

	memcpy(t, signature, 4);
	put_le32(t + 4, len);
	t[8] = revision;
	memcpy(t + 10, "PARAPT", 6);
	memcpy(t + 16, "PARAPET ", 8);
	put_le32(t + 24, 1);
	memcpy(t + 28, "PRPT", 4);
	put_le32(t + 32, 1);
	t[9] = 0;
	for (u32 i = 0; i < len; i++)
		sum = (u8)(sum + t[i]);
	t[9] = (u8)-sum;
}

static int write_madt(struct vm *vm, u8 *to, u64 room)
{
	u32 len = 44 + vm->vps * 8;
	u8 *e = to + 44;

	if (room < len)
		return -1;
	memset(to, 0, len);
	put_le32(to + 36, (u32)APIC_PAGE);
	for (unsigned i = 0; i < vm->vps; i++, e += 8) {
		e[0] = 0; /* processor local APIC */
		e[1] = 8;
		e[2] = (u8)i;
		e[3] = (u8)vm->vp[i].apic_id;
		put_le32(e + 4, 1);
	}
	acpi_header(to, "APIC", len, 4);
	return 0;
}

static int write_srat(struct vm *vm, u8 *to, u64 room)
{
	u32 len = 48 + vm->vps * 16 + vm->mem.ram_count * 40;
	u8 *e = to + 48;

	if (room < len)
		return -1;
	memset(to, 0, len);
	put_le32(to + 36, 1);
	for (unsigned i = 0; i < vm->vps; i++, e += 16) {
		e[0] = 0; /* processor local APIC affinity */
		e[1] = 16;
		e[3] = (u8)vm->vp[i].apic_id;
		put_le32(e + 4, 1);
	}
	for (unsigned i = 0; i < vm->mem.ram_count; i++, e += 40) {
		e[0] = 1; /* memory affinity */
		e[1] = 40;
		put_le64(e + 8, vm->mem.ram[i].gpa);
		put_le64(e + 16, vm->mem.ram[i].size);
		put_le32(e + 28, 1);
	}
	acpi_header(to, "SRAT", len, 3);
	return 0;
}

static int write_command_line(struct vm *vm, u8 *to, u64 room)
{
	const char *s = vm->config->bootargs ? vm->config->bootargs : "";

	if (strlen(s) + 1 > room)
		return -1;
	memcpy(to, s, strlen(s) + 1);
	return 0;
}

/* ---- device tree ---- */

/* Remembers the first failure of a chain of libfdt calls. */
struct tree {
	void *fdt;
	int err;
};

static void check(struct tree *t, int err)
{
	if (err < 0 && !t->err)
		t->err = err;
}

static void begin(struct tree *t, const char *name)
{
	check(t, fdt_begin_node(t->fdt, name));
}

static void end(struct tree *t)
{
	check(t, fdt_end_node(t->fdt));
}

static void prop_u32(struct tree *t, const char *name, u32 v)
{
	check(t, fdt_property_u32(t->fdt, name, v));
}

static void prop_string(struct tree *t, const char *name, const char *v)
{
	check(t, fdt_property_string(t->fdt, name, v));
}

static void prop_u64s(struct tree *t, const char *name, const u64 *v, unsigned n)
{
	fdt64_t cells[8];

	for (unsigned i = 0; i < n; i++)
		cells[i] = cpu_to_fdt64(v[i]);
	check(t, fdt_property(t->fdt, name, cells, (int)(n * 8)));
}

static void cells(struct tree *t, u32 address, u32 size)
{
	prop_u32(t, "#address-cells", address);
	prop_u32(t, "#size-cells", size);
}

static void write_cpus(struct tree *t, const struct vm *vm)
{
	char name[32];

	begin(t, "cpus");
	cells(t, 1, 0);
	for (unsigned i = 0; i < vm->vps; i++) {
		snprintf(name, sizeof(name), "cpu@%x", i + 1);
		begin(t, name);
		prop_string(t, "device_type", "cpu");
		prop_u32(t, "reg", vm->vp[i].apic_id);
		prop_u32(t, "numa-node-id", 0);
		prop_string(t, "status", "okay");
		end(t);
	}
	end(t);
}

static void write_vmbus(struct tree *t, const char *name, u32 vtl, u32 connection,
			const u64 *ranges, unsigned n)
{
	begin(t, name);
	prop_string(t, "compatible", "microsoft,vmbus");
	cells(t, 2, 2);
	prop_u64s(t, "ranges", ranges, n);
	prop_u32(t, "microsoft,vtl", vtl);
	prop_u32(t, "microsoft,message-connection-id", connection);
	end(t);
}

static void write_bus(struct tree *t, const struct vm *vm)
{
	const u64 vtl0[] = {LOW_MMIO_BASE,     LOW_MMIO_BASE,	  LOW_MMIO_END - LOW_MMIO_BASE,
			    vm->mem.high_mmio, vm->mem.high_mmio, HIGH_MMIO_SIZE};
	const u64 vtl2[] = {vm->mem.vtl2_mmio, vm->mem.vtl2_mmio, VTL2_MMIO_SIZE};
	char name[64];

	begin(t, "bus");
	prop_string(t, "compatible", "simple-bus");
	cells(t, 2, 2);
	check(t, fdt_property(t->fdt, "ranges", NULL, 0));
	snprintf(name, sizeof(name), "vmbus-vtl0@%llx", (unsigned long long)vtl0[0]);
	write_vmbus(t, name, 0, HV_CONNECTION_VMBUS_VTL0, vtl0, 6);
	snprintf(name, sizeof(name), "vmbus-vtl2@%llx", (unsigned long long)vtl2[0]);
	write_vmbus(t, name, 2, HV_CONNECTION_VMBUS_MULTI, vtl2, 3);
	end(t);
}

static void write_serial(struct tree *t)
{
	const u64 reg[] = {0x3e8, 8};

	begin(t, "pio-bus");
	prop_string(t, "compatible", "x86-pio-bus");
	cells(t, 1, 1);
	check(t, fdt_property(t->fdt, "ranges", NULL, 0));
	begin(t, "serial@3e8");
	prop_string(t, "compatible", "ns16550");
	prop_u32(t, "clock-frequency", 0);
	prop_u32(t, "current-speed", 115200);
	prop_u64s(t, "reg", reg, 2);
	end(t);
	end(t);
}

static void write_openhcl(struct tree *t)
{
	u8 entropy[64];

	begin(t, "openhcl");
	prop_string(t, "memory-allocation-mode", "host");
	if (getrandom(entropy, sizeof(entropy), 0) == sizeof(entropy)) {
		begin(t, "entropy");
		check(t, fdt_property(t->fdt, "reg", entropy, sizeof(entropy)));
		end(t);
	}
	end(t);
}

/* The host's device tree for VTL2, as OpenVMM writes it. */
static int write_device_tree(struct vm *vm, u8 *to, u64 room)
{
	struct tree t = {.fdt = to};
	char name[64];

	if (room > INT32_MAX)
		room = INT32_MAX;
	check(&t, fdt_create(to, (int)room));
	check(&t, fdt_finish_reservemap(to));
	begin(&t, "");
	cells(&t, 2, 2);
	prop_string(&t, "model", "microsoft,hyperv");
	write_cpus(&t, vm);
	for (unsigned i = vm->mem.ram_count; i-- > 0;) {
		const struct ram_range *r = &vm->mem.ram[i];
		const u64 reg[] = {r->gpa, r->size};

		snprintf(name, sizeof(name), "memory@%llx", (unsigned long long)r->gpa);
		begin(&t, name);
		prop_string(&t, "device_type", "memory");
		prop_u64s(&t, "reg", reg, 2);
		prop_u32(&t, "numa-node-id", 0);
		prop_u32(&t, "microsoft,igvm-type", map_type(r));
		end(&t);
	}
	write_bus(&t, vm);
	if (vm->config->vtl2_serial)
		write_serial(&t);
	begin(&t, "chosen");
	prop_string(&t, "bootargs", vm->config->bootargs ? vm->config->bootargs : "");
	end(&t);
	write_openhcl(&t);
	end(&t);
	check(&t, fdt_finish(to));
	if (t.err)
		return -1;
	fdt_set_boot_cpuid_phys(to, vm->vp[0].apic_id);
	return 0;
}

int params_write(struct vm *vm, u32 type, u8 *to, u64 room)
{
	switch (type) {
	case IGVM_VP_COUNT:
		if (room < 4)
			return -1;
		put_le32(to, vm->vps);
		return 0;
	case IGVM_ENVIRONMENT_INFO:
		if (room < 4)
			return -1;
		put_le32(to, 0);
		return 0;
	case IGVM_MMIO_RANGES: return write_mmio(vm, to, room);
	case IGVM_MEMORY_MAP: return write_memory_map(vm, to, room);
	case IGVM_COMMAND_LINE: return write_command_line(vm, to, room);
	case IGVM_MADT: return write_madt(vm, to, room);
	case IGVM_SRAT: return write_srat(vm, to, room);
	case IGVM_DEVICE_TREE: return write_device_tree(vm, to, room);
	default: return 0; /* SLIT, PPTT: one node, no cache tables: left empty */
	}
}
