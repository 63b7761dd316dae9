#include "select.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

namespace spladert {
namespace {

using Entry = std::pair<float, int32_t>;

bool better(const Entry& a, const Entry& b) { return a.first > b.first || (a.first == b.first && a.second < b.second); }

}  // namespace

void select_greatest(const float* values, const float* chunk_maxima, int count, int chunk, int k, int32_t* ids) {
  const int chunks = (count + chunk - 1) / chunk, whole = count / chunk;
  // The k-th greatest maximum of a chunk is reached by at least k values: no winner is below it.
  float threshold = -INFINITY;
  if (whole > k) {
    std::vector<float> maxima(chunk_maxima, chunk_maxima + whole);
    std::nth_element(maxima.begin(), maxima.begin() + (k - 1), maxima.end(), std::greater<float>());
    threshold = maxima[k - 1];
  }
  std::vector<Entry> candidates;
  candidates.reserve(static_cast<size_t>(k) * 2);
  for (int c = 0; c < chunks; c++) {
    if (chunk_maxima[c] < threshold) continue;
    for (int i = c * chunk; i < std::min(count, (c + 1) * chunk); i++)
      if (values[i] >= threshold) candidates.emplace_back(values[i], i);
  }
  if (static_cast<int>(candidates.size()) > k)
    std::nth_element(candidates.begin(), candidates.begin() + (k - 1), candidates.end(), better);
  for (int i = 0; i < k; i++) ids[i] = candidates[i].second;
}

void sort_winners(const int32_t* winners, const float* scores, int k, int32_t* indices, float* values) {
  std::vector<Entry> entries(k);
  for (int i = 0; i < k; i++) entries[i] = {scores[i], winners[i]};
  std::sort(entries.begin(), entries.end(), better);
  for (int i = 0; i < k; i++) {
    indices[i] = entries[i].second;
    values[i] = std::log1p(std::max(0.f, entries[i].first));
  }
}

}  // namespace spladert
