/* What the commands of the program `igvm` share: messages, files, the list of commands. */
#ifndef PARAPET_IGVM_CLI_H
#define PARAPET_IGVM_CLI_H

#include "igvm/build.h"
#include "igvm/igvm.h"

#define CLI_EXIT_USAGE 2

/* Each says on stderr what is wrong and returns the exit code to end with. what may be NULL. */
int cli_usage_error(const char *text, const char *what);
int cli_failed(const char *path, const char *text);
int cli_failed_with(const char *path, const struct igvm_error *err);

/* Reads a regular file of less than 4 GiB. out->data: free() it. Returns an exit code. */
int cli_read_file(const char *path, struct blob *out);
/* The same, and opens it as an IGVM file, whose headers stay in out->data. Returns an exit code. */
int cli_open_image(const char *path, struct blob *out, struct igvm *ig);
/*
 * A key in PEM form, or NULL after a line on stderr. igvm_key_free() it. private: what is read of
 * the file is wiped.
 */
struct igvm_key *cli_read_key(const char *path, bool private);
/* Through a second name, so that no reader sees half a file. Returns an exit code. */
int cli_write_file(const char *path, const void *data, size_t len);
/* Writes an image and prints its size by part. Returns an exit code. */
int cli_write_image(const char *path, const void *data, size_t len);

/* Platform bit by igvm_platform_name(), or short: "snp", "vbs". -1: the file has none such */
int cli_find_platform(const struct igvm *ig, const char *name, u32 *mask);

/* A number (0x.. is hexadecimal) that fits. -1: it is none such */
int cli_parse_u32(const char *text, u32 *value);

/* One file each: igvm/cmd_NAME.c. They return the exit code. */
int cmd_build(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_extract(int argc, char **argv);
int cmd_patch(int argc, char **argv);
int cmd_add_payload(int argc, char **argv);
int cmd_measure(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_sign(int argc, char **argv);
int cmd_verify(int argc, char **argv);

#endif
