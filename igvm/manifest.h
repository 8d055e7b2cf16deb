/* Manifests: what the image builder is to build, in the JSON form of OpenVMM's igvmfilegen. */
#ifndef PARAPET_IGVM_MANIFEST_H
#define PARAPET_IGVM_MANIFEST_H

#include "igvm/igvm.h"

/* Input files by the key that manifests use */
enum resource {
	RESOURCE_KERNEL,       /* underhill_kernel: vmlinux of VTL2 */
	RESOURCE_SHIM,	       /* openhcl_boot */
	RESOURCE_INITRD,       /* underhill_initrd */
	RESOURCE_SIDECAR,      /* underhill_sidecar: may be absent */
	RESOURCE_UEFI,	       /* uefi: 6 MiB of firmware for VTL0 */
	RESOURCE_LINUX_KERNEL, /* linux_kernel: for VTL0 */
	RESOURCE_LINUX_INITRD, /* linux_initrd */
	RESOURCE_COUNT
};

/* "underhill_kernel"...; NULL behind the last one */
const char *resource_key(u32 resource);
/* RESOURCE_COUNT if there is no such key */
enum resource resource_find(const char *key, size_t len);

/* none and vbs share a platform, and each platform occurs once in a file */
#define MANIFEST_MAX_CONFIGS 3

enum manifest_isolation_kind { MANIFEST_NONE, MANIFEST_VBS, MANIFEST_SNP, MANIFEST_TDX };

struct manifest_isolation {
	enum manifest_isolation_kind kind;
	bool debug; /* enable_debug */
	/* SNP */
	bool has_boundary;
	u8 boundary_bits;
	u64 policy; /* as it goes into the image: debug bit set or not */
	bool restricted_injection;
	bool secure_avic;
	/* TDX */
	bool sept_ve_disable;
};

struct manifest_linux {
	bool present;
	bool use_initrd;
	char *command_line;
};

/* openhcl.product_policy; all false and empty if absent */
struct manifest_product_policy {
	enum { POLICY_NONE, POLICY_SIVM = 1, POLICY_CWCOW = 2 } kind; /* tags in the image */
	bool ephemeral_vmgs, secure_boot, secure_boot_vars, bcd_integrity;
	bool secure_avic; /* cwcow */
	u8 *custom_uefi;  /* decoded */
	size_t custom_uefi_len;
};

enum manifest_image {
	MANIFEST_IMAGE_NONE,
	MANIFEST_IMAGE_OPENHCL,
	MANIFEST_IMAGE_UEFI,
	MANIFEST_IMAGE_LINUX,
	MANIFEST_IMAGE_SNP_LINUX,
};

struct manifest_config {
	u32 guest_svn;
	u8 max_vtl;
	struct manifest_isolation isolation;
	enum manifest_image image;
	/* openhcl */
	char *command_line; /* of VTL2 */
	bool static_command_line;
	bool relocatable; /* not isolated and no memory_page_base given */
	u64 memory_page_base;
	u64 memory_page_count; /* snp_linux_direct too */
	bool uefi;
	struct manifest_product_policy policy;
	/* openhcl: VTL0 payload; linux and snp_linux_direct */
	struct manifest_linux linux_guest;
	/* uefi */
	bool uefi_igvm_parameters;
	/* snp_linux_direct */
	u32 processor_count;
	u8 c_bit;
};

struct manifest {
	u32 count;
	struct manifest_config config[MANIFEST_MAX_CONFIGS];
	char *resource[RESOURCE_COUNT]; /* paths as written, or NULL */
};

/*
 * Reads a manifest. Unknown, contradictory and impossible fields are refused with the field's
 * path. manifest_free() in any case.
 */
int manifest_parse(struct manifest *m, const char *json, size_t len, struct igvm_error *err);
/* Adds the paths of a resources file: {"resources": {KEY: PATH}} */
int manifest_parse_resources(struct manifest *m, const char *json, size_t len,
			     struct igvm_error *err);
void manifest_free(struct manifest *m);
/* True if an image of this manifest cannot be built without the resource. */
bool manifest_needs(const struct manifest *m, enum resource resource);
/* True if it would be used, needed or not. */
bool manifest_uses(const struct manifest *m, enum resource resource);
/* "none", "vbs", "snp", "tdx" */
const char *manifest_isolation_name(enum manifest_isolation_kind kind);

#endif
