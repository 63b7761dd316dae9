// A call: which texts run together on how many threads, and the memory for it.
#include <algorithm>
#include <atomic>
#include <memory>
#include <type_traits>

#include "engine.h"

namespace spladert {
namespace {

// Rows of a piece. Its activations (4 MB at 512 rows of 768) stay in the second- and third-level caches, and its
// weights are read once for so many rows that reading them costs little.
constexpr int kPieceRows = 512, kSharedPieceRows = 1024;
constexpr int kPieceTexts = 64;  // each has the decoder's maxima, 200 KB at 50,000 columns

struct Piece {  // texts that run together
  int first, last;
};

// `count` pieces of about as many rows, or fewer.
std::vector<Piece> even_pieces(const int32_t* offsets, int texts, int count) {
  std::vector<Piece> pieces;
  const int64_t rows = offsets[texts];
  for (int c = 0, first = 0; c < count && first < texts; c++) {
    int last = first;  // texts whose middle lies in this part of the rows
    while (last < texts && (c + 1 == count || int64_t{offsets[last] + offsets[last + 1]} * count <= 2 * rows * (c + 1)))
      last++;
    if (last > first) pieces.push_back({first, last});
    first = last;
  }
  return pieces;
}

struct Plan {
  bool shared = false;  // threads share the columns of each piece; else each takes pieces of its own
  std::vector<Piece> pieces;
};

Plan make_plan(const int32_t* offsets, int texts, int threads, int split_rows) {
  const int rows = offsets[texts];
  auto count = [&](int piece_rows) {  // of pieces, for each of `piece_rows / kPieceRows` threads
    const int piece_texts = kPieceTexts * piece_rows / kPieceRows;
    return std::max((rows + piece_rows - 1) / piece_rows, (texts + piece_texts - 1) / piece_texts);
  };
  if (threads == 1) return {false, even_pieces(offsets, texts, count(kPieceRows))};
  if (texts > 1 && rows > split_rows) {
    Plan own{false, even_pieces(offsets, texts, threads * count(threads * kPieceRows))};
    int most = 0;
    for (const Piece& piece : own.pieces) most = std::max(most, offsets[piece.last] - offsets[piece.first]);
    // Meeting after each stage costs about a tenth; more than that is lost when a piece is much above the average.
    const int rounds = static_cast<int>(own.pieces.size() + threads - 1) / threads;
    if (static_cast<double>(most) * rounds * threads <= 1.15 * rows || count(kSharedPieceRows) > 4 * threads)
      return own;
  }
  return {true, even_pieces(offsets, texts, count(kSharedPieceRows))};
}

struct Sizes {
  int rows = 0, texts = 0, longest = 0;

  void add(const int32_t* offsets, const Piece& piece) {
    rows = std::max(rows, offsets[piece.last] - offsets[piece.first]);
    texts = std::max(texts, piece.last - piece.first);
    for (int t = piece.first; t < piece.last; t++) longest = std::max(longest, offsets[t + 1] - offsets[t]);
  }
};

// Places of a workspace's arrays in its memory; with null memory only its size.
Workspace lay_out(const Model& m, const InstructionSet& stages, const Sizes& sizes, int threads, int slots, int top_k,
                  char* memory) {
  Workspace w;
  size_t at = 0;
  auto take = [&](auto*& pointer, size_t count) {
    pointer = memory ? reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(memory + at) : nullptr;
    at = (at + count * sizeof(*pointer) + 63) & ~size_t{63};
  };
  w.rows = round_up(sizes.rows, 32) + kSlack;
  const size_t rows = w.rows, mlp_width = round_up(m.intermediate, kDepth);
  bool input_float = m.head.is_float, context_float = false, mlp_float = false;
  for (int l = 0; l < m.layers; l++) {
    input_float |= m.layer[l].qkv.is_float || m.layer[l].mlp.is_float;
    context_float |= m.layer[l].output.is_float;
    mlp_float |= m.layer[l].down.is_float;
  }
  take(w.hidden, rows * m.hidden);
  take(w.input, rows * m.hidden);
  take(w.context, rows * m.hidden);
  take(w.mlp, rows * mlp_width);
  take(w.input_float, input_float ? rows * m.hidden : 0);
  take(w.context_float, context_float ? rows * m.hidden : 0);
  take(w.mlp_float, mlp_float ? rows * mlp_width : 0);
  w.slot_bytes = (rows * m.qkv_width() * stages.qkv_element + 63) & ~size_t{63};
  take(w.qkv, slots * w.slot_bytes);
  take(w.maxima, static_cast<size_t>(sizes.texts) * m.decoder.blocks * kBlock);
  w.scratch_floats = (stages.scratch_floats(m, sizes.longest) + 15) & ~size_t{15};
  take(w.scratch, threads * w.scratch_floats);
  take(w.positions, rows);
  take(w.position_rows, rows);
  take(w.text_of, rows);
  take(w.winners, static_cast<size_t>(sizes.texts) * top_k);
  take(w.scores, static_cast<size_t>(sizes.texts) * top_k);
  w.bytes = at;
  w.memory = memory;
  return w;
}

// Memory from those that calls before have left, or new.
class Lease {
 public:
  Lease(spladert_calls& calls, size_t bytes) : calls_(calls) {
    {
      std::lock_guard<std::mutex> lock(calls.mutex);
      if (!calls.workspaces.empty()) {
        memory_ = std::move(calls.workspaces.back());
        calls.workspaces.pop_back();
      }
    }
    if (memory_.size() < bytes) {
      memory_ = Memory();  // before the new one: the peak is what counts
      memory_ = Memory(bytes);
    }
  }
  ~Lease() {
    std::lock_guard<std::mutex> lock(calls_.mutex);
    if (static_cast<int>(calls_.workspaces.size()) < calls_.pool.threads())
      calls_.workspaces.push_back(std::move(memory_));
  }
  char* data() const { return memory_.data(); }

