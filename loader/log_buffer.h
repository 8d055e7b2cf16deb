/* The image's log buffer: whole messages as text, read by the paravisor after boot. */
#ifndef PARAPET_LOADER_LOG_BUFFER_H
#define PARAPET_LOADER_LOG_BUFFER_H

#include "common/abi/shim.h"

/* Empties the buffer of `size` bytes at `log`. */
void log_buffer_init(struct shim_log *log, u64 size);

/* Appends the whole message, or drops and counts it when it does not fit. */
void log_buffer_append(struct shim_log *log, const char *text, size_t length);

#endif
