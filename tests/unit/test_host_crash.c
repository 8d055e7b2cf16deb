/* Files of core dumps and reports: names, rights, and that only complete dumps stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/vmbus/crash.h"
#include "host/crash.h"

static char folder[64];
static int dir;
static struct crash *crash;
static const struct vmbus_crash_ops *ops;
static void *ctx;
static u64 max_size;
static bool under_way;
static unsigned lines;

/* In place of common/vmbus/crash.c, whose order of calls has a test of its own */
bool vmbus_crash_init(struct vmbus_crash *c, struct vmbus_server *server, u64 max,
		      const struct vmbus_crash_ops *o, void *its)
{
	(void)c, (void)server;
	max_size = max;
	ops = o;
	ctx = its;
	return true;
}

void vmbus_crash_run(struct vmbus_crash *c)
{
	(void)c;
}

void vmbus_crash_end(struct vmbus_crash *c)
{
	(void)c;
	if (under_way)
		ops->abort(ctx, "the device goes");
	under_way = false;
}

/* In place of host/vmbus.c and host/iothread.c */
struct iothread *vmbus_iothread(struct vmbus *bus)
{
	(void)bus;
	return NULL;
}

struct vmbus_server *vmbus_server(struct vmbus *bus, enum vtl vtl)
{
	(void)bus, (void)vtl;
	return NULL;
}

void iothread_lock(struct iothread *io)
{
	(void)io;
}

void iothread_unlock(struct iothread *io)
{
	(void)io;
}

void iothread_post(struct iothread *io, struct iothread_work *work)
{
	(void)io, (void)work;
}

void iothread_cancel(struct iothread *io, struct iothread_work *work)
{
	(void)io, (void)work;
}

static void count_lines(enum log_level level, const char *line)
{
	(void)level, (void)line;
	lines++;
}

static int setup(void **state)
{
	(void)state;
	log_set_sink(count_lines);
	umask(0); /* the rights are the program's own */
	strcpy(folder, "/tmp/crash-XXXXXX");
	assert_non_null(mkdtemp(folder));
	dir = crash_open_dir(folder);
	assert_true(dir >= 0);
	crash = crash_create(NULL, dir, folder);
	assert_non_null(crash);
	lines = 0;
	return 0;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	crash_destroy(crash);
	crash = NULL;
	close(dir);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

/* Entries of the folder, each with a name of that pattern, only for its owner. */
static unsigned count(const char *pattern)
{
	DIR *d = opendir(folder);
	const struct dirent *entry;
	unsigned n = 0;
	struct stat st;
	regex_t re;

	assert_non_null(d);
	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	while ((entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (regexec(&re, entry->d_name, 0, NULL, 0))
			fail_msg("%s is no %s", entry->d_name, pattern);
		assert_int_equal(fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0600);
		n++;
	}
	regfree(&re);
	closedir(d);
	return n;
}

#define STAMP	"^vtl2\\.[0-9]{8}-[0-9]{6}\\."
#define CORE	STAMP "([0-9]+\\.)?[0-9]+\\.core$"
#define REPORT	STAMP "([0-9]+\\.)?report\\.txt$"
#define PART	"^\\.vtl2\\..*\\.part$"
#define NOTHING "^$"

/* Bytes of all files of the folder. */
static u64 bytes(void)
{
	DIR *d = opendir(folder);
	const struct dirent *entry;
	struct stat st;
	u64 sum = 0;

	while ((entry = readdir(d)))
		if (!fstatat(dir, entry->d_name, &st, 0) && S_ISREG(st.st_mode))
			sum += (u64)st.st_size;
	closedir(d);
	return sum;
}

static void begin(size_t len)
{
	static u8 data[4096];

	assert_true(ops->start(ctx));
	under_way = true;
	if (len)
		assert_true(ops->write(ctx, data, (u32)len));
}

static void complete(void)
{
	under_way = false;
	ops->complete(ctx);
}

static void no_folder(void **state)
{
	char path[96];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/file", folder);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(crash_open_dir(path), -1);
	snprintf(path, sizeof(path), "%s/no/such", folder);
	assert_int_equal(crash_open_dir(path), -1);
	assert_int_equal(lines, 2);
}

static void makes_a_folder(void **state)
{
	struct stat st;
	char path[96];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/new", folder);
	fd = crash_open_dir(path);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	close(fd);
}

static void folder_goes(void **state)
{
	(void)state;
	rmdir(folder);
	assert_false(ops->start(ctx));
	crash_save_report(dir, folder, "words");
	assert_int_equal(lines, 2);
	assert_int_equal(mkdir(folder, 0700), 0);
}

static void only_complete_ones_stay(void **state)
{
	(void)state;
	begin(4000);
	assert_int_equal(count(PART), 1);
	ops->abort(ctx, "the guest has left");
	under_way = false;
	assert_int_equal(count(NOTHING), 0);
	begin(0);
	crash_destroy(crash);
	crash = NULL;
	assert_int_equal(count(NOTHING), 0);
}

static void complete_dumps(void **state)
{
	(void)state;
	/* more than one in a second: each keeps its name */
	for (unsigned i = 0; i < 5; i++) {
		begin(100 + i);
		assert_true(ops->write(ctx, "x", 1));
		complete();
		assert_int_equal(count(CORE), i + 1);
	}
	assert_int_equal(bytes(), 5 * 101 + 1 + 2 + 3 + 4);
}

static void not_without_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CRASH_DUMPS_MAX; i++) {
		begin(1);
		if (i % 2)
			complete();
		else
			ops->abort(ctx, "test");
	}
	under_way = false;
	assert_false(ops->start(ctx));
	assert_int_equal(count(CORE), CRASH_DUMPS_MAX / 2);
	assert_int_equal(max_size, CRASH_DUMP_MAX);
}

/* What stands at the name of an unfinished dump is not written through. */
static void link_in_the_way(void **state)
{
	char part[64], target[96];
	struct stat st;

	(void)state;
	snprintf(target, sizeof(target), "%s.target", folder);
	close(open(target, O_CREAT | O_WRONLY, 0600));
	snprintf(part, sizeof(part), ".vtl2.%d.0.part", (int)getpid());
	assert_int_equal(symlinkat(target, dir, part), 0);
	begin(10);
	complete();
	assert_int_equal(count(CORE), 1);
	assert_int_equal(bytes(), 10);
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(unlink(target), 0);
}

static void reports(void **state)
{
	(void)state;
	crash_save_report(dir, folder, "last words");
	crash_save_report(dir, folder, "");
	assert_int_equal(count(REPORT), 2);
	assert_int_equal(bytes(), strlen("last words\n\n"));
}

static void no_dumps_wanted(void **state)
{
	struct crash *other = crash_create(NULL, -1, NULL);

	(void)state;
	assert_non_null(other);
	assert_int_equal(max_size, 0);
	for (unsigned i = 0; i < 100; i++)
		ops->unwanted(ctx);
	assert_int_equal(lines, 1);
	crash_destroy(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(no_folder),	    T(makes_a_folder),
		T(folder_goes),	    T(only_complete_ones_stay),
		T(complete_dumps),  T(not_without_end),
		T(link_in_the_way), T(reports),
		T(no_dumps_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
