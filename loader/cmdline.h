/* Kernel command line: fixed part, console, measured text and, where allowed, the host's text. */
#ifndef PARAPET_LOADER_CMDLINE_H
#define PARAPET_LOADER_CMDLINE_H

#include "common/abi/shim.h"
#include "loader/error.h"
#include "loader/isolation.h"

/* Linux for x64 copies 2048 bytes, the NUL included; what is longer would be cut silently. */
#define CMDLINE_SIZE 2048

struct cmdline_measured {
	bool append_allowed; /* policy of the image */
	u32 length;
	const char *text; /* not terminated; inside the command line page */
};

/* Checks the measured command line page. */
int cmdline_measured_read(struct cmdline_measured *measured, const struct shim_cmdline *page,
			  struct shim_error *err);

struct cmdline_input {
	enum isolation isolation;
	struct cmdline_measured measured;
	const char *bootargs; /* host's text, NUL terminated, "" if none */
	bool com3;
	u32 com3_speed; /* baud */
};

/* Host text and host choices are taken: not isolated, or the measured line says debug. */
bool cmdline_host_trusted(const struct cmdline_input *in);

/* Writes the terminated line to buf[CMDLINE_SIZE]. Fails when it does not fit. */
int cmdline_build(char *buf, const struct cmdline_input *in, struct shim_error *err);

#endif
