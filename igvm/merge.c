/* Joins images of one platform each to one image of several platforms. */
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "igvm/build_parts.h"
#include "igvm/internal.h"

#define MAX_LENGTH 1024 /* of a header's content; the largest has 864 */

/* Offset of the area index in a header's content, -1 if it has none */
static int area_at(u32 type)
{
	if (type == IGVM_PARAMETER_AREA)
		return offsetof(struct igvm_parameter_area, index);
	if (type == IGVM_PARAMETER_INSERT)
		return offsetof(struct igvm_parameter_insert, area);
	return igvm_is_parameter(type) ? (int)offsetof(struct igvm_parameter, area) : -1;
}

/* Writes the headers of one section with their new mask and area numbers. */
static void write_section(struct igvm_writer *w, const struct igvm *ig, int section, u32 mask,
			  u32 first_area)
{
	struct igvm_iter it;
	struct igvm_header h;
	u8 content[MAX_LENGTH];

	igvm_first(ig, &it);
	while (igvm_next(&it, &h)) {
		const struct igvm_type_info *info = igvm_type_info(h.type);

		if (igvm_section(h.type) != section || !info || h.length > sizeof(content))
			continue;
		memcpy(content, h.content, h.length);
		if (info->mask_at >= 0)
			put_le32(content + info->mask_at, mask);
		if (area_at(h.type) >= 0)
			put_le32(content + area_at(h.type),
				 get_le32(content + area_at(h.type)) + first_area);
		igvm_write(w, h.type, content, h.length, h.data, h.data_len);
	}
}

static u32 count_areas(const struct igvm *ig)
{
	struct igvm_iter it;
	struct igvm_header h;
	u32 count = 0;

	igvm_first(ig, &it);
	while (igvm_next_of(&it, IGVM_PARAMETER_AREA, 0, &h))
		count = MAX(count, h.u.area.index + 1);
	return count;
}

int images_merge(const struct blob *image, u32 count, void **out, size_t *out_len,
		 struct igvm_error *err)
{
	struct igvm ig[MANIFEST_MAX_CONFIGS];
	struct igvm_writer *w;
	int ret = 0;

	for (u32 i = 0; i < count && !ret; i++)
		ret = igvm_open(&ig[i], image[i].data, image[i].len, err);
	if (ret)
		return ret;
	w = igvm_writer_new(1, IGVM_ARCH_X64);
	if (!w)
		return igvm_fail_memory(err);
	for (int section = 1; section <= 3; section++) {
		u32 areas = 0;

		for (u32 i = 0; i < count; i++) {
			write_section(w, &ig[i], section, 1u << i, areas);
			areas += count_areas(&ig[i]);
		}
	}
	ret = igvm_writer_finish(w, out, out_len, err);
	igvm_writer_free(w);
	return ret;
}
