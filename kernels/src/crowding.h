// Whether other work keeps a call's threads from their cores. Then fewer threads are faster: they meet many times a
// call, and a core of which a foreign process takes half makes all of them half as fast.
#pragma once
#include <algorithm>

namespace spladert {

class Crowding {
 public:
  // Threads that the next call may take of `most`; all of them now and then, to see whether the others have gone.
  int width(int most) const { return narrow_calls_ > 0 ? std::min(most, allowed_) : most; }

  // After a call on `width` threads, from whose cores others pushed `pushed` of them for a good part of it. Twice in a
  // row, for once is a passing thing.
  void seen(int width, int pushed) {
    if (narrow_calls_ > 0) {
      narrow_calls_--;
    } else if (width == 1) {
      return;
    } else if (pushed == 0) {
      strikes_ = 0;
      span_ = kFirstSpan;
    } else if (++strikes_ >= 2) {
      strikes_ = 1;  // the next look decides alone
      allowed_ = std::max(1, width - pushed);
      narrow_calls_ = span_;
      span_ = std::min(2 * span_, kLongestSpan);
    }
  }

 private:
  static constexpr int kFirstSpan = 8, kLongestSpan = 128;  // calls between two looks: one in 8 slow, then fewer
  int allowed_ = 1, narrow_calls_ = 0, span_ = kFirstSpan, strikes_ = 0;
};

}  // namespace spladert
