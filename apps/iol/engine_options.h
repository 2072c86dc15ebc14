#pragma once
// The options of every command that runs the engine, one per lever.
#include <CLI/CLI.hpp>

#include <string>

#include "command.h"
#include "engine/engine.h"

namespace iol::cli {

struct EngineOptions {
  CommonOptions common;
  std::string dtype = "auto";
  std::string quant = "none";
  int quant_group = kDefaultGroupSize;
  std::string quant_head = "none";
  std::vector<std::string> quant_keep;
  bool quant_is_given = false;
  bool verify = false;
  std::string kv_cache = "auto";
  std::string draft;
  std::string draft_depth;
  std::string draft_quant = "auto";
  double simulated_acceptance = -1;  // below 0: not simulated
  std::string scheduler = "in-flight";
  std::string kv_allocation = "paged";
  std::string prefix_cache = "on";
  std::string preemption_mode = "recompute";
  double swap_space_gib = 0;  // 0: not given
  bool deterministic = false;
  int max_batch = 64;
  int max_step_tokens = 0;  // 0: the device's default
  int max_context = 0;
  std::int64_t kv_cache_tokens = 0;
};

/// Adds --quant and its companions.
void add_quantization_options(CLI::App& command, EngineOptions& options);

/// Adds --draft and its companions, of commands that generate or say what that takes.
void add_speculation_options(CLI::App& command, EngineOptions& options);

/// Adds the common options and those of the engine.
void add_engine_options(CLI::App& command, EngineOptions& options);

/// Checks the options and turns them into an engine configuration for `model`.
/// Throws InputError for what contradicts itself or the device doesn't have.
EngineConfig engine_config(const EngineOptions& options, const std::string& model);

}  // namespace iol::cli
