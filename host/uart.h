/* The UARTs that VTL2 sees (its own console; the guest's UARTs are the paravisor's). */
#ifndef PARAPET_HOST_UART_H
#define PARAPET_HOST_UART_H

#include "host/chardev.h"
#include "host/vm.h"

/* COM3 on `out`; `wake` is written when output waits to be flushed. NULL without memory. */
struct uarts *uarts_create(struct chardev *out, int wake);
void uarts_destroy(struct uarts *u);
/* One element of a port access by VTL2: `size` bytes at `data`. Ports without a UART read as ones.
 */
void uart_port_access(struct vm *vm, u16 port, u8 *data, unsigned size, bool write);
/* Bytes of input that VTL2's console takes now; what is left of its input then. Any thread. */
size_t uarts_room(struct uarts *u);
size_t uarts_input(struct uarts *u, const u8 *data, size_t len);

#endif
