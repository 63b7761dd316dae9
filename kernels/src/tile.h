// AMX tiles, or plain C++ in their place where SPLADERT_EMULATE is defined, so that the code above them is tested on
// CPUs without AMX. Register numbers are template arguments, as the instructions need constants.
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
    int32_t sums[16];
    memcpy(sums, tiles[C].bytes[m], 64);
    for (int k = 0; k < 16; k++)
      for (int n = 0; n < 16; n++)
        for (int i = 0; i < 4; i++)
          sums[n] += tiles[A].bytes[m][k * 4 + i] * static_cast<int8_t>(tiles[B].bytes[k][n * 4 + i]);
    memcpy(tiles[C].bytes[m], sums, 64);
  }
}
template <int C, int A, int B>
static inline void tile_dot_bfloat16() {  // C += A B, pairs of bfloat16
  auto widen = [](const uint8_t* p) {
    uint32_t bits = static_cast<uint32_t>(p[1]) << 24 | static_cast<uint32_t>(p[0]) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
  };
  for (int m = 0; m < 16; m++) {
    float sums[16];
    memcpy(sums, tiles[C].bytes[m], 64);
    for (int k = 0; k < 16; k++)
      for (int n = 0; n < 16; n++)
        for (int i = 0; i < 2; i++)
          sums[n] += widen(&tiles[A].bytes[m][k * 4 + i * 2]) * widen(&tiles[B].bytes[k][n * 4 + i * 2]);
    memcpy(tiles[C].bytes[m], sums, 64);
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
