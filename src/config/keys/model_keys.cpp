#include "config/key_table.hpp"

#include <algorithm>

// The keys of the deck's section [model].
namespace th::config {

namespace {

void add_layers(std::vector<Key>& t) {
  t.push_back(integer_key("model.d_model", TH_AT(model.d_model), 2, 1 << 20,
                          "Width of the vectors between layers."));
  t.push_back(integer_key("model.num_heads", TH_AT(model.num_heads), 1, 1 << 16,
                          "Number of attention heads. It divides d_model."));
  t.push_back(integer_key("model.num_encoder_layers", TH_AT(model.num_encoder_layers), 1, 10000,
                          "Number of encoder layers."));
  t.push_back(integer_key("model.num_decoder_layers", TH_AT(model.num_decoder_layers), 1, 10000,
                          "Number of decoder layers."));
  t.push_back(integer_key("model.d_ff", TH_AT(model.d_ff), 1, 1 << 24,
                          "Inner width of the feed-forward layers."));
  t.push_back(number_key("model.dropout", TH_AT(model.dropout),
                         {.low = 0, .high = 1, .high_open = true},
                         "Dropout rate of embeddings and sublayers."));
  const Interval rate{.low = 0, .high = 1, .high_open = true};
  const Fallback dropout{"model.dropout", -1};
  t.push_back(number_key("model.attention_dropout", TH_AT(model.attention_dropout), rate, dropout,
                         "Dropout rate of attention's probabilities."));
  t.push_back(number_key("model.activation_dropout", TH_AT(model.activation_dropout), rate, dropout,
                         "Dropout rate behind the activation of feed-forward layers."));
  t.push_back(choice_key("model.norm", TH_AT(model.norm),
                         Choices<Norm>{{"pre", Norm::kPre}, {"post", Norm::kPost}},
                         "Whether the norm comes before or after each sublayer."));
  t.push_back(choice_key("model.norm_kind", TH_AT(model.norm_kind),
                         Choices<NormKind>{{"layer", NormKind::kLayer}, {"rms", NormKind::kRms}},
                         "The norm is LayerNorm or RMSNorm."));
  t.push_back(number_key("model.norm_eps", TH_AT(model.norm_eps),
                         {.low = 0, .high = 1, .low_open = true},
                         "Every norm adds this number to the variance or the mean square."));
  t.push_back(boolean_key("model.final_norm", TH_AT(model.final_norm),
                          "A norm follows the last layer of encoder and of decoder."));
  t.push_back(boolean_key("model.embedding_norm", TH_AT(model.embedding_norm),
                          "A norm follows the sum of embeddings and positions."));
  t.push_back(choice_key("model.activation", TH_AT(model.activation),
                         Choices<Activation>{{"relu", Activation::kRelu},
                                             {"gelu", Activation::kGelu},
                                             {"swish", Activation::kSwish},
                                             {"swiglu", Activation::kSwiglu}},
                         "Activation of the feed-forward layers. gelu is exact (erf); swiglu has a "
                         "gate and so a third matrix."));
}

void add_positions(std::vector<Key>& t) {
  t.push_back(choice_key("model.position", TH_AT(model.position),
                         Choices<Position>{{"sinusoidal", Position::kSinusoidal},
                                           {"learned", Position::kLearned},
                                           {"rope", Position::kRope},
                                           {"alibi", Position::kAlibi}},
                         "How the model knows positions. sinusoidal and learned add a row to each "
                         "embedding. rope turns queries and keys, alibi adds a bias by distance to "
                         "the scores, both in self attention alone."));
  t.push_back(choice_key("model.position_layout", TH_AT(model.position_layout),
                         Choices<PositionLayout>{{"interleaved", PositionLayout::kInterleaved},
                                                 {"halves", PositionLayout::kHalves}},
                         "Columns of a pair of sine and cosine, or of a rotated pair. interleaved: "
                         "2i and 2i+1; halves: i and i + half the width."));
  t.push_back(choice_key(
      "model.position_frequency", TH_AT(model.position_frequency),
      Choices<PositionFrequency>{{"standard", PositionFrequency::kStandard},
                                 {"marian", PositionFrequency::kMarian}},
      "Frequencies of the sinusoids. standard: 10000^(-2i/d); marian: 10000^(-i/(d/2-1))."));
  t.push_back(
      choice_key("model.start", TH_AT(model.start),
                 Choices<Start>{{"symbol", Start::kSymbol}, {"zero", Start::kZero}},
                 "What the decoder reads before its first word. symbol: the embedding of the begin "
                 "symbol; zero: a vector of zeros, as in Marian. Both get the first position."));
}

void add_attentions(std::vector<Key>& t) {
  using Attentions = Choices<Attention>;
  const Attentions attentions{{"full", Attention::kFull}, {"local", Attention::kLocal}};
  t.push_back(choice_key("model.encoder_attention", TH_AT(model.encoder_attention), attentions,
                         "A query of the encoder's self attention sees all keys, or those in "
                         "model.attention_window."));
  t.push_back(choice_key("model.decoder_attention", TH_AT(model.decoder_attention), attentions,
                         "A query of the decoder's self attention sees all earlier keys, or those "
                         "in model.attention_window."));
  t.push_back(choice_key("model.cross_attention", TH_AT(model.cross_attention), attentions,
                         "A query of cross attention sees all keys, or those in "
                         "model.attention_window around source position i * r. i is its target "
                         "position, r the training corpus's ratio of source to target ids."));
  t.push_back(integer_key("model.attention_window", TH_AT(model.attention_window), 0, 1 << 20,
                          "Local attention sees this many positions to each side of a query. The "
                          "decoder's self attention sees so many before it; cross attention "
                          "counts source positions."));
  t.push_back(number_key("model.rope_theta", TH_AT(model.rope_theta), {.low = 1},
                         "Base of the angles of rotary positions."));
  t.push_back(
      choice_key("model.rope_scaling", TH_AT(model.rope_scaling),
                 Choices<RopeScaling>{{"none", RopeScaling::kNone},
                                      {"linear", RopeScaling::kLinear},
                                      {"ntk", RopeScaling::kNtk}},
                 "Scales rotary positions for longer sentences. linear divides positions by the "
                 "factor s; ntk takes theta * s^(d/(d-2)), where d is the head's width."));
  t.push_back(number_key("model.rope_scaling_factor", TH_AT(model.rope_scaling_factor), {.low = 1},
                         "Factor s of model.rope_scaling."));
  t.push_back(integer_key("model.cross_downsample", TH_AT(model.cross_downsample), 1, 1024,
                          "Cross attention sees only every k-th encoder state: 0, k, 2k, …"));
}

void add_parameters(std::vector<Key>& t) {
  t.push_back(boolean_key("model.qk_norm", TH_AT(model.qk_norm),
                          "Queries and keys are normalised, head by head."));
  t.push_back(boolean_key("model.depth_scaled_init", TH_AT(model.depth_scaled_init),
                          "The initial matrices of layer l are divided by sqrt(l)."));
  t.push_back(
      choice_key("model.tie_embeddings", TH_AT(model.tie_embeddings),
                 Choices<Tying>{{"false", Tying::kNone},
                                {"decoder", Tying::kDecoder},
                                {"embeddings", Tying::kEmbeddings},
                                {"all", Tying::kAll},
                                {"true", Tying::kAll}},
                 "Which matrices are shared. decoder: target and output; embeddings: source and "
                 "target; all or true: all three. A shared source needs one joint vocabulary."));
  t.push_back(
      choice_key("model.gradient_checkpointing", TH_AT(model.gradient_checkpointing),
                 Choices<GradientCheckpointing>{{"none", GradientCheckpointing::kNone},
                                                {"selective", GradientCheckpointing::kSelective},
                                                {"full", GradientCheckpointing::kFull},
                                                {"sqrt", GradientCheckpointing::kSqrt}},
                 "What the backward pass computes again to save memory. selective: what is cheap; "
                 "full: each layer, a third more compute; sqrt: segments of layers, up to two "
                 "thirds more. The bits are the same."));
}

}  // namespace

void add_model(std::vector<Key>& t) {
  const auto first = static_cast<std::ptrdiff_t>(t.size());
  add_layers(t);
  add_positions(t);
  add_attentions(t);
  add_parameters(t);
  // A checkpoint's parameters are those of one model. What is computed again changes no bit.
  std::for_each(t.begin() + first, t.end(), [](Key& key) {
    if (key.name != "model.gradient_checkpointing") key.on_resume = OnResume::kFixed;
  });
}

}  // namespace th::config
