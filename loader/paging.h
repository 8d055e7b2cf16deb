/* The shim's own address space. Shim only. */
#ifndef PARAPET_LOADER_PAGING_H
#define PARAPET_LOADER_PAGING_H

#include "loader/image.h"

/*
 * Leaves the image's page tables for own ones, which Linux also starts on: an identity map of what
 * the shim and Linux's entry code use of the image, and nothing else. No memory of the shim can be
 * both written and executed; the kernel's pages can, for its own code to decide.
 */
int paging_enter(const struct shim_image *image, struct shim_error *err);

#endif
