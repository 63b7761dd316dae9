// Products of an activation with packed weights, a block of 32 columns at a time, the epilogue after each tile of rows.
#pragma once
#include "epilogue.h"
#include "prefetch.h"
#ifdef __aarch64__
#include "product_neon.h"
#elif SPLADERT_LEVEL == 3
#include "tile.h"
#endif

namespace spladert {
namespace SPLADERT_ISA {

#if SPLADERT_LEVEL == 3

// 32 x 32: two tiles of rows by two of columns use all eight tile registers, four of them for sums.
template <class Epilogue>
static void int8_product(const uint8_t* a, int rows, const Product& product, int first, int last,
                         const Epilogue& epilogue, const char* next, bool interleave) {
  alignas(64) int32_t buffers[2][32 * kBlock];
  const int steps = product.inner / kDepth, row_blocks = (rows + 31) / 32;
  // With few rows the epilogue of a tile runs between the tile products of the next one; with many it then competes
  // with them for the first-level cache.
  int due_row = 0, due_block = -1, due_rows = 0, current = 0;
  for (int block = first; block < last; block++) {
    Prefetch ahead(product, block, last, next, steps * row_blocks);
    const int8_t* b = product.weight + static_cast<size_t>(block) * product.inner * kBlock;
    for (int row0 = 0; row0 < rows; row0 += 32) {
      const int count = smaller(32, rows - row0);
      const uint8_t* upper = a + static_cast<size_t>(row0) * product.inner;
      const uint8_t* lower = upper + static_cast<size_t>(steps) * 1024;
      int32_t *sums = buffers[current], *due = buffers[current ^ 1];
      int done = 0;
      auto due_step = [&](int k) {
        ahead.step();
        if (due_block < 0 || done >= due_rows || k % 3 != 2) return;
        const int to = smaller(done + 8, due_rows);
        epilogue.rows(due_row, done, to, due_block, due);
        done = to;
      };
      tile_zero<0>();
      tile_zero<1>();
      if (count > 16) {
        tile_zero<2>();
        tile_zero<3>();
        for (int k = 0; k < steps; k++) {
          tile_load<6>(b + k * 2048, 64);
          tile_load<4>(upper + k * 1024, 64);
          tile_dot_bytes<0, 4, 6>();
          tile_load<7>(b + k * 2048 + 1024, 64);
          tile_dot_bytes<1, 4, 7>();
          tile_load<5>(lower + k * 1024, 64);
          tile_dot_bytes<2, 5, 6>();
          tile_dot_bytes<3, 5, 7>();
          due_step(k);
        }
        tile_store<2>(sums + 16 * kBlock, kBlock * 4);
        tile_store<3>(sums + 16 * kBlock + 16, kBlock * 4);
      } else {
        for (int k = 0; k < steps; k++) {
          tile_load<6>(b + k * 2048, 64);
          tile_load<4>(upper + k * 1024, 64);
          tile_dot_bytes<0, 4, 6>();
          tile_load<7>(b + k * 2048 + 1024, 64);
          tile_dot_bytes<1, 4, 7>();
          due_step(k);
        }
      }
      tile_store<0>(sums, kBlock * 4);
      tile_store<1>(sums + 16, kBlock * 4);
      if (due_block >= 0 && done < due_rows) epilogue.rows(due_row, done, due_rows, due_block, due);
      if (interleave) {
        due_row = row0, due_block = block, due_rows = count, current ^= 1;
      } else {
        epilogue.rows(row0, 0, count, block, sums);
      }
    }
  }
  if (due_block >= 0) epilogue.rows(due_row, 0, due_rows, due_block, buffers[current ^ 1]);
}

#else

#ifdef __aarch64__
// See product_neon.h.
#elif SPLADERT_LEVEL == 2
// 12 x 32: 24 of 32 registers hold sums, two the weights of a step, one the broadcast bytes.
constexpr int kRows = 12;

template <int R>
static inline void multiply(const uint8_t* a, int stride, const int8_t* b, const int32_t*, int steps, int32_t* sums,
                            Prefetch& ahead) {
  Ints acc[R][2];
#pragma GCC unroll 12
  for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] = _mm512_setzero_si512();
  for (int k = 0; k < steps; k++) {
    ahead.step();
#pragma GCC unroll 4
    for (int quad = 0; quad < 16; quad++) {
      const Ints b0 = _mm512_load_si512(b + k * 2048 + quad * 64);
      const Ints b1 = _mm512_load_si512(b + k * 2048 + 1024 + quad * 64);
#pragma GCC unroll 12
      for (int r = 0; r < R; r++) {
        int32_t four;
        memcpy(&four, a + static_cast<size_t>(r) * stride + k * kDepth + quad * 4, 4);
        const Ints bytes = _mm512_set1_epi32(four);
        acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], bytes, b0);
        acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], bytes, b1);
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; r++) {
    _mm512_store_si512(sums + r * kBlock, acc[r][0]);
    _mm512_store_si512(sums + r * kBlock + 16, acc[r][1]);
  }
}

