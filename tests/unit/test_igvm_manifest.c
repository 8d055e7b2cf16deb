/* Manifests: what is refused and where, then what OpenVMM's manifests say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "tests/unit/igvm_build_fixture.h"

static int setup(void **state)
{
	(void)state;
	make_inputs();
	return 0;
}

#define CONFIG(isolation, image)                                       \
	"{\"guest_svn\":1,\"max_vtl\":2,\"isolation_type\":" isolation \
	",\"image\":{\"openhcl\":{" image "}}}"
#define FILE_OF(configs)    "{\"guest_arch\":\"x64\",\"guest_configs\":[" configs "]}"
#define ISOLATED(isolation) FILE_OF(CONFIG(isolation, PAGES))
#define PAGES		    "\"memory_page_count\":16384"
#define SNP(fields)	    "{\"snp\":{" fields "}}"
#define TDX(fields)	    "{\"tdx\":{" fields "}}"
#define VBS		    "{\"vbs\":{\"enable_debug\":false}}"
#define SNP_OK                                                                      \
	"\"shared_gpa_boundary_bits\":46,\"policy\":196639,\"enable_debug\":false," \
	"\"injection_type\":\"normal\""
#define TDX_OK "\"enable_debug\":false,\"sept_ve_disable\":true"
#define POLICY_OK                                                       \
	"\"require_ephemeral_vmgs\":true,\"require_secure_boot\":true," \
	"\"require_secure_boot_vars\":false,\"require_bcd_integrity\":false"
#define DIRECT(isolation, fields)                                                         \
	FILE_OF("{\"max_vtl\":0,\"isolation_type\":" isolation ",\"image\":"              \
		"{\"snp_linux_direct\":{\"linux\":{\"use_initrd\":true,\"command_line\":" \
		"\"a\"}," fields "}}}")
#define DIRECT_SNP \
	"{\"snp\":{\"policy\":196608,\"enable_debug\":true,\"injection_type\":\"normal\"}}"
#define DIRECT_OK "\"processor_count\":1,\"memory_page_count\":40960,\"c_bit_position\":51"

static void refused(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{"", "line 1"},
		{"[]", "manifest: must be an object"},
		{"{\"guest_arch\":\"x64\"}", "guest_configs: must be a list"},
		{"{\"guest_arch\":\"x64\",\"guest_configs\":[]}", "guest_configs: must be a list"},
		{"{\"guest_configs\":[{}]}", "guest_arch: must be \"x64\""},
		{"{\"guest_arch\":\"aarch64\",\"guest_configs\":[{}]}",
		 "guest_arch: only \"x64\" can be built"},
		{"{\"guest_arch\":\"x64\",\"guest_configs\":[{}],\"x\":1}", "x: unknown field"},
		{"{\"guest_arch\":\"x64\",\"guest_arch\":\"x64\"}", "duplicate"},
		{FILE_OF("1"), "guest_configs[0]: must be an object"},
		{FILE_OF("{}"), "guest_configs[0].isolation_type: is missing"},
		{FILE_OF("{\"isolation_type\":\"none\"}"), "guest_configs[0].image: is missing"},
		{FILE_OF("{\"isolation_type\":\"none\",\"guest_svn\":4294967296}"),
		 "guest_configs[0].guest_svn: must be a number from 0 to 4294967295"},
		{FILE_OF("{\"isolation_type\":\"none\",\"max_vtl\":1,\"image\":\"none\"}"),
		 "guest_configs[0].max_vtl: must be 2 or 0"},
		{FILE_OF("{\"isolation_type\":\"none\",\"max_vtl\":3}"),
		 "guest_configs[0].max_vtl: must be a number from 0 to 2"},
		{FILE_OF("{\"isolation_type\":\"none\",\"max_vtl\":0,\"image\":{\"openhcl\":{" PAGES
			 "}}}"),
		 "guest_configs[0].max_vtl: must be 2"},
		{FILE_OF("{\"isolation_type\":\"none\",\"image\":{\"uefi\":{\"config_type\":"
			 "\"none\"}}}"),
		 "guest_configs[0].max_vtl: must be 0"},
		{FILE_OF("{\"isolation_type\":\"none\",\"image\":{\"uefi\":{}}}"),
		 "guest_configs[0].image.uefi.config_type: is missing"},
		{FILE_OF("{\"isolation_type\":\"none\",\"image\":{\"uefi\":{\"config_type\":1}}}"),
		 "guest_configs[0].image.uefi.config_type: must be \"none\" or \"igvm\""},
		{FILE_OF("{\"isolation_type\":\"none\",\"image\":{\"pcat\":{}}}"),
		 "guest_configs[0].image.pcat: unknown field"},
		{FILE_OF("{\"isolation_type\":\"none\",\"image\":{\"uefi\":{},\"linux\":{}}}"),
		 "guest_configs[0].image: must be"},
		{FILE_OF("{\"isolation_type\":\"none\",\"image\":\"openhcl\"}"),
		 "guest_configs[0].image: must be"},

		/* isolation */
		{ISOLATED("\"snp\""), "guest_configs[0].isolation_type.snp: must be an object"},
		{ISOLATED("{\"none\":{}}"), "guest_configs[0].isolation_type: must be \"none\""},
		{ISOLATED("{\"sgx\":{}}"), "guest_configs[0].isolation_type: must be \"none\""},
		{ISOLATED("{\"vbs\":{}}"), "isolation_type.vbs.enable_debug: is missing"},
		{ISOLATED("{\"vbs\":{\"enable_debug\":1}}"),
		 "isolation_type.vbs.enable_debug: must be true or false"},
		{ISOLATED("{\"vbs\":{\"enable_debug\":true,\"x\":1}}"),
		 "isolation_type.vbs.x: unknown field"},
		{ISOLATED(TDX("\"enable_debug\":false")),
		 "isolation_type.tdx.sept_ve_disable: is missing"},
		{ISOLATED(TDX("\"sept_ve_disable\":true")),
		 "isolation_type.tdx.enable_debug: is missing"},
		{ISOLATED(TDX(TDX_OK ",\"policy\":1")), "isolation_type.tdx.policy: unknown field"},
		{ISOLATED(SNP("\"enable_debug\":false,\"injection_type\":\"normal\"")),
		 "isolation_type.snp.policy: is missing"},
		{ISOLATED(SNP("\"policy\":196639,\"injection_type\":\"normal\"")),
		 "isolation_type.snp.enable_debug: is missing"},
		{ISOLATED(SNP("\"policy\":196639,\"enable_debug\":false")),
		 "isolation_type.snp.injection_type: is missing"},
		{ISOLATED(SNP("\"policy\":196639,\"enable_debug\":false,\"injection_type\":"
			      "\"alternate\"")),
		 "isolation_type.snp.injection_type: must be \"normal\" or \"restricted\""},
		{ISOLATED(SNP(SNP_OK ",\"secure_avic\":true")),
		 "isolation_type.snp.secure_avic: must be"},
		{ISOLATED(SNP(
			 "\"policy\":65567,\"enable_debug\":false,\"injection_type\":\"normal\"")),
		 "isolation_type.snp.policy: bit 17 must be 1"},
		{ISOLATED(SNP("\"policy\":720927,\"enable_debug\":false,\"injection_type\":"
			      "\"normal\"")),
		 "isolation_type.snp.policy: allows debugging"},
		{ISOLATED(SNP("\"policy\":67305503,\"enable_debug\":false,\"injection_type\":"
			      "\"normal\"")),
		 "isolation_type.snp.policy: 0x403001f has bits"},
		{ISOLATED(
			 SNP("\"policy\":-1,\"enable_debug\":false,\"injection_type\":\"normal\"")),
		 "isolation_type.snp.policy: must be a number"},
		{ISOLATED(SNP("\"shared_gpa_boundary_bits\":31,\"policy\":196639")),
		 "shared_gpa_boundary_bits: must be a number from 32 to 50"},
		{ISOLATED(SNP("\"shared_gpa_boundary_bits\":51,\"policy\":196639")),
		 "shared_gpa_boundary_bits: must be a number from 32 to 50"},
		{ISOLATED(SNP(
			 "\"policy\":196639,\"enable_debug\":false,\"injection_type\":\"normal\"")),
		 "image.openhcl: needs isolation_type.snp.shared_gpa_boundary_bits"},
		{FILE_OF(CONFIG("\"none\"", PAGES) "," CONFIG(VBS, PAGES)),
		 "guest_configs[1].isolation_type: guest_configs[0] is for the same platform"},
		{FILE_OF(CONFIG(SNP(SNP_OK), PAGES) "," CONFIG(VBS, PAGES) "," CONFIG(SNP(SNP_OK),
										      PAGES)),
		 "guest_configs[2].isolation_type: guest_configs[0] is for the same platform"},
		{FILE_OF(CONFIG(SNP(SNP_OK), PAGES) "," CONFIG(VBS, PAGES) "," CONFIG(
			 TDX(TDX_OK), PAGES) "," CONFIG(VBS, PAGES)),
		 "guest_configs[3]: more configurations than platforms"},

		/* memory */
		{OPENHCL(""), "image.openhcl.memory_page_count: is missing"},
		{OPENHCL("\"memory_page_count\": 12289"), "multiple of 512"},
		{OPENHCL("\"memory_page_count\": 0"),
		 "memory_page_count: must be a number from 512"},
		{OPENHCL("\"memory_page_count\": -512"), "memory_page_count"},
		{OPENHCL("\"memory_page_count\": 1048576"), "memory_page_count"},
		{OPENHCL("\"memory_page_count\": \"12288\""), "memory_page_count"},
		{OPENHCL("\"memory_page_count\": 12288, \"memory_page_base\": 1"),
		 "memory_page_base: must be a number from 512"},
		{OPENHCL("\"memory_page_count\": 12288, \"memory_page_base\": 1025"),
		 "memory_page_base: must be a multiple of 512"},
		{OPENHCL("\"memory_page_count\": 512"), "are too few"},
		{FILE_OF(CONFIG(SNP(SNP_OK), PAGES ",\"memory_page_base\":512")),
		 "image.openhcl.memory_page_base: must be 1024 or more"},
		{FILE_OF(CONFIG(SNP(SNP_OK), PAGES ",\"memory_page_base\":17179869184")),
		 "image.openhcl.memory_page_base: the memory passes the shared boundary"},
		{FILE_OF(CONFIG(TDX(TDX_OK), PAGES ",\"memory_page_base\":1032192")),
		 "image.openhcl.memory_page_base: with tdx the memory must end below 4 GiB"},

		/* payloads and the rest */
		{OPENHCL(PAGES ", \"command_line\": 1"), "openhcl.command_line: must be a string"},
		{OPENHCL(PAGES ", \"static_command_line\": 1"), "openhcl.static_command_line"},
		{OPENHCL(PAGES ", \"uefi\": \"x\""), "openhcl.uefi: must be true or false"},
		{OPENHCL(PAGES ", \"uefi\": true, \"linux\": {}"),
		 "openhcl.linux: an image carries"},
		{OPENHCL(PAGES ", \"uefi\": true, \"memory_page_base\": 1024"),
		 "openhcl.memory_page_base: the UEFI firmware takes the memory below"},
		{OPENHCL(PAGES ", \"linux\": {\"x\": 1}"), "image.openhcl.linux.x: unknown"},
		{OPENHCL(PAGES ", \"linux\": 1"), "image.openhcl.linux: must be an object"},
		{OPENHCL(PAGES ", \"product_policy\": 1"),
		 "image.openhcl.product_policy: must be {"},
		{OPENHCL(PAGES ", \"product_policy\": {\"other\":{}}"),
		 "image.openhcl.product_policy: must be {"},
		{OPENHCL(PAGES ", \"product_policy\": {\"sivm\":{}}"),
		 "product_policy.sivm.require_ephemeral_vmgs: is missing"},
		{OPENHCL(PAGES ", \"product_policy\": {\"sivm\":{" POLICY_OK "}}"),
		 "product_policy.sivm.custom_uefi_json: is missing"},
		{OPENHCL(PAGES ", \"product_policy\": {\"sivm\":{" POLICY_OK
			       ",\"custom_uefi_json\":\"YQ=\"}}"),
		 "product_policy.sivm.custom_uefi_json: is not base64"},
		{OPENHCL(PAGES ", \"product_policy\": {\"sivm\":{" POLICY_OK
			       ",\"custom_uefi_json\":\"YR==\"}}"),
		 "product_policy.sivm.custom_uefi_json: is not base64"},
		{OPENHCL(PAGES ", \"product_policy\": {\"sivm\":{" POLICY_OK
			       ",\"custom_uefi_json\":\"\",\"require_secure_avic\":true}}"),
		 "product_policy.sivm.require_secure_avic: unknown field"},
		{OPENHCL(PAGES ", \"product_policy\": {\"cwcow\":{" POLICY_OK
			       ",\"custom_uefi_json\":\"\"}}"),
		 "product_policy.cwcow.require_secure_avic: is missing"},
		{OPENHCL(PAGES ", \"product_policy\": {\"sivm\":{\"require_ephemeral_vmgs\":true,"
			       "\"require_secure_boot\":true,\"require_secure_boot_vars\":true,"
			       "\"require_bcd_integrity\":false,\"custom_uefi_json\":\"\"}}"),
		 "product_policy.sivm.custom_uefi_json: must not be empty"},
		{DIRECT("\"none\"", DIRECT_OK), "image.snp_linux_direct: needs isolation_type.snp"},
		{DIRECT(SNP(SNP_OK), DIRECT_OK), "image.snp_linux_direct: takes no shared_gpa"},
		{DIRECT(DIRECT_SNP, "\"processor_count\":0,\"memory_page_count\":40960,"
				    "\"c_bit_position\":51"),
		 "snp_linux_direct.processor_count: must be a number from 1"},
		{DIRECT(DIRECT_SNP, "\"processor_count\":1,\"memory_page_count\":1048576,"
				    "\"c_bit_position\":51"),
		 "snp_linux_direct.memory_page_count: must be"},
		{DIRECT(DIRECT_SNP, "\"processor_count\":1,\"memory_page_count\":1,"
				    "\"c_bit_position\":31"),
		 "snp_linux_direct.c_bit_position: must be a number from 32 to 51"},
		{DIRECT(DIRECT_SNP, "\"processor_count\":1,\"memory_page_count\":1,"
				    "\"c_bit_position\":52"),
		 "snp_linux_direct.c_bit_position: must be a number from 32 to 51"},

		/* read, but not built */
		{DIRECT(DIRECT_SNP, DIRECT_OK), "image.snp_linux_direct: a guest without"},
		{FILE_OF("{\"isolation_type\":\"none\",\"max_vtl\":0,\"image\":\"none\"}"),
		 "guest_configs[0].image: there is nothing"},
		{FILE_OF("{\"isolation_type\":\"none\",\"max_vtl\":0,\"image\":{\"linux\":{}}}"),
		 "guest_configs[0].image.linux: a bare kernel"},
		{"{\"guest_arch\":\"x64\",\"guest_configs\":[],\"resources\":{\"x\":\"y\"}}",
		 "guest_configs"},
		{"{\"guest_arch\":\"x64\",\"guest_configs\":[" CONFIG(VBS, PAGES) "],\"resources\":"
										  "{\"x\":\"y\"}}",
		 "resources.x: unknown field"},
	};
	struct igvm_error err;
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		void *image = build(cases[i].json, &len, &err);

		if (image)
			fail_msg("case %zu was built, want \"%s\"", i, cases[i].text);
		if (!strstr(err.text, cases[i].text))
			fail_msg("case %zu: want \"%s\", got \"%s\"", i, cases[i].text, err.text);
	}
}

