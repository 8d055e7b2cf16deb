/* Port and MMIO dispatch: lookup, splitting of odd accesses, accounting of unclaimed ones. */
#include <string.h>

#include "vtl2-devices/bus.h"

_Static_assert(PIO_REGIONS_MAX < 256, "a region number + 1 must fit the port index");

static bool takes(const struct bus_region *r, u64 address, unsigned size)
{
	u64 offset = address - r->base;

	return (size == 1 || (r->widths & size)) && offset < r->len && size <= r->len - offset;
}

static u64 region_read(const struct bus_region *r, u64 address, unsigned size)
{
	if (!r->ops->read)
		return bus_ones(size);
	return r->ops->read(r->ctx, address - r->base, size) & bus_ones(size);
}

static void region_write(const struct bus_region *r, u64 address, unsigned size, u64 value)
{
	if (r->ops->write)
		r->ops->write(r->ctx, address - r->base, size, value & bus_ones(size));
}

static void inspect_region(const struct bus_region *r, const struct dev_inspect *out)
{
	dev_inspect_line(out, "  %09llx-%09llx %s", (unsigned long long)r->base,
			 (unsigned long long)(r->base + r->len - 1), r->name);
}

static void inspect_stats(const char *bus, const struct bus_stats *s, const struct dev_inspect *out)
{
	dev_inspect_line(out, "%s: reads %llu writes %llu unclaimed reads %llu writes %llu", bus,
			 (unsigned long long)s->reads, (unsigned long long)s->writes,
			 (unsigned long long)s->unclaimed_reads,
			 (unsigned long long)s->unclaimed_writes);
}

/* --- ports --- */

void pio_init(struct pio_bus *bus, const struct bus_unclaimed *unclaimed)
{
	memset(bus, 0, sizeof(*bus));
	if (unclaimed)
		bus->unclaimed = *unclaimed;
}

bool pio_register(struct pio_bus *bus, const struct bus_region *region)
{
	if (bus->count == PIO_REGIONS_MAX || !region->ops || region->len == 0 ||
	    region->base >= PIO_PORTS || region->len > PIO_PORTS - region->base)
		return false;
	for (u64 p = region->base; p < region->base + region->len; p++)
		if (bus->index[p])
			return false;

	bus->region[bus->count++] = *region;
	memset(&bus->index[region->base], (int)bus->count, region->len);
	return true;
}

/* The only region that [port, port + size) touches; NULL with *none set if no byte is claimed. */
static const struct bus_region *pio_find(const struct pio_bus *bus, u32 port, unsigned size,
					 bool *none)
{
	u8 first = port < PIO_PORTS ? bus->index[port] : 0;
	u8 any = first;

	for (unsigned i = 1; i < size && port + i < PIO_PORTS; i++)
		any |= bus->index[port + i];
	*none = any == 0;
	return first ? &bus->region[first - 1] : NULL;
}

static void pio_unclaimed(struct pio_bus *bus, u32 port, unsigned size, bool write, u32 value)
{
	u8 bit;

	if (port >= PIO_PORTS)
		return; /* the part of an access that runs past the last port */
	if (write)
		bus->stats.unclaimed_writes++;
	else
		bus->stats.unclaimed_reads++;
	bit = (u8)(1u << (port % 8));
	if (bus->seen[port / 8] & bit)
		return;
	bus->seen[port / 8] |= bit;
	if (bus->unclaimed.first)
		bus->unclaimed.first(bus->unclaimed.ctx, port, size, write, value);
}

static u32 pio_read_part(struct pio_bus *bus, u32 port, unsigned size)
{
	unsigned half = size / 2;
	bool none;
	const struct bus_region *r = pio_find(bus, port, size, &none);

	if (r && takes(r, port, size))
		return (u32)region_read(r, port, size);
	if (none) {
		pio_unclaimed(bus, port, size, false, 0);
		return (u32)bus_ones(size);
	}
	/* Not a byte: a byte is either claimed and taken, or unclaimed. */
	u32 low = pio_read_part(bus, port, half);
	return low | pio_read_part(bus, port + half, half) << (half * 8);
}

