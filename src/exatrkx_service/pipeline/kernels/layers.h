// Parts of the layers of a network, for some rows at a time. All are inlined into the functions that
// have a version for each level of instructions.

#pragma once

#include <cmath>
#include <cstdint>

#include "common.h"

namespace exatrkx {

constexpr int64_t kPoints = 64;  // points that are worked on together
constexpr int64_t kFeatures = 8;
constexpr int64_t kWidest = 128;  // hidden width that the tiles have room for
constexpr int kLanes = 16, kRows = 6;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float)), aligned(4)));

// The sum of the lanes, by halves.
INLINE float total(Lanes lanes) {
  float halves[kLanes];
  __builtin_memcpy(halves, &lanes, sizeof halves);
  for (int i = 0; i < 8; ++i) halves[i] += halves[i + 8];
  for (int i = 0; i < 4; ++i) halves[i] += halves[i + 4];
  return (halves[0] + halves[2]) + (halves[1] + halves[3]);
}

// A block of out (rows, n) += in (rows, k) weights (k, n): `rows` rows, kLanes columns.
template <int rows>
INLINE void multiply_block(
    const float* in, int64_t k, const float* weights, int64_t n, float* out) {
  Lanes sums[rows];
  for (int row = 0; row < rows; ++row) sums[row] = *reinterpret_cast<const Lanes*>(out + row * n);
  for (int64_t i = 0; i < k; ++i) {
    const Lanes weight = *reinterpret_cast<const Lanes*>(weights + i * n);
    for (int row = 0; row < rows; ++row) sums[row] += weight * in[row * k + i];
  }
  for (int row = 0; row < rows; ++row) *reinterpret_cast<Lanes*>(out + row * n) = sums[row];
}

// out (rows, n) += in (rows, k) weights (k, n); n is a multiple of kLanes.
INLINE void multiply(
    const float* in, int64_t rows, int64_t k, const float* weights, int64_t n, float* out) {
  for (int64_t column = 0; column < n; column += kLanes) {
    int64_t row = 0;
    for (; row + kRows <= rows; row += kRows) {
      multiply_block<kRows>(in + row * k, k, weights + column, n, out + row * n + column);
    }
    for (; row < rows; ++row) {
      multiply_block<1>(in + row * k, k, weights + column, n, out + row * n + column);
    }
  }
}

// out (rows, n) = bias (n), in each row.
INLINE void fill(const float* bias, int64_t rows, int64_t n, float* out) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < n; ++i) out[row * n + i] = bias[i];
  }
}

// out (rows, n) = inner[from] + outer[to].
INLINE void gather(
    const float* inner, const float* outer, const int32_t* from, const int32_t* to, int64_t rows,
    int64_t n, float* out) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* a = inner + from[row] * n;
    const float* b = outer + to[row] * n;
    for (int64_t i = 0; i < n; ++i) out[row * n + i] = a[i] + b[i];
  }
}

INLINE float bounded(float x, float limit) {
  return x < -limit ? -limit : x > limit ? limit : x;
}

INLINE void rectify(float* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = values[i] < 0 ? 0 : values[i];  // what is no number stays none
}

// out (rows) = in (rows, n) weights (n) + bias.
INLINE void dot(
    const float* in, int64_t rows, int64_t n, const float* weights, float bias, float* out) {
  for (int64_t row = 0; row < rows; ++row) {
    Lanes sums = {};
    for (int64_t i = 0; i < n; i += kLanes) {
      sums += *reinterpret_cast<const Lanes*>(in + row * n + i) *
              *reinterpret_cast<const Lanes*>(weights + i);
    }
    out[row] = bias + total(sums);
  }
}

