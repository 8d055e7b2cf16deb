/*
 * Launch measurements of SEV-SNP, TDX, VBS and SEV(-ES).
 * SEV-SNP: AMD SEV-SNP firmware ABI, SNP_LAUNCH_UPDATE and PAGE_INFO. TDX: TDX module, MRTD of
 * TDH.MEM.PAGE.ADD and TDH.MR.EXTEND. VBS: the boot digest of microsoft/igvm's measurement module.
 * SEV: what COCONUT-SVSM's igvmmeasure does, as there is no other definition for IGVM files.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/hex.h"
#include "igvm/hash.h"
#include "igvm/internal.h"

/*
 * Directives can name far more zero pages than the file has bytes. No image can be launched that
 * has more than this, and hashing them takes half a minute.
 */
#define MAX_PAGES (2u << 20)

enum snp_page_type {
	SNP_PAGE_NORMAL = 1,
	SNP_PAGE_VMSA = 2,
	SNP_PAGE_ZERO = 3,
	SNP_PAGE_UNMEASURED = 4,
	SNP_PAGE_SECRETS = 5,
	SNP_PAGE_CPUID = 6,
};

/* PAGE_INFO of the SEV-SNP firmware */
struct snp_page_info {
	u8 digest[SHA384_BYTES];
	u8 contents[SHA384_BYTES];
	u16 length;
	u8 page_type;
	u8 imi_page;
	u32 vmpl_permissions;
	u64 gpa;
};
_Static_assert(sizeof(struct snp_page_info) == 0x70, "PAGE_INFO");

#define TDX_CHUNK 256
/* Header of a record in the MRTD hash */
struct tdx_record {
	char operation[16];
	u64 gpa;
	u8 zero[104];
};
_Static_assert(sizeof(struct tdx_record) == 128, "TDX record");

enum vbs_chunk_type { VBS_CHUNK_REGISTER = 0, VBS_CHUNK_PAGE = 2 };
struct vbs_chunk {
	u32 byte_count;
	u32 type;
	u64 reserved;
};
#define VBS_PAGE_ERROR_ACCEPTANCE 3
#define VBS_PAGE_UNMEASURED	  BIT(2)
struct vbs_page_chunk {
	struct vbs_chunk chunk; /* byte_count includes the page's content */
	u64 metadata;
	u64 page_number;
};
_Static_assert(sizeof(struct vbs_page_chunk) == 32, "VBS chunk");
struct vbs_register_chunk {
	struct vbs_chunk chunk;
	u32 reserved;
	u8 vtl;
	u8 reserved2;
	u16 reserved3;
	u32 reserved4;
	u32 name;
	u8 value[16];
};
_Static_assert(sizeof(struct vbs_register_chunk) == 48, "VBS chunk");

struct area {
	u32 index;
	u64 bytes;
	const u8 *data; /* initial content, may be NULL */
};

struct measurer {
	struct igvm_measurement *out;
	const struct igvm *ig;
	u32 flags; /* IGVM_MEASURE_ */
	u64 pages;
	struct igvm_hash hash;		 /* of the measurement */
	struct igvm_hash pages_hash;	 /* of page contents */
	u8 zero_digest[IGVM_MAX_DIGEST]; /* of 4096 zeros */
	struct area area[IGVM_MAX_AREAS];
	u32 areas;
	igvm_measure_step_fn *step;
	void *ctx;
	struct igvm_error *err;
};

static const u8 zero_page[IGVM_PAGE_SIZE];

static void page_digest(struct measurer *m, const u8 *data, u8 *out)
{
	if (!data) {
		memcpy(out, m->zero_digest, m->pages_hash.len);
		return;
	}
	igvm_hash_update(&m->pages_hash, data, IGVM_PAGE_SIZE);
	igvm_hash_finish(&m->pages_hash, out);
}

static void snp_extend(struct measurer *m, const struct igvm_measure_step *s, const u8 *contents)
{
	struct snp_page_info info = {
		.length = sizeof(info), .page_type = s->snp_page_type, .gpa = s->gpa};

	memcpy(info.digest, m->out->digest, sizeof(info.digest));
	if (s->measured && s->snp_page_type != SNP_PAGE_ZERO)
		memcpy(info.contents, contents, sizeof(info.contents));
	igvm_hash_update(&m->hash, &info, sizeof(info));
	igvm_hash_finish(&m->hash, m->out->digest);
}

static void tdx_extend(struct measurer *m, const struct igvm_measure_step *s)
{
	struct tdx_record add = {.operation = "MEM.PAGE.ADD", .gpa = s->gpa};
	struct tdx_record extend = {.operation = "MR.EXTEND"};
	const u8 *data = s->data ? s->data : zero_page;

	igvm_hash_update(&m->hash, &add, sizeof(add));
	for (u32 i = 0; s->measured && i < IGVM_PAGE_SIZE; i += TDX_CHUNK) {
		extend.gpa = s->gpa + i;
		igvm_hash_update(&m->hash, &extend, sizeof(extend));
		igvm_hash_update(&m->hash, data + i, TDX_CHUNK);
	}
}

