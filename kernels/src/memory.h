// Zeroed memory in huge pages where the system has them.
#pragma once
#include <cstddef>

namespace spladert {

class Memory {
 public:
  Memory() = default;
  explicit Memory(size_t bytes);  // throws std::bad_alloc
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();

  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0, mapped_ = 0;
  char* mapping_ = nullptr;
};

// Gives back the whole pages of a private mapping of a file; they are read again where they are touched.
void drop_pages(const void* from, size_t bytes);

}  // namespace spladert
