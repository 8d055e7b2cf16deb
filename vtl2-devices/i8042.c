/* Keyboard controller with nothing plugged in: every command is answered at once. */
#include <string.h>

#include "vtl2-devices/i8042.h"

#define STATUS_OBF     0x01
#define STATUS_SYSTEM  0x04 /* self test passed */
#define STATUS_COMMAND 0x08 /* the last write went to port 0x64 */
#define STATUS_UNLOCK  0x10
#define STATUS_TIMEOUT 0x40
#define STATUS_ALWAYS  (STATUS_SYSTEM | STATUS_UNLOCK)
#define STATUS_ALL     (STATUS_ALWAYS | STATUS_OBF | STATUS_COMMAND | STATUS_TIMEOUT)

#define CTR_KBD_INT 0x01
#define CTR_SYSTEM  0x04
#define CTR_KBD_OFF 0x10
#define CTR_AUX_OFF 0x20
#define CTR_DEFAULT (0x40 | CTR_AUX_OFF | CTR_KBD_OFF | CTR_SYSTEM) /* bit 6: translate */

#define CMD_AUX_DISABLE	 0xa7
#define CMD_AUX_ENABLE	 0xa8
#define CMD_AUX_TEST	 0xa9
#define CMD_SELF_TEST	 0xaa
#define CMD_KBD_TEST	 0xab
#define CMD_KBD_DISABLE	 0xad
#define CMD_KBD_ENABLE	 0xae
#define CMD_READ_INPUT	 0xc0
#define CMD_READ_OUTPUT	 0xd0
#define CMD_WRITE_OUTPUT 0xd1
#define CMD_WRITE_KBD	 0xd2
#define CMD_WRITE_AUX	 0xd3
#define CMD_TO_AUX	 0xd4
#define CMD_TEST_LINES	 0xe0
#define CMD_PULSE	 0xf0

#define SELF_TEST_OK   0x55
#define AUX_CLOCK_HIGH 0x02 /* interface test result: no device pulls the line */
#define NO_DEVICE      0xfe /* with the timeout bit: nobody acknowledged the byte */

#define OUT_RESET 0x01 /* output port bit 0, active low */
#define OUT_A20	  0x02

static void update_irq(struct i8042 *kbc)
{
	dev_irq_set(&kbc->cfg.irq, (kbc->s.status & STATUS_OBF) && (kbc->s.ctr & CTR_KBD_INT));
}

static void answer(struct i8042 *kbc, u8 data, bool timeout)
{
	/* The line falls first, so that a second answer gives a second edge. */
	kbc->s.status &= (u8) ~(STATUS_OBF | STATUS_TIMEOUT);
	update_irq(kbc);
	kbc->s.data = data;
	kbc->s.status |= STATUS_OBF | (timeout ? STATUS_TIMEOUT : 0);
	update_irq(kbc);
}

static void write_output_port(struct i8042 *kbc, u8 value)
{
	kbc->s.output_port = value | OUT_RESET;
	if (!(value & OUT_RESET))
		dev_power_request(&kbc->cfg.power, DEV_POWER_RESET,
				  "keyboard controller output port");
}

/* Commands that take a byte from port 0x60. */
static bool has_parameter(u8 cmd)
{
	switch (cmd) {
	case 0x60 ... 0x7f:
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_KBD:
	case CMD_WRITE_AUX:
	case CMD_TO_AUX: return true;
	default: return false;
	}
}

static void command(struct i8042 *kbc, u8 cmd)
{
	struct i8042_state *s = &kbc->s;

	s->command = has_parameter(cmd) ? cmd : 0;
	switch (cmd) {
	case 0x20 ... 0x3f: answer(kbc, cmd == 0x20 ? s->ctr : s->ram[cmd & 0x1f], false); break;
	case CMD_AUX_DISABLE: s->ctr |= CTR_AUX_OFF; break;
	case CMD_AUX_ENABLE: s->ctr &= (u8)~CTR_AUX_OFF; break;
	case CMD_AUX_TEST: answer(kbc, AUX_CLOCK_HIGH, false); break;
	case CMD_SELF_TEST:
		s->status |= STATUS_SYSTEM;
		answer(kbc, SELF_TEST_OK, false);
		break;
	case CMD_KBD_TEST: answer(kbc, 0, false); break;
	case CMD_KBD_DISABLE: s->ctr |= CTR_KBD_OFF; break;
	case CMD_KBD_ENABLE: s->ctr &= (u8)~CTR_KBD_OFF; break;
	case CMD_READ_INPUT: answer(kbc, 0x80, false); break; /* keyboard not locked */
	case CMD_READ_OUTPUT: answer(kbc, s->output_port, false); break;
	case CMD_TEST_LINES: answer(kbc, 0, false); break;
	case CMD_PULSE ... 0xff:
		if (!(cmd & OUT_RESET))
			dev_power_request(&kbc->cfg.power, DEV_POWER_RESET, "keyboard controller");
		break;
	default: break;
	}
	update_irq(kbc);
}

