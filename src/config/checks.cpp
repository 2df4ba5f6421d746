#include "checks.hpp"

namespace th::config {

namespace {

class Checker {
 public:
  Checker(const Origins& origins, const std::string& file, std::vector<std::string>& problems, std::vector<std::string>& warnings)
      : origins_(origins), file_(file), problems_(problems), warnings_(warnings) {}

  [[nodiscard]] bool given(const std::string& key) const { return origins_.contains(key); }
  void require(bool fine, const std::string& key, const std::string& what) {
    if (!fine) problems_.push_back((given(key) ? origins_.at(key) : file_ + ":1") + ": " + key + ": " + what);
  }
  void warn_if(bool idle, const std::string& key, const std::string& why) {
    if (idle && given(key)) warnings_.push_back(origins_.at(key) + ": " + key + " has no effect: " + why);
  }
  void pair(const std::string& key, const std::string& source, const std::string& target) {
    require(source.empty() == target.empty(), "data." + key + (source.empty() ? "_source" : "_target"),
            "missing; data." + key + "_source and data." + key + "_target come together");
  }

 private:
  const Origins& origins_;
  const std::string& file_;
  std::vector<std::string>& problems_;
  std::vector<std::string>& warnings_;
};

}  // namespace

void check(const RunConfig& c, const Origins& origins, const std::string& file, std::vector<std::string>& problems, std::vector<std::string>& warnings) {
  Checker k(origins, file, problems, warnings);
  const bool synthetic = c.data.synthetic != Synthetic::kNone;
  k.require(c.model.d_model % c.model.num_heads == 0, "model.num_heads",
            std::to_string(c.model.num_heads) + " does not divide model.d_model = " + std::to_string(c.model.d_model) + "; allowed divisors of it");
  k.pair("train", c.data.train_source, c.data.train_target);
  k.pair("valid", c.data.valid_source, c.data.valid_target);
  k.pair("test", c.data.test_source, c.data.test_target);
  k.require(synthetic || !c.data.train_source.empty(), "data.train_source", "missing; give the training text, or data.synthetic = random_ids");
  k.require(!synthetic || c.data.train_source.empty(), "data.synthetic", "random_ids and data.train_source contradict each other");
  k.require(!synthetic || c.data.vocab_size > 4, "data.vocab_size", "random_ids needs the vocabulary's size; allowed from 5");
  k.require(!synthetic || c.train.max_steps > 0, "train.max_steps", "random_ids needs a number of steps; allowed from 1");
  k.require(c.data.vocab_size == 0 || c.data.vocab_size > 4, "data.vocab_size", "the four special tokens count; allowed 0 or from 5");
  k.require(c.checkpoint.resume == Resume::kNone || c.checkpoint.init_from.empty() || c.checkpoint.resume == Resume::kLatest, "checkpoint.init_from",
            "contradicts checkpoint.resume with a path");
  k.require(!(k.given("data.batch_size") && c.data.batch_tokens > 0), "data.batch_tokens", "contradicts data.batch_size; give one of them");
  k.warn_if(c.zero.offload_optimizer, "zero.offload_optimizer", "the device is a CPU");
  k.warn_if(c.zero.offload_parameters, "zero.offload_parameters", "the device is a CPU");
  k.warn_if(c.schedule.name == ScheduleKind::kConstant, "schedule.warmup_steps", "schedule.name is constant");
  k.warn_if(c.schedule.name != ScheduleKind::kCosine && c.schedule.name != ScheduleKind::kWarmupLinear, "schedule.total_steps", "only cosine and warmup_linear end");
  k.warn_if(c.optimizer.name == OptimizerKind::kSgd, "optimizer.beta1", "optimizer.name is sgd");
  k.warn_if(c.optimizer.name == OptimizerKind::kSgd, "optimizer.beta2", "optimizer.name is sgd");
  k.warn_if(!synthetic, "data.synthetic_length", "data.synthetic is none");
  k.warn_if(synthetic, "data.batch_tokens", "synthetic batches have data.batch_size sentences");
  k.warn_if(c.data.valid_source.empty(), "train.valid_every_steps", "there is no validation text");
  k.warn_if(c.checkpoint.every_epochs == 0 && c.checkpoint.every_steps == 0, "checkpoint.keep_last", "no checkpoints are written");
  k.warn_if(!c.profile.enabled, "profile.first_step", "profile.enabled is false");
  k.warn_if(!c.profile.enabled, "profile.steps", "profile.enabled is false");
}

}  // namespace th::config
