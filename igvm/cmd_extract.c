/* igvm extract: writes the parts of an image to files. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "igvm/cli.h"
#include "igvm/extract.h"

struct options {
	const char *folder;
	char **names; /* parts that are asked for */
	int count;    /* 0: all */
	bool list, force;
};

static bool is_wanted(const struct options *o, const struct extract_file *f)
{
	for (int i = 0; i < o->count; i++) {
		if (extract_matches(f, o->names[i]))
			return true;
	}
	return o->count == 0;
}

/* "DIR/kernel.bin", or "DIR/sev-snp/kernel.bin" where platforms differ. free() it. */
static char *path_of(const struct igvm *ig, const struct options *o, const struct extract_file *f)
{
	const char *platform = igvm_platform_name(ig->platform[f->platform].platform_type);
	char *path;

	if (asprintf(&path, f->common ? "%s%.0s/%s" : "%s/%s/%s", o->folder, platform, f->name) < 0)
		return NULL;
	return path;
}

static int make_folder(const char *path)
{
	if (mkdir(path, 0777) && errno != EEXIST)
		return cli_failed(path, strerror(errno));
	return 0;
}

static int make_folders(const struct igvm *ig, const struct options *o,
			const struct extract_file *f)
{
	char *path;
	int ret = make_folder(o->folder);

	if (ret || f->common)
		return ret;
	if (asprintf(&path, "%s/%s", o->folder,
		     igvm_platform_name(ig->platform[f->platform].platform_type)) < 0)
		return cli_failed(f->name, "out of memory");
	ret = make_folder(path);
	free(path);
	return ret;
}

static int write_part(const struct igvm *ig, const struct options *o, const struct extract_file *f)
{
	char *path = path_of(ig, o, f);
	int ret, fd;

	if (!path)
		return cli_failed(f->name, "out of memory");
	ret = make_folders(ig, o, f);
	if (!ret && !o->force) {
		/* Takes the name: whatever is there already, a link too, stays as it is. */
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0)
			ret = cli_failed(path, errno == EEXIST ? "exists; --force overwrites"
							       : strerror(errno));
		else
			close(fd);
	}
	if (!ret) {
		ret = cli_write_file(path, f->data, f->len);
		if (!ret)
			printf("%s: %zu bytes\n", path, f->len);
	}
	free(path);
	return ret;
}

static void list_part(const struct igvm *ig, const struct extract_file *f)
{
	const char *platform = igvm_platform_name(ig->platform[f->platform].platform_type);

	printf("%-28s %-8s %10zu", f->name, f->common ? "all" : platform, f->len);
	if (f->gpa)
		printf("  from 0x%llx", (unsigned long long)f->gpa);
	putchar('\n');
}

/* Nothing is written if a part is asked for that is not there, or a file exists. */
static int check(const struct igvm *ig, const struct options *o, const struct extract_files *files)
{
	for (int i = 0; i < o->count; i++) {
		bool found = false;

		for (u32 j = 0; j < files->count; j++)
			found = found || extract_matches(&files->v[j], o->names[i]);
		if (!found)
			return cli_failed(o->names[i], "no such part; --list names all");
	}
	for (u32 i = 0; i < files->count && !o->force && !o->list; i++) {
		char *path = path_of(ig, o, &files->v[i]);
		bool exists = path && is_wanted(o, &files->v[i]) &&
			      !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);
		int ret = exists ? cli_failed(path, "exists; --force overwrites") : 0;

		free(path);
		if (ret)
			return ret;
	}
	return 0;
}

static int extract(const struct igvm *ig, u32 mask, const char *path, const struct options *o)
{
	struct extract_files files;
	struct igvm_error err;
	int ret = 0;

	if (extract_all(ig, mask, &files, &err))
		ret = cli_failed_with(path, &err);
	else
		ret = check(ig, o, &files);
	for (u32 i = 0; i < files.count && !ret; i++) {
		if (!is_wanted(o, &files.v[i]))
			continue;
		if (o->list)
			list_part(ig, &files.v[i]);
		else
			ret = write_part(ig, o, &files.v[i]);
	}
	extract_free(&files);
	if (!ret && fflush(stdout))
		ret = cli_failed("standard output", strerror(errno));
	return ret;
}

int cmd_extract(int argc, char **argv)
{
	static const struct option options[] = {{"list", no_argument, NULL, 'l'},
						{"force", no_argument, NULL, 'f'},
						{"platform", required_argument, NULL, 'p'},
						{"output", required_argument, NULL, 'o'},
						{0}};
	struct options o = {.folder = "."};
	const char *platform = NULL;
	struct blob file;
	struct igvm ig;
	u32 mask = ~0u;
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
		switch (opt) {
		case 'l': o.list = true; break;
		case 'f': o.force = true; break;
		case 'p': platform = optarg; break;
		case 'o': o.folder = optarg; break;
		default: return cli_usage_error("extract: wrong option", argv[optind - 1]);
		}
	}
	if (optind >= argc)
		return cli_usage_error("extract: needs a file", NULL);
	o.names = argv + optind + 1;
	o.count = argc - optind - 1;
	ret = cli_open_image(argv[optind], &file, &ig);
	if (ret)
		return ret;
	if (platform && cli_find_platform(&ig, platform, &mask))
		ret = cli_failed(argv[optind], "has no such platform");
	else
		ret = extract(&ig, mask, argv[optind], &o);
	free((void *)file.data);
	return ret;
}
