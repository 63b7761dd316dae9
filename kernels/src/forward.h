// The whole encoder for the texts of a group: each thread takes its part of a stage, all meet, the next stage.
#pragma once
#include "attention.h"
#include "decoder.h"
#include "signal.h"

namespace spladert {
namespace SPLADERT_ISA {

static size_t scratch_floats(const Model& model, int longest) {
  const size_t attend = attention_floats(longest, model.head_size);
  const size_t logits = static_cast<size_t>(model.decoder.blocks) * (kBlock + 1);
  const size_t rows = 4 * static_cast<size_t>(model.hidden);
  return (attend > logits ? (attend > rows ? attend : rows) : (logits > rows ? logits : rows)) + 64;
}

struct Range {
  int from, to;
};

// The run of one thread.
struct Forward {
  const Group& group;
  const Model& model;
  const Workspace& w;
  const int thread, rows;
  float* scratch;

  Forward(const Group& group, int thread)
      : group(group),
        model(*group.model),
        w(*group.workspace),
        thread(thread),
        rows(group.offsets[group.texts]),
        scratch(w.scratch + thread * w.scratch_floats) {}

  void meet() const { group.barrier->wait(); }
  Range part(int n) const {
    return {static_cast<int>(static_cast<int64_t>(n) * thread / group.threads),
            static_cast<int>(static_cast<int64_t>(n) * (thread + 1) / group.threads)};
  }
  // Where this thread will start reading a product's weights: what to fetch at the end of the one before.
  const char* start_of(const Product& product) const {
    if (product.is_float) return nullptr;
    return reinterpret_cast<const char*>(product.weight) +
           static_cast<size_t>(part(product.blocks).from) * product.inner * kBlock;
  }
  Destination to_input(const Product& next) const {
    return Destination(w.input, w.input_float, model.hidden, next.input);
  }
  template <class Epilogue>
  void multiply(const uint8_t* bytes, const float* floats, const Product& product, Range blocks,
                const Epilogue& epilogue, const char* next) const {
    run_product(bytes, floats, rows, product, blocks.from, blocks.to, epilogue, next, group.threads > 1);
  }

  void embed_rows(const Product& next) const {
    const Destination out = to_input(next);
    const Range mine = part(rows);
    for (int r = mine.from; r < mine.to; r++) {
      float* x = w.hidden + static_cast<size_t>(r) * model.hidden;
      embed(model, group.ids[r], w.position_rows[r], x);
      norm_row(x, model.hidden, model.embedding_norm, out, r, true);
    }
    meet();
  }

  void norm_rows(const Norm& norm, const Product& next, bool keep) const {
    const Destination out = to_input(next);
    const Range mine = part(rows);
    for (int r = mine.from; r < mine.to; r++)
      norm_row(w.hidden + static_cast<size_t>(r) * model.hidden, model.hidden, norm, out, r, keep);
    meet();
  }

  void attend(const Layer& layer, const Destination& out, int head, const char* slot, Range texts) const {
    for (int t = texts.from; t < texts.to; t++) {
      const int from = group.offsets[t];
      const Element* qkv = reinterpret_cast<const Element*>(slot) + static_cast<size_t>(from) * model.qkv_width();
      attention(qkv, group.offsets[t + 1] - from, model.head_size, layer.window, scratch, out, from,
                head * model.head_size);
    }
  }

