#include "options.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include <cxxopts.hpp>
#include <fmt/format.h>

#include "lists.h"
#include "lockstep/base/error.h"
#include "lockstep/base/version.h"
#include "lockstep/simd/targets.h"

namespace lockstep::list_samples {
namespace {

constexpr const char* kDescription =
    "Which records a batch holds, without reading data. One JSON object a line.\n\n"
    "Example: the batches that DataLoader(dataset, 32, shuffle=True, generator=g), with\n"
    "g = torch.Generator().manual_seed(7) and 60000 records, delivers in two epochs:\n"
    "  list_samples --order torch --count 60000 --sampler random --seed 7 --batch-size 32 --epochs 2\n";

constexpr const char* kFooter =
    "Torch order and its generators (the README has all rules): --sampler random alone is shuffle=True, "
    "whose sampler\n"
    "draws from the loader's generator (--seed) or else the global one (--global-seed). With --replacement "
    "or\n"
    "--num-samples, and for weighted and subset, it is a sampler made by hand: in PyTorch the loader's "
    "generator does not\n"
    "reach it, so it draws from the global one, which --global-seed must give. With --seed alone that order "
    "would be\n"
    "different in every run; then the sampler is handed the loader's generator too (generator=g in both "
    "places).\n"
    "--sampler-generator says otherwise.\n\n"
    "Exit status: 0 listed, 2 trouble, 130 interrupted.\n";

[[noreturn]] void usage(std::string what, std::string expected, std::string got, std::string next) {
  fail(ErrorCode::invalid_argument,
       {"list_samples", std::move(what), std::move(expected), std::move(got), std::move(next)});
}

cxxopts::Options described_options() {
  const auto text = [] { return cxxopts::value<std::string>(); };
  cxxopts::Options options("list_samples", kDescription);
  options.set_width(110);
  options.add_options("Order")("order",
                               "native: any epoch and position at once. torch: PyTorch 2.11's DataLoader",
                               text()->default_value("native"), "torch|native")(
      "count", "records of the dataset; not needed with --weights or --indices", text(), "N")(
      "sampler", "random is shuffle=True", text()->default_value("random"),
      "sequential|random|weighted|subset")(
      "seed", "native: the seed (0 if not given). torch: a generator with this seed, handed to the loader",
      text(), "S")("global-seed", "torch: torch.manual_seed(S) before the loader is made", text(), "S")(
      "sampler-generator", "torch: what a sampler made by hand draws from (see below)",
      text()->default_value("auto"),
      "auto|loader|global")("replacement", "draw with replacement (random, weighted)")(
      "num-samples", "positions in an epoch (random, weighted)", text(), "K")(
      "weights", "weights of the records, for --sampler weighted", text(), "a,b,...|@FILE")(
      "indices", "record ids, for --sampler subset", text(), "a,b,...|@FILE");
  options.add_options("Batches")("batch-size", "samples of a batch, all ranks of --world-size together",
                                 text()->default_value("1"),
                                 "B")("drop-last", "leave out a short last batch")(
      "wrap-last", "native: fill a short last batch from the epoch's beginning")(
      "workers", "torch: with --prefetch-factor decides what an early stop has drawn; native: no influence",
      text()->default_value("0"),
      "W")("prefetch-factor", "batches fetched ahead by each worker; no meaning without workers",
           text()->default_value("2"),
           "F")("persistent-workers", "torch: the base seed is drawn in the first epoch only")(
      "epochs", "epochs to list (default: 1, or as many as --stop-after names)", text(), "E")(
      "stop-after", "batches taken in each epoch before the consumer breaks off; - for all and the end met",
      text(), "k1,k2,...")("world-size", "ranks; each takes its consecutive part of every batch",
                           text()->default_value("1"),
                           "W")("rank", "the rank to list, from 0", text()->default_value("0"), "R")(
      "no-in-order", "torch's in_order=False: refused, with the reason");
  options.add_options("torch's DistributedSampler")(
      "distributed",
      "each of --world-size ranks has a DistributedSampler and batches of its own; shuffle=False with "
      "--sampler sequential")("sampler-seed", "its seed", text()->default_value("0"), "S")(
      "epoch", "the first epoch: set_epoch(E), then E+1, …; also the first epoch of native order",
      text()->default_value("0"),
      "E")("no-set-epoch", "set_epoch is not called again: every epoch repeats --epoch")(
      "sampler-drop-last", "its drop_last (--drop-last is the loader's)");
  options.add_options("Instead of batches")(
      "split", "the parts of random_split: sizes or fractions; one object a part", text(), "a,b,...")(
      "permutation", "one randperm of --count, one object");
  options.add_options("Output")(
      "start",
      "begin at this sample, counted over epochs and ranks; --epochs then counts from the epoch it lies in",
      text()->default_value("0"), "SAMPLE")("limit", "list at most this many batches", text(), "BATCHES")(
      "digest", "instead of batches one object an epoch: count and sha256 of the ids as little-endian int64")(
      "draws", "torch: also one object an epoch: base_seed, and the int64 that either generator draws next")(
      "worker-seeds",
      "torch: also one object a worker when workers start: torch's seed, its first draw, NumPy's words")(
      "quiet", "no notes on stderr")("version", "version, commit, compiler and flags")("help", "this text");
  return options;
}

/// What was given, as typed values.
class Flags {
 public:
  explicit Flags(const cxxopts::ParseResult& parsed) : parsed_(parsed) {}

