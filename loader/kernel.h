/* The VTL2 kernel: where it is, and later how it gets there. */
#ifndef PARAPET_LOADER_KERNEL_H
#define PARAPET_LOADER_KERNEL_H

#include "loader/image.h"

/*
 * Makes the kernel ready to enter and gives its entry address. The image holds it as loaded
 * segments; a compressed kernel would be unpacked here.
 */
int kernel_load(const struct shim_image *image, u64 *entry, struct shim_error *err);

/* Enters Linux at its 64-bit entry: RSI = zero page, identity map, interrupts off. */
_Noreturn void kernel_enter(u64 entry, const void *zero_page);

#endif
