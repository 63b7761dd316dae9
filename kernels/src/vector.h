// Vectors of the instruction set that this file is compiled for: SPLADERT_LEVEL 3 AMX, 2 AVX512-VNNI, 1 AVX-VNNI, 0
// AVX2.
//
// Only plain functions of this namespace, nothing of the standard library that might be emitted as a shared symbol: the
// linker could take a copy with AVX-512 instructions for code that runs on every CPU. Products and sums are contracted
// where it says multiply_add and nowhere else (-ffp-contract=off): a row must not depend on how a loop was unrolled.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "types.h"

namespace spladert {
namespace SPLADERT_ISA {

constexpr float kLowest = -3.4028235e38f;

static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }

#if SPLADERT_LEVEL >= 2

using Floats = __m512;
using Ints = __m512i;
constexpr int kWidth = 16;

static inline Floats load(const float* p) { return _mm512_loadu_ps(p); }
static inline Ints load(const int32_t* p) { return _mm512_loadu_si512(p); }
static inline void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
static inline void store(int32_t* p, Ints v) { _mm512_storeu_si512(p, v); }
static inline Floats all(float x) { return _mm512_set1_ps(x); }
static inline Ints all(int32_t x) { return _mm512_set1_epi32(x); }
static inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
static inline Floats maximum(Floats a, Floats b) { return _mm512_max_ps(a, b); }  // of a NaN and b: b
static inline Floats minimum(Floats a, Floats b) { return _mm512_min_ps(a, b); }
static inline Ints maximum(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
static inline Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }
static inline Floats load_bytes(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
static inline float reduce_maximum(Floats v) { return _mm512_reduce_max_ps(v); }
static inline float reduce_sum(Floats v) { return _mm512_reduce_add_ps(v); }
// Rounded to the nearest even, cut to 0..255.
static inline void store_bytes(uint8_t* p, Floats v) {
  Ints q = _mm512_max_epi32(_mm512_cvtps_epi32(v), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(q));
}
static inline Floats round_even(Floats v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT); }
static inline Floats scale_by_power(Floats v, Floats n) { return _mm512_scalef_ps(v, n); }  // v * 2^n

#else

using Floats = __m256;
using Ints = __m256i;
constexpr int kWidth = 8;

static inline Floats load(const float* p) { return _mm256_loadu_ps(p); }
static inline Ints load(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const Ints*>(p)); }
static inline void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
static inline void store(int32_t* p, Ints v) { _mm256_storeu_si256(reinterpret_cast<Ints*>(p), v); }
static inline Floats all(float x) { return _mm256_set1_ps(x); }
static inline Ints all(int32_t x) { return _mm256_set1_epi32(x); }
static inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
static inline Floats maximum(Floats a, Floats b) { return _mm256_max_ps(a, b); }  // of a NaN and b: b
static inline Floats minimum(Floats a, Floats b) { return _mm256_min_ps(a, b); }
static inline Ints maximum(Ints a, Ints b) { return _mm256_max_epi32(a, b); }
static inline Floats to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }
static inline Floats load_bytes(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
static inline float reduce_maximum(Floats v) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}
static inline float reduce_sum(Floats v) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
// Rounded to the nearest even, cut to 0..255.
static inline void store_bytes(uint8_t* p, Floats v) {
  Ints q = _mm256_cvtps_epi32(v);
  __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
static inline Floats round_even(Floats v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline Floats scale_by_power(Floats v, Floats n) {  // v * 2^n, n of at least -126
  Ints exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return v * _mm256_castsi256_ps(exponent);
}

#endif

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
  for (int i = 0; i < lines; i++) _mm_prefetch(p + i * 64, _MM_HINT_T1);
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
