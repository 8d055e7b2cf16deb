/*
 * Keys, SNP ID blocks, CoRIM documents and their signatures: what must be refused, known vectors.
 *
 * vector              source
 * P-384, "sample"     RFC 6979, section A.2.6 (also the key of all tests here)
 * signed ID block     virtee/sev (Apache-2.0): tests/id-block.rs, its constants and key digests
 * tag id of SEV-SNP   microsoft/igvm, igvm/src/corim/launch_measurement/builder.rs, tests
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/cbor.h"
#include "igvm/igvm.h"
#include "igvm/key.h"
#include "tests/unit/igvm_fixture.h"

/* of RFC 6979: public for everybody */
static const char rfc_sec1[] = "-----BEGIN EC PRIVATE KEY-----\n"
			       "MIGkAgEBBDBrnT2tLhuMHAWxmHW2ZZ9N4jw7Znvyl7qapHdAeHE32JbVck5McKgl\n"
			       "+HLJ6mDS7fWgBwYFK4EEACKhZANiAATsOk5BW04ZpFaGGAKfQn+l2pqLxK6S4C4G\n"
			       "quUoazAMZN748OqQVYZgZKJUUVSAvBOAFdm3LX1XJE6o75rAxiGJZwilk2f537n1\n"
			       "TKhLPxydsSiLIxw64NT+c0T9JTMmRyA=\n"
			       "-----END EC PRIVATE KEY-----\n";
static const char rfc_sec1_short[] = /* without the public part */
	"-----BEGIN EC PRIVATE KEY-----\n"
	"MD4CAQEEMGudPa0uG4wcBbGYdbZln03iPDtme/KXupqkd0B4cTfYltVyTkxwqCX4csnqYNLt9aAH\n"
	"BgUrgQQAIg==\n"
	"-----END EC PRIVATE KEY-----\n";
static const char rfc_pkcs8[] = "-----BEGIN PRIVATE KEY-----\n"
				"MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDBrnT2tLhuMHAWxmHW2\n"
				"ZZ9N4jw7Znvyl7qapHdAeHE32JbVck5McKgl+HLJ6mDS7fWhZANiAATsOk5BW04Z\n"
				"pFaGGAKfQn+l2pqLxK6S4C4GquUoazAMZN748OqQVYZgZKJUUVSAvBOAFdm3LX1X\n"
				"JE6o75rAxiGJZwilk2f537n1TKhLPxydsSiLIxw64NT+c0T9JTMmRyA=\n"
				"-----END PRIVATE KEY-----\n";
static const char rfc_public[] =
	"-----BEGIN PUBLIC KEY-----\n"
	"MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE7DpOQVtOGaRWhhgCn0J/pdqai8SukuAu\n"
	"BqrlKGswDGTe+PDqkFWGYGSiVFFUgLwTgBXZty19VyROqO+awMYhiWcIpZNn+d+5\n"
	"9UyoSz8cnbEoiyMcOuDU/nNE/SUzJkcg\n"
	"-----END PUBLIC KEY-----\n";
static const char p256[] = "-----BEGIN EC PRIVATE KEY-----\n"
			   "MHcCAQEEIEEOyriV2rQs4NE0ZGtB6KpoNgFzF38FAnhVGKqWWvBDoAoGCCqGSM49\n"
			   "AwEHoUQDQgAEB8vjavgZEXiucNap4uRY+FnXMDJBqoPWIdKLgcUKsC7k74EPRqmV\n"
			   "rBampaO7oUdH6E7lVr31Nu+1CGqsVDEa+g==\n"
			   "-----END EC PRIVATE KEY-----\n";

/* As in the ID block and the ID authentication page: numbers of 72 bytes, keys with curve */
static const u8 virtee_block[] = {
	0xa1, 0x4d, 0x63, 0x83, 0x41, 0xe5, 0x67, 0x46, 0x28, 0xfe, 0x1e, 0x02, 0xfb,
	0xed, 0xeb, 0xe5, 0xe5, 0xab, 0x4f, 0xaf, 0x1d, 0xd7, 0x2d, 0x89, 0x66, 0x06,
	0x8e, 0x61, 0x5b, 0xb9, 0x9e, 0xfd, 0x13, 0xd2, 0x14, 0xb3, 0x5c, 0x23, 0x17,
	0x15, 0xb3, 0x8e, 0x26, 0x3d, 0xc6, 0x05, 0x97, 0x45, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03};