static void vbs_extend(struct measurer *m, const struct igvm_measure_step *s)
{
	struct vbs_page_chunk page = {
		.chunk = {.byte_count = sizeof(page) + IGVM_PAGE_SIZE, .type = VBS_CHUNK_PAGE},
		.metadata = (s->kind == IGVM_STEP_ERROR_RANGE ? VBS_PAGE_ERROR_ACCEPTANCE : 0) |
			    (s->measured ? 0 : VBS_PAGE_UNMEASURED),
		.page_number = s->gpa / IGVM_PAGE_SIZE,
	};

	igvm_hash_update(&m->hash, m->out->digest, SHA256_BYTES);
	igvm_hash_update(&m->hash, &page, sizeof(page));
	igvm_hash_update(&m->hash, s->measured && s->data ? s->data : zero_page, IGVM_PAGE_SIZE);
	igvm_hash_finish(&m->hash, m->out->digest);
}

static void count(struct igvm_measurement *out, const struct igvm_measure_step *s)
{
	if (s->shared)
		out->shared_pages++;
	else if (s->measured)
		out->measured_pages++;
	else
		out->unmeasured_pages++;
}

/* A page of 4096 bytes on its way into the digest; s->data NULL: zeros. */
static int add_page(struct measurer *m, struct igvm_measure_step *s)
{
	u8 contents[IGVM_MAX_DIGEST] = {0};
	u8 chain[IGVM_MAX_DIGEST];

	if (++m->pages > MAX_PAGES)
		return igvm_fail(m->err, s->header, 0, "more than %u pages to measure", MAX_PAGES);
	count(m->out, s);
	if (m->step || (m->out->platform == IGVM_PLATFORM_SEV_SNP && s->measured))
		page_digest(m, s->data, contents);
	if (!s->shared) {
		switch (m->out->platform) {
		case IGVM_PLATFORM_SEV_SNP: snp_extend(m, s, contents); break;
		case IGVM_PLATFORM_TDX: tdx_extend(m, s); break;
		case IGVM_PLATFORM_VSM: vbs_extend(m, s); break;
		default:
			if (s->measured)
				igvm_hash_update(&m->hash, s->data, IGVM_PAGE_SIZE);
			break;
		}
	}
	if (!m->step)
		return 0;
	if (m->out->platform == IGVM_PLATFORM_SEV_SNP || m->out->platform == IGVM_PLATFORM_VSM)
		memcpy(chain, m->out->digest, sizeof(chain));
	else
		igvm_hash_peek(&m->hash, chain);
	s->data_len = IGVM_PAGE_SIZE;
	s->digest_len = m->out->digest_len;
	s->contents = contents;
	s->chain = chain;
	m->step(m->ctx, s);
	return 0;
}

static int add_pages(struct measurer *m, struct igvm_measure_step *s, u64 bytes)
{
	const u8 *data = s->data;
	int ret = 0;

	for (u64 at = 0; at < bytes && !ret; at += IGVM_PAGE_SIZE) {
		s->data = data ? data + at : NULL;
		ret = add_page(m, s);
		s->gpa += IGVM_PAGE_SIZE;
	}
	return ret;
}

static int add_page_data(struct measurer *m, const struct igvm_header *h)
{
	static const struct {
		enum igvm_step_kind kind;
		u8 snp;
	} kinds[] = {
		[IGVM_PAGE_NORMAL] = {IGVM_STEP_PAGE, SNP_PAGE_NORMAL},
		[IGVM_PAGE_SECRETS] = {IGVM_STEP_SECRETS, SNP_PAGE_SECRETS},
		[IGVM_PAGE_CPUID_DATA] = {IGVM_STEP_CPUID, SNP_PAGE_CPUID},
		[IGVM_PAGE_CPUID_XF] = {IGVM_STEP_CPUID, SNP_PAGE_CPUID},
	};
	const struct igvm_page_data *p = &h->u.page;
	struct igvm_measure_step s = {
		.header = h->index,
		.kind = kinds[p->data_type].kind,
		.gpa = p->gpa,
		.data = h->data,
		.shared = p->flags & IGVM_PAGE_SHARED,
		.measured = !(p->flags & (IGVM_PAGE_UNMEASURED | IGVM_PAGE_SHARED)),
	};

	if (m->flags & IGVM_MEASURE_AS_IGVMMEASURE) {
		s.shared = false;
		s.measured = !(p->flags & IGVM_PAGE_UNMEASURED);
	}
	switch (m->out->platform) {
	case IGVM_PLATFORM_SEV_SNP:
		s.snp_page_type = kinds[p->data_type].snp;
		if (s.shared)
			s.snp_page_type = 0;
		else if (p->data_type != IGVM_PAGE_NORMAL)
			s.measured = false; /* the firmware fills or checks it */
		else if (!s.measured)
			s.snp_page_type = SNP_PAGE_UNMEASURED;
		else if (!h->data && (m->flags & IGVM_MEASURE_ZERO_PAGES))
			s.snp_page_type = SNP_PAGE_ZERO;
		break;
	case IGVM_PLATFORM_VSM:
		if (p->data_type != IGVM_PAGE_NORMAL)
			return igvm_fail(m->err, h->index, h->offset,
					 "page type %u has no VBS measurement", p->data_type);
		break;
	case IGVM_PLATFORM_SEV:
	case IGVM_PLATFORM_SEV_ES:
		/* No page has another state than encrypted and measured; zeros leave no trace. */
		s.shared = false;
		s.measured = h->data;
		break;
	default: break;
	}
	return add_pages(m, &s, igvm_page_bytes(h));
}

