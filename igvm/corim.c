/*
 * Endorsements of launch measurements as CoRIM documents, and their COSE signatures.
 * Sources: draft-ietf-rats-corim-10 (CDDL), RFC 9052 (COSE_Sign1), and the launch-measurement
 * profile of microsoft/igvm, igvm/src/corim/launch_measurement/profile.rs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "igvm/cbor.h"
#include "igvm/internal.h"
#include "igvm/key.h"

#define PROFILE "tag:microsoft.com,2026:launch-measurement/v1"

enum { TAG_URI = 32, TAG_CORIM = 501, TAG_COMID = 506, TAG_SVN = 552, TAG_COSE_SIGN1 = 18 };
enum { CORIM_ID = 0, CORIM_TAGS = 1, CORIM_PROFILE = 3 };
enum { COMID_TAG_IDENTITY = 1, COMID_TRIPLES = 4 };
enum { TRIPLES_REFERENCE = 0, TRIPLES_SERIES = 8 };
enum { ENVIRONMENT_CLASS = 0, CLASS_VENDOR = 1, CLASS_MODEL = 2 };
enum { MEASUREMENT_KEY = 0, MEASUREMENT_VALUES = 1, VALUES_SVN = 1, VALUES_DIGESTS = 2 };
enum { COSE_ALG = 1, COSE_CONTENT_TYPE = 3, COSE_CWT_CLAIMS = 15, COSE_X5CHAIN = 33 };
enum { HASH_SHA256 = 1, HASH_SHA384 = 7 }; /* named information hash registry */
enum { CWT_ISSUER = 1 };
#define COSE_ES384   (-35)
#define CONTENT_TYPE "application/rim+cbor"

/* tag_id: UUIDv5 of "VENDOR/MODEL" in name space 85f3f1c2-22a8-441e-a1b9-bccfb63ed5f7 */
static const struct profile {
	enum igvm_platform_type platform;
	const char *vendor;
	const char *model;
	const char *key;
	const char *tag_id;
	const char *id;
	u32 hash;
	u32 digest_len;
} profiles[] = {
	{IGVM_PLATFORM_TDX, "Intel", "TDX", "MRTD", "e0510081-7b78-5b2a-97a6-d73d890e07b6",
	 "Intel/TDX/launch-measurement", HASH_SHA384, 48},
	{IGVM_PLATFORM_SEV_SNP, "AMD", "SEV-SNP", "MEASUREMENT",
	 "77e8061e-4634-5e53-a848-d1d09e996843", "AMD/SEV-SNP/launch-measurement", HASH_SHA384, 48},
	{IGVM_PLATFORM_VSM, "Microsoft", "VBS", "MEASUREMENT",
	 "2e29068e-e0fa-59e6-b0ff-3bfe09132e13", "Microsoft/VBS/launch-measurement", HASH_SHA256,
	 32},
};

static const struct profile *find_profile(enum igvm_platform_type platform)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++) {
		if (profiles[i].platform == platform)
			return &profiles[i];
	}
	return NULL;
}

static void put_environment(struct cbor_writer *w, const struct profile *p)
{
	cbor_put(w, CBOR_MAP, 1);
	cbor_put_int(w, ENVIRONMENT_CLASS);
	cbor_put(w, CBOR_MAP, 2);
	cbor_put_int(w, CLASS_VENDOR);
	cbor_put_text(w, p->vendor);
	cbor_put_int(w, CLASS_MODEL);
	cbor_put_text(w, p->model);
}

static void put_measurement(struct cbor_writer *w, const struct profile *p, const u8 *digest)
{
	cbor_put(w, CBOR_MAP, 2);
	cbor_put_int(w, MEASUREMENT_KEY);
	cbor_put_text(w, p->key);
	cbor_put_int(w, MEASUREMENT_VALUES);
	cbor_put(w, CBOR_MAP, 1);
	cbor_put_int(w, VALUES_DIGESTS);
	cbor_put(w, CBOR_ARRAY, 1);
	cbor_put(w, CBOR_ARRAY, 2);
	cbor_put_int(w, p->hash);
	cbor_put_bytes(w, digest, p->digest_len);
}

static void put_svn(struct cbor_writer *w, u64 svn)
{
	cbor_put(w, CBOR_MAP, 1);
	cbor_put_int(w, MEASUREMENT_VALUES);
	cbor_put(w, CBOR_MAP, 1);
	cbor_put_int(w, VALUES_SVN);
	cbor_put(w, CBOR_TAG, TAG_SVN);
	cbor_put(w, CBOR_UINT, svn);
}

