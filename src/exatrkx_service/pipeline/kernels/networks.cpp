// The layers on edges of the filter and the GNN, as operators of torch: what `models.networks` says,
// done one after the other on edges that stay in the CPU's cache. Sums have a fixed order: the same
// event gives the same bits each time, with any number of threads.

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "layers.h"

namespace {

using namespace exatrkx;
using at::Tensor;

int64_t width_of(const Tensor& tensor) {
  const int64_t n = tensor.size(1);
  TORCH_CHECK(n % kLanes == 0 && n <= kWidest, "width ", n, ": expected a multiple of ", kLanes,
              ", ", kWidest, " at most");
  return n;
}

// Runs `work(first, rows)` on tiles of edges or points, in several threads if torch has them.
template <typename Work>
void for_tiles(int64_t count, int64_t size, const Work& work) {
  at::parallel_for(0, (count + size - 1) / size, 4, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      work(tile * size, std::min(size, count - tile * size));
    }
  });
}

FOR_EACH_CPU void filter_tile(
    const float* nodes, const float* inner, const float* outer, const int32_t* from,
    const int32_t* to, int64_t rows, int64_t n, const float* first, const float* second,
    const float* second_bias, const float* head, float head_bias, float* out) {
  alignas(64) float features[kTile * kFeatures], h[kTile * kWidest], g[kTile * kWidest];
  edge_features(nodes, from, to, rows, features);
  gather(inner, outer, from, to, rows, n, h);
  multiply(features, rows, kFeatures, first, n, h);
  rectify(h, rows * n);
  fill(second_bias, rows, n, g);
  multiply(h, rows, n, second, n, g);
  rectify(g, rows * n);
  dot(g, rows, n, head, head_bias, out);
}

FOR_EACH_CPU void start_tile(
    const float* nodes, const float* inner, const float* outer, const int32_t* from,
    const int32_t* to, int64_t rows, int64_t n, const float* weights, float* e) {
  alignas(64) float features[kTile * kFeatures];
  edge_features(nodes, from, to, rows, features);
  gather(inner, outer, from, to, rows, n, e);
  multiply(features, rows, kFeatures, weights, n, e);
  rectify(e, rows * n);
}

FOR_EACH_CPU void update_tile(
    const float* inner, const float* outer, const int32_t* from, const int32_t* to, int64_t rows,
    int64_t n, const float* weights, const float* scale, const float* shift, float eps,
    const float* last, const float* last_bias, float* e) {
  alignas(64) float h[kTile * kWidest];
  gather(inner, outer, from, to, rows, n, h);
  multiply(e, rows, n, weights, n, h);
  normalize(h, rows, n, scale, shift, eps);
  rectify(h, rows * n);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < n; ++i) e[row * n + i] += last_bias[i];
  }
  multiply(h, rows, n, last, n, e);
}

FOR_EACH_CPU void end_tile(
    const float* inner, const float* outer, const int32_t* from, const int32_t* to, int64_t rows,
    int64_t n, const float* weights, const float* head, float head_bias, const float* e,
    float* out) {
  alignas(64) float h[kTile * kWidest];
  gather(inner, outer, from, to, rows, n, h);
  multiply(e, rows, n, weights, n, h);
  rectify(h, rows * n);
  dot(h, rows, n, head, head_bias, out);
}

// Layer norm and SiLU of rows (n).
FOR_EACH_CPU void norm_silu_tile(
    float* values, int64_t rows, int64_t n, const float* scale, const float* shift, float eps) {
  normalize(values, rows, n, scale, shift, eps);
  silu(values, rows * n);
}

// The update of points (rows, n) by the sums over their edges.
FOR_EACH_CPU void points_tile(
    const float* arriving, const float* leaving, int64_t rows, int64_t n, const float* weights,
    const float* bias, const float* scale, const float* shift, float eps, const float* last,
    const float* last_bias, float* x) {
  alignas(64) float h[kPoints * kWidest];
  fill(bias, rows, n, h);
  multiply(x, rows, n, weights, n, h);
  multiply(arriving, rows, n, weights + n * n, n, h);
  multiply(leaving, rows, n, weights + 2 * n * n, n, h);
  normalize(h, rows, n, scale, shift, eps);
  rectify(h, rows * n);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < n; ++i) x[row * n + i] += last_bias[i];
  }
  multiply(h, rows, n, last, n, x);
}

