/*
 * Unix sockets of the host and hv_sock of a guest, by the hybrid-vsock convention: a program
 * connects to PATH, says "CONNECT <port or GUID>", reads "OK <n>", then bytes pass both ways; a
 * guest that connects to port P of the host reaches a listener at PATH_P (or PATH_<GUID>).
 */
#ifndef PARAPET_HOST_HVSOCKET_H
#define PARAPET_HOST_HVSOCKET_H

#include "host/vmbus.h"

struct hvsocket;

#define HVSOCKET_PATH_MAX 60 /* leaves room for _<GUID> in a socket address */

/* As unix_listen(), with room for _<GUID>. Ended by unix_unlisten(). */
int hvsocket_listen(const char *path);

/*
 * Connections of one life of the guest, before vmbus_start(). listener stays the caller's. NULL
 * after an error line.
 */
struct hvsocket *hvsocket_create(struct vmbus *bus, enum vtl vtl, int listener, const char *path);
/* After vmbus_stop(). */
void hvsocket_destroy(struct hvsocket *s);

/* Bytes and connections passed, for --stats-json and inspection. */
struct hvsocket_stats {
	u64 to_guest, from_guest; /* bytes */
	u64 connected, refused;
};
void hvsocket_stats(const struct hvsocket *s, struct hvsocket_stats *stats);

#endif
