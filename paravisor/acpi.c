/* ACPI tables, written byte by byte; offsets and encodings are those of the ACPI specification. */
#include "paravisor/acpi.h"

#include "common/bytes.h"

#include <string.h>

#define HEADER_SIZE	  36
#define HEADER_LENGTH	  4
#define HEADER_CHECKSUM	  9
#define RSDP_SIZE	  36
#define FACS_SIZE	  64
#define FADT_SIZE	  276
#define FIRST_X2APIC_ID	  255 /* smaller ids have the old LAPIC entries */
#define ACPI_ENABLED	  1u
#define POLARITY_HIGH	  1u
#define TRIGGER_LEVEL	  (3u << 2)
#define GAS_SYSTEM_IO	  1
#define PCAT_COMPATIBLE	  1u
#define PM_PROFILE_SERVER 4

/* A cursor that remembers when something did not fit; nothing is written past the end. */
struct writer {
	u8 *base;
	size_t at, size;
	bool full;
};

static u8 *put(struct writer *w, const void *bytes, size_t n)
{
	static u8 sink[HEADER_SIZE];
	u8 *p;

	if (w->full || n > w->size - w->at) {
		w->full = true;
		return sink;
	}
	p = w->base + w->at;
	if (bytes)
		memcpy(p, bytes, n);
	else
		memset(p, 0, n);
	w->at += n;
	return p;
}

static void put8(struct writer *w, u8 v)
{
	put(w, &v, 1);
}

static void put16(struct writer *w, u16 v)
{
	put_le16(put(w, NULL, 2), v);
}

static void put32(struct writer *w, u32 v)
{
	put_le32(put(w, NULL, 4), v);
}

static void put64(struct writer *w, u64 v)
{
	put_le64(put(w, NULL, 8), v);
}

static void align(struct writer *w, size_t to)
{
	put(w, NULL, (size_t)ALIGN_UP(w->at, to) - w->at);
}

static u8 checksum(const u8 *p, size_t n)
{
	u8 sum = 0;

	while (n--)
		sum = (u8)(sum + *p++);
	return (u8)-sum;
}

/* Starts a table; the offset goes to table_end. */
static size_t table_begin(struct writer *w, const char *signature, u8 revision)
{
	size_t start;

	align(w, 16);
	start = w->at;
	put(w, signature, 4);
	put32(w, 0);
	put8(w, revision);
	put8(w, 0);
	put(w, "PARAPT", 6);
	put(w, "PARAPET ", 8);
	put32(w, 1);
	put(w, "PRPT", 4);
	put32(w, 1);
	return start;
}

static void table_end(struct writer *w, size_t start)
{
	u8 *table = w->base + start;

	if (w->full)
		return;
	put_le32(table + HEADER_LENGTH, (u32)(w->at - start));
	table[HEADER_CHECKSUM] = checksum(table, w->at - start);
}

static void gas_io(u8 *gas, u16 port, u8 bytes)
{
	if (!port)
		return;
	gas[0] = GAS_SYSTEM_IO;
	gas[1] = (u8)(bytes * 8);
	gas[3] = bytes == 1 ? 1 : bytes == 2 ? 2 : 3; /* access size */
	put_le64(gas + 4, port);
}

#define FADT_WBINVD	     BIT(0)
#define FADT_PROC_C1	     BIT(2)
#define FADT_SLEEP_BUTTON    BIT(5) /* set: there is none */
#define FADT_TIMER_32BIT     BIT(8)
#define FADT_RESET_SUPPORTED BIT(10)
#define FADT_HEADLESS	     BIT(12)

