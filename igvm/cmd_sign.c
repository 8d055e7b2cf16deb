/* igvm sign: SNP ID block, CoRIM document and signature. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cli.h"
#include "igvm/endorse.h"

struct options {
	const char *output;
	const char *platform; /* of the CoRIM */
	const char *id_key;
	const char *author_key;
	const char *id_block; /* signed elsewhere */
	const char *id_signature;
	const char *id_public_key;
	const char *corim_key;
	const char *corim_cert;
	const char *issuer;
	bool corim;
	bool replace;
	bool has_svn;
	struct igvm_snp_identity identity;
};

/* Replaces *file by the next stage of it. */
static void replace_image(struct blob *file, void *data, size_t len)
{
	free((void *)file->data);
	*file = (struct blob){.data = data, .len = len};
}

static int add_id_block(const char *path, const struct options *o, struct blob *file)
{
	struct igvm_key *id_key = cli_read_key(o->id_key, true);
	struct igvm_key *author_key = NULL;
	struct igvm_error err;
	void *out;
	size_t len;
	int ret = EXIT_FAILURE;

	if (id_key && o->author_key)
		author_key = cli_read_key(o->author_key, true);
	if (id_key && (author_key || !o->author_key)) {
		if (igvm_sign_snp(file->data, file->len, &o->identity, id_key, author_key,
				  o->replace, &out, &len, &err)) {
			cli_failed_with(path, &err);
		} else {
			replace_image(file, out, len);
			ret = 0;
		}
	}
	igvm_key_free(id_key);
	igvm_key_free(author_key);
	return ret;
}

static int attach_signed(const char *path, const struct options *o, struct blob *file,
			 const struct blob *block, const struct blob *signature,
			 const struct blob *pem)
{
	struct igvm_error err;
	struct igvm_key *key;
	void *out;
	size_t len;
	int ret;

	if (block->len != IGVM_SNP_ID_BLOCK_BYTES)
		return cli_failed(o->id_block, "an ID block has 96 bytes");
	key = igvm_key_read(pem->data, pem->len, false, &err);
	if (!key)
		return cli_failed_with(o->id_public_key, &err);
	ret = igvm_attach_id_block(file->data, file->len, block->data, signature->data,
				   signature->len, key, o->replace, &out, &len, &err);
	igvm_key_free(key);
	if (ret)
		return cli_failed_with(path, &err);
	replace_image(file, out, len);
	return 0;
}

static int add_signed_id_block(const char *path, const struct options *o, struct blob *file)
{
	struct blob block = {0}, signature = {0}, pem = {0};
	int ret = cli_read_file(o->id_block, &block);

	if (!ret)
		ret = cli_read_file(o->id_signature, &signature);
	if (!ret)
		ret = cli_read_file(o->id_public_key, &pem);
	if (!ret)
		ret = attach_signed(path, o, file, &block, &signature, &pem);
	free((void *)block.data);
	free((void *)signature.data);
	free((void *)pem.data);
	return ret;
}

static int sign_document(const struct options *o, const void *document, size_t document_len,
			 void **signature, size_t *signature_len)
{
	struct igvm_key *key = cli_read_key(o->corim_key, true);
	struct igvm_error err;
	struct blob pem;
	void *cert = NULL;
	size_t cert_len = 0;
	int ret = key ? 0 : EXIT_FAILURE;

	if (!ret && o->corim_cert) {
		ret = cli_read_file(o->corim_cert, &pem);
		if (!ret) {
			if (igvm_certificate_read(pem.data, pem.len, key, &cert, &cert_len, &err))
				ret = cli_failed_with(o->corim_cert, &err);
			free((void *)pem.data);
		}
	}
	if (!ret && igvm_corim_sign(document, document_len, key, o->issuer, cert, cert_len,
				    signature, signature_len, &err))
		ret = cli_failed_with(o->corim_key, &err);
	free(cert);
	igvm_key_free(key);
	return ret;
}

static int attach(const struct igvm *ig, const char *path, const struct options *o, u32 mask,
		  const struct igvm_endorsement *e, struct blob *file)
{
	void *document, *signature = NULL, *out;
	size_t document_len, signature_len = 0, len;
	struct igvm_error err;
	int ret = 0;

	if (igvm_corim_write(e, &document, &document_len, &err))
		return cli_failed_with(path, &err);
	if (o->corim_key)
		ret = sign_document(o, document, document_len, &signature, &signature_len);
	if (!ret && igvm_corim_attach(ig, mask, document, document_len, signature, signature_len,
				      o->replace, &out, &len, &err))
		ret = cli_failed_with(path, &err);
	else if (!ret)
		replace_image(file, out, len);
	free(document);
	free(signature);
	return ret;
}

