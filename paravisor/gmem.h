/* Memory of the guest (VTL0 RAM): checked copies, and pointers into it at start-up. */
#ifndef PARAPET_PARAVISOR_GMEM_H
#define PARAPET_PARAVISOR_GMEM_H

#include "paravisor/config.h"

/*
 * The guest runs while we look: whoever needs a value twice copies it once. No lock; the map does
 * not change after gmem_init().
 */

/* Maps all VTL0 RAM of config, which must stay valid. Pages are only filled in when touched. */
bool gmem_init(const struct config *config);

/* Copy from or to guest RAM. 0, or -1 when a byte of the range is not RAM (nothing is copied). */
int gmem_read(u64 gpa, void *data, size_t size);
int gmem_write(u64 gpa, const void *data, size_t size);
/* Compare and swap of 4 or 8 aligned bytes: 0 done, 1 value differed, -1 not RAM. */
int gmem_cmpxchg(u64 gpa, u64 expected, u64 desired, u32 size);

/* Address of [gpa, gpa + size), NULL if it is not all RAM. */
void *gmem_pointer(u64 gpa, u64 size);

#endif
