#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "cpu.h"

namespace spladert {
namespace {

// The kernel names here what the CPU has and what it grants, in containers and virtual machines too.
const char* missing_neon() { return getauxval(AT_HWCAP) & HWCAP_ASIMD ? nullptr : "the CPU has no NEON"; }

const char* missing_dotprod() {
  if (const char* reason = missing_neon()) return reason;
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? nullptr : "the CPU has no dot products (asimddp)";
}

}  // namespace

const Candidate instruction_sets[kInstructionSets] = {
    {&neon_dotprod_stages, missing_dotprod},
    {&neon_stages, missing_neon},
};

}  // namespace spladert
