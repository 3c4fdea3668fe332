// Forward and the gradient with respect to the input: dots of weights with the pixels that taps read, the
// latter one problem for each remainder by the stride, as each has its own taps. A thread block has a tile
// of result channels by pixels, whose operands come through shared memory some stages ahead of their sums; a
// thread has some chains of it in registers. No bit depends on how they are cut.
//
// A tap outside of the image is read as +0. That changes no chain of finite weights: a sum starts at +0, and
// a zero's sign is lost at its end. Where a weight is infinite or NaN the product is NaN and stays so: such a
// dot is done again, asking each tap.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime_api.h>

#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/conv/conv_cuda_internal.h"
#include "lockstep/conv/conv_internal.h"

namespace lockstep::conv_internal {
namespace {

constexpr int kBlock = 1024;  // terms of a chain
constexpr int kStageTerms = 32;
constexpr std::int64_t kMostBlocks = 1 << 30;
constexpr std::int64_t kBlocksThatFill = 2 * 132;

/// The taps of an axis that the results with one remainder have: result i's tap t reads the pixel
/// i · step + shift + t · shift_step. It is the kernel's tap first_tap + t · tap_step.
struct Taps {
  std::int64_t results, step, shift, shift_step;
  std::int64_t count, first_tap, tap_step;

  /// Those below tap `end` of the kernel.
  __device__ std::int64_t below(std::int64_t end) const {
    if (end <= first_tap) return 0;
    const std::int64_t passed = (end - first_tap + tap_step - 1) / tap_step;
    return passed < count ? passed : count;
  }
  __device__ bool has(std::int64_t tap) const {
    return tap >= first_tap && (tap - first_tap) % tap_step == 0 && below(tap) < count;
  }
};

/// An axis of the images; the gradient's source is what the forward's result was.
struct Axis {
  std::int64_t source, results, kernel, stride, pad, dilation;
  bool is_gradient;
  std::int64_t tap_step;  ///< of the gradient: between the taps that results of one remainder have

  /// How far results of one remainder lie apart, and how many remainders there are.
  LOCKSTEP_HOST_DEVICE std::int64_t result_step() const { return is_gradient ? stride : 1; }
  LOCKSTEP_HOST_DEVICE std::int64_t remainders() const {
    return result_step() < results ? result_step() : results;
  }

  __device__ Taps of(std::int64_t remainder) const {
    if (!is_gradient) return {results, stride, -pad, dilation, kernel, 0, 1};
    const std::int64_t candidates = tap_step < kernel ? tap_step : kernel;
    std::int64_t first = 0;
    while (first < candidates && (remainder + pad - first * dilation) % stride != 0) ++first;
    const bool has_taps = first < candidates;
    return {(results - remainder + stride - 1) / stride,
            1,
            has_taps ? (remainder + pad - first * dilation) / stride : 0,
            -(tap_step * dilation) / stride,
            has_taps ? (kernel - first + tap_step - 1) / tap_step : 0,
            first,
            tap_step};
  }
};

/// `groups` correlations of images [samples, groups · sources, h.source, w.source] with weights, to images
/// [samples, groups · results, h.results, w.results].
struct Problem {
  const float* image;
  const float* weight;
  const float* bias;  ///< or null
  float* out;
  std::int64_t samples, groups, sources, results;
  std::int64_t weight_group_step, weight_result_step, weight_source_step;
  Axis h, w;

  LOCKSTEP_HOST_DEVICE std::int64_t image_pixels() const { return h.source * w.source; }
  LOCKSTEP_HOST_DEVICE std::int64_t out_pixels() const { return h.results * w.results; }
  LOCKSTEP_HOST_DEVICE std::int64_t taps() const { return sources * h.kernel * w.kernel; }
};

/// The results of one group whose places have one remainder by the strides.
struct Part {
  std::int64_t group, remainder_h, remainder_w;
  Taps h, w;

