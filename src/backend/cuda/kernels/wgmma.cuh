#pragma once
// Matrix multiply-accumulate of a warpgroup, D += A B with A [64, k] in registers, B [k, N] in
// shared memory and D [64, N] (PTX ISA, "wgmma.mma_async"). Warp w of the group holds rows 16 w ..
// 16 w + 15 of A and D as a warp holds those of the mma of 16 rows (mma.cuh), columns 8 j .. 8 j +
// 7 of D in d[4 j .. 4 j + 3]. B lies as N rows of 128 bytes of k, swizzled by the copy engine, or
// of 32 bytes, one step along k; so may A, then in shared memory too.
//
// Without `accumulate`, D = A B.
#include <cstdint>

namespace iol::cuda {

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define IOL_HAS_WGMMA 1
#endif

#if defined(IOL_HAS_WGMMA)

/// The descriptor of B ("Matrix descriptor"): 128-byte swizzle, groups of eight rows 1,024 bytes
/// apart. The operand begins at the address in shared memory 16 * `sixteens`, within the first row;
/// the tile at a multiple of 1,024 bytes.
__device__ __forceinline__ std::uint64_t operand_descriptor(std::uint32_t sixteens) {
  constexpr std::uint32_t kSwizzle128 = 1U << 30;
  constexpr std::uint32_t kGroupStride = 1024 / 16;
  constexpr std::uint32_t kLeading = 1U << 16;  // not used with a swizzle
  std::uint64_t descriptor;
  asm("mov.b64 %0, {%1, %2};"
      : "=l"(descriptor)
      : "r"(sixteens + kLeading), "r"(kSwizzle128 | kGroupStride));
  return descriptor;
}

/// Of an operand whose rows are the 32 bytes of one step along k: groups of eight rows, `stride`
/// bytes apart, each at a multiple of 256 bytes, with 32-byte swizzle: of rows 4 to 7 of a group
/// the two halves are exchanged.
__device__ __forceinline__ std::uint64_t step_descriptor(std::uint32_t sixteens, int stride) {
  constexpr std::uint32_t kSwizzle32 = 3U << 30;
  constexpr std::uint32_t kLeading = 1U << 16;  // not used with a swizzle
  std::uint64_t descriptor;
  asm("mov.b64 %0, {%1, %2};"
      : "=l"(descriptor)
      : "r"(sixteens + kLeading), "r"(kSwizzle32 | static_cast<std::uint32_t>(stride) / 16));
  return descriptor;
}

/// The number of the first lane. The compiler knows it for the same in all of the warp, and doesn't
/// make it anew wherever it is used.
template <class Number>
__device__ __forceinline__ Number first_lanes(Number number) {
  return __shfl_sync(0xffffffffU, number, 0);
}

/// Registers written so far are seen by the multiplications that follow.
__device__ __forceinline__ void begin_wgmma() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Makes the multiplications begun since the last call a group.
__device__ __forceinline__ void commit_wgmma() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits for all groups but the last kPending.
template <int kPending>
__device__ __forceinline__ void wait_wgmma() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// clang-format off
#define IOL_4(c, d, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3])
#define IOL_8(c, d, i) IOL_4(c, d, i), IOL_4(c, d, i + 4)
#define IOL_16(c, d, i) IOL_8(c, d, i), IOL_8(c, d, i + 8)
#define IOL_32(c, d, i) IOL_16(c, d, i), IOL_16(c, d, i + 16)
#define IOL_64(c, d, i) IOL_32(c, d, i), IOL_32(c, d, i + 32)
#define IOL_128(c, d, i) IOL_64(c, d, i), IOL_64(c, d, i + 64)
#define IOL_NAMES_4 "%0, %1, %2, %3"
#define IOL_NAMES_8 IOL_NAMES_4 ", %4, %5, %6, %7"
#define IOL_NAMES_16 IOL_NAMES_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define IOL_NAMES_32 IOL_NAMES_16 ", " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define IOL_NAMES_64 IOL_NAMES_32 ", " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define IOL_NAMES_128 IOL_NAMES_64 ", " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
// The names of A's four registers, B's descriptor and the flag, behind D's.
#define IOL_INPUTS_8 "{%8, %9, %10, %11}, %12"
#define IOL_FLAG_8 "%13"
#define IOL_INPUTS_16 "{%16, %17, %18, %19}, %20"
#define IOL_FLAG_16 "%21"
#define IOL_INPUTS_32 "{%32, %33, %34, %35}, %36"
#define IOL_FLAG_32 "%37"
#define IOL_INPUTS_64 "{%64, %65, %66, %67}, %68"
#define IOL_FLAG_64 "%69"
#define IOL_INPUTS_128 "{%128, %129, %130, %131}, %132"
#define IOL_FLAG_128 "%133"

#define IOL_WGMMA(name, type, c, size, shape, flags)                                               \
  __device__ __forceinline__ void name(type(&d)[size], const std::uint32_t(&a)[4],                 \
                                       std::uint64_t b, bool accumulate) {                         \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " IOL_FLAG_##size ", 0;\n"                      \
                 "wgmma.mma_async.sync.aligned." shape " {" IOL_NAMES_##size "}, "                 \
                 IOL_INPUTS_##size ", p" flags ";\n}"                                              \
                 : IOL_##size(c, d, 0)                                                             \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int{accumulate}));      \
  }
// Both operands in shared memory, 16-bit numbers, for 128 and 256 columns of D.
#define IOL_WGMMA_SHARED(name, size, shape, a_place, b_place, flag)                                \
  __device__ __forceinline__ void name(float (&d)[size], std::uint64_t a, std::uint64_t b,         \
                                       bool accumulate) {                                          \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " flag ", 0;\n"                                 \
                 "wgmma.mma_async.sync.aligned." shape " {" IOL_NAMES_##size "}, " a_place ", "    \
                 b_place ", p, 1, 1, 0, 0;\n}"                                                     \
                 : IOL_##size("+f", d, 0)                                                          \
                 : "l"(a), "l"(b), "r"(int{accumulate}));                                          \
  }
#define IOL_WGMMAS_SHARED(name, types)                                   \
  IOL_WGMMA_SHARED(name, 64, "m64n128k16" types, "%64", "%65", "%66")    \
  IOL_WGMMA_SHARED(name, 128, "m64n256k16" types, "%128", "%129", "%130")
// For 16, 32, 64, 128 and 256 columns of D.
#define IOL_WGMMAS(name, type, c, k, types, flags)       \
  IOL_WGMMA(name, type, c, 8, "m64n16" k types, flags)   \
  IOL_WGMMA(name, type, c, 16, "m64n32" k types, flags)  \
  IOL_WGMMA(name, type, c, 32, "m64n64" k types, flags)  \
  IOL_WGMMA(name, type, c, 64, "m64n128" k types, flags) \
  IOL_WGMMA(name, type, c, 128, "m64n256" k types, flags)
// clang-format on

IOL_WGMMAS(wgmma_bf16, float, "+f", "k16", ".f32.bf16.bf16", ", 1, 1, 0")
IOL_WGMMAS(wgmma_f16, float, "+f", "k16", ".f32.f16.f16", ", 1, 1, 0")
IOL_WGMMAS(wgmma_e4m3, float, "+f", "k32", ".f32.e4m3.e4m3", ", 1, 1")
IOL_WGMMAS(wgmma_int8, int, "+r", "k32", ".s32.s8.s8", "")

IOL_WGMMAS_SHARED(wgmma_shared_bf16, ".f32.bf16.bf16")
IOL_WGMMAS_SHARED(wgmma_shared_f16, ".f32.f16.f16")

#undef IOL_WGMMAS_SHARED
#undef IOL_WGMMA_SHARED
#undef IOL_WGMMAS
#undef IOL_WGMMA

/// Of bf16 or f16 numbers.
template <bool kIsBf16, int kSize>
__device__ __forceinline__ void wgmma_half(float (&d)[kSize], const std::uint32_t (&a)[4],
                                           std::uint64_t b, bool accumulate) {
  if constexpr (kIsBf16) {
    wgmma_bf16(d, a, b, accumulate);
  } else {
    wgmma_f16(d, a, b, accumulate);
  }
}
/// Of bf16 or f16 numbers, both operands in shared memory.
template <bool kIsBf16, int kSize>
__device__ __forceinline__ void wgmma_shared(float (&d)[kSize], std::uint64_t a, std::uint64_t b,
                                             bool accumulate) {
  if constexpr (kIsBf16) {
    wgmma_shared_bf16(d, a, b, accumulate);
  } else {
    wgmma_shared_f16(d, a, b, accumulate);
  }
}
#endif

}  // namespace iol::cuda
