#pragma once
// Fashion-MNIST (and any set that keeps MNIST's file names) from a folder.

#include <filesystem>
#include <memory>

#include "lockstep_loader/format/idx.h"

namespace lockstep::loader {

enum class Split { train, test };

/// Images uint8 [28, 28] as "image", labels uint8 [] as "label", from train-images-idx3-ubyte,
/// train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte in `folder`, each plain or with
/// .gz (plain wins). Throws Error(not_found) naming folder and file, Error(invalid_argument) when the records
/// are no images or the labels no scalars.
std::shared_ptr<const IdxDataset> open_fashion_mnist(const std::filesystem::path& folder, Split split);

/// The full set where Debian's package dataset-fashion-mnist is installed
/// (/usr/share/datasets/fashion-mnist), else `otherwise`: the subset that comes with the sources.
std::filesystem::path fashion_mnist_folder(const std::filesystem::path& otherwise);

}  // namespace lockstep::loader
