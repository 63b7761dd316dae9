// Attention of one head of one text: softmax(q k^T) v, quantized for the output projection. Queries go in blocks, each
// against all keys or, in a sliding window, those that some query of the block reaches: no [length, length] of scores
// exists, and a block's share of work does not grow with the text. Queries come scaled by log2(e) too, for 2^x.
#pragma once
#include "product.h"

namespace spladert {
namespace SPLADERT_ISA {

// Keys [from, to) that query `row` of a text attends to.
struct Span {
  int from, to;
  Span(int row, int length, int window)
      : from(window ? larger(0, row - window) : 0), to(window ? smaller(length, row + window + 1) : length) {}
};

// Softmax's exponentials of scores [from, to), zero elsewhere in [0, vectors * kWidth); returns 1 / their sum.
// Zero, not the exponential of a small number: products with denormal numbers are slow.
static inline float exponentials(float* x, int from, int to, int vectors) {
  const int first = from / kWidth, last = (to + kWidth - 1) / kWidth;
  for (int j = first * kWidth; j < from; j++) x[j] = kLowest;
  for (int j = to; j < last * kWidth; j++) x[j] = kLowest;
  Floats top = all(kLowest), sum = all(0.f);
  for (int j = first; j < last; j++) top = maximum(top, load(x + j * kWidth));
  top = all(reduce_maximum(top));
  for (int j = first; j < last; j++) store(x + j * kWidth, power_of_two(load(x + j * kWidth) - top));
  for (int j = 0; j < from; j++) x[j] = 0;
  for (int j = to; j < vectors * kWidth; j++) x[j] = 0;
  for (int j = first; j < last; j++) sum = sum + load(x + j * kWidth);
  return 1.f / reduce_sum(sum);
}

#if SPLADERT_LEVEL == 3

constexpr int kQueries = 16;  // a tile's rows

// Scratch: keys in tiles [length / 16][head_size / 32][1024 bytes], values in tiles [length / 32][head_size / 16][1024
// bytes], then scores [16][length] and the result [16][head_size] in float, and probabilities [16][length] in bfloat16.
static size_t attention_floats(int length, int head_size) {
  const size_t padded = round_up(length, 32);
  return padded * head_size + kQueries * (padded + head_size + padded / 2);
}

// 16 x 16 words of 32 bits: keys become the right-hand tile, pairs of k along a row.
static inline void transpose(const Element* from, int stride, char* to) {
  __m512i r[16], t[16];
  for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(from + static_cast<size_t>(i) * stride);
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    _mm512_store_si512(to + 64 * i, _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88));
    _mm512_store_si512(to + 64 * (8 + i), _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd));
    _mm512_store_si512(to + 64 * (4 + i), _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88));
    _mm512_store_si512(to + 64 * (12 + i), _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd));
  }
}

