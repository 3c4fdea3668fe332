#pragma once
// What is trained on, and the settings of one trainer that decide what is computed.

#include <map>
#include <string>

#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::trainers {

struct TrainingSetup {
  std::string program;
  loader::DatasetPtr dataset;
  std::map<std::string, std::string> semantic;  ///< of this trainer: model, loss, optimizer and its constants
  std::map<std::string, std::string> field_names;  ///< field → dataset and variant, for the batch report
};

}  // namespace lockstep::trainers
