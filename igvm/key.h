/* Signing with a P-384 key, for formats inside the library. */
#ifndef PARAPET_IGVM_KEY_H
#define PARAPET_IGVM_KEY_H

#include "igvm/igvm.h"

/*
 * ECDSA over SHA-384 of the message, deterministic: big-endian r and s of 48 bytes each. -EINVAL
 * without private part, -ENOMEM.
 */
int igvm_key_sign(const struct igvm_key *key, const void *message, size_t len, u8 rs[96]);
/* Checks such a signature. */
bool igvm_key_verify(const struct igvm_key *key, const void *message, size_t len, const u8 rs[96]);

#endif