// Two rows of values, their elements side by side in pairs: the right-hand tile of probabilities x values.
static inline void pair_rows(const Element* v, int stride, int row, int length, int head_size, char* tiles) {
  alignas(64) static const uint16_t order[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(order), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  const Element* p = v + static_cast<size_t>(row) * stride;
  for (int part = 0; part < head_size / 32; part++) {
    const __m512i a = row < length ? _mm512_loadu_si512(p + part * 32) : _mm512_setzero_si512();
    const __m512i b = row + 1 < length ? _mm512_loadu_si512(p + stride + part * 32) : _mm512_setzero_si512();
    char* to = tiles + part * 2048 + (row % 32) * 32;
    _mm512_store_si512(to, _mm512_permutex2var_epi16(a, low, b));
    _mm512_store_si512(to + 1024, _mm512_permutex2var_epi16(a, high, b));
  }
}

static void attention(const Element* qkv, int length, int head_size, int window, float* scratch, const Destination& out,
                      int row0, int column0) {
  const int stride = 3 * head_size, parts = head_size / 32, padded = round_up(length, 32);
  char* key_tiles = reinterpret_cast<char*>(scratch);
  char* value_tiles = key_tiles + static_cast<size_t>(padded) * head_size * 2;
  float* scores = reinterpret_cast<float*>(value_tiles + static_cast<size_t>(padded) * head_size * 2);
  float* result = scores + static_cast<size_t>(kQueries) * padded;
  Element* probabilities = reinterpret_cast<Element*>(result + kQueries * head_size);
  for (int t = 0; t * 16 < length; t++)
    for (int part = 0; part < parts; part++)
      transpose(qkv + static_cast<size_t>(t) * 16 * stride + head_size + part * 32, stride,
                key_tiles + (t * parts + part) * 1024);
  for (int row = 0; row < padded; row += 2)
    pair_rows(qkv + 2 * head_size, stride, row, length, head_size,
              value_tiles + static_cast<size_t>(row / 32) * parts * 2048);
  for (int q0 = 0; q0 < length; q0 += kQueries) {
    const int queries = smaller(kQueries, length - q0);
    const Span reach(q0, length, window), last(q0 + queries - 1, length, window);
    const int base = reach.from & ~31, pairs = (last.to - base + 31) / 32;  // keys from an even tile on
    const Element* q = qkv + static_cast<size_t>(q0) * stride;
    for (int t = base / 16; t * 16 < last.to; t++) {
      tile_zero<0>();
      for (int part = 0; part < parts; part++) {
        tile_load<4>(q + part * 32, stride * 2);
        tile_load<6>(key_tiles + (t * parts + part) * 1024, 64);
        tile_dot_bfloat16<0, 4, 6>();
      }
      tile_store<0>(scores + t * 16 - base, padded * 4);
    }
    float inverse[kQueries];
    for (int r = 0; r < queries; r++) {
      const Span span(q0 + r, length, window);
      float* x = scores + static_cast<size_t>(r) * padded;
      inverse[r] = exponentials(x, span.from - base, span.to - base, pairs * 2);
      for (int u = 0; u < pairs; u++)
        _mm512_storeu_si512(probabilities + static_cast<size_t>(r) * padded + u * 32,
                            (__m512i)_mm512_cvtne2ps_pbh(load(x + u * 32 + 16), load(x + u * 32)));
    }
    for (int part = 0; part < parts; part++) {
      tile_zero<0>();
      tile_zero<1>();
      for (int u = 0; u < pairs; u++) {
        const char* v = value_tiles + static_cast<size_t>((base / 32 + u) * parts + part) * 2048;
        tile_load<4>(probabilities + u * 32, padded * 2);
        tile_load<6>(v, 64);
        tile_dot_bfloat16<0, 4, 6>();
        tile_load<7>(v + 1024, 64);
        tile_dot_bfloat16<1, 4, 7>();
      }
      tile_store<0>(result + part * 32, head_size * 4);
      tile_store<1>(result + part * 32 + 16, head_size * 4);
    }
    for (int r = 0; r < queries; r++)
      for (int d = 0; d < head_size; d += kWidth)
        out.put(row0 + q0 + r, column0 + d, load(result + r * head_size + d) * all(inverse[r]));
  }
}

static void convert(const float* from, size_t n, char* to) {  // n a multiple of 32
  for (size_t i = 0; i < n; i += 32)
    _mm512_storeu_si512(to + 2 * i, (__m512i)_mm512_cvtne2ps_pbh(load(from + i + 16), load(from + i)));
}

#else

constexpr int kQueries = 64;  // scores of a block and of 64 keys are 16 KiB

// Scratch: keys transposed [head_size][length], scores [64][length] and the result [64][head_size].
static size_t attention_floats(int length, int head_size) {
  const size_t padded = round_up(length, 16) + 16;
  return padded * head_size + kQueries * (padded + head_size);
}

static void attention(const Element* qkv, int length, int head_size, int window, float* scratch, const Destination& out,
                      int row0, int column0) {
  const int stride = 3 * head_size, padded = round_up(length, 16) + 16;
  float* keys = scratch;
  float* scores = keys + static_cast<size_t>(padded) * head_size;
  float* result = scores + static_cast<size_t>(kQueries) * padded;
  for (int j = 0; j < length; j += kSquare)
    for (int d = 0; d < head_size; d += kSquare)
      transpose(qkv + static_cast<size_t>(j) * stride + head_size + d, stride,
                keys + static_cast<size_t>(d) * padded + j, padded);
  for (int d = 0; d < head_size; d++)
    for (int j = length; j < padded; j++) keys[static_cast<size_t>(d) * padded + j] = 0;
  for (int q0 = 0; q0 < length; q0 += kQueries) {
    const int queries = smaller(kQueries, length - q0);
    const Span reach(q0, length, window), last(q0 + queries - 1, length, window);
    const int base = reach.from & ~15, count = last.to - base, vectors = (count + kWidth - 1) / kWidth;
    float_matrix(qkv + static_cast<size_t>(q0) * stride, stride, queries, keys + base, padded, head_size, scores,
                 padded, vectors);
    float inverse[kQueries];
    for (int r = 0; r < queries; r++) {
      const Span span(q0 + r, length, window);
      inverse[r] = exponentials(scores + static_cast<size_t>(r) * padded, span.from - base, span.to - base, vectors);
    }
    float_matrix(scores, padded, queries, qkv + static_cast<size_t>(base) * stride + 2 * head_size, stride, count,
                 result, head_size, head_size / kWidth);
    for (int r = 0; r < queries; r++)
      for (int d = 0; d < head_size; d += kWidth)
        out.put(row0 + q0 + r, column0 + d, load(result + r * head_size + d) * all(inverse[r]));
  }
}

static void convert(const float* from, size_t n, char* to) { memcpy(to, from, n * 4); }

#endif

}  // namespace SPLADERT_ISA
}  // namespace spladert
