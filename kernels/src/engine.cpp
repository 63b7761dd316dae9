// The C interface of engines.
#include "engine.h"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>

#include "cpu.h"

namespace spladert {
namespace {

// Engines of this process, for the child of a fork.
std::mutex engines_mutex;
std::vector<spladert_engine*> engines;

void after_fork_in_child() {
  // The old pool names threads that do not exist here, its mutexes may be locked: it is left behind.
  for (spladert_engine* engine : engines) engine->calls = new spladert_calls(engine->threads, engine->spin);
  engines_mutex.unlock();
}

void watch_forks() {
  static const int registered =
      pthread_atfork([] { engines_mutex.lock(); }, [] { engines_mutex.unlock(); }, after_fork_in_child);
  if (registered != 0) throw std::runtime_error("pthread_atfork failed");
}

}  // namespace

const InstructionSet& choose_instruction_set(const char* isa) {
  if (!isa || !*isa) isa = getenv("SPLADERT_ISA");
  std::string known;
  for (const Candidate& candidate : instruction_sets) {
    const char* missing = candidate.missing();
    if (!isa || !*isa) {
      if (!missing) return *candidate.stages;
    } else if (strcmp(isa, candidate.stages->name) == 0) {
      if (missing) throw std::invalid_argument(std::string(isa) + " does not run here: " + missing);
      return *candidate.stages;
    }
    known += (known.empty() ? "" : ", ") + std::string(candidate.stages->name);
  }
  if (!isa || !*isa)
    throw std::invalid_argument(std::string("no instruction set runs here: ") +
                                instruction_sets[kInstructionSets - 1].missing());
  throw std::invalid_argument("instruction set '" + std::string(isa) + "' is not one of this library; use one of " +
                              known);
}

int fail(char* error, const char* message) {
  if (error) snprintf(error, SPLADERT_ERROR_SIZE, "%s", message);
  return 1;
}

}  // namespace spladert

using spladert::fail;

extern "C" {

int32_t spladert_abi(void) { return SPLADERT_ABI; }
const char* spladert_version(void) { return SPLADERT_VERSION; }

const char* spladert_isa_name(int32_t number) {
  return number >= 0 && number < spladert::kInstructionSets ? spladert::instruction_sets[number].stages->name : nullptr;
}

const char* spladert_isa_missing(int32_t number) {
  if (number < 0 || number >= spladert::kInstructionSets) return "no such instruction set";
  return spladert::instruction_sets[number].missing();
}

int32_t spladert_default_threads(void) {
  try {
    return spladert::default_threads();
  } catch (const std::exception&) {  // out of memory while reading the topology
    return 1;
  }
}

spladert_engine* spladert_create(const spladert_model* model, const spladert_options* options, char* error) {
  try {
    const spladert::InstructionSet& stages = spladert::choose_instruction_set(options->isa);
    std::string problem = spladert::check(*model);
    if (problem.empty() && (options->threads < 0 || options->threads > 1024)) problem = "threads is not in 0..1024";
    if (problem.empty() && (options->spin < 0 || options->spin > 1000000)) problem = "spin is not in 0..1000000";
    if (problem.empty()) problem = spladert::self_test(stages);
    if (!problem.empty()) throw std::invalid_argument(problem);
    spladert::watch_forks();
    auto engine = std::make_unique<spladert_engine>();
    engine->stages = &stages;
    engine->threads = options->threads ? options->threads : spladert::default_threads();
    engine->spin = options->spin;
    auto calls = std::make_unique<spladert_calls>(engine->threads, engine->spin);
    engine->packed = spladert::pack_model(*model, stages, calls->pool);
    std::lock_guard<std::mutex> lock(spladert::engines_mutex);
    spladert::engines.push_back(engine.get());
    engine->calls = calls.release();
    return engine.release();
  } catch (const std::bad_alloc&) {
    fail(error, "out of memory");
  } catch (const std::exception& problem) {
    fail(error, problem.what());
  }
  return nullptr;
}

void spladert_destroy(spladert_engine* engine) {
  if (!engine) return;
  {
    std::lock_guard<std::mutex> lock(spladert::engines_mutex);
    auto& all = spladert::engines;
    all.erase(std::remove(all.begin(), all.end(), engine), all.end());
  }
  delete engine->calls;
  delete engine;
}

const char* spladert_engine_isa(const spladert_engine* engine) { return engine->stages->name; }
int32_t spladert_engine_threads(const spladert_engine* engine) { return engine->threads; }

int32_t spladert_run(spladert_engine* engine, const int32_t* ids, const int32_t* offsets, int32_t texts, int32_t top_k,
                     int32_t* indices, float* values, char* error) {
  const spladert::Model& model = engine->packed.model;
  if (texts < 0) return fail(error, "texts is negative");
  if (top_k < 1 || top_k > model.vocabulary) return fail(error, "top_k is not in 1..vocabulary");
  if (texts == 0) return 0;
  if (offsets[0] != 0) return fail(error, "offsets do not begin at 0");
  for (int32_t t = 0; t < texts; t++) {
    const int64_t length = int64_t{offsets[t + 1]} - offsets[t];
    if (length < 1) return fail(error, "a text has no token");
    if (length > model.max_length) return fail(error, "a text has more tokens than max_length");
  }
  for (int32_t i = 0; i < offsets[texts]; i++)
    if (ids[i] < 0 || ids[i] >= model.vocabulary) return fail(error, "a token id is not in the vocabulary");
  try {
    spladert::run(*engine, ids, offsets, texts, top_k, indices, values);
    return 0;
  } catch (const std::bad_alloc&) {
    return fail(error, "out of memory");
  } catch (const std::exception& problem) {
    return fail(error, problem.what());
  }
}
}
