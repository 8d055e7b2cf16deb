/* Command line `igvm`: build images from a manifest, inspect files, add a VTL0 guest. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "igvm/build.h"
#include "igvm/igvm.h"
#include "igvm/inspect.h"

#ifndef PARAPET_VERSION
#define PARAPET_VERSION "0.1"
#endif

#define EXIT_USAGE 2
#define MAX_FILE   0xffffffffull

static const char usage_text[] =
	"Usage: igvm COMMAND ...\n"
	"\n"
	"  igvm build MANIFEST [-o OUT] [--resource KEY=PATH ...] [--resources FILE]\n"
	"      Builds the image that MANIFEST describes. OUT: the manifest's name with .igvm, in "
	"the\n"
	"      current folder. Keys: underhill_kernel, openhcl_boot, underhill_initrd, "
	"linux_kernel,\n"
	"      linux_initrd. Paths in a file are relative to that file.\n"
	"  igvm inspect FILE [--json]\n"
	"      Checks FILE and shows headers, guest memory and size by part.\n"
	"  igvm add-payload IN -o OUT --kernel KERNEL [--initrd INITRD] [--cmdline TEXT]\n"
	"      Adds a Linux guest (bzImage or vmlinux) for VTL0 to a paravisor image.\n"
	"\n"
	"  -h, --help       this text\n"
	"  -V, --version    name and version\n"
	"\n"
	"Exit code: 0 done, 1 failed, 2 wrong usage.\n";

static int usage_error(const char *text, const char *what)
{
	fprintf(stderr, "igvm: %s%s%s; see igvm --help\n", text, what ? ": " : "",
		what ? what : "");
	return EXIT_USAGE;
}

static int failed(const char *path, const char *text)
{
	fprintf(stderr, "igvm: %s: %s\n", path, text);
	return EXIT_FAILURE;
}

static int failed_with(const char *path, const struct igvm_error *err)
{
	char text[320];

	return failed(path, igvm_error_string(err, text, sizeof(text)));
}

/* --- files */

static int read_open_file(int fd, const char *path, struct blob *out)
{
	struct stat st;
	size_t done = 0;
	u8 *p;

	if (fstat(fd, &st))
		return failed(path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return failed(path, "not a regular file");
	if ((u64)st.st_size > MAX_FILE)
		return failed(path, "larger than 4 GiB");
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return failed(path, "out of memory");
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, p + done, (size_t)st.st_size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(p);
			return failed(path,
				      n < 0 ? strerror(errno) : "became shorter while it was read");
		}
		done += (size_t)n;
	}
	*out = (struct blob){.data = p, .len = done};
	return 0;
}

/* out->data: free() it */
static int read_file(const char *path, struct blob *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return failed(path, strerror(errno));
	ret = read_open_file(fd, path, out);
	close(fd);
	return ret;
}

static int write_all(int fd, const u8 *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Through a second name, so that no reader sees half a file. */
static int write_file(const char *path, const void *data, size_t len)
{
	char *temporary;
	int fd, ret = 0;

	if (asprintf(&temporary, "%s.tmp%ld", path, (long)getpid()) < 0)
		return failed(path, "out of memory");
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0) {
		ret = failed(temporary, strerror(errno));
		free(temporary);
		return ret;
	}
	if (write_all(fd, data, len))
		ret = failed(temporary, strerror(errno));
	if (close(fd) && !ret)
		ret = failed(temporary, strerror(errno));
	if (!ret && rename(temporary, path))
		ret = failed(path, strerror(errno));
	if (ret)
		unlink(temporary);
	free(temporary);
	return ret;
}

