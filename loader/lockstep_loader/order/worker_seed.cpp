#include "lockstep_loader/order/worker_seed.h"

#include <cstddef>

namespace lockstep::loader {
namespace {

/// The hash of NumPy's SeedSequence (M. E. O'Neill's seed_seq_fe): each use moves the constant on.
class Hash {
 public:
  Hash(std::uint32_t initial, std::uint32_t multiplier) : constant_(initial), multiplier_(multiplier) {}

  std::uint32_t operator()(std::uint32_t value) {
    value ^= constant_;
    constant_ *= multiplier_;
    value *= constant_;
    return value ^ value >> 16;
  }

 private:
  std::uint32_t constant_;
  std::uint32_t multiplier_;
};

std::uint32_t mix(std::uint32_t a, std::uint32_t b) {
  const std::uint32_t mixed = 0xca01f9dd * a - 0x4973f715 * b;
  return mixed ^ mixed >> 16;
}

}  // namespace

WorkerSeed worker_seed(std::uint64_t base_seed, std::uint32_t worker) {
  std::array<std::uint32_t, 4> pool{worker, static_cast<std::uint32_t>(base_seed),
                                    static_cast<std::uint32_t>(base_seed >> 32), 0};
  Hash in(0x43b0d7e5, 0x931e8875);
  for (std::uint32_t& word : pool) word = in(word);
  for (std::size_t from = 0; from < pool.size(); ++from) {
    for (std::size_t to = 0; to < pool.size(); ++to) {
      if (from != to) pool[to] = mix(pool[to], in(pool[from]));
    }
  }
  Hash out(0x8b51f9dd, 0x58f38ded);
  WorkerSeed seed;
  seed.torch = base_seed + worker;
  for (std::size_t i = 0; i < pool.size(); ++i) seed.numpy[i] = out(pool[i]);
  return seed;
}

}  // namespace lockstep::loader