static void pio_write_part(struct pio_bus *bus, u32 port, unsigned size, u32 value)
{
	unsigned half = size / 2;
	bool none;
	const struct bus_region *r = pio_find(bus, port, size, &none);

	if (r && takes(r, port, size)) {
		region_write(r, port, size, value);
	} else if (none) {
		pio_unclaimed(bus, port, size, true, value & (u32)bus_ones(size));
	} else {
		pio_write_part(bus, port, half, value);
		pio_write_part(bus, port + half, half, value >> (half * 8));
	}
}

u32 pio_read(struct pio_bus *bus, u16 port, unsigned size)
{
	if (size != 1 && size != 2 && size != 4)
		return UINT32_MAX;
	bus->stats.reads++;
	return pio_read_part(bus, port, size);
}

void pio_write(struct pio_bus *bus, u16 port, unsigned size, u32 value)
{
	if (size != 1 && size != 2 && size != 4)
		return;
	bus->stats.writes++;
	pio_write_part(bus, port, size, value);
}

void pio_inspect(const struct pio_bus *bus, const struct dev_inspect *out)
{
	inspect_stats("ports", &bus->stats, out);
	for (unsigned i = 0; i < bus->count; i++)
		inspect_region(&bus->region[i], out);
}

/* --- MMIO --- */

void mmio_init(struct mmio_bus *bus, const struct bus_unclaimed *unclaimed)
{
	memset(bus, 0, sizeof(*bus));
	if (unclaimed)
		bus->unclaimed = *unclaimed;
}

