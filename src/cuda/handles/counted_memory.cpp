#include "cuda/handles/counted_memory.hpp"

namespace th::cuda {

namespace {

/// One for a process, as the ledger is.
runtime::LedgerCalls calls_of_program;

}  // namespace

void set_ledger(const runtime::LedgerCalls& calls) noexcept { calls_of_program = calls; }
const runtime::LedgerCalls& ledger() noexcept { return calls_of_program; }

}  // namespace th::cuda
