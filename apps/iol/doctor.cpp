// iol doctor: what this machine is and can do.
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "backend/cuda/cuda_device.h"
#include "base/error.h"
#include "bench/environment.h"
#include "bench/json_or_null.h"
#include "bench/limits/machine_limits.h"
#include "bench/pytorch_subject.h"
#include "bench/records.h"
#include "command.h"
#include "commands.h"
#include "engine/device_backend.h"
#include "engine/memory_check.h"
#include "telemetry/gpu_monitor.h"

namespace iol::cli {
namespace {

using nlohmann::json;

struct DoctorOptions {
  CommonOptions common;
  bool quick = false;
};

json text_or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

/// Driver, limits and readings of NVML; what it doesn't give is null, and "unavailable" says why.
json gpu_state_record(const std::string& uuid) {
  GpuMonitor monitor(uuid);
  const GpuFacts facts = monitor.facts();
  auto missing = monitor.missing();
  const GpuReading reading = monitor.read(::getpid());
  missing.merge(std::map(monitor.missing()));
  missing.erase("process_memory_bytes");  // nothing runs yet
  json record = {
      {"driver", bench::or_null(facts.driver_version)},
      {"power_limit_w", bench::or_null(facts.power_limit_w)},
      {"max_sm_clock_mhz", bench::or_null(facts.max_sm_clock_mhz)},
      {"max_memory_clock_mhz", bench::or_null(facts.max_memory_clock_mhz)},
  };
  record.update(bench::gpu_state(reading));
  if (!monitor.unavailable_reason().empty()) {
    record["unavailable"] = monitor.unavailable_reason();
  } else if (!missing.empty()) {
    record["unavailable"] = missing;
  }
  return record;
}

/// Fills what of a GPU can only be asked for with CUDA at work on it, or says why it can't be.
void ask_gpu(const DoctorOptions& options, int index, json& entry) try {
  entry["memory_free_bytes"] = available_memory_bytes(Device{DeviceKind::kCuda, index});
  if (options.quick) return;
  const CudaLimits limits = measure_cuda_limits(index);
  entry["limits"] = {{"read_bytes_per_s", limits.read_bytes_per_s},
                     {"bf16_flops", limits.bf16_flops},
                     {"f16_flops", limits.f16_flops},
                     {"int8_ops", limits.int8_ops},
                     {"fp8_flops", limits.fp8_flops > 0 ? json(limits.fp8_flops) : json(nullptr)},
                     {"instructions", limits.instructions}};
} catch (const ResourceError& error) {
  entry["trouble"] = error.what();
}

/// Every GPU that this build can use, or why there is none.
json gpu_record(const DoctorOptions& options) {
  const CudaStatus& status = cuda_status();
  json record = {{"used", !status.devices.empty() && options.common.device != "cpu"},
                 {"reason", text_or_null(status.reason)},
                 {"driver_cuda", text_or_null(status.driver)},
                 {"runtime_cuda", text_or_null(status.runtime)},
                 {"devices", json::array()}};
  for (const auto& device : status.devices) {
    json entry = {{"index", device.index},
                  {"name", device.name},
                  {"uuid", device.uuid},
                  {"compute_capability",
                   fmt::format("{}.{}", device.capability / 10, device.capability % 10)},
                  {"memory_bytes", device.memory_bytes},
                  {"memory_free_bytes", nullptr},
                  {"multiprocessors", device.num_multiprocessors},
                  {"l2_cache_bytes", device.l2_cache_bytes},
                  {"now", gpu_state_record(device.uuid)},
                  {"limits", nullptr}};
    ask_gpu(options, device.index, entry);
    record["devices"].push_back(std::move(entry));
  }
  return record;
}

json limits_record(const bench::MachineLimits& limits) {
  return {{"threads", limits.num_threads},
          {"read_bytes_per_s_one_thread", limits.read_bytes_per_s_one_thread},
          {"read_bytes_per_s", limits.read_bytes_per_s},
          {"f32_flops", limits.f32_flops},
          {"bf16_flops", bench::or_null(limits.bf16_flops)},
          {"int8_ops", bench::or_null(limits.int8_ops)}};
}

json examine(const DoctorOptions& options) {
  const EngineConfig config = engine_config(options.common);
  const int num_threads = config.num_threads > 0 ? config.num_threads : default_num_threads();
  const Isa isa = config.isa.value_or(best_isa());
  const auto python = bench::find_python_environment();
  json record = {
      {"machine", bench::machine_record()},
      {"isa", isa_name(isa)},
      {"threads", num_threads},
      {"memory_available_bytes", available_memory_bytes()},
      {"gpu", gpu_record(options)},
      {"pytorch", {{"found", python.missing.empty()}, {"python", python.python.string()}}},
      {"limits", nullptr}};
  if (!python.missing.empty()) record["pytorch"]["missing"] = python.missing;
  if (!options.quick)
    record["limits"] = limits_record(bench::measure_machine_limits(isa, num_threads));
  return record;
}

std::string text_of(const json& value) {
  if (value.is_null()) return "unknown";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void print_line(std::string_view name, std::string_view value) {
  fmt::print("  {:<22}{}\n", name, value);
}

void print_machine(const json& record) {
  const auto& machine = record["machine"];
  std::string isas;
  for (const auto& isa : machine["isa"])
    isas += (isas.empty() ? "" : ", ") + isa.get<std::string>();
  fmt::print("Machine\n");
  print_line("processor", text_of(machine["cpu_model"]));
  print_line("instruction sets", fmt::format("{} (in use: {})", isas, text_of(record["isa"])));
  print_line(
      "processors",
      fmt::format(
          "{} allowed of {} online; cgroup quota {}", text_of(machine["cpus_allowed"]),
          text_of(machine["cpus_online"]),
          machine["cgroup_cpu_quota"].is_null() ? "none" : text_of(machine["cgroup_cpu_quota"])));
  print_line("threads", text_of(record["threads"]));
  print_line("memory", fmt::format("{:.1f} GB, {:.1f} GB available",
                                   machine["memory_bytes"].get<double>() / 1e9,
                                   record["memory_available_bytes"].get<double>() / 1e9));
  print_line("last-level cache",
             fmt::format("{:.0f} MB", machine["last_level_cache_bytes"].get<double>() / 1048576));
  print_line("huge pages", text_of(machine["transparent_huge_pages"]));
  print_line("kernel", text_of(machine["kernel"]));
  if (record["gpu"]["devices"].empty()) print_line("GPU", text_of(record["gpu"]["reason"]));
  const auto& pytorch = record["pytorch"];
  print_line("PyTorch", pytorch["found"].get<bool>() ? text_of(pytorch["python"])
                                                     : text_of(pytorch["missing"]));
}

void print_limits(const json& limits) {
  if (limits.is_null()) return;
  const auto rate = [&](const char* name, double scale, std::string_view unit) {
    const auto& value = limits[name];
    return value.is_null() ? std::string("no instruction for it")
                           : fmt::format("{:.0f} {}", value.get<double>() / scale, unit);
  };
  fmt::print("\nMeasured limits ({} threads)\n", text_of(limits["threads"]));
  print_line("read, one thread", rate("read_bytes_per_s_one_thread", 1e9, "GB/s"));
  print_line("read, all threads", rate("read_bytes_per_s", 1e9, "GB/s"));
  print_line("f32", rate("f32_flops", 1e9, "GFLOP/s"));
  print_line("bf16", rate("bf16_flops", 1e9, "GFLOP/s"));
  print_line("int8", rate("int8_ops", 1e9, "GOP/s"));
}

void print_gpu_state(const json& now) {
  if (now["driver"].is_null()) {
    print_line("power, clocks", "unknown: " + text_of(now["unavailable"]));
    return;
  }
  const auto number = [&](const char* field) {
    return now[field].is_null() ? std::string("unknown")
                                : fmt::format("{:.0f}", now[field].get<double>());
  };
  print_line("driver version", text_of(now["driver"]));
  print_line("power",
             fmt::format("{} W now, limit {} W", number("power_w"), number("power_limit_w")));
  print_line("clocks", fmt::format("SM {} MHz now, {} at most; memory {} of {} MHz",
                                   number("sm_clock_mhz"), number("max_sm_clock_mhz"),
                                   number("memory_clock_mhz"), number("max_memory_clock_mhz")));
  const std::string throttling = text_of(now["throttle_reasons"]);
  print_line("temperature", fmt::format("{} C; slowed down by: {}", number("temperature_c"),
                                        throttling.empty() ? "nothing" : throttling));
  if (now.contains("unavailable")) print_line("not readable", text_of(now["unavailable"]));
}

void print_gpus(const json& record) {
  for (const auto& device : record["devices"]) {
    fmt::print("\nGPU {}\n", text_of(device["index"]));
    print_line("name", text_of(device["name"]));
    print_line("UUID", text_of(device["uuid"]));
    print_line("compute capability", text_of(device["compute_capability"]));
    print_line("multiprocessors", text_of(device["multiprocessors"]));
    const auto& free_bytes = device["memory_free_bytes"];
    print_line("memory",
               fmt::format("{:.1f} GB, {} free", device["memory_bytes"].get<double>() / 1e9,
                           free_bytes.is_null()
                               ? "unknown"
                               : fmt::format("{:.1f} GB", free_bytes.get<double>() / 1e9)));
    if (device.contains("trouble")) print_line("trouble", text_of(device["trouble"]));
    print_line("driver", fmt::format("CUDA {} (this build: {})", text_of(record["driver_cuda"]),
                                     text_of(record["runtime_cuda"])));
    print_gpu_state(device["now"]);
    const auto& limits = device["limits"];
    if (limits.is_null()) continue;
    const auto rate = [&](const char* name) {
      return fmt::format("{:.2f} T/s", limits[name].get<double>() / 1e12);
    };
    print_line("read, bytes", rate("read_bytes_per_s"));
    const std::string instructions = " (" + text_of(limits["instructions"]) + ")";
    print_line("bf16, operations", rate("bf16_flops") + instructions);
    print_line("f16, operations", rate("f16_flops") + instructions);
    print_line("int8, operations", rate("int8_ops") + instructions);
    print_line("fp8, operations",
               limits["fp8_flops"].is_null() ? "as f16" : rate("fp8_flops") + instructions);
  }
}

void doctor(const DoctorOptions& options) {
  const json record = examine(options);
  if (options.common.json) {
    fmt::print("{}\n", record.dump());
    return;
  }
  print_machine(record);
  print_gpus(record["gpu"]);
  print_limits(record["limits"]);
}

}  // namespace

void add_doctor_command(CLI::App& program) {
  auto options = std::make_shared<DoctorOptions>();
  auto* command =
      program.add_subcommand("doctor", "What this machine is and can do, with its measured limits");
  command->add_flag("--quick", options->quick, "measure nothing");
  add_common_options(*command, options->common);
  command->footer(
      "Examples:\n"
      "  iol doctor\n"
      "  iol doctor --threads 1 --json");
  command->callback([options] { doctor(*options); });
}

}  // namespace iol::cli