/* Names of any length give an error text that ends. */
static void long_names(void **state)
{
	static char json[70000];
	struct igvm_error err;
	struct manifest m;

	(void)state;
	for (u32 n = 1; n < 60000; n *= 3) {
		int at = snprintf(
			json, sizeof(json),
			"{\"guest_arch\":\"x64\",\"guest_configs\":[{\"isolation_type\":{\"");

		memset(json + at, 'n', n);
		snprintf(json + at + n, sizeof(json) - (size_t)at - n, "\":{}}}]}");
		assert_int_equal(manifest_parse(&m, json, strlen(json), &err), -EINVAL);
		assert_true(strlen(err.text) < sizeof(err.text));
		manifest_free(&m);
	}
}

static void long_command_line(void **state)
{
	char text[4200], json[4400];
	struct igvm_error err;
	size_t len;
	void *image;

	(void)state;
	for (u32 n = 4092; n <= 4093; n++) {
		memset(text, 'a', n);
		text[n] = 0;
		snprintf(json, sizeof(json),
			 OPENHCL("\"memory_page_count\": 12288, \"command_line\": \"%s\""), text);
		image = build(json, &len, &err);
		assert_int_equal(image != NULL, n == 4092);
		free(image);
	}
}

static void resources(void **state)
{
	static const char json[] = "{\"resources\":{\"openhcl_boot\":\"a/b\",\"uefi\":\"c\"}}";
	struct manifest m = {0};
	struct igvm_error err;

	(void)state;
	assert_int_equal(manifest_parse_resources(&m, json, strlen(json), &err), 0);
	assert_string_equal(m.resource[RESOURCE_SHIM], "a/b");
	assert_string_equal(m.resource[RESOURCE_UEFI], "c");
	assert_null(m.resource[RESOURCE_KERNEL]);
	manifest_free(&m);
	assert_int_equal(manifest_parse_resources(&m, "{\"resources\":{\"x\":\"y\"}}", 23, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "resources.x"));
	manifest_free(&m);
	for (u32 i = 0; i < RESOURCE_COUNT; i++)
		assert_int_equal(resource_find(resource_key(i), strlen(resource_key(i))), i);
	assert_int_equal(resource_find("uef", 3), RESOURCE_COUNT);
	assert_null(resource_key(RESOURCE_COUNT));
}

