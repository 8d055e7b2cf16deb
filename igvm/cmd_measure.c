/* igvm measure: launch measurements, ID block, endorsements. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "igvm/cli.h"
#include "igvm/endorse.h"

struct options {
	const char *platform;
	const char *endorsement;
	const char *id_block;
	u32 flags;
	bool json;
	bool explain;
	bool digest_only;
	bool has_svn;
	u32 svn;
};

/* What is known of one platform */
struct result {
	const struct igvm_supported_platform *platform;
	struct igvm_measurement m;
	u8 rest[IGVM_MAX_DIGEST];
	bool has_policy;
	u64 policy;
	const struct igvm_snp_id_block *id_block;
	struct igvm_id_check id;
	const u8 *corim;
	size_t corim_len;
	const u8 *signature;
	size_t signature_len;
	struct igvm_endorsement claim; /* of the CoRIM document in the image */
	bool claim_is_known;
};

static const char *digest_name(enum igvm_platform_type type)
{
	return type == IGVM_PLATFORM_TDX   ? "MRTD"
	       : type == IGVM_PLATFORM_VSM ? "boot digest"
					   : "launch digest";
}

static int examine(const struct igvm *ig, const struct options *o, struct result *r,
		   struct igvm_error *err)
{
	struct igvm_header h;
	struct igvm_iter it;
	int ret;

	ret = igvm_measure_with(ig, r->platform, o->flags, o->explain ? explain_step : NULL, stdout,
				&r->m, err);
	if (!ret)
		ret = igvm_measure_rest(ig, r->platform, r->rest, err);
	if (ret)
		return ret;
	igvm_first(ig, &it);
	if (igvm_next_of(&it, IGVM_GUEST_POLICY, r->m.mask, &h)) {
		r->has_policy = true;
		r->policy = h.u.guest_policy.policy;
	}
	igvm_first(ig, &it);
	if (igvm_next_of(&it, IGVM_SNP_ID_BLOCK, r->m.mask, &h)) {
		r->id_block = h.u.snp_id_block;
		ret = igvm_check_id_block(r->id_block, r->policy, &r->id);
	}
	if (!igvm_corim_find(ig, r->m.mask, &r->corim, &r->corim_len, &r->signature,
			     &r->signature_len))
		r->claim_is_known = !igvm_corim_read(r->corim, r->corim_len, &r->claim, NULL);
	return ret;
}

static bool id_block_matches(const struct result *r)
{
	return !memcmp(r->id_block->ld, r->m.digest, sizeof(r->id_block->ld));
}

static bool corim_matches(const struct result *r)
{
	return r->claim_is_known && r->claim.platform == r->m.platform &&
	       !memcmp(r->claim.digest, r->m.digest, r->m.digest_len);
}

/* Bytes as text where they are text with zeros behind, else as digits */
static void print_id(const char *name, const u8 id[16])
{
	char text[33];
	size_t len = 0;

	while (len < 16 && id[len] >= 0x20 && id[len] < 0x7f)
		len++;
	for (size_t i = len; i < 16; i++) {
		if (id[i])
			len = 0;
	}
	if (len)
		printf("    %-17s \"%.*s\"\n", name, (int)len, (const char *)id);
	else
		printf("    %-17s %s\n", name, igvm_hex(id, 16, text));
}

static void print_id_block(const struct result *r)
{
	char text[2 * IGVM_MAX_DIGEST + 1];

	printf("  %-19s %s, signature %s\n", "ID block",
	       id_block_matches(r) ? "matches" : "is for another launch digest",
	       r->id.id_signature ? "valid" : "WRONG");
	print_id("family ID", r->id.identity.family_id);
	print_id("image ID", r->id.identity.image_id);
	printf("    %-17s %u\n", "guest SVN", r->id.identity.guest_svn);
	printf("    %-17s %s\n", "ID key digest", igvm_hex(r->id.id_key_digest, 48, text));
	if (r->id.has_author)
		printf("    %-17s %s, signature %s\n", "author key digest",
		       igvm_hex(r->id.author_key_digest, 48, text),
		       r->id.author_signature ? "valid" : "WRONG");
}

static void print_text(const struct result *r)
{
	char text[2 * IGVM_MAX_DIGEST + 1];

	printf("platform %s, mask 0x%x\n", igvm_platform_name(r->m.platform), r->m.mask);
	printf("  %-19s %s\n", digest_name(r->m.platform),
	       igvm_hex(r->m.digest, r->m.digest_len, text));
	printf("  %-19s %s\n", "unmeasured, SHA-384", igvm_hex(r->rest, 48, text));
	printf("  %-19s %" PRIu64 " measured, %" PRIu64 " by address only, %" PRIu64 " shared\n",
	       "pages", r->m.measured_pages, r->m.unmeasured_pages, r->m.shared_pages);
	if (r->has_policy)
		printf("  %-19s 0x%" PRIx64 "\n", "guest policy", r->policy);
	if (r->id_block)
		print_id_block(r);
	if (r->corim)
		printf("  %-19s %s, %s\n", "CoRIM",
		       corim_matches(r) ? "matches" : "is for another measurement or profile",
		       r->signature ? "signed" : "not signed");
}

