#pragma once
// The comparison over abstract streams, so that tests can feed it plain vectors of records.

#include "lockstep/record/compare.h"
#include "lockstep/record/compare_stream_internal.h"

namespace lockstep::record {

Comparison compare_sources(const RunSource& a, const RunSource& b, const CompareOptions& options);

}  // namespace lockstep::record