  __device__ std::int64_t pixels() const { return h.results * w.results; }
  __device__ const float* image(const Problem& p, std::int64_t sample) const {
    return p.image + (sample * p.groups + group) * p.sources * p.image_pixels();
  }
  /// Where the result (i, j) lies in its plane.
  __device__ std::int64_t place(const Problem& p, std::int64_t i, std::int64_t j) const {
    return (remainder_h + i * p.h.result_step()) * p.w.results + remainder_w + j * p.w.result_step();
  }
  __device__ float* out(const Problem& p, std::int64_t sample, std::int64_t channel) const {
    return p.out + ((sample * p.groups + group) * p.results + channel) * p.out_pixels();
  }
};

// What a block works out once is a function of its own, so that a kernel that is short-lived has little code
// to fetch.
__device__ __noinline__ Part part_of(const Problem& p, std::int64_t index) {
  const std::int64_t remainder = quotient(index, p.groups), h = quotient(remainder, p.w.remainders());
  const std::int64_t w = remainder - h * p.w.remainders();
  return {index - remainder * p.groups, h, w, p.h.of(h), p.w.of(w)};
}

/// Order: terms ascending, in chains of those of 1,024 k, those that do not exist counted.
__device__ float dot_tap_by_tap(const Problem& p, const Part& part, std::int64_t sample, std::int64_t channel,
                                std::int64_t i, std::int64_t j) {
  const float* image = part.image(p, sample);
  const float* weight = p.weight + part.group * p.weight_group_step + channel * p.weight_result_step;
  float sum = 0, chain = 0;
  std::int64_t end_of_block = kBlock;
  for (std::int64_t c = 0; c < p.sources; ++c) {
    for (std::int64_t a = 0; a < part.h.count; ++a) {
      const std::int64_t kh = part.h.first_tap + a * part.h.tap_step;
      const std::int64_t h = i * part.h.step + part.h.shift + a * part.h.shift_step;
      if (h < 0 || h >= p.h.source) continue;
      for (std::int64_t b = 0; b < part.w.count; ++b) {
        const std::int64_t kw = part.w.first_tap + b * part.w.tap_step;
        const std::int64_t w = j * part.w.step + part.w.shift + b * part.w.shift_step;
        if (w < 0 || w >= p.w.source) continue;
        const std::int64_t tap = kh * p.w.kernel + kw, k = c * p.h.kernel * p.w.kernel + tap;
        if (k >= end_of_block) {
          sum = sum + chain;
          chain = 0;
          end_of_block = k / kBlock * kBlock + kBlock;
        }
        chain = std::fma(weight[tap], image[h * p.w.source + w], chain);
      }
    }
    image += p.image_pixels();
    weight += p.weight_source_step;
  }
  return sum + chain;
}

/// For groups of few results and terms, where most of a tile would be idle, and for images that are too large
/// to be counted in 32 bits. Order: a result is a thread's, as above.
__global__ void __launch_bounds__(256) dots_one_by_one(const __grid_constant__ Problem p) {
  const std::int64_t pixels = p.out_pixels(), channels = p.groups * p.results;
  const std::int64_t count = p.samples * channels * pixels, step = std::int64_t{gridDim.x} * 256;
  for (std::int64_t at = std::int64_t{blockIdx.x} * 256 + threadIdx.x; at < count; at += step) {
    const std::int64_t plane = quotient(at, pixels), pixel = at - plane * pixels;
    const std::int64_t row = quotient(pixel, p.w.results), col = pixel - row * p.w.results;
    const std::int64_t sample = quotient(plane, channels), channel = plane - sample * channels;
    const std::int64_t i = quotient(row, p.h.result_step()), j = quotient(col, p.w.result_step());
    const std::int64_t remainder_h = row - i * p.h.result_step(), remainder_w = col - j * p.w.result_step();
    const std::int64_t group = quotient(channel, p.results);
    const Part part = part_of(p, (remainder_h * p.w.remainders() + remainder_w) * p.groups + group);
    const float dot = dot_tap_by_tap(p, part, sample, channel - group * p.results, i, j);
    p.out[at] = p.bias == nullptr ? dot : dot + p.bias[channel];
  }
}

// ---- Tiles

/// A tile of kRows result channels by kPixels pixels; a thread has kOwnRows by kOwnPixels of them.
template <int rows, int pixels, int own_rows, int own_pixels>
struct Form {
  static constexpr int kRows = rows, kPixels = pixels, kOwnRows = own_rows, kOwnPixels = own_pixels;
  static constexpr int kThreadRows = rows / own_rows, kThreadPixels = pixels / own_pixels;
  static constexpr int kThreads = kThreadRows * kThreadPixels;
  /// Blocks of a multiprocessor: as many as have the registers for their chains.
  static constexpr int kBlocks = (own_rows * own_pixels > 16 ? 384 : 512) / kThreads;
};

/// kStageTerms terms of both operands.
template <class Form>
struct Stage {
  alignas(16) float image[kStageTerms][Form::kPixels];
  alignas(16) float weight[Form::kRows][kStageTerms + 4];  // rows apart by four banks, for reads of four
};

/// A pixel of a part, counted through all samples.
struct Pixel {
  std::int64_t sample;
  int i, j;

