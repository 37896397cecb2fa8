// Scores as a table for people.
#pragma once

#include <string>

#include "train/reconstruction.h"

namespace tessera {

// Model and fills, best first, in dB, with how far the model is ahead of each.
std::string table_of(const ReconstructionScores& scores);

}  // namespace tessera
