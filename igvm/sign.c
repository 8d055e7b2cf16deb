/*
 * ECDSA P-384 keys, and the SNP ID block that they sign.
 * Source: AMD SEV-SNP firmware ABI, ID block, ID authentication information and its key format.
 */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS /* key parts have no other interface in both 2.28 and 3 */
#include <mbedtls/asn1.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/version.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/bytes.h"
#include "igvm/hash.h"
#include "igvm/internal.h"
#include "igvm/key.h"

#define P384_BYTES	      48
#define SNP_CURVE_P384	      2
#define SNP_ECDSA_P384_SHA384 1
#define SNP_KEY_BYTES	      0x404
#define MAX_PEM		      (64 * 1024)

struct igvm_key {
	mbedtls_pk_context pk;
	bool private_part;
};

/* Blinding only; signatures do not depend on it. */
static int random_bytes(void *ctx, unsigned char *out, size_t len)
{
	(void)ctx;
	while (len) {
		ssize_t n = getrandom(out, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return MBEDTLS_ERR_ECP_RANDOM_FAILED;
		out += n;
		len -= (size_t)n;
	}
	return 0;
}

static int parse_private(mbedtls_pk_context *pk, const u8 *pem, size_t len)
{
#if MBEDTLS_VERSION_MAJOR >= 3
	return mbedtls_pk_parse_key(pk, pem, len, NULL, 0, random_bytes, NULL);
#else
	return mbedtls_pk_parse_key(pk, pem, len, NULL, 0);
#endif
}

/* The key may lack its public part, which SEC1 makes optional; mbedtls then computes it. */
struct igvm_key *igvm_key_read(const void *pem, size_t len, bool private_part,
			       struct igvm_error *err)
{
	struct igvm_key *key;
	u8 *text;
	int ret;

	if (len > MAX_PEM) {
		igvm_fail(err, IGVM_NO_HEADER, 0, "too long for a key");
		return NULL;
	}
	key = calloc(1, sizeof(*key));
	text = malloc(len + 1); /* the parser wants PEM with a NUL */
	if (!key || !text) {
		igvm_fail_memory(err);
		free(key);
		free(text);
		return NULL;
	}
	if (len)
		memcpy(text, pem, len);
	text[len] = 0;
	mbedtls_pk_init(&key->pk);
	ret = parse_private(&key->pk, text, len + 1);
	key->private_part = ret == 0;
	if (ret && !private_part) {
		mbedtls_pk_free(&key->pk);
		mbedtls_pk_init(&key->pk);
		ret = mbedtls_pk_parse_public_key(&key->pk, text, len + 1);
	}
	mbedtls_platform_zeroize(text, len);
	free(text);
	if (ret)
		igvm_fail(err, IGVM_NO_HEADER, 0,
			  private_part ? "not a private key in PEM without password"
				       : "not a key in PEM");
	else if (mbedtls_pk_get_type(&key->pk) != MBEDTLS_PK_ECKEY ||
		 mbedtls_pk_ec(key->pk)->grp.id != MBEDTLS_ECP_DP_SECP384R1)
		igvm_fail(err, IGVM_NO_HEADER, 0, "not a key on the curve P-384");
	else
		return key;
	igvm_key_free(key);
	return NULL;
}

void igvm_key_free(struct igvm_key *key)
{
	if (!key)
		return;
	mbedtls_pk_free(&key->pk);
	free(key);
}

/* A certificate that is not of this key would make every verification fail. */
static bool contains_key(const u8 *der, size_t len, const struct igvm_key *key)
{
	const mbedtls_ecp_keypair *pair = mbedtls_pk_ec(key->pk);
	u8 point[1 + 2 * P384_BYTES];
	size_t point_len;

	return !mbedtls_ecp_point_write_binary(&pair->grp, &pair->Q, MBEDTLS_ECP_PF_UNCOMPRESSED,
					       &point_len, point, sizeof(point)) &&
	       memmem(der, len, point, point_len);
}

int igvm_certificate_read(const void *pem, size_t len, const struct igvm_key *key, void **der,
			  size_t *der_len, struct igvm_error *err)
{
	mbedtls_pem_context context;
	size_t used;
	char *text;
	int ret;

	if (len > MAX_PEM)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "too long for a certificate");
	text = strndup(pem, len);
	if (!text)
		return igvm_fail_memory(err);
	mbedtls_pem_init(&context);
	ret = mbedtls_pem_read_buffer(&context, "-----BEGIN CERTIFICATE-----",
				      "-----END CERTIFICATE-----", (const u8 *)text, NULL, 0,
				      &used);
	free(text);
	if (ret) {
		ret = igvm_fail(err, IGVM_NO_HEADER, 0, "not a certificate in PEM");
	} else if (!contains_key(context.buf, context.buflen, key)) {
		ret = igvm_fail(err, IGVM_NO_HEADER, 0, "not a certificate of the key");
	} else {
		*der = malloc(context.buflen);
		*der_len = context.buflen;
		if (*der)
			memcpy(*der, context.buf, context.buflen);
		else
			ret = igvm_fail_memory(err);
	}
	mbedtls_pem_free(&context);
	return ret;
}

