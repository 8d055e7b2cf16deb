/* The mappings of a process, and what a core dump has of each. */
#include "paravisor/crash/maps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* "START-END rwxp OFFSET MAJOR:MINOR INODE      PATH" */
static bool parse_head(char *line, struct core_map *map)
{
	unsigned long long start, end, offset;
	char rights[5];
	int path = 0;

	if (sscanf(line, "%16llx-%16llx %4[rwxsp-] %16llx %*x:%*x %*u %n", &start, &end, rights,
		   &offset, &path) != 4 ||
	    !path || start >= end || !IS_ALIGNED(start | end, PAGE_SIZE) || strlen(rights) != 4)
		return false;
	*map = (struct core_map){
		.start = start,
		.end = end,
		.offset = offset,
		.read = rights[0] == 'r',
		.write = rights[1] == 'w',
		.exec = rights[2] == 'x',
		.shared = rights[3] == 's',
		.path = line + path,
	};
	return true;
}

static void parse_detail(const char *line, struct core_map *map)
{
	if (starts(line, "Anonymous:"))
		map->anonymous = strtoull(line + 10, NULL, 10) * 1024;
	else if (starts(line, "VmFlags:"))
		/* not to be dumped, device, bare page frames */
		map->device = strstr(line, " dd") || strstr(line, " io") || strstr(line, " pf");
}

unsigned core_maps_parse(char *text, struct core_map *map, unsigned max)
{
	struct core_map none, *last = &none;
	unsigned n = 0;
	char *next;

	for (; text; text = next) {
		struct core_map one;

		next = strchr(text, '\n');
		if (next)
			*next++ = 0;
		if (!parse_head(text, &one)) {
			parse_detail(text, last);
			continue;
		}
		last = &none;
		if (n < max) {
			last = &map[n++];
			*last = one;
		}
	}
	return n;
}

u64 core_map_bytes(const struct core_map *map)
{
	u64 size = map->end - map->start;

	if (!strcmp(map->path, "[vdso]"))
		return size;
	if (map->device || starts(map->path, "[vvar") || starts(map->path, "[vsyscall"))
		return 0;
	if (map->shared)
		return !strcmp(map->path, "/dev/zero (deleted)") ? size : 0;
	if (starts(map->path, "/dev/"))
		return 0;
	if (map->anonymous)
		return size;
	/* without it a debugger does not know which program it is */
	return map->path[0] == '/' && !map->offset && map->read ? MIN(size, (u64)PAGE_SIZE) : 0;
}