  void self_attention(const Layer& layer) const {
    const Destination out(w.context, w.context_float, model.hidden, layer.output.input);
    const int head_blocks = model.qkv_width() / kBlock;
    StoreQkv epilogue{layer.qkv, w.qkv, w.slot_bytes, model.head_size, layer.cos, layer.sin, w.positions};
    if (group.head_slots) {  // heads do not come out even: share the product by columns, then meet
      multiply(w.input, w.input_float, layer.qkv, part(layer.qkv.blocks), epilogue, start_of(layer.output));
      meet();
      const Range units = part(model.heads * group.texts);
      for (int u = units.from; u < units.to; u++) {
        const int head = u / group.texts, text = u % group.texts;
        attend(layer, out, head, w.qkv + head * w.slot_bytes, {text, text + 1});
      }
    } else {  // a head at a time, whose queries, keys and values are still in the cache
      const Range heads = part(model.heads);
      epilogue.out += thread * w.slot_bytes;
      epilogue.slot_bytes = 0;
      for (int head = heads.from; head < heads.to; head++) {
        const Range blocks{head * head_blocks, (head + 1) * head_blocks};
        const char* next = start_of(layer.output);
        if (head + 1 < heads.to && !layer.qkv.is_float)
          next = reinterpret_cast<const char*>(layer.qkv.weight) +
                 static_cast<size_t>(blocks.to) * layer.qkv.inner * kBlock;
        multiply(w.input, w.input_float, layer.qkv, blocks, epilogue, next);
        attend(layer, out, head, w.qkv + thread * w.slot_bytes, {0, group.texts});
      }
    }
    meet();
    const AddToHidden add{layer.output, w.hidden, model.hidden};
    multiply(w.context, w.context_float, layer.output, part(layer.output.blocks), add, start_of(layer.mlp));
    meet();
  }

  void mlp(const Layer& layer, const char* next) const {
    const Destination out(w.mlp, w.mlp_float, round_up(model.intermediate, kDepth), layer.down.input);
    if (model.gated) {
      const GatedMlp epilogue{layer.mlp, out, model.activation};
      multiply(w.input, w.input_float, layer.mlp, part(layer.mlp.blocks), epilogue, start_of(layer.down));
    } else {
      const PlainMlp epilogue{layer.mlp, out, model.activation};
      multiply(w.input, w.input_float, layer.mlp, part(layer.mlp.blocks), epilogue, start_of(layer.down));
    }
    meet();
    const AddToHidden add{layer.down, w.hidden, model.hidden};
    multiply(w.mlp, w.mlp_float, layer.down, part(layer.down.blocks), add, next);
    meet();
  }

  void decode() const {
    const size_t width = static_cast<size_t>(model.decoder.blocks) * kBlock;
    const Range blocks = part(model.decoder.blocks);
    for (int t = 0; t < group.texts; t++)
      for (int i = blocks.from * kBlock; i < blocks.to * kBlock; i += kWidth)
        store(w.maxima + t * width + i, all(INT32_MIN));
    const MaximumOverTokens epilogue{w.maxima, w.text_of, width};
    multiply(w.input, w.input_float, model.decoder, blocks, epilogue, nullptr);
    meet();
    const size_t k = group.top_k;
    for (int t = thread; t < group.texts; t += group.threads)
      choose_winners(model, w.maxima + t * width, group.top_k, scratch, w.winners + t * k);
    meet();
    const Range mine = part(group.top_k);  // of each text's winners
    for (int t = 0; t < group.texts; t++) {
      const int from = group.offsets[t];
      rescore(model, w.hidden + static_cast<size_t>(from) * model.hidden, group.offsets[t + 1] - from,
              w.winners + t * k + mine.from, mine.to - mine.from, scratch, w.scores + t * k + mine.from);
    }
    meet();
    for (int t = thread; t < group.texts; t += group.threads)
      sort_winners(w.winners + t * k, w.scores + t * k, group.top_k, group.indices + t * k, group.values + t * k);
  }

  void run() const {
    embed_rows(model.layer[0].qkv);
    for (int l = 0; l < model.layers; l++) {
      const Layer& layer = model.layer[l];
      const Product& next = l + 1 < model.layers ? model.layer[l + 1].qkv : model.head;
      self_attention(layer);
      norm_rows(layer.after_attention, layer.mlp, model.post_norm);
      mlp(layer, start_of(next));
      norm_rows(layer.after_mlp, next, model.post_norm);
    }
    const ActivateToHidden epilogue{model.head, w.hidden, model.hidden, model.head_activation};
    multiply(w.input, w.input_float, model.head, part(model.head.blocks), epilogue, start_of(model.decoder));
    meet();
    norm_rows(model.head_norm, model.decoder, true);
    decode();
  }
};

}  // namespace SPLADERT_ISA
}  // namespace spladert
