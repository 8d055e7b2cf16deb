/* Processor exceptions. Shim only. */
#ifndef PARAPET_LOADER_EXCEPTIONS_H
#define PARAPET_LOADER_EXCEPTIONS_H

/*
 * Makes every exception end in shim_panic, on a stack of its own: also when the shim's stack is
 * used up. Replaces the image's GDT, task register and IDT; Linux keeps the selectors as it
 * expects them at its entry (code 0x10, data 0x18).
 */
void exceptions_init(void);

#endif
