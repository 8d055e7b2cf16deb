/*
 * VTL2's side of the host's crash dump device: its VMBus channel through the kernel's UIO driver.
 * Formats: common/abi/crash.h, Linux drivers/uio/uio_hv_generic.c.
 */
#ifndef PARAPET_PARAVISOR_CRASH_DEVICE_H
#define PARAPET_PARAVISOR_CRASH_DEVICE_H

#include "common/abi/crash.h"
#include "common/vmbus/pipe.h"

struct crash_device {
	int fd;
	int turn; /* held while the device is ours */
	u8 *ring;
	size_t ring_size;
	u8 **page;
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	struct vmbus_pipe pipe;
	struct guid activity;
	u64 max_size; /* bytes the host takes */
	u64 done;
};

/* All return false after a log line. None of them waits for less than the host takes. */
bool crash_device_open(struct crash_device *d);
/* Asks whether the host wants a dump, and begins it. */
bool crash_device_start(struct crash_device *d);
/* The next bytes, at most CRASH_CHUNK. */
bool crash_device_write(struct crash_device *d, const void *data, u32 len);
/* The dump is whole; returns when the host has read it. */
bool crash_device_complete(struct crash_device *d);
/* Gives the memory of its rings back to the kernel. */
void crash_device_close(struct crash_device *d);

#endif
