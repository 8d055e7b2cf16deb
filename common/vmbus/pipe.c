/* Pipe packets over a pair of rings: as messages, or as a byte stream with half close. */
#include "common/vmbus/pipe.h"

#include <errno.h>

#define HEADER	 ((u32)sizeof(struct vmbus_pipe_header))
#define OVERHEAD (16u + HEADER + 8u) /* descriptor, pipe header, trailer */
#define FIN_ROOM OVERHEAD
#define TRIES	 4u
#define WORTH	 512u /* no smaller packets while more is to come */

void vmbus_pipe_init(struct vmbus_pipe *p, struct vmbus_rx *rx, struct vmbus_tx *tx)
{
	*p = (struct vmbus_pipe){.rx = rx, .tx = tx};
}

/* Header of the next packet into p, once. */
static int next_packet(struct vmbus_pipe *p)
{
	struct vmbus_pipe_header head;
	int ret;

	if (p->reading)
		return 0;
	ret = vmbus_rx_peek(p->rx, &p->pkt);
	if (ret == VMBUS_RING_EMPTY)
		return -EAGAIN;
	if (ret)
		return -EIO;
	if (p->pkt.type != VMBUS_PACKET_INBAND ||
	    !vmbus_rx_copy(p->rx, &p->pkt, 0, &head, sizeof(head)) ||
	    head.type != VMBUS_PIPE_DATA || head.len > VMBUS_PIPE_MAX ||
	    head.len > p->pkt.len - HEADER) {
		vmbus_rx_stop(p->rx, "pipe packet");
		return -EIO;
	}
	p->len = head.len;
	p->done = 0;
	p->reading = true;
	return 0;
}

static void end_packet(struct vmbus_pipe *p)
{
	vmbus_rx_consume(p->rx, &p->pkt);
	p->reading = false;
}

/* Before -EAGAIN: false when a packet came meanwhile. */
static bool may_sleep(struct vmbus_pipe *p, bool *signal)
{
	*signal |= vmbus_rx_publish(p->rx);
	return vmbus_rx_sleep(p->rx);
}

ssize_t vmbus_pipe_read(struct vmbus_pipe *p, void *buf, size_t size, bool *signal)
{
	size_t got = 0;
	int ret = 0;

	if (p->peer_finished)
		return 0;
	while (got < size) {
		u32 n;

		ret = next_packet(p);
		if (ret == -EAGAIN && !got && !may_sleep(p, signal))
			continue;
		if (ret)
			break;
		if (!p->len) {
			if (got)
				break;
			p->peer_finished = true;
			end_packet(p);
			*signal |= vmbus_rx_publish(p->rx);
			return 0;
		}
		n = (u32)MIN((size_t)(p->len - p->done), size - got);
		vmbus_rx_copy(p->rx, &p->pkt, HEADER + p->done, (u8 *)buf + got, n);
		p->done += n;
		got += n;
		if (p->done == p->len)
			end_packet(p);
	}
	*signal |= vmbus_rx_publish(p->rx);
	p->read += got;
	return got ? (ssize_t)got : ret;
}

static int put(struct vmbus_pipe *p, const void *buf, u32 len)
{
	struct vmbus_pipe_header head = {VMBUS_PIPE_DATA, len};
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)buf, len}};

	return vmbus_tx_put(p->tx, VMBUS_PACKET_INBAND, 0, 0, NULL, 0, iov, 2);
}

/* Data bytes that fit besides the end packet. */
static u32 data_room(struct vmbus_pipe *p)
{
	u32 room = vmbus_tx_room(p->tx);

	if (room <= OVERHEAD + FIN_ROOM)
		return 0;
	return MIN(room - OVERHEAD - FIN_ROOM, (u32)VMBUS_PIPE_MAX);
}

size_t vmbus_pipe_room(struct vmbus_pipe *p)
{
	u32 worth = MIN(WORTH, p->tx->size / 4);

	if (p->finished || p->tx->corrupt)
		return 0;
	/* a peer that moves its index to and fro gets no endless loop out of us */
	for (unsigned tries = 0; tries < TRIES; tries++) {
		u32 room = data_room(p);

		if (room >= worth)
			return room;
		if (vmbus_tx_wait(p->tx, worth + OVERHEAD + FIN_ROOM))
			break;
	}
	return 0;
}

ssize_t vmbus_pipe_write(struct vmbus_pipe *p, const void *buf, size_t len, bool *signal)
{
	size_t taken = 0;

	if (p->finished)
		return -EPIPE;
	while (taken < len) {
		u32 n = (u32)MIN(len - taken, vmbus_pipe_room(p));

		if (!n || put(p, (const u8 *)buf + taken, n))
			break;
		taken += n;
	}
	*signal |= vmbus_tx_publish(p->tx);
	p->written += taken;
	if (p->tx->corrupt)
		return -EIO;
	return taken || !len ? (ssize_t)taken : -EAGAIN;
}

int vmbus_pipe_finish(struct vmbus_pipe *p, bool *signal)
{
	if (p->finished)
		return 0;
	p->finished = true;
	if (put(p, NULL, 0))
		return -EIO;
	*signal |= vmbus_tx_publish(p->tx);
	return 0;
}

bool vmbus_pipe_drained(struct vmbus_pipe *p)
{
	u32 room = p->tx->size - 8 - (p->finished ? FIN_ROOM : 0);

	if (p->tx->corrupt || vmbus_tx_room(p->tx) >= room)
		return true;
	return !vmbus_tx_wait(p->tx, room) || p->tx->corrupt;
}

int vmbus_pipe_recv(struct vmbus_pipe *p, void *buf, size_t size, size_t *len, bool *signal)
{
	int ret;

	do {
		ret = next_packet(p);
	} while (ret == -EAGAIN && !may_sleep(p, signal));
	if (ret)
		return ret;
	*len = p->len;
	if (p->len > size)
		ret = -EMSGSIZE;
	else
		vmbus_rx_copy(p->rx, &p->pkt, HEADER, buf, p->len);
	end_packet(p);
	*signal |= vmbus_rx_publish(p->rx);
	p->read += p->len;
	return ret;
}

int vmbus_pipe_send(struct vmbus_pipe *p, const void *buf, size_t len, bool *signal)
{
	if (len > VMBUS_PIPE_MAX)
		return -EMSGSIZE;
	for (unsigned tries = 0; tries < TRIES; tries++) {
		int ret = put(p, buf, (u32)len);

		if (ret == VMBUS_RING_OK) {
			*signal |= vmbus_tx_publish(p->tx);
			p->written += len;
			return 0;
		}
		if (ret == VMBUS_RING_TOO_BIG)
			return -EMSGSIZE;
		if (ret == VMBUS_RING_CORRUPT)
			return -EIO;
		*signal |= vmbus_tx_publish(p->tx);
		if (vmbus_tx_wait(p->tx, vmbus_packet_room(0, HEADER + (u32)len)))
			break;
	}
	return -EAGAIN;
}
