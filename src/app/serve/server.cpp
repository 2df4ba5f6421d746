#include "app/serve/server.hpp"

#include "app/deal/threads.hpp"
#include "app/serve/connections.hpp"
#include "app/translate/prepared_job.hpp"
#include "th/base/error.hpp"
#include "th/data/text.hpp"

#include <ATen/Parallel.h>

#include <cstdlib>
#include <iostream>
#include <thread>

namespace th::app {

namespace {

constexpr std::int64_t kMostRequests = 1024;           // accepted and not answered
constexpr std::int64_t kBytesOfTranslation = 1 << 20;  // of the texts that are translated together

/// Translates requests that came in, whoever sent them.
class Worker {
 public:
  Worker(ChunkTranslator& translator, const LoadedModel& model)
      : translator_(translator), model_(model) {}

  [[nodiscard]] std::vector<RequestQueue::Answer> answers(
      const std::vector<ServedRequest>& requests) {
    std::vector<Ids> sources(requests.size());
    std::vector<model::SentenceOptions> sentences(requests.size());
    std::vector<std::string> warnings(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      sentences[i].number = requests[i].number;
      if (data::is_white(requests[i].text)) continue;
      const ChunkTranslator::Source source = translator_.source_of(requests[i].text);
      sources[i] = source.ids;
      if (source.cut) warnings[i] = "the text was cut to the positions that the model learned";
    }
    std::vector<RequestQueue::Answer> all;
    const auto hypotheses = translator_.decode(sources, sentences, [] { return false; });
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const auto& found = (*hypotheses)[i];
      const std::string text =
          found.empty() ? "" : model_.tokenizers().target->decode(found.front().ids);
      all.push_back(
          {requests[i].client,
           answer_line(requests[i], text, found.empty() ? 0 : found.front().score, warnings[i])});
    }
    return all;
  }

 private:
  ChunkTranslator& translator_;
  const LoadedModel& model_;
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
  Worker worker(job.translator(), job.model());
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
