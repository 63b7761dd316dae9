#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu.h"

namespace spladert {
namespace {

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

bool has(unsigned value, unsigned bits) { return (value & bits) == bits; }
constexpr unsigned bit(int n) { return 1u << n; }

// State that the system saves on a switch of threads (XCR0).
bool granted(unsigned bits) {
  if (!has(cpuid(1, 0).c, bit(27))) return false;
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return has(low, bits);
}

const char* missing_v3() {  // the level x86-64-v3
  const Registers one = cpuid(1, 0), seven = cpuid(7, 0), extended = cpuid(0x80000001, 0);
  const unsigned fma_movbe_f16c = bit(12) | bit(22) | bit(29), bmi_avx2 = bit(3) | bit(5) | bit(8);
  if (!has(one.c, fma_movbe_f16c) || !has(seven.b, bmi_avx2) || !has(extended.c, bit(5))) return "the CPU has no AVX2";
  return granted(0x6) ? nullptr : "the system does not grant AVX state";
}

const char* missing_avx_vnni() {
  if (const char* reason = missing_v3()) return reason;
#ifdef SPLADERT_EMULATE
  return nullptr;
#else
  return has(cpuid(7, 1).a, bit(4)) ? nullptr : "the CPU has no AVX-VNNI";
#endif
}

const char* missing_avx512_vnni() {
  if (const char* reason = missing_v3()) return reason;
  const Registers seven = cpuid(7, 0);
  const unsigned f_dq_cd_bw_vl = bit(16) | bit(17) | bit(28) | bit(30) | bit(31);
  if (!has(seven.b, f_dq_cd_bw_vl)) return "the CPU has no AVX-512";
  if (!has(seven.c, bit(11))) return "the CPU has no AVX512-VNNI";
  return granted(0xe6) ? nullptr : "the system does not grant AVX-512 state";
}

const char* missing_amx() {
  if (const char* reason = missing_avx512_vnni()) return reason;
  if (!has(cpuid(7, 1).a, bit(5))) return "the CPU has no AVX512-BF16";
#ifdef SPLADERT_EMULATE
  return nullptr;
#else
  const unsigned bf16_tile_int8 = bit(22) | bit(24) | bit(25);
  if (!has(cpuid(7, 0).d, bf16_tile_int8)) return "the CPU has no AMX";
  if (!granted(0x60000)) return "the system does not save AMX tiles";
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM of asm/prctl.h
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0 ? nullptr : "the system refuses AMX tiles";
#endif
}

}  // namespace

const Candidate instruction_sets[kInstructionSets] = {
    {&amx_stages, missing_amx},
    {&avx512_vnni_stages, missing_avx512_vnni},
    {&avx_vnni_stages, missing_avx_vnni},
    {&avx2_stages, missing_v3},
};

}  // namespace spladert
