/* I/O APIC: hostile accesses, edge and level delivery, remote IRR, EOI, driver work-arounds. */
#include "tests/unit/dev_fake.h"

#include "vtl2-devices/ioapic.h"

static struct fake f;
static struct ioapic io;

static int setup(void **state)
{
	struct dev_apic apic = fake_apic(&f);

	(void)state;
	memset(&f, 0, sizeof(f));
	ioapic_init(&io, &apic);
	return 0;
}

static u32 get(u8 reg)
{
	ioapic_write(&io, 0, reg);
	return ioapic_read(&io, 0x10);
}

static void set(u8 reg, u32 value)
{
	ioapic_write(&io, 0, reg);
	ioapic_write(&io, 0x10, value);
}

static void set_rte(unsigned pin, u64 rte)
{
	set((u8)(0x11 + pin * 2), (u32)(rte >> 32));
	set((u8)(0x10 + pin * 2), (u32)rte);
}

static void every_register(void **state)
{
	(void)state;
	for (unsigned reg = 0; reg < 256; reg++) {
		set((u8)reg, UINT32_MAX);
		get((u8)reg);
		set((u8)reg, 0x8700); /* delivery ExtINT, level */
	}
	for (u32 offset = 0; offset < IOAPIC_LEN; offset++) {
		ioapic_bus_ops.write(&io, offset, 1, 0xff);
		ioapic_bus_ops.read(&io, offset, 1);
	}
	ioapic_set_line(&io, 24, true);
	ioapic_set_line(&io, UINT32_MAX, true);
	for (unsigned v = 0; v < 256; v++)
		ioapic_eoi(&io, (u8)v);
	assert_int_equal(get(0x40), UINT32_MAX);
	assert_int_equal(ioapic_read(&io, 4), UINT32_MAX);
}

static void identity(void **state)
{
	(void)state;
	assert_int_equal(get(1), 0x00170011);
	assert_int_equal(get(0), 0);
	set(0, 0xffffffff);
	assert_int_equal(get(0), 0x0f000000);
	set(1, 0);
	assert_int_equal(get(1), 0x00170011);
	for (u8 pin = 0; pin < 24; pin++)
		assert_int_equal(get((u8)(0x10 + pin * 2)), 0x10000);
}

static void read_only_bits(void **state)
{
	(void)state;
	set_rte(5, UINT64_MAX);
	assert_int_equal(get(0x1a), 0x1afff);
	assert_int_equal(get(0x1b), 0xfffe0000);
	assert_int_equal(f.msgs, 0);
}

static void edge(void **state)
{
	(void)state;
	ioapic_set_line(&io, 4, true);
	assert_int_equal(f.msgs, 0);
	set_rte(4, 0x0500000000000024); /* unmasking with the line up: no edge */
	assert_int_equal(f.msgs, 0);
	ioapic_set_line(&io, 4, true);
	assert_int_equal(f.msgs, 0);
	ioapic_set_line(&io, 4, false);
	ioapic_set_line(&io, 4, true);
	assert_int_equal(f.msgs, 1);
	assert_int_equal(f.msg[0].dest, 5);
	assert_int_equal(f.msg[0].vector, 0x24);
	assert_false(f.msg[0].level || f.msg[0].logical);
	assert_int_equal(ioapic_remote_irr(&io), 0);
	ioapic_eoi(&io, 0x24);
	assert_int_equal(f.msgs, 1);
}