static const u8 virtee_signature[] = {
	0xe5, 0xd3, 0xbf, 0x7d, 0x9b, 0xf9, 0xe0, 0x61, 0xbd, 0x4e, 0x8f, 0x7c, 0x6a, 0xca, 0xe0,
	0x59, 0x09, 0xa9, 0xc3, 0xc6, 0x9f, 0x04, 0xf3, 0x18, 0xf0, 0x13, 0x5e, 0xae, 0x71, 0xff,
	0x7d, 0x05, 0xef, 0x5c, 0x8c, 0x6b, 0x1b, 0xc8, 0xc0, 0x47, 0x61, 0x3a, 0x7b, 0x6f, 0x01,
	0xb7, 0x38, 0xda, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xd4, 0x19, 0x4d,
	0xca, 0x67, 0xde, 0x83, 0x81, 0xec, 0x6d, 0x26, 0x7c, 0x03, 0x2b, 0x03, 0xdd, 0x3c, 0x1f,
	0x5e, 0xaf, 0xa6, 0xaa, 0x61, 0xe9, 0x29, 0x64, 0xe5, 0x54, 0x8b, 0xef, 0x33, 0x2b, 0x1a,
	0xe9, 0x21, 0xf2, 0x6d, 0xe1, 0x6a, 0xc3, 0x3b, 0x64, 0x27, 0x44, 0xd1, 0x97, 0xa5, 0xd8};
static const u8 virtee_key[] = {
	0x02, 0x00, 0x00, 0x00, 0x1f, 0x6d, 0x3c, 0x80, 0xb8, 0xfb, 0x9e, 0xf2, 0x9f, 0xf7,
	0xdd, 0x47, 0xe8, 0xde, 0x3f, 0xcb, 0x95, 0xdd, 0x90, 0x43, 0x87, 0x68, 0xb1, 0x93,
	0x2c, 0x55, 0x23, 0x3c, 0x0c, 0x47, 0x5d, 0xf5, 0x4c, 0xca, 0xb8, 0xc8, 0x2c, 0x2f,
	0xf2, 0x2c, 0x1b, 0xcf, 0x09, 0x26, 0x4d, 0x3e, 0x76, 0xf6, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3e, 0xbe, 0x93, 0x9c, 0x38, 0x35, 0x0b, 0x08,
	0xcd, 0x9b, 0xda, 0x50, 0x3c, 0x85, 0x38, 0x0d, 0xfd, 0x7c, 0x60, 0x12, 0xf7, 0x19,
	0x66, 0x76, 0x7b, 0x32, 0x14, 0xcb, 0xde, 0xa8, 0x37, 0xad, 0x1d, 0x6d, 0xbe, 0x0a,
	0x19, 0xb1, 0x50, 0xc7, 0xc1, 0xcd, 0xb9, 0x47, 0xd0, 0xa8, 0xd7, 0xcc};
static const u8 virtee_author_signature[] = {
	0xbb, 0x88, 0x7b, 0x94, 0x55, 0x7f, 0x56, 0x86, 0x89, 0xff, 0x48, 0x55, 0xc3, 0xf7, 0xed,
	0x99, 0x81, 0x0c, 0x3d, 0x54, 0xec, 0xd4, 0x29, 0x65, 0x11, 0x34, 0xdc, 0x18, 0xdd, 0x02,
	0x0e, 0xca, 0xa7, 0x71, 0xa3, 0x4c, 0xb9, 0x76, 0x66, 0x77, 0x1a, 0xa3, 0x1f, 0x0e, 0xb4,
	0x62, 0xea, 0x99, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf2, 0x61, 0xe8,
	0xb9, 0x5d, 0xa7, 0x1b, 0x2a, 0x35, 0x42, 0x5f, 0x48, 0xa2, 0x19, 0xa7, 0x7d, 0xbb, 0x0f,
	0xee, 0x25, 0x2f, 0x64, 0xd1, 0x8c, 0xe9, 0x98, 0x88, 0xb9, 0xfb, 0x4f, 0x70, 0xb1, 0x04,
	0x01, 0x1b, 0x7d, 0xfe, 0xa3, 0xe0, 0x34, 0x93, 0x71, 0xa2, 0xbf, 0xaf, 0x6f, 0x91, 0x33};