  bool given(const char* flag) const { return parsed_.count(flag) > 0; }
  std::string text(const char* flag) const { return parsed_[flag].as<std::string>(); }

  std::int64_t integer(const char* flag, std::int64_t least,
                       std::int64_t most = std::numeric_limits<std::int64_t>::max()) const {
    const std::int64_t value = parse_integer(dashed(flag), text(flag));
    if (value >= least && value <= most) return value;
    usage(dashed(flag), fmt::format("{} or more", least), text(flag), {});
  }
  int small(const char* flag, int least) const {
    return static_cast<int>(integer(flag, least, std::numeric_limits<int>::max()));
  }
  std::optional<std::int64_t> optional_integer(const char* flag, std::int64_t least) const {
    return given(flag) ? std::optional(integer(flag, least)) : std::nullopt;
  }
  std::optional<std::uint64_t> optional_seed(const char* flag) const {
    return given(flag) ? std::optional(parse_seed(dashed(flag), text(flag))) : std::nullopt;
  }

  template <class T>
  T choice(const char* flag, std::initializer_list<std::pair<const char*, T>> choices) const {
    std::string expected;
    for (const auto& [name, value] : choices) {
      if (text(flag) == name) return value;
      expected += (expected.empty() ? "" : ", ") + std::string(name);
    }
    usage(dashed(flag), "one of " + expected, "\"" + text(flag) + "\"", {});
  }

  static std::string dashed(const char* flag) { return std::string("--") + flag; }

