#include "lockstep_loader/format/image_folder.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/content_internal.h"
#include "lockstep_loader/format/image_internal.h"

namespace lockstep::loader {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kRead{".png", ".jpg", ".jpeg"};
constexpr std::array<std::string_view, 7> kNotRead{".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"};
constexpr std::int64_t kFingerprintFiles = 256;

std::string lower_suffix(const fs::path& path) {
  std::string suffix = path.extension().string();
  for (char& c : suffix) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return suffix;
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// Lists `folder` sorted by the bytes of the names, whatever the locale and the file system say.
std::vector<fs::directory_entry> sorted_entries(const fs::path& folder) {
  std::vector<fs::directory_entry> entries;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!is_hidden(at->path())) entries.push_back(*at);
  }
  if (error)
    fail_errno(error.value(), folder.string(), "image folder",
               "Name a folder that holds one folder a class.");
  std::ranges::sort(entries, {},
                    [](const fs::directory_entry& entry) { return entry.path().filename().native(); });
  return entries;
}

/// Paths relative to `root` of the images below `folder`, unsorted.
void collect_images(const fs::path& root, const fs::path& folder, std::vector<std::string>& paths) {
  for (const fs::directory_entry& entry : sorted_entries(folder)) {
    std::error_code ignored;
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) {
      collect_images(root, entry.path(), paths);
      continue;
    }
    const std::string suffix = lower_suffix(entry.path());
    if (std::ranges::find(kNotRead, suffix) != kNotRead.end()) {
      fail(ErrorCode::unsupported, {entry.path().string(), "image", "PNG or JPEG", suffix,
                                    "Convert it, or move it out of the folder."});
    }
    if (std::ranges::find(kRead, suffix) != kRead.end()) {
      paths.push_back(entry.path().lexically_relative(root).generic_string());
    }
  }
}

/// Reads a whole file into memory that is used again: for small files faster than a mapping.
std::span<const std::byte> read_file(const std::string& path, std::vector<std::byte>& memory) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) fail_errno(errno, path, "image cannot be opened");
  struct stat status {};
  std::size_t done = 0;
  int error = ::fstat(file, &status) != 0 ? errno : 0;
  if (error == 0 && !S_ISREG(status.st_mode)) error = EISDIR;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (error == 0 && memory.size() < size) memory.resize(size);
  while (error == 0 && done < size) {
    const ssize_t got = ::read(file, memory.data() + done, size - done);
    if (got < 0 && errno != EINTR) error = errno;
    if (got == 0) break;
    if (got > 0) done += static_cast<std::size_t>(got);
  }
  ::close(file);
  if (error != 0) fail_errno(error, path, "image cannot be read");
  return {memory.data(), done};
}

}  // namespace

/// As many decoders as threads that decode at once.
class ImageFolder::DecoderPool {
 public:
  /// Gives the decoder back, also when an image is bad.
  struct Lease {
    DecoderPool& pool;
    std::unique_ptr<ImageDecoder> decoder;

    explicit Lease(DecoderPool& from) : pool(from), decoder(from.take()) {}
    ~Lease() { pool.give(std::move(decoder)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
  };

 private:
  std::unique_ptr<ImageDecoder> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<ImageDecoder> decoder = std::move(idle_.back());
        idle_.pop_back();
        return decoder;
      }
    }
    return std::make_unique<ImageDecoder>();
  }
  void give(std::unique_ptr<ImageDecoder> decoder) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(decoder));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<ImageDecoder>> idle_;
};

ImageFolder::ImageFolder(const fs::path& root, const ImageFolderOptions& options)
    : root_(root), options_(options), decoders_(std::make_unique<DecoderPool>()) {
  constexpr std::int64_t kMostExtent = std::int64_t{1} << 20;
  if (options.height < 1 || options.width < 1 || options.height > kMostExtent ||
      options.width > kMostExtent) {
    fail(ErrorCode::invalid_argument, {root.string(),
                                       "height and width",
                                       fmt::format("1 to {}", kMostExtent),
                                       fmt::format("{} and {}", options.height, options.width),
                                       {}});
  }
  for (const fs::directory_entry& entry : sorted_entries(root_)) {
    std::error_code ignored;
    if (entry.is_directory(ignored)) classes_.push_back(entry.path().filename().string());
  }
  if (classes_.empty()) {
    fail(ErrorCode::invalid_argument, {root.string(), "image folder", "one folder a class", "no folder in it",
                                       "Move the images into folders named as their classes."});
  }
  for (std::size_t label = 0; label < classes_.size(); ++label) list_class(static_cast<std::int64_t>(label));
  fields_ = {{"image", DType::uint8, {options.height, options.width, options.grayscale ? 1 : 3}},
             {"label", DType::int64, {}}};
}

ImageFolder::~ImageFolder() = default;

void ImageFolder::list_class(std::int64_t label) {
  const fs::path folder = root_ / classes_[static_cast<std::size_t>(label)];
  std::vector<std::string> paths;
  collect_images(root_, folder, paths);
  if (paths.empty()) {
    fail(ErrorCode::invalid_argument, {folder.string(), "class", "at least one .png, .jpg or .jpeg", "none",
                                       "Remove the folder, or put its images in."});
  }
  std::ranges::sort(paths);
  for (std::string& path : paths) files_.push_back({std::move(path), label});
}

void ImageFolder::get(std::int64_t index, const random::RecordKey&, std::span<std::byte* const> out) const {
  if (index < 0 || index >= size()) {
    fail(ErrorCode::invalid_argument,
         {root_.string(), "record", fmt::format("0 to {}", size() - 1), fmt::to_string(index), {}});
  }
  const File& file = files_[static_cast<std::size_t>(index)];
  const std::string path = (root_ / file.path).string();
  const DecoderPool::Lease lease(*decoders_);
  lease.decoder->decode(read_file(path, lease.decoder->file_memory()), path, options_, out[0]);
  std::memcpy(out[1], &file.label, sizeof(file.label));
}

fingerprint::Digest ImageFolder::fingerprint() const {
  return fingerprint_.get([this] {
    FingerprintBuilder builder("image folder");
    builder.add(fields_).add(static_cast<std::int64_t>(options_.fit)).add(size());
    for (const std::string& name : classes_) builder.add(name);
    const std::int64_t step = std::max<std::int64_t>(1, (size() + kFingerprintFiles - 1) / kFingerprintFiles);
    for (std::int64_t at = 0; at < size(); ++at) {
      const File& file = files_[static_cast<std::size_t>(at)];
      std::error_code error;
      const std::uintmax_t bytes = fs::file_size(root_ / file.path, error);
      builder.add(file.path).add(error ? std::int64_t{-1} : static_cast<std::int64_t>(bytes));
      if (!error && at % step == 0) builder.add(digest_content(map_file(root_ / file.path).bytes));
    }
    return builder.finish();
  });
}

std::string ImageFolder::describe() const {
  return fmt::format("image folder {} ({} records in {} classes)", root_.string(), size(), classes_.size());
}

}  // namespace lockstep::loader
