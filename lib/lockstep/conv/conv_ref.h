#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. float or
// double. Taps outside the image are no terms.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lockstep/conv/conv.h"
#include "lockstep/order/fold.h"

namespace lockstep {

/// Terms k = 0 … count - 1 in blocks of 1,024, each a chain from +0; blocks added in ascending order.
/// step(chain, k) gives the chain after term k, which is the chain itself where k is no term.
template <class T, class Step>
T conv_dot_ref(std::int64_t count, Step step) {
  T sum = T(0);
  for (std::int64_t block = 0; block < count; block += 1024) {
    T chain = T(0);
    for (std::int64_t k = block; k < std::min(block + 1024, count); ++k) chain = step(chain, k);
    sum = sum + chain;
  }
  return sum;
}

/// Where the tap (kh, kw) of an output pixel lies in the image.
struct ConvTapRef {
  std::int64_t h, w;
  bool is_inside;

  ConvTapRef(const ConvGeometry& g, std::int64_t oh, std::int64_t ow, std::int64_t kh, std::int64_t kw)
      : h(oh * g.stride_h + kh * g.dilation_h - g.pad_h),
        w(ow * g.stride_w + kw * g.dilation_w - g.pad_w),
        is_inside(h >= 0 && h < g.in_h && w >= 0 && w < g.in_w) {}
};

template <class T>
void conv_ref(const T* x, const T* weight, const T* bias, T* y, const ConvGeometry& g) {
  const std::int64_t channels = g.in_channels / g.groups, filters = g.out_channels / g.groups;
  const auto pixel = [&](std::int64_t n, std::int64_t o, std::int64_t oh, std::int64_t ow) {
    return conv_dot_ref<T>(g.taps(), [&](T chain, std::int64_t k) {
      const std::int64_t c = o / filters * channels + k / (g.kernel_h * g.kernel_w);
      const ConvTapRef tap(g, oh, ow, k / g.kernel_w % g.kernel_h, k % g.kernel_w);
      if (!tap.is_inside) return chain;
      const T value = x[((n * g.in_channels + c) * g.in_h + tap.h) * g.in_w + tap.w];
      return std::fma(weight[o * g.taps() + k], value, chain);
    });
  };
  for (std::int64_t n = 0; n < g.samples; ++n)
    for (std::int64_t o = 0; o < g.out_channels; ++o)
      for (std::int64_t oh = 0; oh < g.out_h(); ++oh)
        for (std::int64_t ow = 0; ow < g.out_w(); ++ow) {
          const T sum = pixel(n, o, oh, ow);
          *y++ = bias == nullptr ? sum : sum + bias[o];
        }
}

/// The output coordinate whose tap `t` is `at`, or -1.
inline std::int64_t conv_hit_ref(std::int64_t at, std::int64_t tap, std::int64_t stride, std::int64_t pad,
                                 std::int64_t dilation, std::int64_t outputs) {
  const std::int64_t distance = at + pad - tap * dilation;
  return distance < 0 || distance % stride != 0 || distance / stride >= outputs ? -1 : distance / stride;
}

/// k counts (filter of the group, kh, kw), the taps that do not hit included.
template <class T>
void conv_input_gradient_ref(const T* dy, const T* weight, T* dx, const ConvGeometry& g) {
  const std::int64_t channels = g.in_channels / g.groups, filters = g.out_channels / g.groups;
  const auto pixel = [&](std::int64_t n, std::int64_t c, std::int64_t ih, std::int64_t iw) {
    return conv_dot_ref<T>(filters * g.kernel_h * g.kernel_w, [&](T chain, std::int64_t k) {
      const std::int64_t o = c / channels * filters + k / (g.kernel_h * g.kernel_w);
      const std::int64_t kh = k / g.kernel_w % g.kernel_h, kw = k % g.kernel_w;
      const std::int64_t oh = conv_hit_ref(ih, kh, g.stride_h, g.pad_h, g.dilation_h, g.out_h());
      const std::int64_t ow = conv_hit_ref(iw, kw, g.stride_w, g.pad_w, g.dilation_w, g.out_w());
      if (oh < 0 || ow < 0) return chain;
      const T gradient = dy[((n * g.out_channels + o) * g.out_h() + oh) * g.out_w() + ow];
      return std::fma(weight[((o * channels + c % channels) * g.kernel_h + kh) * g.kernel_w + kw], gradient,
                      chain);
    });
  };
  for (std::int64_t n = 0; n < g.samples; ++n)
    for (std::int64_t c = 0; c < g.in_channels; ++c)
      for (std::int64_t ih = 0; ih < g.in_h; ++ih)
        for (std::int64_t iw = 0; iw < g.in_w; ++iw) *dx++ = pixel(n, c, ih, iw);
}

/// `x` may be null where `dweight` is.
template <class T>
void conv_weight_gradient_ref(const T* dy, const T* x, T* dweight, T* dweight_open, T* dbias, T* dbias_open,
                              const order::FoldSpan& span, const ConvGeometry& g) {
  const std::int64_t channels = g.in_channels / g.groups, filters = g.out_channels / g.groups;
  const auto gradient = [&](std::int64_t row, std::int64_t o) {
    return dy[(row / g.out_pixels() * g.out_channels + o) * g.out_pixels() + row % g.out_pixels()];
  };
  for (std::int64_t o = 0; o < g.out_channels; ++o) {
    for (std::int64_t k = 0; dweight != nullptr && k < g.taps(); ++k) {
      const std::int64_t c = o / filters * channels + k / (g.kernel_h * g.kernel_w), at = o * g.taps() + k;
      order::fold_rows(span, dweight[at], dweight_open == nullptr ? nullptr : dweight_open + at,
                       [&](T partial, std::int64_t row) {
                         const std::int64_t pixel = row % g.out_pixels();
                         const ConvTapRef tap(g, pixel / g.out_w(), pixel % g.out_w(),
                                              k / g.kernel_w % g.kernel_h, k % g.kernel_w);
                         if (!tap.is_inside) return partial;
                         const std::int64_t n = row / g.out_pixels();
                         const T value = x[((n * g.in_channels + c) * g.in_h + tap.h) * g.in_w + tap.w];
                         return std::fma(gradient(row, o), value, partial);
                       });
    }
    if (dbias != nullptr)
      order::fold_rows(span, dbias[o], dbias_open == nullptr ? nullptr : dbias_open + o,
                       [&](T partial, std::int64_t row) { return partial + gradient(row, o); });
  }
}

}  // namespace lockstep