static json_t *hex_json(const u8 *bytes, size_t len)
{
	char text[2 * IGVM_MAX_DIGEST + 1];

	return json_string(igvm_hex(bytes, len, text));
}

static json_t *result_json(const struct result *r)
{
	json_t *json, *id = NULL, *corim = NULL;
	char policy[24];

	snprintf(policy, sizeof(policy), "0x%" PRIx64, r->policy);
	if (r->id_block)
		id = json_pack("{s:o, s:o, s:o, s:I, s:b, s:b, s:o, s:o?, s:o?}", "ld",
			       hex_json(r->id_block->ld, 48), "family_id",
			       hex_json(r->id.identity.family_id, 16), "image_id",
			       hex_json(r->id.identity.image_id, 16), "guest_svn",
			       (json_int_t)r->id.identity.guest_svn, "matches", id_block_matches(r),
			       "signature_valid", r->id.id_signature, "id_key_digest",
			       hex_json(r->id.id_key_digest, 48), "author_key_digest",
			       r->id.has_author ? hex_json(r->id.author_key_digest, 48) : NULL,
			       "author_signature_valid",
			       r->id.has_author ? json_boolean(r->id.author_signature) : NULL);
	if (r->corim)
		corim = json_pack("{s:b, s:b}", "matches", corim_matches(r), "signed",
				  r->signature != NULL);
	json = json_pack(
		"{s:s, s:I, s:s, s:o, s:o, s:{s:I, s:I, s:I}, s:s?, s:o?, s:o?}", "platform",
		igvm_platform_name(r->m.platform), "mask", (json_int_t)r->m.mask, "algorithm",
		r->m.digest_len == 48 ? "sha384" : "sha256", "digest",
		hex_json(r->m.digest, r->m.digest_len), "unmeasured_sha384", hex_json(r->rest, 48),
		"pages", "measured", (json_int_t)r->m.measured_pages, "by_address",
		(json_int_t)r->m.unmeasured_pages, "shared", (json_int_t)r->m.shared_pages,
		"guest_policy", r->has_policy ? policy : NULL, "id_block", id, "corim", corim);
	return json;
}

/* CoRIM if the name ends in .cbor or .corim, else JSON */
static int write_endorsement(const struct igvm *ig, const struct options *o, const struct result *r)
{
	struct igvm_endorsement e = {.platform = r->m.platform, .digest_len = r->m.digest_len};
	const char *suffix = strrchr(o->endorsement, '.');
	struct page_list pages = {0};
	struct igvm_measurement again;
	struct igvm_error err;
	char *text = NULL;
	void *corim;
	bool debug;
	size_t len;
	json_t *json;
	int ret;

	endorse_properties(ig, r->platform, &e.svn, &debug);
	if (o->has_svn)
		e.svn = o->svn;
	memcpy(e.digest, r->m.digest, sizeof(e.digest));
	memcpy(e.rest, r->rest, sizeof(e.rest));
	e.has_rest = true;
	if (suffix && (!strcmp(suffix, ".cbor") || !strcmp(suffix, ".corim"))) {
		if (igvm_corim_write(&e, &corim, &len, &err))
			return cli_failed_with(o->endorsement, &err);
		ret = cli_write_file(o->endorsement, corim, len);
		free(corim);
		return ret;
	}
	if (igvm_measure(ig, r->platform, page_list_step, &pages, &again, &err)) {
		page_list_free(&pages);
		return cli_failed_with(o->endorsement, &err);
	}
	json = endorse_json(&e, debug, &pages);
	if (json)
		text = json_dumps(json, JSON_INDENT(1));
	if (text)
		ret = cli_write_file(o->endorsement, text, strlen(text));
	else
		ret = cli_failed(o->endorsement,
				 "no such document for this platform, or out of memory");
	free(text);
	json_decref(json);
	page_list_free(&pages);
	return ret;
}

static int write_id_block(const struct options *o, const struct result *r)
{
	struct igvm_snp_identity identity = {.family_id = {0, 0, 0, 1}, .image_id = "openhcl"};
	u8 block[IGVM_SNP_ID_BLOCK_BYTES];

	if (r->m.platform != IGVM_PLATFORM_SEV_SNP)
		return cli_failed(o->id_block, "an ID block is for platform sev-snp");
	if (r->id_block)
		identity = r->id.identity;
	if (o->has_svn)
		identity.guest_svn = o->svn;
	igvm_snp_id_block(r->m.digest, &identity, r->policy, block);
	return cli_write_file(o->id_block, block, sizeof(block));
}

