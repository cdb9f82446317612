// Track labeling by connected components as an operator of torch: what `pipeline.labeling` says.

#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "common.h"

namespace {

using namespace exatrkx;
using at::Tensor;

// The first point of a point's component; the way there is halved each time it is gone.
int64_t root_of(std::vector<int64_t>& parents, int64_t point) {
  while (parents[point] != point) point = parents[point] = parents[parents[point]];
  return point;
}

Tensor label_tracks(int64_t n, const Tensor& edges, const Tensor& scores, double cut) {
  const Edges e(edges, n);
  const Numbers s(scores, {e.count});
  std::vector<int64_t> parents(n), sizes(n);
  for (int64_t point = 0; point < n; ++point) parents[point] = point;
  for (int64_t edge = 0; edge < e.count; ++edge) {
    if (!(s.data[edge] >= float(cut))) continue;
    const int64_t first = root_of(parents, e.from[edge]);
    const int64_t second = root_of(parents, e.to[edge]);
    parents[std::max(first, second)] = std::min(first, second);
  }
  for (int64_t point = 0; point < n; ++point) ++sizes[root_of(parents, point)];
  Tensor labels = at::empty({n}, at::kLong);
  int64_t* out = labels.mutable_data_ptr<int64_t>();
  for (int64_t point = 0; point < n; ++point) {
    const int64_t root = root_of(parents, point);
    out[point] = sizes[root] < 2 ? -1 : root;
  }
  return labels;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(exatrkx, library) {
  library.def("label_tracks(int n, Tensor edges, Tensor scores, float cut) -> Tensor");
}

TORCH_LIBRARY_IMPL(exatrkx, CPU, library) { library.impl("label_tracks", label_tracks); }
