/*
 * IGVM library: strict reader, writer, page-table relocation, and adding a VTL0 payload.
 *
 * Functions that can fail return 0 or a negative errno (-EINVAL: the file or the request is wrong,
 * -ENOMEM) and then fill *err, which may be NULL. No function keeps err. Nothing here does I/O.
 * Format: common/abi/igvm.h.
 */
#ifndef PARAPET_IGVM_IGVM_H
#define PARAPET_IGVM_IGVM_H

#include "common/types.h"
#include "common/abi/igvm.h"
#include "common/abi/shim.h"

#define IGVM_NO_HEADER 0xffffffffu

struct igvm_error {
	char text[232]; /* one sentence without newline: what is wrong */
	u32 header;	/* index of the variable header it is about, or IGVM_NO_HEADER */
	u64 offset;	/* file offset of that header, or of the place in question */
};

/* Writes "header 12 at 0x150: TEXT", or TEXT alone, to buf. Returns buf. */
const char *igvm_error_string(const struct igvm_error *err, char *buf, size_t len);

/* ------------------------------------------------------------------------------------ reading */

/* Limits of this reader beyond those of the format; larger files are refused. */
#define IGVM_MAX_AREAS		  256	     /* parameter areas */
#define IGVM_MAX_AREA_BYTES	  (64 * MiB) /* of all parameter areas together */
#define IGVM_MAX_PAGE_TABLE_BYTES (16 * MiB) /* of a page-table relocation region */
#define IGVM_MAX_RELOCATIONS	  64	     /* relocatable regions */
#define IGVM_MAX_REGISTERS	  64	     /* in a VBS context */

/* A checked file. Points into the caller's bytes, which must stay and must not change. */
struct igvm {
	const u8 *file;
	u32 file_size;
	u32 version; /* 1 or 2 */
	enum igvm_arch arch;
	u32 checksum;
	u32 headers_offset;
	u32 headers_size;  /* the file data begins at headers_offset + headers_size */
	u32 header_count;  /* all variable headers, skipped optional ones included */
	u32 platform_mask; /* all bits that platforms define */
	u32 platform_count;
	struct igvm_supported_platform platform[IGVM_PLATFORM_TYPES];
};

/* One variable header. Integers are copies; pointers go into the file. */
struct igvm_header {
	u32 type;   /* enum igvm_type, or unknown with IGVM_TYPE_IS_OPTIONAL */
	u32 index;  /* 0.. in file order */
	u32 offset; /* of its type field in the file */
	u32 mask;   /* compatibility mask; all ones for types that have none */
	u32 length; /* of the content */
	const u8 *content;
	/*
	 * The bytes that the header points to, NULL where file_offset is 0 (zeros): PAGE_DATA 4096,
	 * PARAMETER_AREA number_of_bytes, CoRIM size_bytes, VP_CONTEXT the context.
	 */
	const u8 *data;
	u32 data_len;
	union {
		struct igvm_supported_platform platform;
		struct igvm_guest_policy guest_policy;
		struct igvm_relocatable_region relocatable;
		struct igvm_page_table_relocation page_table;
		struct igvm_corim corim; /* document and signature */
		struct igvm_cca_policy cca_policy;
		struct igvm_parameter_area area;
		struct igvm_page_data page;
		struct igvm_parameter_insert insert;
		struct igvm_vp_context vp;
		struct igvm_required_memory required;
		struct igvm_error_range error_range;
		struct igvm_parameter parameter; /* all igvm_is_parameter() types */
		const struct igvm_snp_id_block *snp_id_block;
		const struct igvm_vbs_measurement *vbs_measurement;
	} u;
};

/*
 * Checks all of `file` (len bytes) against the rules of the format and fills *ig. After success
 * every function below works without further checks. Heap use is temporary and bounded by the
 * header section.
 */
int igvm_open(struct igvm *ig, const void *file, size_t len, struct igvm_error *err);

