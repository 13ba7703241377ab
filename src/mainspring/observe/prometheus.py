"""The server's figures in Prometheus' text format, under vLLM's names where those exist.

Source: Prometheus exposition formats, text format 0.0.4; vLLM's documentation, "Production metrics".
"""

from collections.abc import Iterator, Mapping

from mainspring.gateway.meter import Histogram, Meter
from mainspring.infer.stats import EngineStats

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A field of EngineStats: its name there, its kind, what it says.
ENGINE = {
    "num_running": ("vllm:num_requests_running", "gauge", "Requests in the running batch."),
    "num_waiting": ("vllm:num_requests_waiting", "gauge", "Requests that wait for room."),
    "kv_use": ("vllm:kv_cache_usage_perc", "gauge", "Share of the cache's blocks in use, 0 to 1."),
    "prefix_queries": (
        "vllm:prefix_cache_queries_total",
        "counter",
        "Prompt tokens looked for in the cache.",
    ),
    "prefix_hits": ("vllm:prefix_cache_hits_total", "counter", "Prompt tokens found in the cache."),
    "num_preemptions": (
        "vllm:num_preemptions_total",
        "counter",
        "Requests that had to give up their blocks.",
    ),
    "prompt_tokens": ("vllm:prompt_tokens_total", "counter", "Prompt tokens computed."),
    "generated_tokens": ("vllm:generation_tokens_total", "counter", "Tokens generated."),
    "draft_tokens": ("vllm:spec_decode_num_draft_tokens_total", "counter", "Tokens that were guessed."),
    "accepted_tokens": ("vllm:spec_decode_num_accepted_tokens_total", "counter", "Guesses that were right."),
    "num_steps": ("mainspring_engine_steps_total", "counter", "Steps of the engine."),
    "last_step_s": ("mainspring_engine_last_step_seconds", "gauge", "How long the last step took."),
    "since_step_s": (
        "mainspring_engine_since_step_seconds",
        "gauge",
        "Since the last step, while there is work.",
    ),
}
# A field of ModelMeter: the same.
HISTOGRAMS = {
    "first_token_s": ("vllm:time_to_first_token_seconds", "From a request to its first token."),
    "inter_token_s": ("vllm:inter_token_latency_seconds", "From a token to the next."),
    "request_s": ("vllm:e2e_request_latency_seconds", "From a request to the end of its replies."),
    "prompt_tokens": ("vllm:request_prompt_tokens", "Prompt tokens of a request."),
    "output_tokens": ("vllm:request_generation_tokens", "Generated tokens of a reply."),
}


def text(meter: Meter, engines: Mapping[str, EngineStats]) -> str:
    """All figures at this moment."""
    return "".join(f"{line}\n" for line in _lines(meter, engines))


def _lines(meter: Meter, engines: Mapping[str, EngineStats]) -> Iterator[str]:
    for field, (name, kind, help_) in ENGINE.items():
        yield from _head(name, kind, help_)
        for model, stats in engines.items():
            yield f"{name}{_labels(model_name=model, engine='0')} {float(getattr(stats, field)):g}"
    models = dict(meter.models)
    for field, (name, help_) in HISTOGRAMS.items():
        yield from _head(name, "histogram", help_)
        for model, one in models.items():
            yield from _histogram(name, model, getattr(one, field))
    yield from _head("vllm:request_success_total", "counter", "Replies by how they ended.")
    for model, one in models.items():
        for reason, count in sorted(one.ended.items()):
            yield f"vllm:request_success_total{_labels(model_name=model, finished_reason=reason)} {count}"
    yield from _head("mainspring_requests_open", "gauge", "Requests that have begun and not ended.")
    for model, one in models.items():
        yield f"mainspring_requests_open{_labels(model_name=model)} {one.num_open}"


def _head(name: str, kind: str, help_: str) -> Iterator[str]:
    yield f"# HELP {name} {help_}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, model: str, one: Histogram) -> Iterator[str]:
    with one.lock:
        counts, total = list(one.counts), one.total
    so_far = 0
    for bound, count in zip([*map(str, one.bounds), "+Inf"], counts, strict=True):
        so_far += count
        yield f"{name}_bucket{_labels(model_name=model, le=bound)} {so_far}"
    yield f"{name}_sum{_labels(model_name=model)} {total:g}"
    yield f"{name}_count{_labels(model_name=model)} {so_far}"


def _labels(**labels: str) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in labels.items()) + "}"