static const u8 virtee_author_key[] = {
	0x02, 0x00, 0x00, 0x00, 0x8c, 0x86, 0x45, 0xda, 0xd5, 0x73, 0x49, 0xa3, 0xc5, 0xff,
	0xc6, 0xc1, 0xa5, 0xf7, 0x4a, 0x56, 0x9f, 0x0f, 0x83, 0x3c, 0x07, 0x8b, 0xb2, 0x2c,
	0xd7, 0x94, 0x74, 0xf0, 0xfe, 0x92, 0xce, 0x71, 0x6a, 0x73, 0x98, 0x5b, 0xa2, 0x99,
	0x62, 0x33, 0xd1, 0x4c, 0x90, 0xd6, 0x8b, 0xc7, 0x70, 0x62, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf5, 0xac, 0x87, 0x71, 0xe0, 0x91, 0x11, 0x03,
	0xc9, 0xf2, 0xa2, 0xfe, 0x48, 0x43, 0x77, 0x19, 0x2a, 0xcc, 0xb3, 0x88, 0xcc, 0x3a,
	0xfd, 0xb7, 0x59, 0xb5, 0x56, 0x3e, 0xcd, 0x08, 0x93, 0x5f, 0xa9, 0xe2, 0x02, 0x81,
	0x08, 0x10, 0x7a, 0xa7, 0x48, 0x84, 0xc9, 0xa2, 0x30, 0x79, 0x3c, 0x86};

static struct igvm_key *key_of(const char *pem)
{
	struct igvm_error err;
	struct igvm_key *key = igvm_key_read(pem, strlen(pem), strstr(pem, "PRIVATE"), &err);

	if (!key)
		fail_msg("%s", err.text);
	return key;
}

static void refuses_other_keys(void **state)
{
	struct igvm_error err;

	(void)state;
	assert_null(igvm_key_read("", 0, true, &err));
	assert_null(igvm_key_read("no key", 6, true, &err));
	assert_null(igvm_key_read(p256, strlen(p256), true, &err));
	assert_non_null(strstr(err.text, "P-384"));
	assert_null(igvm_key_read(rfc_public, strlen(rfc_public), true, &err));
	assert_null(igvm_key_read(rfc_sec1, strlen(rfc_sec1) / 2, true, &err));
	igvm_key_free(NULL);
}

static void rfc6979_vector(void **state)
{
	static const char expected[] =
		"94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c"
		"81a648152e44acf96e36dd1e80fabe4699ef4aeb15f178cea1fe40db2603138f"
		"130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8";
	static const char *const forms[] = {rfc_sec1, rfc_sec1_short, rfc_pkcs8};
	struct igvm_key *public_key = key_of(rfc_public);
	char text[193];
	u8 rs[96];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct igvm_key *key = key_of(forms[i]);

		assert_int_equal(igvm_key_sign(key, "sample", 6, rs), 0);
		assert_string_equal(igvm_hex(rs, sizeof(rs), text), expected);
		igvm_key_free(key);
	}
	assert_true(igvm_key_verify(public_key, "sample", 6, rs));
	assert_false(igvm_key_verify(public_key, "Sample", 6, rs));
	assert_int_equal(igvm_key_sign(public_key, "sample", 6, rs), -EINVAL);
	igvm_key_free(public_key);
}

static void copy_padded(void *to, size_t size, const void *from, size_t len)
{
	memset(to, 0, size);
	memcpy(to, from, len);
}