static void put_comid(struct cbor_writer *w, const struct profile *p,
		      const struct igvm_endorsement *e)
{
	cbor_put(w, CBOR_MAP, 2);
	cbor_put_int(w, COMID_TAG_IDENTITY);
	cbor_put(w, CBOR_MAP, 1);
	cbor_put_int(w, 0);
	cbor_put_text(w, p->tag_id);
	cbor_put_int(w, COMID_TRIPLES);
	cbor_put(w, CBOR_MAP, 2);

	cbor_put_int(w, TRIPLES_REFERENCE);
	cbor_put(w, CBOR_ARRAY, 1);
	cbor_put(w, CBOR_ARRAY, 2);
	put_environment(w, p);
	cbor_put(w, CBOR_ARRAY, 1);
	put_measurement(w, p, e->digest);

	/* in this environment, without other claims: this digest has that SVN */
	cbor_put_int(w, TRIPLES_SERIES);
	cbor_put(w, CBOR_ARRAY, 1);
	cbor_put(w, CBOR_ARRAY, 2);
	cbor_put(w, CBOR_ARRAY, 2);
	put_environment(w, p);
	cbor_put(w, CBOR_ARRAY, 0);
	cbor_put(w, CBOR_ARRAY, 1);
	cbor_put(w, CBOR_ARRAY, 2);
	cbor_put(w, CBOR_ARRAY, 1);
	put_measurement(w, p, e->digest);
	cbor_put(w, CBOR_ARRAY, 1);
	put_svn(w, e->svn);
}

int igvm_corim_write(const struct igvm_endorsement *e, void **out, size_t *out_len,
		     struct igvm_error *err)
{
	const struct profile *p = find_profile(e->platform);
	struct cbor_writer w = {0}, comid = {0};

	if (!p)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "a CoRIM document is not defined for platform %s",
				 igvm_platform_name(e->platform));
	put_comid(&comid, p, e);
	cbor_put(&w, CBOR_TAG, TAG_CORIM);
	cbor_put(&w, CBOR_MAP, 3);
	cbor_put_int(&w, CORIM_ID);
	cbor_put_text(&w, p->id);
	cbor_put_int(&w, CORIM_TAGS);
	cbor_put(&w, CBOR_ARRAY, 1);
	cbor_put(&w, CBOR_TAG, TAG_COMID);
	cbor_put_bytes(&w, comid.data, comid.len);
	cbor_put_int(&w, CORIM_PROFILE);
	cbor_put(&w, CBOR_TAG, TAG_URI);
	cbor_put_text(&w, PROFILE);
	free(comid.data);
	if (w.failed || comid.failed) {
		free(w.data);
		return igvm_fail_memory(err);
	}
	*out = w.data;
	*out_len = w.len;
	return 0;
}

/*
 * The value of a key that must be in the map once, as a reader that stands at the value. A map
 * that has it twice means different things to different readers: failure.
 */
static struct cbor_reader map_value(const struct cbor_reader *map, u64 key)
{
	struct cbor_reader r = *map, value = {.failed = true};
	u64 count = cbor_expect(&r, CBOR_MAP);
	struct cbor_item item;
	u32 found = 0;

	for (u64 i = 0; i < count && !r.failed; i++) {
		if (!cbor_next(&r, &item) || item.major == CBOR_ARRAY || item.major == CBOR_MAP ||
		    item.major == CBOR_TAG) {
			r.failed = true;
			break;
		}
		if (item.major == CBOR_UINT && item.value == key) {
			value = r;
			found++;
		}
		cbor_skip(&r);
	}
	if (found != 1 || r.failed)
		value = (struct cbor_reader){.p = map->end, .end = map->end, .failed = true};
	return value;
}

static const struct profile *read_environment(const struct cbor_reader *environment)
{
	struct cbor_reader class = map_value(environment, ENVIRONMENT_CLASS);
	struct cbor_reader vendor = map_value(&class, CLASS_VENDOR);
	struct cbor_reader model = map_value(&class, CLASS_MODEL);
	struct cbor_item v, m;

	cbor_expect_string(&vendor, CBOR_TEXT, &v);
	cbor_expect_string(&model, CBOR_TEXT, &m);
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++) {
		if (cbor_is_text(&v, profiles[i].vendor) && cbor_is_text(&m, profiles[i].model))
			return &profiles[i];
	}
	return NULL;
}

