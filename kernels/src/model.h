// The packed model of an engine.
#pragma once
#include <string>
#include <vector>

#include "memory.h"
#include "pool.h"
#include "types.h"

namespace spladert {

struct PackedModel {
  Model model{};
  std::vector<Layer> layers;
  Memory weights;
};

// What is wrong with a description, or "".
std::string check(const spladert_model& model);

// Packs a checked description with the pool's threads. Throws std::invalid_argument where the instruction set cannot
// multiply its weights.
PackedModel pack_model(const spladert_model& from, const InstructionSet& stages, Pool& pool);

}  // namespace spladert
