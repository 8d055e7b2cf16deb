/* 8259A pair: hostile words, Linux' set-up and probe, priorities, cascade, ELCR, spurious. */
#include "tests/unit/dev_fake.h"

#include "vtl2-devices/pic8259.h"

static struct fake f;
static struct pic8259 pic;

static void init_chips(void)
{
	static const u8 words[2][4] = {{0x11, 0x30, 0x04, 0x01}, {0x11, 0x38, 0x02, 0x01}};

	for (unsigned chip = 0; chip < 2; chip++) {
		pic_write(&pic, chip, 0, words[chip][0]);
		for (unsigned i = 1; i < 4; i++)
			pic_write(&pic, chip, 1, words[chip][i]);
		pic_write(&pic, chip, 1, 0);
	}
}

static int setup(void **state)
{
	struct dev_irq intr = fake_irq(&f, 0);

	(void)state;
	memset(&f, 0, sizeof(f));
	pic_init(&pic, &intr);
	init_chips();
	return 0;
}

static void pulse(unsigned irq)
{
	pic_set_line(&pic, irq, true);
	pic_set_line(&pic, irq, false);
}

static void all_word_pairs(void **state)
{
	(void)state;
	for (unsigned a = 0; a < 512; a++) {
		for (unsigned b = 0; b < 512; b++) {
			pic_write(&pic, a & 1, a >> 8, (u8)a);
			pic_write(&pic, b & 1, b >> 8, (u8)b);
			pic_set_line(&pic, (a ^ b) & 31, b & 1);
			pic_read(&pic, a & 1, b & 1);
			pic_acknowledge(&pic);
		}
	}
	pic_set_line(&pic, UINT32_MAX, true);
	pic_elcr_write(&pic, UINT32_MAX, 0xff);
}

static void masked_before_setup(void **state)
{
	struct dev_irq intr = fake_irq(&f, 0);

	(void)state;
	pic_init(&pic, &intr);
	for (unsigned i = 0; i < 16; i++)
		pulse(i);
	assert_false(pic_has_interrupt(&pic));
	/* Linux' probe_8259A(): the master's mask must read back. */
	pic_write(&pic, 1, 1, 0xff);
	pic_write(&pic, 0, 1, 0xfb);
	assert_int_equal(pic_read(&pic, 0, 1), 0xfb);
}

static void vectors(void **state)
{
	(void)state;
	for (unsigned irq = 0; irq < 16; irq++) {
		if (irq == 2)
			continue;
		pulse(irq);
		assert_true(pic_has_interrupt(&pic) && f.level[0]);
		assert_int_equal(pic_acknowledge(&pic), 0x30 + irq);
		assert_false(f.level[0]);
		if (irq >= 8)
			pic_write(&pic, 1, 0, 0x60 | (irq & 7));
		pic_write(&pic, 0, 0, irq >= 8 ? 0x62 : 0x60 | irq);
	}
	pic_write(&pic, 0, 0, 0x0b);
	assert_int_equal(pic_read(&pic, 0, 0), 0);
	pic_write(&pic, 1, 0, 0x0b);
	assert_int_equal(pic_read(&pic, 1, 0), 0);
}

static void priorities(void **state)
{
	(void)state;
	pulse(4);
	assert_int_equal(pic_acknowledge(&pic), 0x34);
	pulse(5);
	assert_false(pic_has_interrupt(&pic)); /* lower than the one in service */
	pulse(12);			       /* through IR2: higher */
	assert_int_equal(pic_acknowledge(&pic), 0x3c);
	pulse(0);
	assert_int_equal(pic_acknowledge(&pic), 0x30);
	pic_write(&pic, 0, 0, 0x0b);
	assert_int_equal(pic_read(&pic, 0, 0), 0x15);
	pic_write(&pic, 0, 0, 0x0a);
	assert_int_equal(pic_read(&pic, 0, 0), 0x20);
	pic_write(&pic, 0, 0, 0x20); /* non-specific: ends 0, then 2, then 4 */
	pic_write(&pic, 1, 0, 0x20);
	pic_write(&pic, 0, 0, 0x20);
	assert_false(pic_has_interrupt(&pic));
	pic_write(&pic, 0, 0, 0x20);
	assert_int_equal(pic_acknowledge(&pic), 0x35);
}

static void second_slave_interrupt(void **state)
{
	(void)state;
	pulse(8);
	pulse(9);
	assert_int_equal(pic_acknowledge(&pic), 0x38);
	pic_write(&pic, 1, 0, 0x60);
	assert_false(pic_has_interrupt(&pic));
	pic_write(&pic, 0, 0, 0x62);
	assert_true(pic_has_interrupt(&pic));
	assert_int_equal(pic_acknowledge(&pic), 0x39);
}

