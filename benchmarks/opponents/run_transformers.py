"""transformers' generate in bf16 behind the benchmark's line protocol; see serve.py."""

import json
import sys
import time

import torch
import transformers


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16).eval()
    print(json.dumps({"version": f"transformers {transformers.__version__} bf16"}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        longest = max(map(len, task["prompts"]))
        ids = torch.tensor([[0] * (longest - len(each)) + each for each in task["prompts"]])
        mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in task["prompts"]])
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                ids, attention_mask=mask, max_new_tokens=task["tokens"], min_new_tokens=task["tokens"], do_sample=False,
                pad_token_id=0,
            )  # fmt: skip
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "tokens": task["tokens"] * len(task["prompts"])}), flush=True)


if __name__ == "__main__":
    main()