static int measure_one(const struct igvm *ig, const char *path, const struct options *o,
		       const struct igvm_supported_platform *platform, json_t *array)
{
	struct result r = {.platform = platform};
	char text[2 * IGVM_MAX_DIGEST + 1];
	struct igvm_error err;
	int ret = 0;

	if (o->explain)
		explain_platform(stdout, platform->platform_type);
	if (examine(ig, o, &r, &err))
		return cli_failed_with(path, &err);
	if (o->digest_only)
		puts(igvm_hex(r.m.digest, r.m.digest_len, text));
	else if (o->explain)
		printf("\n");
	else if (o->json)
		json_array_append_new(array, result_json(&r));
	else
		print_text(&r);
	if (o->endorsement)
		ret = write_endorsement(ig, o, &r);
	if (!ret && o->id_block)
		ret = write_id_block(o, &r);
	return ret;
}

static bool has_measurement(u32 type)
{
	return type != IGVM_PLATFORM_NATIVE && type != IGVM_PLATFORM_CCA;
}

static int measure_file(const struct igvm *ig, const char *path, const struct options *o)
{
	json_t *array = json_array();
	u32 only = 0, done = 0;
	int ret = 0;

	if (o->platform && cli_find_platform(ig, o->platform, &only)) {
		json_decref(array);
		return cli_failed(path, "the image has no such platform");
	}
	for (u32 i = 0; i < ig->platform_count; i++)
		done += has_measurement(ig->platform[i].platform_type);
	if (!only && done > 1 && (o->endorsement || o->id_block || o->digest_only)) {
		json_decref(array);
		return cli_usage_error("measure: the image has several platforms: --platform",
				       NULL);
	}
	done = 0;
	for (u32 i = 0; i < ig->platform_count && !ret; i++) {
		const struct igvm_supported_platform *p = &ig->platform[i];

		if (only ? p->mask != only : !has_measurement(p->platform_type))
			continue;
		ret = measure_one(ig, path, o, p, array);
		done++;
	}
	if (!ret && !done)
		ret = cli_failed(path, "no platform of the image has a launch measurement");
	if (!ret && o->json) {
		json_dumpf(array, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(array);
	return ret;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	enum { AS_IGVMMEASURE = 256, NATIVE_ZERO };
	static const struct option options[] = {
		{"platform", required_argument, NULL, 'p'},
		{"json", no_argument, NULL, 'j'},
		{"explain", no_argument, NULL, 'x'},
		{"digest-only", no_argument, NULL, 'b'},
		{"endorsement", required_argument, NULL, 'e'},
		{"id-block", required_argument, NULL, 'i'},
		{"svn", required_argument, NULL, 's'},
		{"as-igvmmeasure", no_argument, NULL, AS_IGVMMEASURE},
		{"native-zero", no_argument, NULL, NATIVE_ZERO},
		{0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'p': o->platform = optarg; break;
		case 'j': o->json = true; break;
		case 'x': o->explain = true; break;
		case 'b': o->digest_only = true; break;
		case 'e': o->endorsement = optarg; break;
		case 'i': o->id_block = optarg; break;
		case 's':
			o->has_svn = true;
			if (cli_parse_u32(optarg, &o->svn))
				return cli_usage_error("measure: --svn is no number", optarg);
			break;
		case AS_IGVMMEASURE: o->flags |= IGVM_MEASURE_AS_IGVMMEASURE; break;
		case NATIVE_ZERO: o->flags |= IGVM_MEASURE_ZERO_PAGES; break;
		default: return cli_usage_error("measure: wrong option", argv[optind - 1]);
		}
	}
	if (optind + 1 != argc)
		return cli_usage_error("measure: needs one file", NULL);
	if (o->json + o->explain + o->digest_only > 1)
		return cli_usage_error("measure: one of --json, --explain, --digest-only", NULL);
	if (o->flags && (o->endorsement || o->id_block))
		return cli_usage_error("measure: --as-igvmmeasure and --native-zero give digests "
				       "to compare, not to endorse",
				       NULL);
	return 0;
}

int cmd_measure(int argc, char **argv)
{
	struct options o = {0};
	struct igvm ig;
	struct blob file;
	int ret;

	ret = parse_options(argc, argv, &o);
	if (!ret)
		ret = cli_open_image(argv[optind], &file, &ig);
	if (ret)
		return ret;
	ret = measure_file(&ig, argv[optind], &o);
	free((void *)file.data);
	if (!ret && fflush(stdout))
		ret = cli_failed("standard output", strerror(errno));
	return ret;
}