static void copy_key(struct igvm_snp_public_key *to, const u8 *from, size_t len)
{
	u8 bytes[148];

	copy_padded(bytes, sizeof(bytes), from, len);
	to->curve = get_le32(bytes);
	memcpy(to->qx, bytes + 4, 72);
	memcpy(to->qy, bytes + 76, 72);
}

/* An ID block that another implementation has signed */
static void published_id_block(void **state)
{
	struct igvm_snp_id_block b = {.author_key_enabled = 1,
				      .version = 1,
				      .id_key_algorithm = 1,
				      .author_key_algorithm = 1};
	struct igvm_id_check check;
	u8 block[96], again[96];
	u64 policy;
	char text[97];

	(void)state;
	copy_padded(block, sizeof(block), virtee_block, sizeof(virtee_block));
	memcpy(b.ld, block, 48);
	memcpy(b.family_id, block + 0x30, 16);
	memcpy(b.image_id, block + 0x40, 16);
	b.guest_svn = get_le32(block + 0x54);
	policy = get_le64(block + 0x58);
	copy_padded(&b.id_key_signature, 144, virtee_signature, sizeof(virtee_signature));
	copy_padded(&b.author_key_signature, 144, virtee_author_signature,
		    sizeof(virtee_author_signature));
	copy_key(&b.id_public_key, virtee_key, sizeof(virtee_key));
	copy_key(&b.author_public_key, virtee_author_key, sizeof(virtee_author_key));

	assert_int_equal(igvm_check_id_block(&b, policy, &check), 0);
	igvm_snp_id_block(b.ld, &check.identity, policy, again);
	assert_memory_equal(again, block, sizeof(block));
	assert_true(check.id_signature);
	assert_true(check.has_author);
	assert_true(check.author_signature);
	assert_string_equal(igvm_hex(check.id_key_digest, 48, text),
			    "59fb2c686dfa4fef49f38339aa775c90051c28d57383ddc3baf3b5eb4b1496df"
			    "3b0dbbdcbae5fe27677a644820773fe2");
	assert_string_equal(igvm_hex(check.author_key_digest, 48, text),
			    "eed81169fb0cb5e0ec34794f128fd4e0c4a46f67c65a1adfa81fcb24bcc088c2"
			    "72369b7ffc3eb2b6af6a4284a1b36c5f");

	assert_int_equal(igvm_check_id_block(&b, policy ^ 1, &check), 0);
	assert_false(check.id_signature);
	assert_true(check.author_signature);
}

static void *sign_image(const u8 *file, size_t len, const char *author, bool replace,
			size_t *out_len)
{
	struct igvm_snp_identity identity = {.family_id = {0, 0, 0, 1}, .guest_svn = 12};
	struct igvm_key *key = key_of(rfc_sec1);
	struct igvm_key *author_key = author ? key_of(author) : NULL;
	struct igvm_error err;
	void *out;

	memcpy(identity.image_id, "openhcl", 7);
	if (igvm_sign_snp(file, len, &identity, key, author_key, replace, &out, out_len, &err))
		fail_msg("%s", err.text);
	igvm_key_free(key);
	igvm_key_free(author_key);
	return out;
}

static const struct igvm_snp_id_block *id_block(const u8 *file, size_t len, struct igvm *ig)
{
	struct igvm_header h;
	struct igvm_iter it;

	assert_int_equal(igvm_open(ig, file, len, NULL), 0);
	igvm_first(ig, &it);
	assert_true(igvm_next_of(&it, IGVM_SNP_ID_BLOCK, FIXTURE_SNP, &h));
	return h.u.snp_id_block;
}

