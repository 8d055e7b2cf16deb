/* The page at the top of the first 4 GiB from which TDX processors start. */
#ifndef PARAPET_IGVM_TDX_H
#define PARAPET_IGVM_TDX_H

#include "igvm/igvm.h"

/*
 * Makes the reset page (SHIM_TDX_RESET_PAGE) from registers as a VBS context has them: they take
 * effect through the context at its start. CR3 must lie below 4 GiB; EFER and PAT cannot be set,
 * they have the platform's values.
 */
void tdx_make_reset_page(u8 page[PAGE_SIZE], const struct igvm_register *regs, u32 count);

#endif
