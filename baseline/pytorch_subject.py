"""The PyTorch baseline: transformers' `generate`, served over JSON lines on stdin and stdout.

The parent (`iol bench`) starts one of these per subject. Each line is one JSON object.

From the parent:
  {"type": "run", "phase": "warmup"|"probe"|"measure", "concurrency": C,
   "requests": [{"id": 0, "prompt": [ids], "output_tokens": 200, "due_ns": 0}, ...]}
  {"type": "quit"}                              (end of input means the same)
To the parent:
  {"type": "ready", "versions": {...}, "settings": {...}, "memory": {...}, "load_ns": N}
  {"type": "progress", "completed": N}          after each batch
  {"type": "request", "id": 0, "start_ns": T, "token_times_ns": [...], "tokens": [...]}
  {"type": "done", "start_ns": T, "end_ns": T, "graphs_compiled": N, "settings": {...}}
  {"type": "error", "message": "one line"}      the traceback is on stderr

Times are CLOCK_MONOTONIC nanoseconds, the clock of the parent's steady_clock. While a run is being
timed nothing but the tiny progress lines is sent; the request lines follow its end.

What is measured is static batching, which is what `generate` does: B requests are taken at a time,
padded on the left to the longest prompt, and the next B start when the longest of them has ended.
B is the concurrency C, or --batch where that is smaller: what memory has room for. A request's own
last token counts as its end, although its slot stays busy until the batch ends. That end sends the
next request, so C are under way at any time, and latency counts the wait for a batch. In an open
loop (C = 0) a batch takes what is due when it begins, B at most, and waits when nothing is.

The fair best of what transformers offers, and why:
- inference_mode, greedy, no logits processor, no end-of-sequence test (every request generates
  exactly what was asked), the streamer does nothing but read the clock and keep the ids.
- Attention is chosen, not assumed. `sdpa` is transformers' default and wins for one stream. For
  batches of grouped-query models its CPU kernel loses to plain matrix products (`eager`: 1.4 to 1.7
  times the tokens per second from 16 sequences on). So mode `eager` times both in the warm-up of
  each batch size and keeps the faster one; mode `compiled` uses `eager`, which inductor fuses and
  which was faster at every batch size.
- On a GPU the choice between the two is timed in the same way in mode `eager`; mode `compiled` takes
  `sdpa` and CUDA graphs (`reduce-overhead`), as transformers does there. A token's time is taken when
  it has reached the host.
- Mode `compiled` is transformers' own way: static cache, prefill not compiled, decode under
  torch.compile with one graph per batch size (dynamic shapes gave slower kernels). The cache length
  is fixed for the whole run, so nothing is compiled while the clock runs; `graphs_compiled` in each
  `done` proves it.
"""

import argparse
import json
import os
import sys
import time
import traceback

TRIAL_TOKENS = 96  # output tokens of a timed trial when attention is being chosen
OPEN_LOOP_BATCH = 16  # requests of a static batch at most, when none is asked for
TRIALS = 2  # of each implementation, interleaved; the best counts


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=["eager", "compiled"], required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="folder with a checkpoint")
    source.add_argument("--config-json", help="config.json as text: that shape, random weights")
    parser.add_argument("--dtype", choices=["bf16", "f16", "f32"], required=True)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--max-length", type=int, required=True,
                        help="longest prompt plus longest output: the static cache's length")
    parser.add_argument("--batch", type=int, default=0,
                        help="requests of a static batch at most; 0: as many as are under way")
    parser.add_argument("--attention", choices=["auto", "sdpa", "eager"], default="auto")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def private_stdout():
    """The protocol's stream. Whatever a library prints on stdout goes to stderr instead."""
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return protocol


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class TokenClock:
    """A streamer that keeps what it is given and when. `generate` hands it the prompt first."""

    def __init__(self):
        self.steps = []  # [step] ids of the batch
        self.times_ns = []
        self.saw_prompt = False

    def put(self, value):
        now = time.monotonic_ns()
        if not self.saw_prompt:
            self.saw_prompt = True
            return
        self.times_ns.append(now)
        self.steps.append(value)

    def end(self):
        pass


