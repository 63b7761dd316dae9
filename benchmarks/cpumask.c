// Preloaded into a process, hides what its CPU has beyond an instruction set, so that all engines can be compared at
// that one on a newer CPU. Intel's CPUID faulting makes `cpuid` a fault of user code, and the fault's handler answers
// it:
//
//   gcc -O2 -shared -fPIC -o cpumask.so benchmarks/cpumask.c
//   CPUMASK=avx2 LD_PRELOAD=$PWD/cpumask.so python -m benchmarks.compare ...    # or avx-vnni, avx512-vnni
//
// Ends the process where CPUMASK is another word or the CPU has no such faulting (the flag cpuid_fault of
// /proc/cpuinfo): a comparison that is not held to what it says is worth nothing. Feature bits: Intel's manual, volume
// 2A, CPUID.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define BIT(n) (1u << (n))
enum { ARCH_CPUID = 0x1012 };
enum level { AVX2, AVX_VNNI, AVX512_VNNI };

static enum level kept;

static void hide(uint32_t leaf, uint32_t sub, uint32_t* eax, uint32_t* ebx, uint32_t* ecx, uint32_t* edx) {
  if (leaf == 7 && sub == 0) {
    *edx &= ~(BIT(22) | BIT(23) | BIT(24) | BIT(25));  // AMX-BF16, AVX512-FP16, AMX-TILE, AMX-INT8
    if (kept < AVX512_VNNI) {
      *ebx &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31));  // AVX512 F, DQ, IFMA, CD, BW, VL
      *ecx &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));              // AVX512 VBMI, VBMI2, VNNI, BITALG, POPCNT
      *edx &= ~(BIT(2) | BIT(3) | BIT(8));                                   // AVX512 4VNNIW, 4FMAPS, VP2INTERSECT
    }
  }
  if (leaf == 7 && sub == 1) {
    *eax &= ~(BIT(5) | BIT(21) | BIT(23));  // AVX512-BF16, AMX-FP16, AVX-IFMA
    if (kept != AVX_VNNI) *eax &= ~BIT(4);
    if (kept == AVX2) *edx = 0;  // AVX-VNNI-INT8 and what came after it
  }
  if (leaf == 0x1d || leaf == 0x1e) *eax = *ebx = *ecx = *edx = 0;  // AMX's tiles
}

static void answer(int signal_number, siginfo_t* info, void* context) {
  (void)signal_number, (void)info;
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const uint8_t* code = (const uint8_t*)registers[REG_RIP];
  if (code[0] != 0x0f || code[1] != 0xa2) {  // a fault of another kind: let it happen
    signal(SIGSEGV, SIG_DFL);
    return;
  }
  const uint32_t leaf = (uint32_t)registers[REG_RAX], sub = (uint32_t)registers[REG_RCX];
  uint32_t eax, ebx, ecx, edx;
  syscall(SYS_arch_prctl, ARCH_CPUID, 1);
  __asm__ volatile("cpuid" : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx) : "a"(leaf), "c"(sub));
  syscall(SYS_arch_prctl, ARCH_CPUID, 0);
  hide(leaf, sub, &eax, &ebx, &ecx, &edx);
  registers[REG_RAX] = eax, registers[REG_RBX] = ebx, registers[REG_RCX] = ecx, registers[REG_RDX] = edx;
  registers[REG_RIP] += 2;
}

static void refuse(const char* why) {
  fprintf(stderr, "cpumask: %s\n", why);
  exit(2);
}

__attribute__((constructor)) static void start(void) {
  static const char* const names[] = {"avx2", "avx-vnni", "avx512-vnni"};
  const char* wanted = getenv("CPUMASK");
  int level = 0;
  while (level < 3 && (!wanted || strcmp(wanted, names[level]))) level++;
  if (level == 3) refuse("set CPUMASK to avx2, avx-vnni or avx512-vnni");
  kept = (enum level)level;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, NULL);
  if (syscall(SYS_arch_prctl, ARCH_CPUID, 0)) refuse("this CPU or system cannot make cpuid fault");
}
