/* Log of the shim: memory buffer always, COM3 once the host has offered it. Shim only. */
#ifndef PARAPET_LOADER_LOG_H
#define PARAPET_LOADER_LOG_H

#include "common/abi/shim.h"

/* From here on messages are kept in `log` (already emptied). */
void shim_log_use_buffer(struct shim_log *log);
/* From here on messages go to COM3 too, beginning with those in the buffer. */
void shim_log_use_serial(u32 speed);
/* One line, newline added; cut at 255 characters. */
__attribute__((format(printf, 1, 2))) void shim_log(const char *fmt, ...);

#endif
