#include "model.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "pack.h"

namespace spladert {
namespace {

constexpr int kGreatest7Bits = 64;  // 2 * 255 * 64 fits 16 bits

class Checker {
 public:
  std::string problem;

  void require(bool good, const std::string& what) {
    if (!good && problem.empty()) problem = what;
  }
  void input(const spladert_quantization& input, const std::string& where) {
    require(std::isfinite(input.scale) && input.scale >= 0, where + ": the scale is not a number of at least 0");
    require(input.zero_point >= 0 && input.zero_point <= 255, where + ": the zero point is not in 0..255");
  }
  void linear(const spladert_linear& linear, const spladert_quantization& from, const std::string& where) {
    require(linear.weight != nullptr, where + ": no weight");
    require((linear.scale == nullptr) == (from.scale == 0),
            where + ": weight and activation must both be int8 or float");
    input(from, where);
  }
};

}  // namespace

std::string check(const spladert_model& m) {
  Checker c;
  c.require(m.layers >= 1 && m.layers <= 1000, "layers is not in 1..1000");
  c.require(m.hidden >= 64 && m.hidden % 64 == 0 && m.hidden <= 1 << 14, "hidden is not a multiple of 64");
  c.require(m.head_size >= 32 && m.head_size % 32 == 0 && m.head_size <= 256, "head_size is not 32, 64, 96 .. 256");
  c.require(m.heads >= 1 && static_cast<int64_t>(m.heads) * m.head_size == m.hidden, "heads * head_size is not hidden");
  c.require(m.intermediate >= 32 && m.intermediate % 16 == 0 && m.intermediate <= 1 << 16,
            "intermediate is not a multiple of 16");
  c.require(m.vocabulary >= 1 && m.vocabulary <= 1 << 24, "vocabulary is not in 1..16777216");
  c.require(m.max_length >= 1 && m.max_length <= 1 << 16, "max_length is not in 1..65536");
  c.require(m.word_high && m.word_low && m.word_scale, "no embedding");
  c.require(m.embedding_norm.weight && m.head_norm.weight, "no norm of the embedding or the head");
  c.require(m.decoder_high && m.decoder_low && m.decoder_scale && m.decoder_bias, "no decoder");
  c.require(m.layer != nullptr, "no layers");
  if (m.position) {
    const int64_t last = m.position_pad < 0 ? m.max_length - 1 : static_cast<int64_t>(m.position_pad) + m.max_length;
    c.require(last < m.position_rows, "max_length is more than the learned positions");
  }
  if (!m.layer || !c.problem.empty()) return c.problem;
  for (int l = 0; l < m.layers; l++) {
    const spladert_layer& layer = m.layer[l];
    const std::string where = "layer " + std::to_string(l);
    for (const spladert_linear* linear : {&layer.query, &layer.key, &layer.value})
      c.linear(*linear, layer.attention_input, where + " query, key or value");
    c.linear(layer.output, layer.output_input, where + " attention output");
    c.linear(layer.up, layer.mlp_input, where + " MLP");
    if (layer.gate.weight) c.linear(layer.gate, layer.mlp_input, where + " gate");
    c.linear(layer.down, layer.down_input, where + " MLP output");
    c.require((layer.gate.weight != nullptr) == (m.layer[0].gate.weight != nullptr), where + ": a gate here alone");
    c.require((layer.cos == nullptr) == (layer.sin == nullptr), where + ": cos without sin");
    c.require(layer.window >= 0, where + ": the window is negative");
    c.require(layer.after_attention.weight && layer.after_mlp.weight, where + ": no norm");
  }
  c.require(m.layer[0].gate.weight || m.intermediate % kBlock == 0, "intermediate is not a multiple of 32");
  c.linear(m.head, m.head_input, "head");
  c.input(m.decoder_input, "decoder");
  c.require(m.decoder_input.scale > 0, "decoder: not int8");
  return c.problem;
}

PackedModel pack_model(const spladert_model& from, const InstructionSet& stages, Pool& pool) {
  PackedModel packed;
  Model& m = packed.model;
  m.layers = from.layers, m.hidden = from.hidden, m.intermediate = from.intermediate, m.heads = from.heads;
  m.head_size = from.head_size, m.vocabulary = from.vocabulary, m.max_length = from.max_length;
  m.activation = from.activation, m.head_activation = from.head_activation;
  m.post_norm = from.post_norm != 0, m.gated = from.layer[0].gate.weight != nullptr;
  m.word_high = from.word_high, m.word_low = from.word_low, m.word_scale = from.word_scale;
  m.position = from.position, m.token_type = from.token_type, m.position_pad = from.position_pad;
  m.decoder_high = from.decoder_high, m.decoder_low = from.decoder_low;
  m.decoder_scale = from.decoder_scale, m.decoder_bias = from.decoder_bias;
  m.embedding_norm = from.embedding_norm, m.head_norm = from.head_norm;

  packed.layers.resize(from.layers);
  m.layer = packed.layers.data();
  const spladert_linear decoder{from.decoder_high, from.decoder_scale, from.decoder_bias};
  // The decoder first, the longest to pack.
  std::vector<Packing> all{{&m.decoder, columns_of(decoder, from.vocabulary), from.hidden, true, from.decoder_input}};
  for (int l = 0; l < from.layers; l++) {
    const spladert_layer& source = from.layer[l];
    Layer& layer = packed.layers[l];
    layer.after_attention = source.after_attention, layer.after_mlp = source.after_mlp;
    layer.cos = source.cos, layer.sin = source.sin, layer.window = source.window;
    all.push_back(
        {&layer.qkv, by_heads(source, from.heads, from.head_size), from.hidden, false, source.attention_input});
    all.push_back({&layer.output, columns_of(source.output, from.hidden), from.hidden, false, source.output_input});
    all.push_back(
        {&layer.mlp,
         m.gated ? interleaved(source.gate, source.up, from.intermediate) : columns_of(source.up, from.intermediate),
         from.hidden, false, source.mlp_input});
    all.push_back({&layer.down, columns_of(source.down, from.hidden), from.intermediate, false, source.down_input});
  }
  all.push_back({&m.head, columns_of(from.head, from.hidden), from.hidden, false, from.head_input});

  std::vector<size_t> places;
  size_t bytes = 0;
  for (const Packing& packing : all) {
    places.push_back(bytes);
    bytes += (packed_bytes(packing) + 63) / 64 * 64;
  }
  packed.weights = Memory(bytes);
  std::atomic<size_t> next{0};
  std::atomic<int> greatest{0};
  pool.run(
      pool.threads(), [](int) {},
      [&](int) {
        for (size_t i; (i = next.fetch_add(1)) < all.size();) {
          const int most = pack(all[i], packed.weights.data() + places[i]);
          for (int before = greatest.load(); before < most && !greatest.compare_exchange_weak(before, most);) {
          }
          if (!from.mapped) continue;
          const spladert_linear* last = nullptr;
          for (const ColumnGroup& group : all[i].groups) {
            if (group.linear == last) continue;
            last = group.linear;
            const size_t columns = all[i].by_columns ? from.vocabulary : group.columns;
            drop_pages(last->weight, columns * all[i].inner * (last->scale ? 1 : sizeof(float)));
          }
        }
      });
  if (stages.needs_7_bits && greatest > kGreatest7Bits)
    throw std::invalid_argument("weights of 8 bits, which this instruction set would add with saturation");
  return packed;
}

}  // namespace spladert
