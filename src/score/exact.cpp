#include "th/score/exact.hpp"

#include "score/signature.hpp"
#include "score/unicode.hpp"
#include "th/base/error.hpp"

namespace th::score {

std::int64_t exact_lines(std::span<const std::string> hypotheses,
                         std::span<const std::string> references) {
  ensure(hypotheses.size() == references.size(), "exact_lines: unequal counts of lines");
  std::int64_t count = 0;
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    const std::u32string h = code_points(hypotheses[i]), r = code_points(references[i]);
    count += trimmed(h) == trimmed(r) ? 1 : 0;
  }
  return count;
}

std::string exact_signature() { return "nrefs:1|case:mixed|trim:yes" + version_field(); }

}  // namespace th::score
