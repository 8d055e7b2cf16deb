/* igvm verify: is this the image that was measured, endorsed, signed? The exit code says it. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cli.h"
#include "igvm/endorse.h"

struct options {
	const char *platform;
	const char *endorsement;
	const char *explain_list;
	const char *id_key;
	const char *corim_key;
	bool measured_only;
	u32 measurement_len; /* 0: not given */
	u8 measurement[IGVM_MAX_DIGEST];
	bool has_id_key_digest;
	u8 id_key_digest[IGVM_MAX_DIGEST];
};

struct check {
	const struct options *o;
	struct igvm ig;
	const struct igvm_supported_platform *platform;
	struct igvm_measurement m;
	struct igvm_endorsement endorsement;
	struct page_list expected; /* of the endorsement or the listing; may be empty */
	bool failed;		   /* the answer is no */
};

static void answer(struct check *c, bool good, const char *what, const char *text)
{
	c->failed |= !good;
	printf("%s %s: %s\n", igvm_platform_name(c->m.platform), what, text);
}

/* Names pages that differ from the list, if there is one. */
static int explain(struct check *c, bool digest_matches, bool *unmeasured_differ)
{
	struct page_list found = {0};
	struct page_difference d;
	struct igvm_measurement m;
	struct igvm_error err;
	char name[48];

	*unmeasured_differ = false;
	if (!c->expected.count)
		return 0;
	if (igvm_measure(&c->ig, c->platform, page_list_step, &found, &m, &err) || found.failed) {
		page_list_free(&found);
		return cli_failed("verify", "out of memory");
	}
	page_list_compare(&c->expected, &found, &d);
	page_list_free(&found);
	if (!digest_matches && d.measured)
		printf("  the first of %zu measured differences: %s\n", d.measured,
		       page_entry_name(&d.first_measured, name, sizeof(name)));
	else if (!digest_matches)
		printf("  the list of pages shows no measured difference: it is of another "
		       "build\n");
	if (d.unmeasured && !c->o->measured_only) {
		*unmeasured_differ = true;
		printf("  %s unmeasured %s differs%s: the launch measurement does not protect it\n",
		       digest_matches ? "the launch measurement matches, but" : "and",
		       page_entry_name(&d.first_unmeasured, name, sizeof(name)),
		       d.unmeasured > 1 ? " (and more)" : "");
	}
	return 0;
}

static bool check_digest(struct check *c, const u8 *expected, u32 len)
{
	char text[2 * IGVM_MAX_DIGEST + 1];
	bool good = len == c->m.digest_len && !memcmp(expected, c->m.digest, len);

	answer(c, good, "launch measurement", good ? "matches" : "DIFFERS");
	if (good)
		return true;
	printf("  expected %s\n", igvm_hex(expected, len, text));
	printf("  found    %s\n", igvm_hex(c->m.digest, c->m.digest_len, text));
	return false;
}

static int check_rest(struct check *c, bool digest_matches)
{
	bool unmeasured_differ;
	u8 rest[IGVM_MAX_DIGEST];
	struct igvm_error err;
	int ret = explain(c, digest_matches, &unmeasured_differ);

	if (ret || c->o->measured_only)
		return ret;
	c->failed |= unmeasured_differ;
	if (!c->endorsement.has_rest) {
		if (!c->expected.count)
			printf("  not checked: unmeasured content, which this expectation does not "
			       "cover\n");
		return 0;
	}
	if (igvm_measure_rest(&c->ig, c->platform, rest, &err))
		return cli_failed_with("verify", &err);
	if (!memcmp(rest, c->endorsement.rest, sizeof(rest))) {
		answer(c, true, "unmeasured content", "matches");
		return 0;
	}
	answer(c, false, "unmeasured content", "DIFFERS");
	if (!unmeasured_differ)
		printf("  no page of it: policy, parameters, memory or relocation that the host is "
		       "told of\n");
	return 0;
}

static int check_measurement(struct check *c)
{
	bool matches = true;

	if (c->o->measurement_len)
		matches &= check_digest(c, c->o->measurement, c->o->measurement_len);
	if (c->o->endorsement && matches)
		matches &= check_digest(c, c->endorsement.digest, c->endorsement.digest_len);
	if (c->o->measurement_len || c->o->endorsement || c->o->explain_list)
		return check_rest(c, matches);
	return 0;
}

