/* The inspection as text: a summary, guest memory of each platform, and all headers if asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "igvm/inspect.h"

static const char *text_of(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text ? text : "";
}

static long long number_of(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

/* "12 KiB", "9.4 MiB" */
static const char *size_text(long long bytes, char buf[24])
{
	double kib = (double)bytes / 1024;

	if (bytes < 1024)
		snprintf(buf, 24, "%lld B", bytes);
	else if (kib < 1024)
		snprintf(buf, 24, "%.*f KiB", bytes % 1024 ? 1 : 0, kib);
	else if (kib < 1024 * 1024)
		snprintf(buf, 24, "%.1f MiB", kib / 1024);
	else
		snprintf(buf, 24, "%.1f GiB", kib / 1024 / 1024);
	return buf;
}

static void print_value(FILE *f, const json_t *value)
{
	const char *key, *separator = "";
	json_t *inner;
	size_t i;

	switch (json_typeof(value)) {
	case JSON_STRING: fputs(json_string_value(value), f); break;
	case JSON_INTEGER: fprintf(f, "%lld", (long long)json_integer_value(value)); break;
	case JSON_TRUE: fputs("yes", f); break;
	case JSON_FALSE: fputs("no", f); break;
	case JSON_ARRAY:
		if (!json_array_size(value))
			fputs("none", f);
		json_array_foreach(value, i, inner)
		{
			fputs(i ? "," : "", f);
			print_value(f, inner);
		}
		break;
	case JSON_OBJECT:
		json_object_foreach((json_t *)value, key, inner)
		{
			fprintf(f, "%s%s ", separator, key);
			print_value(f, inner);
			separator = ", ";
		}
		break;
	default: break;
	}
}

/* Plain registers four in a line, then segments and tables one in a line */
static void print_registers(FILE *f, const json_t *regs, int indent, bool segments)
{
	const char *name;
	json_t *value;
	u32 column = 0;
	int width = 0; /* of the last value */

	json_object_foreach((json_t *)regs, name, value)
	{
		if (!json_is_string(value))
			continue;
		if (column % 4 == 0)
			fprintf(f, "%s%*s", column ? "\n" : "", indent, "");
		else
			fprintf(f, "%*s", 20 - width, "");
		width = fprintf(f, "%-8s %s", name, json_string_value(value)) - 9;
		column++;
	}
	if (column)
		fputc('\n', f);
	if (!segments)
		return;
	json_object_foreach((json_t *)regs, name, value)
	{
		if (json_is_string(value))
			continue;
		fprintf(f, "%*s%-8s ", indent, "", name);
		print_value(f, value);
		fputc('\n', f);
	}
}

/* " key=value" for all but the first `skip` fields and what is printed in other ways */
static void print_fields(FILE *f, const json_t *obj, u32 skip)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)obj, key, value)
	{
		if (skip) {
			skip--;
			continue;
		}
		if (!strcmp(key, "registers"))
			continue;
		fprintf(f, " %s=", key);
		print_value(f, value);
	}
	fputc('\n', f);
}

static void print_range(FILE *f, const json_t *obj)
{
	unsigned long long start = strtoull(text_of(obj, "gpa"), NULL, 16);
	unsigned long long bytes = (unsigned long long)number_of(obj, "bytes");
	char buf[24];

	fprintf(f, "0x%llx-0x%llx (%s)", start, start + bytes,
		size_text(number_of(obj, "bytes"), buf));
}

static void print_row_head(FILE *f, const char *name)
{
	fprintf(f, "  %-18s ", name);
}

static void print_lists(FILE *f, const json_t *p)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(p, "required_memory"), i, item)
	{
		print_row_head(f, i ? "" : "required memory");
		print_range(f, item);
		fprintf(f, "%s\n",
			json_is_true(json_object_get(item, "vtl2_protectable")) ? ", VTL2" : "");
	}
	json_array_foreach(json_object_get(p, "relocatable"), i, item)
	{
		print_row_head(f, i ? "" : "relocatable");
		print_range(f, item);
		fprintf(f, " to multiples of %s in %s-%s\n", text_of(item, "alignment"),
			text_of(item, "minimum_gpa"), text_of(item, "maximum_gpa"));
	}
	json_array_foreach(json_object_get(p, "page_tables"), i, item)
	{
		print_row_head(f, i ? "" : "page tables");
		print_range(f, item);
		fprintf(f, ", %lld pages used\n", number_of(item, "used_bytes") / 4096);
	}
}