  __device__ Pixel(const Part& part, std::int64_t index) : sample(quotient(index, part.pixels())) {
    const int rest = static_cast<int>(index - sample * part.pixels());
    const int width = static_cast<int>(part.w.results);
    i = rest / width;
    j = rest - i * width;
  }
  __device__ bool exists(const Problem& p) const { return sample < p.samples; }
  __device__ void advance(const Part& part, int pixels) {
    for (j += pixels; j >= part.w.results; j -= static_cast<int>(part.w.results)) {
      if (++i < part.h.results) continue;
      i = 0;
      ++sample;
    }
  }
};

/// Where one term's factors lie: its image's behind what a pixel's first tap would read, its weight behind
/// the result channel's first. Of a term that does not exist shift_h is kNowhere.
struct alignas(16) Term {
  int offset, shift_h, shift_w, weight;
};

/// The terms of a part, some after the others, a lane each of one warp.
class Terms {
 public:
  __device__ Terms(const Problem& p, const Part& part)
      : image_pixels_(static_cast<int>(p.image_pixels())),
        width_(static_cast<int>(p.w.source)),
        source_step_(static_cast<int>(p.weight_source_step)),
        kernel_width_(static_cast<int>(p.w.kernel)),
        h_(part.h),
        w_(part.w),
        step_(Digits::of(kStageTerms, h_.count, w_.count)) {}

  __device__ void seek(int first) { at_ = Digits::of(first + lane(), h_.count, w_.count); }

  /// `count` terms, or as many as a stage has.
  __device__ void next(int count, Term (&to)[kStageTerms]) {
    const int shift_h = at_.middle * h_.shift_step, shift_w = at_.low * w_.shift_step;
    const int tap =
        (h_.first_tap + at_.middle * h_.tap_step) * kernel_width_ + w_.first_tap + at_.low * w_.tap_step;
    to[lane()] = lane() < count ? Term{at_.high * image_pixels_ + shift_h * width_ + shift_w, shift_h,
                                       shift_w, at_.high * source_step_ + tap}
                                : Term{0, kNowhere, 0, 0};
    at_.advance(step_, h_.count, w_.count);
  }

 private:
  /// A Taps in 32 bits. Taps that are none count as one, of which there is no term.
  struct NarrowTaps {
    explicit __device__ NarrowTaps(const Taps& t)
        : shift_step(static_cast<int>(t.shift_step)),
          count(t.count > 0 ? static_cast<int>(t.count) : 1),
          first_tap(static_cast<int>(t.first_tap)),
          tap_step(static_cast<int>(t.tap_step)) {}
    int shift_step, count, first_tap, tap_step;
  };

  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kLanes; }

  int image_pixels_, width_, source_step_, kernel_width_;
  NarrowTaps h_, w_;
  Digits step_, at_;
};

/// Copies terms to shared memory: a thread the images' values of one pixel, and the weights of one term of
/// each stage.
template <class Form>
class Loader {
 public:
  __device__ Loader(const Problem& p, const Part& part, std::int64_t first_channel, std::int64_t first_pixel)
      : height_(static_cast<int>(p.h.source)), width_(static_cast<int>(p.w.source)) {
    const Pixel pixel(part, first_pixel + thread() % Form::kPixels);
    const auto h = static_cast<int>(pixel.i * part.h.step + part.h.shift);
    pixel_w_ = static_cast<int>(pixel.j * part.w.step + part.w.shift);
    pixel_h_ = pixel.exists(p) ? h : kNowhere;
    first_ = h * width_ + pixel_w_;
    image_ = kept(part.image(p, pixel.sample));
    const int row = thread() / kStageTerms;
    weight_ = p.weight + part.group * p.weight_group_step + (first_channel + row) * p.weight_result_step;
    weight_step_ = p.weight_result_step * kRowsATurn;
    const std::int64_t rows = p.results - first_channel - row;
    rows_ = rows < Form::kRows ? static_cast<int>(rows) : Form::kRows;
  }

