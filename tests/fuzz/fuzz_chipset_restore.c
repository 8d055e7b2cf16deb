/* A chipset restored from arbitrary bytes: refused, or a machine that works and saves itself. */
#include "tests/fuzz/chipset.h"

#define START_NS  (3600ull * 1000000000)
#define STATE_MAX (1u << 20)

static struct chipset cs;
static bool quiet;

static void on_char(void *ctx, const u8 *bytes, size_t len)
{
	(void)ctx, (void)bytes, (void)len;
	if (quiet)
		abort();
}

static void on_power(void *ctx, enum dev_power_event event, const char *why)
{
	(void)ctx, (void)event, (void)why;
	if (quiet)
		abort();
}

static void start(void)
{
	struct chipset_cfg cfg = {
		.clock = {get_now},
		.wall = {get_wall},
		.power = {on_power},
		.apic = {on_msg},
		.debug = {on_char},
	};

	for (unsigned i = 0; i < 3; i++)
		cfg.uart[i] = (struct chipset_uart_cfg){.present = true, .tx = {on_char}};
	if (!chipset_init(&cs, &cfg))
		abort();
}

static bool restore(struct pb_bytes state)
{
	bool taken;

	start();
	quiet = true;
	taken = chipset_restore(&cs, state);
	quiet = false;
	return taken;
}

/* What was taken must be taken again, and be the same. */
static void save_again(void)
{
	struct pb_writer first, second;

	pb_writer_init(&first, STATE_MAX);
	pb_writer_init(&second, STATE_MAX);
	chipset_save(&cs, &first);
	if (!restore((struct pb_bytes){first.data, first.used}))
		abort();
	chipset_save(&cs, &second);
	if (first.failed || second.failed || first.used != second.used ||
	    memcmp(first.data, second.data, first.used))
		abort();
	pb_writer_free(&first);
	pb_writer_free(&second);
}

static void look_everywhere(void)
{
	for (u16 port = 0; port < 0x500; port++)
		chipset_pio_read(&cs, port, 1);
	for (unsigned index = 0; index < 0x40; index++) {
		chipset_mmio_write(&cs, IOAPIC_BASE, 4, index);
		chipset_mmio_read(&cs, IOAPIC_BASE + 16, 4);
	}
}

/* Two bytes: how much of the rest are acts behind the state, DRIVE_BYTES each. */
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	const struct dev_inspect nobody = {0};
	size_t acts;

	if (size < 2)
		return 0;
	acts = MIN((size_t)get_le16(data), (size - 2) / DRIVE_BYTES);
	size -= 2 + acts * DRIVE_BYTES;
	now_ns = START_NS;
	wall_ns = 1700000000ull * 1000000000;
	if (!restore((struct pb_bytes){data + 2, size}))
		return 0;
	save_again();
	chipset_run_timers(&cs);
	if (chipset_next_deadline(&cs) <= now_ns)
		abort();
	look_everywhere();
	for (size_t i = 0; i < acts; i++)
		drive(&cs, data + 2 + size + i * DRIVE_BYTES, &now_ns, &wall_ns);
	chipset_inspect(&cs, &nobody);
	save_again();
	return 0;
}
