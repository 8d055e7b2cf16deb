/*
 * Replacing the paravisor's process under a running guest. The guest stands still meanwhile: its
 * processors are held, what the devices and the VMBus know is written down, the program is
 * executed anew in the same process, and takes up what it finds. The host is told nothing: its
 * messages wait in the kernel.
 */
#ifndef PARAPET_PARAVISOR_SERVICING_SERVICING_H
#define PARAPET_PARAVISOR_SERVICING_SERVICING_H

#include "common/diag/inspect.h"
#include "paravisor/config.h"
#include "paravisor/diag/control.h"

/*
 * Ends in the next process, which answers pending. Returns why not; then the guest goes on here.
 * paused: its processors are held already, and will be afterwards. On the thread that serves
 * diagnostics.
 */
const char *servicing_restart(bool paused, const struct control_pending *pending);

/* Appends the state of the VM to out, which takes a moment without the guest. NULL, or why not. */
const char *servicing_save(bool paused, struct pb_writer *out);

/*
 * Does the command line say that this process takes over? Reads what was left to it then; a state
 * that cannot be read ends the VM.
 */
bool servicing_takes_over(int argc, char **argv);
/* The steps of taking over, in the order of a first start. Failure ends the VM. */
void servicing_restore_machine(void);
void servicing_restore_vmbus(void);
/* True: the guest's processors are to be held. */
bool servicing_restore_vps(const struct config *config);
/* The guest runs: gives back memory and says so. pending: who waits to hear it. */
void servicing_done(struct control_pending *pending);

/* How often, and how long the guest stood still the last time. */
void servicing_inspect(struct inspect *dir);

#endif
