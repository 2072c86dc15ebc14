// Files of the `safetensors` package are read as written; a header that lies is refused.
#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "tests/message_of.h"
#include "tests/temporary_folder.h"

namespace iol::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string kGoldens = IOL_SOURCE_DIR "/tests/goldens/safetensors/";

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string file_of(const std::string& header, std::size_t num_data_bytes) {
  const std::uint64_t size = header.size();
  std::string file(sizeof(size), '\0');
  std::memcpy(file.data(), &size, sizeof(size));
  return file + header + std::string(num_data_bytes, '\1');
}

template <class Value>
Value load(const std::byte* at) {
  Value value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

/// Sign, four bits of exponent, three of mantissa; no infinities.
double f8_e4m3_value(std::uint8_t bits) {
  const int exponent = (bits >> 3) & 15;
  const int mantissa = bits & 7;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

double value_at(const HostTensor& tensor, std::size_t i) {
  const std::byte* at = tensor.data + i * dtype_bytes(tensor.dtype);
  switch (tensor.dtype) {
    case DType::kF64:
      return load<double>(at);
    case DType::kF32:
      return load<float>(at);
    case DType::kF16:
      return f16_to_f32(load<std::uint16_t>(at));
    case DType::kBF16:
      return bf16_to_f32(load<std::uint16_t>(at));
    case DType::kF8E4M3:
      return f8_e4m3_value(load<std::uint8_t>(at));
    case DType::kI64:
      return static_cast<double>(load<std::int64_t>(at));
    case DType::kI32:
      return load<std::int32_t>(at);
    case DType::kI16:
      return load<std::int16_t>(at);
    case DType::kI8:
      return load<std::int8_t>(at);
    case DType::kU8:
    case DType::kBool:
      return load<std::uint8_t>(at);
  }
  return std::nan("");
}

TEST(Safetensors, reads_what_the_package_wrote) {
  const MappedFile file(kGoldens + "every_dtype.safetensors");
  const auto tensors = parse_safetensors(file.bytes(), "golden");
  const json golden = json::parse(std::ifstream(kGoldens + "every_dtype.json"));
  ASSERT_EQ(tensors.size(), golden.size());
  std::set<DType> dtypes;
  for (const auto& [name, want] : golden.items()) {
    SCOPED_TRACE(name);
    const auto& tensor = tensors.at(name);
    dtypes.insert(tensor.dtype);
    EXPECT_EQ(tensor.dtype, parse_dtype(want["dtype"].get<std::string>()));
    EXPECT_EQ(tensor.shape, want["shape"].get<std::vector<std::int64_t>>());
    ASSERT_EQ(tensor.num_elements(), static_cast<std::int64_t>(want["values"].size()));
    for (std::size_t i = 0; i < want["values"].size(); ++i)
      EXPECT_EQ(value_at(tensor, i), want["values"][i].get<double>());
  }
  EXPECT_EQ(dtypes.size(), 11U) << "every dtype";
}

struct Lie {
  std::string file;
  std::string part;  // of the message
};

std::string entry(const std::string& rest) { return R"({"w":)" + rest + "}"; }

TEST(Safetensors, headers_that_lie_are_refused_in_one_line) {
  const std::string good = entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})");
  ASSERT_EQ(parse_safetensors(bytes_of(file_of(good, 8)), "x").size(), 1);
  std::string huge_header = file_of(good, 8);
  huge_header[6] = '\x7f';
  std::string deep = R"({"w":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  const Lie lies[] = {
      {"", "0 bytes are too few"},
      {"1234567", "7 bytes are too few"},
      {file_of(good, 8).substr(0, 30), "claims a header of"},
      {huge_header, "claims a header of"},
      {file_of("", 8), "not a JSON object"},
      {file_of("[]", 8), "not a JSON object"},
      {file_of("{", 8), "not a JSON object"},
      {file_of("\xff\xfe{}", 8), "not a JSON object"},
      {file_of(deep, 8), "'w'"},
      {file_of(entry("3"), 8), "not an object"},
      {file_of(entry("{}"), 8), "no dtype"},
      {file_of(entry(R"({"dtype":"F7","shape":[2],"data_offsets":[0,8]})"), 8), "unknown dtype"},
      {file_of(entry(R"({"dtype":9,"shape":[2],"data_offsets":[0,8]})"), 8), "unknown dtype 9"},
      {file_of(entry(R"({"dtype":"F32","data_offsets":[0,8]})"), 8), "no valid shape"},
      {file_of(entry(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), 8), "no valid shape"},
      {file_of(entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), 8), "absurd shape"},
      {file_of(entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), 8), "absurd shape"},
      {file_of(entry(R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})"), 8), "absurd shape"},
      {file_of(entry(R"({"dtype":"F32","shape":[1e30],"data_offsets":[0,8]})"), 8), "absurd shape"},
      {file_of(entry(R"({"dtype":"F32","shape":[281474976710656,281474976710656,4],)"
                     R"("data_offsets":[0,8]})"),
               8),
       "do not fit"},
      {file_of(entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), 8), "do not fit"},
      {file_of(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,16]})"), 8), "end past"},
      {file_of(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), 8), "not a range"},
      {file_of(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})"), 8), "not a range"},
      {file_of(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), 8), "no valid data_off"},
      {file_of(entry(R"({"dtype":"F32","shape":[2]})"), 8), "no valid data_offsets"},
      {file_of(good, 7), "truncated"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
               12),
       "'a' and 'b' overlap"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
               R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
               8),
       "repeated"},
  };
  for (const Lie& lie : lies) {
    EXPECT_THAT(message_of<InputError>([&] { parse_safetensors(bytes_of(lie.file), "the/file"); }),
                AllOf(StartsWith("the/file: "), HasSubstr(lie.part), Not(HasSubstr("\n"))));
  }
}

