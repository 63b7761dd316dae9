// Vectors of aarch64, 128 bits: SPLADERT_LEVEL 1 with dot products, 0 without. See vector.h.
#pragma once
#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace spladert {
namespace SPLADERT_ISA {

using Floats = float32x4_t;
using Ints = int32x4_t;
constexpr int kWidth = 4;
#define SPLADERT_REGISTERS 32
constexpr bool kNeeds7Bits = false;

static inline Floats load(const float* p) { return vld1q_f32(p); }
static inline Ints load(const int32_t* p) { return vld1q_s32(p); }
static inline void store(float* p, Floats v) { vst1q_f32(p, v); }
static inline void store(int32_t* p, Ints v) { vst1q_s32(p, v); }
static inline Floats all(float x) { return vdupq_n_f32(x); }
static inline Ints all(int32_t x) { return vdupq_n_s32(x); }
static inline Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
static inline Floats maximum(Floats a, Floats b) { return vmaxnmq_f32(a, b); }  // of a NaN and b: b
static inline Floats minimum(Floats a, Floats b) { return vminnmq_f32(a, b); }
static inline Ints maximum(Ints a, Ints b) { return vmaxq_s32(a, b); }
static inline Floats to_floats(Ints v) { return vcvtq_f32_s32(v); }
static inline Floats load_bytes(const int8_t* p) {
  int32_t four;
  memcpy(&four, p, 4);
  const int16x8_t words = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
}
static inline float reduce_maximum(Floats v) { return vmaxnmvq_f32(v); }
static inline float reduce_sum(Floats v) { return vaddvq_f32(v); }
// Rounded to the nearest even, cut to 0..255.
static inline void store_bytes(uint8_t* p, Floats v) {
  const uint16x4_t words = vqmovun_s32(vcvtnq_s32_f32(v));
  const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(vqmovn_u16(vcombine_u16(words, words))), 0);
  memcpy(p, &four, 4);
}
static inline Floats round_even(Floats v) { return vrndnq_f32(v); }
static inline Floats scale_by_power(Floats v, Floats n) {  // v * 2^n, n of at least -126
  return v * vreinterpretq_f32_s32(vshlq_n_s32(vcvtnq_s32_f32(n) + vdupq_n_s32(127), 23));
}

constexpr int kSquare = 4;

static inline void transpose(const float* from, int stride, float* to, int to_stride) {
  float64x2_t pairs[4];  // of floats: two rows, one below the other
  for (int i = 0; i < 4; i += 2) {
    const Floats upper = load(from + static_cast<size_t>(i) * stride);
    const Floats lower = load(from + static_cast<size_t>(i + 1) * stride);
    pairs[i] = vreinterpretq_f64_f32(vtrn1q_f32(upper, lower));
    pairs[i + 1] = vreinterpretq_f64_f32(vtrn2q_f32(upper, lower));
  }
  for (int i = 0; i < 2; i++) {
    store(to + static_cast<size_t>(i) * to_stride, vreinterpretq_f32_f64(vtrn1q_f64(pairs[i], pairs[i + 2])));
    store(to + static_cast<size_t>(i + 2) * to_stride, vreinterpretq_f32_f64(vtrn2q_f64(pairs[i], pairs[i + 2])));
  }
}

}  // namespace SPLADERT_ISA
}  // namespace spladert
