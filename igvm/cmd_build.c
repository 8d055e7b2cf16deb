/* igvm build: reads a manifest and the files that it names, writes the image, signs it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cli.h"
#include "igvm/endorse.h"

struct options {
	char *output;
	const char *resources;
	const char **resource; /* KEY=PATH */
	int resource_count;
	const char *id_key;
	const char *author_key;
	bool documents;
};

/* As in the documents of OpenVMM's igvmfilegen */
static const struct igvm_snp_identity identity = {.family_id = {0, 0, 0, 1}, .image_id = "openhcl"};

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

static int read_resources(const struct manifest *m, const char *manifest_path,
			  struct blob resource[RESOURCE_COUNT])
{
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
	return ret;
}

/* ------------------------------------------------------------------- ID block, documents beside */

static const struct manifest_config *find_config(const struct manifest *m,
						 enum manifest_isolation_kind kind)
{
	for (u32 i = 0; i < m->count; i++) {
		if (m->config[i].isolation.kind == kind)
			return &m->config[i];
	}
	return NULL;
}

/* Replaces *image by one with an ID block. */
static int sign(const struct manifest *m, const struct options *o, void **image, size_t *len)
{
	const struct manifest_config *c = find_config(m, MANIFEST_SNP);
	struct igvm_snp_identity who = identity;
	struct igvm_key *id_key, *author_key = NULL;
	struct igvm_error err;
	void *out;
	int ret = EXIT_FAILURE;

	if (!c)
		return cli_failed(o->id_key, "--id-key: the manifest has no configuration for snp");
	who.guest_svn = c->guest_svn;
	id_key = cli_read_key(o->id_key, true);
	if (id_key && o->author_key)
		author_key = cli_read_key(o->author_key, true);
	if (id_key && (author_key || !o->author_key)) {
		ret = 0;
		if (igvm_sign_snp(*image, *len, &who, id_key, author_key, false, &out, len, &err)) {
			ret = cli_failed_with(o->id_key, &err);
		} else {
			free(*image);
			*image = out;
		}
	}
	igvm_key_free(id_key);
	igvm_key_free(author_key);
	return ret;
}

/* OUT without .igvm, the isolation, the suffix */
static int write_beside(const char *output, const struct manifest_config *c, const char *suffix,
			const void *data, size_t len)
{
	size_t base = strlen(output);
	char *path;
	int ret;

	if (base > 5 && !strcmp(output + base - 5, ".igvm"))
		base -= 5;
	if (asprintf(&path, "%.*s-%s%s", (int)base, output,
		     manifest_isolation_name(c->isolation.kind), suffix) < 0)
		return cli_failed(output, "out of memory");
	ret = cli_write_file(path, data, len);
	free(path);
	return ret;
}

static int write_json(const char *output, const struct manifest_config *c,
		      const struct igvm_endorsement *e, const struct page_list *pages)
{
	json_t *json = endorse_json(e, c->isolation.debug, pages);
	char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	int ret = text ? write_beside(output, c, ".json", text, strlen(text))
		       : cli_failed(output, "out of memory");

	free(text);
	json_decref(json);
	return ret;
}

static int write_corim(const char *output, const struct manifest_config *c,
		       const struct igvm_endorsement *e)
{
	struct igvm_error err;
	void *corim;
	size_t len;
	int ret;

	if (igvm_corim_write(e, &corim, &len, &err))
		return cli_failed_with(output, &err);
	ret = write_beside(output, c, ".cbor", corim, len);
	free(corim);
	return ret;
}

/* What a signer elsewhere signs */
static int write_id_block(const char *output, const struct manifest_config *c,
			  const struct igvm_endorsement *e)
{
	struct igvm_snp_identity who = identity;
	u8 block[IGVM_SNP_ID_BLOCK_BYTES];

	if (c->isolation.kind != MANIFEST_SNP)
		return 0;
	who.guest_svn = c->guest_svn;
	igvm_snp_id_block(e->digest, &who, c->isolation.policy, block);
	return write_beside(output, c, ".idblock", block, sizeof(block));
}

