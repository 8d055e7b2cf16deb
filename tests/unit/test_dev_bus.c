/* Port and MMIO buses: refusals, odd accesses, unclaimed addresses. */
#include "tests/unit/dev_fake.h"

#include "vtl2-devices/bus.h"

struct seen {
	u64 offset[16], value[16];
	unsigned size[16], count;
};

static u64 reg_read(void *ctx, u64 offset, unsigned size)
{
	struct seen *s = ctx;

	s->offset[s->count] = offset;
	s->size[s->count++] = size;
	return 0x1122334455667700ull | (0xa0 + offset); /* bits above size must be cut */
}

static void reg_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	struct seen *s = ctx;

	s->offset[s->count] = offset;
	s->size[s->count] = size;
	s->value[s->count++] = value;
}

static const struct bus_ops ops = {reg_read, reg_write};
static const struct bus_ops no_ops = {NULL, NULL};

struct first {
	u64 address[128];
	unsigned count;
};

static void on_first(void *ctx, u64 address, unsigned size, bool write, u64 value)
{
	struct first *f = ctx;

	(void)size, (void)write, (void)value;
	assert_true(f->count < ARRAY_SIZE(f->address));
	f->address[f->count++] = address;
}

static struct pio_bus pio;
static struct mmio_bus mmio;

static struct bus_region region(u64 base, u64 len, unsigned widths, void *ctx)
{
	return (struct bus_region){"test", base, len, widths, &ops, ctx};
}

static bool claim_pio(u64 base, u64 len, unsigned widths, void *ctx)
{
	struct bus_region r = region(base, len, widths, ctx);

	return pio_register(&pio, &r);
}

static bool claim_mmio(u64 base, u64 len, unsigned widths, void *ctx)
{
	struct bus_region r = region(base, len, widths, ctx);

	return mmio_register(&mmio, &r);
}

static void registration_refuses(void **state)
{
	struct bus_region r = region(0x10, 1, 0, NULL);

	(void)state;
	pio_init(&pio, NULL);
	assert_false(claim_pio(0x100, 0, 0, NULL));
	assert_false(claim_pio(0x10000, 1, 0, NULL));
	assert_false(claim_pio(0xffff, 2, 0, NULL));
	assert_false(claim_pio(UINT64_MAX, 2, 0, NULL));
	assert_false(claim_pio(1, UINT64_MAX, 0, NULL));
	r.ops = NULL;
	assert_false(pio_register(&pio, &r));
	assert_true(claim_pio(0x100, 8, 0, NULL));
	assert_false(claim_pio(0x107, 1, 0, NULL));
	assert_false(claim_pio(0xff, 2, 0, NULL));
	assert_false(claim_pio(0x0, 0x10000, 0, NULL));
	assert_true(claim_pio(0x108, 1, 0, NULL));
	for (unsigned i = 2; i < PIO_REGIONS_MAX; i++)
		assert_true(claim_pio(0x1000 + i, 1, 0, NULL));
	assert_false(claim_pio(0x2000, 1, 0, NULL));

	mmio_init(&mmio, NULL);
	assert_false(claim_mmio(0x1000, 0, 0, NULL));
	assert_false(claim_mmio(UINT64_MAX, 1, 0, NULL));
	assert_false(claim_mmio(UINT64_MAX - 3, 8, 0, NULL));
	assert_true(claim_mmio(0x3000, 0x1000, 0, NULL));
	assert_true(claim_mmio(0x1000, 0x1000, 0, NULL));
	assert_false(claim_mmio(0x1fff, 1, 0, NULL));
	assert_false(claim_mmio(0x0fff, 2, 0, NULL));
	assert_false(claim_mmio(0, 0x10000, 0, NULL));
	assert_false(claim_mmio(0x2000, 0x1001, 0, NULL));
	assert_true(claim_mmio(0x2000, 0x1000, 0, NULL));
	assert_int_equal(mmio.region[1].base, 0x2000);
	for (unsigned i = 3; i < MMIO_REGIONS_MAX; i++)
		assert_true(claim_mmio(0x100000 - i * 16, 1, 0, NULL));
	assert_false(claim_mmio(0x200000, 1, 0, NULL));
}

static void bad_sizes(void **state)
{
	static const unsigned bad[] = {0, 3, 5, 8, 16, UINT32_MAX};
	struct seen s = {0};

	(void)state;
	pio_init(&pio, NULL);
	mmio_init(&mmio, NULL);
	assert_true(claim_pio(0, 0x10000, BUS_WORD | BUS_DWORD, &s));
	assert_true(claim_mmio(0, UINT64_MAX, 15, &s));
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(pio_read(&pio, 0, bad[i]), UINT32_MAX);
		pio_write(&pio, 0, bad[i], 1);
		if (bad[i] == 8)
			continue;
		assert_int_equal(mmio_read(&mmio, 0, bad[i]), UINT64_MAX);
		mmio_write(&mmio, 0, bad[i], 1);
	}
	assert_int_equal(s.count, 0);
	/* The last byte of the address space, and past it. */
	assert_int_equal(mmio_read(&mmio, UINT64_MAX, 1), 0xff);
	mmio_write(&mmio, UINT64_MAX - 3, 8, 1);
}