static bool read_measurement(const struct cbor_reader *measurement, const struct profile *p,
			     u8 digest[IGVM_MAX_DIGEST])
{
	struct cbor_reader key = map_value(measurement, MEASUREMENT_KEY);
	struct cbor_reader values = map_value(measurement, MEASUREMENT_VALUES);
	struct cbor_reader digests = map_value(&values, VALUES_DIGESTS);
	struct cbor_item name, bytes;

	cbor_expect_string(&key, CBOR_TEXT, &name);
	cbor_expect_value(&digests, CBOR_ARRAY, 1);
	cbor_expect_value(&digests, CBOR_ARRAY, 2);
	cbor_expect_value(&digests, CBOR_UINT, p->hash);
	cbor_expect_string(&digests, CBOR_BYTES, &bytes);
	if (digests.failed || !cbor_is_text(&name, p->key) || bytes.value != p->digest_len)
		return false;
	memcpy(digest, bytes.bytes, p->digest_len);
	return true;
}

/* conditional-endorsement-series: the SVN of the same digest in the same environment */
static bool read_series(struct cbor_reader r, const struct profile *p,
			const struct igvm_endorsement *e, u64 *svn)
{
	struct cbor_reader addition, values;
	u8 digest[IGVM_MAX_DIGEST];

	cbor_expect_value(&r, CBOR_ARRAY, 1);
	cbor_expect_value(&r, CBOR_ARRAY, 2);
	cbor_expect_value(&r, CBOR_ARRAY, 2);
	if (read_environment(&r) != p)
		return false;
	cbor_skip(&r);
	cbor_expect_value(&r, CBOR_ARRAY, 0);
	cbor_expect_value(&r, CBOR_ARRAY, 1);
	cbor_expect_value(&r, CBOR_ARRAY, 2);
	cbor_expect_value(&r, CBOR_ARRAY, 1);
	if (!read_measurement(&r, p, digest) || memcmp(digest, e->digest, p->digest_len))
		return false;
	cbor_skip(&r);
	cbor_expect_value(&r, CBOR_ARRAY, 1);
	addition = map_value(&r, MEASUREMENT_VALUES);
	values = map_value(&addition, VALUES_SVN);
	cbor_expect_value(&values, CBOR_TAG, TAG_SVN);
	*svn = cbor_expect(&values, CBOR_UINT);
	return !values.failed && !r.failed;
}

/* The profile fixes it for each platform; case does not count. */
static bool has_tag_id(const struct cbor_reader *comid, const struct profile *p)
{
	struct cbor_reader identity = map_value(comid, COMID_TAG_IDENTITY);
	struct cbor_reader id = map_value(&identity, 0);
	struct cbor_item text;

	cbor_expect_string(&id, CBOR_TEXT, &text);
	return text.value == strlen(p->tag_id) &&
	       !strncasecmp((const char *)text.bytes, p->tag_id, text.value);
}

static int read_comid(const struct cbor_item *comid, struct igvm_endorsement *e,
		      struct igvm_error *err)
{
	struct cbor_reader whole, r, triples, reference;
	const struct profile *p;

	cbor_read_init(&r, comid->bytes, comid->value);
	whole = r;
	cbor_skip(&whole);
	if (whole.failed || whole.p != whole.end)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "CoRIM: its CoMID tag is damaged");
	triples = map_value(&r, COMID_TRIPLES);
	reference = map_value(&triples, TRIPLES_REFERENCE);
	cbor_expect_value(&reference, CBOR_ARRAY, 1);
	cbor_expect_value(&reference, CBOR_ARRAY, 2);
	p = read_environment(&reference);
	if (!p)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "CoRIM: not one reference value of a known platform");
	cbor_skip(&reference);
	cbor_expect_value(&reference, CBOR_ARRAY, 1);
	if (!read_measurement(&reference, p, e->digest))
		return igvm_fail(err, IGVM_NO_HEADER, 0, "CoRIM: no %s of the right kind for %s",
				 p->key, p->model);
	e->platform = p->platform;
	e->digest_len = p->digest_len;
	if (!has_tag_id(&r, p))
		return igvm_fail(err, IGVM_NO_HEADER, 0, "CoRIM: not the tag identity of %s",
				 p->model);
	if (!read_series(map_value(&triples, TRIPLES_SERIES), p, e, &e->svn))
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "CoRIM: no security version of the digest");
	return 0;
}

int igvm_corim_read(const void *data, size_t len, struct igvm_endorsement *e,
		    struct igvm_error *err)
{
	struct cbor_reader whole, r, id, tags, profile;
	struct cbor_item comid, uri;

