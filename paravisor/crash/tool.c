/* What the programs that dump processes share. */
#include "paravisor/crash/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/diag/elfcore.h"
#include "common/log.h"
#include "paravisor/diag/policy.h"

#define FILE_MAX    (4 * MiB)
#define RECORD_MAX  8192
#define RECORDS_MAX 100000 /* the log may grow while it is read */

char *crash_load(const char *path, size_t *len)
{
	size_t size = 16384, used = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = malloc(size), *more;
	ssize_t n = -1;

	while (fd >= 0 && text && (n = read(fd, text + used, size - 1 - used)) > 0) {
		used += (size_t)n;
		if (used + 1 < size)
			continue;
		more = size < FILE_MAX ? realloc(text, size *= 2) : NULL;
		if (!more)
			break;
		text = more;
	}
	if (fd >= 0)
		close(fd);
	if (n) {
		free(text);
		return NULL;
	}
	text[used] = 0;
	*len = used;
	return text;
}

/* --- policy: decided by the environment of process 1, which is the kernel's command line */

static char *environment;
static size_t environment_len;

static char *environment_value(const char *name)
{
	size_t len = strlen(name);

	for (char *at = environment; at < environment + environment_len; at += strlen(at) + 1)
		if (!strncmp(at, name, len) && at[len] == '=')
			return at + len + 1;
	return NULL;
}

bool crash_allowed(void)
{
	struct policy policy;
	const char *refusal;

	environment = crash_load("/proc/1/environ", &environment_len);
	if (!environment) {
		log_error("/proc/1/environ: %s", strerror(errno));
		return false;
	}
	policy_read(&policy, environment_value);
	free(environment);
	environment = NULL;
	refusal = policy_refusal(&policy, POLICY_DUMP);
	if (refusal)
		log_error("%s", refusal);
	return !refusal;
}

/* --- kernel log */

u8 *crash_kmsg_note(void)
{
	u8 *note = calloc(1, KMSG_NOTE_SIZE);
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char record[RECORD_MAX];
	u32 len = 0;

	for (unsigned i = 0; note && fd >= 0 && i < RECORDS_MAX; i++) {
		ssize_t n = read(fd, record, sizeof(record));

		if (n < 0 && (errno == EINTR || errno == EPIPE))
			continue;
		if (n <= 0 || (u64)n > KMSG_TEXT_MAX - len)
			break;
		memcpy(kmsg_note_text(note) + len, record, (size_t)n);
		len += (u32)n;
	}
	if (fd >= 0)
		close(fd);
	if (note)
		kmsg_note_finish(note, len);
	return note;
}
