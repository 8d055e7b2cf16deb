/* igvm build: reads a manifest and the files that it names, writes the image. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cli.h"

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
			return cli_failed(file, "out of memory");
		free(m->resource[i]);
		m->resource[i] = path;
	}
	return 0;
}

static int load_manifest(struct manifest *m, const char *path)
{
	struct igvm_error err;
	struct blob text;
	int ret = cli_read_file(path, &text);

	if (ret)
		return ret;
	ret = manifest_parse(m, text.data, text.len, &err);
	free((void *)text.data);
	return ret ? cli_failed_with(path, &err) : resolve(m, path);
}

/* What the file names takes the place of the manifest's own paths. */
static int load_resources(struct manifest *m, const char *path)
{
	struct manifest added = {0};
	struct igvm_error err;
	struct blob text;
	int ret = cli_read_file(path, &text);

	if (ret)
		return ret;
	ret = manifest_parse_resources(&added, text.data, text.len, &err);
	free((void *)text.data);
	ret = ret ? cli_failed_with(path, &err) : resolve(&added, path);
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
		return cli_usage_error("--resource needs KEY=PATH with a known key", arg);
	free(m->resource[r]);
	m->resource[r] = strdup(equals + 1);
	return m->resource[r] ? 0 : cli_failed(arg, "out of memory");
}

static int build(const struct manifest *m, const char *manifest_path, const char *out_path)
{
	struct blob resource[RESOURCE_COUNT] = {0};
	struct igvm_error err;
	void *image = NULL;
	size_t len;
	int ret = 0;

	for (u32 i = 0; i < RESOURCE_COUNT && !ret; i++) {
		if (!manifest_uses(m, i) || (!m->resource[i] && !manifest_needs(m, i)))
			continue;
		if (!m->resource[i]) {
			fprintf(stderr, "igvm: %s: no path for %s: add --resource %s=PATH\n",
				manifest_path, resource_key(i), resource_key(i));
			ret = EXIT_FAILURE;
		} else {
			ret = cli_read_file(m->resource[i], &resource[i]);
		}
	}
	if (!ret && image_build(m, resource, &image, &len, &err))
		ret = cli_failed_with(manifest_path, &err);
	for (u32 i = 0; i < RESOURCE_COUNT; i++)
		free((void *)resource[i].data);
	if (!ret)
		ret = cli_write_image(out_path, image, len);
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

int cmd_build(int argc, char **argv)
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
		return cli_failed("build", "out of memory");
	while (!ret && (opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case 'o':
			free(out);
			out = strdup(optarg);
			break;
		case OPT_RESOURCE: args[count++] = optarg; break;
		case OPT_RESOURCES: resources = optarg; break;
		default: ret = cli_usage_error("build: wrong option", argv[optind - 1]);
		}
	}
	if (!ret && optind + 1 != argc)
		ret = cli_usage_error("build: needs one manifest", NULL);
	if (!ret)
		ret = load_manifest(&m, argv[optind]);
	if (!ret && resources)
		ret = load_resources(&m, resources);
	for (int i = 0; i < count && !ret; i++)
		ret = set_resource(&m, args[i]);
	if (!ret && !out)
		out = default_output(argv[optind]);
	if (!ret)
		ret = out ? build(&m, argv[optind], out) : cli_failed("build", "out of memory");
	manifest_free(&m);
	free(out);
	free(args);
	return ret;
}
