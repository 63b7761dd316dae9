// Single stages on plain arrays: the C interface of tests and measurements, and the self-test of an engine's start.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>

#include "engine.h"
#include "memory.h"
#include "pack.h"

namespace spladert {
namespace {

struct PackedLinear {
  Product product;
  Memory memory;
};

PackedLinear pack_linear(const void* weight, const float* scale, int inner, int columns, float input_scale) {
  PackedLinear packed;
  const spladert_linear linear{weight, scale, nullptr};
  const Packing packing{&packed.product, columns_of(linear, columns), inner, false, {input_scale, 0}};
  packed.memory = Memory(packed_bytes(packing));
  pack(packing, packed.memory.data());
  return packed;
}

template <class T>
T* array(Memory& memory, size_t count) {
  memory = Memory(count * sizeof(T) + 64);
  return reinterpret_cast<T*>(memory.data());
}

// Rows as the instruction set wants them: of padded width, in tiles or not.
uint8_t* place_rows(const InstructionSet& stages, const uint8_t* a, int rows, int inner, Memory& memory) {
  const int width = round_up(inner, kDepth);
  uint8_t* placed = array<uint8_t>(memory, static_cast<size_t>(round_up(rows, 32) + kSlack) * width);
  for (int r = 0; r < rows; r++)
    for (int k = 0; k < inner; k++)
      placed[stages.tiled ? tile_place(r, k, width) : static_cast<size_t>(r) * width + k] =
          a[static_cast<size_t>(r) * inner + k];
  return placed;
}

void unplace_rows(const InstructionSet& stages, const uint8_t* placed, int rows, int columns, int width, uint8_t* out) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++)
      out[static_cast<size_t>(r) * columns + c] =
          placed[stages.tiled ? tile_place(r, c, width) : static_cast<size_t>(r) * width + c];
}

Quantization quantization(const spladert_quantization& to) {
  return {1 / to.scale, static_cast<float>(to.zero_point), false};
}

// A thread's state for the length of a stage.
struct Entered {
  const InstructionSet& stages;
  explicit Entered(const InstructionSet& stages) : stages(stages) { stages.enter(); }
  ~Entered() { stages.leave(); }
};

void product(const InstructionSet& stages, const uint8_t* a, const int8_t* weight, int rows, int inner, int columns,
             int32_t* sums) {
  const std::vector<float> scales(columns, 1.f);
  PackedLinear packed = pack_linear(weight, scales.data(), inner, columns, 1.f);
  Memory placed, wide;
  const uint8_t* bytes = place_rows(stages, a, rows, inner, placed);
  const int width = packed.product.blocks * kBlock;
  int32_t* all = array<int32_t>(wide, static_cast<size_t>(rows) * width);
  stages.product(bytes, rows, packed.product, all);
  for (int r = 0; r < rows; r++)
    memcpy(sums + static_cast<size_t>(r) * columns, all + static_cast<size_t>(r) * width, columns * sizeof(int32_t));
}

void float_product(const InstructionSet& stages, const float* a, const float* weight, int rows, int inner, int columns,
                   float* out) {
  PackedLinear packed = pack_linear(weight, nullptr, inner, columns, 0.f);
  const int lda = round_up(inner, kDepth), width = packed.product.blocks * kBlock;
  Memory placed, wide;
  float* padded = array<float>(placed, static_cast<size_t>(rows) * lda);
  for (int r = 0; r < rows; r++)
    memcpy(padded + static_cast<size_t>(r) * lda, a + static_cast<size_t>(r) * inner, inner * sizeof(float));
  float* all = array<float>(wide, static_cast<size_t>(rows) * width);
  stages.float_product(padded, rows, packed.product, all);
  for (int r = 0; r < rows; r++)
    memcpy(out + static_cast<size_t>(r) * columns, all + static_cast<size_t>(r) * width, columns * sizeof(float));
}

void attention(const InstructionSet& stages, const float* q, const float* k, const float* v, int length, int head_size,
               int window, float scale, const spladert_quantization& to, uint8_t* out) {
  Model model{};  // what the size of the scratch depends on
  model.head_size = head_size;
  Memory qkv_memory, scratch, converted, placed;
  const size_t rows = length + kSlack;
  float* qkv = array<float>(qkv_memory, rows * 3 * head_size);
  for (int r = 0; r < length; r++)
    for (int d = 0; d < head_size; d++) {
      const size_t from = static_cast<size_t>(r) * head_size + d;
      float* row = qkv + static_cast<size_t>(r) * 3 * head_size + d;
      row[0] = q[from] * scale * 1.44269504f, row[head_size] = k[from], row[2 * head_size] = v[from];
    }
  const int width = round_up(head_size, kDepth);
  uint8_t* bytes = array<uint8_t>(placed, static_cast<size_t>(round_up(length, 16)) * width);
  stages.attention(qkv, length, head_size, window, quantization(to),
                   array<float>(scratch, stages.scratch_floats(model, length)),
                   array<char>(converted, rows * 3 * head_size * stages.qkv_element), bytes);
  unplace_rows(stages, bytes, length, head_size, width, out);
}

