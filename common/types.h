/* Fixed-width types, bit and overflow helpers that every folder uses (the boot shim too). */
#ifndef PARAPET_COMMON_TYPES_H
#define PARAPET_COMMON_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define BIT(n)	      (1ull << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096u
#define MiB	   (1ull << 20)
#define GiB	   (1ull << 30)
#define NS_PER_S   1000000000ull

#define ALIGN_DOWN(x, a) ((x) & ~((u64)(a)-1))
#define ALIGN_UP(x, a)	 (((x) + (u64)(a)-1) & ~((u64)(a)-1))
#define IS_ALIGNED(x, a) (((u64)(x) & ((u64)(a)-1)) == 0)

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* True when a + b does not fit; *sum is then the wrapped value. */
static inline bool add_overflow(u64 a, u64 b, u64 *sum)
{
	return __builtin_add_overflow(a, b, sum);
}

#endif