static void reverse(u8 *dst, const u8 *src, size_t len)
{
	for (size_t i = 0; i < len; i++)
		dst[i] = src[len - 1 - i];
}

/* 72 little-endian bytes to a number; false if it has more than 48 bytes */
static bool read_number(mbedtls_mpi *n, const u8 field[72])
{
	u8 bytes[P384_BYTES];

	for (size_t i = P384_BYTES; i < 72; i++) {
		if (field[i])
			return false;
	}
	reverse(bytes, field, sizeof(bytes));
	return !mbedtls_mpi_read_binary(n, bytes, sizeof(bytes));
}

static int write_number(const mbedtls_mpi *n, u8 field[72])
{
	u8 bytes[P384_BYTES];

	memset(field, 0, 72);
	if (mbedtls_mpi_write_binary(n, bytes, sizeof(bytes)))
		return -ENOMEM;
	reverse(field, bytes, sizeof(bytes));
	return 0;
}

/* The key without the `reserved` word that IGVM puts between, zero padded */
static void snp_key(const struct igvm_snp_public_key *key, u8 out[SNP_KEY_BYTES])
{
	memset(out, 0, SNP_KEY_BYTES);
	put_le32(out, key->curve);
	memcpy(out + 4, key->qx, sizeof(key->qx));
	memcpy(out + 4 + sizeof(key->qx), key->qy, sizeof(key->qy));
}

static int export_key(const struct igvm_key *key, struct igvm_snp_public_key *out)
{
	const mbedtls_ecp_keypair *pair = mbedtls_pk_ec(key->pk);

	memset(out, 0, sizeof(*out));
	out->curve = SNP_CURVE_P384;
	if (write_number(&pair->Q.X, out->qx) || write_number(&pair->Q.Y, out->qy))
		return -ENOMEM;
	return 0;
}

static int key_digest(const struct igvm_snp_public_key *key, u8 digest[IGVM_MAX_DIGEST])
{
	u8 bytes[SNP_KEY_BYTES];

	snp_key(key, bytes);
	return igvm_sha384(bytes, sizeof(bytes), digest);
}

int igvm_key_digest(const struct igvm_key *key, u8 digest[IGVM_MAX_DIGEST])
{
	struct igvm_snp_public_key public_key;

	return export_key(key, &public_key) ? -ENOMEM : key_digest(&public_key, digest);
}

/* Big-endian r and s of ECDSA over SHA-384 of the message */
int igvm_key_sign(const struct igvm_key *key, const void *message, size_t len, u8 rs[96])
{
	mbedtls_ecp_keypair *pair = mbedtls_pk_ec(key->pk);
	mbedtls_mpi r, s;
	u8 hash[SHA384_BYTES];
	int ret;

	if (!key->private_part)
		return -EINVAL;
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	ret = igvm_sha384(message, len, hash) ||
	      mbedtls_ecdsa_sign_det_ext(&pair->grp, &r, &s, &pair->d, hash, sizeof(hash),
					 MBEDTLS_MD_SHA384, random_bytes, NULL) ||
	      mbedtls_mpi_write_binary(&r, rs, P384_BYTES) ||
	      mbedtls_mpi_write_binary(&s, rs + P384_BYTES, P384_BYTES);
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
	return ret ? -ENOMEM : 0;
}

static int sign(const struct igvm_key *key, const void *message, size_t len,
		struct igvm_snp_signature *out)
{
	u8 rs[96];

	memset(out, 0, sizeof(*out));
	if (igvm_key_sign(key, message, len, rs))
		return -ENOMEM;
	reverse(out->r, rs, P384_BYTES);
	reverse(out->s, rs + P384_BYTES, P384_BYTES);
	return 0;
}

