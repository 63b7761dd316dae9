// What the stages share: the packed model, a call's workspace, and the table of functions of an instruction set.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "spladert_kernels.h"

namespace spladert {

// Columns of a block of packed weights: two AMX tiles, two 512-bit, four 256-bit or eight 128-bit registers of int32
// sums.
constexpr int kBlock = 32;
// Inner dimensions are padded with zeros to the bytes of an AMX tile's row, also one cache line.
constexpr int kDepth = 64;
// Rows beyond the last one that a tile of 32 rows, or a transposition of 16, may touch.
constexpr int kSlack = 48;

// aarch64's products without i8mm are of signed bytes: activations less 128, made up for by each column's start.
#ifdef __aarch64__
constexpr bool kSignedActivations = true;
#else
constexpr bool kSignedActivations = false;
#endif

constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }

// What an activation is stored as: uint8 (q - zero_point) / inverse_scale, or float.
struct Quantization {
  float inverse_scale = 0, zero_point = 0;
  bool is_float = false;
};

// A linear layer packed in blocks of 32 columns. int8: [block][K / 64][2][16 quads of k][16 columns][4 of k], which is
// two tiles in AMX's layout for each 64 of k, and read line by line by the others. float: [block][K][32 columns].
struct Product {
  int inner = 0;   // K, padded to kDepth where int8
  int blocks = 0;  // of columns
  bool is_float = false;
  int8_t* weight = nullptr;
  float* float_weight = nullptr;
  float *multiplier = nullptr, *offset = nullptr;  // [blocks * 32]: y = multiplier * sum + offset
  int32_t* start = nullptr;  // [blocks * 32] where kSignedActivations: 128 times the sum of a column's weights
  Quantization input;
};

using Norm = spladert_norm;

struct Layer {
  Product qkv, output, mlp, down;  // qkv by heads: query, key and value of a head side by side
  Norm after_attention{}, after_mlp{};
  const float *cos = nullptr, *sin = nullptr;  // [max_length][head_size / 2]
  int window = 0;
};

struct Model {
  int layers, hidden, intermediate, heads, head_size, vocabulary, max_length;
  int activation, head_activation;
  bool post_norm, gated;
  const int8_t *word_high, *word_low, *decoder_high, *decoder_low;
  const float *word_scale, *position, *token_type, *decoder_scale, *decoder_bias;
  int position_pad;
  Norm embedding_norm, head_norm;
  Layer* layer;
  Product head, decoder;
  int qkv_width() const { return 3 * head_size; }
};

// A group's activations. Quantized ones are row-major with a row stride of K padded to 64, or AMX tiles (see `place`);
// the float twins exist for layers that stay float.
struct Workspace {
  char* memory = nullptr;
  size_t bytes = 0;
  float* hidden = nullptr;                       // [rows][hidden], the residual stream
  uint8_t *input = nullptr, *context = nullptr;  // [rows][hidden]: what products read; attention's result
  uint8_t* mlp = nullptr;                        // [rows][intermediate]
  float *input_float = nullptr, *context_float = nullptr, *mlp_float = nullptr;
  char* qkv = nullptr;        // [slots][rows][3 * head_size]
  int32_t* maxima = nullptr;  // [texts][vocabulary, padded]: of the decoder's sums
  float* scratch = nullptr;   // [threads][scratch]: attention, logits of a text, winners' rows
  int32_t *positions = nullptr, *position_rows = nullptr;  // [rows]: in the text; in the table of learned positions
  int32_t* text_of = nullptr;                              // [rows]
  int32_t* winners = nullptr;                              // [texts][k]
  float* scores = nullptr;                                 // [texts][k]
  size_t slot_bytes = 0, scratch_floats = 0;
  int rows = 0;
};

struct Barrier;

// Texts that run together on `threads` threads, which meet at the barrier after each stage.
struct Group {
  const Model* model;
  Workspace* workspace;
  Barrier* barrier;
  int threads;
  bool head_slots;         // qkv has a slot a head, not a slot a thread
  const int32_t* ids;      // [rows]
  const int32_t* offsets;  // [texts + 1], from 0
  int texts, top_k;
  int32_t* indices;
  float* values;
};

// The stages, compiled once for each instruction set.
struct InstructionSet {
  const char* name;
  int split_rows;      // up to so many rows, threads share columns; beyond, each has rows of its own
  size_t qkv_element;  // bytes
  bool tiled;          // quantized activations lie in AMX tiles
  bool needs_7_bits;   // adds pairs of products in 16 bits
  void (*enter)();     // a thread's state, before and after its work
  void (*leave)();
  size_t (*scratch_floats)(const Model& model, int longest);
  void (*forward)(const Group& group, int thread);
  void (*product)(const uint8_t* a, int rows, const Product& product, int32_t* sums);  // sums [rows][blocks * 32]
  void (*float_product)(const float* a, int rows, const Product& product, float* out);
  void (*attention)(const float* qkv, int length, int head_size, int window, const Quantization& to, float* scratch,
                    char* converted, uint8_t* out);
  void (*norm)(float* x, int rows, int hidden, const Norm& norm, const Quantization& to, uint8_t* out);
  void (*gelu)(float* x, int n);
};

extern const InstructionSet amx_stages, avx512_vnni_stages, avx_vnni_stages, avx2_stages;  // x86-64
extern const InstructionSet neon_dotprod_stages, neon_stages;                              // aarch64

// Where (row, column) of a quantized activation lies: in tiles of 16 rows by 64 columns, or row by row.
inline size_t tile_place(int row, int column, int width) {
  return (static_cast<size_t>(row >> 4) * (width >> 6) + (column >> 6)) * 1024 + (row & 15) * 64 + (column & 63);
}

}  // namespace spladert