 private:
  const cxxopts::ParseResult& parsed_;
};

void read_order(const Flags& flags, Options& options) {
  options.order = flags.choice<Order>("order", {{"torch", Order::torch}, {"native", Order::native}});
  options.sampler = flags.choice<SamplerKind>("sampler", {{"sequential", SamplerKind::sequential},
                                                          {"random", SamplerKind::random},
                                                          {"weighted", SamplerKind::weighted},
                                                          {"subset", SamplerKind::subset}});
  options.sampler_generator =
      flags.choice<SamplerGenerator>("sampler-generator", {{"auto", SamplerGenerator::automatic},
                                                           {"loader", SamplerGenerator::loader},
                                                           {"global", SamplerGenerator::global}});
  options.count = flags.optional_integer("count", 0);
  options.seed = flags.optional_seed("seed");
  options.global_seed = flags.optional_seed("global-seed");
  options.replacement = flags.given("replacement");
  options.num_samples = flags.optional_integer("num-samples", 0);
  if (flags.given("weights")) options.weights = parse_numbers("--weights", flags.text("weights"));
  if (flags.given("indices")) options.indices = parse_integers("--indices", flags.text("indices"));
}

void read_batches(const Flags& flags, Options& options) {
  options.batch_size = flags.integer("batch-size", 1);
  options.drop_last = flags.given("drop-last");
  options.wrap_last = flags.given("wrap-last");
  options.workers = flags.small("workers", 0);
  options.prefetch_factor = flags.small("prefetch-factor", 1);
  options.persistent_workers = flags.given("persistent-workers");
  if (flags.given("stop-after")) options.stop_after = parse_stops("--stop-after", flags.text("stop-after"));
  options.epochs =
      flags.optional_integer("epochs", 0)
          .value_or(std::max<std::int64_t>(1, static_cast<std::int64_t>(options.stop_after.size())));
  options.world_size = flags.small("world-size", 1);
  options.rank = flags.small("rank", 0);
  options.distributed = flags.given("distributed");
  options.sampler_seed = parse_seed("--sampler-seed", flags.text("sampler-seed"));
  options.epoch = flags.integer("epoch", 0);
  options.set_epoch = !flags.given("no-set-epoch");
  options.sampler_drop_last = flags.given("sampler-drop-last");
}

void read_output(const Flags& flags, Options& options) {
  if (flags.given("split")) options.split = parse_numbers("--split", flags.text("split"));
  options.permutation = flags.given("permutation");
  options.start = flags.integer("start", 0);
  options.limit = flags.optional_integer("limit", 0);
  options.worker_seeds = flags.given("worker-seeds");
  options.digest = flags.given("digest");
  options.draws = flags.given("draws");
  options.quiet = flags.given("quiet");
}

void check_native(const Flags& flags) {
  for (const char* flag : {"global-seed", "distributed", "sampler-seed", "no-set-epoch", "sampler-drop-last",
                           "draws", "worker-seeds"}) {
    if (!flags.given(flag)) continue;
    usage(Flags::dashed(flag), "--order torch", "native order, which draws from no generator",
          "Add --order torch to replay PyTorch, or leave the flag out");
  }
}

void check_torch(const Flags& flags, const Options& options) {
  if (options.wrap_last)
    usage("--wrap-last", "--order native", "--order torch", "PyTorch keeps or drops a short batch");
  if (options.persistent_workers && options.workers == 0) {
    usage("--persistent-workers", "--workers 1 or more, as PyTorch asks", "0", {});
  }
  if (flags.given("epoch") && !options.distributed) {
    usage("--epoch", "--order native or --distributed", "--order torch",
          "Other epochs of torch order follow from each other: list them from the first with --epochs");
  }
  if (!options.distributed) return;
  if (options.sampler == SamplerKind::weighted || options.sampler == SamplerKind::subset ||
      options.replacement || options.num_samples) {
    usage("--distributed", "no other sampler beside DistributedSampler", "one",
          "Leave out --sampler (or pass sequential for shuffle=False), --replacement and --num-samples");
  }
}

void check_combinations(const Flags& flags, const Options& options) {
  if (flags.given("no-in-order")) {
    fail(ErrorCode::unsupported,
         {"list_samples", "in_order=False", "batches in their order", "batches as they arrive",
          "Which worker is first is decided by the machine's load and cannot be told or "
          "replayed: leave the flag out"});
  }
  if (options.drop_last && options.wrap_last) usage("--wrap-last", "it or --drop-last", "both", {});
  if (options.permutation && options.split) usage("--permutation", "it or --split", "both", {});
  if (flags.given("epochs") && options.start == 0 &&
      static_cast<std::int64_t>(options.stop_after.size()) > options.epochs) {
    usage("--stop-after", fmt::format("at most {} entries, one an epoch", options.epochs),
          std::to_string(options.stop_after.size()), "Raise --epochs or shorten the list");
  }
  options.order == Order::native ? check_native(flags) : check_torch(flags, options);
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv) {
  cxxopts::Options described = described_options();
  try {
    const cxxopts::ParseResult parsed = described.parse(argc, argv);
    const Flags flags(parsed);
    if (flags.given("help")) {
      fmt::print(
          "{}\n{}",
          described.help({"Order", "Batches", "torch's DistributedSampler", "Instead of batches", "Output"}),
          kFooter);
      return std::nullopt;
    }
    if (flags.given("version")) {
      fmt::print("{}", version_text("list_samples", simd::active_instruction_set()));
      return std::nullopt;
    }
    if (!parsed.unmatched().empty()) usage("argument", "flags only", "\"" + parsed.unmatched()[0] + "\"", {});
    Options options;
    read_order(flags, options);
    read_batches(flags, options);
    read_output(flags, options);
    check_combinations(flags, options);
    return options;
  } catch (const cxxopts::exceptions::exception& error) {
    usage("arguments", {}, error.what(), "See list_samples --help");
  }
}

}  // namespace lockstep::list_samples