/* Iteration in file order: for (igvm_first(ig, &it); igvm_next(&it, &h);) */
struct igvm_iter {
	const struct igvm *ig;
	u32 offset;
	u32 index;
};
void igvm_first(const struct igvm *ig, struct igvm_iter *it);
bool igvm_next(struct igvm_iter *it, struct igvm_header *h);
/* As igvm_next, but only headers of that type (any if 0) that apply to all platforms in mask. */
bool igvm_next_of(struct igvm_iter *it, u32 type, u32 mask, struct igvm_header *h);

/* The platform header of that type, or NULL. Its mask selects the headers that apply. */
const struct igvm_supported_platform *igvm_find_platform(const struct igvm *ig,
							 enum igvm_platform_type type);
/* The platform type that has exactly this one bit, or -1 */
int igvm_platform_of(const struct igvm *ig, u32 mask);

/* True for the types whose content is struct igvm_parameter */
bool igvm_is_parameter(u32 type);
/* Guest bytes that a PAGE_DATA header covers: 4096, or 2 MiB of zeros */
u32 igvm_page_bytes(const struct igvm_header *h);
/* Short lower-case name: "page-data"; "unknown" for types that are not in enum igvm_type */
const char *igvm_type_name(u32 type);
const char *igvm_platform_name(u32 platform_type);
/* "rip", "cr3"...; NULL if not a register that an x64 file can hold */
const char *igvm_register_name(u32 name);
/* The same for files of either architecture */
const char *igvm_register_name_for(enum igvm_arch arch, u32 name);

/* A register of a VBS context: VP_CONTEXT for the VSM platform */
enum igvm_register_form { IGVM_REG_U64, IGVM_REG_TABLE, IGVM_REG_SEGMENT };
struct igvm_register {
	u8 vtl;
	u32 name; /* enum igvm_x64_register in x64 files */
	enum igvm_register_form form;
	union {
		u64 value;
		struct igvm_table_register table;
		struct igvm_segment_register segment;
	} u;
};
/* Number of registers in the context, each name once, all of the same VTL */
u32 igvm_register_count(const struct igvm_header *vp);
/* i < igvm_register_count() */
void igvm_register_get(const struct igvm *ig, const struct igvm_header *vp, u32 i,
		       struct igvm_register *reg);
/* Finds one u64 register by name. False if the context does not set it. */
bool igvm_register_u64(const struct igvm *ig, const struct igvm_header *vp, u32 name, u64 *value);

/* --------------------------------------------------------------------------------- relocation */

/* True if the region may be loaded at base: alignment, minimum and maximum. */
bool igvm_base_is_valid(const struct igvm_relocatable_region *region, u64 base);

/*
 * Moves the page tables of an image by `offset` (new base - old base, wraps for downward moves).
 * tables: pt->size bytes, the pages of the page-table region as the file gives them, the rest
 * zero; changed in place and to be written to pt->gpa + offset. Leaves that map `region` move with
 * it; new tables come from the pages behind pt->used_size. *cr3 is moved too.
 * The content of the tables is not trusted. On failure `tables` is undefined.
 */
int igvm_relocate_page_tables(void *tables, const struct igvm_page_table_relocation *pt,
			      const struct igvm_relocatable_region *region, u64 offset, u64 *cr3,
			      struct igvm_error *err);

/* ------------------------------------------------------------------------------------ writing */

/*
 * Collects headers in the order of the calls and their data; equal data is stored once. The first
 * failure sticks: later calls do nothing and igvm_writer_finish() reports it.
 */
struct igvm_writer;

/* version 1 (x64 only) or 2. NULL if out of memory. */
struct igvm_writer *igvm_writer_new(u32 version, enum igvm_arch arch);
void igvm_writer_free(struct igvm_writer *w);
/*
 * A writer that starts with the data section of ig, which must stay until the end, and keeps how
 * it is laid out: headers of ig that igvm_write_copy() appends point to where their data was,
 * and padding stays; new data goes behind. So copying every header gives the same bytes, whoever
 * made the file. The plain writer instead leaves out what nobody refers to and stores equal data
 * once, in the order of the headers, as most programs that write IGVM files do.
 */
struct igvm_writer *igvm_writer_like(const struct igvm *ig);

