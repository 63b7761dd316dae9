// Embedding and layer normalization, a row at a time. The hidden size is a multiple of 64: four vectors at least.
#pragma once
#include "vector.h"

namespace spladert {
namespace SPLADERT_ISA {

// Normalizes a row of the residual stream into what the next product reads; `keep`: into the stream too.
static inline void norm_row(float* x, int hidden, const Norm& norm, const Destination& out, int row, bool keep) {
  Floats scale = all(1.f), shift = all(0.f);  // a stream that is not normalized is only quantized
  if (norm.weight) {
    constexpr int kChains = 4;  // of dependent additions, to hide their latency
    Floats sums[kChains];
    for (int j = 0; j < kChains; j++) sums[j] = all(0.f);
    for (int i = 0; i < hidden; i += kChains * kWidth)
#pragma GCC unroll 4
      for (int j = 0; j < kChains; j++) sums[j] = sums[j] + load(x + i + j * kWidth);
    const float mean = reduce_sum((sums[0] + sums[1]) + (sums[2] + sums[3])) / static_cast<float>(hidden);
    for (int j = 0; j < kChains; j++) sums[j] = all(0.f);
    for (int i = 0; i < hidden; i += kChains * kWidth)
#pragma GCC unroll 4
      for (int j = 0; j < kChains; j++) {
        const Floats d = load(x + i + j * kWidth) - all(mean);
        sums[j] = multiply_add(d, d, sums[j]);
      }
    const float variance = reduce_sum((sums[0] + sums[1]) + (sums[2] + sums[3])) / static_cast<float>(hidden);
    const float inverse = 1.f / __builtin_sqrtf(variance + norm.epsilon);
    scale = all(inverse), shift = all(-mean * inverse);
  }
  for (int i = 0; i < hidden; i += kWidth) {
    Floats y = load(x + i);
    if (norm.weight) y = multiply_add(y, scale, shift) * load(norm.weight + i);
    if (norm.bias) y = y + load(norm.bias + i);
    if (keep) store(x + i, y);
    out.put(row, i, y);
  }
}

// scale * (high + low / 256), the row of a token.
static inline void vocabulary_row(const int8_t* high, const int8_t* low, float scale, int hidden, float* out) {
  for (int i = 0; i < hidden; i += kWidth)
    store(out + i, multiply_add(load_bytes(low + i), all(1.f / 256), load_bytes(high + i)) * all(scale));
}

static inline void embed(const Model& model, int token, int position, float* x) {
  const int hidden = model.hidden;
  const size_t at = static_cast<size_t>(token) * hidden;
  vocabulary_row(model.word_high + at, model.word_low + at, model.word_scale[token], hidden, x);
  const float* place = model.position ? model.position + static_cast<size_t>(position) * hidden : nullptr;
  for (int i = 0; i < hidden; i += kWidth) {
    if (model.token_type) store(x + i, load(x + i) + load(model.token_type + i));
    if (place) store(x + i, load(x + i) + load(place + i));
  }
}

}  // namespace SPLADERT_ISA
}  // namespace spladert
