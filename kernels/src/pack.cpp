#include "pack.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "bytes.h"

namespace spladert {
namespace {

constexpr int kGroup = 16;  // columns
constexpr float kLog2E = 1.44269504f;

// Sums of 16 columns' weights and the greatest absolute weight, for the zero point and for 16-bit products.
struct Statistics {
  int32_t sums[kGroup] = {};
  int greatest = 0;

  void add(int column, int8_t weight) {
    sums[column] += weight;
    greatest = std::max(greatest, std::abs(static_cast<int>(weight)));
  }
};

// 16 columns of an int8 weight [inner, columns]: four rows at a time become one line of 16 columns by 4.
void pack_rows(const ColumnGroup& group, int inner, int8_t* to, Statistics& statistics) {
  const int8_t* from = static_cast<const int8_t*>(group.linear->weight) + group.first;
  GreatestByte greatest;
  for (int k = 0; k < inner;) {
    ByteSums column_sums;  // of 128 bytes at most
    for (const int end = std::min(inner, k + 128); k < end; k += 4) {
      Bytes r[4];
      for (int i = 0; i < 4; i++) {
        if (k + i >= inner) {
          r[i] = no_bytes();
        } else if (group.count == kGroup) {
          r[i] = load_bytes(from + static_cast<size_t>(k + i) * group.columns);
        } else {
          int8_t row[kGroup] = {};
          memcpy(row, from + static_cast<size_t>(k + i) * group.columns, group.count);
          r[i] = load_bytes(row);
        }
        column_sums.add(r[i]);
        greatest.add(r[i]);
      }
      store_line(r, to + (k / kDepth) * 2048 + (k % kDepth) * kGroup);
    }
    int16_t sums[kGroup];
    column_sums.store(sums);
    for (int c = 0; c < kGroup; c++) statistics.sums[c] += sums[c];
  }
  statistics.greatest = std::max(statistics.greatest, greatest.get());
}

// 16 columns of an int8 weight [columns, inner].
void pack_columns(const ColumnGroup& group, int inner, int8_t* to, Statistics& statistics) {
  const int8_t* from = static_cast<const int8_t*>(group.linear->weight) + static_cast<size_t>(group.first) * inner;
  for (int c = 0; c < group.count; c++) {
    const int8_t* column = from + static_cast<size_t>(c) * inner;
    int32_t sum = 0;
    int least = 0, most = 0;
    for (int k = 0; k < inner; k++) {
      sum += column[k];
      least = std::min<int>(least, column[k]);
      most = std::max<int>(most, column[k]);
    }
    statistics.sums[c] = sum;
    statistics.greatest = std::max({statistics.greatest, most, -least});
  }
  for (int k = 0; k < inner; k += 4)
    for (int c = 0; c < group.count; c++)
      memcpy(to + (k / kDepth) * 2048 + (k % kDepth) * kGroup + c * 4, from + static_cast<size_t>(c) * inner + k,
             std::min(4, inner - k));
}

}  // namespace

size_t packed_bytes(const Packing& packing) {
  const size_t blocks = (packing.groups.size() + 1) / 2;
  const bool is_float = packing.input.scale == 0;
  const size_t depth = is_float ? packing.inner * sizeof(float) : round_up(packing.inner, kDepth);
  const size_t start = !is_float && kSignedActivations ? sizeof(int32_t) : 0;
  return blocks * kBlock * (depth + 2 * sizeof(float) + start) + 192;
}

int pack(const Packing& packing, char* memory) {
  Product& product = *packing.product;
  const spladert_quantization& input = packing.input;
  product.is_float = input.scale == 0;
  product.input.is_float = product.is_float;
  product.input.inverse_scale = product.is_float ? 0 : 1 / input.scale;
  product.input.zero_point = static_cast<float>(input.zero_point);
  product.inner = product.is_float ? packing.inner : round_up(packing.inner, kDepth);
  product.blocks = static_cast<int>(packing.groups.size() + 1) / 2;
  const size_t columns = static_cast<size_t>(product.blocks) * kBlock;
  if (product.is_float) {
    product.float_weight = reinterpret_cast<float*>(memory);
    memory += columns * product.inner * sizeof(float);
  } else {
    product.weight = reinterpret_cast<int8_t*>(memory);
    memory += columns * product.inner;
  }
  product.multiplier = reinterpret_cast<float*>(memory);
  product.offset = product.multiplier + columns;  // both zero where there is no column: fresh memory is
  if (!product.is_float && kSignedActivations) product.start = reinterpret_cast<int32_t*>(product.offset + columns);
  int greatest = 0;
  for (size_t g = 0; g < packing.groups.size(); g++) {
    const ColumnGroup& group = packing.groups[g];
    const size_t block = g / 2, half = g % 2;
    float* multiplier = product.multiplier + g * kGroup;
    float* offset = product.offset + g * kGroup;
    const float* bias = group.linear->bias ? group.linear->bias + group.first : nullptr;
    if (product.is_float) {
      float* to = product.float_weight + block * product.inner * kBlock + half * kGroup;
      const float* from = static_cast<const float*>(group.linear->weight) + group.first;
      for (int k = 0; k < product.inner; k++)
        memcpy(to + static_cast<size_t>(k) * kBlock, from + static_cast<size_t>(k) * group.columns,
               group.count * sizeof(float));
      for (int c = 0; c < group.count; c++) {
        multiplier[c] = group.factor;
        offset[c] = bias ? group.factor * bias[c] : 0;
      }
      continue;
    }
    int8_t* to = product.weight + block * product.inner * kBlock + half * 1024;
    Statistics statistics;
    (packing.by_columns ? pack_columns : pack_rows)(group, packing.inner, to, statistics);
    greatest = std::max(greatest, statistics.greatest);
    for (int c = 0; c < group.count; c++) {
      multiplier[c] = input.scale * group.linear->scale[group.first + c] * group.factor;
      const double zero = static_cast<double>(statistics.sums[c]) * input.zero_point;
      if (product.start) product.start[g * kGroup + c] = 128 * statistics.sums[c];
      offset[c] = static_cast<float>(-multiplier[c] * zero + (bias ? group.factor * bias[c] : 0));
    }
  }
  return greatest;
}

std::vector<ColumnGroup> columns_of(const spladert_linear& linear, int columns) {
  std::vector<ColumnGroup> groups;
  for (int first = 0; first < columns; first += kGroup)
    groups.push_back({&linear, columns, first, std::min(kGroup, columns - first), 1});
  return groups;
}

std::vector<ColumnGroup> interleaved(const spladert_linear& first, const spladert_linear& second, int columns) {
  std::vector<ColumnGroup> groups;
  for (int column = 0; column < columns; column += kGroup)
    for (const spladert_linear* linear : {&first, &second}) groups.push_back({linear, columns, column, kGroup, 1});
  return groups;
}

std::vector<ColumnGroup> by_heads(const spladert_layer& layer, int heads, int head_size) {
  std::vector<ColumnGroup> groups;
  const int columns = heads * head_size;
  for (int head = 0; head < columns; head += head_size) {
    for (const spladert_linear* linear : {&layer.query, &layer.key}) {
      const float factor = linear == &layer.query ? layer.attention_scale * kLog2E : 1;
      for (int c = 0; c < head_size / 2; c += kGroup)
        for (const int half : {0, head_size / 2}) groups.push_back({linear, columns, head + half + c, kGroup, factor});
    }
    for (int c = 0; c < head_size; c += kGroup) groups.push_back({&layer.value, columns, head + c, kGroup, 1});
  }
  return groups;
}

}  // namespace spladert
