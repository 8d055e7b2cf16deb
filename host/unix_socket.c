/* Stream sockets that have a path. */
#include "host/unix_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

bool unix_address(struct sockaddr_un *a, const char *path, const char *suffix)
{
	int n;

	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(a->sun_path, sizeof(a->sun_path), "%s%s", path, suffix);
	return n > 0 && (size_t)n < sizeof(a->sun_path);
}

int unix_listen(const char *path, bool for_us, int backlog)
{
	struct sockaddr_un a;
	struct stat st;
	int fd;

	if (!unix_address(&a, path, "")) {
		log_error("%s: socket path is empty or longer than %zu characters", path,
			  sizeof(a.sun_path) - 1);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		log_error("socket: %s", strerror(errno));
		return -1;
	}
	/* Left over from a program that was killed? Nobody answers then. */
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode)) {
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a)) || errno != ECONNREFUSED) {
			log_error("%s: in use by another program", path);
			close(fd);
			return -1;
		}
		unlink(path);
	}
	if (!bind(fd, (struct sockaddr *)&a, sizeof(a)) && (!for_us || !chmod(path, 0600)) &&
	    !listen(fd, backlog))
		return fd;
	log_error("cannot listen on %s: %s", path, strerror(errno));
	close(fd);
	return -1;
}

void unix_unlisten(int fd, const char *path)
{
	if (fd < 0)
		return;
	close(fd);
	unlink(path);
}
