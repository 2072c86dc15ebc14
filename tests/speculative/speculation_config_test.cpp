#include "speculative/speculation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace iol {
namespace {

TEST(SpeculationConfig, reads_and_writes_who_drafts) {
  for (const char* text : {"ngram", "demo-draft", "ngram,demo-draft", "ngram,/a,b", "./ngram"}) {
    EXPECT_EQ(draft_text(parse_draft(text)), text);
  }
  EXPECT_EQ(draft_text({}), "none");
  EXPECT_TRUE(parse_draft("ngram,x").ngram);
  EXPECT_EQ(parse_draft("ngram,x").model, "x");
  EXPECT_FALSE(parse_draft("./ngram").ngram);
}

TEST(SpeculationConfig, refuses_half_a_draft) {
  for (const char* text : {"", "ngram,", "ngram,ngram"}) {
    EXPECT_THROW(parse_draft(text), InputError) << text;
  }
}

TEST(SpeculationConfig, depth_is_auto_or_within_its_range) {
  EXPECT_EQ(parse_draft_depth("auto"), std::nullopt);
  EXPECT_EQ(parse_draft_depth("0"), 0);
  EXPECT_EQ(parse_draft_depth("16"), 16);
  for (const char* text : {"", "17", "-1", "4x", "x", "1.5", "99999999999"}) {
    EXPECT_THROW(parse_draft_depth(text), InputError) << text;
  }
  SpeculationConfig config = parse_draft("ngram");
  config.depth = 17;
  EXPECT_THROW(validate(config), InputError);
}

TEST(SpeculationConfig, a_draft_models_format_is_int8_unless_it_is_named) {
  SpeculationConfig config = parse_draft("demo-draft");
  EXPECT_EQ(draft_format(config), WeightFormat::kInt8);
  EXPECT_EQ(draft_format_text(config), "auto");
  for (const char* text : {"auto", "none", "fp8", "int4"}) {
    config.quant = parse_draft_format(text);
    EXPECT_EQ(draft_format_text(config), text);
  }
  EXPECT_EQ(draft_format(config), WeightFormat::kInt4);
  for (const char* text : {"", "int9", "INT8"}) {
    EXPECT_THROW(parse_draft_format(text), InputError) << text;
  }
}

TEST(SpeculationConfig, only_a_draft_model_has_weights_to_quantize) {
  SpeculationConfig config = parse_draft("ngram,demo-draft");
  config.quant = WeightFormat::kFp8;
  EXPECT_NO_THROW(validate(config));
  config.model.clear();
  EXPECT_THROW(validate(config), InputError);
}

TEST(SpeculationConfig, simulated_acceptance_is_a_rate_of_somebodys_drafts) {
  SpeculationConfig config;
  config.simulated_acceptance = 0.5;
  EXPECT_THROW(validate(config), InputError);
  config.ngram = true;
  EXPECT_NO_THROW(validate(config));
  config.simulated_acceptance = 1.5;
  EXPECT_THROW(validate(config), InputError);
}

}  // namespace
}  // namespace iol
