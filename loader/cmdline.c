/* Kernel command line policy. */
#include "loader/cmdline.h"

#include <string.h>

#include "loader/format.h"

/*
 * noxsave: the VTLs share the extended processor state. clearcpuid=pcid: PCIDs are shared with
 * VTL0 too. swiotlb=1,1: VTL2 lies above 4 GiB, where Linux would set 64 MiB of bounce buffers
 * aside. idle=halt: the hypervisor schedules VTL0 when VTL2 halts. lpj: the delay loop needs no
 * calibration when the TSC is given. oops, panic, reboot: a fault ends in a triple fault, which
 * the host reports.
 */
static const char fixed_part[] =
	"loglevel=8 idle=halt lpj=3000000 noxsave oops=panic panic=-1 "
	"printk.devkmsg=on reboot=t tsc=reliable unknown_nmi_panic=1 clearcpuid=pcid swiotlb=1,1 "
	"rdinit=/init";

#define CONFIDENTIAL_DEBUG "OPENHCL_CONFIDENTIAL_DEBUG="

struct line {
	char *buf;
	size_t used;
	bool full;
};

/* Adds one word group, with a space before all but the first. */
static void add(struct line *line, const char *text, size_t length)
{
	if (!length)
		return;
	if (line->used + length + 2 > CMDLINE_SIZE) {
		line->full = true;
		return;
	}
	if (line->used)
		line->buf[line->used++] = ' ';
	memcpy(line->buf + line->used, text, length);
	line->used += length;
	line->buf[line->used] = 0;
}

static void add_string(struct line *line, const char *text)
{
	add(line, text, strlen(text));
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

/* The option is there and its value is not "0". */
static bool asks_for_debug(const char *text, size_t length)
{
	const size_t name = sizeof(CONFIDENTIAL_DEBUG) - 1;

	for (size_t i = 0; i < length;) {
		size_t start, size;

		while (i < length && is_space(text[i]))
			i++;
		start = i;
		while (i < length && !is_space(text[i]))
			i++;
		size = i - start;
		if (size >= name && memcmp(text + start, CONFIDENTIAL_DEBUG, name) == 0 &&
		    !(size == name + 1 && text[start + name] == '0'))
			return true;
	}
	return false;
}

int cmdline_measured_read(struct cmdline_measured *measured, const struct shim_cmdline *page,
			  struct shim_error *err)
{
	if (page->policy > SHIM_CMDLINE_APPEND_CHOSEN)
		return shim_fail(err, "command line page: unknown policy %u", page->policy);
	if (page->length > sizeof(page->text))
		return shim_fail(err, "command line page: length %u", page->length);
	if (page->length && memchr(page->text, 0, page->length))
		return shim_fail(err, "command line page: NUL inside the text");
	measured->append_allowed = page->policy == SHIM_CMDLINE_APPEND_CHOSEN;
	measured->length = page->length;
	measured->text = page->text;
	return 0;
}

bool cmdline_host_trusted(const struct cmdline_input *in)
{
	return in->isolation == ISOLATION_NONE ||
	       asks_for_debug(in->measured.text, in->measured.length);
}

int cmdline_build(char *buf, const struct cmdline_input *in, struct shim_error *err)
{
	struct line line = {.buf = buf};
	bool trusted = cmdline_host_trusted(in);
	bool append = trusted && in->measured.append_allowed;
	char console[32];

	buf[0] = 0;
	add_string(&line, fixed_part);
	if (trusted && in->com3)
		shim_format(console, sizeof(console), "console=ttyS2,%u", in->com3_speed);
	else
		shim_format(console, sizeof(console), "console=null");
	add_string(&line, console);
	if (in->isolation != ISOLATION_NONE)
		add_string(&line, "OPENHCL_CONFIDENTIAL=1");
	if (asks_for_debug(in->measured.text, in->measured.length) ||
	    (append && asks_for_debug(in->bootargs, strlen(in->bootargs))))
		add_string(&line, CONFIDENTIAL_DEBUG "1");
	add(&line, in->measured.text, in->measured.length);
	if (append)
		add_string(&line, in->bootargs);
	if (line.full)
		return shim_fail(err, "kernel command line is longer than %d bytes",
				 CMDLINE_SIZE - 1);
	return 0;
}
