/* Start of a test of the host: cmocka, and a machine of the fixture for each test. */
#ifndef PARAPET_TESTS_UNIT_HOST_TEST_H
#define PARAPET_TESTS_UNIT_HOST_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/host_fixture.h"

static struct host_fix *f;
static struct vp *vp; /* the first */

static inline int host_setup(void **state)
{
	(void)state;
	f = host_fix_new(64 * MiB, 4 * MiB);
	vp = &f->vp[0];
	return 0;
}

static inline int host_teardown(void **state)
{
	(void)state;
	host_fix_free(f);
	return 0;
}

#endif
