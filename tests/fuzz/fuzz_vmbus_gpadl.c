/* GPADL messages as they come. */
#include <stdlib.h>
#include <string.h>

#include "common/vmbus/gpadl.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct vmbus_gpadls t = {.max_count = 8, .max_words = 4096};

	while (size >= 2) {
		size_t n = MIN((size_t)data[1], size - 2);
		enum vmbus_gpadl_result ret;
		struct vmbus_gpadl_view view;
		struct vmbus_gpadl *g = NULL;
		u8 *copy = malloc(n + 1);
		u32 id, channel;

		memcpy(copy, data + 2, n);
		if (data[0] & 1)
			ret = vmbus_gpadl_header(&t, copy, n, &g, &id, &channel);
		else
			ret = vmbus_gpadl_body(&t, copy, n, &g, &id, &channel);
		if ((ret == GPADL_MORE || ret == GPADL_COMPLETE) != !!g)
			abort();
		if (ret == GPADL_COMPLETE) {
			for (unsigned i = 0; i < g->ranges; i++) {
				if (!vmbus_gpadl_range(g, i, &view) ||
				    view.pfn + view.pages > g->data + g->words)
					abort();
			}
			vmbus_gpadl_is_ring(g, &view);
			if (data[0] & 2)
				vmbus_gpadl_free(&t, g);
		}
		if (t.count > 8 || t.words > 4096)
			abort();
		free(copy);
		data += 2 + n;
		size -= 2 + n;
	}
	vmbus_gpadl_free_all(&t);
	return t.count || t.words ? (abort(), 0) : 0;
}
