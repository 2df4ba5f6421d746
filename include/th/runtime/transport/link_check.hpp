#pragma once

#include <chrono>
#include <string>

#include <mpi.h>

#include "th/runtime/transport/launch.hpp"

namespace th::runtime {

/// Tries the way between this rank and the others: MPI's collectives wait for ever where the
/// packets of two hosts do not arrive. Every rank sends a message to every other one and waits for
/// theirs; above 256 ranks to and from those at distances of 1, 2, 4, … ranks. Returns an error
/// text that names the ranks that did not answer within `limit`, this host and its network
/// interfaces; empty when all answered. Collective over `world`, before any other communication.
/// After an error the process must not communicate again: it ends by MPI_Abort.
///
/// TH_FAIL_LINK=A-B, read from `env`, plants a fault: ranks A and B send each other nothing
/// (tests).
[[nodiscard]] std::string check_links(MPI_Comm world, std::chrono::duration<double> limit,
                                      const Environment& env);

/// The limit of check_links: TH_LINK_SECONDS, or 60 s where it is not set. Throws DeckError where
/// it is no number above 0.
[[nodiscard]] std::chrono::duration<double> link_limit(const Environment& env);

/// check_links by the limit of `env`; on an error every rank that has one writes it to stderr,
/// behind its rank and host, and ends the launch with ExitCode::kCommunication. Collective.
void require_links(MPI_Comm world, const Environment& env);

}  // namespace th::runtime
