/* Client side of VTL2's diagnostics: connections over a hybrid-vsock socket, and calls on them. */
#ifndef PARAPET_HOST_DIAG_CLIENT_H
#define PARAPET_HOST_DIAG_CLIENT_H

#include "common/diag/ttrpc.h"

#define DIAG_PORT_CONTROL 1
#define DIAG_PORT_DATA	  2

#define DIAG_SERVICE "diag.UnderhillDiag"
#define DIAG_PING    "diag.OpenhclDiag"
#define DIAG_INSPECT "inspect.InspectService"
#define DIAG_OWN     "parapet.Diag" /* additions of our own server */

/* An answer; freed with diag_reply_free. */
struct diag_reply {
	struct diag_reply *next;
	u32 stream;
	enum ttrpc_code code;
	char *message;		 /* never NULL */
	struct pb_bytes payload; /* owned */
};

/* A data connection: a stream that a call names by its number. */
struct diag_data {
	int fd;
	u64 id;
};

struct diag_client {
	char path[108];
	const char *vm; /* as the user named it, for messages */
	unsigned wait_s;
	int control; /* -1 until the first call */
	u32 last_stream;
	struct ttrpc_receiver receiver;
	struct diag_reply *replies;
	struct pb_writer out; /* frames, of which out_sent bytes have gone out */
	size_t out_sent;
	/* data of a call that is a stream; message is valid during the call only */
	void (*data)(void *context, u32 stream, struct pb_bytes message);
	void *data_context;
	char error[256]; /* why something here failed */
};

/*
 * Where the socket of a VM is: "vsock:PATH", a word with '/', an existing socket in the current
 * folder, else VM.vsock in the folder of running VMs ($XDG_RUNTIME_DIR/parapet, or /run/parapet).
 * False if the name is too long.
 */
bool diag_socket_path(const char *vm, char *path, size_t size);
/* Where a VM that runs under that name has its socket. False if the name is too long. */
bool diag_running_path(const char *name, char *path, size_t size);

void diag_client_init(struct diag_client *client, const char *vm, unsigned wait_s);
void diag_client_close(struct diag_client *client);
/*
 * Opens data connections, and client->control if it is not open, all at the same time. The
 * descriptors are the caller's. False with client->error; then there is none (fd = -1).
 */
bool diag_connect(struct diag_client *client, struct diag_data *data, unsigned count);
/* One data connection and its number. -1 with client->error. */
int diag_data(struct diag_client *client, u64 *id);

/*
 * Sends a request, or as much of it as goes without waiting: see diag_flush. Its stream, 0 with
 * client->error. payload may be NULL; timeout 0 = none.
 */
u32 diag_send(struct diag_client *client, const char *service, const char *method,
	      const struct pb_writer *payload, u64 timeout_ns);
/* The same for a call whose data goes both ways, with diag_send_data and client->data. */
u32 diag_open(struct diag_client *client, const char *service, const char *method,
	      const struct pb_writer *payload);
/* flags as of ttrpc_write_data. False with client->error. */
bool diag_send_data(struct diag_client *client, u32 stream, u8 flags, struct pb_bytes message);
/*
 * Sends more of what waits, when client->control is writable. False when the connection takes no
 * more; then nothing waits. What has arrived before can still be received.
 */
bool diag_flush(struct diag_client *client);
/* Does anything wait to be sent? */
bool diag_unsent(const struct diag_client *client);
/* Reads what has arrived on client->control, without waiting. False when the connection is lost. */
bool diag_receive(struct diag_client *client);
/* Forgets the answers that nobody has taken. */
void diag_discard(struct diag_client *client);
/* The answer, if it is there; then the caller's. */
struct diag_reply *diag_take(struct diag_client *client, u32 stream);
void diag_reply_free(struct diag_reply *reply);
/*
 * One call from request to answer. NULL if there is none (client->error); an answer may still be a
 * failed one.
 */
struct diag_reply *diag_call(struct diag_client *client, const char *service, const char *method,
			     const struct pb_writer *payload, u64 timeout_ns);
/* Says on stderr what a failed answer says. */
void diag_report(const char *method, const struct diag_reply *reply);
/* The same where only success matters: says on stderr what went wrong. NULL then. */
struct diag_reply *diag_demand(struct diag_client *client, const char *service, const char *method,
			       const struct pb_writer *payload, u64 timeout_ns);

#endif
