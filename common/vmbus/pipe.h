/*
 * Pipe packets over a pair of rings: as messages, or as a byte stream with half close.
 *
 * Byte mode: a packet without data ends the stream. Room for that packet is always kept, so that
 * vmbus_pipe_finish needs no waiting. Format: OpenVMM vmbus_ring, Linux hyperv_transport.c.
 */
#ifndef PARAPET_COMMON_VMBUS_PIPE_H
#define PARAPET_COMMON_VMBUS_PIPE_H

#include <sys/types.h>

#include "common/vmbus/ring.h"

struct vmbus_pipe {
	struct vmbus_rx *rx;
	struct vmbus_tx *tx;
	struct vmbus_packet pkt; /* the one being read */
	bool reading;
	u32 len, done; /* of its data */
	bool peer_finished, finished;
	u64 read, written; /* bytes */
};

/* rx and tx stay the caller's, and must outlive the pipe. */
void vmbus_pipe_init(struct vmbus_pipe *p, struct vmbus_rx *rx, struct vmbus_tx *tx);

/*
 * Up to size bytes of the stream. 0: the peer has finished (for good). -EAGAIN: nothing now, the
 * peer will signal. -EIO: the ring is corrupt. *signal (added to, never cleared): signal the peer.
 */
ssize_t vmbus_pipe_read(struct vmbus_pipe *p, void *buf, size_t size, bool *signal);
/*
 * Takes some of len bytes. -EAGAIN: no room now, the peer will signal. -EPIPE: after finish.
 * -EIO: the ring is corrupt.
 */
ssize_t vmbus_pipe_write(struct vmbus_pipe *p, const void *buf, size_t len, bool *signal);
/* Bytes that vmbus_pipe_write takes now; 0 asks for a signal, as -EAGAIN does. */
size_t vmbus_pipe_room(struct vmbus_pipe *p);
/* Ends our half of the stream. 0, or -EIO. Again: nothing. */
int vmbus_pipe_finish(struct vmbus_pipe *p, bool *signal);
/*
 * All that we wrote was read, but for the end itself, which Linux never takes out. False: the peer
 * will signal. True on a corrupt ring too: nothing more will be read.
 */
bool vmbus_pipe_drained(struct vmbus_pipe *p);

/*
 * Message mode. One packet is one message. 0 and *len; -EAGAIN; -EMSGSIZE, and the message is
 * skipped; -EIO.
 */
int vmbus_pipe_recv(struct vmbus_pipe *p, void *buf, size_t size, size_t *len, bool *signal);
/* All or nothing: 0; -EAGAIN, the peer will signal; -EMSGSIZE; -EIO. */
int vmbus_pipe_send(struct vmbus_pipe *p, const void *buf, size_t len, bool *signal);

#endif
