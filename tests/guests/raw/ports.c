/* Every port, read and written, in all widths; string instructions. */
#include "raw.h"

#define COM2_SCRATCH 0x2ff
#define NOBODY	     0x5550 /* no device answers here */

/* Ports of devices that a PC has; all others must read as all ones. */
static const struct {
	u16 first, last;
} devices[] = {
	{0x0020, 0x0021}, {0x0040, 0x0043}, {0x0060, 0x0060}, {0x0061, 0x0061}, {0x0064, 0x0064},
	{0x0070, 0x0071}, {0x0080, 0x008f}, {0x0092, 0x0092}, {0x00a0, 0x00a1}, {0x00e9, 0x00e9},
	{0x00ed, 0x00ed}, {0x02e8, 0x02ef}, {0x02f8, 0x02ff}, {0x03e8, 0x03ef}, {0x03f8, 0x03ff},
	{0x0400, 0x0437}, {0x04d0, 0x04d1}, {0x0505, 0x0505}, {0x0cf8, 0x0cff},
};

static bool is_device(u32 port, u32 size)
{
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
		if (port <= devices[i].last && port + size > devices[i].first)
			return true;
	return false;
}

/* Would a write there end the machine or take the console away? */
static bool is_precious(u32 port, u32 size)
{
	static const u16 ports[][2] = {
		{0x0064, 0x0064}, {0x0092, 0x0092}, {0x03f8, 0x03ff},
		{0x0404, 0x0405}, {0x0433, 0x0433}, {0x0cf9, 0x0cf9},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		if (port <= ports[i][1] && port + size > ports[i][0])
			return true;
	return panic_port && port <= panic_port && port + size > panic_port;
}

static u32 read_port(u32 port, u32 size)
{
	return size == 1 ? in8((u16)port) : size == 2 ? in16((u16)port) : in32((u16)port);
}

static void write_port(u32 port, u32 size, u32 value)
{
	if (size == 1)
		out8((u16)port, (u8)value);
	else if (size == 2)
		out16((u16)port, (u16)value);
	else
		out32((u16)port, value);
}

/* Words and dwords everywhere would take minutes: all of the lower ports, then every 61st. */
static u32 next_port(u32 port, u32 size)
{
	return size == 1 || port < 0x600 ? port + 1 : port + 61;
}

void test_ports_read(void)
{
	for (u32 size = 1; size <= 4; size *= 2)
		for (u32 port = 0; port < 0x10000; port = next_port(port, size)) {
			u32 v = read_port(port, size);
			u32 ones = size == 4 ? ~0u : (1u << size * 8) - 1;

			if (!is_device(port, size))
				expect(v == ones, "port %#x size %u reads %#x", port, size, v);
		}
	/* across the last port */
	read_port(0xffff, 2);
	read_port(0xffff, 4);
	read_port(0xfffd, 4);
}

void test_ports_write(void)
{
	for (u32 size = 1; size <= 4; size *= 2)
		for (u32 port = 0; port < 0x10000; port = next_port(port, size))
			if (!is_precious(port, size))
				write_port(port, size, (u32)random_u64());
	write_port(0xffff, 2, 0);
	write_port(0xffff, 4, 0);
	for (u32 port = 0x5550; port < 0x5560; port++)
		expect(in8((u16)port) == 0xff, "port %#x remembers a write", port);
}

void test_ports_random(void)
{
	for (unsigned i = 0; i < 20000; i++) {
		u64 r = random_u64();
		const u16 first = devices[r % ARRAY_SIZE(devices)].first;
		const u16 last = devices[r % ARRAY_SIZE(devices)].last;
		u32 port = first + (u32)(r >> 8) % (last - first + 1u);
		u32 size = 1u << (r >> 24) % 3;

		if (r >> 26 & 1)
			read_port(port, size);
		else if (!is_precious(port, size))
			write_port(port, size, (u32)(r >> 32));
	}
	/* quiet again: PIC masked, PIT stopped by a mode without count */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	for (u8 i = 0; i < 3; i++)
		out8(0x43, (u8)(i << 6 | 0x30));
	out8(0x70, 0x0b);
	out8(0x71, 0x02);
	out16(0x402, 0);
}

static void rep_in(u16 port, void *to, u64 *count, unsigned size, u64 *end)
{
	void *p = to;

	if (size == 1)
		TRY("rep insb", ARGS("+D"(p), "+c"(*count)), "d"(port));
	else if (size == 2)
		TRY("rep insw", ARGS("+D"(p), "+c"(*count)), "d"(port));
	else
		TRY("rep insl", ARGS("+D"(p), "+c"(*count)), "d"(port));
	*end = (u64)(uintptr_t)p;
}

static void rep_out(u16 port, const void *from, u64 *count, unsigned size, u64 *end)
{
	const void *p = from;

	if (size == 1)
		TRY("rep outsb", ARGS("+S"(p), "+c"(*count)), "d"(port));
	else if (size == 2)
		TRY("rep outsw", ARGS("+S"(p), "+c"(*count)), "d"(port));
	else
		TRY("rep outsl", ARGS("+S"(p), "+c"(*count)), "d"(port));
	*end = (u64)(uintptr_t)p;
}

static u8 buffer[8192] __attribute__((aligned(4096)));

static void fill(u8 value)
{
	for (unsigned i = 0; i < sizeof(buffer); i++)
		buffer[i] = value;
}

void test_string_io(void)
{
	u64 count, end;

	out8(COM2_SCRATCH, 0x5a);
	for (u64 offset = 0; offset < 4; offset++) {
		fill(0);
		count = 100;
		rep_in(COM2_SCRATCH, buffer + 4090 + offset, &count, 1, &end);
		expect(fault.vector == NO_FAULT && !count, "rep insb: vector %lu, %lu left",
		       fault.vector, count);
		expect(end == (u64)(uintptr_t)buffer + 4190 + offset, "rep insb ends at %#lx", end);
		for (unsigned i = 0; i < 100; i++)
			expect(buffer[4090 + offset + i] == 0x5a, "rep insb: byte %u is %#x", i,
			       buffer[4090 + offset + i]);
		expect(!buffer[4089 + offset] && !buffer[4190 + offset], "rep insb: too far");
	}
	for (unsigned size = 2; size <= 4; size *= 2) {
		fill(0);
		count = 300;
		rep_in(NOBODY, buffer + 4093, &count, size, &end);
		expect(!count && buffer[4093] == 0xff && buffer[4092 + 300 * size] == 0xff &&
			       !buffer[4093 + 300 * size],
		       "rep ins of size %u: %lu left", size, count);
	}
	count = 0;
	rep_in(NOBODY, buffer, &count, 1, &end);
	expect(end == (u64)(uintptr_t)buffer, "rep insb of nothing moves");

	fill(0x11);
	buffer[99] = 0x77;
	count = 100;
	rep_out(COM2_SCRATCH, buffer, &count, 1, &end);
	expect(!count && in8(COM2_SCRATCH) == 0x77, "rep outsb: %lu left, last byte %#x", count,
	       in8(COM2_SCRATCH));
	asm volatile("std");
	buffer[0] = 0x33;
	count = 50;
	rep_out(COM2_SCRATCH, buffer + 49, &count, 1, &end);
	asm volatile("cld");
	expect(!count && in8(COM2_SCRATCH) == 0x33, "rep outsb downwards: %#x", in8(COM2_SCRATCH));

	/* from and to memory that is not there for this guest */
	count = 16;
	rep_out(COM2_SCRATCH, (void *)(uintptr_t)vtl2_base, &count, 1, &end);
	expect(fault.vector != NO_FAULT || in8(COM2_SCRATCH) == 0xff,
	       "rep outsb from VTL2's memory sends %#x", in8(COM2_SCRATCH));
	count = 16;
	rep_in(COM2_SCRATCH, (void *)(uintptr_t)vtl2_base, &count, 1, &end);
	expect(MEM64(vtl2_base) == ~0ull, "rep insb into VTL2's memory is read back");
	count = 16;
	rep_in(NOBODY, (void *)(uintptr_t)HOLE, &count, 4, &end);
	count = 4;
	rep_in(NOBODY, (void *)(uintptr_t)IOAPIC, &count, 4, &end);
	/* into a page that is not mapped: the part before it is done */
	count = 64;
	rep_in(COM2_SCRATCH, (void *)(uintptr_t)(MAPPED_END - 32), &count, 1, &end);
	expect(fault.vector == VEC_PF && fault.cr2 == MAPPED_END, "rep insb: vector %lu at %#lx",
	       fault.vector, fault.cr2);
}
