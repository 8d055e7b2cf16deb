/* The part of the inspection that is about guest memory: who fills what, and what nobody fills. */
#ifndef PARAPET_IGVM_INSPECT_LAYOUT_H
#define PARAPET_IGVM_INSPECT_LAYOUT_H

#include <jansson.h>

#include "igvm/parts.h"

/*
 * Rows of guest memory of one platform, ascending: start, end, bytes, kind, part, data_type, and
 * for pages how many of the bytes the file holds. Required memory that no header fills is there
 * too, as "not imported". totals: gets the bytes by kind.
 */
json_t *inspect_layout(const struct igvm *ig, u32 platform, const struct parts *parts,
		       json_t *totals);

/*
 * "measured", "unmeasured" or "shared", as enum igvm_platform_type `platform` takes the page;
 * "loaded" where nothing is measured. -1: by the flags alone
 */
const char *inspect_page_kind(int platform, const struct igvm_page_data *page);
/* "normal", "secrets"... */
const char *inspect_page_type(u16 type);

#endif
