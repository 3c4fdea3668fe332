#pragma once
// SIGINT and SIGTERM as a question that the training loop asks between two steps.

namespace lockstep::trainers {

/// From now on the first SIGINT or SIGTERM only sets what interrupted() returns; a second one ends the
/// process at once.
void catch_interrupts();

/// The number of the signal that came, 0 when none did.
int interrupted();

}  // namespace lockstep::trainers