static void past_the_last_port(void **state)
{
	struct seen s = {0};
	struct first f = {.count = 0};
	struct bus_unclaimed un = {on_first, &f};

	(void)state;
	pio_init(&pio, &un);
	assert_int_equal(pio_read(&pio, 0xffff, 4), UINT32_MAX);
	pio_write(&pio, 0xfffe, 4, 0);
	assert_int_equal(f.count, 2);
	assert_true(claim_pio(0xffff, 1, BUS_WORD | BUS_DWORD, &s));
	assert_int_equal(pio_read(&pio, 0xffff, 4), 0xffffffa0);
	pio_write(&pio, 0xffff, 2, 0x1234);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.value[1], 0x34);
}

static void wide_access_is_cut(void **state)
{
	struct seen s = {0}, t = {0};

	(void)state;
	pio_init(&pio, NULL);
	assert_true(claim_pio(0x100, 8, 0, &s));
	assert_int_equal(pio_read(&pio, 0x101, 4), 0xa4a3a2a1);
	assert_int_equal(s.count, 4);
	memset(&s, 0, sizeof(s));
	pio_write(&pio, 0x102, 2, 0xbeef);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.offset[0], 2);
	assert_int_equal(s.value[0], 0xef);
	assert_int_equal(s.value[1], 0xbe);

	/* Two devices side by side, the second takes words; a hole behind it. */
	memset(&s, 0, sizeof(s));
	assert_true(claim_pio(0x108, 2, BUS_WORD, &t));
	assert_int_equal(pio_read(&pio, 0x106, 4), 0x77a0a7a6);
	assert_int_equal(s.count, 2);
	assert_int_equal(t.count, 1);
	assert_int_equal(t.size[0], 2);
	assert_int_equal(pio_read(&pio, 0x108, 4), 0xffff77a0);
	assert_int_equal(pio_read(&pio, 0x109, 4), 0xffffffa1);

	mmio_init(&mmio, NULL);
	memset(&s, 0, sizeof(s));
	assert_true(claim_mmio(0x1000, 16, BUS_DWORD, &s));
	assert_true(mmio_read(&mmio, 0x1000, 8) == 0x556677a4556677a0ull);
	mmio_write(&mmio, 0xffc, 8, 0x1122334455667788ull);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.offset[2], 0);
	assert_int_equal(s.value[2], 0x11223344);
	assert_int_equal(mmio.stats.unclaimed_writes, 1);
}

static void device_without_handlers(void **state)
{
	struct bus_region r = {"none", 0x10, 4, BUS_DWORD, &no_ops, NULL};

	(void)state;
	pio_init(&pio, NULL);
	assert_true(pio_register(&pio, &r));
	assert_int_equal(pio_read(&pio, 0x10, 4), UINT32_MAX);
	pio_write(&pio, 0x10, 4, 0);
	assert_int_equal(pio.stats.unclaimed_reads + pio.stats.unclaimed_writes, 0);
}

static void unclaimed_is_told_once(void **state)
{
	struct first f = {.count = 0};
	struct bus_unclaimed un = {on_first, &f};

	(void)state;
	pio_init(&pio, &un);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(pio_read(&pio, 0x5658, 4), UINT32_MAX);
		assert_int_equal(pio_read(&pio, 0x201, 1), 0xff);
		assert_int_equal(pio_read(&pio, 0x201, 2), 0xffff);
		pio_write(&pio, 0x5658, 1, 5);
	}
	assert_int_equal(f.count, 2);
	assert_int_equal(pio.stats.unclaimed_reads, 3000);
	assert_int_equal(pio.stats.unclaimed_writes, 1000);

	f.count = 0;
	mmio_init(&mmio, &un);
	for (u64 i = 0; i < 1000; i++) {
		assert_true(mmio_read(&mmio, i * 0x800, 8) == UINT64_MAX);
		mmio_write(&mmio, i * 0x800, 4, 1);
	}
	assert_int_equal(f.count, MMIO_PAGES_LOGGED);
	assert_int_equal(mmio.stats.unclaimed_reads, 1000);
}

static void mmio_lookup(void **state)
{
	struct seen s[3] = {0};

	(void)state;
	mmio_init(&mmio, NULL);
	for (u64 i = 0; i < 3; i++)
		assert_true(claim_mmio((3 - i) * 0x10000, 0x100, BUS_QWORD, &s[i]));
	assert_true(mmio_claims(&mmio, 0x100ff, 1));
	assert_false(mmio_claims(&mmio, 0x10100, 1));
	assert_true(mmio_claims(&mmio, 0, UINT64_MAX));
	assert_false(mmio_claims(&mmio, 0x10000, 0));
	assert_false(mmio_claims(&mmio, UINT64_MAX, 2));
	mmio_write(&mmio, 0x20008, 8, 7);
	assert_int_equal(s[1].count, 1);
	assert_int_equal(s[1].offset[0], 8);
	mmio_write(&mmio, 0x20100, 8, 7);
	assert_int_equal(s[1].count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registration_refuses),
		cmocka_unit_test(bad_sizes),
		cmocka_unit_test(past_the_last_port),
		cmocka_unit_test(wide_access_is_cut),
		cmocka_unit_test(device_without_handlers),
		cmocka_unit_test(unclaimed_is_told_once),
		cmocka_unit_test(mmio_lookup),
	};

	return cmocka_run_group_tests_name("dev_bus", tests, NULL, NULL);
}