static int check_id_block(struct check *c, const u8 expected[IGVM_MAX_DIGEST])
{
	char text[2 * IGVM_MAX_DIGEST + 1];
	struct igvm_header policy, h;
	struct igvm_id_check id;
	struct igvm_iter it;

	igvm_first(&c->ig, &it);
	igvm_next_of(&it, IGVM_GUEST_POLICY, c->m.mask, &policy); /* measuring has asked for it */
	igvm_first(&c->ig, &it);
	if (!igvm_next_of(&it, IGVM_SNP_ID_BLOCK, c->m.mask, &h)) {
		answer(c, false, "ID block", "the image has NONE");
		return 0;
	}
	if (igvm_check_id_block(h.u.snp_id_block, policy.u.guest_policy.policy, &id))
		return cli_failed("verify", "out of memory");
	if (memcmp(h.u.snp_id_block->ld, c->m.digest, sizeof(h.u.snp_id_block->ld)))
		answer(c, false, "ID block", "is for ANOTHER launch digest");
	else if (!id.id_signature || (id.has_author && !id.author_signature))
		answer(c, false, "ID block", "its signature is WRONG");
	else if (memcmp(id.id_key_digest, expected, sizeof(id.id_key_digest)))
		answer(c, false, "ID block", "signed by ANOTHER key");
	else
		answer(c, true, "ID block", "signed by the key");
	if (c->failed) {
		printf("  expected key %s\n", igvm_hex(expected, 48, text));
		printf("  found key    %s\n", igvm_hex(id.id_key_digest, 48, text));
	}
	return 0;
}

static int check_id_key(struct check *c)
{
	u8 digest[IGVM_MAX_DIGEST];
	struct igvm_key *key;
	int ret = 0;

	if (c->o->has_id_key_digest)
		ret = check_id_block(c, c->o->id_key_digest);
	if (ret || !c->o->id_key)
		return ret;
	key = cli_read_key(c->o->id_key, false);
	if (!key)
		return EXIT_FAILURE;
	ret = igvm_key_digest(key, digest) ? cli_failed("verify", "out of memory")
					   : check_id_block(c, digest);
	igvm_key_free(key);
	return ret;
}

static void check_corim_with(struct check *c, const struct igvm_key *key)
{
	const u8 *document, *signature;
	size_t document_len, signature_len;
	struct igvm_endorsement e;
	struct igvm_error err;

	if (igvm_corim_find(&c->ig, c->m.mask, &document, &document_len, &signature,
			    &signature_len) ||
	    !signature)
		answer(c, false, "CoRIM", "the image has NO signed one");
	else if (igvm_corim_check(signature, signature_len, document, document_len, key, &err) ||
		 igvm_corim_read(document, document_len, &e, &err))
		answer(c, false, "CoRIM", err.text);
	else if (e.platform != c->m.platform || memcmp(e.digest, c->m.digest, c->m.digest_len))
		answer(c, false, "CoRIM", "is for ANOTHER launch measurement");
	else
		answer(c, true, "CoRIM", "signed by the key");
}

static int check_corim(struct check *c)
{
	struct igvm_key *key;

	if (!c->o->corim_key)
		return 0;
	key = cli_read_key(c->o->corim_key, false);
	if (!key)
		return EXIT_FAILURE;
	check_corim_with(c, key);
	igvm_key_free(key);
	return 0;
}

static int read_endorsement(struct check *c)
{
	struct igvm_error err;
	struct blob file;
	int ret;

	if (!c->o->endorsement)
		return 0;
	ret = cli_read_file(c->o->endorsement, &file);
	if (ret)
		return ret;
	if (endorse_read(file.data, file.len, &c->endorsement, &c->expected, &err))
		ret = cli_failed_with(c->o->endorsement, &err);
	free((void *)file.data);
	return ret;
}

static int read_list(struct check *c)
{
	struct blob file;
	int ret;

	if (!c->o->explain_list)
		return 0;
	ret = cli_read_file(c->o->explain_list, &file);
	if (ret)
		return ret;
	page_list_free(&c->expected);
	if (page_list_from_text((const char *)file.data, file.len, c->platform->platform_type,
				&c->expected))
		ret = cli_failed(c->o->explain_list,
				 "not the output of igvm measure --explain for this platform");
	free((void *)file.data);
	return ret;
}

