/* Guest console bytes on their way to and from the host: batches out, credit-limited bytes in. */
#ifndef PARAPET_PARAVISOR_CONSOLE_H
#define PARAPET_PARAVISOR_CONSOLE_H

#include "common/saved.h"

/*
 * Pure state without lock: the owner serialises calls.
 * Out: a batch is due at a newline, at CONSOLE_BATCH bytes, or CONSOLE_DELAY_NS after its first
 * byte. In: the host may send as many bytes as it was given credit for, so nothing is lost.
 */
#define CONSOLE_OUT_SIZE 4096u
#define CONSOLE_IN_SIZE	 1024u
#define CONSOLE_BATCH	 128u
#define CONSOLE_DELAY_NS 20000000ull
#define CONSOLE_NEVER	 UINT64_MAX

struct console {
	u32 out_head, out_count;
	u32 in_head, in_count;
	u32 credit_owed; /* bytes that left the input queue and were not yet credited again */
	u64 deadline;	 /* ns; CONSOLE_NEVER when nothing waits */
	u64 dropped;	 /* bytes that found a queue full */
	u8 out[CONSOLE_OUT_SIZE];
	u8 in[CONSOLE_IN_SIZE];
};

void console_init(struct console *console);

/* Queues guest output. True when the batch should go to the host now. */
bool console_write(struct console *console, const u8 *data, size_t size, u64 now_ns);
/* Takes up to size bytes of output; 0 when there is none. */
size_t console_take(struct console *console, u8 *data, size_t size);

/* Queues input from the host; what exceeds the credit is dropped. */
void console_input(struct console *console, const u8 *data, size_t size);
/* The next input bytes in one piece (may be fewer than there are), and how to remove them. */
const u8 *console_peek(const struct console *console, size_t *size);
void console_consume(struct console *console, size_t size);
/* Is there enough credit to be worth a message? And that credit, to be sent; 0 if not. */
bool console_owes_credit(const struct console *console);
u32 console_take_credit(struct console *console);

void console_save(const struct console *console, struct pb_writer *out);
/* False, and the console is as it was: malformed. */
bool console_restore(struct console *console, struct pb_bytes state);

#endif
