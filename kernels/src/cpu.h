// Which instruction sets this CPU has and this system grants.
#pragma once
#include "types.h"

namespace spladert {

struct Candidate {
  const InstructionSet* stages;
  const char* (*missing)();  // why it does not run here, or null
};

#ifdef __aarch64__
constexpr int kInstructionSets = 2;
#else
constexpr int kInstructionSets = 4;
#endif
extern const Candidate instruction_sets[kInstructionSets];  // best first

}  // namespace spladert
