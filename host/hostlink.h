/* Host side of the host link (common/abi/hostlink.h): guest consoles, power, boot marks. */
#ifndef PARAPET_HOST_HOSTLINK_H
#define PARAPET_HOST_HOSTLINK_H

#include "common/abi/hostlink.h"
#include "host/chardev.h"
#include "host/vm.h"

#define HOSTLINK_PORTS 4

/*
 * `port[i]` is the back end of guest serial port i or NULL. `wake` is an eventfd written when input
 * can go on. `userspace_mark` is the console text that ends the boot timeline.
 */
struct hostlink *hostlink_create(struct chardev *const port[HOSTLINK_PORTS], int wake,
				 const char *userspace_mark);
void hostlink_destroy(struct hostlink *link);
/* After a reset of the VM: VTL2 has not given any credit yet. */
void hostlink_reset(struct hostlink *link);

/* A message that VTL2 posted. Returns a HV_STATUS. VP thread. */
u16 hostlink_receive(struct vp *vp, const u8 *payload, u32 size);
/* Bytes of input that VTL2 takes now on that port. */
u32 hostlink_credit(struct hostlink *link, unsigned port);
/* Sends input (len <= credit). Main thread. */
void hostlink_input(struct vm *vm, unsigned port, const u8 *data, size_t len);
/* Sends a message without data (HOSTLINK_STATS, HOSTLINK_SHUTDOWN). */
void hostlink_send(struct vm *vm, u16 op, u16 index, const u8 *data, size_t len);
/* Text that VTL2 sent as answer to HOSTLINK_STATS; NULL until complete. Caller frees. */
char *hostlink_stats(struct hostlink *link);

#endif
