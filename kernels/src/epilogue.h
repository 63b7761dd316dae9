// What becomes of a block of a product's sums while it is still in the first-level cache. An epilogue is called with
// rows [from, to) of the 32 columns of block `block`; `sums` is [rows][32] and starts at row `row0` of the activation.
#pragma once
#include "vector.h"

namespace spladert {
namespace SPLADERT_ISA {

// y = multiplier * sum + offset of kWidth columns; the offset holds the bias and the zero point's share.
struct Dequantize {
  const float *multiplier, *offset;
  bool is_float;

  Dequantize(const Product& product, int block)
      : multiplier(product.multiplier + block * kBlock),
        offset(product.offset + block * kBlock),
        is_float(product.is_float) {}

  inline Floats operator()(const int32_t* row, int column) const {
    const Floats sum = is_float ? load(reinterpret_cast<const float*>(row) + column) : to_floats(load(row + column));
    return multiply_add(sum, load(multiplier + column), load(offset + column));
  }
};

#if SPLADERT_LEVEL == 3
using Element = uint16_t;  // of queries, keys and values: bfloat16, for the tiles
#else
using Element = float;
#endif

// Queries, keys and values, with the rotary embedding. Columns of a head are packed so that a block of 32 holds 16 of
// the first half and their 16 partners of the second: queries and keys lie permuted alike, which no product sees.
struct StoreQkv {
  const Product& product;
  char* out;
  size_t slot_bytes;  // 0: all heads in one place
  int head_size;
  const float *cos, *sin;
  const int32_t* positions;

  inline void rows(int row0, int from, int to, int block, const int32_t* sums) const {
    const int parts = head_size / kBlock, head = block / (3 * parts), j = block % (3 * parts), half = head_size / 2;
    const Dequantize y(product, block);
    const bool rotate = cos && j < 2 * parts;
    Element* slot = reinterpret_cast<Element*>(out + head * slot_bytes) + j * kBlock;
    for (int r = from; r < to; r++) {
      Element* o = slot + static_cast<size_t>(row0 + r) * 3 * head_size;
#pragma GCC unroll 2
      for (int s = 0; s < 16; s += kWidth) {
        Floats first = y(sums + r * kBlock, s), second = y(sums + r * kBlock, 16 + s);
        if (rotate) {
          const size_t at = static_cast<size_t>(positions[row0 + r]) * half + (j % parts) * 16 + s;
          const Floats c = load(cos + at), n = load(sin + at);
          const Floats turned = multiply_add(first, c, -(second * n));
          second = multiply_add(second, c, first * n);
          first = turned;
        }
#if SPLADERT_LEVEL == 3
        _mm512_storeu_si512(o, (__m512i)_mm512_cvtne2ps_pbh(second, first));
#else
        store(o + s, first);
        store(o + 16 + s, second);
#endif
      }
    }
  }
};

struct AddToHidden {  // the residual stream
  const Product& product;
  float* hidden;
  int width;

  inline void rows(int row0, int from, int to, int block, const int32_t* sums) const {
    const Dequantize y(product, block);
    for (int r = from; r < to; r++) {
      float* o = hidden + static_cast<size_t>(row0 + r) * width + block * kBlock;
#pragma GCC unroll 4
      for (int s = 0; s < kBlock; s += kWidth) store(o + s, load(o + s) + y(sums + r * kBlock, s));
    }
  }
};

struct ActivateToHidden {  // the head
  const Product& product;
  float* hidden;
  int width, activation;

  inline void rows(int row0, int from, int to, int block, const int32_t* sums) const {
    const Dequantize y(product, block);
    for (int r = from; r < to; r++) {
      float* o = hidden + static_cast<size_t>(row0 + r) * width + block * kBlock;
#pragma GCC unroll 4
      for (int s = 0; s < kBlock; s += kWidth) store(o + s, activate(y(sums + r * kBlock, s), activation));
    }
  }
};

struct GatedMlp {  // a block holds 16 columns of the gate and the 16 of the other half that they multiply
  const Product& product;
  const Destination& out;
  int activation;

  inline void rows(int row0, int from, int to, int block, const int32_t* sums) const {
    const Dequantize y(product, block);
    for (int r = from; r < to; r++)
#pragma GCC unroll 2
      for (int s = 0; s < 16; s += kWidth) {
        const Floats gate = activate(y(sums + r * kBlock, s), activation);
        out.put(row0 + r, block * 16 + s, gate * y(sums + r * kBlock, 16 + s));
      }
  }
};

struct PlainMlp {
  const Product& product;
  const Destination& out;
  int activation;

  inline void rows(int row0, int from, int to, int block, const int32_t* sums) const {
    const Dequantize y(product, block);
    for (int r = from; r < to; r++)
#pragma GCC unroll 4
      for (int s = 0; s < kBlock; s += kWidth)
        out.put(row0 + r, block * kBlock + s, activate(y(sums + r * kBlock, s), activation));
  }
};

// The decoder: the greatest sum over the tokens of each text. Scale and bias know no token and come after.
struct MaximumOverTokens {
  int32_t* maxima;
  const int32_t* text_of;
  size_t width;

  inline void rows(int row0, int from, int to, int block, const int32_t* sums) const {
    constexpr int kVectors = kBlock / kWidth;
    for (int r = from; r < to;) {
      const int text = text_of[row0 + r];
      int32_t* o = maxima + text * width + block * kBlock;
      Ints best[kVectors];
      for (int s = 0; s < kVectors; s++) best[s] = load(o + s * kWidth);
      for (; r < to && text_of[row0 + r] == text; r++)
        for (int s = 0; s < kVectors; s++) best[s] = maximum(best[s], load(sums + r * kBlock + s * kWidth));
      for (int s = 0; s < kVectors; s++) store(o + s * kWidth, best[s]);
    }
  }
};

struct StoreSums {  // for tests and measurements; float sums keep their bits
  int32_t* out;
  int width;  // 0: nothing is kept

  inline void rows(int row0, int from, int to, int block, const int32_t* sums) const {
    for (int r = from; width && r < to; r++)
      memcpy(out + static_cast<size_t>(row0 + r) * width + block * kBlock, sums + r * kBlock, kBlock * 4);
  }
};

}  // namespace SPLADERT_ISA
}  // namespace spladert
