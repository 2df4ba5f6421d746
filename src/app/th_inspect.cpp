#include <exception>
#include <iostream>
#include <new>
#include <vector>

#include "app/inspect/inspect_commands.hpp"
#include "th/base/error.hpp"

// th_inspect: what is in a checkpoint, and checkpoints from and to other forms. Without MPI and
// LibTorch: it starts at once.
namespace {

using namespace th::app;

/// A command that looks at one checkpoint as a whole.
InspectCommand of_one(const char* name, const char* summary, int (*run)(const InspectRequest&)) {
  return {name, "CHECKPOINT", summary, 1, 1, {}, run};
}

std::vector<InspectCommand> commands() {
  return {
      of_one("info",
             "Step, epoch, run, deck, identity, ranks, parameters, vocabularies and scores.",
             inspect_info),
      of_one("ls", "Names, shapes and dtypes.", inspect_ls),
      {"show",
       "CHECKPOINT NAME[BEGIN:END,…]",
       "Values, a row a line; slices as numpy's, an index keeps its dimension.",
       2,
       2,
       {},
       inspect_show},
      of_one("stat", "Mean, deviation, extremes and the count of non-finite values of each tensor.",
             inspect_stat),
      of_one("verify", "Checks every checksum and source; exit 1 when damaged.", inspect_verify),
      {"diff",
       "A B",
       "Compares by name: largest difference, ULPs, differing elements; exit 1 when they differ.",
       2,
       2,
       {"parameters-only"},
       inspect_diff},
      {"export",
       "CHECKPOINT --output FILE",
       "Writes one safetensors or npz file, or a folder for CTranslate2.",
       1,
       1,
       {"output", "format", "dtype", "parameters", "states", "force"},
       inspect_export},
      {"import",
       "MODEL --output FOLDER",
       "Makes a checkpoint of a safetensors file with the model's names (F32, F16, BF16), or of a "
       "model of Marian or MarianMT (--from).",
       1,
       1,
       {"output", "from", "like", "deck", "vocabulary-source", "vocabulary-target", "force"},
       inspect_import},
      {"average",
       "A B [C …] --output FOLDER",
       "Averages parameters, and their moving averages, into a new checkpoint; optimizer states, "
       "deck and position are those of the last.",
       2,
       10000,
       {"output", "force"},
       inspect_average},
  };
}

int run(int argc, char** argv) {
  const std::vector<InspectCommand> all = commands();
  const auto request = parse_inspect(argc, argv, all);
  int code = 0;
  if (request) {
    for (const auto& command : all) {
      if (request->command == command.name) code = command.run(*request);
    }
  }
  std::cout.flush();
  if (!std::cout) throw th::DataError("the answer can't be written to standard output");
  return code;
}

int fail(const char* message, th::ExitCode code) {
  std::cerr << "th_inspect: " << message << '\n';
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const th::Error& error) {
    return fail(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return fail("out of memory", th::ExitCode::kMemory);
  } catch (const std::exception& error) {
    return fail(error.what(), th::ExitCode::kDiffers);
  }
}
