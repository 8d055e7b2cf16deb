/* Whole small files. */
#ifndef PARAPET_PARAVISOR_FILE_H
#define PARAPET_PARAVISOR_FILE_H

#include "common/types.h"

#define FDT_PATH     "/sys/firmware/fdt"
#define FDT_SIZE_MAX (512 * 1024)

/*
 * Reads a file of at most max bytes into fresh pages. NULL with errno set on failure or when it is
 * larger. Release with file_release.
 */
void *file_load(const char *path, size_t max, size_t *size);
void file_release(void *data, size_t max);

/* Reads the start of a file into text, NUL-terminated. Length, or -1. */
int file_read_text(const char *path, char *text, size_t size);
/* Writes text to a file, made if there is none: settings of the kernel, too. False with errno. */
bool file_write_text(const char *path, const char *text);

#endif
