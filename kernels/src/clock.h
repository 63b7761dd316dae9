// How long a thread has spun: a counter that costs next to nothing to read.
#pragma once
#include <cstdint>
#ifndef __aarch64__
#include <x86intrin.h>
#endif

namespace spladert {

#ifdef __aarch64__

inline uint64_t ticks() {
  uint64_t now;
  asm volatile("mrs %0, cntvct_el0" : "=r"(now));
  return now;
}
inline uint64_t ticks_per_microsecond() {  // 24 to 1,000
  uint64_t a_second;
  asm volatile("mrs %0, cntfrq_el0" : "=r"(a_second));
  return a_second / 1000000;
}
inline void pause_spinning() { asm volatile("isb"); }  // where "yield" does nothing, which is on most cores

#else

inline uint64_t ticks() { return __rdtsc(); }
inline uint64_t ticks_per_microsecond() { return 2500; }  // near enough for a time to spin
inline void pause_spinning() { _mm_pause(); }

#endif

}  // namespace spladert