static void print_signed(FILE *f, const json_t *p)
{
	static const struct {
		const char *key, *name;
	} objects[] = {{"guest_policy", "guest policy"}, {"cca_policy", "CCA policy"}},
	  lists[] = {{"id_block", "ID block"}, {"vbs_measurement", "VBS measurement"}},
	  sizes[] = {{"corim_document_bytes", "CoRIM document"},
		     {"corim_signature_bytes", "CoRIM signature"}};
	char buf[24];
	json_t *item;
	size_t n;

	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		if (!json_object_get(p, objects[i].key))
			continue;
		print_row_head(f, objects[i].name);
		print_value(f, json_object_get(p, objects[i].key));
		fputc('\n', f);
	}
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		json_array_foreach(json_object_get(p, lists[i].key), n, item)
		{
			const char *key, *name = lists[i].name;
			json_t *value;

			json_object_foreach(item, key, value)
			{
				print_row_head(f, name);
				fprintf(f, "%s ", key);
				print_value(f, value);
				fputc('\n', f);
				name = "";
			}
		}
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (!json_object_get(p, sizes[i].key))
			continue;
		print_row_head(f, sizes[i].name);
		fprintf(f, "%s\n", size_text(number_of(p, sizes[i].key), buf));
	}
}

static void print_contexts(FILE *f, const json_t *p)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(p, "contexts"), i, item)
	{
		print_row_head(f, "VP context");
		fprintf(f, "VP %lld", number_of(item, "vp"));
		if (json_object_get(item, "vtl"))
			fprintf(f, ", VTL %lld", number_of(item, "vtl"));
		if (json_object_get(item, "gpa"))
			fprintf(f, ", VMSA at %s", text_of(item, "gpa"));
		if (json_object_get(item, "sev_features")) {
			fputs(", features ", f);
			print_value(f, json_object_get(item, "sev_features"));
		}
		fputc('\n', f);
		print_registers(f, json_object_get(item, "registers"), 4, false);
	}
	if (number_of(p, "context_count") > (long long)i)
		fprintf(f, "  %lld more VP contexts\n",
			number_of(p, "context_count") - (long long)i);
}

static void print_paravisor(FILE *f, const json_t *pv)
{
	char buf[24];

	print_row_head(f, "paravisor for");
	fprintf(f, "%s\n", text_of(pv, "isolation"));
	print_row_head(f, "  VTL2 memory");
	fprintf(f, "%s at %s", size_text(number_of(pv, "memory_bytes"), buf),
		text_of(pv, "memory_start"));
	fprintf(f, ", the image uses %s\n", size_text(number_of(pv, "used_bytes"), buf));
	print_row_head(f, "  kernel");
	fprintf(f, "entry %s\n", text_of(pv, "kernel_entry"));
	print_row_head(f, "  initrd");
	fprintf(f, "%lld bytes at %s, CRC %s\n", number_of(pv, "initrd_bytes"),
		text_of(pv, "initrd"), text_of(pv, "initrd_crc"));
	print_row_head(f, "  command line");
	fprintf(f, "\"%s\" (%s)\n", text_of(pv, "command_line"),
		text_of(pv, "command_line_policy"));
	print_row_head(f, "  VTL0 payload");
	print_value(f, json_object_get(pv, "vtl0_payload"));
	if (json_object_get(pv, "vtl0_kernel_entry"))
		fprintf(f, ", entry %s, initrd %lld bytes, command line \"%s\"",
			text_of(pv, "vtl0_kernel_entry"), number_of(pv, "vtl0_initrd_bytes"),
			text_of(pv, "vtl0_command_line"));
	fputc('\n', f);
}

