// Whether other work keeps a call's threads from their cores. Then fewer threads are faster: they meet many times a
// call, and a core of which a foreign process takes half makes all of them half as fast.
#pragma once
#include <algorithm>

namespace spladert {

class Crowding {
 public:
  // Threads that the next call may take of `most`; all of them now and then, to see whether the others have gone.
  int width(int most) const { return narrow_ > 0 ? std::min(most, allowed_) : most; }

  // After a call of `microseconds` on `width` threads, from whose cores others pushed `pushed` of them for a good part
  // of it. Twice in a row, for once is a passing thing.
  void seen(int width, int pushed, double microseconds) {
    if (narrow_ > 0) {
      narrow_ -= microseconds;
    } else if (width == 1) {
      return;
    } else if (pushed == 0) {
      strikes_ = 0;
      span_ = kFirstSpan;
    } else if (++strikes_ >= 2) {
      strikes_ = 1;  // the next look decides alone
      allowed_ = std::max(1, width - pushed);
      narrow_ = span_;
      span_ = std::min(2 * span_, kLongestSpan);
    }
  }

 private:
  // Microseconds of narrow calls between two looks, first and at most. In time and not in calls: a crowded look costs
  // short calls the most, and long ones lose the most when they stay narrow after the others have gone.
  static constexpr double kFirstSpan = 10'000, kLongestSpan = 160'000;
  double narrow_ = 0, span_ = kFirstSpan;
  int allowed_ = 1, strikes_ = 0;
};

}  // namespace spladert
