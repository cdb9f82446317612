// Loaded into tritonserver before its own libraries: keeps the trace of a request alive until the
// server has let go of it.
//
// When Triton 24.10 releases a trace it locks the mutex in it, frees the trace if nobody else holds
// it, and then unlocks the mutex in what was freed. If another thread has taken that memory by
// then, the server dies or its memory is corrupt. Later releases hold the trace for as long as its
// mutex is locked (triton-inference-server/server, pull request 8144); this is the same from
// outside, for the server of nvidia-pytriton stays as it is.

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

// Of Triton's C API, as this project reads it.
struct TRITONSERVER_Error;
struct TRITONSERVER_InferenceTrace;

namespace {

using Release = void (*)(TRITONSERVER_InferenceTrace*, void*);
using New = TRITONSERVER_Error* (*)(
    TRITONSERVER_InferenceTrace**, int, uint64_t, void*, void*, Release, void*);

constexpr char kNew[] = "TRITONSERVER_InferenceTraceTensorNew";

Release server_release = nullptr;  // it is always the same

// The server gives each trace a std::shared_ptr to what it keeps of it.
void release(TRITONSERVER_InferenceTrace* trace, void* kept) {
  const auto alive = *static_cast<const std::shared_ptr<const void>*>(kept);
  server_release(trace, kept);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) TRITONSERVER_Error*
TRITONSERVER_InferenceTraceTensorNew(
    TRITONSERVER_InferenceTrace** trace, int level, uint64_t parent, void* activity, void* tensors,
    Release released, void* kept) {
  static const auto next = reinterpret_cast<New>(dlsym(RTLD_NEXT, kNew));
  if (next == nullptr) {
    std::fprintf(stderr, "%s: not in the server's library\n", kNew);
    std::abort();
  }
  server_release = released;
  return next(trace, level, parent, activity, tensors, release, kept);
}