/* Number of regions that start at or below address. */
static unsigned mmio_upper(const struct mmio_bus *bus, u64 address)
{
	unsigned lo = 0, hi = bus->count;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (bus->region[mid].base <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool mmio_claims(const struct mmio_bus *bus, u64 address, u64 size)
{
	unsigned i;
	u64 last;

	if (size == 0)
		return false;
	if (add_overflow(address, size - 1, &last))
		last = UINT64_MAX;
	/* The last region that starts in or before the range decides: regions are disjoint. */
	i = mmio_upper(bus, last);
	return i > 0 && (bus->region[i - 1].base >= address ||
			 address - bus->region[i - 1].base < bus->region[i - 1].len);
}

bool mmio_register(struct mmio_bus *bus, const struct bus_region *region)
{
	u64 end;
	unsigned at;

	if (bus->count == MMIO_REGIONS_MAX || !region->ops || region->len == 0 ||
	    add_overflow(region->base, region->len, &end) ||
	    mmio_claims(bus, region->base, region->len))
		return false;
	at = mmio_upper(bus, region->base);
	memmove(&bus->region[at + 1], &bus->region[at], (bus->count - at) * sizeof(*region));
	bus->region[at] = *region;
	bus->count++;
	return true;
}

static const struct bus_region *mmio_find(const struct mmio_bus *bus, u64 address)
{
	unsigned i = mmio_upper(bus, address);
	const struct bus_region *r = i ? &bus->region[i - 1] : NULL;

	return r && address - r->base < r->len ? r : NULL;
}

static void mmio_unclaimed(struct mmio_bus *bus, u64 address, unsigned size, bool write, u64 value)
{
	u64 page = address >> PAGE_SHIFT;

	if (write)
		bus->stats.unclaimed_writes++;
	else
		bus->stats.unclaimed_reads++;
	for (unsigned i = 0; i < bus->pages; i++)
		if (bus->page[i] == page)
			return;
	if (bus->pages == MMIO_PAGES_LOGGED)
		return;
	bus->page[bus->pages++] = page;
	if (bus->unclaimed.first)
		bus->unclaimed.first(bus->unclaimed.ctx, address, size, write, value);
}

static u64 mmio_read_part(struct mmio_bus *bus, u64 address, unsigned size)
{
	const struct bus_region *r = mmio_find(bus, address);
	unsigned half = size / 2;

	if (r && takes(r, address, size))
		return region_read(r, address, size);
	if (!mmio_claims(bus, address, size)) {
		mmio_unclaimed(bus, address, size, false, 0);
		return bus_ones(size);
	}
	u64 low = mmio_read_part(bus, address, half);
	return low | mmio_read_part(bus, address + half, half) << (half * 8);
}

static void mmio_write_part(struct mmio_bus *bus, u64 address, unsigned size, u64 value)
{
	const struct bus_region *r = mmio_find(bus, address);
	unsigned half = size / 2;

	if (r && takes(r, address, size)) {
		region_write(r, address, size, value);
	} else if (!mmio_claims(bus, address, size)) {
		mmio_unclaimed(bus, address, size, true, value & bus_ones(size));
	} else {
		mmio_write_part(bus, address, half, value);
		mmio_write_part(bus, address + half, half, value >> (half * 8));
	}
}

static bool mmio_size_ok(unsigned size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

u64 mmio_read(struct mmio_bus *bus, u64 address, unsigned size)
{
	if (!mmio_size_ok(size))
		return UINT64_MAX;
	bus->stats.reads++;
	return mmio_read_part(bus, address, size);
}

void mmio_write(struct mmio_bus *bus, u64 address, unsigned size, u64 value)
{
	if (!mmio_size_ok(size))
		return;
	bus->stats.writes++;
	mmio_write_part(bus, address, size, value);
}

void mmio_inspect(const struct mmio_bus *bus, const struct dev_inspect *out)
{
	inspect_stats("mmio", &bus->stats, out);
	for (unsigned i = 0; i < bus->count; i++)
		inspect_region(&bus->region[i], out);
}

/* --- saved state --- */

#define PIO_SEEN 2 /* reported ports in order, each as its distance from the least it can be */

static const struct saved_field stats_fields[] = {
	SAVED_ANY(1, struct bus_stats, reads),
	SAVED_ANY(2, struct bus_stats, writes),
	SAVED_ANY(3, struct bus_stats, unclaimed_reads),
	SAVED_ANY(4, struct bus_stats, unclaimed_writes),
};
static const struct saved_layout stats_layout = SAVED_LAYOUT(stats_fields);
static const struct saved_field pio_fields[] = {
	SAVED_STRUCT(1, struct pio_bus, stats, &stats_layout),
};
static const struct saved_layout pio_layout = SAVED_LAYOUT(pio_fields);
static const struct saved_field mmio_fields[] = {
	SAVED_STRUCT(1, struct mmio_bus, stats, &stats_layout),
	SAVED_NUMBERS(2, struct mmio_bus, page, UINT64_MAX >> PAGE_SHIFT),
	SAVED_NUMBER(3, struct mmio_bus, pages, MMIO_PAGES_LOGGED),
};
static const struct saved_layout mmio_layout = SAVED_LAYOUT(mmio_fields);

void pio_save(const struct pio_bus *bus, struct pb_writer *out)
{
	size_t mark;
	u32 least = 0;

	saved_write(out, &pio_layout, bus);
	mark = pb_begin(out, PIO_SEEN);
	for (u32 port = 0; port < PIO_PORTS; port++) {
		if (!(bus->seen[port / 8] & BIT(port % 8)))
			continue;
		pb_varint(out, port - least);
		least = port + 1;
	}
	pb_end(out, mark);
}

struct ports {
	u8 *seen; /* NULL: only check */
	u32 least;
	bool bad;
};

static void take_port(void *context, u64 distance)
{
	struct ports *p = context;
	u32 port;

	if (p->bad || distance >= PIO_PORTS - p->least) {
		p->bad = true;
		return;
	}
	port = p->least + (u32)distance;
	if (p->seen)
		p->seen[port / 8] |= (u8)BIT(port % 8);
	p->least = port + 1;
}

static bool read_ports(struct pb_bytes state, u8 *seen)
{
	struct ports ports = {.seen = seen};
	struct pb_reader r;
	struct pb_field field;

	pb_reader_init(&r, state);
	while (pb_next(&r, &field))
		pb_each_u64(&r, &field, PIO_SEEN, take_port, &ports);
	return !r.failed && !ports.bad;
}

bool pio_restore(struct pio_bus *bus, struct pb_bytes state)
{
	return read_ports(state, NULL) && saved_read(state, &pio_layout, bus) &&
	       read_ports(state, bus->seen);
}

void mmio_save(const struct mmio_bus *bus, struct pb_writer *out)
{
	saved_write(out, &mmio_layout, bus);
}

bool mmio_restore(struct mmio_bus *bus, struct pb_bytes state)
{
	return saved_read(state, &mmio_layout, bus);
}
