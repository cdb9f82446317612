// When the stages of a model that holds several were done, for the notes of whoever serves it.

#include <torch/library.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "laps.h"

namespace {

thread_local std::vector<std::pair<std::string, uint64_t>> laps;

// The tensor is what the stage gave. As it counts as changed, no optimisation moves or drops this.
void lap(at::Tensor&, c10::string_view stage) {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  laps.emplace_back(
      stage, std::chrono::duration_cast<std::chrono::nanoseconds>(since).count());
}

}  // namespace

void exatrkx_take_laps(void* into, void (*add)(void*, const char*, uint64_t)) {
  for (const auto& [stage, ns] : laps) add(into, stage.c_str(), ns);
  laps.clear();
}

TORCH_LIBRARY_FRAGMENT(exatrkx, library) {
  library.def("lap(Tensor(a!) result, str stage) -> ()");
}

TORCH_LIBRARY_IMPL(exatrkx, CPU, library) { library.impl("lap", lap); }
