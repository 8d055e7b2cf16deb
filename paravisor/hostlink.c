/* Host link over SynIC messages; everything received is checked before use. */
#include "paravisor/hostlink.h"

#include "common/abi/hv.h"
#include "common/log.h"
#include "paravisor/mshv.h"
#include "paravisor/thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define POST_TRIES	   200
#define POST_FIRST_WAIT_NS 50000
#define POST_MAX_WAIT_NS   10000000

/* Held while a message is taken and worked on. */
static pthread_mutex_t receive_lock = PTHREAD_MUTEX_INITIALIZER;
static bool link_absent;
static hostlink_receive_fn on_receive;
static hostlink_other_fn on_other;

bool hostlink_post(enum hostlink_op op, u16 index, const void *data, size_t size)
{
	struct hostlink_message message = {.op = (u16)op, .index = index};
	struct timespec wait = {.tv_nsec = POST_FIRST_WAIT_NS};
	int result = 0;

	if (__atomic_load_n(&link_absent, __ATOMIC_RELAXED))
		return false;
	message.length = (u32)MIN(size, (size_t)HOSTLINK_MAX_DATA);
	if (message.length)
		memcpy(message.data, data, message.length);
	for (int i = 0; i < POST_TRIES; i++) {
		result = mshv_post_message(HOSTLINK_CONNECTION, HOSTLINK_TYPE, &message,
					   offsetof(struct hostlink_message, data) +
						   message.length);
		if (result != HV_STATUS_INSUFFICIENT_BUFFERS)
			break;
		nanosleep(&wait, NULL);
		wait.tv_nsec = MIN(wait.tv_nsec * 2, POST_MAX_WAIT_NS);
	}
	if (result == HV_STATUS_INVALID_CONNECTION_ID &&
	    !__atomic_exchange_n(&link_absent, true, __ATOMIC_RELAXED))
		log_info("the host offers no link; going on without");
	return result == 0;
}

static void receive_one(const struct hv_message *raw)
{
	const struct hostlink_message *message = (const void *)raw->payload;

	if (raw->type != HOSTLINK_TYPE || raw->payload_size > HV_MESSAGE_PAYLOAD_SIZE)
		return;
	/* VMBus has the same type, and the same SINT */
	if (raw->sender != HOSTLINK_CONNECTION) {
		on_other(raw->payload, raw->payload_size);
		return;
	}
	if (raw->payload_size < offsetof(struct hostlink_message, data) ||
	    message->length > raw->payload_size - offsetof(struct hostlink_message, data))
		return;
	on_receive(message);
}

static void *receive_loop(void *arg)
{
	(void)arg;
	for (;;) {
		struct hv_message raw;
		int result;

		pthread_mutex_lock(&receive_lock);
		result = mshv_read_message(&raw);
		if (result == 0)
			receive_one(&raw);
		pthread_mutex_unlock(&receive_lock);
		if (result == -EAGAIN)
			result = mshv_wait_message();
		if (result && result != -EINTR) {
			log_warn("receive from the host: %s", strerror(-result));
			return NULL;
		}
	}
}

bool hostlink_start(hostlink_receive_fn receive, hostlink_other_fn other)
{
	int result = mshv_unmask_messages();

	if (result) {
		log_warn("unmask host messages: %s", strerror(-result));
		return false;
	}
	on_receive = receive;
	on_other = other;
	return thread_start("hostlink", THREAD_URGENT, receive_loop, NULL);
}

void hostlink_stop(void)
{
	pthread_mutex_lock(&receive_lock);
}

void hostlink_go_on(void)
{
	pthread_mutex_unlock(&receive_lock);
}