 private:
  spladert_calls& calls_;
  Memory memory_;
};

// Fills in what the stages read of a piece and describes it.
Group describe(const Model& model, Workspace& w, const Piece& piece, const int32_t* ids, const int32_t* offsets,
               std::vector<int32_t>& relative) {
  relative.clear();
  for (int t = piece.first; t <= piece.last; t++) relative.push_back(offsets[t] - offsets[piece.first]);
  const int32_t* tokens = ids + offsets[piece.first];
  for (int t = 0; t < piece.last - piece.first; t++) {
    int seen = 0;  // tokens that are not padding, as RoBERTa counts
    for (int r = relative[t]; r < relative[t + 1]; r++) {
      const int place = r - relative[t];
      w.positions[r] = place;
      w.text_of[r] = t;
      if (model.position_pad < 0) {
        w.position_rows[r] = place;
      } else {
        const bool padding = tokens[r] == model.position_pad;
        w.position_rows[r] = padding ? model.position_pad : model.position_pad + ++seen;
      }
    }
  }
  Group group{};
  group.model = &model;
  group.workspace = &w;
  group.ids = tokens;
  group.offsets = relative.data();
  group.texts = piece.last - piece.first;
  return group;
}

}  // namespace

void run(spladert_engine& engine, const int32_t* ids, const int32_t* offsets, int texts, int top_k, int32_t* indices,
         float* values) {
  const Model& model = engine.packed.model;
  const InstructionSet& stages = *engine.stages;
  spladert_calls& calls = *engine.calls;
  Plan plan;
  std::unique_ptr<Lease> lease;
  std::vector<Workspace> workspaces;
  std::vector<std::vector<int32_t>> relative;
  std::unique_ptr<Barrier> barrier;
  std::vector<Group> shared;
  bool head_slots = false;

  auto place_results = [&](Group& group, const Piece& piece) {
    group.top_k = top_k;
    group.indices = indices + static_cast<size_t>(piece.first) * top_k;
    group.values = values + static_cast<size_t>(piece.first) * top_k;
  };
  auto prepare = [&](int width) {
    plan = make_plan(offsets, texts, width, stages.split_rows);
    Sizes sizes;
    for (const Piece& piece : plan.pieces) sizes.add(offsets, piece);
    const int group_threads = plan.shared ? width : 1, groups = plan.shared ? 1 : width;
    head_slots = group_threads > 1 && model.heads % group_threads != 0;
    const int slots = head_slots ? model.heads : group_threads;
    const size_t bytes = lay_out(model, stages, sizes, group_threads, slots, top_k, nullptr).bytes;
    lease = std::make_unique<Lease>(calls, bytes * groups);
    for (int g = 0; g < groups; g++)
      workspaces.push_back(lay_out(model, stages, sizes, group_threads, slots, top_k, lease->data() + g * bytes));
    relative.resize(groups);
    barrier = std::make_unique<Barrier>(group_threads, calls.pool.spin());
  };
  std::atomic<size_t> next{0};
  auto task = [&](int thread) {
    stages.enter();
    if (plan.shared) {
      for (const Piece& piece : plan.pieces) {
        if (thread == 0) {
          shared.assign(1, describe(model, workspaces[0], piece, ids, offsets, relative[0]));
          shared[0].barrier = barrier.get();
          shared[0].threads = barrier->threads;
          shared[0].head_slots = head_slots;
          place_results(shared[0], piece);
        }
        barrier->wait();
        stages.forward(shared[0], thread);
        barrier->wait();
      }
    } else {
      for (size_t i; (i = next.fetch_add(1)) < plan.pieces.size();) {
        Group group = describe(model, workspaces[thread], plan.pieces[i], ids, offsets, relative[thread]);
        group.barrier = barrier.get();
        group.threads = 1;
        group.head_slots = false;
        place_results(group, plan.pieces[i]);
        stages.forward(group, 0);
      }
    }
    stages.leave();
  };
  calls.pool.run(engine.threads, prepare, task);
}

}  // namespace spladert
