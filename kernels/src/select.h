// Choosing and ordering a text's entries: plain C++, the same for every instruction set.
#pragma once
#include <cstdint>

namespace spladert {

// Ids of the k greatest of `values`, in no order; equal values: the smaller id. `chunk_maxima` holds the greatest of
// each `chunk` values in a row, the last chunk padded with values that are ignored.
void select_greatest(const float* values, const float* chunk_maxima, int count, int chunk, int k, int32_t* ids);

// Winners by falling score (equal: by id), with the weights log(1 + relu(score)).
void sort_winners(const int32_t* winners, const float* scores, int k, int32_t* indices, float* values);

}  // namespace spladert
