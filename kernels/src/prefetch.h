// Fetching a product's weights ahead of their use.
#pragma once
#include "vector.h"

namespace spladert {
namespace SPLADERT_ISA {

// Weights are read once a call from beyond the caches. While a block is multiplied, its successor (the next product's
// first block after the last) is fetched into the second level, a few lines at each step of the inner dimension.
struct Prefetch {
  const char *at, *end;
  int lines;  // a step

  Prefetch(const Product& product, int block, int last, const char* next, int steps) {
    const size_t bytes = static_cast<size_t>(product.inner) * kBlock;
    at = block + 1 < last ? reinterpret_cast<const char*>(product.weight) + (block + 1) * bytes : next;
    end = at ? at + bytes : nullptr;
    lines = at ? static_cast<int>((bytes / 64 + steps - 1) / steps) : 0;
  }
  inline void step() {
    if (at < end) prefetch(at, lines);
    at += lines * 64;
  }
};

}  // namespace SPLADERT_ISA
}  // namespace spladert
