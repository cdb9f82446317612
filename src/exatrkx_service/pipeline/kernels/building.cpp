// Edge building as an operator of torch: what `pipeline.building` says.

#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "common.h"

namespace {

using namespace exatrkx;
using at::Tensor;

// The pairs of one point with those after it, in the order of the points, that are near.
FOR_EACH_CPU int64_t near_after(
    const float* columns, int64_t stride, int64_t dimension, int64_t point, int64_t end,
    float squared_radius, int32_t* neighbours, float* distances) {
  int64_t found = 0;
  float sums[kTile];
  for (int64_t first = point + 1; first < end; first += kTile) {
    const int64_t rows = std::min(kTile, end - first);
    for (int64_t i = 0; i < rows; ++i) sums[i] = 0;
    for (int64_t d = 0; d < dimension; ++d) {
      const float* column = columns + d * stride + first;
      const float mine = columns[d * stride + point];
      for (int64_t i = 0; i < rows; ++i) {
        const float difference = column[i] - mine;
        sums[i] += difference * difference;
      }
    }
    for (int64_t i = 0; i < rows; ++i) {  // without a branch: near ones are many and irregular
      neighbours[found] = int32_t(first + i);
      distances[found] = sums[i];
      found += sums[i] < squared_radius;
    }
  }
  return found;
}

// Pairs (the first index below the second), sorted by first and then second.
Tensor sorted_pairs(
    const std::vector<int32_t>& first, const std::vector<int32_t>& second, int64_t n) {
  const int64_t count = int64_t(first.size());
  TORCH_CHECK(count < std::numeric_limits<int32_t>::max(), "too many pairs");
  std::vector<int64_t> starts(n + 1);
  std::vector<int32_t> by_second(count);
  // A counting sort by the second, then one by the first that keeps that order.
  for (const int32_t point : second) ++starts[point + 1];
  for (int64_t i = 0; i < n; ++i) starts[i + 1] += starts[i];
  for (int64_t i = 0; i < count; ++i) by_second[starts[second[i]]++] = int32_t(i);
  std::fill(starts.begin(), starts.end(), 0);
  for (const int32_t point : first) ++starts[point + 1];
  for (int64_t i = 0; i < n; ++i) starts[i + 1] += starts[i];
  Tensor edges = at::empty({2, count}, at::kInt);
  int32_t* out = edges.mutable_data_ptr<int32_t>();
  for (const int32_t i : by_second) {
    const int64_t place = starts[first[i]]++;
    out[place] = first[i];
    out[count + place] = second[i];
  }
  return edges;
}

// Takes out the pairs of which neither point has the other among its k_max nearest.
void cap(
    std::vector<int32_t>& first, std::vector<int32_t>& second, std::vector<float>& distances,
    int64_t n, int64_t k_max) {
  const int64_t count = int64_t(first.size());
  std::vector<int64_t> degree(n);
  for (int64_t i = 0; i < count; ++i) ++degree[first[i]], ++degree[second[i]];
  if (std::all_of(degree.begin(), degree.end(), [k_max](int64_t d) { return d <= k_max; })) return;
  struct Near {
    float distance;
    int32_t point;
    int64_t pair;
    bool operator<(const Near& other) const {
      return std::tie(distance, point) < std::tie(other.distance, other.point);
    }
  };
  std::vector<std::vector<Near>> crowded(n);  // neighbours of the points that have too many
  std::vector<char> kept(count);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t ends[] = {first[i], second[i]};
    for (int end = 0; end < 2; ++end) {
      if (degree[ends[end]] <= k_max) {
        kept[i] = true;
      } else {
        crowded[ends[end]].push_back({distances[i], ends[1 - end], i});
      }
    }
  }
  for (auto& near : crowded) {
    if (near.empty()) continue;
    std::nth_element(near.begin(), near.begin() + k_max, near.end());
    for (int64_t i = 0; i < k_max; ++i) kept[near[i].pair] = true;
  }
  int64_t left = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!kept[i]) continue;
    first[left] = first[i];
    second[left++] = second[i];
  }
  first.resize(left);
  second.resize(left);
}

// The edges of one event.
Tensor build_edges_of(const Tensor& embedding, double radius, int64_t k_max) {
  const int64_t n = embedding.size(0), dimension = embedding.size(1);
  const Numbers points(embedding, {n, dimension});
  if (n < 2) return at::empty({2, 0}, at::kInt);
  TORCH_CHECK(n < std::numeric_limits<int32_t>::max(), "embedding: too many points");
  // Searched in the order of the first principal component: within the radius of a point are only
  // those whose component is.
  Tensor finite = at::where(at::isfinite(points.tensor), points.tensor, 0).to(at::kDouble);
  finite = finite - finite.mean(0);
  const Tensor axis = std::get<1>(at::linalg_eigh(finite.t().mm(finite))).select(1, dimension - 1);
  const auto [sorted, order] = finite.mv(axis).sort();
  const Tensor columns = points.tensor.index_select(0, order).t().contiguous();
  const float* coordinates = columns.const_data_ptr<float>();
  const double* component = sorted.const_data_ptr<double>();
  const int64_t* original = order.const_data_ptr<int64_t>();
  std::vector<int32_t> first, second, neighbours(n + kTile);
  std::vector<float> distances, near(n + kTile);
  int64_t end = 0;
  for (int64_t point = 0; point < n; ++point) {
    while (end < n && component[end] <= component[point] + radius) ++end;
    const int64_t found = near_after(
        coordinates, n, dimension, point, end, float(radius * radius), neighbours.data(),
        near.data());
    first.insert(first.end(), found, int32_t(original[point]));
    for (int64_t i = 0; i < found; ++i) second.push_back(int32_t(original[neighbours[i]]));
    distances.insert(distances.end(), near.begin(), near.begin() + found);
  }
  for (size_t i = 0; i < first.size(); ++i) {
    if (first[i] > second[i]) std::swap(first[i], second[i]);
  }
  cap(first, second, distances, n, k_max);
  return sorted_pairs(first, second, n);
}

// The edges of one event, or of several, one after the other, with so many points each.
Tensor build_edges(
    const Tensor& embedding, double radius, int64_t k_max,
    const std::optional<Tensor>& event_sizes) {
  TORCH_CHECK(embedding.dim() == 2 && k_max > 0, "expected shape (N, D), and k_max from 1 on");
  if (!event_sizes.has_value()) return build_edges_of(embedding, radius, k_max);
  TORCH_CHECK(
      event_sizes->dim() == 1 && event_sizes->scalar_type() == at::kLong,
      "event_sizes: expected int64 of shape (B)");
  const Tensor sizes = event_sizes->contiguous();
  std::vector<Tensor> edges = {at::empty({2, 0}, at::kInt)};
  int64_t start = 0;
  for (const int64_t size : c10::ArrayRef<int64_t>(
           sizes.const_data_ptr<int64_t>(), size_t(sizes.numel()))) {
    if (size < 0 || size > embedding.size(0) - start) {
      start = -1;
      break;
    }
    edges.push_back(build_edges_of(embedding.narrow(0, start, size), radius, k_max) + start);
    start += size;
  }
  TORCH_CHECK(
      start == embedding.size(0), "event_sizes: expected numbers that add up to the ",
      embedding.size(0), " space points");
  return at::cat(edges, 1);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(exatrkx, library) {
  library.def("build_edges(Tensor embedding, float radius, int k_max, Tensor? event_sizes=None) -> "
              "Tensor");
}

TORCH_LIBRARY_IMPL(exatrkx, CPU, library) { library.impl("build_edges", build_edges); }
