"""OpenVINO GenAI behind the benchmark's line protocol: continuous batching, two threads; see serve.py."""

import json
import sys
import time

import openvino
import openvino_genai as genai


def main() -> None:
    model, threads = sys.argv[1], int(sys.argv[2])
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size, scheduler.max_num_batched_tokens, scheduler.enable_prefix_caching = 2, 2048, False
    pipeline = genai.ContinuousBatchingPipeline(model, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads})
    print(json.dumps({"version": f"OpenVINO GenAI {genai.__version__}"}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        config = genai.GenerationConfig(max_new_tokens=task["tokens"], ignore_eos=True, do_sample=False)
        prompts = [openvino.Tensor([ids]) for ids in task["prompts"]]
        start = time.perf_counter()
        results = pipeline.generate(prompts, [config] * len(prompts))
        seconds = time.perf_counter() - start
        tokens = sum(len(result.m_generation_ids[0]) for result in results)
        print(json.dumps({"seconds": seconds, "tokens": tokens}), flush=True)


if __name__ == "__main__":
    main()
