/* SHA-2 for measurements: one place that knows the crypto library. */
#ifndef PARAPET_IGVM_HASH_H
#define PARAPET_IGVM_HASH_H

#include <mbedtls/md.h>

#include "common/types.h"

#define SHA256_BYTES 32
#define SHA384_BYTES 48

/* Failures (out of memory in igvm_hash_init) stick: later calls do nothing, `failed` stays. */
struct igvm_hash {
	mbedtls_md_context_t md;
	u32 len; /* bytes of a digest */
	bool failed;
	u64 bytes; /* hashed in all */
};

/* digest_len: SHA256_BYTES or SHA384_BYTES. The hash is started; free it in any case. */
void igvm_hash_init(struct igvm_hash *h, u32 digest_len);
void igvm_hash_update(struct igvm_hash *h, const void *data, size_t len);
/* Ends the message and starts the next one. out: h->len bytes */
void igvm_hash_finish(struct igvm_hash *h, u8 *out);
/* The digest that igvm_hash_finish() would give now, without ending the message. */
void igvm_hash_peek(const struct igvm_hash *h, u8 *out);
void igvm_hash_free(struct igvm_hash *h);

/* In one call; 0 or -ENOMEM */
int igvm_sha384(const void *data, size_t len, u8 out[SHA384_BYTES]);

#endif
