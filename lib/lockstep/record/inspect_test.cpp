#include "lockstep/record/inspect.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "lockstep/record/record_test.h"

namespace lockstep::record::testing {
namespace {

class Inspect : public ::testing::Test {
 protected:
  std::filesystem::path file_with(const std::string& bytes) {
    write_file(folder_.path() / "run.lsr", bytes);
    return folder_.path() / "run.lsr";
  }

  TemporaryFolder folder_;
};

bool holds(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

TEST_F(Inspect, CountsWhatTheFileHolds) {
  const Inspection inspection = inspect(file_with(small_builder().end().bytes));
  EXPECT_EQ(inspection.check.verdict, Verdict::complete);
  EXPECT_EQ(inspection.frames.at(FrameType::batch), 2);
  EXPECT_EQ(inspection.frames.at(FrameType::end), 1);
  EXPECT_EQ(inspection.tensors.at(Phase::gradient), 1);
  EXPECT_EQ(inspection.first_step, 0);
  EXPECT_EQ(inspection.last_step, 1);
  ASSERT_EQ(inspection.events.size(), 1u);
  EXPECT_TRUE(inspection.records.empty());
}

TEST_F(Inspect, OneStepInFull) {
  const Inspection inspection = inspect(file_with(small_builder().end().bytes), 1);
  ASSERT_EQ(inspection.records.size(), 4u);
  const std::string text = to_text(inspection, false);
  for (const char* words : {"step 1: epoch 0, batch 1, 2 samples", "5 7", "field data", "uint8 [2, 3]",
                            "97 98 99 100 101 102", "loss loss", "0x3f800000", "gradient fc1.weight",
                            "event checkpoint", "01020304050607081112131415161718"}) {
    EXPECT_TRUE(holds(text, words)) << words << " in\n" << text;
  }
  EXPECT_FALSE(holds(text, "step 0"));
  EXPECT_TRUE(holds(to_text(inspection, false, 2), "97 98 … and 4 more"));
}

TEST_F(Inspect, AStepThatIsNotThere) {
  EXPECT_ERROR(inspect(file_with(small_builder().end().bytes), 9), ErrorCode::not_found,
               "step: expected 0 to 1, got 9");
  EXPECT_ERROR(inspect(file_with(Builder().end().bytes), 0), ErrorCode::not_found, "there is none");
}

TEST_F(Inspect, TextOfAWholeAndOfATornFile) {
  const std::string whole = to_text(inspect(file_with(small_builder().end().bytes)), false);
  for (const char* words : {"complete: 8 frames", "00112233445566778899aabbccddeeff, segment 0, rank 0 of 1",
                            "demo --seed 7", "batch 2, loss 2, tensor 1, event 1, end 1", "gradient 1",
                            "0 to 1", "semantic settings", "checkpoint: step 1"}) {
    EXPECT_TRUE(holds(whole, words)) << words << " in\n" << whole;
  }
  EXPECT_FALSE(holds(whole, "\033"));
  const std::string torn = to_text(inspect(file_with(small_builder().torn().bytes)), true);
  EXPECT_TRUE(holds(torn, "\033[31mtorn tail"));
  EXPECT_TRUE(holds(to_text(inspect(file_with("no")), false), "not a recording"));
}

TEST_F(Inspect, ControlCharactersNeverReachTheTerminal) {
  Builder builder = small_builder();
  builder.add(FrameType::event, EventRecord{1, "bad\033[2J", "line\nbreak\a"});
  const std::string text = to_text(inspect(file_with(builder.end().bytes)), false);
  EXPECT_TRUE(holds(text, "bad.[2J: line.break."));
  EXPECT_FALSE(holds(text, "\033"));
}

TEST_F(Inspect, Json) {
  Builder builder = small_builder();
  TensorSummary floats = summary_of("x");
  floats.dtype = DType::float32;
  floats.shape = {2};
  floats.values = std::string("\0\0\xc0\x7f\0\0\x80\xbf", 8);
  floats.statistics.emplace();
  floats.statistics->min = std::nan("");
  builder.add(FrameType::tensor, TensorRecord{1, Phase::named, floats});
  builder.add(FrameType::event, EventRecord{1, "odd", "not UTF-8: \xff"});
  const auto json = nlohmann::json::parse(to_json(inspect(file_with(builder.end().bytes), 1)));
  EXPECT_EQ(json["schema"], "lockstep.inspect/1");
  EXPECT_EQ(json["verdict"], "complete");
  EXPECT_TRUE(json["first_bad_offset"].is_null());
  EXPECT_EQ(json["frames"]["tensor"], 2);
  EXPECT_EQ(json["run"]["started_ns"], "1700000000000000000");
  EXPECT_EQ(json["step"], 1);
  ASSERT_EQ(json["records"].size(), 6u);
  EXPECT_EQ(json["records"][0]["ids"], (std::vector<std::string>{"5", "7"}));
  EXPECT_EQ(json["records"][0]["fields"][0]["values"][5], "102");
  const auto& tensor = json["records"][4]["tensor"];
  EXPECT_EQ(tensor["values"], (std::vector<std::string>{"nan", "-1"}));
  EXPECT_EQ(tensor["bits"], (std::vector<std::string>{"0x7fc00000", "0xbf800000"}));
  EXPECT_TRUE(tensor["statistics"]["min"].is_null());
  EXPECT_EQ(nlohmann::json::parse(to_json(inspect(file_with("no"))))["verdict"], "not a recording");
}

TEST_F(Inspect, DamageIsToldInJson) {
  Built built = small_builder().end();
  built.bytes[built.begins[2] + 40] ^= 1;
  const auto json = nlohmann::json::parse(to_json(inspect(file_with(built.bytes))));
  EXPECT_EQ(json["verdict"], "damaged middle");
  EXPECT_EQ(json["first_bad_offset"], built.begins[2]);
  EXPECT_EQ(json["lost_ranges"], 1);
  EXPECT_FALSE(json.contains("records"));
}

}  // namespace
}  // namespace lockstep::record::testing
