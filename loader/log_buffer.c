/* Early log in memory. */
#include "loader/log_buffer.h"

#include <string.h>

void log_buffer_init(struct shim_log *log, u64 size)
{
	u64 room = size - sizeof(*log);

	log->capacity = (u16)MIN(room, UINT16_MAX);
	log->used = 0;
	log->dropped = 0;
}

void log_buffer_append(struct shim_log *log, const char *text, size_t length)
{
	if (length > (size_t)(log->capacity - log->used)) {
		if (log->dropped < UINT16_MAX)
			log->dropped++;
		return;
	}
	memcpy(log->text + log->used, text, length);
	log->used = (u16)(log->used + length);
}