  /// The first `count` of `terms`.
  __device__ void load(int count, const Term (&terms)[kStageTerms], Stage<Form>& to) const {
    load_image(count, terms, to);
    load_weight(terms, to);
  }

 private:
  static constexpr int kTermsATurn = Form::kThreads / Form::kPixels,
                       kRowsATurn = Form::kThreads / kStageTerms;

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }

  /// Terms are asked for some at a time, and go on as zeros to a multiple of four.
  __device__ void load_image(int count, const Term (&terms)[kStageTerms], Stage<Form>& to) const {
    constexpr int kAtOnce = 4;
    const int pixel = thread() % Form::kPixels, end = min(count + 3, kStageTerms);
#pragma unroll 1
    for (int at = thread() / Form::kPixels; at < end; at += kAtOnce * kTermsATurn) {
      Term term[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) term[i] = terms[at + i * kTermsATurn];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const bool exists =
            is_inside(pixel_h_ + term[i].shift_h, height_) && is_inside(pixel_w_ + term[i].shift_w, width_);
        copy_or_zero(&to.image[at + i * kTermsATurn][pixel], image_ + (first_ + term[i].offset), exists);
      }
    }
  }

  __device__ void load_weight(const Term (&terms)[kStageTerms], Stage<Form>& to) const {
    const Term term = terms[thread() % kStageTerms];
    const float* from = weight_ + term.weight;
    const int rows = term.shift_h == kNowhere ? 0 : rows_;
#pragma unroll
    for (int turn = 0; turn < Form::kRows; turn += kRowsATurn, from += weight_step_)
      copy_or_zero(&to.weight[turn + thread() / kStageTerms][thread() % kStageTerms], from, turn < rows);
  }

  int height_, width_, pixel_h_, pixel_w_, first_, rows_;
  const float* image_;
  const float* weight_;
  std::int64_t weight_step_;
};

/// Order: each chain takes the stage's terms, ascending, one fma each.
template <class Form>
__device__ void add_stage(const Stage<Form>& stage, int count,
                          float (&chain)[Form::kOwnRows][Form::kOwnPixels]) {
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / Form::kThreadPixels * Form::kOwnRows;
  const int pixel = thread % Form::kThreadPixels * Form::kOwnPixels;
  constexpr int kAhead = Form::kOwnRows * Form::kOwnPixels > 16 ? 2 : 4;  // of reads before their sums
#pragma unroll kAhead
  for (int term = 0; term < count; term += 4) {
    float weight[Form::kOwnRows][4];
#pragma unroll
    for (int i = 0; i < Form::kOwnRows; ++i) read_shared(&stage.weight[row + i][term], weight[i]);
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      float image[Form::kOwnPixels];
      read_shared(&stage.image[term + t][pixel], image);
#pragma unroll
      for (int i = 0; i < Form::kOwnRows; ++i) {
#pragma unroll
        for (int j = 0; j < Form::kOwnPixels; ++j)
          chain[i][j] = std::fma(weight[i][t], image[j], chain[i][j]);
      }
    }
  }
}

/// What a thread block has in shared memory. Short stages need more of them, so that a copy has the time that
/// it takes.
template <class Form>
struct Memory {
  static constexpr int kStages = 4 * sizeof(Stage<Form>) <= 36 << 10 ? 4 : 2;
  Stage<Form> stages[kStages];
  Term terms[kStages][kStageTerms];
  Part part;
};

