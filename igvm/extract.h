/* Takes an image apart into files: what the parts of a paravisor image are loaded from. */
#ifndef PARAPET_IGVM_EXTRACT_H
#define PARAPET_IGVM_EXTRACT_H

#include "igvm/igvm.h"

/* Larger parts are refused; a range of pages may be sparse. */
#ifdef PARAPET_FUZZ
#define EXTRACT_MAX_BYTES (16 * MiB)
#else
#define EXTRACT_MAX_BYTES (1 * GiB)
#endif
#define EXTRACT_MAX_FILES 4096

struct extract_file {
	char name[48]; /* only a-z, 0-9, '-' and '.'; "kernel.bin" */
	u32 platform;  /* index in ig->platform */
	bool common;   /* the same in every platform that has it; kept once */
	u64 gpa;       /* of its first byte, 0 if it is in no guest memory */
	u8 *data;
	size_t len;
};

struct extract_files {
	struct extract_file *v;
	u32 count, capacity;
};

/*
 * All parts of the platforms in mask. Pages that nothing loads are zeros in a part; its ends are
 * cut to what is loaded. A paravisor image: by the shim's parameters; any other: a file for each
 * run of pages. In both: VP contexts, signed headers, CoRIM, initial data of parameter areas.
 * out: extract_free() it, also after a failure.
 */
int extract_all(const struct igvm *ig, u32 mask, struct extract_files *out, struct igvm_error *err);
void extract_free(struct extract_files *files);
/* name: the file's, or that without its ending */
bool extract_matches(const struct extract_file *file, const char *name);

#endif
