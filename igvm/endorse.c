/*
 * Endorsements as JSON, see endorse.h.
 * Source of the common part: microsoft/openvmm, vm/loader/igvmfilegen/src/identity_mapping.rs.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "igvm/endorse.h"
#include "igvm/internal.h"

#define CLASS_ID "7fb00ee4-a7ff-11ed-9e2f-00155d09de56" /* the same for all documents */
#define OURS	 "parapet"

static const struct form {
	enum igvm_platform_type platform;
	const char *digest;
	const char *svn;
	u32 digest_len;
} forms[] = {
	{IGVM_PLATFORM_SEV_SNP, "snp_ld", "snp_isvsvn", 48},
	{IGVM_PLATFORM_TDX, "tdx_mrtd", "tdx_isvsvn", 48},
	{IGVM_PLATFORM_VSM, "vbs_boot_digest", "vbs_isvsvn", 32},
};

json_t *endorse_json(const struct igvm_endorsement *e, bool debug, const struct page_list *pages)
{
	const struct form *f = NULL;
	char digest[2 * IGVM_MAX_DIGEST + 1], rest[2 * IGVM_MAX_DIGEST + 1];

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (forms[i].platform == e->platform)
			f = &forms[i];
	}
	if (!f || pages->failed)
		return NULL;
	igvm_hex(e->digest, e->digest_len, digest);
	for (char *p = digest; *p; p++)
		*p = (char)toupper(*p);
	igvm_hex(e->rest, sizeof(e->rest), rest);
	return json_pack("{s:{s:s}, s:[{s:{s:s}, s:{s:I, s:{s:b}}}], s:{s:s, s:s, s:o}}",
			 "environment", "class_id", CLASS_ID, "series", "reference", f->digest,
			 digest, "endorsement", f->svn, (json_int_t)e->svn, "build_info",
			 "debug_build", debug, OURS, "platform", igvm_platform_name(e->platform),
			 "unmeasured_sha384", rest, "pages", page_list_json(pages));
}

static int read_hex(const char *text, size_t len, u8 *out)
{
	return text && strlen(text) == 2 * len && !igvm_unhex(text, 2 * len, out) ? 0 : -EINVAL;
}

static int read_ours(const json_t *ours, struct igvm_endorsement *e, struct page_list *pages,
		     struct igvm_error *err)
{
	const char *platform = json_string_value(json_object_get(ours, "platform"));
	int ret;

	if (!platform || strcmp(platform, igvm_platform_name(e->platform)))
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "endorsement: it contradicts itself on the platform");
	if (read_hex(json_string_value(json_object_get(ours, "unmeasured_sha384")), sizeof(e->rest),
		     e->rest))
		return igvm_fail(err, IGVM_NO_HEADER, 0, "endorsement: unmeasured_sha384 is wrong");
	e->has_rest = true;
	ret = page_list_from_json(json_object_get(ours, "pages"), pages);
	if (ret == -EINVAL)
		igvm_fail(err, IGVM_NO_HEADER, 0, "endorsement: its list of pages is wrong");
	else if (ret)
		igvm_fail_memory(err);
	return ret;
}

static int read_json(const json_t *json, struct igvm_endorsement *e, struct page_list *pages,
		     struct igvm_error *err)
{
	const json_t *series = json_object_get(json, "series");
	const json_t *first = json_array_get(series, 0);
	const json_t *reference = json_object_get(first, "reference");
	const json_t *claims = json_object_get(first, "endorsement");
	const json_t *ours = json_object_get(json, OURS), *svn;
	bool known = false;

	if (json_array_size(series) != 1)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "endorsement: not one measurement");
	for (size_t i = 0; i < ARRAY_SIZE(forms) && !known; i++) {
		const char *digest = json_string_value(json_object_get(reference, forms[i].digest));

		if (!digest)
			continue;
		known = true;
		svn = json_object_get(claims, forms[i].svn);
		e->platform = forms[i].platform;
		e->digest_len = forms[i].digest_len;
		if (read_hex(digest, e->digest_len, e->digest) || !json_is_integer(svn) ||
		    json_integer_value(svn) < 0)
			return igvm_fail(err, IGVM_NO_HEADER, 0, "endorsement: wrong %s or %s",
					 forms[i].digest, forms[i].svn);
		e->svn = (u64)json_integer_value(svn);
	}
	if (!known)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "endorsement: no digest of a known platform");
	return ours ? read_ours(ours, e, pages, err) : 0;
}

int endorse_read(const void *data, size_t len, struct igvm_endorsement *e, struct page_list *pages,
		 struct igvm_error *err)
{
	json_error_t json_error;
	json_t *json;
	int ret;

	*e = (struct igvm_endorsement){0};
	*pages = (struct page_list){0};
	if (len && *(const u8 *)data == 0xd9) /* the CBOR tag of a CoRIM document */
		return igvm_corim_read(data, len, e, err);
	json = json_loadb(data, len, JSON_REJECT_DUPLICATES, &json_error);
	if (!json)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "endorsement: line %d: %s",
				 json_error.line, json_error.text);
	ret = read_json(json, e, pages, err);
	json_decref(json);
	return ret;
}

void endorse_properties(const struct igvm *ig, const struct igvm_supported_platform *platform,
			u64 *svn, bool *debug)
{
	const u8 *document, *signature;
	size_t document_len, signature_len;
	struct igvm_endorsement e;
	struct igvm_header h;
	struct igvm_iter it;

	*svn = 0;
	*debug = false;
	if (!igvm_corim_find(ig, platform->mask, &document, &document_len, &signature,
			     &signature_len) &&
	    !igvm_corim_read(document, document_len, &e, NULL))
		*svn = e.svn;
	for (igvm_first(ig, &it); igvm_next_of(&it, 0, platform->mask, &h);) {
		if (h.type == IGVM_SNP_ID_BLOCK) {
			*svn = h.u.snp_id_block->guest_svn;
		} else if (h.type == IGVM_VBS_MEASUREMENT) {
			*svn = h.u.vbs_measurement->security_version;
			*debug = h.u.vbs_measurement->policy_flags & 1;
		} else if (h.type == IGVM_GUEST_POLICY) {
			*debug = h.u.guest_policy.policy &
				 (platform->platform_type == IGVM_PLATFORM_TDX ? BIT(0) : BIT(19));
		}
	}
}