// Adds each edge's state to the sums of the point that it arrives at, and of the one that it leaves.
FOR_EACH_CPU void add_up(
    const float* e, const int32_t* from, const int32_t* to, int64_t count, int64_t n,
    float* arriving, float* leaving) {
  for (int64_t edge = 0; edge < count; ++edge) {
    float* a = arriving + to[edge] * n;
    float* b = leaving + from[edge] * n;
    for (int64_t i = 0; i < n; i += kLanes) {
      const Lanes state = *reinterpret_cast<const Lanes*>(e + edge * n + i);
      *reinterpret_cast<Lanes*>(a + i) += state;
      *reinterpret_cast<Lanes*>(b + i) += state;
    }
  }
}

Tensor filter_logits(
    const Tensor& nodes, const Tensor& inner, const Tensor& outer, const Tensor& edges,
    const Tensor& first, const Tensor& second, const Tensor& second_bias, const Tensor& head,
    double head_bias) {
  const int64_t points = nodes.size(0), n = width_of(inner);
  const Numbers x(nodes, {points, kFeatures}), a(inner, {points, n}), b(outer, {points, n});
  const Numbers w1(first, {kFeatures, n}), w2(second, {n, n}), b2(second_bias, {n}), w3(head, {n});
  const Edges e(edges, points);
  Tensor out = at::empty({e.count}, inner.options());
  float* logits = out.mutable_data_ptr<float>();
  for_tiles(e.count, kTile, [&](int64_t begin, int64_t rows) {
    filter_tile(
        x.data, a.data, b.data, e.from + begin, e.to + begin, rows, n, w1.data, w2.data, b2.data,
        w3.data, float(head_bias), logits + begin);
  });
  return out;
}

Tensor start_edges(
    const Tensor& nodes, const Tensor& inner, const Tensor& outer, const Tensor& edges,
    const Tensor& weights) {
  const int64_t points = nodes.size(0), n = width_of(inner);
  const Numbers x(nodes, {points, kFeatures}), a(inner, {points, n}), b(outer, {points, n});
  const Numbers w(weights, {kFeatures, n});
  const Edges e(edges, points);
  Tensor out = at::empty({e.count, n}, inner.options());
  float* state = out.mutable_data_ptr<float>();
  for_tiles(e.count, kTile, [&](int64_t begin, int64_t rows) {
    start_tile(
        x.data, a.data, b.data, e.from + begin, e.to + begin, rows, n, w.data, state + begin * n);
  });
  return out;
}

std::tuple<Tensor, Tensor> update_edges(
    Tensor& state, const Tensor& inner, const Tensor& outer, const Tensor& edges,
    const Tensor& weights, const Tensor& scale, const Tensor& shift, double eps, const Tensor& last,
    const Tensor& last_bias) {
  const int64_t points = inner.size(0), n = width_of(inner);
  const Numbers a(inner, {points, n}), b(outer, {points, n}), w1(weights, {n, n}), w2(last, {n, n});
  const Numbers gamma(scale, {n}), beta(shift, {n}), b2(last_bias, {n});
  const Edges e(edges, points);
  TORCH_CHECK(state.is_contiguous() && state.size(0) == e.count && state.size(1) == n,
              "state: expected shape (E, width)");
  float* s = state.mutable_data_ptr<float>();
  for_tiles(e.count, kTile, [&](int64_t begin, int64_t rows) {
    update_tile(
        a.data, b.data, e.from + begin, e.to + begin, rows, n, w1.data, gamma.data, beta.data,
        float(eps), w2.data, b2.data, s + begin * n);
  });
  Tensor arriving = at::zeros_like(a.tensor), leaving = at::zeros_like(a.tensor);
  add_up(
      s, e.from, e.to, e.count, n, arriving.mutable_data_ptr<float>(),
      leaving.mutable_data_ptr<float>());
  return {arriving, leaving};
}

