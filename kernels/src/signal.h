// How threads wait for each other: a moment of spinning, then sleep in the kernel (a futex), so that a foreign process
// on a thread's core costs no more than the core's share. Nothing else of the standard library: see vector.h.
#pragma once
#include <atomic>
#include <cstdint>

namespace spladert {

// A word that threads wait on.
class Signal {
 public:
  // Returns once the value is no longer `old`: spins for `spin` ticks of clock.h, then sleeps.
  uint32_t wait_while(uint32_t old, uint64_t spin);
  void set(uint32_t value);
  uint32_t get() const { return value_.load(std::memory_order_acquire); }

 private:
  alignas(64) std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
};

// The threads of a group meet here; reusable.
struct Barrier {
  Barrier(int threads, uint64_t spin) : threads(threads), spin(spin) {}
  void wait();

  const int threads;
  const uint64_t spin;
  alignas(64) std::atomic<int> arrived{0};
  Signal generation;
};

}  // namespace spladert
