/* Files, beyond what the C library has. */
#include "common/io.h"

#include <errno.h>
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