Tensor end_edges(
    const Tensor& state, const Tensor& inner, const Tensor& outer, const Tensor& edges,
    const Tensor& weights, const Tensor& head, double head_bias) {
  const int64_t points = inner.size(0), n = width_of(inner);
  const Edges e(edges, points);
  const Numbers s(state, {e.count, n}), a(inner, {points, n}), b(outer, {points, n});
  const Numbers w(weights, {n, n}), h(head, {n});
  Tensor out = at::empty({e.count}, inner.options());
  float* logits = out.mutable_data_ptr<float>();
  for_tiles(e.count, kTile, [&](int64_t begin, int64_t rows) {
    end_tile(
        a.data, b.data, e.from + begin, e.to + begin, rows, n, w.data, h.data, float(head_bias),
        s.data + begin * n, logits + begin);
  });
  return out;
}

void norm_silu(Tensor& values, const Tensor& scale, const Tensor& shift, double eps) {
  const int64_t n = values.size(1);
  const Numbers gamma(scale, {n}), beta(shift, {n});
  TORCH_CHECK(values.is_contiguous() && n % kLanes == 0, "values: expected rows of ", kLanes, "s");
  float* x = values.mutable_data_ptr<float>();
  for_tiles(values.size(0), kPoints, [&](int64_t begin, int64_t rows) {
    norm_silu_tile(x + begin * n, rows, n, gamma.data, beta.data, float(eps));
  });
}

void update_points(
    Tensor& points, const Tensor& arriving, const Tensor& leaving, const Tensor& weights,
    const Tensor& bias, const Tensor& scale, const Tensor& shift, double eps, const Tensor& last,
    const Tensor& last_bias) {
  const int64_t n = width_of(points), count = points.size(0);
  const Numbers a(arriving, {count, n}), l(leaving, {count, n}), w1(weights, {3 * n, n});
  const Numbers b1(bias, {n}), gamma(scale, {n}), beta(shift, {n}), w2(last, {n, n});
  const Numbers b2(last_bias, {n});
  TORCH_CHECK(points.is_contiguous(), "points: expected a contiguous tensor");
  float* x = points.mutable_data_ptr<float>();
  for_tiles(points.size(0), kPoints, [&](int64_t begin, int64_t rows) {
    points_tile(
        a.data + begin * n, l.data + begin * n, rows, n, w1.data, b1.data, gamma.data, beta.data,
        float(eps), w2.data, b2.data, x + begin * n);
  });
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(exatrkx, library) {
  library.def(
      "filter_logits(Tensor nodes, Tensor inner, Tensor outer, Tensor edges, Tensor first, "
      "Tensor second, Tensor second_bias, Tensor head, float head_bias) -> Tensor");
  library.def(
      "start_edges(Tensor nodes, Tensor inner, Tensor outer, Tensor edges, Tensor weights) "
      "-> Tensor");
  library.def(
      "update_edges(Tensor(a!) state, Tensor inner, Tensor outer, Tensor edges, Tensor weights, "
      "Tensor scale, Tensor shift, float eps, Tensor last, Tensor last_bias) -> (Tensor, Tensor)");
  library.def(
      "end_edges(Tensor state, Tensor inner, Tensor outer, Tensor edges, Tensor weights, "
      "Tensor head, float head_bias) -> Tensor");
  library.def("norm_silu(Tensor(a!) values, Tensor scale, Tensor shift, float eps) -> ()");
  library.def(
      "update_points(Tensor(a!) points, Tensor arriving, Tensor leaving, Tensor weights, "
      "Tensor bias, Tensor scale, Tensor shift, float eps, Tensor last, Tensor last_bias) -> ()");
}

TORCH_LIBRARY_IMPL(exatrkx, CPU, library) {
  library.impl("filter_logits", filter_logits);
  library.impl("start_edges", start_edges);
  library.impl("update_edges", update_edges);
  library.impl("end_edges", end_edges);
  library.impl("norm_silu", norm_silu);
  library.impl("update_points", update_points);
}
