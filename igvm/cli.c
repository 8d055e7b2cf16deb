/* Messages and files of the program `igvm`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "igvm/cli.h"
#include "igvm/inspect.h"

#define MAX_FILE 0xffffffffull

int cli_usage_error(const char *text, const char *what)
{
	fprintf(stderr, "igvm: %s%s%s; see igvm --help\n", text, what ? ": " : "",
		what ? what : "");
	return CLI_EXIT_USAGE;
}

int cli_failed(const char *path, const char *text)
{
	fprintf(stderr, "igvm: %s: %s\n", path, text);
	return EXIT_FAILURE;
}

int cli_failed_with(const char *path, const struct igvm_error *err)
{
	char text[320];

	return cli_failed(path, igvm_error_string(err, text, sizeof(text)));
}

static int read_open_file(int fd, const char *path, struct blob *out)
{
	struct stat st;
	size_t done = 0;
	u8 *p;

	if (fstat(fd, &st))
		return cli_failed(path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return cli_failed(path, "not a regular file");
	if ((u64)st.st_size > MAX_FILE)
		return cli_failed(path, "larger than 4 GiB");
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return cli_failed(path, "out of memory");
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, p + done, (size_t)st.st_size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(p);
			return cli_failed(path, n < 0 ? strerror(errno)
						      : "became shorter while it was read");
		}
		done += (size_t)n;
	}
	*out = (struct blob){.data = p, .len = done};
	return 0;
}

int cli_read_file(const char *path, struct blob *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return cli_failed(path, strerror(errno));
	ret = read_open_file(fd, path, out);
	close(fd);
	return ret;
}

int cli_open_image(const char *path, struct blob *out, struct igvm *ig)
{
	int ret = cli_read_file(path, out);
	struct igvm_error err;

	if (ret || !igvm_open(ig, out->data, out->len, &err))
		return ret;
	free((void *)out->data);
	return cli_failed_with(path, &err);
}

struct igvm_key *cli_read_key(const char *path, bool private)
{
	struct igvm_key *key;
	struct igvm_error err;
	struct blob pem;

	if (cli_read_file(path, &pem))
		return NULL;
	key = igvm_key_read(pem.data, pem.len, private, &err);
	if (private)
		explicit_bzero((void *)pem.data, pem.len);
	free((void *)pem.data);
	if (!key)
		cli_failed_with(path, &err);
	return key;
}

int cli_write_file(const char *path, const void *data, size_t len)
{
	char *temporary;
	int fd, ret = 0;

	if (asprintf(&temporary, "%s.tmp%ld", path, (long)getpid()) < 0)
		return cli_failed(path, "out of memory");
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0) {
		ret = cli_failed(temporary, strerror(errno));
		free(temporary);
		return ret;
	}
	if (!write_all(fd, data, len))
		ret = cli_failed(temporary, strerror(errno));
	if (close(fd) && !ret)
		ret = cli_failed(temporary, strerror(errno));
	if (!ret && rename(temporary, path))
		ret = cli_failed(path, strerror(errno));
	if (ret)
		unlink(temporary);
	free(temporary);
	return ret;
}

int cli_write_image(const char *path, const void *data, size_t len)
{
	struct igvm ig;
	json_t *parts, *value;
	const char *key;
	int ret = cli_write_file(path, data, len);

	if (ret || igvm_open(&ig, data, len, NULL))
		return ret;
	printf("%s: %zu bytes", path, len);
	parts = inspect_parts(&ig);
	json_object_foreach(parts, key, value)
	{
		if (json_integer_value(value))
			printf(", %s %lld", key, (long long)json_integer_value(value));
	}
	putchar('\n');
	json_decref(parts);
	return 0;
}

int cli_parse_u32(const char *text, u32 *value)
{
	unsigned long long number;
	char *end;

	number = strtoull(text, &end, 0);
	if (*end || end == text || number > 0xffffffff)
		return -1;
	*value = (u32)number;
	return 0;
}

int cli_find_platform(const struct igvm *ig, const char *name, u32 *mask)
{
	static const char *const aliases[][2] = {
		{"vbs", "vsm"}, {"none", "vsm"}, {"snp", "sev-snp"}};

	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
		if (!strcmp(name, aliases[i][0]))
			name = aliases[i][1];
	}
	for (u32 i = 0; i < ig->platform_count; i++) {
		if (!strcmp(name, igvm_platform_name(ig->platform[i].platform_type))) {
			*mask = ig->platform[i].mask;
			return 0;
		}
	}
	return -1;
}
