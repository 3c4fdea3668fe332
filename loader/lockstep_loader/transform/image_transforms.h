#pragma once
// Transforms of images in the layouts [H, W], [C, H, W] (planar) and [H, W, C] (interleaved), as functions
// that make a Transform for a field of a dataset. All throw Error(not_found) for a field that the dataset
// lacks.

#include <cstdint>
#include <string>
#include <vector>

#include "lockstep_loader/transform/transform.h"

namespace lockstep::loader {

/// Where the axes of an image are.
enum class ImageLayout : std::uint8_t {
  planar,       ///< [H, W] or [C, H, W]
  interleaved,  ///< [H, W, C]
};

/// uint8 to float32 of the same shape: fl32(fl32(fl32(x / 255) - mean) / std), each step rounded to float32,
/// one mean and std for all elements. The defaults give x / 255. Throws Error(invalid_argument) for another
/// dtype, for a mean that is not finite or a std that is not positive and finite.
Transform to_float(const Dataset& dataset, const std::string& field, float mean = 0.f, float std = 1.f);

/// The same with one mean and std a channel. Throws Error(invalid_argument) when their number is not C.
Transform normalize(const Dataset& dataset, const std::string& field, const std::vector<float>& mean,
                    const std::vector<float>& std, ImageLayout layout);

/// Mirrors left and right with probability `p`, for any dtype. One bernoulli(p) draw. Throws
/// Error(invalid_argument) for p outside [0, 1] or a field that is no image.
Transform random_horizontal_flip(const Dataset& dataset, const std::string& field, double p,
                                 std::uint32_t stream, ImageLayout layout = ImageLayout::planar);

/// Puts `padding` zeros around the image and takes a window of height × width whose corner is drawn evenly:
/// first below(H + 2 * padding - height + 1) for the row, then the same for the column. For any dtype. Throws
/// Error(invalid_argument) for a window that does not fit or a field that is no image.
Transform random_crop(const Dataset& dataset, const std::string& field, std::int64_t height,
                      std::int64_t width, std::int64_t padding, std::uint32_t stream,
                      ImageLayout layout = ImageLayout::planar);

}  // namespace lockstep::loader
