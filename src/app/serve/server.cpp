#include "app/serve/server.hpp"

#include "app/deal/threads.hpp"
#include "app/serve/connections.hpp"
#include "app/translate/prepared_job.hpp"
#include "th/base/error.hpp"
#include "th/data/text.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <thread>

namespace th::app {

namespace {

constexpr std::int64_t kMostRequests = 1024;           // accepted and not answered
constexpr std::int64_t kLongestSource = 4096;          // ids
constexpr std::int64_t kBytesOfTranslation = 1 << 20;  // of the texts that are translated together

/// Translates requests that came in, whoever sent them.
class Worker {
 public:
  using Answers = std::vector<RequestQueue::Answer>;
  Worker(ChunkTranslator& translator, const LoadedModel& model, std::int64_t longest_source)
      : translator_(translator),
        model_(model),
        longest_source_(longest_source),
        most_(translator.plan().options) {}

  [[nodiscard]] Answers answers(const std::vector<ServedRequest>& requests) {
    Answers all;
    std::map<RequestedSearch, std::vector<Question>> alike;
    for (const ServedRequest& request : requests) {
      Question question{request, {}};
      if (!data::is_white(request.text)) question.source = translator_.source_of(request.text);
      const std::string why = why_not(question);
      if (why.empty())
        alike[request.search].push_back(std::move(question));
      else
        all.push_back({request.client, error_line(request.id, why)});
    }
    for (const auto& [search, group] : alike) translate(group, options_of(search), all);
    return all;
  }

 private:
  struct Question {
    const ServedRequest& request;
    ChunkTranslator::Source source;  ///< no ids of a text without words
  };
  [[nodiscard]] model::SearchOptions options_of(const RequestedSearch& asked) const {
    model::SearchOptions options = most_;
    options.best = std::max<std::int64_t>(1, asked.n_best);
    if (most_.sampling)
      options.beam = options.best;
    else if (asked.beam > 0)
      options.beam = asked.beam;
    if (asked.max_length > 0) options.max_length = asked.max_length;
    if (asked.min_length > 0) options.min_length = asked.min_length;
    return options;
  }
  /// Why a request can't be met; empty where it can.
  [[nodiscard]] std::string why_not(const Question& question) const {
    const RequestedSearch& asked = question.request.search;
    const model::SearchOptions options = options_of(asked);
    const auto above = [](const char* name, std::int64_t value, std::int64_t most,
                          const std::string& whose) {
      return "\"" + std::string(name) + "\" " + std::to_string(value) + " is above " +
             std::to_string(most) + ", " + whose;
    };
    if (const std::int64_t ids = std::ssize(question.source.ids); ids > longest_source_)
      return "\"text\" has " + std::to_string(ids) + " ids with its end, and the server takes " +
             std::to_string(longest_source_) + " (--max-source-length)";
    if (most_.sampling && asked.beam > 1) return "\"beam\" searches, and this server draws";
    if (asked.beam > most_.beam)
      return above("beam", asked.beam, most_.beam, "the server's --beam");
    const std::int64_t most = most_.sampling ? most_.best : options.beam;
    if (asked.n_best > most)
      return above("n_best", asked.n_best, most,
                   most_.sampling ? "the server's --n-best" : "the beam");
    if (asked.max_length > most_.max_length)
      return above("max_length", asked.max_length, most_.max_length, "the server's --max-length");
    if (options.min_length > options.max_length)
      return above("min_length", options.min_length, options.max_length, "the longest translation");
    try {
      (void)prefix_of(question.request, options);
    } catch (const DeckError& error) {
      return error.what();
    }
    return "";
  }
  [[nodiscard]] Ids prefix_of(const ServedRequest& request,
                              const model::SearchOptions& options) const {
    LongestPrefix longest = translator_.plan().longest_prefix;
    if (options.max_length < longest.ids)
      longest = {options.max_length,
                 "the longest translation, " + std::to_string(options.max_length) + " ids"};
    return prefix_ids(*model_.tokenizers().target, request.prefix, "", longest);
  }
  /// The answers of requests that are searched for alike.
  void translate(const std::vector<Question>& questions, const model::SearchOptions& options,
                 Answers& answers) {
    std::vector<Ids> sources;
    std::vector<model::SentenceOptions> sentences;
    for (const auto& [request, source] : questions) {
      sources.push_back(source.ids);
      sentences.push_back({request.number, prefix_of(request, options)});
    }
    const auto hypotheses = translator_.decode(sources, sentences, options, [] { return false; });
    for (std::size_t i = 0; i < questions.size(); ++i) {
      const auto& [request, source] = questions[i];
      std::vector<ServedText> texts;
      for (const model::Hypothesis& one : (*hypotheses)[i])
        texts.push_back({model_.tokenizers().target->decode(one.ids), one.score});
      if (texts.empty()) texts.emplace_back();  // without words there is nothing to translate
      const std::string warning =
          source.cut ? "the text was cut to the positions that the model learned" : "";
      answers.push_back({request.client, answer_line(request, texts, warning)});
    }
  }

  ChunkTranslator& translator_;
  const LoadedModel& model_;
  std::int64_t longest_source_;  ///< ids of a text at most
  model::SearchOptions most_;    ///< what the server was started with
};

/// The answers of requests; where one of several can't be translated, of each alone.
void answer(Worker& worker, const std::vector<ServedRequest>& requests, RequestQueue& queue) {
  try {
    queue.answer(worker.answers(requests));
  } catch (const std::exception& error) {
    if (requests.size() == 1) {
      queue.answer({{requests.front().client, error_line(requests.front().id, error.what())}});
      return;
    }
    for (const ServedRequest& request : requests) answer(worker, {request}, queue);
  }
}

}  // namespace

int serve(const Request& request) {
  at::set_num_threads(static_cast<int>(request.threads > 0 ? request.threads : own_cores()));
  const ListeningSocket socket(request.serve);
  PreparedJob job(request);
  for (const std::string& note : job.notes()) std::cerr << "th_translate: " + note + "\n";
  RequestQueue queue(kMostRequests);
  // The thread that talks to clients ends the queue, and with it this one's loop.
  std::thread talking([&] {
    try {
      Connections(socket, queue).run();
    } catch (const std::exception& error) {
      std::cerr << "th_translate: internal error: " + std::string(error.what()) + "\n";
      std::_Exit(static_cast<int>(ExitCode::kDiffers));
    }
    queue.close();
  });
  std::cerr << "th_translate: answers at " + request.serve + "\n" << std::flush;
  Worker worker(job.translator(), job.model(), request.longest_source.value_or(kLongestSource));
  const std::int64_t together = request.batch_tokens > 0 ? kMostRequests : 4 * request.batch;
  while (true) {
    const std::vector<ServedRequest> requests = queue.take(together, kBytesOfTranslation);
    if (requests.empty()) break;
    answer(worker, requests, queue);
  }
  talking.join();
  return static_cast<int>(ExitCode::kCompleted);
}

}  // namespace th::app