static void print_layout(FILE *f, const json_t *layout)
{
	char size[24], file[24];
	json_t *row;
	size_t i;

	fprintf(f, "\n  %-18s %-18s %10s  %-12s  %-8s  %10s  %s\n", "start", "end", "size", "kind",
		"type", "in file", "part");
	json_array_foreach(layout, i, row)
	{
		bool filled = strcmp(text_of(row, "kind"), "not imported") != 0;
		bool page = filled && strcmp(text_of(row, "kind"), "parameter") &&
			    strcmp(text_of(row, "kind"), "error-range");

		fprintf(f, "  %-18s %-18s %10s  %-12s  %-8s  %10s  %s\n", text_of(row, "start"),
			text_of(row, "end"), size_text(number_of(row, "bytes"), size),
			text_of(row, "kind"), page ? text_of(row, "data_type") : "-",
			page ? size_text(number_of(row, "bytes_with_data"), file) : "-",
			text_of(row, "part"));
	}
}

static void print_platform(FILE *f, const json_t *p, const json_t *before, const char *same_as)
{
	static const char *const kinds[] = {"measured",	 "loaded",	"unmeasured",  "shared",
					    "parameter", "error-range", "not imported"};
	char buf[24];
	bool first = true;

	fprintf(f, "\nPlatform %s: mask %s, highest VTL %lld", text_of(p, "platform"),
		text_of(p, "mask"), number_of(p, "highest_vtl"));
	if (strcmp(text_of(p, "shared_gpa_boundary"), "0x0") != 0)
		fprintf(f, ", shared memory from %s on", text_of(p, "shared_gpa_boundary"));
	fputc('\n', f);
	print_row_head(f, "guest memory");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		json_t *total = json_object_get(json_object_get(p, "totals"), kinds[i]);

		if (!total)
			continue;
		fprintf(f, "%s%s %s", first ? "" : ", ", kinds[i],
			size_text(json_integer_value(total), buf));
		first = false;
	}
	fputc('\n', f);
	print_lists(f, p);
	print_signed(f, p);
	if (json_object_get(p, "paravisor"))
		print_paravisor(f, json_object_get(p, "paravisor"));
	print_contexts(f, p);
	if (before && json_equal(json_object_get(p, "layout"), json_object_get(before, "layout")))
		fprintf(f, "\n  Guest memory as for %s\n", same_as);
	else
		print_layout(f, json_object_get(p, "layout"));
}

static void print_headers(FILE *f, const json_t *headers)
{
	json_t *value;
	size_t i;

	fprintf(f, "\nHeaders\n");
	json_array_foreach(headers, i, value)
	{
		fprintf(f, "  %6lld %8s %-22s", number_of(value, "index"), text_of(value, "offset"),
			text_of(value, "type"));
		print_fields(f, value, 3);
		print_registers(f, json_object_get(value, "registers"), 18, true);
	}
}

void inspect_print(FILE *f, const json_t *d)
{
	const json_t *file = json_object_get(d, "file"), *before = NULL;
	const json_t *parts = json_object_get(d, "parts");
	long long total = number_of(file, "bytes");
	char buf[24];
	const char *key;
	json_t *value;
	size_t i;

	fprintf(f, "IGVM version %lld, %s, %lld bytes (%s), %lld headers, checksum %s\n",
		number_of(file, "format_version"), text_of(file, "architecture"), total,
		size_text(total, buf), number_of(file, "header_count"), text_of(file, "checksum"));
	json_array_foreach(json_object_get(d, "platforms"), i, value)
	{
		print_platform(f, value, before, before ? text_of(before, "platform") : "");
		before = value;
	}
	fprintf(f, "\nSize by part (bytes in the file)\n");
	json_object_foreach((json_t *)parts, key, value)
	{
		long long bytes = json_integer_value(value);

		if (bytes)
			fprintf(f, "  %-14s %10lld  %5.1f %%\n", key, bytes,
				total ? 100.0 * (double)bytes / (double)total : 0.0);
	}
	fprintf(f, "  %-14s %10lld\n", "total", total);
	if (json_object_get(d, "headers"))
		print_headers(f, json_object_get(d, "headers"));
}