static bool verify(const struct igvm_snp_public_key *key, const struct igvm_snp_signature *sig,
		   const void *message, size_t len)
{
	mbedtls_ecp_group group;
	mbedtls_ecp_point q;
	mbedtls_mpi r, s;
	u8 hash[SHA384_BYTES];
	bool ok;

	if (key->curve != SNP_CURVE_P384)
		return false;
	mbedtls_ecp_group_init(&group);
	mbedtls_ecp_point_init(&q);
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	ok = !mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP384R1) &&
	     read_number(&q.X, key->qx) && read_number(&q.Y, key->qy) &&
	     !mbedtls_mpi_lset(&q.Z, 1) && !mbedtls_ecp_check_pubkey(&group, &q) &&
	     read_number(&r, sig->r) && read_number(&s, sig->s) &&
	     !igvm_sha384(message, len, hash) &&
	     !mbedtls_ecdsa_verify(&group, hash, sizeof(hash), &q, &r, &s);
	mbedtls_mpi_free(&s);
	mbedtls_mpi_free(&r);
	mbedtls_ecp_point_free(&q);
	mbedtls_ecp_group_free(&group);
	return ok;
}

bool igvm_key_verify(const struct igvm_key *key, const void *message, size_t len, const u8 rs[96])
{
	struct igvm_snp_public_key public_key;
	struct igvm_snp_signature signature = {0};

	reverse(signature.r, rs, P384_BYTES);
	reverse(signature.s, rs + P384_BYTES, P384_BYTES);
	return !export_key(key, &public_key) && verify(&public_key, &signature, message, len);
}

void igvm_snp_id_block(const u8 ld[IGVM_MAX_DIGEST], const struct igvm_snp_identity *identity,
		       u64 policy, u8 out[IGVM_SNP_ID_BLOCK_BYTES])
{
	memcpy(out, ld, 48);
	memcpy(out + 0x30, identity->family_id, 16);
	memcpy(out + 0x40, identity->image_id, 16);
	put_le32(out + 0x50, 1); /* version */
	put_le32(out + 0x54, identity->guest_svn);
	put_le64(out + 0x58, policy);
}

int igvm_check_id_block(const struct igvm_snp_id_block *b, u64 policy, struct igvm_id_check *out)
{
	u8 block[IGVM_SNP_ID_BLOCK_BYTES], key[SNP_KEY_BYTES];

	*out = (struct igvm_id_check){.has_author = b->author_key_enabled};
	memcpy(out->identity.family_id, b->family_id, 16);
	memcpy(out->identity.image_id, b->image_id, 16);
	out->identity.guest_svn = b->guest_svn;
	igvm_snp_id_block(b->ld, &out->identity, policy, block);
	out->id_signature = b->version == 1 && b->id_key_algorithm == SNP_ECDSA_P384_SHA384 &&
			    verify(&b->id_public_key, &b->id_key_signature, block, sizeof(block));
	if (key_digest(&b->id_public_key, out->id_key_digest))
		return -ENOMEM;
	if (!out->has_author)
		return 0;
	snp_key(&b->id_public_key, key);
	out->author_signature = b->author_key_algorithm == SNP_ECDSA_P384_SHA384 &&
				verify(&b->author_public_key, &b->author_key_signature, key,
				       sizeof(key));
	return key_digest(&b->author_public_key, out->author_key_digest);
}

static int fill_id_block(struct igvm_snp_id_block *b, const struct igvm_measurement *m, u64 policy,
			 const struct igvm_snp_identity *identity, const struct igvm_key *id_key,
			 const struct igvm_key *author_key)
{
	u8 block[IGVM_SNP_ID_BLOCK_BYTES], key[SNP_KEY_BYTES];
	int ret;

	*b = (struct igvm_snp_id_block){.mask = m->mask,
					.version = 1,
					.guest_svn = identity->guest_svn,
					.id_key_algorithm = SNP_ECDSA_P384_SHA384};
	memcpy(b->ld, m->digest, sizeof(b->ld));
	memcpy(b->family_id, identity->family_id, sizeof(b->family_id));
	memcpy(b->image_id, identity->image_id, sizeof(b->image_id));
	igvm_snp_id_block(b->ld, identity, policy, block);
	ret = export_key(id_key, &b->id_public_key);
	if (!ret)
		ret = sign(id_key, block, sizeof(block), &b->id_key_signature);
	if (ret || !author_key)
		return ret;
	b->author_key_enabled = 1;
	b->author_key_algorithm = SNP_ECDSA_P384_SHA384;
	snp_key(&b->id_public_key, key);
	ret = export_key(author_key, &b->author_public_key);
	return ret ? ret : sign(author_key, key, sizeof(key), &b->author_key_signature);
}

static int write_with_id_block(const struct igvm *ig, const struct igvm_snp_id_block *b, void **out,
			       size_t *out_len, struct igvm_error *err)
{
	struct igvm_writer *w = igvm_writer_new(ig->version, ig->arch);
	struct igvm_iter it;
	struct igvm_header h;
	int ret;

	if (!w)
		return igvm_fail_memory(err);
	for (igvm_first(ig, &it); igvm_next(&it, &h);) {
		if (h.type != IGVM_SNP_ID_BLOCK)
			igvm_write_copy(w, &h);
	}
	igvm_write(w, IGVM_SNP_ID_BLOCK, b, sizeof(*b), NULL, 0);
	ret = igvm_writer_finish(w, out, out_len, err);
	igvm_writer_free(w);
	return ret;
}