#else
// 3 x 32: 12 of 16 registers hold sums, the others three rows' bytes and the weights.
constexpr int kRows = 3;

// sums += the four products u8 * s8 of each 32-bit lane.
static inline Ints dot_bytes(Ints sums, Ints a, Ints b) {
#if SPLADERT_LEVEL == 1 && !defined(SPLADERT_EMULATE)
  return _mm256_dpbusd_avx_epi32(sums, a, b);
#elif SPLADERT_LEVEL == 1
  const Ints low = _mm256_set1_epi16(0xff), ones = _mm256_set1_epi16(1);  // exact for 8-bit weights, as VNNI is
  const Ints even = _mm256_mullo_epi16(_mm256_and_si256(a, low), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
  const Ints odd = _mm256_mullo_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
  return _mm256_add_epi32(sums, _mm256_add_epi32(_mm256_madd_epi16(even, ones), _mm256_madd_epi16(odd, ones)));
#else
  // Pairs are added in 16 bits: exact for weights of 7 bits, 2 * 255 * 64 = 32,640.
  return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
#endif
}

template <int R>
static inline void multiply(const uint8_t* a, int stride, const int8_t* b, const int32_t*, int steps, int32_t* sums,
                            Prefetch& ahead) {
  Ints acc[R][4];
#pragma GCC unroll 3
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) acc[r][j] = _mm256_setzero_si256();
  for (int k = 0; k < steps; k++) {
    ahead.step();
#pragma GCC unroll 2
    for (int quad = 0; quad < 16; quad++) {
      Ints bytes[R];
#pragma GCC unroll 3
      for (int r = 0; r < R; r++) {
        int32_t four;
        memcpy(&four, a + static_cast<size_t>(r) * stride + k * kDepth + quad * 4, 4);
        bytes[r] = _mm256_set1_epi32(four);
      }
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        const int8_t* p = b + k * 2048 + (j >> 1) * 1024 + quad * 64 + (j & 1) * 32;
        const Ints weights = _mm256_load_si256(reinterpret_cast<const Ints*>(p));
#pragma GCC unroll 3
        for (int r = 0; r < R; r++) acc[r][j] = dot_bytes(acc[r][j], bytes[r], weights);
      }
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) _mm256_store_si256(reinterpret_cast<Ints*>(sums + r * kBlock + j * 8), acc[r][j]);
}
#endif

template <int R>
static inline void multiply_rows(int rows, const uint8_t* a, int stride, const int8_t* b, const int32_t* start,
                                 int steps, int32_t* sums, Prefetch& ahead) {
  if (rows == R) {
    multiply<R>(a, stride, b, start, steps, sums, ahead);
  } else {
    if constexpr (R > 1) multiply_rows<R - 1>(rows, a, stride, b, start, steps, sums, ahead);
  }
}

template <class Epilogue>
static void int8_product(const uint8_t* a, int rows, const Product& product, int first, int last,
                         const Epilogue& epilogue, const char* next, bool) {
  alignas(64) int32_t sums[kRows * kBlock];
  const int steps = product.inner / kDepth, row_blocks = (rows + kRows - 1) / kRows;
  for (int block = first; block < last; block++) {
    Prefetch ahead(product, block, last, next, steps * row_blocks);
    const int8_t* b = product.weight + static_cast<size_t>(block) * product.inner * kBlock;
    const int32_t* start = kSignedActivations ? product.start + block * kBlock : nullptr;
    for (int row0 = 0; row0 < rows;) {
      int count = smaller(kRows, rows - row0);
      const int left = rows - row0;
      if (left > kRows && left < 2 * kRows) count = (left + 1) / 2;  // even halves at the end
      const uint8_t* from = a + static_cast<size_t>(row0) * product.inner;
      multiply_rows<kRows>(count, from, product.inner, b, start, steps, sums, ahead);
      epilogue.rows(row0, 0, count, block, sums);
      row0 += count;
    }
  }
}

