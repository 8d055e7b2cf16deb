/* Kernel command line: who may add what. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "loader/cmdline.h"

static struct shim_cmdline page;
static struct cmdline_input in;
static char line[CMDLINE_SIZE];
static struct shim_error err;

/* Builds the line; words of the fixed part are there, and text ends the line. */
static const char *build(enum isolation isolation, u16 policy, const char *measured,
			 const char *bootargs)
{
	memset(&page, 0, sizeof(page));
	page.policy = policy;
	page.length = (u16)strlen(measured);
	memcpy(page.text, measured, page.length);
	memset(&in, 0, sizeof(in));
	in.isolation = isolation;
	in.bootargs = bootargs;
	in.com3 = true;
	in.com3_speed = 9600;
	assert_int_equal(cmdline_measured_read(&in.measured, &page, &err), 0);
	assert_int_equal(cmdline_build(line, &in, &err), 0);
	assert_non_null(strstr(line, " noxsave "));
	return strstr(line, "rdinit=/init") + strlen("rdinit=/init");
}

#define STATIC SHIM_CMDLINE_STATIC
#define APPEND SHIM_CMDLINE_APPEND_CHOSEN

static void hostile_page(void **state)
{
	(void)state;
	memset(&page, 0, sizeof(page));
	page.policy = 2;
	assert_int_equal(cmdline_measured_read(&in.measured, &page, &err), -1);
	page.policy = 0;
	page.length = 4093;
	assert_int_equal(cmdline_measured_read(&in.measured, &page, &err), -1);
	page.length = 65535;
	assert_int_equal(cmdline_measured_read(&in.measured, &page, &err), -1);
	page.length = 4;
	memcpy(page.text, "a\0bc", 4);
	assert_int_equal(cmdline_measured_read(&in.measured, &page, &err), -1);
	page.length = 0;
	assert_int_equal(cmdline_measured_read(&in.measured, &page, &err), 0);
}

static void not_isolated(void **state)
{
	(void)state;
	assert_string_equal(build(ISOLATION_NONE, APPEND, "a=1", "b=2"),
			    " console=ttyS2,9600 a=1 b=2");
	assert_string_equal(build(ISOLATION_NONE, STATIC, "a=1", "b=2"), " console=ttyS2,9600 a=1");
	assert_string_equal(build(ISOLATION_NONE, APPEND, "", ""), " console=ttyS2,9600");
	in.com3 = false;
	assert_int_equal(cmdline_build(line, &in, &err), 0);
	assert_non_null(strstr(line, " console=null"));
}

static void isolated(void **state)
{
	(void)state;
	assert_string_equal(build(ISOLATION_SNP, APPEND, "a=1", "b=2"),
			    " console=null OPENHCL_CONFIDENTIAL=1 a=1");
	/* The host cannot switch debug on. */
	assert_string_equal(build(ISOLATION_TDX, APPEND, "a=1", "OPENHCL_CONFIDENTIAL_DEBUG=1"),
			    " console=null OPENHCL_CONFIDENTIAL=1 a=1");
	assert_string_equal(build(ISOLATION_VBS, APPEND, "OPENHCL_CONFIDENTIAL_DEBUG=1", "b=2"),
			    " console=ttyS2,9600 OPENHCL_CONFIDENTIAL=1 "
			    "OPENHCL_CONFIDENTIAL_DEBUG=1 OPENHCL_CONFIDENTIAL_DEBUG=1 b=2");
	assert_string_equal(build(ISOLATION_SNP, STATIC, "OPENHCL_CONFIDENTIAL_DEBUG=1", "b=2"),
			    " console=ttyS2,9600 OPENHCL_CONFIDENTIAL=1 "
			    "OPENHCL_CONFIDENTIAL_DEBUG=1 OPENHCL_CONFIDENTIAL_DEBUG=1");
}

static void debug_word(void **state)
{
	const char *const off[] = {"OPENHCL_CONFIDENTIAL_DEBUG=0", "OPENHCL_CONFIDENTIAL_DEBUG",
				   "xOPENHCL_CONFIDENTIAL_DEBUG=1", "OPENHCL_CONFIDENTIAL", ""};
	const char *const on[] = {"a OPENHCL_CONFIDENTIAL_DEBUG=1",
				  "OPENHCL_CONFIDENTIAL_DEBUG=yes\n",
				  "\tOPENHCL_CONFIDENTIAL_DEBUG= b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		build(ISOLATION_SNP, APPEND, off[i], "host");
		assert_false(cmdline_host_trusted(&in));
		assert_null(strstr(line, "host"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		build(ISOLATION_SNP, APPEND, on[i], "host");
		assert_true(cmdline_host_trusted(&in));
		assert_non_null(strstr(line, "host"));
	}
	build(ISOLATION_NONE, APPEND, "", "OPENHCL_CONFIDENTIAL_DEBUG=1");
	assert_non_null(strstr(line, "OPENHCL_CONFIDENTIAL_DEBUG=1 OPENHCL"));
}

/* What Linux would cut off is refused, to the byte. */
static void length(void **state)
{
	static char bootargs[CMDLINE_SIZE + 1];
	size_t fixed;

	(void)state;
	build(ISOLATION_NONE, APPEND, "", "");
	fixed = strlen(line) + 1;
	memset(bootargs, 'x', sizeof(bootargs) - 1);
	in.bootargs = bootargs;
	assert_int_equal(cmdline_build(line, &in, &err), -1);
	bootargs[CMDLINE_SIZE - fixed] = 0;
	assert_int_equal(cmdline_build(line, &in, &err), -1);
	bootargs[CMDLINE_SIZE - fixed - 1] = 0;
	assert_int_equal(cmdline_build(line, &in, &err), 0);
	assert_int_equal(strlen(line), CMDLINE_SIZE - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_page), cmocka_unit_test(not_isolated),
		cmocka_unit_test(isolated),	cmocka_unit_test(debug_word),
		cmocka_unit_test(length),
	};

	return cmocka_run_group_tests_name("shim_cmdline", tests, NULL, NULL);
}