/* What an ID block is about: measurement and policy; no ID block yet, unless it may be replaced */
static int prepare(struct igvm *ig, const void *image, size_t len, bool replace,
		   struct igvm_measurement *m, u64 *policy, struct igvm_error *err)
{
	const struct igvm_supported_platform *platform;
	struct igvm_header h;
	struct igvm_iter it;
	int ret;

	ret = igvm_open(ig, image, len, err);
	if (ret)
		return ret;
	platform = igvm_find_platform(ig, IGVM_PLATFORM_SEV_SNP);
	if (!platform)
		return igvm_fail(err, IGVM_NO_HEADER, 0, "the image has no platform SEV-SNP");
	igvm_first(ig, &it);
	if (igvm_next_of(&it, IGVM_SNP_ID_BLOCK, platform->mask, &h) && !replace) {
		igvm_fail(err, h.index, h.offset, "the image has an SNP ID block already");
		return -EEXIST;
	}
	/* Also makes sure that there is a guest policy. */
	ret = igvm_measure(ig, platform, NULL, NULL, m, err);
	if (ret)
		return ret;
	igvm_first(ig, &it);
	igvm_next_of(&it, IGVM_GUEST_POLICY, platform->mask, &h);
	*policy = h.u.guest_policy.policy;
	return 0;
}

int igvm_sign_snp(const void *image, size_t len, const struct igvm_snp_identity *identity,
		  const struct igvm_key *id_key, const struct igvm_key *author_key, bool replace,
		  void **out, size_t *out_len, struct igvm_error *err)
{
	struct igvm_snp_id_block block;
	struct igvm_measurement m;
	struct igvm ig;
	u64 policy;
	int ret;

	ret = prepare(&ig, image, len, replace, &m, &policy, err);
	if (ret)
		return ret;
	if (fill_id_block(&block, &m, policy, identity, id_key, author_key))
		return igvm_fail_memory(err);
	return write_with_id_block(&ig, &block, out, out_len, err);
}

static bool parse_signature(const u8 *der, size_t len, struct igvm_snp_signature *out)
{
	u8 *p = (u8 *)der; /* not written to */
	const u8 *end = der + len;
	mbedtls_mpi r, s;
	size_t inside;
	bool good;

	memset(out, 0, sizeof(*out));
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	good = !mbedtls_asn1_get_tag(&p, end, &inside,
				     MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) &&
	       p + inside == end && !mbedtls_asn1_get_mpi(&p, end, &r) &&
	       !mbedtls_asn1_get_mpi(&p, end, &s) && p == end && !write_number(&r, out->r) &&
	       !write_number(&s, out->s);
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
	return good;
}

int igvm_attach_id_block(const void *image, size_t len, const u8 block[IGVM_SNP_ID_BLOCK_BYTES],
			 const void *signature, size_t signature_len,
			 const struct igvm_key *public_key, bool replace, void **out,
			 size_t *out_len, struct igvm_error *err)
{
	struct igvm_snp_id_block b = {.id_key_algorithm = SNP_ECDSA_P384_SHA384};
	struct igvm_measurement m;
	struct igvm_id_check check;
	struct igvm ig;
	u64 policy;
	int ret;

	ret = prepare(&ig, image, len, replace, &m, &policy, err);
	if (ret)
		return ret;
	b.mask = m.mask;
	memcpy(b.ld, block, sizeof(b.ld));
	memcpy(b.family_id, block + 0x30, sizeof(b.family_id));
	memcpy(b.image_id, block + 0x40, sizeof(b.image_id));
	b.version = get_le32(block + 0x50);
	b.guest_svn = get_le32(block + 0x54);
	if (memcmp(b.ld, m.digest, sizeof(b.ld)) || get_le64(block + 0x58) != policy)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "the ID block is for another image: launch digest or policy");
	if (!parse_signature(signature, signature_len, &b.id_key_signature))
		return igvm_fail(err, IGVM_NO_HEADER, 0, "not an ECDSA signature on P-384 in DER");
	if (export_key(public_key, &b.id_public_key) || igvm_check_id_block(&b, policy, &check))
		return igvm_fail_memory(err);
	if (!check.id_signature)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "the signature is not of this key over this ID block");
	return write_with_id_block(&ig, &b, out, out_len, err);
}
