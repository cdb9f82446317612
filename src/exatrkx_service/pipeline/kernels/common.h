// What the operators share.

#pragma once

#include <ATen/ATen.h>

#include <cstdint>

// One version for each level of instructions, chosen when the library is loaded.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#elif defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_CPU __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define FOR_EACH_CPU
#endif
#define INLINE inline __attribute__((always_inline))

namespace exatrkx {

constexpr int64_t kTile = 256;  // edges, or pairs of points, that are worked on together

// A tensor's numbers, one after the other; of the shape that is expected.
struct Numbers {
  at::Tensor tensor;
  const float* data;
  Numbers(const at::Tensor& given, c10::IntArrayRef shape)
      : tensor(given.contiguous()), data(tensor.const_data_ptr<float>()) {
    TORCH_CHECK(given.sizes() == shape, "expected a tensor of shape ", shape, ", not ", given.sizes());
  }
};

// Edges between points, int32; their indices are checked.
struct Edges {
  at::Tensor tensor;
  const int32_t *from, *to;
  int64_t count;
  Edges(const at::Tensor& edges, int64_t n_points)
      : tensor(edges.contiguous()),
        from(tensor.const_data_ptr<int32_t>()),
        to(from + tensor.size(1)),
        count(tensor.size(1)) {
    TORCH_CHECK(tensor.dim() == 2 && tensor.size(0) == 2, "edges: expected shape (2, E)");
    for (int64_t i = 0; i < 2 * count; ++i) {
      TORCH_CHECK_INDEX(
          from[i] >= 0 && from[i] < n_points, "edges: index ", from[i], " of ", n_points, " points");
    }
  }
};

}  // namespace exatrkx
