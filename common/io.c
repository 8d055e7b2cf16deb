/* Files, beyond what the C library has. */
#include "common/io.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool write_all(int fd, const void *data, size_t len)
{
	const u8 *from = data;

	while (len) {
		ssize_t n = write(fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		from += n;
		len -= (size_t)n;
	}
	return true;
}

void io_open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}