static void signed_image(void **state)
{
	const struct igvm_snp_id_block *b;
	struct igvm_measurement m;
	struct igvm_id_check check;
	struct igvm_error err;
	struct igvm_key *key = key_of(rfc_sec1);
	size_t len, signed_len, again_len;
	u8 *file = fixture_five_pages(&len), digest[48];
	u8 *signed_file = sign_image(file, len, rfc_pkcs8, false, &signed_len);
	void *again;
	struct igvm ig;

	(void)state;
	b = id_block(signed_file, signed_len, &ig);
	assert_int_equal(igvm_measure(&ig, igvm_find_platform(&ig, IGVM_PLATFORM_SEV_SNP), NULL,
				      NULL, &m, NULL),
			 0);
	assert_memory_equal(b->ld, m.digest, 48);
	assert_int_equal(igvm_check_id_block(b, FIXTURE_POLICY, &check), 0);
	assert_true(check.id_signature && check.has_author && check.author_signature);
	assert_int_equal(check.identity.guest_svn, 12);
	assert_int_equal(igvm_key_digest(key, digest), 0);
	assert_memory_equal(digest, check.id_key_digest, 48);

	/* a second one: refused, or in place of the first with the same bytes as before */
	assert_int_equal(igvm_sign_snp(signed_file, signed_len, &check.identity, key, NULL, false,
				       &again, &again_len, &err),
			 -EEXIST);
	again = sign_image(signed_file, signed_len, rfc_pkcs8, true, &again_len);
	assert_int_equal(again_len, signed_len);
	assert_memory_equal(again, signed_file, signed_len);
	free(again);
	free(signed_file);
	free(file);

	file = fixture_without_policy(&len);
	assert_int_equal(igvm_sign_snp(file, len, &check.identity, key, NULL, false, &again,
				       &again_len, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "policy"));
	free(file);
	igvm_key_free(key);
}

/* Every bit of what the ID block says is under one of the two signatures, or is refused. */
static void flipped_id_block(void **state)
{
	size_t len, signed_len;
	u8 *file = fixture_five_pages(&len);
	u8 *signed_file = sign_image(file, len, rfc_pkcs8, false, &signed_len);
	struct igvm_snp_id_block b;
	struct igvm ig;
	const struct igvm_snp_id_block *good = id_block(signed_file, signed_len, &ig);
	size_t author = offsetof(struct igvm_snp_id_block, author_key_signature);

	(void)state;
	for (size_t at = offsetof(struct igvm_snp_id_block, ld); at < sizeof(b); at += 5) {
		struct igvm_id_check check;

		b = *good;
		((u8 *)&b)[at] ^= 0x10;
		if (b.id_public_key.reserved || b.author_public_key.reserved)
			continue; /* igvm_open() refuses it */
		assert_int_equal(igvm_check_id_block(&b, FIXTURE_POLICY, &check), 0);
		if (at < author &&
		    at / 4 != offsetof(struct igvm_snp_id_block, author_key_algorithm) / 4)
			assert_false(check.id_signature);
		else
			assert_false(check.author_signature);
	}
	free(signed_file);
	free(file);
}

static struct igvm_endorsement endorsement(enum igvm_platform_type type)
{
	struct igvm_endorsement e = {.platform = type, .svn = 12, .digest_len = 48};

	if (type == IGVM_PLATFORM_VSM)
		e.digest_len = 32;
	memset(e.digest, 0xaa, e.digest_len);
	return e;
}

static void corim_round_trip(void **state)
{
	static const enum igvm_platform_type types[] = {IGVM_PLATFORM_SEV_SNP, IGVM_PLATFORM_TDX,
							IGVM_PLATFORM_VSM};
	struct igvm_endorsement e, read;
	struct igvm_error err;
	void *out;
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		e = endorsement(types[i]);
		assert_int_equal(igvm_corim_write(&e, &out, &len, &err), 0);
		assert_int_equal(igvm_corim_read(out, len, &read, &err), 0);
		assert_memory_equal(&e, &read, sizeof(e));
		/* cut off anywhere, or with something behind: refused */
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(igvm_corim_read(out, cut, &read, &err), -EINVAL);
		free(out);
	}
	e = endorsement(IGVM_PLATFORM_NATIVE);
	assert_int_equal(igvm_corim_write(&e, &out, &len, &err), -EINVAL);
}