static void mask(void **state)
{
	(void)state;
	pic_write(&pic, 0, 1, 0x10);
	pulse(4);
	assert_false(pic_has_interrupt(&pic));
	pic_write(&pic, 0, 1, 0);
	assert_true(pic_has_interrupt(&pic)); /* the edge was latched */
	pic_write(&pic, 1, 1, 0xff);
	pulse(14);
	assert_int_equal(pic_acknowledge(&pic), 0x34);
	pic_write(&pic, 0, 0, 0x20);
	assert_false(pic_has_interrupt(&pic));
}

static void spurious(void **state)
{
	(void)state;
	assert_int_equal(pic_acknowledge(&pic), 0x37);
	pic_write(&pic, 0, 0, 0x0b);
	assert_int_equal(pic_read(&pic, 0, 0), 0); /* not in service */
}

static void level_triggered(void **state)
{
	(void)state;
	pic_elcr_write(&pic, 0, 0xff);
	pic_elcr_write(&pic, 1, 0xff);
	assert_int_equal(pic_elcr_read(&pic, 0), 0xf8);
	assert_int_equal(pic_elcr_read(&pic, 1), 0xde);
	pic_set_line(&pic, 10, true);
	assert_int_equal(pic_acknowledge(&pic), 0x3a);
	pic_write(&pic, 1, 0, 0x62);
	pic_write(&pic, 0, 0, 0x62);
	assert_true(pic_has_interrupt(&pic)); /* still asserted */
	pic_set_line(&pic, 10, false);
	assert_false(pic_has_interrupt(&pic));
	pic_set_line(&pic, 5, true);
	pic_set_line(&pic, 5, false);
	assert_false(pic_has_interrupt(&pic));
}

static void edge_needs_an_edge(void **state)
{
	(void)state;
	pic_set_line(&pic, 4, true);
	assert_int_equal(pic_acknowledge(&pic), 0x34);
	pic_write(&pic, 0, 0, 0x64);
	pic_set_line(&pic, 4, true);
	assert_false(pic_has_interrupt(&pic));
	init_chips(); /* ICW1 clears the latch */
	assert_false(pic_has_interrupt(&pic));
}

static void automatic_end(void **state)
{
	(void)state;
	pic_write(&pic, 0, 0, 0x11);
	pic_write(&pic, 0, 1, 0x20);
	pic_write(&pic, 0, 1, 0x04);
	pic_write(&pic, 0, 1, 0x03);
	pulse(3);
	assert_int_equal(pic_acknowledge(&pic), 0x23);
	pulse(3);
	assert_int_equal(pic_acknowledge(&pic), 0x23);
}

static void rotation(void **state)
{
	(void)state;
	pulse(1);
	assert_int_equal(pic_acknowledge(&pic), 0x31);
	pic_write(&pic, 0, 0, 0xa0); /* rotate on EOI: 1 becomes the lowest */
	pulse(1);
	pulse(6);
	assert_int_equal(pic_acknowledge(&pic), 0x36);
	pic_write(&pic, 0, 0, 0xc7); /* set priority: 7 lowest again */
	pulse(0);
	assert_int_equal(pic_acknowledge(&pic), 0x30);
}

static void poll_mode(void **state)
{
	(void)state;
	pic_write(&pic, 0, 0, 0x0c);
	assert_int_equal(pic_read(&pic, 0, 0), 0);
	pulse(5);
	pic_write(&pic, 0, 0, 0x0c);
	assert_int_equal(pic_read(&pic, 0, 0), 0x85);
	pic_write(&pic, 0, 0, 0x0b);
	assert_int_equal(pic_read(&pic, 0, 0), 0x20);
}

static void special_mask(void **state)
{
	(void)state;
	pulse(1);
	assert_int_equal(pic_acknowledge(&pic), 0x31);
	pulse(6);
	assert_false(pic_has_interrupt(&pic));
	pic_write(&pic, 0, 1, 0x02);
	pic_write(&pic, 0, 0, 0x68);
	assert_int_equal(pic_acknowledge(&pic), 0x36);
	pic_write(&pic, 0, 0, 0x48);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_word_pairs),
		T(masked_before_setup),
		T(vectors),
		T(priorities),
		T(second_slave_interrupt),
		T(mask),
		T(spurious),
		T(level_triggered),
		T(edge_needs_an_edge),
		T(automatic_end),
		T(rotation),
		T(poll_mode),
		T(special_mask),
	};

	return cmocka_run_group_tests_name("dev_pic", tests, NULL, NULL);
}
