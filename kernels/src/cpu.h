// Which instruction sets this CPU has and this system grants.
#pragma once
#include "types.h"

namespace spladert {

struct Candidate {
  const InstructionSet* stages;
  const char* (*missing)();  // why it does not run here, or null
};

constexpr int kInstructionSets = 4;
extern const Candidate instruction_sets[kInstructionSets];  // best first

}  // namespace spladert
