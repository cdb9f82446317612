// A backend that loads the operators' library looks for this function in it, by its name.

#pragma once

#include <cstdint>

// Gives the stages that were done in this thread since the last call, with the time [ns] on the
// monotonic clock at which each was, one after the other, to `add`, and forgets them.
extern "C" __attribute__((visibility("default"))) void exatrkx_take_laps(
    void* into, void (*add)(void* into, const char* stage, uint64_t ns));
