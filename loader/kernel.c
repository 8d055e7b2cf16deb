/* Hand-off to the VTL2 kernel. */
#include "loader/kernel.h"

int kernel_load(const struct shim_image *image, u64 *entry, struct shim_error *err)
{
	(void)err;
	*entry = image->kernel_entry;
	return 0;
}

void kernel_enter(u64 entry, const void *zero_page)
{
	__asm__ volatile("cli\n\tcld\n\txor %%edi, %%edi\n\txor %%ebp, %%ebp\n\tjmp *%0"
			 :
			 : "a"(entry), "S"(zero_page)
			 : "memory");
	__builtin_unreachable();
}
