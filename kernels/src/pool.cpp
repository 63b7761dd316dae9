#include "pool.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <fstream>
#include <set>
#include <string>
#include <system_error>

#include "clock.h"

namespace spladert {
namespace {

void futex_wait(const std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<const uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake_all(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<const uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

// Measures the calling thread from here on.
class Stretch {
 public:
  Stretch() : start_(std::chrono::steady_clock::now()) { getrusage(RUSAGE_THREAD, &before_); }

  // Whether the core was taken from the thread, and for a good part of the time.
  bool pushed_aside() const {
    rusage now;
    getrusage(RUSAGE_THREAD, &now);
    if (now.ru_nivcsw == before_.ru_nivcsw) return false;
    return seconds(now) - seconds(before_) < 0.75e-6 * microseconds();
  }

  double microseconds() const {
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  static double seconds(const rusage& usage) {
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + 1e-6 * (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  }

  std::chrono::steady_clock::time_point start_;
  rusage before_{};
};

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

uint32_t Signal::wait_while(uint32_t old, uint64_t spin) {
  const uint64_t start = ticks();
  for (uint32_t now; (now = value_.load(std::memory_order_acquire)) != old || ticks() - start < spin;) {
    if (now != old) return now;
    pause_spinning();
  }
  sleepers_.fetch_add(1);
  uint32_t now;
  while ((now = value_.load()) == old) futex_wait(value_, old);
  sleepers_.fetch_sub(1);
  return now;
}

void Signal::set(uint32_t value) {
  value_.store(value);
  if (sleepers_.load() > 0) futex_wake_all(value_);
}

void Barrier::wait() {
  if (threads == 1) return;
  const uint32_t now = generation.get();
  if (arrived.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
    arrived.store(0, std::memory_order_relaxed);
    generation.set(now + 1);
  } else {
    generation.wait_while(now, spin);
  }
}

struct Pool::Worker {
  enum : uint32_t { kIdle, kWork, kStop };
  Signal state;
  const Task* task = nullptr;
  int number = 0;       // in the task
  bool pushed = false;  // from its core, during the task
  std::thread thread;
};

Pool::Pool(int threads, int spin_microseconds)
    : threads_(threads), spin_(spin_microseconds * ticks_per_microsecond()), free_(threads) {}

Pool::~Pool() {
  for (auto& worker : workers_) {
    worker->state.set(Worker::kStop);
    worker->thread.join();
  }
}

int Pool::acquire(int most) {
  std::unique_lock<std::mutex> lock(mutex_);
  const uint64_t ticket = next_ticket_++;
  turn_.wait(lock, [&] { return serving_ == ticket && free_ > 0; });
  const int waiting = static_cast<int>(next_ticket_ - ticket);  // this call and those behind it
  const int width = crowding_.width(std::min(std::max(1, free_ / waiting), most));
  free_ -= width;
  serving_++;
  lock.unlock();
  turn_.notify_all();
  return width;
}

void Pool::release(int width, int pushed, double microseconds) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    free_ += width;
    crowding_.seen(width, pushed, microseconds);
  }
  turn_.notify_all();
}

void Pool::start_workers(int count) {  // under the lock
  while (static_cast<int>(idle_.size()) < count) {
    auto worker = std::make_unique<Worker>();
    worker->thread = std::thread([this, pointer = worker.get()] { work(pointer); });
    idle_.push_back(worker.get());
    workers_.push_back(std::move(worker));
  }
}

void Pool::work(Worker* worker) {
  for (;;) {
    const uint32_t state = worker->state.wait_while(Worker::kIdle, spin_);
    if (state == Worker::kStop) return;
    const Stretch stretch;
    (*worker->task)(worker->number);
    worker->pushed = stretch.pushed_aside();
    worker->state.set(Worker::kIdle);  // what the caller waits for
  }
}

void Pool::run(int most, const std::function<void(int)>& prepare, const Task& task) {
  int width = acquire(std::min(most, threads_));
  const Stretch stretch;
  int pushed = 0;
  std::vector<Worker*> helpers;
  struct Guard {  // gives back what was granted, whatever happens
    Pool* pool;
    const Stretch* stretch;
    int *width, *pushed;
    std::vector<Worker*>* helpers;
    ~Guard() {
      {
        std::lock_guard<std::mutex> lock(pool->mutex_);
        pool->idle_.insert(pool->idle_.end(), helpers->begin(), helpers->end());
      }
      pool->release(*width, *pushed, stretch->microseconds());
    }
  } guard{this, &stretch, &width, &pushed, &helpers};
  if (width > 1) {
    std::lock_guard<std::mutex> lock(mutex_);
    try {
      start_workers(width - 1);
    } catch (const std::system_error&) {  // no more threads here: run on those there are
      const int have = static_cast<int>(idle_.size());
      free_ += width - 1 - have;
      width = 1 + have;
    }
    helpers.assign(idle_.end() - (width - 1), idle_.end());
    idle_.resize(idle_.size() - helpers.size());
  }
  prepare(width);
  for (int i = 0; i < width - 1; i++) {
    helpers[i]->task = &task;
    helpers[i]->number = i + 1;
    helpers[i]->state.set(Worker::kWork);
  }
  [&]() noexcept { task(0); }();  // the others still read what an exception would unwind
  if (width == 1) return;
  pushed = stretch.pushed_aside() ? 1 : 0;
  for (Worker* helper : helpers) {
    helper->state.wait_while(Worker::kWork, spin_);
    pushed += helper->pushed ? 1 : 0;
  }
}

int default_threads() {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) {  // more CPUs than the mask has room for
    return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  }
  std::set<std::string> cores;  // by the list of a core's hardware threads
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string name = "cpu" + std::to_string(cpu);
    const std::string core = read_line("/sys/devices/system/cpu/" + name + "/topology/thread_siblings_list");
    cores.insert(core.empty() ? name : core);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace spladert