/// Order: a block of 1,024 k is a chain, whose terms are `first` … `end` - 1. While a stage is summed those
/// behind it are under way, and the first warp works out the terms of the next.
template <class Form>
__device__ void run_chain(Terms& terms, const Loader<Form>& loader, int first, int end, Memory<Form>& memory,
                          float (&chain)[Form::kOwnRows][Form::kOwnPixels]) {
  constexpr int kStages = Memory<Form>::kStages;
#pragma unroll
  for (int i = 0; i < Form::kOwnRows; ++i) {
#pragma unroll
    for (int j = 0; j < Form::kOwnPixels; ++j) chain[i][j] = 0;
  }
  if (first >= end) return;
  const bool finds_terms = threadIdx.x < kLanes;
  const auto rest = [&](int stage) { return end - first - stage * kStageTerms; };
  __syncthreads();  // stages and terms are free
  if (finds_terms) {
    terms.seek(first);
    for (int stage = 0; stage < kStages; ++stage) terms.next(rest(stage), memory.terms[stage]);
  }
  __syncthreads();
  // The first rounds only copy; unrolled they would be as much code again.
#pragma unroll 1
  for (int stage = 1 - kStages; rest(stage) > 0; ++stage) {
    if (stage >= 0) {
      __pipeline_wait_prior(kStages - 2);
      __syncthreads();  // every thread's copies of this stage are there, and the stage before is free
    }
    const int next = stage + kStages - 1;
    if (rest(next) > 0) loader.load(rest(next), memory.terms[next % kStages], memory.stages[next % kStages]);
    __pipeline_commit();
    if (stage < 0) continue;
    if (finds_terms) terms.next(rest(stage + kStages), memory.terms[stage % kStages]);
    add_stage(memory.stages[stage % kStages], min(rest(stage), kStageTerms), chain);
  }
}

__device__ int terms_of(const Problem& p, const Part& part) {
  return static_cast<int>(p.sources * part.h.count * part.w.count);
}

/// The terms of a part whose k lie below `end`.
__device__ __noinline__ int terms_below(const Problem& p, const Part& part, std::int64_t end) {
  if (end >= p.taps()) return terms_of(p, part);
  const std::int64_t kernel = p.h.kernel * p.w.kernel, tap = end % kernel;
  const std::int64_t row = tap / p.w.kernel, col = tap % p.w.kernel;
  return static_cast<int>((end / kernel * part.h.count + part.h.below(row)) * part.w.count +
                          (part.h.has(row) ? part.w.below(col) : 0));
}

/// Those of a thread's results that are NaN, once more.
template <class Form>
__device__ __noinline__ void ask_each_tap(const Problem& p, const Part& part, std::int64_t first_channel,
                                          std::int64_t first_pixel) {
  Pixel pixel(part, first_pixel);
  for (int j = 0; j < Form::kOwnPixels && pixel.exists(p); ++j, pixel.advance(part, 1)) {
    for (int i = 0; i < Form::kOwnRows && first_channel + i < p.results; ++i) {
      const std::int64_t channel = first_channel + i;
      float* const out = part.out(p, pixel.sample, channel) + part.place(p, pixel.i, pixel.j);
      if (*out == *out) continue;
      const float dot = dot_tap_by_tap(p, part, pixel.sample, channel, pixel.i, pixel.j);
      *out = p.bias == nullptr ? dot : dot + p.bias[part.group * p.results + channel];
    }
  }
}

template <int width>
__device__ void write_beside(const float (&from)[width], float* to) {
  static_assert(width == 1 || width == 2 || width == 4, "what a thread writes at once");
  if constexpr (width == 4)
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
  else if constexpr (width == 2)
    *reinterpret_cast<float2*>(to) = make_float2(from[0], from[1]);
  else
    *to = from[0];
}

/// The results of a thread on their way to memory.
template <class Form>
class Ends {
 public:
  __device__ Ends(const Problem& p, const Part& part, std::int64_t first_channel, std::int64_t first_pixel)
      : p_(p),
        part_(part),
        channel_(first_channel + static_cast<int>(threadIdx.x) / Form::kThreadPixels * Form::kOwnRows),
        pixel_(first_pixel + static_cast<int>(threadIdx.x) % Form::kThreadPixels * Form::kOwnPixels) {
    const std::int64_t channels = p.results - channel_;
    channels_ = channels < Form::kOwnRows ? static_cast<int>(channels) : Form::kOwnRows;
  }