static int add_corim(const char *path, const struct options *o, struct blob *file)
{
	const struct igvm_supported_platform *platform;
	struct igvm_endorsement e = {0};
	struct igvm_measurement m;
	struct igvm_error err;
	struct igvm ig;
	bool debug;
	u32 mask;

	if (igvm_open(&ig, file->data, file->len, &err))
		return cli_failed_with(path, &err);
	mask = ig.platform[0].mask;
	if (o->platform ? cli_find_platform(&ig, o->platform, &mask) : ig.platform_count != 1)
		return cli_failed(path, o->platform ? "the image has no such platform"
						    : "several platforms: --platform");
	platform = igvm_find_platform(&ig, (enum igvm_platform_type)igvm_platform_of(&ig, mask));
	if (igvm_measure(&ig, platform, NULL, NULL, &m, &err))
		return cli_failed_with(path, &err);
	endorse_properties(&ig, platform, &e.svn, &debug);
	if (o->has_svn)
		e.svn = o->identity.guest_svn;
	e.platform = m.platform;
	e.digest_len = m.digest_len;
	memcpy(e.digest, m.digest, sizeof(e.digest));
	return attach(&ig, path, o, mask, &e, file);
}

/* 32 hexadecimal digits, or up to 16 characters */
static int parse_id(const char *text, u8 id[16])
{
	size_t len = strlen(text);

	memset(id, 0, 16);
	if (len == 32)
		return igvm_unhex(text, len, id);
	if (len > 16)
		return -1;
	memcpy(id, text, len);
	return 0;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {{"id-key", required_argument, NULL, 'k'},
						{"author-key", required_argument, NULL, 'a'},
						{"family-id", required_argument, NULL, 'f'},
						{"image-id", required_argument, NULL, 'i'},
						{"guest-svn", required_argument, NULL, 's'},
						{"id-block", required_argument, NULL, 'B'},
						{"id-signature", required_argument, NULL, 'S'},
						{"id-public-key", required_argument, NULL, 'P'},
						{"corim", no_argument, NULL, 'c'},
						{"corim-key", required_argument, NULL, 'C'},
						{"corim-cert", required_argument, NULL, 'X'},
						{"issuer", required_argument, NULL, 'I'},
						{"platform", required_argument, NULL, 'p'},
						{"replace", no_argument, NULL, 'r'},
						{0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case 'o': o->output = optarg; break;
		case 'k': o->id_key = optarg; break;
		case 'a': o->author_key = optarg; break;
		case 'f':
			if (parse_id(optarg, o->identity.family_id))
				return cli_usage_error("sign: --family-id", optarg);
			break;
		case 'i':
			if (parse_id(optarg, o->identity.image_id))
				return cli_usage_error("sign: --image-id", optarg);
			break;
		case 's':
			if (cli_parse_u32(optarg, &o->identity.guest_svn))
				return cli_usage_error("sign: --guest-svn is no number", optarg);
			o->has_svn = true;
			break;
		case 'B': o->id_block = optarg; break;
		case 'S': o->id_signature = optarg; break;
		case 'P': o->id_public_key = optarg; break;
		case 'c': o->corim = true; break;
		case 'C':
			o->corim = true;
			o->corim_key = optarg;
			break;
		case 'X': o->corim_cert = optarg; break;
		case 'I': o->issuer = optarg; break;
		case 'p': o->platform = optarg; break;
		case 'r': o->replace = true; break;
		default: return cli_usage_error("sign: wrong option", argv[optind - 1]);
		}
	}
	if (optind + 1 != argc || !o->output)
		return cli_usage_error("sign: needs one file and -o OUT", NULL);
	if (!o->id_key && !o->id_block && !o->corim)
		return cli_usage_error("sign: needs --id-key, --id-block, --corim or --corim-key",
				       NULL);
	if ((o->id_block || o->id_signature || o->id_public_key) &&
	    (!o->id_block || !o->id_signature || !o->id_public_key || o->id_key))
		return cli_usage_error("sign: --id-block, --id-signature and --id-public-key "
				       "belong together, without --id-key",
				       NULL);
	if (o->author_key && !o->id_key)
		return cli_usage_error("sign: --author-key signs the ID key: --id-key", NULL);
	if (o->corim_cert && !o->corim_key)
		return cli_usage_error("sign: --corim-cert belongs to --corim-key", NULL);
	return 0;
}

int cmd_sign(int argc, char **argv)
{
	/* as OpenHCL's images have it */
	struct options o = {.issuer = "igvm sign",
			    .identity = {.family_id = {0, 0, 0, 1}, .image_id = "openhcl"}};
	struct blob file;
	int ret;

	ret = parse_options(argc, argv, &o);
	if (!ret)
		ret = cli_read_file(argv[optind], &file);
	if (ret)
		return ret;
	if (o.id_key)
		ret = add_id_block(argv[optind], &o, &file);
	if (o.id_block)
		ret = add_signed_id_block(argv[optind], &o, &file);
	if (!ret && o.corim)
		ret = add_corim(argv[optind], &o, &file);
	if (!ret)
		ret = cli_write_file(o.output, file.data, file.len);
	free((void *)file.data);
	return ret;
}
