/*
 * hv_sock between a guest and programs of its host: connections both ways over a VMBus server, and
 * the request line of the hybrid-vsock convention. Serialised with the server's calls (one lock for
 * both). The user's side of a connection (a Unix socket) is behind struct hvsock_ops.
 *
 * Life of a connection: the guest asks (op connect, answered by hvsock_accept or hvsock_refuse) or
 * the host does (hvsock_connect); the guest opens the channel (op connected); bytes; each half ends
 * by itself; the host's side leaves by hvsock_close. Until then op closed tells that it is over.
 *
 * Protocol: Linux net/vmw_vsock/hyperv_transport.c, OpenVMM vmbus_server hvsock.
 */
#ifndef PARAPET_COMMON_VMBUS_HVSOCK_H
#define PARAPET_COMMON_VMBUS_HVSOCK_H

#include <sys/types.h>

#include "common/vmbus/server.h"

#define HVSOCK_MAX_CONNECTIONS 512
#define HVSOCK_MAX_CONNECTS    16 /* that the guest has under way */
#define HVSOCK_OPEN_MS	       5000
#define HVSOCK_CONNECT_MS      10000
#define HVSOCK_LINGER_MS       10000

struct hvsock;
struct hvsock_conn;

struct hvsock_ops {
	/* The guest wants `service`. Answer now or later: hvsock_accept, hvsock_refuse. */
	void (*connect)(void *ctx, struct hvsock_conn *c, const struct guid *service);
	/* The guest has opened: bytes may flow. */
	void (*connected)(void *ctx, struct hvsock_conn *c);
	/* Try reading and writing again. */
	void (*event)(void *ctx, struct hvsock_conn *c);
	/*
	 * Over: the guest closed, broke its rings, did not open in time, or was reset. c is gone
	 * afterwards; do not call hvsock_close.
	 */
	void (*closed)(void *ctx, struct hvsock_conn *c, const char *why);
	/* Milliseconds of a clock that does not jump. */
	u64 (*now)(void *ctx);
};

/* NULL without memory. */
struct hvsock *hvsock_new(struct vmbus_server *server, const struct hvsock_ops *ops, void *ctx);
/* Before the server is freed. Users of connections are not told. */
void hvsock_free(struct hvsock *h);

/* The server's tl_connect op. */
void hvsock_tl_connect(struct hvsock *h, const struct guid *endpoint, const struct guid *service);
/* From the server's connection op with version 0: no connection outlives the guest's. */
void hvsock_reset(struct hvsock *h);

/*
 * Offers a connection to the guest's listener of `service`; instance: fresh random GUID. NULL: too
 * many, or the guest has no VMBus connection. Ends in op connected or closed.
 */
struct hvsock_conn *hvsock_connect(struct hvsock *h, const struct guid *service,
				   const struct guid *instance, void *user);
/* Answers to op connect. False: it came to nothing, c is gone (op closed is not called). */
bool hvsock_accept(struct hvsock_conn *c, void *user);
void hvsock_refuse(struct hvsock_conn *c);

/* As vmbus_pipe_read, _write, _room, and _finish; the guest is signalled by itself. */
ssize_t hvsock_read(struct hvsock_conn *c, void *buf, size_t size);
ssize_t hvsock_write(struct hvsock_conn *c, const void *buf, size_t len);
size_t hvsock_room(struct hvsock_conn *c);
int hvsock_shutdown(struct hvsock_conn *c);
/* The guest broke a ring of an open connection: nothing will pass any more. */
bool hvsock_broken(const struct hvsock_conn *c);
/*
 * The user leaves; c must not be used any more. What was written is still delivered, what the guest
 * sends is thrown away, until it has read all or the linger time is over. now: rescind at once.
 */
void hvsock_close(struct hvsock_conn *c, bool now);
void *hvsock_user(const struct hvsock_conn *c);
u16 hvsock_channel(const struct hvsock_conn *c);

/* Time (of op now) at which hvsock_expire should be called; UINT64_MAX: no need. */
u64 hvsock_deadline(const struct hvsock *h);
void hvsock_expire(struct hvsock *h);
unsigned hvsock_count(const struct hvsock *h);

/* --- hybrid vsock */

#define HYBRID_LINE_MAX 45 /* with the newline */

struct hybrid_request {
	struct guid service;
	bool by_port; /* answer with the instance's Data1, not with the GUID */
};

/*
 * Reads "CONNECT <port or GUID>\n". Bytes that the line takes (what follows belongs to the stream);
 * -EAGAIN: no newline yet; -EINVAL.
 */
ssize_t hybrid_parse(const char *buf, size_t len, struct hybrid_request *req);
/* "OK <n>\n" for the request into out[]; its length. instance: the connection's. */
#define HYBRID_OK_MAX 48
size_t hybrid_ok(const struct hybrid_request *req, const struct guid *instance,
		 char out[HYBRID_OK_MAX]);

#endif
