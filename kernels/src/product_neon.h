// Tiles of int8 products on aarch64. The activations' bytes are taken as signed ones, 128 less than they are: `start`,
// 128 times the sum of a column's weights, makes up for it. All sums are exact, for weights of 8 bits too.
#pragma once
#include "prefetch.h"

namespace spladert {
namespace SPLADERT_ISA {

#if SPLADERT_LEVEL == 1

// 3 x 32: 24 of 32 registers hold sums, three a row's 16 bytes, the others weights.
constexpr int kRows = 3, kColumns = 32;

struct FourColumns {
  Ints sums = all(0);

  // += the products of a column's four weights and the four bytes in lane `Quad` of `bytes`.
  template <int Quad>
  inline void add(int8x16_t weights, int8x16_t bytes) {
    sums = vdotq_laneq_s32(sums, weights, bytes, Quad);
  }
  inline Ints total() const { return sums; }
};

#else

// 3 x 16, twice a block: 24 of 32 registers hold sums, three the rows' bytes, the others weights and products.
constexpr int kRows = 3, kColumns = 16;

struct FourColumns {
  Ints first = all(0), second = all(0);  // two columns each, of two sums

  // Products fit 16 bits, their pairs are added to 32.
  template <int Quad>
  inline void add(int8x16_t weights, int8x16_t bytes) {
    const int8x16_t four = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(bytes), Quad));
    first = vpadalq_s16(first, vmull_s8(vget_low_s8(weights), vget_low_s8(four)));
    second = vpadalq_s16(second, vmull_high_s8(weights, four));
  }
  inline Ints total() const { return vpaddq_s32(first, second); }
};

#endif

// One quad of the inner dimension: a line of each 16 columns.
template <int R, int Quad>
static inline void multiply_quad(FourColumns (&acc)[R][kColumns / 4], const int8x16_t (&bytes)[R], const int8_t* b) {
#pragma GCC unroll 8
  for (int j = 0; j < kColumns / 4; j++) {
    const int8x16_t weights = vld1q_s8(b + (j >> 2) * 1024 + Quad * 64 + (j & 3) * 16);
#pragma GCC unroll 3
    for (int r = 0; r < R; r++) acc[r][j].template add<Quad>(weights, bytes[r]);
  }
}

template <int R>
static inline void multiply(const uint8_t* a, int stride, const int8_t* b, const int32_t* start, int steps,
                            int32_t* sums, Prefetch& ahead) {
  for (int column = 0; column < kBlock; column += kColumns) {
    FourColumns acc[R][kColumns / 4];
    for (int k = 0; k < steps; k++) {
      if (column == 0) ahead.step();
      for (int part = 0; part < kDepth; part += 16) {
        int8x16_t bytes[R];
#pragma GCC unroll 3
        for (int r = 0; r < R; r++) {
          const uint8x16_t row = vld1q_u8(a + static_cast<size_t>(r) * stride + k * kDepth + part);
          bytes[r] = vreinterpretq_s8_u8(veorq_u8(row, vdupq_n_u8(0x80)));
        }
        const int8_t* line = b + k * 2048 + (column >> 4) * 1024 + part * 16;
        multiply_quad<R, 0>(acc, bytes, line);
        multiply_quad<R, 1>(acc, bytes, line);
        multiply_quad<R, 2>(acc, bytes, line);
        multiply_quad<R, 3>(acc, bytes, line);
      }
    }
#pragma GCC unroll 3
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; j += 4)
        store(sums + r * kBlock + column + j, acc[r][j / 4].total() + load(start + column + j));
  }
}

}  // namespace SPLADERT_ISA
}  // namespace spladert
