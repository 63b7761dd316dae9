// Threads that whole calls share, and the stages within a call.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "crowding.h"
#include "signal.h"

namespace spladert {

// At most `threads` threads run at a time, callers included. Calls are served in the order they came; one that others
// wait behind takes only its share, so that many callers run side by side, a thread each, instead of in turn. While
// other processes keep some of the threads from their cores, calls do without these.
class Pool {
 public:
  using Task = std::function<void(int thread)>;

  Pool(int threads, int spin_microseconds);
  ~Pool();

  int threads() const { return threads_; }
  uint64_t spin() const { return spin_; }
  // Runs task(0) .. task(width - 1) on that many threads, the caller's among them, for the width in 1..most that the
  // pool grants. `prepare` is told the width first; it may throw, a task ends the process if it does.
  void run(int most, const std::function<void(int width)>& prepare, const Task& task);

 private:
  struct Worker;

  int acquire(int most);
  void release(int width, int pushed, double microseconds);
  void work(Worker* worker);
  void start_workers(int count);

  const int threads_;
  const uint64_t spin_;
  std::mutex mutex_;
  std::condition_variable turn_;
  uint64_t next_ticket_ = 0, serving_ = 0;
  int free_;
  Crowding crowding_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
};

// Physical cores of the process's affinity mask.
int default_threads();

}  // namespace spladert