/* A changed byte is either refused or changes what is read: never silently the same. */
static void corim_flipped(void **state)
{
	struct igvm_endorsement e = endorsement(IGVM_PLATFORM_SEV_SNP), read;
	struct igvm_error err;
	size_t len, same = 0;
	void *out;
	u8 *p;

	(void)state;
	e.svn = 0x1234;
	assert_int_equal(igvm_corim_write(&e, &out, &len, &err), 0);
	p = out;
	for (size_t at = 0; at < len; at++) {
		p[at] ^= 1;
		if (!igvm_corim_read(out, len, &read, &err) && !memcmp(&read, &e, sizeof(e)))
			same++;
		p[at] ^= 1;
	}
	/* only the text that names the document */
	assert_int_equal(same, strlen("AMD/SEV-SNP/launch-measurement"));
	free(out);
}

/* The bytes of the document, item by item, from the CDDL: not by our writer */
static void corim_bytes(void **state)
{
	static const u8 expected_start[] = {
		0xd9, 0x01, 0xf5, /* tag 501 */
		0xa3, 0x00, 0x78, 0x1e, 'A', 'M', 'D',	'/',  'S',  'E',  'V',	'-', 'S', 'N',
		'P',  '/',  'l',  'a',	'u', 'n', 'c',	'h',  '-',  'm',  'e',	'a', 's', 'u',
		'r',  'e',  'm',  'e',	'n', 't', 0x01, 0x81, 0xd9, 0x01, 0xfa, /* tags: one, 506 */
		0x58};
	static const u8 comid_start[] = {
		0xa2, 0x01, 0xa1, 0x00, 0x78, 0x24, '7',  '7',	'e',  '8',  '0',  '6',	'1',
		'e',  '-',  '4',  '6',	'3',  '4',  '-',  '5',	'e',  '5',  '3',  '-',	'a',
		'8',  '4',  '8',  '-',	'd',  '1',  'd',  '0',	'9',  'e',  '9',  '9',	'6',
		'8',  '4',  '3',  0x04, 0xa2, 0x00, 0x81, 0x82, 0xa1, 0x00, 0xa2, 0x01, 0x63,
		'A',  'M',  'D',  0x02, 0x67, 'S',  'E',  'V',	'-',  'S',  'N',  'P'};
	struct igvm_endorsement e = endorsement(IGVM_PLATFORM_SEV_SNP);
	size_t len;
	void *out;
	u8 *p;

	(void)state;
	assert_int_equal(igvm_corim_write(&e, &out, &len, NULL), 0);
	p = out;
	assert_memory_equal(p, expected_start, sizeof(expected_start));
	assert_memory_equal(p + sizeof(expected_start) + 1, comid_start, sizeof(comid_start));
	free(out);
}

static void hostile_cbor(void **state)
{
	/* huge lengths, indefinite lengths, deep nesting, keys twice */
	static const char *const bad[] = {
		"\xd9\x01\xf5\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x00",
		"\xd9\x01\xf5\x9b\x80\x00\x00\x00\x00\x00\x00\x00\x01",
		"\xd9\x01\xf5\x5b\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\xd9\x01\xf5\xbf\x01\x01\xff\x01\x01\x01\x01\x01\x01",
		"\xd9\x01\xf5\xa2\x01\x01\x01\x01\x01\x01\x01\x01\x01",
	};
	struct igvm_endorsement e;
	u8 deep[100000];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(igvm_corim_read(bad[i], 13, &e, NULL), -EINVAL);
	memset(deep, 0x81, sizeof(deep));
	memcpy(deep, "\xd9\x01\xf5", 3);
	assert_int_equal(igvm_corim_read(deep, sizeof(deep), &e, NULL), -EINVAL);
}

/* A valid document whose profile, the last entry of its map, occurs a second time */
static void corim_key_twice(void **state)
{
	static const char profile[] = "tag:microsoft.com,2026:launch-measurement/v1";
	size_t entry = 1 + 2 + 2 + strlen(profile); /* key, tag 32, head of the text, text */
	struct igvm_endorsement e = endorsement(IGVM_PLATFORM_TDX), read;
	size_t len;
	void *out;
	u8 *p;

	(void)state;
	assert_int_equal(igvm_corim_write(&e, &out, &len, NULL), 0);
	p = malloc(len + entry);
	memcpy(p, out, len);
	memcpy(p + len, p + len - entry, entry);
	assert_int_equal(p[len], 3);
	assert_int_equal(igvm_corim_read(p, len, &read, NULL), 0);
	assert_int_equal(p[3]++, 0xa3);
	assert_int_equal(igvm_corim_read(p, len + entry, &read, NULL), -EINVAL);
	/* with another key it is an extension, which may be there */
	p[len] = 9;
	assert_int_equal(igvm_corim_read(p, len + entry, &read, NULL), 0);
	free(p);
	free(out);
}

