// Packing linear layers into the layout of `Product`.
#pragma once
#include <vector>

#include "types.h"

namespace spladert {

// Where 16 columns of a packed product come from; `count` of them, the rest are zero.
struct ColumnGroup {
  const spladert_linear* linear;
  int columns;  // of the linear layer
  int first, count;
  float factor;  // what the result is multiplied by
};

// A product and where its blocks of two column groups come from.
struct Packing {
  Product* product;
  std::vector<ColumnGroup> groups;
  int inner;        // before padding
  bool by_columns;  // the weight lies [columns, inner], as the decoder's
  spladert_quantization input;
};

// Bytes of the packed weights and of the arrays of numbers a column.
size_t packed_bytes(const Packing& packing);

// Packs into `memory`, aligned to 64 bytes. Returns the greatest absolute weight, 0 for float.
int pack(const Packing& packing, char* memory);

// The columns of a linear layer in order, or of two, 16 of each in turn.
std::vector<ColumnGroup> columns_of(const spladert_linear& linear, int columns);
std::vector<ColumnGroup> interleaved(const spladert_linear& first, const spladert_linear& second, int columns);
// Heads one after the other, each its query, key and value; see StoreQkv for the order of a query's columns.
std::vector<ColumnGroup> by_heads(const spladert_layer& layer, int heads, int head_size);

}  // namespace spladert