/* Given, of the endorsement, of the ID block, or the only one */
static int choose_platform(struct check *c, const char *path)
{
	const struct options *o = c->o;
	u32 mask = c->ig.platform[0].mask;
	int type = -1;

	if (o->platform) {
		if (cli_find_platform(&c->ig, o->platform, &mask))
			return cli_failed(path, "the image has no such platform");
		type = igvm_platform_of(&c->ig, mask);
	}
	if (o->endorsement) {
		if (type >= 0 && (enum igvm_platform_type)type != c->endorsement.platform)
			return cli_failed(o->endorsement,
					  "the endorsement is for another platform");
		type = c->endorsement.platform;
	}
	if (o->id_key || o->has_id_key_digest) {
		if (type >= 0 && type != IGVM_PLATFORM_SEV_SNP)
			return cli_usage_error("verify: an ID key is for platform sev-snp", NULL);
		type = IGVM_PLATFORM_SEV_SNP;
	}
	if (type < 0 && c->ig.platform_count > 1)
		return cli_usage_error("verify: the image has several platforms: --platform", NULL);
	c->platform = type < 0 ? &c->ig.platform[0]
			       : igvm_find_platform(&c->ig, (enum igvm_platform_type)type);
	if (!c->platform)
		return cli_failed(path, "the image has no such platform");
	return 0;
}

static int verify(struct check *c, const char *path)
{
	struct igvm_error err;
	int ret;

	ret = read_endorsement(c);
	if (!ret)
		ret = choose_platform(c, path);
	if (!ret)
		ret = read_list(c);
	if (!ret && igvm_measure(&c->ig, c->platform, NULL, NULL, &c->m, &err))
		ret = cli_failed_with(path, &err);
	if (!ret)
		ret = check_measurement(c);
	if (!ret)
		ret = check_id_key(c);
	if (!ret)
		ret = check_corim(c);
	if (!ret && c->failed)
		ret = EXIT_FAILURE;
	return ret;
}

static int parse_digest(const char *text, u8 *digest, u32 *len)
{
	size_t digits = strlen(text);

	if ((digits != 64 && digits != 96) || igvm_unhex(text, digits, digest))
		return -1;
	*len = (u32)digits / 2;
	return 0;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {{"platform", required_argument, NULL, 'p'},
						{"measurement", required_argument, NULL, 'm'},
						{"endorsement", required_argument, NULL, 'e'},
						{"explain-list", required_argument, NULL, 'l'},
						{"id-key", required_argument, NULL, 'k'},
						{"id-key-digest", required_argument, NULL, 'd'},
						{"corim-key", required_argument, NULL, 'c'},
						{"measured-only", no_argument, NULL, 'o'},
						{0}};
	u32 len;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'p': o->platform = optarg; break;
		case 'm':
			if (parse_digest(optarg, o->measurement, &o->measurement_len))
				return cli_usage_error("verify: --measurement needs 64 or 96 "
						       "hexadecimal digits",
						       optarg);
			break;
		case 'e': o->endorsement = optarg; break;
		case 'l': o->explain_list = optarg; break;
		case 'k': o->id_key = optarg; break;
		case 'd':
			if (parse_digest(optarg, o->id_key_digest, &len) || len != 48)
				return cli_usage_error("verify: --id-key-digest needs 96 "
						       "hexadecimal digits",
						       optarg);
			o->has_id_key_digest = true;
			break;
		case 'c': o->corim_key = optarg; break;
		case 'o': o->measured_only = true; break;
		default: return cli_usage_error("verify: wrong option", argv[optind - 1]);
		}
	}
	if (optind + 1 != argc)
		return cli_usage_error("verify: needs one file", NULL);
	if (!o->measurement_len && !o->endorsement && !o->id_key && !o->has_id_key_digest &&
	    !o->corim_key)
		return cli_usage_error("verify: against what? --measurement, --endorsement, "
				       "--id-key, --id-key-digest or --corim-key",
				       NULL);
	return 0;
}

int cmd_verify(int argc, char **argv)
{
	struct options o = {0};
	struct check c = {.o = &o};
	struct blob file;
	int ret;

	ret = parse_options(argc, argv, &o);
	if (!ret)
		ret = cli_open_image(argv[optind], &file, &c.ig);
	if (ret)
		return ret;
	ret = verify(&c, argv[optind]);
	page_list_free(&c.expected);
	free((void *)file.data);
	if (fflush(stdout) && !ret)
		ret = cli_failed("standard output", strerror(errno));
	return ret;
}