/// Most memory that the process ever held.
std::int64_t peak_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(Safetensors, a_header_of_brackets_does_not_fill_the_memory) {
  const std::string brackets(4'000'000, '[');
  const std::string file = file_of(entry(brackets + std::string(brackets.size(), ']')), 8);
  const std::int64_t before = peak_kilobytes();
  EXPECT_THAT(message_of<InputError>([&] { parse_safetensors(bytes_of(file), "the/file"); }),
              HasSubstr("not an object"));
  EXPECT_LT(peak_kilobytes() - before, 100'000);
}

TEST(Safetensors, what_a_shape_hides_in_brackets_is_not_overlooked) {
  for (const char* shape : {"[2,[]]", "[2,[[]]]", "[[[2]]]", "[2,{\"a\":{}}]", "[{\"a\":2}]"}) {
    const std::string header =
        entry(R"({"dtype":"F32","data_offsets":[0,8],"shape":)" + std::string(shape) + "}");
    EXPECT_THAT(
        message_of<InputError>([&] { parse_safetensors(bytes_of(file_of(header, 8)), ""); }),
        HasSubstr("absurd shape"))
        << shape;
  }
}

TEST(Safetensors, flipped_bits_of_the_header_load_or_are_refused) {
  std::ifstream golden(kGoldens + "every_dtype.safetensors", std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(golden), {});
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, whole.data(), sizeof(header_size));
  RandomStream random(3);
  int num_refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string flipped = whole;
    flipped[random.below(8 + header_size)] ^= static_cast<char>(1U << random.below(8));
    try {
      for (const auto& [name, tensor] : parse_safetensors(bytes_of(flipped), "flipped")) {
        for (std::int64_t at = 0; at < tensor.num_elements(); ++at)
          static_cast<void>(tensor.data[at * static_cast<std::int64_t>(dtype_bytes(tensor.dtype))]);
      }
    } catch (const InputError& error) {
      ++num_refused;
      EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    }
  }
  EXPECT_GT(num_refused, 1000);
}

}  // namespace
}  // namespace iol::test