static int write_documents_of(const char *output, const struct manifest_config *c,
			      const struct igvm *ig, const struct igvm_supported_platform *platform)
{
	struct igvm_endorsement e = {.svn = c->guest_svn, .has_rest = true};
	struct page_list pages = {0};
	struct igvm_measurement m;
	struct igvm_error err;
	int ret = 0;

	if (igvm_measure(ig, platform, page_list_step, &pages, &m, &err) ||
	    igvm_measure_rest(ig, platform, e.rest, &err))
		ret = cli_failed_with(output, &err);
	e.platform = m.platform;
	e.digest_len = m.digest_len;
	memcpy(e.digest, m.digest, sizeof(e.digest));
	if (!ret)
		ret = write_json(output, c, &e, &pages);
	if (!ret)
		ret = write_corim(output, c, &e);
	if (!ret)
		ret = write_id_block(output, c, &e);
	page_list_free(&pages);
	return ret;
}

/* For each isolated platform, as OpenVMM's igvmfilegen does */
static int write_documents(const char *output, const struct manifest *m, const void *image,
			   size_t len)
{
	struct igvm_error err;
	struct igvm ig;
	int ret = igvm_open(&ig, image, len, &err) ? cli_failed_with(output, &err) : 0;

	for (u32 i = 0; i < m->count && !ret; i++) {
		if (m->config[i].isolation.kind != MANIFEST_NONE)
			ret = write_documents_of(output, &m->config[i], &ig, &ig.platform[i]);
	}
	return ret;
}

static int build(const struct manifest *m, const char *manifest_path, const struct options *o)
{
	struct blob resource[RESOURCE_COUNT] = {0};
	struct igvm_error err;
	void *image = NULL;
	size_t len = 0;
	int ret = read_resources(m, manifest_path, resource);

	if (!ret && image_build(m, resource, &image, &len, &err))
		ret = cli_failed_with(manifest_path, &err);
	for (u32 i = 0; i < RESOURCE_COUNT; i++)
		free((void *)resource[i].data);
	if (!ret && o->id_key)
		ret = sign(m, o, &image, &len);
	if (!ret)
		ret = cli_write_image(o->output, image, len);
	if (!ret && o->documents)
		ret = write_documents(o->output, m, image, len);
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

static int parse_options(int argc, char **argv, struct options *o)
{
	enum { OPT_RESOURCE = 256, OPT_RESOURCES, OPT_ID_KEY, OPT_AUTHOR_KEY, OPT_DOCUMENTS };
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"resource", required_argument, NULL, OPT_RESOURCE},
		{"resources", required_argument, NULL, OPT_RESOURCES},
		{"id-key", required_argument, NULL, OPT_ID_KEY},
		{"author-key", required_argument, NULL, OPT_AUTHOR_KEY},
		{"documents", no_argument, NULL, OPT_DOCUMENTS},
		{0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case 'o':
			free(o->output);
			o->output = strdup(optarg);
			break;
		case OPT_RESOURCE: o->resource[o->resource_count++] = optarg; break;
		case OPT_RESOURCES: o->resources = optarg; break;
		case OPT_ID_KEY: o->id_key = optarg; break;
		case OPT_AUTHOR_KEY: o->author_key = optarg; break;
		case OPT_DOCUMENTS: o->documents = true; break;
		default: return cli_usage_error("build: wrong option", argv[optind - 1]);
		}
	}
	if (optind + 1 != argc)
		return cli_usage_error("build: needs one manifest", NULL);
	if (o->author_key && !o->id_key)
		return cli_usage_error("build: --author-key needs --id-key", NULL);
	if (!o->output)
		o->output = default_output(argv[optind]);
	return o->output ? 0 : cli_failed("build", "out of memory");
}

int cmd_build(int argc, char **argv)
{
	struct options o = {.resource = calloc((size_t)argc, sizeof(*o.resource))};
	struct manifest m = {0};
	int ret = o.resource ? parse_options(argc, argv, &o) : cli_failed("build", "out of memory");

	if (!ret)
		ret = load_manifest(&m, argv[optind]);
	if (!ret && o.resources)
		ret = load_resources(&m, o.resources);
	for (int i = 0; i < o.resource_count && !ret; i++)
		ret = set_resource(&m, o.resource[i]);
	if (!ret)
		ret = build(&m, argv[optind], &o);
	manifest_free(&m);
	free(o.output);
	free(o.resource);
	return ret;
}
