// Vectors of x86-64: SPLADERT_LEVEL 3 AMX, 2 AVX512-VNNI, 1 AVX-VNNI, 0 AVX2. See vector.h.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace spladert {
namespace SPLADERT_ISA {

constexpr bool kNeeds7Bits = SPLADERT_LEVEL == 0;  // pairs of products are added in 16 bits

#if SPLADERT_LEVEL >= 2

using Floats = __m512;
using Ints = __m512i;
constexpr int kWidth = 16;
#define SPLADERT_REGISTERS 32

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
#define SPLADERT_REGISTERS 16

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

constexpr int kSquare = 8;

static inline void transpose(const float* from, int stride, float* to, int to_stride) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(from + static_cast<size_t>(i) * stride);
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; i++) {
    r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(to + static_cast<size_t>(i) * to_stride, _mm256_permute2f128_ps(r[i], r[4 + i], 0x20));
    _mm256_storeu_ps(to + static_cast<size_t>(4 + i) * to_stride, _mm256_permute2f128_ps(r[i], r[4 + i], 0x31));
  }
}

}  // namespace SPLADERT_ISA
}  // namespace spladert