static void build_fadt(struct writer *w, const struct acpi_chipset *c, u64 facs, u64 dsdt)
{
	size_t start = table_begin(w, "FACP", 6);
	u8 *body = put(w, NULL, FADT_SIZE - HEADER_SIZE);
	u8 *t; /* offsets as in the specification */
	u32 flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLEEP_BUTTON | FADT_HEADLESS;

	if (w->full)
		return;
	t = body - HEADER_SIZE;
	put_le32(t + 36, (u32)facs);
	put_le32(t + 40, (u32)dsdt);
	t[45] = PM_PROFILE_SERVER;
	put_le16(t + 46, c->sci_irq);
	/* no SMI command port: the chipset is in ACPI mode from the start */
	put_le32(t + 56, c->pm1_event_port);
	put_le32(t + 64, c->pm1_control_port);
	put_le32(t + 76, c->pm_timer_port);
	t[88] = 4;
	t[89] = 2;
	t[91] = c->pm_timer_port ? 4 : 0;
	put_le16(t + 96, 101);		    /* C2 not supported */
	put_le16(t + 98, 1001);		    /* C3 not supported */
	t[108] = 0x32;			    /* century byte of the CMOS */
	put_le16(t + 109, BIT(0) | BIT(2)); /* legacy devices, but no VGA and no 8042 */
	if (c->pm_timer_32bit)
		flags |= FADT_TIMER_32BIT;
	if (c->reset_port) {
		flags |= FADT_RESET_SUPPORTED;
		gas_io(t + 116, c->reset_port, 1);
		t[128] = c->reset_value;
	}
	put_le32(t + 112, flags);
	t[131] = 4; /* ACPI 6.4 */
	put_le64(t + 140, dsdt);
	gas_io(t + 148, c->pm1_event_port, 4);
	gas_io(t + 172, c->pm1_control_port, 2);
	gas_io(t + 208, c->pm_timer_port, 4);
	memcpy(t + 268, "Parapet\0", 8);
	table_end(w, start);
}

static void isa_override(struct writer *w, u8 irq, u32 gsi, u16 flags)
{
	put8(w, 2);
	put8(w, 10);
	put8(w, 0);
	put8(w, irq);
	put32(w, gsi);
	put16(w, flags);
}

static void build_madt(struct writer *w, const struct config *config, const struct acpi_chipset *c)
{
	size_t start = table_begin(w, "APIC", 5);

	put32(w, 0xfee00000);
	put32(w, PCAT_COMPATIBLE);
	for (u32 i = 0; i < config->vp_count; i++) {
		u32 id = config->apic_id[i];

		if (id < FIRST_X2APIC_ID) {
			put8(w, 0);
			put8(w, 8);
			put8(w, (u8)i);
			put8(w, (u8)id);
			put32(w, ACPI_ENABLED);
		} else {
			put8(w, 9);
			put8(w, 16);
			put16(w, 0);
			put32(w, id);
			put32(w, ACPI_ENABLED);
			put32(w, i);
		}
	}
	put8(w, 1);
	put8(w, 12);
	put8(w, c->ioapic_id);
	put8(w, 0);
	put32(w, c->ioapic_base);
	put32(w, 0);
	if (c->timer_gsi)
		isa_override(w, 0, c->timer_gsi, 0);
	isa_override(w, c->sci_irq, c->sci_irq, POLARITY_HIGH | TRIGGER_LEVEL);
	/* NMI on LINT1 of every processor */
	put8(w, 4);
	put8(w, 6);
	put8(w, 0xff);
	put16(w, 0);
	put8(w, 1);
	table_end(w, start);
}

static void build_srat(struct writer *w, const struct config *config)
{
	size_t start = table_begin(w, "SRAT", 3);

	put32(w, 1);
	put64(w, 0);
	for (u32 i = 0; i < config->vp_count; i++) {
		u32 id = config->apic_id[i];
		u32 node = config->vp_node[i];

		if (id < FIRST_X2APIC_ID) {
			put8(w, 0);
			put8(w, 16);
			put8(w, (u8)node);
			put8(w, (u8)id);
			put32(w, ACPI_ENABLED);
			put8(w, 0);
			put8(w, (u8)(node >> 8));
			put8(w, (u8)(node >> 16));
			put8(w, (u8)(node >> 24));
			put32(w, 0);
		} else {
			put8(w, 2);
			put8(w, 24);
			put16(w, 0);
			put32(w, node);
			put32(w, id);
			put32(w, ACPI_ENABLED);
			put32(w, 0);
			put32(w, 0);
		}
	}
	for (u32 i = 0; i < config->range_count; i++) {
		const struct config_range *range = &config->range[i];

		if (range->type != SHIM_MEM_VTL0)
			continue;
		put8(w, 1);
		put8(w, 40);
		put32(w, range->node);
		put16(w, 0);
		put64(w, range->base);
		put64(w, range->size);
		put32(w, 0);
		put32(w, ACPI_ENABLED);
		put64(w, 0);
	}
	table_end(w, start);
}

/* ---- AML (ACPI specification, chapter 20) ---- */
#define AML_ZERO    0x00
#define AML_NAME    0x08
#define AML_BYTE    0x0a
#define AML_DWORD   0x0c
#define AML_STRING  0x0d
#define AML_SCOPE   0x10
#define AML_BUFFER  0x11
#define AML_PACKAGE 0x12
#define AML_EXT	    0x5b
#define AML_DEVICE  0x82

