// Registers of 16 signed bytes that every CPU of the processor's family has (SSE2, NEON), for packing.
#pragma once
#include <cstdint>

#include "types.h"
#ifdef __aarch64__
#include <arm_neon.h>
#else
#include <emmintrin.h>
#endif

namespace spladert {

#ifdef __aarch64__

using Bytes = int8x16_t;

inline Bytes no_bytes() { return vdupq_n_s8(0); }
inline Bytes load_bytes(const int8_t* from) { return vld1q_s8(from); }

// Four rows of 16 columns as one line of 16 columns by 4.
inline void store_line(const Bytes (&rows)[4], int8_t* to) {
  const int8x16x4_t line = {{rows[0], rows[1], rows[2], rows[3]}};
  vst4q_s8(to, line);
}

// Sums of each column, in 16 bits.
class ByteSums {
 public:
  void add(Bytes row) { low_ = vaddw_s8(low_, vget_low_s8(row)), high_ = vaddw_high_s8(high_, row); }
  void store(int16_t* to) const { vst1q_s16(to, low_), vst1q_s16(to + 8, high_); }

 private:
  int16x8_t low_ = vdupq_n_s16(0), high_ = vdupq_n_s16(0);
};

// The greatest absolute value.
class GreatestByte {
 public:
  void add(Bytes row) { most_ = vmaxq_u8(most_, vreinterpretq_u8_s8(vabsq_s8(row))); }  // of -128: 128, unsigned
  int get() const { return vmaxvq_u8(most_); }

 private:
  uint8x16_t most_ = vdupq_n_u8(0);
};

#else

using Bytes = __m128i;

inline Bytes no_bytes() { return _mm_setzero_si128(); }
inline Bytes load_bytes(const int8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }

// Four rows of 16 columns as one line of 16 columns by 4.
inline void store_line(const Bytes (&rows)[4], int8_t* to) {
  const __m128i a = _mm_unpacklo_epi8(rows[0], rows[1]), b = _mm_unpackhi_epi8(rows[0], rows[1]);
  const __m128i c = _mm_unpacklo_epi8(rows[2], rows[3]), d = _mm_unpackhi_epi8(rows[2], rows[3]);
  __m128i* line = reinterpret_cast<__m128i*>(to);
  _mm_store_si128(line, _mm_unpacklo_epi16(a, c));
  _mm_store_si128(line + 1, _mm_unpackhi_epi16(a, c));
  _mm_store_si128(line + 2, _mm_unpacklo_epi16(b, d));
  _mm_store_si128(line + 3, _mm_unpackhi_epi16(b, d));
}

// Sums of each column, in 16 bits.
class ByteSums {
 public:
  void add(Bytes row) {
    low_ = _mm_add_epi16(low_, _mm_srai_epi16(_mm_unpacklo_epi8(row, row), 8));
    high_ = _mm_add_epi16(high_, _mm_srai_epi16(_mm_unpackhi_epi8(row, row), 8));
  }
  void store(int16_t* to) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), low_);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), high_);
  }

 private:
  __m128i low_ = _mm_setzero_si128(), high_ = _mm_setzero_si128();
};

// The greatest absolute value.
class GreatestByte {
 public:
  void add(Bytes row) {
    const __m128i shifted = _mm_xor_si128(row, _mm_set1_epi8(static_cast<char>(0x80)));  // SSE2 compares unsigned bytes
    most_ = _mm_max_epu8(most_, shifted), least_ = _mm_min_epu8(least_, shifted);
  }
  int get() const {
    uint8_t most[16], least[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(most), most_);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(least), least_);
    int greatest = 0;
    for (int i = 0; i < 16; i++) {
      if (most[i] - 128 > greatest) greatest = most[i] - 128;
      if (128 - least[i] > greatest) greatest = 128 - least[i];
    }
    return greatest;
  }

 private:
  __m128i most_ = _mm_setzero_si128(), least_ = _mm_set1_epi8(-1);  // of bytes + 128
};

#endif

}  // namespace spladert
