/* The diagnostics commands of `parapet`. */
#ifndef PARAPET_HOST_DIAG_COMMANDS_H
#define PARAPET_HOST_DIAG_COMMANDS_H

#include <stddef.h>

struct diag_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

extern const struct diag_command diag_commands[];
extern const size_t diag_command_count;

/* cmd_exec.c; the exit code of the program, or 125 if that is not known */
int diag_shell_command(int argc, char **argv);
int diag_exec_command(int argc, char **argv);
/* cmd_log.c */
int diag_kmsg_command(int argc, char **argv);
/* cmd_inspect.c */
int diag_inspect_command(int argc, char **argv);
/* cmd_top.c */
int diag_ps_command(int argc, char **argv);
int diag_top_command(int argc, char **argv);
/* cmd_vm.c */
int diag_ping_command(int argc, char **argv);
int diag_start_command(int argc, char **argv);
int diag_pause_command(int argc, char **argv);
int diag_resume_command(int argc, char **argv);
int diag_restart_command(int argc, char **argv);
int diag_crash_command(int argc, char **argv);
/* cmd_file.c */
int diag_file_command(int argc, char **argv);
int diag_core_dump_command(int argc, char **argv);
int diag_capture_command(int argc, char **argv);
int diag_save_state_command(int argc, char **argv);

#endif
