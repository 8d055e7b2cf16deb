/* Queues between a guest serial port and the host link. */
#include "paravisor/console.h"

#include <string.h>

static const struct saved_field fields[] = {
	SAVED_NUMBER(1, struct console, out_head, CONSOLE_OUT_SIZE - 1),
	SAVED_NUMBER(2, struct console, out_count, CONSOLE_OUT_SIZE),
	SAVED_NUMBER(3, struct console, in_head, CONSOLE_IN_SIZE - 1),
	SAVED_NUMBER(4, struct console, in_count, CONSOLE_IN_SIZE),
	SAVED_NUMBER(5, struct console, credit_owed, CONSOLE_IN_SIZE),
	SAVED_ANY(6, struct console, deadline),
	SAVED_ANY(7, struct console, dropped),
	SAVED_NUMBERS(8, struct console, out, UINT8_MAX),
	SAVED_NUMBERS(9, struct console, in, UINT8_MAX),
};
static const struct saved_layout layout = SAVED_LAYOUT(fields);

void console_init(struct console *console)
{
	memset(console, 0, sizeof(*console));
	console->deadline = CONSOLE_NEVER;
	console->credit_owed = CONSOLE_IN_SIZE;
}

bool console_write(struct console *console, const u8 *data, size_t size, u64 now_ns)
{
	bool due = false;

	for (size_t i = 0; i < size; i++) {
		if (console->out_count == CONSOLE_OUT_SIZE) {
			console->dropped += size - i;
			return true;
		}
		console->out[(console->out_head + console->out_count++) % CONSOLE_OUT_SIZE] =
			data[i];
		due |= data[i] == '\n';
	}
	if (console->out_count && console->deadline == CONSOLE_NEVER)
		console->deadline = now_ns + CONSOLE_DELAY_NS;
	return due || console->out_count >= CONSOLE_BATCH;
}

size_t console_take(struct console *console, u8 *data, size_t size)
{
	size_t n = MIN(size, (size_t)console->out_count);

	for (size_t i = 0; i < n; i++)
		data[i] = console->out[(console->out_head + i) % CONSOLE_OUT_SIZE];
	console->out_head = (u32)((console->out_head + n) % CONSOLE_OUT_SIZE);
	console->out_count -= (u32)n;
	if (!console->out_count)
		console->deadline = CONSOLE_NEVER;
	return n;
}

void console_input(struct console *console, const u8 *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (console->in_count == CONSOLE_IN_SIZE) {
			console->dropped += size - i;
			return;
		}
		console->in[(console->in_head + console->in_count++) % CONSOLE_IN_SIZE] = data[i];
	}
}

const u8 *console_peek(const struct console *console, size_t *size)
{
	*size = MIN(console->in_count, CONSOLE_IN_SIZE - console->in_head);
	return console->in + console->in_head;
}

void console_consume(struct console *console, size_t size)
{
	size = MIN(size, (size_t)console->in_count);
	console->in_head = (u32)((console->in_head + size) % CONSOLE_IN_SIZE);
	console->in_count -= (u32)size;
	console->credit_owed += (u32)size;
}

bool console_owes_credit(const struct console *console)
{
	/* the host still holds the other half, so it never waits for us */
	return console->credit_owed >= CONSOLE_IN_SIZE / 2;
}

u32 console_take_credit(struct console *console)
{
	u32 credit = console_owes_credit(console) ? console->credit_owed : 0;

	console->credit_owed -= credit;
	return credit;
}

void console_save(const struct console *console, struct pb_writer *out)
{
	saved_write(out, &layout, console);
}

bool console_restore(struct console *console, struct pb_bytes state)
{
	return saved_read(state, &layout, console);
}