/*
 * What the x64 manifests of OpenVMM (microsoft/openvmm 1488a37, vm/loader/manifests) hold, by
 * their names; written down here in our own order of fields.
 */
#define O_NONE(pages, cmdline, payload)                                                     \
	FILE_OF("{\"guest_svn\":1,\"max_vtl\":2,\"isolation_type\":\"none\",\"image\":{"    \
		"\"openhcl\":{\"memory_page_count\":" #pages ",\"command_line\":\"" cmdline \
		"\"," payload "}}}")
#define O_IMAGE(pages, cmdline)                                                            \
	"\"image\":{\"openhcl\":{\"memory_page_base\":32768,\"memory_page_count\":" #pages \
	",\"command_line\":\"" cmdline "\",\"uefi\":true}}}"
#define O_CVM(svn, debug, cmdline, snp_pages, pages)                                           \
	FILE_OF("{\"guest_svn\":" #svn ",\"max_vtl\":2,\"isolation_type\":{\"snp\":{"          \
		"\"shared_gpa_boundary_bits\":46,\"policy\":196639,\"enable_debug\":" #debug   \
		",\"injection_type\":\"normal\",\"secure_avic\":\"enabled\"}}," O_IMAGE(       \
			snp_pages,                                                             \
			cmdline) ",{\"guest_svn\":" #svn ",\"max_vtl\":2,\"isolation_type\":{" \
				 "\"tdx\":{\"enable_debug\":false,"                            \
				 "\"sept_ve_disable\":true}}," O_IMAGE(                        \
					 pages, cmdline) ",{\"guest_svn\":" #svn               \
							 ",\"max_vtl\":2,\"isolation_type\":{" \
							 "\"vbs\":{\"enable_debug\":" #debug   \
							 "}}," O_IMAGE(pages, cmdline))
