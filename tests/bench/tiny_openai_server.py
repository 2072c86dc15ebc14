#!/usr/bin/env python3
"""A real engine behind the OpenAI API: transformers' generate on a small model, one request at a time.

usage: tiny_openai_server.py MODEL_FOLDER      prints its port, then serves until its input ends
"""
import json
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
import transformers

FOLDER = pathlib.Path(sys.argv[1])
TOKENIZER = transformers.AutoTokenizer.from_pretrained(FOLDER)
MODEL = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
ONE_AT_A_TIME = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, document, status=200):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": FOLDER.name, "object": "model"}]})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {"model", "prompt", "messages", "max_tokens", "temperature", "stream", "stream_options"}
        if set(request) - known:
            self.answer({"error": {"message": f"unexpected {sorted(set(request) - known)}"}}, 422)
            return
        chat = self.path.endswith("/chat/completions")
        prompt = request["messages"][-1]["content"] if chat else request["prompt"]
        ids = TOKENIZER.encode(prompt, add_special_tokens=False) if isinstance(prompt, str) else prompt
        with ONE_AT_A_TIME:
            self.complete(request, ids, chat)

    def complete(self, request, ids, chat):
        tokens = []
        streams = request.get("stream", False)
        if streams:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

        def choice(text, reason=None):
            body = {"delta": {"content": text}} if chat else {"text": text}
            return {"choices": [{"index": 0, "finish_reason": reason, **body}]}

        class Streamer(transformers.generation.streamers.BaseStreamer):
            def __init__(streamer):
                streamer.shown = ""
                streamer.saw_prompt = False

            def put(streamer, value):
                if not streamer.saw_prompt:
                    streamer.saw_prompt = True
                    return
                tokens.extend(value.tolist())
                text = TOKENIZER.decode(tokens)
                if streams and not text.endswith("\ufffd"):
                    self.event(json.dumps(choice(text[len(streamer.shown):])))
                    streamer.shown = text

            def end(streamer):
                pass

        config = transformers.GenerationConfig(do_sample=False, max_new_tokens=request["max_tokens"],
                                               pad_token_id=0)
        config.eos_token_id = None
        with torch.inference_mode():
            MODEL.generate(torch.tensor([ids]), generation_config=config, streamer=Streamer())
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(tokens)}
        if not streams:
            self.answer({**choice(TOKENIZER.decode(tokens), "length"), "usage": usage})
            return
        self.event(json.dumps(choice("", "length")))
        self.event(json.dumps({"choices": [], "usage": usage}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data):
        body = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
        self.wfile.flush()


def main():
    torch.set_num_threads(2)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
