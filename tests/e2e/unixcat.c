/* Copies what comes from a unix socket to stdout; waits for the socket to be there. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char data[4096];
	ssize_t n;

	if (argc != 2 || fd < 0 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fprintf(stderr, "usage: unixcat SOCKET\n");
		return 2;
	}
	strcpy(address.sun_path, argv[1]);
	for (int i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)); i++) {
		if (i == 600)
			return 1;
		usleep(100000);
	}
	while ((n = read(fd, data, sizeof(data))) > 0)
		if (write(1, data, (size_t)n) != n)
			return 1;
	return 0;
}
