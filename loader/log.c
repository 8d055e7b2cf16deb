/* Log of the shim. */
#include "loader/log.h"

#include "loader/format.h"
#include "loader/log_buffer.h"
#include "loader/serial.h"

static struct shim_log *buffer;
static bool serial;

void shim_log_use_buffer(struct shim_log *log)
{
	buffer = log;
}

void shim_log_use_serial(u32 speed)
{
	if (serial)
		return;
	serial = true;
	serial_init(speed);
	if (buffer)
		serial_write(buffer->text, buffer->used);
}

void shim_log(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = shim_vformat(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	if (buffer)
		log_buffer_append(buffer, line, n);
	if (serial)
		serial_write(line, n);
}