  __device__ void write(const float (&sum)[Form::kOwnRows][Form::kOwnPixels]) const {
    if (lie_beside())
      write_in<Form::kOwnPixels>(sum);
    else
      write_in<1>(sum);
    bool is_any_nan = false;
#pragma unroll
    for (int i = 0; i < Form::kOwnRows; ++i) {
#pragma unroll
      for (int j = 0; j < Form::kOwnPixels; ++j) is_any_nan = is_any_nan || sum[i][j] != sum[i][j];
    }
    if (is_any_nan) ask_each_tap<Form>(p_, part_, channel_, pixel_);
  }

 private:
  /// Whether a thread's pixels can be written at once.
  __device__ bool lie_beside() const {
    return p_.h.result_step() == 1 && p_.w.result_step() == 1 && p_.out_pixels() % Form::kOwnPixels == 0 &&
           reinterpret_cast<std::uintptr_t>(p_.out) % 16 == 0;
  }

  template <int width>
  __device__ void write_in(const float (&sum)[Form::kOwnRows][Form::kOwnPixels]) const {
    const bool has_bias = p_.bias != nullptr;
    float bias[Form::kOwnRows];
#pragma unroll
    for (int i = 0; i < Form::kOwnRows; ++i) {
      if (has_bias && i < channels_) bias[i] = p_.bias[part_.group * p_.results + channel_ + i];
    }
    Pixel pixel(part_, pixel_);
#pragma unroll
    for (int j = 0; j < Form::kOwnPixels; j += width) {
      if (!pixel.exists(p_)) return;
      float* to = part_.out(p_, pixel.sample, channel_) + part_.place(p_, pixel.i, pixel.j);
#pragma unroll
      for (int i = 0; i < Form::kOwnRows; ++i) {
        if (i >= channels_) break;
        float out[width];
#pragma unroll
        for (int v = 0; v < width; ++v) out[v] = has_bias ? sum[i][j + v] + bias[i] : sum[i][j + v];
        write_beside(out, to);
        to += p_.out_pixels();
      }
      pixel.advance(part_, width);
    }
  }

  const Problem& p_;
  const Part& part_;
  std::int64_t channel_, pixel_;
  int channels_;
};

/// How the results are cut into tiles: channels first, for neighbours to read the same pixels.
struct Tiles {
  std::int64_t channels, pixels, count;

  template <class Form>
  static Tiles of(const Problem& p) {
    const std::int64_t most_pixels =
        p.samples * ceil_div(p.h.results, p.h.result_step()) * ceil_div(p.w.results, p.w.result_step());
    Tiles t{ceil_div(p.results, Form::kRows), ceil_div(most_pixels, Form::kPixels), 0};
    t.count = t.channels * t.pixels * p.groups * p.h.remainders() * p.w.remainders();
    return t;
  }
};

// Order: a chain for each block of 1,024 k, terms ascending, one fma each; then the blocks, ascending, from
// +0, and the bias.
template <class Form, bool many_blocks>
__global__ void __launch_bounds__(Form::kThreads, Form::kBlocks)
    dots(const __grid_constant__ Problem p, Tiles tiles) {
  __shared__ Memory<Form> memory;
  const Part& part = memory.part;
  for (std::int64_t tile = blockIdx.x; tile < tiles.count; tile += gridDim.x) {
    const std::int64_t of_pixels = quotient(tile, tiles.channels),
                       of_part = quotient(of_pixels, tiles.pixels);
    __syncthreads();  // the part before is done
    if (threadIdx.x == 0) memory.part = part_of(p, of_part);
    __syncthreads();
    const std::int64_t first_channel = (tile - of_pixels * tiles.channels) * Form::kRows;
    const std::int64_t first_pixel = (of_pixels - of_part * tiles.pixels) * Form::kPixels;
    if (first_pixel >= p.samples * part.pixels()) continue;
    Terms terms_of_part(p, part);
    const Loader<Form> loader(p, part, first_channel, first_pixel);
    float chain[Form::kOwnRows][Form::kOwnPixels], sum[Form::kOwnRows][Form::kOwnPixels] = {};
    const std::int64_t end = many_blocks ? p.taps() : 1;
    int terms = 0;
    for (std::int64_t block = 0; block < end; block += kBlock) {
      const int next = many_blocks ? terms_below(p, part, block + kBlock) : terms_of(p, part);
      run_chain(terms_of_part, loader, terms, next, memory, chain);
      terms = next;
#pragma unroll
      for (int i = 0; i < Form::kOwnRows; ++i) {
#pragma unroll
        for (int j = 0; j < Form::kOwnPixels; ++j) sum[i][j] = sum[i][j] + chain[i][j];
      }
    }
    Ends<Form>(p, part, first_channel, first_pixel).write(sum);
  }
}

