#pragma once

#include <mpi.h>

#include "th/runtime/transport/launch.hpp"

namespace th::runtime {

/// Tries the way between this rank and the others: MPI's collectives wait for ever where the
/// packets of two hosts do not arrive. Every rank sends a message to every other one and waits for
/// theirs; above 256 ranks to and from those at distances of 1, 2, 4, … ranks. A rank that had no
/// answer within TH_LINK_SECONDS of `env` (60 where it is not set) writes to stderr which ranks
/// did not answer, this host and its network interfaces, and ends the launch with
/// ExitCode::kCommunication. Throws DeckError where TH_LINK_SECONDS is no number above 0.
/// Collective over `world`, before any other communication.
///
/// TH_FAIL_LINK=A-B plants a fault: ranks A and B send each other nothing (tests).
void require_links(MPI_Comm world, const Environment& env);

}  // namespace th::runtime