static int write_image(const char *path, const void *data, size_t len)
{
	struct igvm ig;
	json_t *parts, *value;
	const char *key;
	int ret = write_file(path, data, len);

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

/* --- build */

/* Paths in a file count from its folder. */
static char *relative_to(const char *file, const char *path)
{
	const char *slash = strrchr(file, '/');
	char *out;

	if (path[0] == '/' || !slash)
		return strdup(path);
	return asprintf(&out, "%.*s/%s", (int)(slash - file), file, path) < 0 ? NULL : out;
}

/* Makes the paths that were read from `file` usable from the current folder. */
static int resolve(struct manifest *m, const char *file)
{
	for (u32 i = 0; i < RESOURCE_COUNT; i++) {
		char *path;

		if (!m->resource[i])
			continue;
		path = relative_to(file, m->resource[i]);
		if (!path)
			return failed(file, "out of memory");
		free(m->resource[i]);
		m->resource[i] = path;
	}
	return 0;
}

static int load_manifest(struct manifest *m, const char *path)
{
	struct igvm_error err;
	struct blob text;
	int ret = read_file(path, &text);

	if (ret)
		return ret;
	ret = manifest_parse(m, text.data, text.len, &err);
	free((void *)text.data);
	return ret ? failed_with(path, &err) : resolve(m, path);
}

/* What the file names takes the place of the manifest's own paths. */
static int load_resources(struct manifest *m, const char *path)
{
	struct manifest added = {0};
	struct igvm_error err;
	struct blob text;
	int ret = read_file(path, &text);

	if (ret)
		return ret;
	ret = manifest_parse_resources(&added, text.data, text.len, &err);
	free((void *)text.data);
	ret = ret ? failed_with(path, &err) : resolve(&added, path);
	for (u32 i = 0; i < RESOURCE_COUNT && !ret; i++) {
		if (added.resource[i]) {
			free(m->resource[i]);
			m->resource[i] = added.resource[i];
			added.resource[i] = NULL;
		}
	}
	manifest_free(&added);
	return ret;
}

static int set_resource(struct manifest *m, const char *arg)
{
	const char *equals = strchr(arg, '=');
	enum resource r = equals ? resource_find(arg, (size_t)(equals - arg)) : RESOURCE_COUNT;

	if (r == RESOURCE_COUNT)
		return usage_error("--resource needs KEY=PATH with a known key", arg);
	free(m->resource[r]);
	m->resource[r] = strdup(equals + 1);
	return m->resource[r] ? 0 : failed(arg, "out of memory");
}

static int build(const struct manifest *m, const char *manifest_path, const char *out_path)
{
	struct blob resource[RESOURCE_COUNT] = {0};
	struct igvm_error err;
	void *image = NULL;
	size_t len;
	int ret = 0;

	for (u32 i = 0; i < RESOURCE_COUNT && !ret; i++) {
		if (!manifest_needs(m, i))
			continue;
		if (!m->resource[i]) {
			fprintf(stderr, "igvm: %s: no path for %s: add --resource %s=PATH\n",
				manifest_path, resource_key(i), resource_key(i));
			ret = EXIT_FAILURE;
		} else {
			ret = read_file(m->resource[i], &resource[i]);
		}
	}
	if (!ret && image_build(m, resource, &image, &len, &err))
		ret = failed_with(manifest_path, &err);
	for (u32 i = 0; i < RESOURCE_COUNT; i++)
		free((void *)resource[i].data);
	if (!ret)
		ret = write_image(out_path, image, len);
	free(image);
	return ret;
}

static char *default_output(const char *manifest_path)
{
	const char *slash = strrchr(manifest_path, '/');
	const char *name = slash ? slash + 1 : manifest_path;
	size_t len = strlen(name);
	char *out;

	if (len > 5 && !strcmp(name + len - 5, ".json"))
		len -= 5;
	return asprintf(&out, "%.*s.igvm", (int)len, name) < 0 ? NULL : out;
}

static int cmd_build(int argc, char **argv)
{
	enum { OPT_RESOURCE = 256, OPT_RESOURCES };
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"resource", required_argument, NULL, OPT_RESOURCE},
		{"resources", required_argument, NULL, OPT_RESOURCES},
		{0},
	};
	char *out = NULL, *resources = NULL, **args = calloc((size_t)argc, sizeof(*args));
	struct manifest m = {0};
	int opt, ret = 0, count = 0;

	if (!args)
		return failed("build", "out of memory");
	while (!ret && (opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case 'o':
			free(out);
			out = strdup(optarg);
			break;
		case OPT_RESOURCE: args[count++] = optarg; break;
		case OPT_RESOURCES: resources = optarg; break;
		default: ret = usage_error("build: wrong option", argv[optind - 1]);
		}
	}
	if (!ret && optind + 1 != argc)
		ret = usage_error("build: needs one manifest", NULL);
	if (!ret)
		ret = load_manifest(&m, argv[optind]);
	if (!ret && resources)
		ret = load_resources(&m, resources);
	for (int i = 0; i < count && !ret; i++)
		ret = set_resource(&m, args[i]);
	if (!ret && !out)
		out = default_output(argv[optind]);
	if (!ret)
		ret = out ? build(&m, argv[optind], out) : failed("build", "out of memory");
	manifest_free(&m);
	free(out);
	free(args);
	return ret;
}