static void corim_signature(void **state)
{
	struct igvm_endorsement e = endorsement(IGVM_PLATFORM_TDX);
	struct igvm_key *key = key_of(rfc_sec1), *public_key = key_of(rfc_public);
	struct igvm_error err;
	void *document, *signature, *again;
	size_t document_len, len, again_len;
	u8 *p;

	(void)state;
	assert_int_equal(igvm_corim_write(&e, &document, &document_len, &err), 0);
	assert_int_equal(igvm_corim_sign(document, document_len, key, "test", NULL, 0, &signature,
					 &len, &err),
			 0);
	assert_int_equal(igvm_corim_check(signature, len, document, document_len, public_key, &err),
			 0);
	assert_int_equal(igvm_corim_sign(document, document_len, key, "test", NULL, 0, &again,
					 &again_len, &err),
			 0);
	assert_int_equal(len, again_len);
	assert_memory_equal(signature, again, len);
	free(again);
	p = signature;
	for (size_t at = 0; at < len; at++) {
		p[at] ^= 4;
		assert_int_equal(
			igvm_corim_check(signature, len, document, document_len, public_key, &err),
			-EINVAL);
		p[at] ^= 4;
	}
	((u8 *)document)[document_len - 1] ^= 1;
	assert_int_equal(igvm_corim_check(signature, len, document, document_len, public_key, &err),
			 -EINVAL);
	assert_int_equal(igvm_corim_sign(document, document_len, public_key, "test", NULL, 0,
					 &again, &again_len, &err),
			 -EINVAL);
	free(signature);
	free(document);
	igvm_key_free(key);
	igvm_key_free(public_key);
}

static void corim_in_image(void **state)
{
	size_t len, out_len, again_len, document_len, signature_len;
	const u8 *document, *signature;
	struct igvm_error err;
	struct igvm ig, with;
	u8 *file = fixture_five_pages(&len);
	void *out, *again;

	(void)state;
	assert_int_equal(igvm_open(&ig, file, len, &err), 0);
	assert_int_equal(igvm_corim_attach(&ig, FIXTURE_SNP, "document", 8, "signature", 9, false,
					   &out, &out_len, &err),
			 0);
	assert_int_equal(igvm_open(&with, out, out_len, &err), 0);
	assert_int_equal(igvm_corim_find(&with, FIXTURE_SNP, &document, &document_len, &signature,
					 &signature_len),
			 0);
	assert_int_equal(document_len, 8);
	assert_memory_equal(document, "document", 8);
	assert_memory_equal(signature, "signature", signature_len);
	assert_int_equal(igvm_corim_find(&with, FIXTURE_TDX, &document, &document_len, &signature,
					 &signature_len),
			 -ENOENT);
	assert_int_equal(igvm_corim_attach(&with, FIXTURE_SNP, "new", 3, NULL, 0, false, &again,
					   &again_len, &err),
			 -EEXIST);
	assert_int_equal(igvm_corim_attach(&with, FIXTURE_SNP, "document", 8, "signature", 9, true,
					   &again, &again_len, &err),
			 0);
	assert_int_equal(out_len, again_len);
	assert_memory_equal(out, again, out_len);
	free(again);
	free(out);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_other_keys), cmocka_unit_test(rfc6979_vector),
		cmocka_unit_test(published_id_block), cmocka_unit_test(signed_image),
		cmocka_unit_test(flipped_id_block),   cmocka_unit_test(hostile_cbor),
		cmocka_unit_test(corim_round_trip),   cmocka_unit_test(corim_flipped),
		cmocka_unit_test(corim_bytes),	      cmocka_unit_test(corim_key_twice),
		cmocka_unit_test(corim_signature),    cmocka_unit_test(corim_in_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
