/* File reading without the C library's buffers. */
#include "paravisor/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Reads up to size bytes; -1 with errno. */
static ssize_t read_all(int fd, void *data, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t n = read(fd, (char *)data + used, size - used);

		if (n == 0)
			break;
		if (n > 0)
			used += (size_t)n;
		else if (errno != EINTR)
			return -1;
	}
	return (ssize_t)used;
}

void *file_load(const char *path, size_t max, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	void *data;

	if (fd < 0)
		return NULL;
	/* one byte more tells a file of just this size from a larger one */
	data = mmap(NULL, max + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED) {
		close(fd);
		return NULL;
	}
	n = read_all(fd, data, max + 1);
	if (n >= 0 && (size_t)n > max) {
		errno = EFBIG;
		n = -1;
	}
	close(fd);
	if (n < 0) {
		file_release(data, max);
		return NULL;
	}
	*size = (size_t)n;
	return data;
}

void file_release(void *data, size_t max)
{
	int saved = errno;

	munmap(data, max + 1);
	errno = saved;
}

int file_read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read_all(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return -1;
	text[n] = 0;
	return (int)n;
}

bool file_write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), error;
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return good;
}
