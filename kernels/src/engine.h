// An engine: a packed model, its threads, and the workspaces of calls.
#pragma once
#include <mutex>
#include <string>
#include <vector>

#include "model.h"
#include "pool.h"

// What calls share and change; after a fork the child gets a new one, as it has none of the threads.
struct spladert_calls {
  spladert_calls(int threads, int spin) : pool(threads, spin) {}

  spladert::Pool pool;
  std::mutex mutex;
  std::vector<spladert::Memory> workspaces;  // unused
};

struct spladert_engine {
  const spladert::InstructionSet* stages;
  spladert::PackedModel packed;
  int threads, spin;
  spladert_calls* calls;
};

namespace spladert {

// The instruction set that `isa` names (null: the environment, else the best that runs). Throws std::invalid_argument.
const InstructionSet& choose_instruction_set(const char* isa);

// One run of texts; see spladert_run, which has checked them.
void run(spladert_engine& engine, const int32_t* ids, const int32_t* offsets, int texts, int top_k, int32_t* indices,
         float* values);

// What is wrong with the results of single stages on small inputs, against plain arithmetic; or "".
std::string self_test(const InstructionSet& stages);

}  // namespace spladert