	*e = (struct igvm_endorsement){0};
	cbor_read_init(&whole, data, len);
	r = whole;
	cbor_expect_value(&r, CBOR_TAG, TAG_CORIM);
	if (r.failed)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "not a CoRIM document");
	cbor_skip(&whole);
	if (whole.failed || whole.p != whole.end)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "CoRIM: damaged, or more than a document");
	id = map_value(&r, CORIM_ID);
	if (id.failed)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "CoRIM: without identifier");
	profile = map_value(&r, CORIM_PROFILE);
	cbor_expect_value(&profile, CBOR_TAG, TAG_URI);
	cbor_expect_string(&profile, CBOR_TEXT, &uri);
	if (!cbor_is_text(&uri, PROFILE))
		return igvm_fail(err, IGVM_NO_HEADER, 0, "CoRIM: its profile is not " PROFILE);
	tags = map_value(&r, CORIM_TAGS);
	cbor_expect_value(&tags, CBOR_ARRAY, 1);
	cbor_expect_value(&tags, CBOR_TAG, TAG_COMID);
	cbor_expect_string(&tags, CBOR_BYTES, &comid);
	if (tags.failed)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "CoRIM: not exactly one CoMID tag");
	return read_comid(&comid, e, err);
}

/* The protected header: what the signature also covers. cert: DER, may be NULL */
static void put_protected(struct cbor_writer *w, const char *issuer, const u8 *cert,
			  size_t cert_len)
{
	cbor_put(w, CBOR_MAP, cert ? 4 : 3);
	cbor_put_int(w, COSE_ALG);
	cbor_put_int(w, COSE_ES384);
	cbor_put_int(w, COSE_CONTENT_TYPE);
	cbor_put_text(w, CONTENT_TYPE);
	cbor_put_int(w, COSE_CWT_CLAIMS);
	cbor_put(w, CBOR_MAP, 1);
	cbor_put_int(w, CWT_ISSUER);
	cbor_put_text(w, issuer);
	if (cert) {
		cbor_put_int(w, COSE_X5CHAIN);
		cbor_put_bytes(w, cert, cert_len);
	}
}

/* Sig_structure of RFC 9052, section 4.4 */
static void put_to_be_signed(struct cbor_writer *w, const void *protected_header,
			     size_t protected_len, const void *document, size_t document_len)
{
	cbor_put(w, CBOR_ARRAY, 4);
	cbor_put_text(w, "Signature1");
	cbor_put_bytes(w, protected_header, protected_len);
	cbor_put_bytes(w, NULL, 0);
	cbor_put_bytes(w, document, document_len);
}

int igvm_corim_sign(const void *document, size_t document_len, const struct igvm_key *key,
		    const char *issuer, const void *cert, size_t cert_len, void **out,
		    size_t *out_len, struct igvm_error *err)
{
	struct cbor_writer header = {0}, message = {0}, w = {0};
	u8 signature[96];
	int ret;

	put_protected(&header, issuer, cert, cert_len);
	put_to_be_signed(&message, header.data, header.len, document, document_len);
	ret = header.failed || message.failed
		      ? -ENOMEM
		      : igvm_key_sign(key, message.data, message.len, signature);
	cbor_put(&w, CBOR_TAG, TAG_COSE_SIGN1);
	cbor_put(&w, CBOR_ARRAY, 4);
	cbor_put_bytes(&w, header.data, header.len);
	cbor_put(&w, CBOR_MAP, 0);
	cbor_put(&w, CBOR_SIMPLE, CBOR_NULL);
	cbor_put_bytes(&w, signature, sizeof(signature));
	free(header.data);
	free(message.data);
	if (!ret && w.failed)
		ret = -ENOMEM;
	if (ret) {
		free(w.data);
		return ret == -ENOMEM ? igvm_fail_memory(err)
				      : igvm_fail(err, IGVM_NO_HEADER, 0, "not a private key");
	}
	*out = w.data;
	*out_len = w.len;
	return 0;
}

