// Vectors of the instruction set that this file is compiled for, and what the stages compute with them.
//
// Only plain functions of this namespace, nothing of the standard library that might be emitted as a shared symbol: the
// linker could take a copy with AVX-512 instructions for code that runs on every CPU. Products and sums are contracted
// where it says multiply_add and nowhere else (-ffp-contract=off): a row must not depend on how a loop was unrolled.
#pragma once
#include <cstdint>
#include <cstring>

#include "types.h"
#ifdef __aarch64__
#include "vector_neon.h"
#else
#include "vector_x86.h"
#endif

namespace spladert {
namespace SPLADERT_ISA {

constexpr float kLowest = -3.4028235e38f;

static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }

// 2^x for x up to 0, never below the smallest normal number; relative error 2e-6, far below a step of uint8.
static inline Floats power_of_two(Floats x) {
  x = maximum(x, all(-126.f));
  const Floats n = round_even(x), f = x - n;
  Floats p = all(1.3333558e-3f);  // ln(2)^k / k!
  p = multiply_add(p, f, all(9.6181291e-3f));
  p = multiply_add(p, f, all(5.5504109e-2f));
  p = multiply_add(p, f, all(2.4022651e-1f));
  p = multiply_add(p, f, all(6.9314718e-1f));
  p = multiply_add(p, f, all(1.f));
  return scale_by_power(p, n);
}

// x * Phi(x), Phi(x) = 1/2 + x * p(x * x) with p of degree 9, fitted over |x| <= 4.5 at Chebyshev points (weighted by
// x).
static inline Floats gelu(Floats x) {
  static const float coefficients[10] = {1.569060637e-01f, -7.718508245e-02f, 5.463610127e-02f, -4.024615529e-02f,
                                         2.886919337e-02f, -1.845850797e-02f, 9.626351572e-03f, -6.091541915e-03f,
                                         4.980802232e-03f, -1.927613967e-03f};
  x = maximum(x, all(-4.5f));  // below, it is -2e-5 and less
  const Floats t = minimum(x, all(4.5f));
  const Floats u = multiply_add(t * t, all(2.f / 20.25f), all(-1.f));
  Floats p = all(coefficients[9]);
#pragma GCC unroll 9
  for (int i = 8; i >= 0; i--) p = multiply_add(p, u, all(coefficients[i]));
  return x * multiply_add(p, t, all(.5f));
}

static inline Floats activate(Floats x, int activation) {
  return activation == SPLADERT_GELU ? gelu(x) : maximum(x, all(0.f));
}

// `lines` cache lines from p on, into the second level.
static inline void prefetch(const char* p, int lines) {
  for (int i = 0; i < lines; i++) __builtin_prefetch(p + i * 64, 0, 2);
}

// Where (row, column) of a quantized activation of a width (padded to kDepth) lies.
static inline uint8_t* place(uint8_t* a, int row, int column, int width) {
#if SPLADERT_LEVEL == 3
  return a + tile_place(row, column, width);
#else
  return a + static_cast<size_t>(row) * width + column;
#endif
}

// Where a stage writes the activation that the next product reads.
struct Destination {
  uint8_t* bytes;
  float* floats;  // in place of bytes, for a product that stays float
  int width;      // padded to kDepth
  Floats inverse_scale, zero_point;

  Destination(uint8_t* bytes, float* floats, int width, const Quantization& to)
      : bytes(bytes),
        floats(to.is_float ? floats : nullptr),
        width(width),
        inverse_scale(all(to.inverse_scale)),
        zero_point(all(to.zero_point)) {}

  inline void put(int row, int column, Floats y) const {
    if (floats) {
      store(floats + static_cast<size_t>(row) * width + column, y);
    } else {
      store_bytes(place(bytes, row, column, width), multiply_add(y, inverse_scale, zero_point));
    }
  }
};

}  // namespace SPLADERT_ISA
}  // namespace spladert