#define O_DIRECT(processors)                                                                 \
	FILE_OF("{\"guest_svn\":1,\"max_vtl\":0,\"isolation_type\":{\"snp\":{"               \
		"\"shared_gpa_boundary_bits\":null,\"policy\":196608,\"enable_debug\":true," \
		"\"injection_type\":\"normal\",\"secure_avic\":\"disabled\"}},\"image\":{"   \
		"\"snp_linux_direct\":{\"processor_count\":" #processors ",\"linux\":{"      \
		"\"use_initrd\":true,\"command_line\":\"console=ttyS0 earlyprintk=serial "   \
		"earlycon panic=-1\"},\"memory_page_count\":40960,\"c_bit_position\":51}}}")
#define O_POOL "OPENHCL_IGVM_VTL2_GPA_POOL_CONFIG="
#define O_LINUX                                                                            \
	"\"linux\":{\"use_initrd\":true,\"command_line\":\"panic=-1 root=/dev/sda3 debug " \
	"console=ttyS0,115200 nokasrl\"}"
#define O_UEFI "\"max_vtl\":0,\"guest_svn\":1,\"image\":{\"uefi\":{\"config_type\":\"igvm\"}}}"

static const struct {
	const char *name, *json;
	u32 configs;
	const char *refusal; /* NULL: is built */
} openvmm[] = {
	{"openhcl-x64-dev",
	 O_NONE(131072, "OPENHCL_BOOT_LOG=com3 " O_POOL "debug", "\"uefi\":true"), 1, NULL},
	{"openhcl-x64-release", O_NONE(17920, O_POOL "release", "\"uefi\":true"), 1, NULL},
	{"openhcl-x64-direct-dev and -release",
	 O_NONE(245760, "OPENHCL_FORCE_LOAD_VTL0_IMAGE=linux OPENHCL_BOOT_LOG=com3 " O_POOL "debug",
		O_LINUX),
	 1, NULL},
	{"openhcl-x64-cvm-dev", O_CVM(1, true, "OPENHCL_CONFIDENTIAL_DEBUG=1", 262144, 163840), 3,
	 NULL},
	{"openhcl-x64-cvm-release", O_CVM(12, false, "", 16384, 16384), 3, NULL},
	{"snp-linux-direct", O_DIRECT(1), 1, "image.snp_linux_direct: a guest without a paravisor"},
	{"snp-linux-direct-multi-vp", O_DIRECT(2), 1,
	 "image.snp_linux_direct: a guest without a paravisor"},
	{"uefi-x64",
	 FILE_OF("{\"isolation_type\":{\"tdx\":{\"enable_debug\":false,\"sept_ve_disable\":true}}"
		 "," O_UEFI
		 ",{\"isolation_type\":{\"snp\":{\"shared_gpa_boundary_bits\":39,\"policy\":196639,"
		 "\"enable_debug\":true,\"injection_type\":\"restricted\",\"secure_avic\":"
		 "\"enabled\"}}," O_UEFI),
	 2, "guest_configs[0].image.uefi: firmware without a paravisor"},
};