static int add_insert(struct measurer *m, const struct igvm_header *h)
{
	struct igvm_measure_step s = {
		.header = h->index,
		.kind = IGVM_STEP_PARAMETER,
		.gpa = h->u.insert.gpa,
		.snp_page_type = m->out->platform == IGVM_PLATFORM_SEV_SNP ? SNP_PAGE_UNMEASURED
									   : 0,
	};

	for (u32 i = 0; i < m->areas; i++) {
		if (m->area[i].index != h->u.insert.area)
			continue;
		s.data = m->area[i].data;
		return add_pages(m, &s,
				 m->flags & IGVM_MEASURE_AS_IGVMMEASURE ? IGVM_PAGE_SIZE
									: m->area[i].bytes);
	}
	return igvm_fail(m->err, h->index, h->offset, "parameter area %u is not declared",
			 h->u.insert.area);
}

static int add_vmsa(struct measurer *m, const struct igvm_header *h)
{
	struct igvm_measure_step s = {
		.header = h->index,
		.kind = IGVM_STEP_VMSA,
		.gpa = h->u.vp.gpa,
		.data = h->data,
		.measured = true,
		.snp_page_type = m->out->platform == IGVM_PLATFORM_SEV_SNP ? SNP_PAGE_VMSA : 0,
	};

	return add_page(m, &s);
}

/* The registers come after all pages, wherever the context stands in the file. */
static void add_registers(struct measurer *m, const struct igvm_header *h)
{
	struct vbs_register_chunk chunk = {
		.chunk = {.byte_count = sizeof(chunk), .type = VBS_CHUNK_REGISTER}};
	struct igvm_measure_step s = {
		.header = h->index, .kind = IGVM_STEP_REGISTER, .measured = true};
	u8 contents[IGVM_MAX_DIGEST];
	struct igvm_vbs_record record;

	for (u32 i = 0; i < igvm_register_count(h); i++) {
		memcpy(&record, h->data + 4 + i * sizeof(record), sizeof(record));
		chunk.vtl = record.vtl;
		chunk.name = record.name;
		memcpy(chunk.value, record.value, sizeof(chunk.value));
		igvm_hash_update(&m->hash, m->out->digest, SHA256_BYTES);
		igvm_hash_update(&m->hash, &chunk, sizeof(chunk));
		igvm_hash_finish(&m->hash, m->out->digest);
		if (!m->step)
			continue;
		igvm_hash_update(&m->pages_hash, record.value, sizeof(record.value));
		igvm_hash_finish(&m->pages_hash, contents);
		s.register_name = record.name;
		s.data = record.value;
		s.data_len = sizeof(record.value);
		s.digest_len = m->out->digest_len;
		s.contents = contents;
		s.chain = m->out->digest;
		m->step(m->ctx, &s);
	}
}

static int add_header(struct measurer *m, const struct igvm_header *h)
{
	struct igvm_measure_step s = {.header = h->index};

	switch (h->type) {
	case IGVM_PARAMETER_AREA:
		/* igvm_open() has limited their number. */
		m->area[m->areas++] = (struct area){.index = h->u.area.index,
						    .bytes = h->u.area.number_of_bytes,
						    .data = h->data};
		return 0;
	case IGVM_PAGE_DATA: return add_page_data(m, h);
	case IGVM_PARAMETER_INSERT: return add_insert(m, h);
	case IGVM_VP_CONTEXT:
		if (m->out->platform == IGVM_PLATFORM_SEV_SNP ||
		    m->out->platform == IGVM_PLATFORM_SEV_ES)
			return add_vmsa(m, h);
		return 0;
	case IGVM_ERROR_RANGE:
		if (m->out->platform != IGVM_PLATFORM_VSM)
			return 0;
		s.kind = IGVM_STEP_ERROR_RANGE;
		s.gpa = h->u.error_range.gpa;
		return add_pages(m, &s, h->u.error_range.size_bytes);
	}
	return 0;
}

