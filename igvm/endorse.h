/*
 * Endorsements as JSON: the launch identity document of OpenVMM's igvmfilegen, and beside it, for
 * `igvm verify`, a digest of what the launch measurement leaves out and the list of pages.
 */
#ifndef PARAPET_IGVM_ENDORSE_H
#define PARAPET_IGVM_ENDORSE_H

#include <jansson.h>

#include "igvm/igvm.h"
#include "igvm/pagelist.h"

/* NULL: out of memory, or the platform has no such document */
json_t *endorse_json(const struct igvm_endorsement *e, bool debug, const struct page_list *pages);
/*
 * Reads such a document, ours or igvmfilegen's (then without rest and pages), or a CoRIM document.
 * pages: to be freed in any case. 0 or -EINVAL, -ENOMEM with *err.
 */
int endorse_read(const void *data, size_t len, struct igvm_endorsement *e, struct page_list *pages,
		 struct igvm_error *err);
/* The image's own idea: SVN of its ID block or CoRIM, debug of its guest policy */
void endorse_properties(const struct igvm *ig, const struct igvm_supported_platform *platform,
			u64 *svn, bool *debug);

#endif
