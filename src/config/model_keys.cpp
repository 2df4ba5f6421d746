#include "config/key_table.hpp"

// The keys of the deck's section [model].
namespace th::config {

void add_model(std::vector<Key>& t) {
  using Attentions = Choices<Attention>;
  const Attentions attentions{{"full", Attention::kFull}, {"local", Attention::kLocal}};
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
  t.push_back(choice_key("model.norm", TH_AT(model.norm),
                         Choices<Norm>{{"pre", Norm::kPre}, {"post", Norm::kPost}},
                         "layer norm before or after each sublayer"));
  t.push_back(choice_key("model.position", TH_AT(model.position),
                         Choices<Position>{{"sinusoidal", Position::kSinusoidal},
                                           {"learned", Position::kLearned},
                                           {"rope", Position::kRope},
                                           {"alibi", Position::kAlibi}},
                         "positions", {"learned", "rope", "alibi"}));
  t.push_back(choice_key("model.encoder_attention", TH_AT(model.encoder_attention), attentions,
                         "self attention of the encoder", {"local"}));
  t.push_back(choice_key("model.decoder_attention", TH_AT(model.decoder_attention), attentions,
                         "self attention of the decoder", {"local"}));
  t.push_back(choice_key("model.cross_attention", TH_AT(model.cross_attention), attentions,
                         "cross attention", {"local"}));
  t.push_back(integer_key("model.attention_window", TH_AT(model.attention_window), 0, 1 << 20,
                          "width of local attention", {"*"}));
  t.push_back(number_key("model.rope_theta", TH_AT(model.rope_theta), {.low = 1},
                         "base of rotary positions", {"*"}));
  t.push_back(choice_key("model.rope_scaling", TH_AT(model.rope_scaling),
                         Choices<RopeScaling>{{"none", RopeScaling::kNone},
                                              {"linear", RopeScaling::kLinear},
                                              {"ntk", RopeScaling::kNtk}},
                         "scaling of rotary positions", {"linear", "ntk"}));
  t.push_back(number_key("model.rope_scaling_factor", TH_AT(model.rope_scaling_factor), {.low = 1},
                         "factor of that scaling", {"*"}));
  t.push_back(integer_key("model.cross_downsample", TH_AT(model.cross_downsample), 1, 1024,
                          "keep every k-th encoder state for cross attention", {"*"}));
  t.push_back(boolean_key("model.tie_embeddings", TH_AT(model.tie_embeddings),
                          "source, target and output share one matrix, over one joint vocabulary"));
  t.push_back(
      choice_key("model.gradient_checkpointing", TH_AT(model.gradient_checkpointing),
                 Choices<GradientCheckpointing>{{"none", GradientCheckpointing::kNone},
                                                {"selective", GradientCheckpointing::kSelective},
                                                {"full", GradientCheckpointing::kFull},
                                                {"sqrt", GradientCheckpointing::kSqrt}},
                 "what the backward pass computes again"));
}

}  // namespace th::config