/* Two-byte package length over everything from here to aml_end: up to 4095 bytes. */
static size_t aml_begin(struct writer *w)
{
	size_t at = w->at;

	put16(w, 0);
	return at;
}

static void aml_end(struct writer *w, size_t at)
{
	size_t length = w->at - at;

	if (w->full)
		return;
	w->base[at] = (u8)(0x40 | (length & 0xf));
	w->base[at + 1] = (u8)(length >> 4);
}

/* EisaId (id): three letters of 5 bits, then four hex digits, big endian */
static void aml_eisa_id(struct writer *w, const char *id)
{
	u32 digits = 0;

	for (int i = 3; i < 7; i++)
		digits = digits << 4 | (u32)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	put8(w, AML_DWORD);
	put8(w, (u8)((id[0] - '@') << 2 | (id[1] - '@') >> 3));
	put8(w, (u8)((id[1] - '@') << 5 | (id[2] - '@')));
	put8(w, (u8)(digits >> 8));
	put8(w, (u8)digits);
}

static void aml_name(struct writer *w, const char *name)
{
	put8(w, AML_NAME);
	put(w, name, 4);
}

static void aml_name_byte(struct writer *w, const char *name, u8 value)
{
	aml_name(w, name);
	put8(w, AML_BYTE);
	put8(w, value);
}

struct isa_device {
	const char *name, *hid; /* a hid of 7 characters is an EISA id, of 8 a string */
	u8 uid;
	u16 port;
	u8 ports;
	u8 irq; /* 0: none */
};

/* I/O range and ISA interrupt as a resource template (6.4.2: small descriptors) */
static void aml_resources(struct writer *w, const struct isa_device *device)
{
	size_t buffer;

	aml_name(w, "_CRS");
	put8(w, AML_BUFFER);
	buffer = aml_begin(w);
	put8(w, AML_BYTE);
	put8(w, device->irq ? 8 + 3 + 2 : 8 + 2);
	put8(w, 0x47); /* I/O port descriptor */
	put8(w, 1);    /* 16-bit decode */
	put16(w, device->port);
	put16(w, device->port);
	put8(w, 1);
	put8(w, device->ports);
	if (device->irq) {
		put8(w, 0x22); /* IRQ descriptor without flags: edge, active high */
		put16(w, (u16)(1u << device->irq));
	}
	put8(w, 0x79); /* end tag, no checksum */
	put8(w, 0);
	aml_end(w, buffer);
}

static void aml_isa_device(struct writer *w, const struct isa_device *device)
{
	size_t body;

	if (!device->port)
		return;
	put8(w, AML_EXT);
	put8(w, AML_DEVICE);
	body = aml_begin(w);
	put(w, device->name, 4);
	aml_name(w, "_HID");
	if (strlen(device->hid) == 7) {
		aml_eisa_id(w, device->hid);
	} else {
		put8(w, AML_STRING);
		put(w, device->hid, strlen(device->hid) + 1);
	}
	aml_name_byte(w, "_UID", device->uid);
	aml_resources(w, device);
	aml_end(w, body);
}

#define ACPI_QWORD_MEMORY 0x8a
#define ACPI_RANGE_FIXED  (BIT(2) | BIT(3)) /* both ends; produced for the devices below */
#define ACPI_MEMORY_WRITE 1u
#define AML_WINDOW	  46u /* bytes of a memory descriptor */
#define AML_WINDOWS	  4u  /* a buffer size of one byte holds no more */

/* The MMIO ranges of the guest as resources that VMBus devices may use (6.4.3.5.1) */
static void aml_windows(struct writer *w, const struct config *config)
{
	u32 count = 0;
	size_t buffer;

	for (u32 i = 0; i < config->range_count; i++)
		count += config->range[i].type == SHIM_MEM_VTL0_MMIO;
	count = MIN(count, AML_WINDOWS);
	aml_name(w, "_CRS");
	put8(w, AML_BUFFER);
	buffer = aml_begin(w);
	put8(w, AML_BYTE);
	put8(w, (u8)(count * AML_WINDOW + 2));
	for (u32 i = 0; i < config->range_count && count; i++) {
		const struct config_range *range = &config->range[i];

		if (range->type != SHIM_MEM_VTL0_MMIO)
			continue;
		count--;
		put8(w, ACPI_QWORD_MEMORY);
		put16(w, AML_WINDOW - 3);
		put8(w, 0); /* memory */
		put8(w, ACPI_RANGE_FIXED);
		put8(w, ACPI_MEMORY_WRITE);
		put64(w, 0);
		put64(w, range->base);
		put64(w, range->base + range->size - 1);
		put64(w, 0);
		put64(w, range->size);
	}
	put8(w, 0x79); /* end tag, no checksum */
	put8(w, 0);
	aml_end(w, buffer);
}

