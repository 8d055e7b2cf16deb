/* Last message to the host, then wait to be ended by it. */
#include "paravisor/stop.h"

#include "common/log.h"
#include "paravisor/hostlink.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The host ends or restarts us within moments; without a reaction init must not wait for ever. */
#define HOST_REACTION_SECONDS 10

static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;

void stop_partition(enum hostlink_power how, const char *text)
{
	bool told;

	/* never released: whoever else comes here waits for the end */
	pthread_mutex_lock(&once);
	told = hostlink_post(HOSTLINK_POWER, (u16)how, text, strlen(text));
	if (told)
		sleep(HOST_REACTION_SECONDS);
	_exit(told ? STOP_STATUS_REPORTED : STOP_STATUS_UNLINKED);
}

void stop_crash(const char *format, ...)
{
	char reason[HOSTLINK_MAX_DATA];
	va_list ap;

	va_start(ap, format);
	vsnprintf(reason, sizeof(reason), format, ap);
	va_end(ap);
	log_error("%s", reason);
	stop_partition(HOSTLINK_POWER_CRASH, reason);
}