/*
 * Appends any header. The file_offset field in content is replaced by the place of data (0 if
 * data_len is 0). data is copied, and zero padded as the type demands: PAGE_DATA to 4096,
 * PARAMETER_AREA to number_of_bytes, VP_CONTEXT (other than VSM's, see igvm_write_registers) as is.
 */
void igvm_write(struct igvm_writer *w, u32 type, const void *content, u32 length, const void *data,
		size_t data_len);
/* Appends a header of another file with its data. */
void igvm_write_copy(struct igvm_writer *w, const struct igvm_header *h);

void igvm_write_platform(struct igvm_writer *w, const struct igvm_supported_platform *p);
/* len 0: a page of zeros; else at most 4096 */
void igvm_write_page(struct igvm_writer *w, u64 gpa, u32 mask, u32 flags, enum igvm_page_type type,
		     const void *data, size_t len);
void igvm_write_area(struct igvm_writer *w, u32 index, u64 bytes, const void *data, size_t len);
void igvm_write_parameter(struct igvm_writer *w, enum igvm_type type, u32 area, u32 byte_offset);
void igvm_write_insert(struct igvm_writer *w, u64 gpa, u32 mask, u32 area);
void igvm_write_required(struct igvm_writer *w, u64 gpa, u32 mask, u32 bytes, u32 flags);
/* VP context of the VSM platform, VP 0 */
void igvm_write_registers(struct igvm_writer *w, u32 mask, const struct igvm_register *regs,
			  u32 count);

/*
 * Builds the file: *out (free() it) and *out_len. The result is checked by igvm_open() first, so a
 * wrong sequence of calls gives an error here. Does not free the writer.
 */
int igvm_writer_finish(struct igvm_writer *w, void **out, size_t *out_len, struct igvm_error *err);

/* ------------------------------------------------------------- OpenHCL-style paravisor images */

/* Where an image keeps what; addresses are those of the file, before relocation. */
struct igvm_paravisor {
	u32 mask;	/* platform bit */
	u64 shim_gpa;	/* load address of the boot shim */
	u64 params_gpa; /* struct shim_params */
	struct shim_params params;
	u64 imported_gpa; /* struct shim_imported_regions */
	bool has_vtl0_config;
	struct shim_measured_vtl0 vtl0; /* GPA 0; valid if has_vtl0_config */
};
/* Finds the shim's parameters by the VP context of the platform bit `mask`. */
int igvm_find_paravisor(const struct igvm *ig, u32 mask, struct igvm_paravisor *out,
			struct igvm_error *err);

#define IGVM_VTL0_KERNEL_BASE	(16 * MiB) /* where a bzImage goes that has no better place */
#define IGVM_VTL0_CMDLINE_PAGES 16	   /* at most, from GPA 0x1000 */
#define IGVM_VTL0_LIMIT		(2 * GiB)  /* the payload ends below */

struct igvm_vtl0_linux {
	const void *kernel; /* bzImage or ELF vmlinux */
	size_t kernel_len;
	const void *initrd; /* NULL: none */
	size_t initrd_len;
	const char *cmdline; /* NULL: empty */
};
/*
 * Adds a Linux guest to a paravisor image of one platform: measured VTL0 configuration at GPA 0,
 * command line at GPA 0x1000, kernel, initrd; and lists them in the imported-regions page. The
 * initrd goes behind everything that the kernel covers before it reads it.
 * *out is malloc'ed. Refused: a payload is there already, not a kernel, does not fit.
 */
int igvm_add_vtl0_linux(const void *image, size_t len, const struct igvm_vtl0_linux *payload,
			void **out, size_t *out_len, struct igvm_error *err);

/* ---------------------------------------------------------------------------------- measuring */

#define IGVM_MAX_DIGEST 48

/*
 * What a launch of the image on one platform gives, as the platform's firmware, module or
 * hypervisor computes it:
 *   SEV-SNP  launch digest, SHA-384 chain over pages and VMSAs
 *   TDX      MRTD, SHA-384 over MEM.PAGE.ADD and MR.EXTEND records
 *   VSM      boot digest of VBS, SHA-256 chain over pages and registers
 *   SEV, SEV-ES  SHA-256 over page data and VMSAs
 */
