/* Names for what IGVM headers hold as numbers: policies, register contexts, algorithms. */
#ifndef PARAPET_IGVM_DECODE_H
#define PARAPET_IGVM_DECODE_H

#include <jansson.h>

#include "igvm/igvm.h"

/* Sets obj[key] to "0x..." */
void decode_set_hex(json_t *obj, const char *key, u64 value);

/* Adds "policy" and what its bits mean on that platform (enum igvm_platform_type). */
void decode_policy(json_t *obj, int platform, u64 policy);
/* Adds "vtl" and "registers", or the fields of the context, by the platform of the header. */
void decode_context(json_t *obj, const struct igvm *ig, const struct igvm_header *vp);
/* Adds the fields of an ID block. */
void decode_id_block(json_t *obj, const struct igvm_snp_id_block *b);
/* Adds the fields of a VBS measurement. */
void decode_vbs_measurement(json_t *obj, const struct igvm_vbs_measurement *m);
/* Adds the fields of a CCA policy. */
void decode_cca_policy(json_t *obj, const struct igvm_cca_policy *p);

#endif