/* --- inspect, add-payload */

static int cmd_inspect(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
	struct igvm_error err;
	struct igvm ig;
	struct blob file;
	json_t *description;
	bool json = false;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'j')
			return usage_error("inspect: wrong option", argv[optind - 1]);
		json = true;
	}
	if (optind + 1 != argc)
		return usage_error("inspect: needs one file", NULL);
	ret = read_file(argv[optind], &file);
	if (ret)
		return ret;
	if (igvm_open(&ig, file.data, file.len, &err)) {
		free((void *)file.data);
		return failed_with(argv[optind], &err);
	}
	description = inspect_describe(&ig);
	if (!description) {
		ret = failed(argv[optind], "out of memory");
	} else if (json) {
		json_dumpf(description, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		inspect_print(stdout, description);
	}
	json_decref(description);
	free((void *)file.data);
	if (!ret && fflush(stdout))
		ret = failed("standard output", strerror(errno));
	return ret;
}

static int add_payload(const char *in, const char *out, const char *kernel, const char *initrd,
		       const char *cmdline)
{
	struct igvm_vtl0_linux payload = {.cmdline = cmdline};
	struct blob image = {0}, kernel_file = {0}, initrd_file = {0};
	struct igvm_error err;
	void *result = NULL;
	size_t len;
	int ret = read_file(in, &image);

	if (!ret)
		ret = read_file(kernel, &kernel_file);
	if (!ret && initrd)
		ret = read_file(initrd, &initrd_file);
	payload.kernel = kernel_file.data;
	payload.kernel_len = kernel_file.len;
	payload.initrd = initrd_file.data;
	payload.initrd_len = initrd_file.len;
	if (!ret && igvm_add_vtl0_linux(image.data, image.len, &payload, &result, &len, &err))
		ret = failed_with(in, &err);
	if (!ret)
		ret = write_image(out, result, len);
	free(result);
	free((void *)image.data);
	free((void *)kernel_file.data);
	free((void *)initrd_file.data);
	return ret;
}

static int cmd_add_payload(int argc, char **argv)
{
	enum { OPT_KERNEL = 256, OPT_INITRD, OPT_CMDLINE };
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"kernel", required_argument, NULL, OPT_KERNEL},
		{"initrd", required_argument, NULL, OPT_INITRD},
		{"cmdline", required_argument, NULL, OPT_CMDLINE},
		{0},
	};
	const char *out = NULL, *kernel = NULL, *initrd = NULL, *cmdline = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case 'o': out = optarg; break;
		case OPT_KERNEL: kernel = optarg; break;
		case OPT_INITRD: initrd = optarg; break;
		case OPT_CMDLINE: cmdline = optarg; break;
		default: return usage_error("add-payload: wrong option", argv[optind - 1]);
		}
	}
	if (optind + 1 != argc || !out || !kernel)
		return usage_error("add-payload: needs an image, -o and --kernel", NULL);
	return add_payload(argv[optind], out, kernel, initrd, cmdline);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{"build", cmd_build},
		{"inspect", cmd_inspect},
		{"add-payload", cmd_add_payload},
	};

	opterr = 0; /* usage_error() says it */
	if (argc < 2)
		return usage_error("no command", NULL);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			fputs(usage_text, stdout);
			return 0;
		}
	}
	if (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version")) {
		puts("igvm (Parapet) " PARAPET_VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	}
	return usage_error("unknown command", argv[1]);
}
