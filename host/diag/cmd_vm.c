/* parapet ping, start, pause, resume, restart, crash: calls with hardly an answer. */
#include "host/diag/commands.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "host/diag/options.h"
#include "host/diag/process.h"

/* The line of a command without options of its own. False: common->exit is what it returns. */
static bool only_vm(struct diag_common *common, int argc, char **argv, const char *name,
		    const char *usage)
{
	static const struct option options[] = {DIAG_COMMON_OPTIONS, {0}};
	int option;

	diag_common_init(common);
	while (common->exit < 0 && (option = getopt_long(argc, argv, "", options, NULL)) >= 0)
		diag_common_option(common, option, name, usage);
	return common->exit < 0 && diag_common_vm(common, argc, argv, name) &&
	       diag_common_end(common, argc, argv, name);
}

/* One call without a payload. */
static int simple(int argc, char **argv, const char *name, const char *usage, const char *method)
{
	struct diag_client client;
	struct diag_common common;
	struct diag_reply *reply;

	if (!only_vm(&common, argc, argv, name, usage))
		return common.exit;
	diag_client_init(&client, common.vm, common.wait_s);
	reply = diag_demand(&client, DIAG_SERVICE, method, NULL, 0);
	diag_client_close(&client);
	diag_reply_free(reply);
	return reply ? 0 : DIAG_EXIT_FAILED;
}

int diag_pause_command(int argc, char **argv)
{
	return simple(argc, argv, "pause",
		      "usage: parapet pause VM\n\n"
		      "Stops the guest's virtual processors and devices.\n",
		      "Pause");
}

int diag_resume_command(int argc, char **argv)
{
	return simple(argc, argv, "resume",
		      "usage: parapet resume VM\n\n"
		      "Lets a guest go on that was paused, or that stands still after a halt.\n",
		      "Resume");
}

int diag_restart_command(int argc, char **argv)
{
	return simple(argc, argv, "restart",
		      "usage: parapet restart VM\n\n"
		      "Restarts the paravisor's process; the guest keeps its memory and goes on.\n",
		      "Restart");
}

int diag_ping_command(int argc, char **argv)
{
	static const char usage[] = "usage: parapet ping VM\n\n"
				    "Ends with 0 if diagnostics answer.\n";
	struct diag_client client;
	struct diag_common common;
	struct diag_reply *reply;

	if (!only_vm(&common, argc, argv, "ping", usage))
		return common.exit;
	diag_client_init(&client, common.vm, common.wait_s);
	reply = diag_call(&client, DIAG_PING, "Ping", NULL, 0);
	if (!reply)
		log_error("%s", client.error);
	else if (reply->code == TTRPC_OK)
		puts("diagnostics answer");
	else
		/* a server that knows no Ping, or may not: it is there */
		printf("diagnostics answer, restricted: %s\n", reply->message);
	diag_client_close(&client);
	diag_reply_free(reply);
	return reply ? 0 : DIAG_EXIT_FAILED;
}

int diag_start_command(int argc, char **argv)
{
	static const char usage[] =
		"usage: parapet start [options] VM [--] [ARGUMENT...]\n"
		"\n"
		"Starts a guest that waits for it, with more arguments for the paravisor.\n"
		"\n"
		"  -e, --env NAME=VALUE  set a variable\n"
		"  -u, --unset NAME      remove one\n";
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"env", required_argument, NULL, 'e'},
		{"unset", required_argument, NULL, 'u'},
		{0},
	};
	struct diag_client client;
	struct diag_common common;
	struct diag_reply *reply;
	struct pb_writer w;
	int option;

	diag_common_init(&common);
	pb_writer_init(&w, MiB);
	while (common.exit < 0 && (option = getopt_long(argc, argv, "+e:u:", options, NULL)) >= 0) {
		char *equals;
		size_t mark;

		if (option != 'e' && option != 'u') {
			diag_common_option(&common, option, "start", usage);
			continue;
		}
		equals = option == 'e' ? strchr(optarg, '=') : NULL;
		if (option == 'e' && !equals) {
			log_error("--env %s: NAME=VALUE is needed", optarg);
			common.exit = DIAG_EXIT_USAGE;
			continue;
		}
		if (equals)
			*equals = 0;
		mark = pb_begin(&w, 1);
		pb_put_text(&w, 1, optarg);
		if (equals)
			pb_put_bytes_always(&w, 2, pb_text(equals + 1));
		pb_end(&w, mark);
	}
	if (common.exit < 0 && diag_common_vm(&common, argc, argv, "start")) {
		if (optind < argc && !strcmp(argv[optind], "--"))
			optind++;
		while (optind < argc)
			pb_put_bytes_always(&w, 2, pb_text(argv[optind++]));
		diag_client_init(&client, common.vm, common.wait_s);
		reply = diag_demand(&client, DIAG_SERVICE, "Start", &w, 0);
		diag_client_close(&client);
		diag_reply_free(reply);
		common.exit = reply ? 0 : DIAG_EXIT_FAILED;
	}
	pb_writer_free(&w);
	return common.exit;
}

int diag_crash_command(int argc, char **argv)
{
	static const char usage[] =
		"usage: parapet crash [options] VM\n"
		"\n"
		"Makes a process of the paravisor crash, to see what is left of it. Without an\n"
		"option: the one that serves the guest.\n"
		"\n"
		"  -n, --name NAME  by name (see `parapet inspect VM mesh/hosts -r`)\n"
		"  -p, --pid PID    by number\n";
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"name", required_argument, NULL, 'n'},
		{"pid", required_argument, NULL, 'p'},
		{0},
	};
	struct process_choice choice = {0};
	struct diag_client client;
	struct diag_common common;
	struct diag_reply *reply = NULL;
	struct pb_writer w;
	int option;

	diag_common_init(&common);
	while (common.exit < 0 && (option = getopt_long(argc, argv, "n:p:", options, NULL)) >= 0) {
		if (option != 'n' && option != 'p')
			diag_common_option(&common, option, "crash", usage);
		else if (!process_option(&choice, option, optarg))
			common.exit = DIAG_EXIT_USAGE;
	}
	if (common.exit >= 0 || !diag_common_vm(&common, argc, argv, "crash") ||
	    !diag_common_end(&common, argc, argv, "crash"))
		return common.exit;
	diag_client_init(&client, common.vm, common.wait_s);
	if (process_find(&client, &choice)) {
		log_info("crashing process %llu", (unsigned long long)choice.pid);
		pb_writer_init(&w, 64);
		pb_put_u64(&w, 1, choice.pid);
		reply = diag_demand(&client, DIAG_SERVICE, "Crash", &w, 0);
		pb_writer_free(&w);
	}
	diag_client_close(&client);
	diag_reply_free(reply);
	return reply ? 0 : DIAG_EXIT_FAILED;
}
