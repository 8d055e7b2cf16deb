/* parapet shell, parapet exec: their command lines. */
#include "host/diag/commands.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "host/diag/options.h"
#include "host/diag/session.h"

enum tty_choice { TTY_AUTO, TTY_ALWAYS, TTY_NEVER };

struct command {
	struct diag_client client;
	struct diag_common common;
	struct session session;
	enum tty_choice tty_choice;
};

static const char exec_usage[] =
	"usage: parapet exec [options] VM [--] PROGRAM [ARGUMENT...]\n"
	"\n"
	"Runs a program in VTL2 with our standard input, output and error, and ends with its exit\n"
	"code (255: ended by a signal; 125: could not be run, or the connection was lost).\n"
	"SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to it; when the VM does not take one,\n"
	"the next ends the command.\n"
	"\n"
	"  -t, --tty               give it a terminal\n"
	"  -n, --no-input          its standard input is /dev/null\n"
	"  -e, --env NAME=VALUE    set a variable; NAME alone removes it\n"
	"  -c, --clear-env         start with an empty environment\n"
	"  -2, --combine-stderr    its standard error goes to standard output\n"
	"  -r, --raw               its streams are the sockets themselves\n";

static const char shell_usage[] =
	"usage: parapet shell [options] VM [SHELL [ARGUMENT...]]\n"
	"\n"
	"Opens a shell (default /bin/sh) on a terminal in VTL2, and ends with its exit code.\n"
	"Without a terminal of our own it reads commands from standard input. After a newline,\n"
	"~. ends the connection and ~~ sends a ~.\n"
	"\n"
	"  -t, --tty               a terminal in any case\n"
	"  -T, --no-tty            no terminal in any case\n"
	"  -e, --env NAME=VALUE    set a variable; NAME alone removes it\n";

static bool add_variable(struct session *session, char *text)
{
	char *equals = strchr(text, '=');

	if (equals == text) {
		log_error("--env %s: no name", text);
		return false;
	}
	if (equals)
		*equals = 0;
	session_variable(session, text, equals ? equals + 1 : NULL);
	return true;
}

/* Everything but the program and its words. False: end with s->common.exit. */
static bool parse(struct command *c, int argc, char **argv, const char *short_options,
		  const struct option *options, const char *name, const char *usage)
{
	int option;

	diag_common_init(&c->common);
	session_init(&c->session, &c->client);
	while (c->common.exit < 0 &&
	       (option = getopt_long(argc, argv, short_options, options, NULL)) >= 0) {
		switch (option) {
		case 't': c->tty_choice = TTY_ALWAYS; break;
		case 'T': c->tty_choice = TTY_NEVER; break;
		case 'n': c->session.no_input = true; break;
		case 'c': pb_put_u64(&c->session.request, 9, 1); break;
		case '2': c->session.combine = true; break;
		case 'r': c->session.raw = true; break;
		case 'e':
			if (!add_variable(&c->session, optarg))
				c->common.exit = DIAG_EXIT_USAGE;
			break;
		default: diag_common_option(&c->common, option, name, usage); break;
		}
	}
	return c->common.exit < 0 && diag_common_vm(&c->common, argc, argv, name);
}

static int run(struct command *c)
{
	int code;

	c->session.tty = c->tty_choice == TTY_ALWAYS ||
			 (c->tty_choice == TTY_AUTO && isatty(STDIN_FILENO) &&
			  isatty(STDOUT_FILENO));
	diag_client_init(&c->client, c->common.vm, c->common.wait_s);
	code = session_run(&c->session);
	diag_client_close(&c->client);
	return code;
}

int diag_exec_command(int argc, char **argv)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"tty", no_argument, NULL, 't'},
		{"no-input", no_argument, NULL, 'n'},
		{"env", required_argument, NULL, 'e'},
		{"clear-env", no_argument, NULL, 'c'},
		{"combine-stderr", no_argument, NULL, '2'},
		{"raw", no_argument, NULL, 'r'},
		{0},
	};
	static struct command c;

	c = (struct command){.tty_choice = TTY_NEVER};
	if (!parse(&c, argc, argv, "+tne:c2r", options, "exec", exec_usage))
		return c.common.exit;
	if (optind < argc && !strcmp(argv[optind], "--"))
		optind++;
	if (optind >= argc) {
		log_error("which program? see 'parapet exec --help'");
		return DIAG_EXIT_USAGE;
	}
	pb_put_text(&c.session.request, 1, argv[optind++]);
	while (optind < argc)
		pb_put_bytes_always(&c.session.request, 2, pb_text(argv[optind++]));
	return run(&c);
}

int diag_shell_command(int argc, char **argv)
{
	static const struct option options[] = {
		DIAG_COMMON_OPTIONS,
		{"tty", no_argument, NULL, 't'},
		{"no-tty", no_argument, NULL, 'T'},
		{"env", required_argument, NULL, 'e'},
		{0},
	};
	static struct command c;

	c = (struct command){.tty_choice = TTY_AUTO};
	if (!parse(&c, argc, argv, "+tTe:", options, "shell", shell_usage))
		return c.common.exit;
	pb_put_text(&c.session.request, 1, optind < argc ? argv[optind++] : "/bin/sh");
	while (optind < argc)
		pb_put_bytes_always(&c.session.request, 2, pb_text(argv[optind++]));
	return run(&c);
}