struct igvm_measurement {
	enum igvm_platform_type platform;
	u32 mask;	/* platform bit */
	u32 digest_len; /* 48 or 32 */
	u8 digest[IGVM_MAX_DIGEST];
	u64 measured_pages;   /* 4 KiB pages whose content is in the digest, VMSAs included */
	u64 unmeasured_pages; /* whose address alone is in it, parameter areas included */
	u64 shared_pages;     /* that leave no trace in it */
	u64 hashed_bytes;     /* that went through the hash */
};

enum igvm_step_kind {
	IGVM_STEP_PAGE,
	IGVM_STEP_VMSA,
	IGVM_STEP_SECRETS,
	IGVM_STEP_CPUID,
	IGVM_STEP_PARAMETER, /* a page of a parameter area */
	IGVM_STEP_ERROR_RANGE,
	IGVM_STEP_REGISTER, /* VBS */
};
/* "page", "vmsa"... */
const char *igvm_step_name(enum igvm_step_kind kind);

/* len bytes as lower-case hexadecimal digits: 2 * len + 1 characters to text. Returns text. */
char *igvm_hex(const u8 *bytes, size_t len, char *text);
/* The opposite: len digits of either case to len / 2 bytes. -EINVAL: odd, or something else */
int igvm_unhex(const char *text, size_t len, u8 *out);

/* One page or register on its way into the digest. Valid during the call only. */
struct igvm_measure_step {
	u32 header; /* index of the directive */
	enum igvm_step_kind kind;
	bool measured;	    /* its content enters the digest */
	bool shared;	    /* nothing of it enters the digest */
	u8 snp_page_type;   /* SEV-SNP: PAGE_TYPE of SNP_LAUNCH_UPDATE, 0 if shared */
	u32 register_name;  /* enum igvm_x64_register, of IGVM_STEP_REGISTER */
	u64 gpa;	    /* 0 for registers */
	const u8 *data;	    /* as the file has it, measured or not; NULL: zeros */
	u32 data_len;	    /* 4096, 16 for a register */
	u32 digest_len;	    /* of contents and chain */
	const u8 *contents; /* digest of data */
	const u8 *chain;    /* digest after this step; of TDX: as if this were the last step */
};
typedef void igvm_measure_step_fn(void *ctx, const struct igvm_measure_step *step);

/*
 * Measures the image for one of its platforms (igvm_find_platform()). step may be NULL; it gets
 * every page in the order of the chain, shared ones too, and makes the call slower. -EINVAL: the
 * platform has no known measurement, or the image cannot be launched on it.
 */
int igvm_measure(const struct igvm *ig, const struct igvm_supported_platform *platform,
		 igvm_measure_step_fn *step, void *ctx, struct igvm_measurement *out,
		 struct igvm_error *err);

/* Ways in which COCONUT-SVSM's tool igvmmeasure counts otherwise, for comparison with it */
#define IGVM_MEASURE_AS_IGVMMEASURE BIT(0) /* one page for each area; shared pages as others */
#define IGVM_MEASURE_ZERO_PAGES	    BIT(1) /* its --native-zero: SNP page type 3 for no data */
int igvm_measure_with(const struct igvm *ig, const struct igvm_supported_platform *platform,
		      u32 flags, igvm_measure_step_fn *step, void *ctx,
		      struct igvm_measurement *out, struct igvm_error *err);

/*
 * SHA-384 over everything that applies to the platform and that its launch measurement does not
 * cover: contents of unmeasured and shared pages, initial data of parameter areas, which values
 * the host puts where, policy, required memory, relocation; not the ID block, VBS measurement and
 * CoRIM, which are about the measurement. Independent of compatibility masks and of the layout of
 * the file. So two images with equal measurement and equal rest do the same.
 */
int igvm_measure_rest(const struct igvm *ig, const struct igvm_supported_platform *platform,
		      u8 digest[IGVM_MAX_DIGEST], struct igvm_error *err);

