// Prints the threads that each call of four takes; the microseconds of a call, and an argument a call: how many of
// them were pushed aside.
#include <cstdio>
#include <cstdlib>

#include "crowding.h"

int main(int count, char** pushed) {
  spladert::Crowding crowding;
  const double microseconds = std::atof(pushed[1]);
  for (int call = 2; call < count; call++) {
    const int width = crowding.width(4);
    std::printf("%d ", width);
    crowding.seen(width, width == 4 ? std::atoi(pushed[call]) : 0, microseconds);
  }
}
