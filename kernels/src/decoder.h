// After the decoder's product: logits of a text from the greatest sums, and the winners' logits once more, exactly.
#pragma once
#include "norm.h"
#include "select.h"

namespace spladert {
namespace SPLADERT_ISA {

// The k ids with the greatest logits. `logits` has room for the padded vocabulary and a maximum a chunk.
static void choose_winners(const Model& model, const int32_t* maxima, int top_k, float* logits, int32_t* winners) {
  const Product& decoder = model.decoder;
  const int padded = decoder.blocks * kBlock, chunks = padded / kBlock;
  float* chunk_maxima = logits + padded;
  for (int c = 0; c < chunks; c++) {
    Floats top = all(kLowest);
    for (int i = c * kBlock; i < (c + 1) * kBlock; i += kWidth) {
      Floats y = multiply_add(to_floats(load(maxima + i)), load(decoder.multiplier + i), load(decoder.offset + i));
      y = maximum(y, all(kLowest));  // no NaN reaches a comparison
      store(logits + i, y);
      top = maximum(top, y);
    }
    chunk_maxima[c] = reduce_maximum(top);
  }
  select_greatest(logits, chunk_maxima, model.vocabulary, kBlock, top_k, winners);
}

// Four rows by T tokens: enough chains of sums to hide their latency.
template <int T>
static inline void greatest_products(const float* rows, const float* x, int hidden, float* best) {
  Floats acc[4][T];
  for (int a = 0; a < 4; a++)
    for (int t = 0; t < T; t++) acc[a][t] = all(0.f);
  for (int i = 0; i < hidden; i += kWidth) {
    Floats token[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) token[t] = load(x + static_cast<size_t>(t) * hidden + i);
#pragma GCC unroll 4
    for (int a = 0; a < 4; a++) {
      const Floats row = load(rows + a * hidden + i);
#pragma GCC unroll 4
      for (int t = 0; t < T; t++) acc[a][t] = multiply_add(row, token[t], acc[a][t]);
    }
  }
  for (int a = 0; a < 4; a++)
    for (int t = 0; t < T; t++) {
      const float sum = reduce_sum(acc[a][t]);
      if (sum > best[a]) best[a] = sum;
    }
}

// Logits of the winners from float hidden states [tokens][hidden] and whole rows; `rows` has room for four of them.
static void rescore(const Model& model, const float* x, int tokens, const int32_t* winners, int count, float* rows,
                    float* scores) {
  constexpr int kTokens = SPLADERT_REGISTERS == 32 ? 4 : 2;
  const int hidden = model.hidden;
  for (int j = 0; j < count; j += 4) {
    float best[4] = {kLowest, kLowest, kLowest, kLowest};
    for (int a = 0; a < 4; a++) {
      const size_t row = winners[smaller(j + a, count - 1)];
      if (j + 4 + a < count) {
        const size_t next = winners[j + 4 + a];
        prefetch(reinterpret_cast<const char*>(model.decoder_high) + next * hidden, hidden / 64);
        prefetch(reinterpret_cast<const char*>(model.decoder_low) + next * hidden, hidden / 64);
      }
      vocabulary_row(model.decoder_high + row * hidden, model.decoder_low + row * hidden, 1.f, hidden,
                     rows + a * hidden);
    }
    int t = 0;
    for (; t + kTokens <= tokens; t += kTokens)
      greatest_products<kTokens>(rows, x + static_cast<size_t>(t) * hidden, hidden, best);
    for (; t < tokens; t++) greatest_products<1>(rows, x + static_cast<size_t>(t) * hidden, hidden, best);
    for (int a = 0; a < 4 && j + a < count; a++) {
      const int32_t winner = winners[j + a];
      const float y = best[a] * model.decoder_scale[winner] + model.decoder_bias[winner];
      scores[j + a] = y > kLowest ? y : kLowest;
    }
  }
}

}  // namespace SPLADERT_ISA
}  // namespace spladert
