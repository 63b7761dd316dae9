// AMX tiles, or arrays in their place where SPLADERT_EMULATE is defined, so that the code above them is tested on CPUs
// with AVX-512 and without AMX. Register numbers are template arguments, as the instructions need constants.
#pragma once
#include "vector.h"

namespace spladert {
namespace SPLADERT_ISA {

#ifdef SPLADERT_EMULATE

struct Tile {
  alignas(64) uint8_t bytes[16][64];
};
static thread_local Tile tiles[8];

static void enter() {}
static void leave() {}
template <int T>
static inline void tile_zero() {
  memset(tiles[T].bytes, 0, sizeof tiles[T].bytes);
}
template <int T>
static inline void tile_load(const void* from, int stride) {
  for (int r = 0; r < 16; r++)
    memcpy(tiles[T].bytes[r], static_cast<const char*>(from) + static_cast<size_t>(r) * stride, 64);
}
template <int T>
static inline void tile_store(void* to, int stride) {
  for (int r = 0; r < 16; r++) memcpy(static_cast<char*>(to) + static_cast<size_t>(r) * stride, tiles[T].bytes[r], 64);
}
template <int C, int A, int B>
static inline void tile_dot_bytes() {  // C += A (uint8) B (int8)
  for (int m = 0; m < 16; m++) {
    Ints sums = _mm512_load_si512(tiles[C].bytes[m]);
    for (int k = 0; k < 16; k++) {
      int32_t four;
      memcpy(&four, &tiles[A].bytes[m][k * 4], 4);
      sums = _mm512_dpbusd_epi32(sums, all(four), _mm512_load_si512(tiles[B].bytes[k]));
    }
    _mm512_store_si512(tiles[C].bytes[m], sums);
  }
}
template <int C, int A, int B>
static inline void tile_dot_bfloat16() {  // C += A B, pairs of bfloat16
  for (int m = 0; m < 16; m++) {
    Floats sums = _mm512_load_ps(tiles[C].bytes[m]);
    for (int k = 0; k < 16; k++) {
      int32_t two;
      memcpy(&two, &tiles[A].bytes[m][k * 4], 4);
      sums = _mm512_dpbf16_ps(sums, (__m512bh)all(two), (__m512bh)_mm512_load_si512(tiles[B].bytes[k]));
    }
    _mm512_store_ps(tiles[C].bytes[m], sums);
  }
}

#else

static void enter() {
  struct alignas(64) {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_per_row[16];
    uint8_t rows[16];
  } config = {};
  config.palette = 1;
  for (int i = 0; i < 8; i++) {
    config.rows[i] = 16;
    config.bytes_per_row[i] = 64;
  }
  asm volatile("ldtilecfg %0" ::"m"(config));
}
static void leave() { asm volatile("tilerelease" ::: "memory"); }
// Inline assembly, because gcc 12's intrinsics do not tell the compiler that they read and write memory.
template <int T>
static inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
static inline void tile_load(const void* from, int stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(static_cast<int64_t>(stride)), "i"(T) : "memory");
}
template <int T>
static inline void tile_store(void* to, int stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(static_cast<int64_t>(stride)), "i"(T) : "memory");
}
template <int C, int A, int B>
static inline void tile_dot_bytes() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}
template <int C, int A, int B>
static inline void tile_dot_bfloat16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#endif

}  // namespace SPLADERT_ISA
}  // namespace spladert