/* ------------------------------------------------------------------------------------ signing */

/* An ECDSA key on P-384, public or with its private part */
struct igvm_key;
/*
 * From PEM text (SEC1 or PKCS8 if private, else SubjectPublicKeyInfo; a private key gives its
 * public part too). NULL: not a key, encrypted, or another curve.
 */
struct igvm_key *igvm_key_read(const void *pem, size_t len, bool private_part,
			       struct igvm_error *err);
void igvm_key_free(struct igvm_key *key); /* NULL is allowed; wipes the private part */
/* SHA-384 of the key as SEV-SNP reports it: ID_KEY_DIGEST, AUTHOR_KEY_DIGEST */
int igvm_key_digest(const struct igvm_key *key, u8 digest[IGVM_MAX_DIGEST]);

/* The first certificate in PEM text, which must be of that key, as DER. free(*der). */
int igvm_certificate_read(const void *pem, size_t len, const struct igvm_key *key, void **der,
			  size_t *der_len, struct igvm_error *err);

struct igvm_snp_identity {
	u8 family_id[16];
	u8 image_id[16];
	u32 guest_svn;
};

#define IGVM_SNP_ID_BLOCK_BYTES 96
/* The bytes that the ID key signs and that the SEV-SNP firmware checks */
void igvm_snp_id_block(const u8 ld[IGVM_MAX_DIGEST], const struct igvm_snp_identity *identity,
		       u64 policy, u8 out[IGVM_SNP_ID_BLOCK_BYTES]);

/*
 * Adds an SNP ID block for the launch digest and the guest policy of the image, as its last
 * directive. Signatures are deterministic (RFC 6979). author_key may be NULL: none. An ID block
 * that is there already is -EEXIST without `replace`. *out is malloc'ed.
 */
int igvm_sign_snp(const void *image, size_t len, const struct igvm_snp_identity *identity,
		  const struct igvm_key *id_key, const struct igvm_key *author_key, bool replace,
		  void **out, size_t *out_len, struct igvm_error *err);

/*
 * The same with a signature made elsewhere: block as igvm_snp_id_block() gave it, signature as an
 * ASN.1 sequence of r and s, over SHA-384 of the block. -EINVAL also if the block is not for this
 * image or the signature is not by the key.
 */
int igvm_attach_id_block(const void *image, size_t len, const u8 block[IGVM_SNP_ID_BLOCK_BYTES],
			 const void *signature, size_t signature_len,
			 const struct igvm_key *public_key, bool replace, void **out,
			 size_t *out_len, struct igvm_error *err);

/* What an ID block claims and whether it holds */
struct igvm_id_check {
	struct igvm_snp_identity identity;
	bool id_signature; /* of the ID key over the ID block with the given policy */
	bool has_author;
	bool author_signature; /* of the author key over the ID key */
	u8 id_key_digest[IGVM_MAX_DIGEST];
	u8 author_key_digest[IGVM_MAX_DIGEST]; /* zero without author key */
};
/* Does not compare b->ld with anything. 0 or -ENOMEM */
int igvm_check_id_block(const struct igvm_snp_id_block *b, u64 policy, struct igvm_id_check *out);

/* ------------------------------------------------------------------------------- endorsements */

/* What a builder says of its image */
struct igvm_endorsement {
	enum igvm_platform_type platform;
	u32 digest_len;
	u8 digest[IGVM_MAX_DIGEST]; /* launch measurement */
	u64 svn;		    /* security version of the guest */
	bool has_rest;		    /* never in a CoRIM document */
	u8 rest[IGVM_MAX_DIGEST];   /* of igvm_measure_rest() */
};

/*
 * CoRIM document (CBOR) of the profile tag:microsoft.com,2026:launch-measurement/v1: platform,
 * digest, SVN, of SEV-SNP, TDX and VSM. The same endorsement gives the same bytes. free(*out).
 * Reading takes documents of that profile only, and nothing on trust.
 */
int igvm_corim_write(const struct igvm_endorsement *e, void **out, size_t *out_len,
		     struct igvm_error *err);