// Layer norm of each row (n), with the biased variance, as torch's.
INLINE void normalize(
    float* values, int64_t rows, int64_t n, const float* scale, const float* shift, float eps) {
  for (int64_t row = 0; row < rows; ++row, values += n) {
    Lanes sums = {};
    for (int64_t i = 0; i < n; i += kLanes) sums += *reinterpret_cast<const Lanes*>(values + i);
    const float mean = total(sums) / float(n);
    Lanes squares = {};
    for (int64_t i = 0; i < n; i += kLanes) {
      const Lanes distance = *reinterpret_cast<const Lanes*>(values + i) - mean;
      squares += distance * distance;
    }
    const float inverse = 1 / std::sqrt(total(squares) / float(n) + eps);
    for (int64_t i = 0; i < n; ++i) values[i] = (values[i] - mean) * inverse * scale[i] + shift[i];
  }
}

// The exponential, to 1e-7 of it: two to the whole number next to x / ln 2, and a series of what is
// left. Unlike the library's it is done for many at a time.
INLINE float exponential(float x) {
  x = bounded(x, 87);
  const float whole = x * 1.44269504f + 12582912.0f - 12582912.0f;  // rounds
  const float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  float series = 1.9875691e-4f * rest + 1.3981999e-3f;
  series = series * rest + 8.3334519e-3f;
  series = series * rest + 4.1665795e-2f;
  series = series * rest + 0.16666665f;
  series = series * rest + 0.5f;
  const int32_t bits = (int32_t(whole) + 127) << 23;
  float power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return (series * rest * rest + rest + 1) * power;
}

// x sigmoid(x).
INLINE void silu(float* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = values[i] / (1 + exponential(-values[i]));
}

// The logarithm of numbers from 1 on, to 1e-7: exponent and mantissa, and a series in
// (m - 1) / (m + 1) of the mantissa. Unlike the library's it is done for many at a time.
INLINE float logarithm(float x) {
  int32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;  // the mantissa lies around 1
  bits -= exponent << 23;
  float mantissa;
  __builtin_memcpy(&mantissa, &bits, sizeof bits);
  const float s = (mantissa - 1) / (mantissa + 1), s2 = s * s;
  const float series = s2 * (0.66666669f + s2 * (0.4f + s2 * (0.28571430f + s2 * 0.22222222f)));
  return float(exponent) * 0.69314718f + s * (2 + series);
}

INLINE float inverse_sinh(float x) {
  const float size = std::fabs(x);
  return std::copysign(logarithm(size + std::sqrt(size * size + 1)), x);
}

// The features of edges (rows, kFeatures), not scaled: `models.features.edge_features`.
INLINE void edge_features(
    const float* nodes, const int32_t* from, const int32_t* to, int64_t rows, float* out) {
  float ends[2][7][kTile];  // r, z, x, y, cos phi, sin phi, eta
  for (int64_t row = 0; row < rows; ++row) {
    for (int i = 0; i < 7; ++i) {
      ends[0][i][row] = nodes[from[row] * kFeatures + i];
      ends[1][i][row] = nodes[to[row] * kFeatures + i];
    }
  }
  const auto& a = ends[0];
  const auto& b = ends[1];
  float features[kFeatures][kTile];
  for (int64_t row = 0; row < rows; ++row) {
    const float dz = b[1][row] - a[1][row];
    const float dx = b[2][row] - a[2][row], dy = b[3][row] - a[3][row];
    const float distance = std::sqrt(dx * dx + dy * dy);
    const float chord = distance < 1e-2f ? 1e-2f : distance;
    const float slope = dz / chord;
    const float along = (a[2][row] * dx + a[3][row] * dy) / chord;
    const float eta = inverse_sinh(slope);
    features[0][row] = b[0][row] - a[0][row];
    features[1][row] = dz;
    features[2][row] = a[4][row] * b[5][row] - a[5][row] * b[4][row];
    features[3][row] = chord;
    features[4][row] = bounded((a[2][row] * b[3][row] - a[3][row] * b[2][row]) / chord, 300);
    features[5][row] = bounded(a[1][row] - along * slope, 600);
    features[6][row] = eta;
    features[7][row] = eta - a[6][row];
  }
  for (int64_t row = 0; row < rows; ++row) {
    for (int i = 0; i < kFeatures; ++i) out[row * kFeatures + i] = features[i][row];
  }
}

}  // namespace exatrkx
