# The short front of the project. `make help` lists what there is.
SHELL := /bin/bash
FUZZ_SECONDS ?= $(if $(CI),20,10)
DEMO ?= results/demo

EXPERIMENT ?= results/experiment

.PHONY: help setup build demo experiment bundle test bench fuzz format lint clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: ## install what is missing (Debian 12, Ubuntu 24.04)
	@tools/setup.sh

build: setup ## the release build: build/iol
	@cmake --preset release >build.log 2>&1 || { cat build.log; exit 1; }
	@cmake --build --preset release

demo: build ## compare PyTorch with the engine on the demo model and write a report
	@rm -rf $(DEMO)
	build/iol bench demo -o $(DEMO)
	@sed -n '1,24p' $(DEMO)/report.md
	@echo "The whole report: $(DEMO)/report.html"

experiment: build ## how often a comparison is right here: A/A and 3 % slower, 200 repetitions, interleaved
	@rm -rf $(EXPERIMENT)
	build/iol bench demo --engines iol --scenario throughput --concurrency 4 --slow-steps 0,0,3 --repeat 200 -o $(EXPERIMENT)
	build/compare_experiment $(EXPERIMENT)

bundle: build ## build/bundle/iol-*.tar.gz: runs on machines without build tools
	@tools/bundle.sh

test: build ## everything: unit tests, oracles, layers, format, sanitizers, fuzzing
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/test.sh

bench: build ## kernel micro-benchmarks, with their fraction of the machine's limit
	build/kernel_bench

fuzz: setup ## run each fuzz target for FUZZ_SECONDS
	@tools/fuzz.sh $(FUZZ_SECONDS)

format: ## format all sources
	@tools/format.sh

lint: build ## clang-tidy over the sources
	@clang-tidy --version >/dev/null || { echo "install clang-tidy"; exit 1; }
	@git ls-files '*.cpp' | grep -v '^src/backend/cpu/isa/' | xargs -P 2 -n 4 clang-tidy -p build --quiet

clean: ## remove every build folder
	rm -rf build build-* build.log
