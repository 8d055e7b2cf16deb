/* Table of the diagnostics commands. */
#include "host/diag/commands.h"

const struct diag_command diag_commands[] = {
	{"shell", diag_shell_command, "open a shell in VTL2"},
	{"exec", diag_exec_command, "run a program in VTL2"},
	{"ps", diag_ps_command, "list the processes in VTL2"},
	{"top", diag_top_command, "watch processors, exits and memory"},
	{"kmsg", diag_kmsg_command, "show VTL2's kernel log"},
	{"inspect", diag_inspect_command, "show or change the paravisor's state"},
	{"file", diag_file_command, "read a file of VTL2"},
	{"core-dump", diag_core_dump_command, "take a core dump of a process in VTL2"},
	{"crash", diag_crash_command, "make a process of the paravisor crash"},
	{"capture", diag_capture_command, "capture network packets"},
	{"save-state", diag_save_state_command, "read the paravisor's saved state"},
	{"ping", diag_ping_command, "ask whether diagnostics answer"},
	{"start", diag_start_command, "start the guest that waits for it"},
	{"pause", diag_pause_command, "stop the guest's processors and devices"},
	{"resume", diag_resume_command, "let them go on"},
	{"restart", diag_restart_command, "restart the paravisor under the guest"},
};
const size_t diag_command_count = sizeof(diag_commands) / sizeof(diag_commands[0]);