void norm(const InstructionSet& stages, const float* x, const spladert_norm& norm, int rows, int hidden,
          const spladert_quantization& to, uint8_t* out) {
  Memory copy, placed;
  float* rows_copy = array<float>(copy, static_cast<size_t>(rows) * hidden);
  memcpy(rows_copy, x, static_cast<size_t>(rows) * hidden * sizeof(float));
  uint8_t* bytes = array<uint8_t>(placed, static_cast<size_t>(round_up(rows, 16)) * hidden);
  stages.norm(rows_copy, rows, hidden, norm, quantization(to), bytes);
  unplace_rows(stages, bytes, rows, hidden, hidden, out);
}

// A cheap sequence of numbers below `n`, the same in each run.
class Numbers {
 public:
  int below(int n) {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<int>((state_ >> 8) % static_cast<uint32_t>(n));
  }
  float unit() { return static_cast<float>(below(2001) - 1000) / 1000; }

 private:
  uint32_t state_ = 1;
};

bool near(float y, int byte, const spladert_quantization& to, float tolerance) {
  const float q = std::min(255.f, std::max(0.f, y / to.scale + static_cast<float>(to.zero_point)));
  return std::abs(q - static_cast<float>(byte)) <= tolerance;
}

bool product_is_right(const InstructionSet& stages, Numbers& numbers) {
  const int rows = 45, inner = 200, columns = 72;  // whole and partial tiles of rows, depth and columns
  std::vector<uint8_t> a(rows * inner);
  std::vector<int8_t> weight(inner * columns);
  for (auto& x : a) x = static_cast<uint8_t>(numbers.below(256));
  for (auto& x : weight) x = static_cast<int8_t>(numbers.below(129) - 64);
  std::vector<int32_t> sums(rows * columns);
  product(stages, a.data(), weight.data(), rows, inner, columns, sums.data());
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) {
      int32_t sum = 0;
      for (int k = 0; k < inner; k++) sum += a[r * inner + k] * weight[k * columns + c];
      if (sum != sums[r * columns + c]) return false;
    }
  return true;
}

bool float_product_is_right(const InstructionSet& stages, Numbers& numbers) {
  const int rows = 7, inner = 70, columns = 48;
  std::vector<float> a(rows * inner), weight(inner * columns), out(rows * columns);
  for (auto& x : a) x = numbers.unit();
  for (auto& x : weight) x = numbers.unit();
  float_product(stages, a.data(), weight.data(), rows, inner, columns, out.data());
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) {
      double sum = 0;
      for (int k = 0; k < inner; k++) sum += static_cast<double>(a[r * inner + k]) * weight[k * columns + c];
      if (!(std::abs(sum - out[r * columns + c]) < 1e-4)) return false;
    }
  return true;
}

bool attention_is_right(const InstructionSet& stages, Numbers& numbers) {
  const int length = 70, head_size = 64, window = 20;
  const spladert_quantization to{1.f / 64, 128};
  std::vector<float> q(length * head_size), k(q.size()), v(q.size());
  for (std::vector<float>* x : {&q, &k, &v})
    for (auto& value : *x) value = numbers.unit() * 2;
  std::vector<uint8_t> out(q.size());
  attention(stages, q.data(), k.data(), v.data(), length, head_size, window, .125f, to, out.data());
  for (int r = 0; r < length; r += 23)
    for (int d = 0; d < head_size; d++) {
      double sum = 0, y = 0;
      for (int j = std::max(0, r - window); j < std::min(length, r + window + 1); j++) {
        double score = 0;
        for (int i = 0; i < head_size; i++) score += static_cast<double>(q[r * head_size + i]) * k[j * head_size + i];
        sum += std::exp(score * .125);
        y += std::exp(score * .125) * v[j * head_size + d];
      }
      if (!near(static_cast<float>(y / sum), out[r * head_size + d], to, 2.5f)) return false;  // bfloat16 with AMX
    }
  return true;
}