static void level(void **state)
{
	(void)state;
	set_rte(9, 0x0300000000008931); /* logical, lowest priority */
	ioapic_set_line(&io, 9, true);
	assert_int_equal(f.msgs, 1);
	assert_true(f.msg[0].level && f.msg[0].logical);
	assert_int_equal(f.msg[0].delivery, APIC_LOWEST);
	assert_int_equal(get(0x22), 0xc931);
	ioapic_set_line(&io, 9, false);
	ioapic_set_line(&io, 9, true);
	assert_int_equal(f.msgs, 1); /* remote IRR holds it back */
	ioapic_eoi(&io, 0x30);
	assert_int_equal(f.msgs, 1);
	ioapic_eoi(&io, 0x31); /* still asserted */
	assert_int_equal(f.msgs, 2);
	ioapic_set_line(&io, 9, false);
	ioapic_eoi(&io, 0x31);
	assert_int_equal(f.msgs, 2);
	assert_int_equal(ioapic_remote_irr(&io), 0);
}

static void level_masked(void **state)
{
	(void)state;
	set_rte(9, 0x18031);
	ioapic_set_line(&io, 9, true);
	assert_int_equal(f.msgs, 0);
	set(0x22, 0x8031); /* unmask: the level is still there */
	assert_int_equal(f.msgs, 1);
	set(0x22, 0x18031);
	assert_int_equal(get(0x22), 0x1c031);
	ioapic_eoi(&io, 0x31);
	assert_int_equal(f.msgs, 1);
	set(0x22, 0x8031);
	assert_int_equal(f.msgs, 2);
}

/* Linux, without an EOI register: mask, switch to edge, switch back. */
static void end_by_trigger_switch(void **state)
{
	(void)state;
	set_rte(9, 0x8031);
	ioapic_set_line(&io, 9, true);
	ioapic_set_line(&io, 9, false);
	assert_int_equal(ioapic_remote_irr(&io), BIT(9));
	set(0x22, 0x10031);
	assert_int_equal(ioapic_remote_irr(&io), 0);
	set(0x22, 0x18031);
	set(0x22, 0x8031);
	ioapic_set_line(&io, 9, true);
	assert_int_equal(f.msgs, 2);
}

static void shared_vector(void **state)
{
	(void)state;
	set_rte(10, 0x8040);
	set_rte(11, 0x8040);
	ioapic_set_line(&io, 10, true);
	ioapic_set_line(&io, 11, true);
	ioapic_set_line(&io, 10, false);
	ioapic_eoi(&io, 0x40);
	assert_int_equal(f.msgs, 3);
	assert_int_equal(ioapic_remote_irr(&io), BIT(11));
}

static void delivery_modes(void **state)
{
	static const u8 sent[8] = {1, 1, 1, 0, 1, 1, 0, 1};

	(void)state;
	for (u32 mode = 0; mode < 8; mode++) {
		f.msgs = 0;
		set_rte(3, mode << 8 | 0x8055);
		ioapic_set_line(&io, 3, true);
		assert_int_equal(f.msgs, sent[mode]);
		if (sent[mode])
			assert_int_equal(f.msg[0].level, mode <= 1);
		ioapic_set_line(&io, 3, false);
		ioapic_eoi(&io, 0x55);
	}
	f.msgs = 0;
	set_rte(3, 0x800f); /* illegal vector: nothing sent, nothing stuck */
	ioapic_set_line(&io, 3, true);
	assert_int_equal(f.msgs, 0);
	assert_int_equal(ioapic_remote_irr(&io), 0);
}

static void extended_destination(void **state)
{
	(void)state;
	set_rte(3, 0x1206000000000055);
	ioapic_set_line(&io, 3, true);
	assert_int_equal(f.msg[0].dest, 0x312);
}

static void reset(void **state)
{
	(void)state;
	set_rte(9, 0x8031);
	ioapic_set_line(&io, 9, true);
	ioapic_reset(&io);
	assert_int_equal(get(0x22), 0x10000);
	assert_int_equal(ioapic_remote_irr(&io), 0);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_register),
		T(identity),
		T(read_only_bits),
		T(edge),
		T(level),
		T(level_masked),
		T(end_by_trigger_switch),
		T(shared_vector),
		T(delivery_modes),
		T(extended_destination),
		T(reset),
	};

	return cmocka_run_group_tests_name("dev_ioapic", tests, NULL, NULL);
}