int igvm_corim_read(const void *data, size_t len, struct igvm_endorsement *e,
		    struct igvm_error *err);

/*
 * Detached COSE_Sign1 (ES384) over a document; issuer goes into its claims, the certificate (DER,
 * may be NULL) into its x5chain. Deterministic. free(*out).
 */
int igvm_corim_sign(const void *document, size_t document_len, const struct igvm_key *key,
		    const char *issuer, const void *cert, size_t cert_len, void **out,
		    size_t *out_len, struct igvm_error *err);
int igvm_corim_check(const void *signature, size_t len, const void *document, size_t document_len,
		     const struct igvm_key *key, struct igvm_error *err);

/* Document and signature (may be NULL) in an image, for a platform bit; -ENOENT: no document */
int igvm_corim_find(const struct igvm *ig, u32 mask, const u8 **document, size_t *document_len,
		    const u8 **signature, size_t *signature_len);
/*
 * A new image with a document and its signature (may be NULL) for one platform. What is there
 * already for the platform is -EEXIST without `replace`.
 */
int igvm_corim_attach(const struct igvm *ig, u32 mask, const void *document, size_t document_len,
		      const void *signature, size_t signature_len, bool replace, void **out,
		      size_t *out_len, struct igvm_error *err);

/* ---------------------------------------------------------------------------------- comparing */

enum igvm_difference_kind {
	IGVM_DIFF_FILE,	  /* a property of the file: format version, architecture, a platform */
	IGVM_DIFF_ONLY_A, /* a header that b lacks */
	IGVM_DIFF_ONLY_B,
	IGVM_DIFF_FIELD, /* a number in a header */
	IGVM_DIFF_DATA,	 /* bytes that a header points to, or a long field of it */
};
/* One difference. Valid during the call only. */
struct igvm_difference {
	enum igvm_difference_kind kind;
	int platform; /* enum igvm_platform_type; -1: the whole file */
	u32 type;     /* enum igvm_type */
	u32 header_a; /* index in a, or IGVM_NO_HEADER */
	u32 header_b;
	bool has_gpa;
	u64 gpa;
	const char *field; /* name of the property, number, or long field; a register's; or NULL */
	u64 value_a;	   /* of IGVM_DIFF_FILE and IGVM_DIFF_FIELD */
	u64 value_b;
	u32 at;		  /* IGVM_DIFF_DATA: offset of the first byte that differs */
	u32 bytes;	  /* how many differ */
	u32 len;	  /* of the data */
	const u8 *data_a; /* NULL: zeros */
	const u8 *data_b;
};
typedef void igvm_difference_fn(void *ctx, const struct igvm_difference *d);

/*
 * Compares what two images mean, platform by platform: headers in their order and their data, not
 * masks, file offsets, numbers of parameter areas, or how the file is laid out. Calls fn (may be
 * NULL) for each difference. *count: how many.
 */
int igvm_diff(const struct igvm *a, const struct igvm *b, igvm_difference_fn *fn, void *ctx,
	      u64 *count, struct igvm_error *err);

/* ----------------------------------------------------------------------------------- changing */

struct igvm_patch {
	const char *cmdline;	/* replaces VTL2's command line; NULL: as it is */
	const char *append;	/* goes behind it, after a space; NULL: nothing */
	u64 memory_size;	/* of VTL2, bytes; 0: as it is */
	bool drop_endorsements; /* ID block, VBS measurement, CoRIM: they do not fit any more */
};

/*
 * Applies the patch to every platform of the image, each of which must be a paravisor image with
 * page tables as image_build() makes them if the memory size changes. The result is what
 * image_build() gives for a manifest with these values, but for a VTL0 payload that it would
 * place elsewhere. Measurements change. *out: free() it.
 * Refused: an image with endorsements, unless they are to be dropped; sizes that are no multiple
 * of 2 MiB, too small for the image or so large that other pages are in the way.
 */
int igvm_patch(const void *image, size_t len, const struct igvm_patch *patch, void **out,
	       size_t *out_len, struct igvm_error *err);

#endif
