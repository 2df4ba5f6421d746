#pragma once

#include <mpi.h>

#include "th/runtime/transport/launch.hpp"

namespace th::runtime {

/// Tests the connections between this rank and the others, because MPI's collectives wait for ever
/// if packets between two hosts do not arrive. Every rank exchanges a message with every other one;
/// with more than 256 ranks, with those at distances of 1, 2, 4, … ranks. A rank that gets no
/// answer within TH_LINK_SECONDS of `env` (60 if it is not set) writes to stderr which ranks did
/// not answer, its host and its network interfaces, and ends the launch with
/// ExitCode::kCommunication. Throws DeckError if TH_LINK_SECONDS is no number above 0. Collective
/// over `world`, before any other communication.
///
/// TH_FAIL_LINK=A-B plants a fault: ranks A and B send each other nothing (tests).
void require_links(MPI_Comm world, const Environment& env);

}  // namespace th::runtime
