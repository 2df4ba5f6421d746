// th_check_deck DECK [section.key=value]… --check: what th_app answers, by the same functions,
// without LibTorch, whose start takes most of such an answer's time.
#include <cstdio>
#include <string>

#include "app/checked_deck.hpp"
#include "th/base/error.hpp"
#include "th/config/command_line.hpp"
#include "th/config/deck.hpp"

int main(int argc, char** argv) {
  try {
    const th::config::CommandLine line = th::config::parse_command_line(argc, argv);
    if (line.action != th::config::Action::kCheck || line.reads_data)
      throw th::InternalError("th_check_deck answers --check alone");
    const th::config::LoadedDeck deck = th::config::load_deck(line.deck_path, line.overrides);
    const std::string text = th::app::checked_deck(deck, nullptr) + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  } catch (const th::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