#endif

// R x N: a row's chain of sums runs over k alone, whatever R and N are.
template <int R, int N>
static inline void multiply_floats(const float* a, int lda, const float* b, int ldb, int inner, float* c, int ldc) {
  Floats acc[R][N];
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int j = 0; j < N; j++) acc[r][j] = all(0.f);
  for (int k = 0; k < inner; k++) {
    Floats row[N];
#pragma GCC unroll 4
    for (int j = 0; j < N; j++) row[j] = load(b + static_cast<size_t>(k) * ldb + j * kWidth);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      const Floats x = all(a[static_cast<size_t>(r) * lda + k]);
#pragma GCC unroll 4
      for (int j = 0; j < N; j++) acc[r][j] = multiply_add(x, row[j], acc[r][j]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int j = 0; j < N; j++) store(c + static_cast<size_t>(r) * ldc + j * kWidth, acc[r][j]);
}

template <int N>
static void multiply_columns(const float* a, int lda, int rows, const float* b, int ldb, int inner, float* c, int ldc) {
  for (; rows >= 6; rows -= 6, a += static_cast<size_t>(6) * lda, c += static_cast<size_t>(6) * ldc)
    multiply_floats<6, N>(a, lda, b, ldb, inner, c, ldc);
  switch (rows) {
    case 1:
      return multiply_floats<1, N>(a, lda, b, ldb, inner, c, ldc);
    case 2:
      return multiply_floats<2, N>(a, lda, b, ldb, inner, c, ldc);
    case 3:
      return multiply_floats<3, N>(a, lda, b, ldb, inner, c, ldc);
    case 4:
      return multiply_floats<4, N>(a, lda, b, ldb, inner, c, ldc);
    case 5:
      return multiply_floats<5, N>(a, lda, b, ldb, inner, c, ldc);
  }
}

// c [rows][vectors * kWidth] = a [rows][inner] b [inner][...], all float.
static void float_matrix(const float* a, int lda, int rows, const float* b, int ldb, int inner, float* c, int ldc,
                         int vectors) {
  constexpr int kMost = SPLADERT_REGISTERS == 32 ? 4 : 2;  // 6 x 4 of 32 registers, 6 x 2 of 16
  while (vectors > 0) {
    const int n = smaller(vectors, kMost);
    if (n == 1) multiply_columns<1>(a, lda, rows, b, ldb, inner, c, ldc);
    if (n == 2) multiply_columns<2>(a, lda, rows, b, ldb, inner, c, ldc);
#if SPLADERT_REGISTERS == 32
    if (n == 3) multiply_columns<3>(a, lda, rows, b, ldb, inner, c, ldc);
    if (n == 4) multiply_columns<4>(a, lda, rows, b, ldb, inner, c, ldc);
#endif
    vectors -= n, b += n * kWidth, c += n * kWidth;
  }
}

template <class Epilogue>
static void float_product(const float* a, int rows, const Product& product, int first, int last,
                          const Epilogue& epilogue) {
  constexpr int kTile = 24;  // rows: the sums stay in the first-level cache
  alignas(64) float sums[kTile * kBlock];
  const int lda = round_up(product.inner, kDepth);
  for (int block = first; block < last; block++) {
    const float* b = product.float_weight + static_cast<size_t>(block) * product.inner * kBlock;
    for (int row0 = 0; row0 < rows; row0 += kTile) {
      const int count = smaller(kTile, rows - row0);
      float_matrix(a + static_cast<size_t>(row0) * lda, lda, count, b, kBlock, product.inner, sums, kBlock,
                   kBlock / kWidth);
      epilogue.rows(row0, 0, count, block, reinterpret_cast<const int32_t*>(sums));
    }
  }
}

// Blocks [first, last) of a product, of bytes or of floats. `next`: what is read after it, or null.
template <class Epilogue>
static inline void run_product(const uint8_t* bytes, const float* floats, int rows, const Product& product, int first,
                               int last, const Epilogue& epilogue, const char* next, bool interleave) {
  if (product.is_float) {
    float_product(floats, rows, product, first, last, epilogue);
  } else {
    int8_product(bytes, rows, product, first, last, epilogue, next, interleave);
  }
}

}  // namespace SPLADERT_ISA
}  // namespace spladert
