#include "config/key_table.hpp"

// The keys of the deck's section [model].
namespace th::config {

namespace {

void add_layers(std::vector<Key>& t) {
  t.push_back(integer_key("model.d_model", TH_AT(model.d_model), 2, 1 << 20, "width"));
  t.push_back(integer_key("model.num_heads", TH_AT(model.num_heads), 1, 1 << 16,
                          "attention heads; divides d_model"));
  t.push_back(integer_key("model.num_encoder_layers", TH_AT(model.num_encoder_layers), 1, 10000,
                          "encoder layers"));
  t.push_back(integer_key("model.num_decoder_layers", TH_AT(model.num_decoder_layers), 1, 10000,
                          "decoder layers"));
  t.push_back(
      integer_key("model.d_ff", TH_AT(model.d_ff), 1, 1 << 24, "width of the feed-forward layers"));
  t.push_back(number_key("model.dropout", TH_AT(model.dropout),
                         {.low = 0, .high = 1, .high_open = true}, "dropout rate"));
  const Interval rate{.low = 0, .high = 1, .high_open = true};
  const Fallback dropout{"model.dropout", -1};
  t.push_back(number_key("model.attention_dropout", TH_AT(model.attention_dropout), rate, dropout,
                         "dropout rate of attention's probabilities"));
  t.push_back(number_key("model.activation_dropout", TH_AT(model.activation_dropout), rate, dropout,
                         "dropout rate behind the activation of feed-forward layers"));
  t.push_back(choice_key("model.norm", TH_AT(model.norm),
                         Choices<Norm>{{"pre", Norm::kPre}, {"post", Norm::kPost}},
                         "normalisation before or after each sublayer"));
  t.push_back(choice_key("model.norm_kind", TH_AT(model.norm_kind),
                         Choices<NormKind>{{"layer", NormKind::kLayer}, {"rms", NormKind::kRms}},
                         "LayerNorm or RMSNorm"));
  t.push_back(number_key("model.norm_eps", TH_AT(model.norm_eps),
                         {.low = 0, .high = 1, .low_open = true},
                         "added to the variance or the mean square"));
  t.push_back(boolean_key("model.final_norm", TH_AT(model.final_norm),
                          "a norm behind the last layer of encoder and decoder"));
  t.push_back(boolean_key("model.embedding_norm", TH_AT(model.embedding_norm),
                          "a norm behind the embeddings and their positions"));
  t.push_back(choice_key("model.activation", TH_AT(model.activation),
                         Choices<Activation>{{"relu", Activation::kRelu},
                                             {"gelu", Activation::kGelu},
                                             {"swish", Activation::kSwish},
                                             {"swiglu", Activation::kSwiglu}},
                         "of feed-forward layers; gelu is exact (erf), swiglu has a gate"));
}

void add_positions(std::vector<Key>& t) {
  t.push_back(
      choice_key("model.position", TH_AT(model.position),
                 Choices<Position>{{"sinusoidal", Position::kSinusoidal},
                                   {"learned", Position::kLearned},
                                   {"rope", Position::kRope},
                                   {"alibi", Position::kAlibi}},
                 "positions: sinusoids or learned rows added to the embeddings, rotary (rope) or "
                 "biases of the scores by distance (alibi), both in self attention alone"));
  t.push_back(choice_key("model.position_layout", TH_AT(model.position_layout),
                         Choices<PositionLayout>{{"interleaved", PositionLayout::kInterleaved},
                                                 {"halves", PositionLayout::kHalves}},
                         "columns of a pair of sine and cosine, or of a rotated pair: 2i and 2i+1, "
                         "or i and i + half the width"));
  t.push_back(choice_key("model.position_frequency", TH_AT(model.position_frequency),
                         Choices<PositionFrequency>{{"standard", PositionFrequency::kStandard},
                                                    {"marian", PositionFrequency::kMarian}},
                         "sinusoids of frequency 10000^(-2i/d), or Marian's 10000^(-i/(d/2-1))"));
  t.push_back(choice_key(
      "model.start", TH_AT(model.start),
      Choices<Start>{{"symbol", Start::kSymbol}, {"zero", Start::kZero}},
      "what the decoder reads before its first word: symbol, the embedding of the begin symbol; "
      "zero, a vector of zeros, as Marian. Both get the first position"));
}

void add_attentions(std::vector<Key>& t) {
  using Attentions = Choices<Attention>;
  const Attentions attentions{{"full", Attention::kFull}, {"local", Attention::kLocal}};
  t.push_back(choice_key(
      "model.encoder_attention", TH_AT(model.encoder_attention), attentions,
      "self attention of the encoder: over all keys, or model.attention_window of them"));
  t.push_back(
      choice_key("model.decoder_attention", TH_AT(model.decoder_attention), attentions,
                 "self attention of the decoder: over all earlier keys, or model.attention_window "
                 "of them"));
  t.push_back(
      choice_key("model.cross_attention", TH_AT(model.cross_attention), attentions,
                 "cross attention: over all keys, or model.attention_window of them around the "
                 "source position i * r of target position i, r the training corpus's ratio of "
                 "source to target ids"));
  t.push_back(
      integer_key("model.attention_window", TH_AT(model.attention_window), 0, 1 << 20,
                  "local attention: a query sees keys at a distance of at most so many places on "
                  "each side (decoder: itself and so many before), in source positions"));
  t.push_back(number_key("model.rope_theta", TH_AT(model.rope_theta), {.low = 1},
                         "base of rotary positions"));
  t.push_back(
      choice_key("model.rope_scaling", TH_AT(model.rope_scaling),
                 Choices<RopeScaling>{{"none", RopeScaling::kNone},
                                      {"linear", RopeScaling::kLinear},
                                      {"ntk", RopeScaling::kNtk}},
                 "longer sentences by rotary positions: linear divides places by the factor s, ntk "
                 "takes theta * s^(d/(d-2)), d the head's width"));
  t.push_back(number_key("model.rope_scaling_factor", TH_AT(model.rope_scaling_factor), {.low = 1},
                         "factor s of that scaling"));
  t.push_back(integer_key("model.cross_downsample", TH_AT(model.cross_downsample), 1, 1024,
                          "cross attention sees every k-th encoder state alone: 0, k, 2k, …"));
}

void add_parameters(std::vector<Key>& t) {
  t.push_back(boolean_key("model.qk_norm", TH_AT(model.qk_norm),
                          "queries and keys are normalised, head by head"));
  t.push_back(boolean_key("model.depth_scaled_init", TH_AT(model.depth_scaled_init),
                          "initial values of the matrices of layer l are divided by sqrt(l)"));
  t.push_back(choice_key("model.tie_embeddings", TH_AT(model.tie_embeddings),
                         Choices<Tying>{{"false", Tying::kNone},
                                        {"decoder", Tying::kDecoder},
                                        {"embeddings", Tying::kEmbeddings},
                                        {"all", Tying::kAll},
                                        {"true", Tying::kAll}},
                         "shared matrices: target = output, source = target, or all three (true "
                         "means all); shared source embeddings need one joint vocabulary"));
  t.push_back(
      choice_key("model.gradient_checkpointing", TH_AT(model.gradient_checkpointing),
                 Choices<GradientCheckpointing>{{"none", GradientCheckpointing::kNone},
                                                {"selective", GradientCheckpointing::kSelective},
                                                {"full", GradientCheckpointing::kFull},
                                                {"sqrt", GradientCheckpointing::kSqrt}},
                 "what the backward pass computes again"));
}

}  // namespace

void add_model(std::vector<Key>& t) {
  add_layers(t);
  add_positions(t);
  add_attentions(t);
  add_parameters(t);
}

}  // namespace th::config