// ---- The choice of a form

template <class Form>
void launch(const Problem& p, cudaStream_t on) {
  const Tiles tiles = Tiles::of<Form>(p);
  const auto blocks = static_cast<unsigned>(std::min(tiles.count, kMostBlocks));
  const auto kernel = p.taps() > kBlock ? dots<Form, true> : dots<Form, false>;
  kernel<<<blocks, Form::kThreads, 0, on>>>(p, tiles);
  check_launch("conv: dots");
}

/// The wider of two tiles where it makes blocks for the whole device.
template <class Wide, class Narrow>
void launch_either(const Problem& p, cudaStream_t on) {
  Tiles::of<Wide>(p).count >= kBlocksThatFill ? launch<Wide>(p, on) : launch<Narrow>(p, on);
}

void run(const Problem& p, bool is_narrow, void* stream) {
  const std::int64_t count = p.samples * p.groups * p.results * p.out_pixels();
  if (count == 0) return;
  auto* const on = static_cast<cudaStream_t>(stream);
  if (!is_narrow || (p.results <= 2 && p.taps() <= 64)) {
    const auto blocks = static_cast<unsigned>(std::min(ceil_div(count, 256), kMostBlocks));
    dots_one_by_one<<<blocks, 256, 0, on>>>(p);
    return check_launch("conv: dots_one_by_one");
  }
  if (p.results <= 16) return launch_either<Form<16, 64, 4, 4>, Form<16, 32, 4, 2>>(p, on);
  if (p.results <= 32) return launch_either<Form<32, 64, 4, 4>, Form<32, 32, 4, 4>>(p, on);
  launch_either<Form<64, 64, 8, 4>, Form<64, 32, 8, 4>>(p, on);
}

std::int64_t gcd(std::int64_t a, std::int64_t b) { return b == 0 ? a : gcd(b, a % b); }

Axis forward_axis(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
                  std::int64_t pad, std::int64_t dilation) {
  return {in, out, kernel, stride, pad, dilation, false, 1};
}

Axis gradient_axis(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
                   std::int64_t pad, std::int64_t dilation) {
  return {out, in, kernel, stride, pad, dilation, true, stride / gcd(stride, dilation)};
}

}  // namespace

void conv_cuda(const Conv& call, void* stream) {
  const ConvGeometry& g = call.geometry;
  const std::int64_t filters = g.out_channels / g.groups;
  run({call.x, call.weight, call.bias, call.y, g.samples, g.groups, g.in_channels / g.groups, filters,
       filters * g.taps(), g.taps(), g.kernel_h * g.kernel_w,
       forward_axis(g.in_h, g.out_h(), g.kernel_h, g.stride_h, g.pad_h, g.dilation_h),
       forward_axis(g.in_w, g.out_w(), g.kernel_w, g.stride_w, g.pad_w, g.dilation_w)},
      is_narrow(g), stream);
}

void input_gradient_cuda(const ConvInputGradient& call, void* stream) {
  const ConvGeometry& g = call.geometry;
  const std::int64_t filters = g.out_channels / g.groups;
  run({call.dy, call.weight, nullptr, call.dx, g.samples, g.groups, filters, g.in_channels / g.groups,
       filters * g.taps(), g.kernel_h * g.kernel_w, g.taps(),
       gradient_axis(g.in_h, g.out_h(), g.kernel_h, g.stride_h, g.pad_h, g.dilation_h),
       gradient_axis(g.in_w, g.out_w(), g.kernel_w, g.stride_w, g.pad_w, g.dilation_w)},
      is_narrow(g), stream);
}

}  // namespace lockstep::conv_internal