static void parameter(struct i8042 *kbc, u8 value)
{
	struct i8042_state *s = &kbc->s;
	u8 cmd = s->command;

	s->command = 0;
	switch (cmd) {
	case 0x60: s->ctr = value; break;
	case 0x61 ... 0x7f: s->ram[cmd & 0x1f] = value; break;
	case CMD_WRITE_OUTPUT: write_output_port(kbc, value); break;
	case CMD_WRITE_KBD: answer(kbc, value, false); break;
	default: /* to the keyboard (which enables it) or the mouse: neither is there */
		if (!cmd)
			s->ctr &= (u8)~CTR_KBD_OFF;
		answer(kbc, NO_DEVICE, true);
	}
	update_irq(kbc);
}

u8 i8042_read(struct i8042 *kbc, unsigned port)
{
	if (port != 0x60)
		return kbc->s.status;
	kbc->s.status &= (u8) ~(STATUS_OBF | STATUS_TIMEOUT);
	update_irq(kbc);
	return kbc->s.data;
}

void i8042_write(struct i8042 *kbc, unsigned port, u8 value)
{
	if (port == 0x60) {
		kbc->s.status &= (u8)~STATUS_COMMAND;
		parameter(kbc, value);
	} else {
		kbc->s.status |= STATUS_COMMAND;
		command(kbc, value);
	}
}

void i8042_reset(struct i8042 *kbc)
{
	kbc->s = (struct i8042_state){
		.ctr = CTR_DEFAULT,
		.status = STATUS_ALWAYS,
		.output_port = OUT_RESET | OUT_A20,
	};
	update_irq(kbc);
}

void i8042_init(struct i8042 *kbc, const struct i8042_cfg *cfg)
{
	kbc->cfg = *cfg;
	i8042_reset(kbc);
}

static const struct saved_field fields[] = {
	SAVED_ANY(1, struct i8042, s.ctr),     SAVED_NUMBERS(2, struct i8042, s.ram, UINT8_MAX),
	SAVED_ANY(3, struct i8042, s.data),    SAVED_ANY(4, struct i8042, s.status),
	SAVED_ANY(5, struct i8042, s.command), SAVED_ANY(6, struct i8042, s.output_port),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void i8042_save(const struct i8042 *kbc, struct pb_writer *out)
{
	saved_write(out, &layout, kbc);
}

bool i8042_restore(struct i8042 *kbc, struct pb_bytes state)
{
	struct i8042 next = *kbc;
	const struct i8042_state *s = &next.s;

	if (!saved_read(state, &layout, &next) || (s->status & ~STATUS_ALL) ||
	    (s->status & STATUS_ALWAYS) != STATUS_ALWAYS || !(s->output_port & OUT_RESET) ||
	    (s->command && !has_parameter(s->command)))
		return false;
	*kbc = next;
	return true;
}

void i8042_inspect(const struct i8042 *kbc, const struct dev_inspect *out)
{
	dev_inspect_line(out, "  status %02x command byte %02x data %02x waits for %02x",
			 kbc->s.status, kbc->s.ctr, kbc->s.data, kbc->s.command);
}

static u64 data_read(void *ctx, u64 offset, unsigned size)
{
	(void)offset, (void)size; /* one port, bytes only */
	return i8042_read(ctx, 0x60);
}

static void data_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)offset, (void)size;
	i8042_write(ctx, 0x60, (u8)value);
}

static u64 command_read(void *ctx, u64 offset, unsigned size)
{
	(void)offset, (void)size;
	return i8042_read(ctx, 0x64);
}

static void command_write(void *ctx, u64 offset, unsigned size, u64 value)
{
	(void)offset, (void)size;
	i8042_write(ctx, 0x64, (u8)value);
}

const struct bus_ops i8042_data_bus_ops = {.read = data_read, .write = data_write};
const struct bus_ops i8042_command_bus_ops = {.read = command_read, .write = command_write};
