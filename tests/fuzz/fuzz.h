/* What fuzz targets share: an input that is read as a stream, peers who do nothing, a silent log.
 */
#ifndef PARAPET_TESTS_FUZZ_FUZZ_H
#define PARAPET_TESTS_FUZZ_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "common/abi/vmbus.h"
#include "common/types.h"
#include "tests/lib/no_log.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

struct input {
	const u8 *data;
	size_t left;
};

/* The next byte; 0 at the end. */
static inline u8 next(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

/* Up to len bytes; returns how many there were. */
static inline size_t take(struct input *in, void *to, size_t len)
{
	len = MIN(len, in->left);
	memcpy(to, in->data, len);
	in->data += len;
	in->left -= len;
	return len;
}

/* Reads all bytes, for the sanitizers to see. */
static inline void touch(const void *data, size_t len)
{
	static volatile u8 sum;

	for (size_t i = 0; i < len; i++)
		sum = (u8)(sum + ((const u8 *)data)[i]);
}

/* One that a VMBus server or client posts. */
static inline void check_message(const void *msg, size_t len)
{
	if (len < 8 || len > VMBUS_MESSAGE_MAX)
		abort();
	touch(msg, len);
}

/* Of struct vmbus_server_ops, for a guest that nothing reaches. */
static inline int post_nothing(void *ctx, u8 vtl, u32 vp, u8 sint, const void *msg, size_t len)
{
	(void)ctx, (void)vtl, (void)vp, (void)sint, (void)msg, (void)len;
	return 0;
}

static inline void signal_nothing(void *ctx, u8 vtl, u32 vp, u8 sint, u16 flag)
{
	(void)ctx, (void)vtl, (void)vp, (void)sint, (void)flag;
}

#endif