int igvm_corim_check(const void *signature, size_t len, const void *document, size_t document_len,
		     const struct igvm_key *key, struct igvm_error *err)
{
	struct cbor_reader r, header, alg, type;
	struct cbor_item protected_header, bytes, text;
	struct cbor_writer message = {0};
	int ret;

	cbor_read_init(&r, signature, len);
	cbor_expect_value(&r, CBOR_TAG, TAG_COSE_SIGN1);
	cbor_expect_value(&r, CBOR_ARRAY, 4);
	cbor_expect_string(&r, CBOR_BYTES, &protected_header);
	cbor_skip(&r); /* unprotected: nothing in it counts */
	cbor_expect_value(&r, CBOR_SIMPLE, CBOR_NULL);
	cbor_expect_string(&r, CBOR_BYTES, &bytes);
	if (r.failed || r.p != r.end)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "CoRIM signature: not a detached COSE_Sign1");
	cbor_read_init(&header, protected_header.bytes, protected_header.value);
	alg = map_value(&header, COSE_ALG);
	cbor_expect_value(&alg, CBOR_NEGATIVE, -1 - COSE_ES384);
	if (alg.failed || bytes.value != 96)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "CoRIM signature: its algorithm is not ES384");
	type = map_value(&header, COSE_CONTENT_TYPE);
	cbor_expect_string(&type, CBOR_TEXT, &text);
	if (!cbor_is_text(&text, CONTENT_TYPE))
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "CoRIM signature: its content type is not " CONTENT_TYPE);
	put_to_be_signed(&message, protected_header.bytes, protected_header.value, document,
			 document_len);
	if (message.failed)
		ret = igvm_fail_memory(err);
	else if (igvm_key_verify(key, message.data, message.len, bytes.bytes))
		ret = 0;
	else
		ret = igvm_fail(err, IGVM_NO_HEADER, 0,
				"CoRIM signature: wrong for this document and key");
	free(message.data);
	return ret;
}

int igvm_corim_find(const struct igvm *ig, u32 mask, const u8 **document, size_t *document_len,
		    const u8 **signature, size_t *signature_len)
{
	struct igvm_iter it;
	struct igvm_header h;

	*document = *signature = NULL;
	*document_len = *signature_len = 0;
	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_CORIM_DOCUMENT, mask, &h);) {
		*document = h.data;
		*document_len = h.data_len;
	}
	for (igvm_first(ig, &it); igvm_next_of(&it, IGVM_CORIM_SIGNATURE, mask, &h);) {
		*signature = h.data;
		*signature_len = h.data_len;
	}
	return *document ? 0 : -ENOENT;
}

struct corim_pair {
	u32 mask;
	const void *document;
	size_t document_len;
	const void *signature;
	size_t signature_len;
};

static void write_pair(struct igvm_writer *w, const struct corim_pair *pair)
{
	struct igvm_corim content = {.mask = pair->mask, .size_bytes = (u32)pair->document_len};

	igvm_write(w, IGVM_CORIM_DOCUMENT, &content, sizeof(content), pair->document,
		   pair->document_len);
	content.size_bytes = (u32)pair->signature_len;
	if (pair->signature)
		igvm_write(w, IGVM_CORIM_SIGNATURE, &content, sizeof(content), pair->signature,
			   pair->signature_len);
}

/* The pair comes at the end of the initialization headers. */
static int copy_with_pair(struct igvm_writer *w, const struct igvm *ig,
			  const struct corim_pair *pair, bool replace, struct igvm_error *err)
{
	bool written = false;
	struct igvm_iter it;
	struct igvm_header h;

	for (igvm_first(ig, &it); igvm_next(&it, &h);) {
		if (!written && igvm_section(h.type) == 3) {
			write_pair(w, pair);
			written = true;
		}
		if ((h.type != IGVM_CORIM_DOCUMENT && h.type != IGVM_CORIM_SIGNATURE) ||
		    !(h.mask & pair->mask)) {
			igvm_write_copy(w, &h);
			continue;
		}
		if (h.mask != pair->mask)
			return igvm_fail(err, h.index, h.offset,
					 "its CoRIM is for several platforms");
		if (!replace) {
			igvm_fail(err, h.index, h.offset,
				  "the image has a CoRIM for this platform already");
			return -EEXIST;
		}
	}
	if (!written)
		write_pair(w, pair);
	return 0;
}

int igvm_corim_attach(const struct igvm *ig, u32 mask, const void *document, size_t document_len,
		      const void *signature, size_t signature_len, bool replace, void **out,
		      size_t *out_len, struct igvm_error *err)
{
	const struct corim_pair pair = {mask, document, document_len, signature, signature_len};
	struct igvm_writer *w = igvm_writer_new(ig->version, ig->arch);
	int ret;

	if (!w)
		return igvm_fail_memory(err);
	ret = copy_with_pair(w, ig, &pair, replace, err);
	if (!ret)
		ret = igvm_writer_finish(w, out, out_len, err);
	igvm_writer_free(w);
	return ret;
}
