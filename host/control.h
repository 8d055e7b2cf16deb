/*
 * The control socket of a running VM (`parapet run --control PATH`): a program connects, sends one
 * word and a newline, gets one line of JSON, and the end of the connection.
 *
 *   status     what the guest's integration components know: {"ok": true, "guest": {...}}
 *   shutdown   asks the guest to shut down: {"ok": true, "by": "VMBus" or "power button"}
 *   reboot     the same, to boot again
 *   kvp {...}  see host/kvp.h
 */
#ifndef PARAPET_HOST_CONTROL_H
#define PARAPET_HOST_CONTROL_H

#include <stdio.h>

#include "host/ic.h"

struct control;

/* Serves listener (of unix_listen(), stays the caller's) before vmbus_start(). NULL after an
 * error line. */
struct control *control_create(struct vm *vm, struct ic *ic, int listener);
/* After vmbus_stop(). */
void control_destroy(struct control *c);

/* The guest as its components tell, as a JSON object. With the I/O thread's lock held. */
void control_write_guest(FILE *f, struct ic *ic);

#endif
