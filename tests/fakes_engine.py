"""A tiny real model, an engine around it, and a receiver of what the engine hands out."""

import threading
from contextlib import contextmanager

import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.infer.backends.native import Native
from mainspring.infer.backends.torch_eager import TorchEager
from mainspring.infer.chat_model import EngineChat
from mainspring.infer.engine import Engine
from mainspring.infer.host import Host
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.local_engine import LocalEngine
from mainspring.infer.request import EngineConfig, Request
from mainspring.models.families import llama
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.schema import Sampling

PLAN = KernelPlan(multiple=8, limit=512, machine="test", torch=torch.__version__, threads=1)
FIXED = PLAN.model_copy(update={"multiple": 8, "limit": 8})


class Served(EngineChat):
    """A model that a house serves and closes, of an engine that has another owner."""

    def close(self):
        pass


class Received:
    """A sink that keeps what came and says when it is over."""

    def __init__(self, stop_after=None):
        self.ids, self.logprobs, self.outputs = [], [], []
        self.stop_after, self.done = stop_after, threading.Event()

    def __call__(self, output):
        self.outputs.append(output)
        self.ids += output.ids
        self.logprobs += output.logprobs
        is_stopped = self.stop_after is not None and len(self.ids) >= self.stop_after
        if is_stopped or output.finish_reason or output.error:
            self.done.set()
        return is_stopped

    @property
    def num_cached(self):
        return max(output.num_cached for output in self.outputs)

    @property
    def result(self):
        assert self.done.wait(60), "the engine never ended this request"
        last = self.outputs[-1]
        return tuple(self.ids), tuple(self.logprobs), last.finish_reason, last.error


def make_model(seed=0):
    torch.manual_seed(seed)
    model = Model(llama.tiny())
    for name, weight in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(weight, std=0.2)
    return model.requires_grad_(False)


def lively(name):
    """A tiny model whose next ids differ from prompt to prompt."""
    torch.manual_seed(3)
    model = Model(family(name).tiny())
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "norm" not in parameter_name:
                parameter.normal_(std=0.2)
    return model.eval().requires_grad_(False)


def give_adapter(model, name, seed):
    lora.add(model, lora.Lora(rank=8), name, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for pair in lora.pairs(model, name).values():
            pair.b_OR.normal_(generator=generator)
    model.requires_grad_(False)


def make_request(length, seed=None, max_tokens=8, adapter=None, **sampling):
    ids = torch.randint(3, 288, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    if seed is not None:
        sampling = {"temperature": 1.0, "seed": seed} | sampling
    return Request(ids=tuple(ids), sampling=Sampling(max_tokens=max_tokens, **sampling), adapter=adapter)


def open_host(folder, config, known=PLAN, reference="model/tiny@1"):
    return Host(folder, reference, config, LocalEngine(folder, reference, known, config))


def open_backend(model, config, plan=PLAN):
    if config.backend == "torch_eager":
        return TorchEager(model, plan, config)
    native = Native.of(model, config)
    for name in adapters.adapters_of(model).configs:
        native.load_adapter(name, lora.pairs(model, name))
    return native


@contextmanager
def running(model, plan=PLAN, **sizes):
    config = EngineConfig(**({"num_blocks": 256} | sizes))
    with Engine(open_backend(model, config, plan), config) as engine:
        yield engine


def run_alone(model, requests, plan=PLAN, **sizes):
    """Each request by itself, with a cache that nobody has written to."""
    results = []
    for request in requests:
        with running(model, plan, **sizes) as engine:
            received = Received()
            engine.submit(request, received)
            results.append(received.result)
    return results


def submit_together(engine, requests, sinks):
    """So that the first step is for all of them."""

    def submit():
        for request, sink in zip(requests, sinks, strict=True):
            engine.submit(request, sink)

    engine.between_steps(submit)


def run_together(engine, requests):
    sinks = [Received() for _ in requests]
    submit_together(engine, requests, sinks)
    return [sink.result for sink in sinks]