class PyTorchSubject:
    def __init__(self, arguments):
        import torch
        import transformers

        self.torch = torch
        self.transformers = transformers
        self.arguments = arguments
        self.device = torch.device(arguments.device)
        self.on_gpu = self.device.type == "cuda"
        if self.on_gpu:
            if not torch.cuda.is_available():
                raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU")
            torch.cuda.set_device(self.device)
        torch.set_num_threads(arguments.threads)
        torch.manual_seed(arguments.seed)
        # One graph per batch size is wanted, and there may be more sizes than the default allows.
        torch._dynamo.config.recompile_limit = 256
        started = time.monotonic_ns()
        self.model = self.load_model().to(self.device).eval()
        self.load_ns = time.monotonic_ns() - started
        self.attention_of_batch = {}
        self.caches = {}  # batch size -> StaticCache
        # 0 never attends and is never attended to; any id that the embedding has will do.
        self.pad_token_id = 0

    def load_model(self):
        torch, transformers = self.torch, self.transformers
        arguments = self.arguments
        dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[arguments.dtype]
        attention = arguments.attention
        if attention == "auto":
            attention = "sdpa" if self.on_gpu else "eager"
        if arguments.config_json is None:
            return transformers.AutoModelForCausalLM.from_pretrained(
                arguments.model, dtype=dtype, attn_implementation=attention,
                local_files_only=True)
        fields = json.loads(arguments.config_json)
        config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
        with self.device:  # random numbers are drawn where they stay
            return transformers.AutoModelForCausalLM.from_config(
                config, dtype=dtype, attn_implementation=attention)

    def ready_message(self):
        torch = self.torch
        versions = {"python": sys.version.split()[0], "torch": torch.__version__,
                    "transformers": self.transformers.__version__}
        for package in ("tokenizers", "safetensors", "numpy"):
            try:
                versions[package] = __import__(package).__version__
            except (ImportError, AttributeError):
                versions[package] = None
        weights = sum(p.numel() * p.element_size() for p in self.model.parameters())
        compiled = self.arguments.mode == "compiled"
        return {"type": "ready", "versions": versions, "load_ns": self.load_ns,
                "memory": {"resident_bytes": resident_bytes(), "weights_bytes": weights,
                           "device_reserved_bytes":
                               torch.cuda.memory_reserved() if self.on_gpu else None},
                "settings": {
                    "device": str(self.device),
                    "threads": torch.get_num_threads(), "dtype": self.arguments.dtype,
                    "attention": self.attention_setting(),
                    "cache": "static" if compiled else "dynamic",
                    "compile": f"inductor ({self.compile_mode()}), decode only, one graph per "
                               "batch size" if compiled else None}}

    def compile_mode(self):
        return "reduce-overhead" if self.on_gpu else "default"

    def attention_setting(self):
        if self.arguments.attention != "auto":
            return self.arguments.attention
        if self.arguments.mode == "compiled":
            return "sdpa" if self.on_gpu else "eager"
        return "sdpa or eager, the faster at each batch size"

    def pad_batch(self, requests):
        """Left padding and its mask, as transformers' tokenizers produce for generation."""
        torch = self.torch
        longest = max(len(request["prompt"]) for request in requests)
        ids = torch.full((len(requests), longest), self.pad_token_id, dtype=torch.long)
        mask = torch.zeros((len(requests), longest), dtype=torch.long)
        for row, request in enumerate(requests):
            length = len(request["prompt"])
            ids[row, longest - length:] = torch.tensor(request["prompt"], dtype=torch.long)
            mask[row, longest - length:] = 1
        return ids.to(self.device), mask.to(self.device)

    def generation_config(self, output_tokens):
        transformers = self.transformers
        config = transformers.GenerationConfig(
            do_sample=False, num_beams=1, use_cache=True, pad_token_id=self.pad_token_id,
            max_new_tokens=output_tokens)
        # No end-of-sequence id: nothing stops early and no processor has to forbid it.
        config.eos_token_id = None
        config.bos_token_id = None
        if self.arguments.mode == "compiled":
            config.compile_config = transformers.CompileConfig(mode=self.compile_mode(),
                                                               dynamic=False)
            # transformers compiles on accelerators only unless told otherwise.
            config.compile_config._compile_all_devices = True
        return config

    def static_cache(self, batch_size):
        if batch_size not in self.caches:
            self.caches[batch_size] = self.transformers.StaticCache(
                config=self.model.config, max_cache_len=self.arguments.max_length)
        cache = self.caches[batch_size]
        if cache.is_initialized:
            cache.reset()
        return cache

    def generate(self, requests, output_tokens):
        """Runs one batch. Returns its start and the clock with what came when."""
        clock = TokenClock()
        start_ns = time.monotonic_ns()
        ids, mask = self.pad_batch(requests)
        extra = {}
        with self.torch.inference_mode():
            if self.arguments.mode == "compiled":
                extra["past_key_values"] = self.static_cache(len(requests))
            self.model.generate(ids, attention_mask=mask, streamer=clock,
                                generation_config=self.generation_config(output_tokens), **extra)
        if len(clock.steps) != output_tokens:
            raise RuntimeError(f"generate gave {len(clock.steps)} tokens instead of {output_tokens}")
        return start_ns, clock

    def choose_attention(self, requests):
        """Times short runs with each implementation; the faster one serves this batch size."""
        output_tokens = min(TRIAL_TOKENS, max(r["output_tokens"] for r in requests))
        best_ns = {}
        for trial in range(TRIALS + 1):  # the first is a warm-up
            for name in ("sdpa", "eager"):
                self.model.set_attn_implementation(name)
                start_ns, clock = self.generate(requests, output_tokens if trial > 0 else 4)
                elapsed = clock.times_ns[-1] - start_ns
                if trial > 0:
                    best_ns[name] = min(elapsed, best_ns.get(name, elapsed))
        self.attention_of_batch[len(requests)] = min(best_ns, key=best_ns.get)

    def use_attention(self, concurrency, batch, phase):
        if self.arguments.mode != "eager" or self.arguments.attention != "auto":
            return
        if phase == "warmup" and len(batch) == concurrency and (
                concurrency not in self.attention_of_batch):
            self.choose_attention(batch)
        self.model.set_attn_implementation(self.attention_of_batch.get(concurrency, "sdpa"))

    def graphs_compiled(self):
        from torch._dynamo.utils import counters
        return counters["stats"].get("unique_graphs", 0)

    def batches(self, requests, batch_size, open_loop, run_start_ns):
        """The requests of each batch in turn: the next ones, of an open loop those that are due."""
        first = 0
        while first < len(requests):
            last = min(first + batch_size, len(requests))
            if open_loop:
                wait_ns = run_start_ns + requests[first]["due_ns"] - time.monotonic_ns()
                if wait_ns > 0:
                    time.sleep(wait_ns * 1e-9)
                now_ns = time.monotonic_ns() - run_start_ns
                while last > first + 1 and requests[last - 1]["due_ns"] > now_ns:
                    last -= 1
            yield requests[first:last]
            first = last

    def run(self, message, send):
        """A load in static batches. Sends its progress, and the requests when it has ended."""
        requests, concurrency = message["requests"], message["concurrency"]
        open_loop = concurrency == 0
        batch_size = self.arguments.batch or concurrency or OPEN_LOOP_BATCH
        if not open_loop:
            batch_size = min(batch_size, concurrency)
        self.use_attention(batch_size, requests[:batch_size], message["phase"])
        graphs_before = self.graphs_compiled()
        finished = []
        completed = 0
        run_start_ns = time.monotonic_ns()
        for batch in self.batches(requests, batch_size, open_loop, run_start_ns):
            output_tokens = max(request["output_tokens"] for request in batch)
            finished.append((batch, self.generate(batch, output_tokens)[1]))
            completed += len(batch)
            send({"type": "progress", "completed": completed})
        run_end_ns = time.monotonic_ns()
        ends_ns = []  # of the requests of the batches before, ascending
        index = 0
        for batch, clock in finished:
            tokens = self.torch.stack(clock.steps, dim=1).tolist()  # [batch][step]
            for row, request in enumerate(batch):
                wanted = request["output_tokens"]
                if open_loop:
                    start_ns = run_start_ns + request["due_ns"]
                else:  # the end of a request sends the next one, which may wait for its batch
                    ahead = index - concurrency
                    start_ns = run_start_ns if ahead < 0 else ends_ns[ahead]
                index += 1
                send({"type": "request", "id": request["id"], "start_ns": start_ns,
                      "token_times_ns": clock.times_ns[:wanted], "tokens": tokens[row][:wanted]})
            ends_ns = sorted(ends_ns + [clock.times_ns[request["output_tokens"] - 1]
                                        for request in batch])
        send({"type": "done", "start_ns": run_start_ns, "end_ns": run_end_ns,
              "graphs_compiled": self.graphs_compiled() - graphs_before,
              "device_reserved_bytes":
                  self.torch.cuda.max_memory_reserved() if self.on_gpu else None,
              "settings": {"attention": self.attention_of_batch.get(batch_size)
                           or self.attention_setting()}})


def serve(arguments, send):
    subject = PyTorchSubject(arguments)
    send(subject.ready_message())
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "quit":
            return
        if message["type"] != "run":
            raise ValueError(f"unknown message type {message['type']!r}")
        subject.run(message, send)


def main():
    arguments = parse_arguments()
    # Before torch is imported: its OpenMP runtime reads these once. Compiling in this process keeps
    # its memory and its threads where the parent measures them.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    protocol = private_stdout()

    def send(message):
        protocol.write(json.dumps(message, separators=(",", ":")) + "\n")
        protocol.flush()

    try:
        serve(arguments, send)
    except BrokenPipeError:
        return 1  # the parent is gone
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(str(error).split()) or "no message"
        send({"type": "error", "message": f"{type(error).__name__}: {reason[:500]}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
