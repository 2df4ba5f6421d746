#include "app/deal/messages.hpp"

#include "th/base/error.hpp"

#include <chrono>
#include <limits>
#include <thread>
#include <utility>

namespace th::app {

std::optional<Message> receive(const runtime::Communicator& world) {
  int there = 0;
  MPI_Message handle = MPI_MESSAGE_NULL;
  MPI_Status status;
  runtime::check_mpi(
      MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, world.get(), &there, &handle, &status),
      "MPI_Improbe");
  if (there == 0) return std::nullopt;
  int count = 0;
  runtime::check_mpi(MPI_Get_count(&status, MPI_CHAR, &count), "MPI_Get_count");
  Message message{static_cast<Tag>(status.MPI_TAG), status.MPI_SOURCE,
                  std::string(static_cast<std::size_t>(count), '\0')};
  runtime::check_mpi(MPI_Mrecv(message.bytes.data(), count, MPI_CHAR, &handle, &status),
                     "MPI_Mrecv");
  return message;
}

Outbox::~Outbox() {
  try {
    while (!progress()) nap();
  } catch (const MpiError&) {
    return;  // the error that ends the job is told by who met it
  }
}

void Outbox::send(int rank, Tag tag, std::string bytes) {
  ensure(bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
         "a chunk of lines has more than 2 GiB");
  Sent& sent = sent_.emplace_back();
  sent.bytes = std::move(bytes);
  runtime::check_mpi(MPI_Isend(sent.bytes.data(), static_cast<int>(sent.bytes.size()), MPI_CHAR,
                               rank, static_cast<int>(tag), world_.get(), &sent.request),
                     "MPI_Isend");
}

bool Outbox::progress() {
  std::erase_if(sent_, [](Sent& sent) {
    int left = 0;
    runtime::check_mpi(MPI_Test(&sent.request, &left, MPI_STATUS_IGNORE), "MPI_Test");
    return left != 0;
  });
  return sent_.empty();
}

void nap() { std::this_thread::sleep_for(std::chrono::microseconds(500)); }

}  // namespace th::app
