#pragma once
// The table as text, CSV, JSON and one HTML page.

#include <string>

#include "table.h"

namespace lockstep::tools {

std::string to_text(const Table& table, bool color);
/// One header line and one line a row, with the environment's main entries at each line's end.
std::string to_csv(const Table& table);
std::string to_json(const Table& table);
std::string to_html(const Table& table);

/// "Single operations, a row alone and in its batch" for 'a'.
std::string experiment_title(char experiment);
/// "equal", "12 of 256 differ, by up to 3.1e-06", or "refused".
std::string side_text(const Side& side);
/// One sentence over everything.
std::string summary(const Table& table);

}  // namespace lockstep::tools