static int check_platform(const struct igvm *ig, const struct igvm_supported_platform *p,
			  struct igvm_error *err)
{
	struct igvm_iter it;
	struct igvm_header h;

	if (p->platform_type == IGVM_PLATFORM_NATIVE || p->platform_type >= IGVM_PLATFORM_CCA)
		return igvm_fail(err, IGVM_NO_HEADER, 0,
				 "platform %s has no launch measurement that is known here",
				 igvm_platform_name(p->platform_type));
	if (p->platform_type != IGVM_PLATFORM_SEV_SNP)
		return 0;
	igvm_first(ig, &it);
	if (!igvm_next_of(&it, IGVM_GUEST_POLICY, p->mask, &h))
		return igvm_fail(err, IGVM_NO_HEADER, ig->headers_offset,
				 "no guest policy for SEV-SNP: the image cannot be launched");
	return 0;
}

static int measure(struct measurer *m)
{
	struct igvm_header h, context = {0};
	struct igvm_iter it;
	int ret = 0;

	igvm_hash_init(&m->hash, m->out->digest_len);
	igvm_hash_init(&m->pages_hash, m->out->digest_len);
	page_digest(m, zero_page, m->zero_digest);
	igvm_first(m->ig, &it);
	while (!ret && igvm_next_of(&it, 0, m->out->mask, &h)) {
		if (h.type == IGVM_VP_CONTEXT && m->out->platform == IGVM_PLATFORM_VSM)
			context = h;
		ret = add_header(m, &h);
	}
	if (!ret && context.data)
		add_registers(m, &context);
	if (m->out->platform != IGVM_PLATFORM_SEV_SNP && m->out->platform != IGVM_PLATFORM_VSM)
		igvm_hash_finish(&m->hash, m->out->digest);
	m->out->hashed_bytes = m->hash.bytes + m->pages_hash.bytes;
	if (!ret && (m->hash.failed || m->pages_hash.failed))
		ret = igvm_fail_memory(m->err);
	igvm_hash_free(&m->hash);
	igvm_hash_free(&m->pages_hash);
	return ret;
}

int igvm_measure_with(const struct igvm *ig, const struct igvm_supported_platform *platform,
		      u32 flags, igvm_measure_step_fn *step, void *ctx,
		      struct igvm_measurement *out, struct igvm_error *err)
{
	struct measurer *m;
	int ret;

	*out = (struct igvm_measurement){
		.platform = platform->platform_type,
		.mask = platform->mask,
		.digest_len = platform->platform_type == IGVM_PLATFORM_SEV_SNP ||
					      platform->platform_type == IGVM_PLATFORM_TDX
				      ? SHA384_BYTES
				      : SHA256_BYTES,
	};
	ret = check_platform(ig, platform, err);
	if (ret)
		return ret;
	m = calloc(1, sizeof(*m));
	if (!m)
		return igvm_fail_memory(err);
	m->out = out;
	m->ig = ig;
	m->flags = flags;
	m->step = step;
	m->ctx = ctx;
	m->err = err;
	ret = measure(m);
	free(m);
	return ret;
}

int igvm_measure(const struct igvm *ig, const struct igvm_supported_platform *platform,
		 igvm_measure_step_fn *step, void *ctx, struct igvm_measurement *out,
		 struct igvm_error *err)
{
	return igvm_measure_with(ig, platform, 0, step, ctx, out, err);
}

char *igvm_hex(const u8 *bytes, size_t len, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	text[2 * len] = 0;
	return text;
}

int igvm_unhex(const char *text, size_t len, u8 *out)
{
	for (size_t i = 0; i < len; i++) {
		int v = hex_digit(text[i]);

		if (v < 0)
			return -EINVAL;
		out[i / 2] = (u8)(i % 2 ? out[i / 2] << 4 | v : v);
	}
	return len % 2 ? -EINVAL : 0;
}

const char *igvm_step_name(enum igvm_step_kind kind)
{
	static const char *const names[] = {
		[IGVM_STEP_PAGE] = "page",	     [IGVM_STEP_VMSA] = "vmsa",
		[IGVM_STEP_SECRETS] = "secrets",     [IGVM_STEP_CPUID] = "cpuid",
		[IGVM_STEP_PARAMETER] = "parameter", [IGVM_STEP_ERROR_RANGE] = "error-range",
		[IGVM_STEP_REGISTER] = "register",
	};

	return (size_t)kind < ARRAY_SIZE(names) ? names[kind] : "unknown";
}
