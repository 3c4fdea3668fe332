#include "lockstep_loader/format/fashion_mnist.h"

#include <string>
#include <system_error>

#include "lockstep/base/error.h"

namespace lockstep::loader {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

fs::path find_file(const fs::path& folder, const std::string& name) {
  fs::path plain = folder / name;
  if (is_file(plain)) return plain;
  fs::path gzip = folder / (name + ".gz");
  if (is_file(gzip)) return gzip;
  fail(ErrorCode::not_found,
       {folder.string(), "Fashion-MNIST", name + " or " + name + ".gz", "neither",
        "Name the folder that holds the four files, or install dataset-fashion-mnist."});
}

}  // namespace

std::shared_ptr<const IdxDataset> open_fashion_mnist(const fs::path& folder, Split split) {
  const std::string prefix = split == Split::train ? "train" : "t10k";
  const fs::path images = find_file(folder, prefix + "-images-idx3-ubyte");
  const fs::path labels = find_file(folder, prefix + "-labels-idx1-ubyte");
  auto dataset = std::make_shared<const IdxDataset>(images, labels);
  const auto& fields = dataset->fields();
  if (fields[0].dtype != DType::uint8 || fields[0].shape.rank() != 2 || fields[1].dtype != DType::uint8 ||
      fields[1].shape.rank() != 0) {
    fail(ErrorCode::invalid_argument,
         {images.string(), "records", "uint8 images of rank 2 and uint8 labels",
          std::string(dtype_name(fields[0].dtype)) + " " + fields[0].shape.text() + " and " +
              std::string(dtype_name(fields[1].dtype)) + " " + fields[1].shape.text(),
          "Look whether the two files were exchanged."});
  }
  return dataset;
}

fs::path fashion_mnist_folder(const fs::path& otherwise) {
  const fs::path full = "/usr/share/datasets/fashion-mnist";
  const bool installed =
      is_file(full / "train-images-idx3-ubyte.gz") || is_file(full / "train-images-idx3-ubyte");
  return installed ? full : otherwise;
}

}  // namespace lockstep::loader
