/* The user's terminal. */
#include "host/diag/terminal.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static bool changed;

void terminal_restore(void)
{
	if (changed)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	changed = false;
}

bool terminal_raw(bool keep_output)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved))
		return false;
	raw = saved;
	cfmakeraw(&raw);
	if (keep_output) {
		raw.c_oflag = saved.c_oflag;
		raw.c_lflag |= ISIG;
	}
	changed = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
	atexit(terminal_restore);
	return changed;
}

bool terminal_size(u16 *rows, u16 *columns)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && ioctl(STDIN_FILENO, TIOCGWINSZ, &size))
		return false;
	*rows = size.ws_row;
	*columns = size.ws_col;
	return size.ws_row && size.ws_col;
}

enum { LINE_START, LINE_INSIDE, LINE_TILDE };

size_t terminal_escape(int *state, char *data, size_t size, bool *leave)
{
	/* one byte more can come out than went in: a '~' that was held back; the caller has room */
	char out[8192];
	size_t used = 0;

	*leave = false;
	for (size_t i = 0; i < size && used + 2 < sizeof(out); i++) {
		char c = data[i];

		if (*state == LINE_TILDE && c == '.') {
			*leave = true;
			break;
		}
		if (*state == LINE_TILDE) {
			*state = LINE_INSIDE;
			out[used++] = '~';
			if (c == '~')
				continue;
		} else if (*state == LINE_START && c == '~') {
			*state = LINE_TILDE;
			continue;
		}
		out[used++] = c;
		*state = c == '\r' || c == '\n' ? LINE_START : LINE_INSIDE;
	}
	for (size_t i = 0; i < used; i++)
		data[i] = out[i];
	return used;
}