static void openvmm_manifests(void **state)
{
	struct igvm_error err;
	struct manifest m;
	struct igvm ig;
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(openvmm); i++) {
		void *image;

		if (manifest_parse(&m, openvmm[i].json, strlen(openvmm[i].json), &err))
			fail_msg("%s: %s", openvmm[i].name, err.text);
		assert_int_equal(m.count, openvmm[i].configs);
		manifest_free(&m);
		image = build(openvmm[i].json, &len, &err);
		if (openvmm[i].refusal) {
			assert_null(image);
			assert_non_null(strstr(err.text, openvmm[i].refusal));
			continue;
		}
		if (!image)
			fail_msg("%s: %s", openvmm[i].name, err.text);
		assert_int_equal(igvm_open(&ig, image, len, &err), 0);
		assert_int_equal(ig.platform_count, openvmm[i].configs);
		assert_int_equal(ig.version, 1);
		free(image);
	}
}

static void openvmm_facts(void **state)
{
	struct igvm_error err;
	struct manifest m;

	(void)state;
	assert_int_equal(manifest_parse(&m, openvmm[3].json, strlen(openvmm[3].json), &err), 0);
	assert_int_equal(m.config[0].isolation.kind, MANIFEST_SNP);
	assert_int_equal(m.config[0].isolation.policy, 0xb001f); /* with the debug bit */
	assert_int_equal(m.config[0].isolation.boundary_bits, 46);
	assert_true(m.config[0].isolation.secure_avic);
	assert_false(m.config[0].isolation.restricted_injection);
	assert_int_equal(m.config[0].memory_page_count, 262144);
	assert_int_equal(m.config[1].isolation.kind, MANIFEST_TDX);
	assert_false(m.config[1].isolation.debug);
	assert_true(m.config[1].isolation.sept_ve_disable);
	assert_int_equal(m.config[2].isolation.kind, MANIFEST_VBS);
	assert_true(m.config[2].isolation.debug);
	for (u32 i = 0; i < 3; i++) {
		assert_int_equal(m.config[i].guest_svn, 1);
		assert_int_equal(m.config[i].memory_page_base, 0x8000);
		assert_false(m.config[i].relocatable);
		assert_true(m.config[i].uefi);
		assert_string_equal(m.config[i].command_line, "OPENHCL_CONFIDENTIAL_DEBUG=1");
	}
	assert_true(manifest_needs(&m, RESOURCE_UEFI));
	assert_false(manifest_needs(&m, RESOURCE_LINUX_KERNEL));
	assert_false(manifest_needs(&m, RESOURCE_SIDECAR));
	assert_true(manifest_uses(&m, RESOURCE_SIDECAR));
	manifest_free(&m);

	assert_int_equal(manifest_parse(&m, openvmm[6].json, strlen(openvmm[6].json), &err), 0);
	assert_int_equal(m.config[0].image, MANIFEST_IMAGE_SNP_LINUX);
	assert_int_equal(m.config[0].processor_count, 2);
	assert_int_equal(m.config[0].c_bit, 51);
	assert_int_equal(m.config[0].isolation.policy, 0xb0000);
	assert_true(manifest_needs(&m, RESOURCE_LINUX_INITRD));
	assert_false(manifest_needs(&m, RESOURCE_KERNEL));
	manifest_free(&m);
}

/* Not isolated and no base: relocatable. Isolated and no base: at 128 MiB. */
static void base_left_out(void **state)
{
	static const char json[] = FILE_OF(CONFIG(VBS, PAGES));
	struct igvm_error err;
	struct manifest m;

	(void)state;
	assert_int_equal(manifest_parse(&m, RELEASE, strlen(RELEASE), &err), 0);
	assert_true(m.config[0].relocatable);
	manifest_free(&m);
	assert_int_equal(manifest_parse(&m, json, strlen(json), &err), 0);
	assert_false(m.config[0].relocatable);
	assert_int_equal(m.config[0].memory_page_base, 0x8000);
	manifest_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),	     cmocka_unit_test(long_names),
		cmocka_unit_test(long_command_line), cmocka_unit_test(resources),
		cmocka_unit_test(openvmm_manifests), cmocka_unit_test(openvmm_facts),
		cmocka_unit_test(base_left_out),
	};

	return cmocka_run_group_tests_name("igvm_manifest", tests, setup, NULL);
}
