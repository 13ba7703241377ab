"""vLLM's CPU engine in bf16 behind the benchmark's line protocol, called without a server; see serve.py.

VLLM_COMPILED=1 in the environment lets it compile the model first, which takes minutes at the start.
"""

import json
import os
import sys
import time


def main() -> None:
    model, threads = sys.argv[1], int(sys.argv[2])
    # Read when the package is imported. Without the places of the threads it keeps a core for its server.
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = f"0-{threads - 1}"
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "2"
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    import vllm

    is_eager = os.environ.get("VLLM_COMPILED") != "1"
    engine = vllm.LLM(
        model=model, dtype="bfloat16", enforce_eager=is_eager, max_model_len=8192, max_num_seqs=32,
        max_num_batched_tokens=2048, enable_prefix_caching=False,
    )  # fmt: skip
    mode = "eager" if is_eager else "compiled"
    print(json.dumps({"version": f"vLLM {vllm.__version__} CPU bf16 {mode}"}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        settings = vllm.SamplingParams(
            max_tokens=task["tokens"], ignore_eos=True, temperature=0, detokenize=False
        )
        prompts = [{"prompt_token_ids": ids} for ids in task["prompts"]]
        start = time.perf_counter()
        results = engine.generate(prompts, settings, use_tqdm=False)
        seconds = time.perf_counter() - start
        tokens = sum(len(result.outputs[0].token_ids) for result in results)
        print(json.dumps({"seconds": seconds, "tokens": tokens}), flush=True)


if __name__ == "__main__":
    main()