static void aml_name_string(struct writer *w, const char *name, const char *value)
{
	aml_name(w, name);
	put8(w, AML_STRING);
	put(w, value, strlen(value) + 1);
}

/* By these nodes Linux and Windows find VMBus; the names are those that Hyper-V gives them. */
static void aml_vmbus(struct writer *w, const struct config *config)
{
	size_t module, bus;

	put8(w, AML_EXT);
	put8(w, AML_DEVICE);
	module = aml_begin(w);
	put(w, "VMOD", 4);
	aml_name_string(w, "_HID", "ACPI0004");
	aml_name_byte(w, "_UID", 0);
	aml_windows(w, config);
	put8(w, AML_EXT);
	put8(w, AML_DEVICE);
	bus = aml_begin(w);
	put(w, "VMBS", 4);
	aml_name_string(w, "_HID", "VMBus");
	aml_name_string(w, "_DDN", "VMBUS");
	aml_name_byte(w, "_UID", 0);
	aml_name_byte(w, "_STA", 0xf);
	aml_end(w, bus);
	aml_end(w, module);
}

static void build_dsdt(struct writer *w, const struct config *config, const struct acpi_chipset *c)
{
	const struct isa_device devices[] = {
		{"COM1", "PNP0501", 1, c->com[0].port, 8, c->com[0].irq},
		{"COM2", "PNP0501", 2, c->com[1].port, 8, c->com[1].irq},
		{"RTC0", "PNP0B00", 0, c->rtc_port, 2, c->rtc_irq},
		{"PEVT", "QEMU0001", 0, c->panic_port, 1, 0},
	};
	size_t start = table_begin(w, "DSDT", 2);
	size_t scope, package;

	put8(w, AML_NAME);
	put(w, "_S5_", 4);
	put8(w, AML_PACKAGE);
	package = aml_begin(w);
	put8(w, 4);
	put8(w, AML_BYTE);
	put8(w, c->sleep_type_s5);
	put8(w, AML_BYTE);
	put8(w, c->sleep_type_s5);
	put8(w, AML_ZERO);
	put8(w, AML_ZERO);
	aml_end(w, package);

	put8(w, AML_SCOPE);
	scope = aml_begin(w);
	put(w, "\\_SB_", 5);
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		aml_isa_device(w, &devices[i]);
	aml_vmbus(w, config);
	aml_end(w, scope);
	table_end(w, start);
}

size_t acpi_build(const struct config *config, const struct acpi_chipset *chipset, u64 gpa, u8 *out,
		  size_t size)
{
	struct writer w = {.base = out, .size = size};
	size_t facs, dsdt, fadt, madt, srat, xsdt;
	u8 *rsdp = put(&w, NULL, RSDP_SIZE);
	u8 *t;

	align(&w, 64);
	facs = w.at;
	t = put(&w, NULL, FACS_SIZE);
	if (!w.full) {
		memcpy(t, "FACS", 4);
		put_le32(t + 4, FACS_SIZE);
		t[32] = 2; /* version */
	}
	dsdt = ALIGN_UP(w.at, 16);
	build_dsdt(&w, config, chipset);
	fadt = ALIGN_UP(w.at, 16);
	build_fadt(&w, chipset, gpa + facs, gpa + dsdt);
	madt = ALIGN_UP(w.at, 16);
	build_madt(&w, config, chipset);
	srat = ALIGN_UP(w.at, 16);
	build_srat(&w, config);
	xsdt = table_begin(&w, "XSDT", 1);
	put64(&w, gpa + fadt);
	put64(&w, gpa + madt);
	put64(&w, gpa + srat);
	table_end(&w, xsdt);
	if (w.full)
		return 0;

	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "PARAPT", 6);
	rsdp[15] = 2;
	put_le32(rsdp + 20, RSDP_SIZE);
	put_le64(rsdp + 24, gpa + xsdt);
	rsdp[8] = checksum(rsdp, 20);
	rsdp[32] = checksum(rsdp, RSDP_SIZE);
	return w.at;
}
