# SPDX-License-Identifier: MIT
#
# The front door. CMake does the work; `cmake --preset dev` and so on do as well without it.

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
N ?= 1000000
SEED ?= 1
COVERED ?= 95

# Training logs for `make run`: yours, or those beside the checkout, or the sample in the tree.
DATA ?= $(firstword $(wildcard $(PEAL_DATA) ../shared/data/mlperf) tests/data/mlperf)

# Quicker than make where it is there; a folder configured before keeps what it has.
ifneq ($(shell command -v ninja),)
export CMAKE_GENERATOR ?= Ninja
endif

.PHONY: help deps build run test bench crash fuzz lint format coverage install package clean

help:
	@echo "make deps      install what is missing (Debian packages; says which and why)"
	@echo "make build     optimised libraries, examples and peal, in build/release"
	@echo "make run       build, analyse real training logs, keep and query them (DATA=folder for yours)"
	@echo "make test      everything: tests, sanitizers, fuzzing, lint, package"
	@echo "make bench     how fast, with peers beside it (BENCH=\"arguments\", such as --json)"
	@echo "make crash     simulated crashes of the log (N=$(N), from SEED=$(SEED) on)"
	@echo "make fuzz      look for crashes (FUZZ_SECONDS=$(FUZZ_SECONDS) for each target)"
	@echo "make lint      layers, symbols, seams, headers alone, layout, static analysis"
	@echo "make format    lay out the source as clang-format says"
	@echo "make coverage  which lines the tests run; fails below $(COVERED) % of the branches of src/log"
	@echo "make install   install the release build (PREFIX=$(PREFIX), DESTDIR=)"
	@echo "make package   a Debian package of the release build, in build/package"
	@echo "make clean     remove build/"

deps:
	@tools/deps

build:
	@tools/deps build
	@cmake --preset release
	@cmake --build --preset release --parallel $(JOBS) --target peal peal_static peal_examples peal_cli

run:
	@tools/deps build
	@cmake --preset release >/dev/null
	@cmake --build --preset release --parallel $(JOBS) --target example_mlperf example_handlers peal_cli
	@tools/run "$(DATA)"

test:
	@tools/deps build test
	@tools/test-all $(JOBS)

bench:
	@tools/deps build bench
	@cmake --preset release
	@cmake --build --preset release --parallel $(JOBS) --target peal_benches
	@measured=; for program in build/release/bench/*; do \
	    "$$program" $(BENCH) && measured=yes || [ $$? -eq 3 ] || exit 1; \
	done; [ "$$measured" ] # 3: no figure of that program has the name asked for

crash:
	@tools/deps build test
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev --parallel $(JOBS) --target sim_store sim_kv
	@tools/crash $(N) $(SEED) $(JOBS)

fuzz:
	@tools/deps build test
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz --parallel $(JOBS)
	@tools/fuzz $(FUZZ_SECONDS)

lint:
	@tools/deps build test
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev --parallel $(JOBS) --target peal peal_static
	@ctest --preset dev --label-regex 'lint|header'

format:
	@tools/deps test
	@clang-format -i $$(tools/sources)

# Asserts are not counted: their other branch is never taken. Nor is what gcovr calls unreachable,
# branches of lines without code.
coverage:
	@tools/deps build test coverage
	@cmake --preset coverage >/dev/null
	@cmake --build --preset coverage --parallel $(JOBS)
	@find build/coverage -name '*.gcda' -delete
	@ctest --preset coverage --parallel $(JOBS) --label-exclude 'header|example'
	@gcovr --root . --filter src/ build/coverage
	@echo "Branches of src/log, but for those of asserts:"
	@gcovr --root . --filter src/log/ --branches --exclude-unreachable-branches \
	    --exclude-lines-by-pattern '.*\bassert\(.*' --fail-under-branch $(COVERED) build/coverage

install:
	@tools/deps build
	@cmake --preset release
	@cmake --build --preset release --parallel $(JOBS) --target peal peal_static peal_cli
	@cmake --install build/release --prefix "$(PREFIX)"

package:
	@tools/deps build
	@cmake --preset release
	@cmake --build --preset release --parallel $(JOBS) --target peal peal_static peal_cli
	@cd build/release && cpack -G DEB -B "$(CURDIR)/build/package"

clean:
	rm -rf build