bool norm_is_right(const InstructionSet& stages, Numbers& numbers) {
  const int rows = 3, hidden = 192;
  const spladert_quantization to{1.f / 40, 120};
  std::vector<float> x(rows * hidden), weight(hidden), bias(hidden);
  for (std::vector<float>* values : {&x, &weight, &bias})
    for (auto& value : *values) value = numbers.unit();
  std::vector<uint8_t> out(x.size());
  norm(stages, x.data(), {weight.data(), bias.data(), 1e-5f}, rows, hidden, to, out.data());
  for (int r = 0; r < rows; r++) {
    double mean = 0, variance = 0;
    for (int i = 0; i < hidden; i++) mean += x[r * hidden + i] / hidden;
    for (int i = 0; i < hidden; i++) variance += std::pow(x[r * hidden + i] - mean, 2) / hidden;
    for (int i = 0; i < hidden; i++) {
      const double y = (x[r * hidden + i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
      if (!near(static_cast<float>(y), out[r * hidden + i], to, .51f)) return false;
    }
  }
  return true;
}

bool gelu_is_right(const InstructionSet& stages, Numbers&) {
  std::vector<float> x(192), y(192);
  for (size_t i = 0; i < x.size(); i++) y[i] = x[i] = (static_cast<float>(i) - 96) / 16;
  stages.gelu(y.data(), static_cast<int>(y.size()));
  for (size_t i = 0; i < x.size(); i++)
    if (!(std::abs(y[i] - x[i] * .5 * std::erfc(-x[i] * std::sqrt(.5))) < 5e-5)) return false;
  return true;
}

// Runs a single stage of the C interface.
int32_t stage(const char* isa, char* error, const std::function<void(const InstructionSet&)>& body) {
  try {
    const InstructionSet& stages = choose_instruction_set(isa);
    const Entered entered(stages);
    body(stages);
    return 0;
  } catch (const std::exception& problem) {
    if (error) snprintf(error, SPLADERT_ERROR_SIZE, "%s", problem.what());
    return 1;
  }
}

// Of the processor, so that other processes on its core do not count.
double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void require(bool good, const char* what) {
  if (!good) throw std::invalid_argument(what);
}

}  // namespace

std::string self_test(const InstructionSet& stages) {
  const Entered entered(stages);
  Numbers numbers;
  const std::pair<const char*, bool (*)(const InstructionSet&, Numbers&)> tests[] = {
      {"the int8 product", product_is_right},
      {"the float product", float_product_is_right},
      {"attention", attention_is_right},
      {"the norm", norm_is_right},
      {"GELU", gelu_is_right},
  };
  for (const auto& [what, is_right] : tests)
    if (!is_right(stages, numbers))
      return std::string("self-test of ") + stages.name + ": " + what + " differs from plain arithmetic";
  return "";
}

}  // namespace spladert

using spladert::InstructionSet;
using spladert::require;

extern "C" {

int32_t spladert_product(const char* isa, const uint8_t* a, const int8_t* weight, int32_t rows, int32_t inner,
                         int32_t columns, int32_t* sums, char* error) {
  return spladert::stage(isa, error, [&](const InstructionSet& stages) {
    require(rows > 0 && inner > 0 && columns > 0, "rows, inner and columns must be at least 1");
    spladert::product(stages, a, weight, rows, inner, columns, sums);
  });
}

int32_t spladert_float_product(const char* isa, const float* a, const float* weight, int32_t rows, int32_t inner,
                               int32_t columns, float* out, char* error) {
  return spladert::stage(isa, error, [&](const InstructionSet& stages) {
    require(rows > 0 && inner > 0 && columns > 0, "rows, inner and columns must be at least 1");
    spladert::float_product(stages, a, weight, rows, inner, columns, out);
  });
}

int32_t spladert_attention(const char* isa, const float* q, const float* k, const float* v, int32_t length,
                           int32_t head_size, int32_t window, float attention_scale, spladert_quantization to,
                           uint8_t* out, char* error) {
  return spladert::stage(isa, error, [&](const InstructionSet& stages) {
    require(length > 0 && window >= 0, "length must be at least 1, window at least 0");
    require(head_size >= 32 && head_size % 32 == 0, "head_size must be a multiple of 32");
    spladert::attention(stages, q, k, v, length, head_size, window, attention_scale, to, out);
  });
}

int32_t spladert_norm_quantize(const char* isa, const float* x, spladert_norm norm, int32_t rows, int32_t hidden,
                               spladert_quantization to, uint8_t* out, char* error) {
  return spladert::stage(isa, error, [&](const InstructionSet& stages) {
    require(rows > 0 && hidden > 0 && hidden % 64 == 0, "hidden must be a multiple of 64");
    spladert::norm(stages, x, norm, rows, hidden, to, out);
  });
}

int32_t spladert_gelu(const char* isa, float* x, int32_t n, char* error) {
  return spladert::stage(isa, error, [&](const InstructionSet& stages) {
    require(n > 0 && n % 16 == 0, "n must be a multiple of 16");
    stages.gelu(x, n);
  });
}

double spladert_product_rate(const char* isa, int32_t rows, int32_t inner, int32_t columns, int32_t copies) {
  double rate = 0;
  spladert::stage(isa, nullptr, [&](const InstructionSet& stages) {
    require(rows > 0 && inner > 0 && columns > 0 && copies > 0, "sizes must be at least 1");
    std::vector<int8_t> weight(static_cast<size_t>(inner) * columns, 1);
    std::vector<float> scales(columns, 1.f);
    std::vector<spladert::PackedLinear> packed;
    packed.reserve(copies);
    for (int c = 0; c < copies; c++)
      packed.push_back(spladert::pack_linear(weight.data(), scales.data(), inner, columns, 1.f));
    std::vector<uint8_t> a(static_cast<size_t>(rows) * inner, 1);
    spladert::Memory placed;
    const uint8_t* bytes = spladert::place_rows(stages, a.data(), rows, inner, placed);
    const double start = spladert::thread_seconds();
    for (const spladert::PackedLinear& linear : packed) stages.product(bytes, rows, linear.product, nullptr);
    rate = static_cast<double>(rows) * inner * columns * copies / (spladert::thread_seconds() - start);
  });
  return rate;
}
}
