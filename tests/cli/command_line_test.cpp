// What every command makes of the command line: one clear line, exit code 2, nothing on stdout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/run_iol.h"

namespace iol {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Refusal {
  const char* arguments;
  const char* message;  // a part of it
};

class Refuses : public testing::TestWithParam<Refusal> {
 protected:
  static void SetUpTestSuite() {
    ::setenv("IOL_TEXT", IOL_SOURCE_DIR "/models/heldout.txt", /*overwrite=*/1);
  }
};

TEST_P(Refuses, in_one_line_with_exit_code_2) {
  const Outcome outcome = run_iol(GetParam().arguments);
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.error, StartsWith("iol: "));
  EXPECT_THAT(outcome.error, HasSubstr(GetParam().message));
  EXPECT_EQ(std::count(outcome.error.begin(), outcome.error.end(), '\n'), 1) << outcome.error;
}

const Refusal kRefusals[] = {
    {"", "no command"},
    {"generat", "unknown command 'generat'; known: doctor, generate"},
    {"--bogus", "unknown command '--bogus'"},
    {"generate", "MODEL is required"},
    {"generate demo", "--prompt is required"},
    {"generate demo -p", "--prompt"},
    {"generate demo -p x extra", "extra"},
    {"generate demo -p x --bogus", "--bogus"},
    {"generate demo -p x -n 0", "max_tokens is 0"},
    {"generate demo -p x -n -4", "max_tokens is -4"},
    {"generate demo -p x -n 99999999999999999999", "--max-tokens"},
    {"generate demo -p x --temperature hot", "--temperature"},
    {"generate demo -p x --temperature -1", "temperature is -1"},
    {"generate demo -p x --temperature nan", "temperature is nan"},
    {"generate demo -p x --top-p 3", "top_p is 3"},
    {"generate demo -p x --min-p 2", "min_p is 2"},
    {"generate demo -p x --repetition-penalty 0", "repetition_penalty is 0"},
    {"generate demo -p x --stop ''", "stop"},
    {"generate demo -p \"$(printf 'a\\377')\"", "not valid UTF-8 at byte 1"},
    {"generate demo -p \"$(head -c 60000 \"$IOL_TEXT\")\" -n 4", "2048"},
    {"generate demo -p x --threads -1", "--threads"},
    {"generate demo -p x --threads many", "--threads"},
    {"generate demo -p x --isa sse9",
     "expected auto, portable, avx2, avx2-vnni, avx512, avx512-vnni, avx512-bf16 or amx"},
    {"generate demo -p x --device tpu", "--device tpu: expected auto, cpu or cuda[:N]"},
    {"generate demo -p x --device cuda:", "--device cuda:: expected auto, cpu or cuda[:N]"},
    {"generate demo -p x --device cuda:-1", "--device cuda:-1: expected auto"},
    {"generate demo -p x --device cuda:1x", "--device cuda:1x: expected auto"},
    {"generate demo -p x --device cuda:99999999999", "expected auto, cpu or cuda[:N]"},
    {"plan demo --device cuda0", "--device cuda0: expected auto, cpu or cuda[:N]"},
    {"eval demo --text \"$IOL_TEXT\" --device CUDA", "--device CUDA: expected auto"},
    // Options that take lists or may come again take one argument each, not what stands behind it.
    {"generate -p x --stop a --stop-token 5 /nowhere", "'/nowhere'"},
    {"bench --engines iol --scenario latency --concurrency 1,2 --quant-keep head /nowhere",
     "'/nowhere'"},
    {"bench demo --concurrency 1 8", "8"},
    {"bench demo --device ''", "--device : expected auto, cpu or cuda[:N]"},
    {"doctor --device gpu", "--device gpu: expected auto, cpu or cuda[:N]"},
    {"generate demo -p x --dtype f8", "expected auto, f32, f16 or bf16"},
    {"generate demo -p x --device cpu --preemption-mode swap", "in the host's memory already"},
    {"bench demo --device cpu --preemption-mode swap", "in the host's memory already"},
    {"generate demo -p x --preemption-mode drop", "--preemption-mode"},
    {"generate demo -p x --swap-space 2", "--swap-space 2: nothing is swapped"},
    {"generate demo -p x --preemption-mode swap --swap-space 0", "--swap-space"},
    {"bench demo --ladder --preemption-mode swap", "--preemption-mode: --ladder sets it"},
    {"generate demo -p x --quant int4 --quant-group 48", "--quant-group"},
    {"generate demo -p x --quant-head int3", "--quant-head"},
    {"generate demo -p x --quant int3", "--quant"},
    {"generate demo -p x --kv-cache int4", "expected auto, bf16, f16, f32, int8 or fp8"},
    {"plan demo --kv-cache ''", "expected auto, bf16, f16, f32, int8 or fp8"},
    {"bench demo --kv-cache i8", "expected auto, bf16, f16, f32, int8 or fp8"},
    {"generate demo -p x --draft ''", "expected ngram, a draft model, or both"},
    {"generate demo -p x --draft ngram,", "expected ngram, a draft model, or both"},
    {"generate demo -p x --draft nowhere", "'nowhere' is not a folder"},
    {"generate demo -p x --draft demo", "is the model itself"},
    {"generate demo -p x --draft ngram --draft-depth 17",
     "expected auto, or tokens per step from 0"},
    {"generate demo -p x --draft ngram --draft-depth -1",
     "expected auto, or tokens per step from 0"},
    {"generate demo -p x --draft ngram --draft-depth deep", "expected auto, or tokens per step"},
    {"generate demo -p x --draft-depth 3", "of whose drafts? Give --draft"},
    {"generate demo -p x --draft synthetic:tinyllama-1.1b", "its vocabulary has 32000 tokens"},
    {"bench demo --simulated-acceptance 0.5", "of whose drafts? Give --draft"},
    {"bench demo --draft ngram --simulated-acceptance 2", "--simulated-acceptance"},
    {"eval demo --text \"$IOL_TEXT\" --draft ngram", "--draft"},
    {"generate demo -p x --scheduler magic", "--scheduler"},
    {"generate demo -p x --max-context 1000000", "2048"},
    {"generate nowhere -p x", "'nowhere' is not a folder"},
    {"generate no/where -p x", "hf download no/where"},
    {"generate synthetic:tiny -p x", "synthetic:tiny"},
    {"generate /dev/null -p x", "/dev/null"},
    {"generate /tmp -p x", "config.json"},
    {"eval demo --text /nowhere.txt", "/nowhere.txt"},
    {"eval demo --text /tmp", "/tmp"},
    {"eval demo --text /dev/null", "/dev/null"},
    {"eval demo --text \"$IOL_TEXT\" --window 1", "window"},
    {"eval demo --text \"$IOL_TEXT\" --window 4096", "2048"},
    {"eval demo --text \"$IOL_TEXT\" --formats int3", "'int3' is unknown"},
    {"eval demo --text \"$IOL_TEXT\" --formats int8:64", "'int8:64' is unknown"},
    {"eval demo --text \"$IOL_TEXT\" --formats int4:8", "'int4:8' is unknown"},
    {"eval demo --text \"$IOL_TEXT\" --formats none,", "'' is unknown"},
    {"eval demo --text \"$IOL_TEXT\" --formats all --reference demo", "leave out --reference"},
    {"eval demo --formats all --text /nowhere.txt", "/nowhere.txt"},
    {"eval synthetic:tinyllama-1.1b --text \"$IOL_TEXT\" --formats all", "random weights"},
    {"eval demo --text \"$IOL_TEXT\" --markdown", "--formats"},
    {"build demo", "--output is required"},
    {"build nowhere -o /tmp/iol-never", "'nowhere' is not a folder"},
    {"build synthetic:tinyllama-1.1b -o /tmp/iol-never", "random weights"},
    {"build demo -o /tmp", "exists and is not empty"},
    {"build demo -o /nowhere/iol-never", "create it first"},
    {"build demo -o /tmp/iol-never --quant int4 --calibration /nowhere.txt", "/nowhere.txt"},
    {"build demo -o /tmp/iol-never --calibration \"$IOL_TEXT\"", "does nothing for --quant none"},
    {"build demo -o /tmp/iol-never --quant fp8 --calibration \"$IOL_TEXT\"",
     "nothing for --quant fp8"},
    {"build demo -o /tmp/iol-never --quant int3", "--quant"},
    {"build demo -o /tmp/iol-never --verify", "which has no hashes"},
    {"generate demo -p x --verify", "which has no hashes"},
    {"plan nowhere", "'nowhere'"},
    {"plan demo --context 4096", "2048 positions"},
    {"plan demo --batch 0", "--batch"},
    {"plan demo --draft demo", "--draft demo: this is the model itself"},
    {"plan demo --draft synthetic:tinyllama-1.1b", "its vocabulary has 32000 tokens"},
    {"plan demo --draft nowhere", "'nowhere'"},
    {"report /nowhere", "/nowhere"},
};

INSTANTIATE_TEST_SUITE_P(CommandLine, Refuses, testing::ValuesIn(kRefusals));

TEST(CommandLine, help_and_version_succeed_on_stdout) {
  EXPECT_THAT(run_iol("--help").out, HasSubstr("doctor"));
  EXPECT_EQ(run_iol("--version").out, std::string(IOL_VERSION) + "\n");
  for (const char* command : {"doctor", "generate", "eval", "build", "plan", "bench", "report"}) {
    const Outcome outcome = run_iol(std::string(command) + " --help");
    EXPECT_EQ(outcome.exit_code, 0) << command;
    EXPECT_THAT(outcome.out, HasSubstr("Examples:")) << command;
    EXPECT_EQ(outcome.error, "") << command;
  }
}

}  // namespace
}  // namespace iol
