"""llama.cpp behind the benchmark's line protocol, by its own batches: as many sequences as there are prompts; see
serve.py. It is called without a server, which could only make it slower.
"""

import ctypes
import json
import sys
import time

import llama_cpp


class Llama:
    """A context whose sequences decode side by side, as llama.cpp's server runs its slots."""

    def __init__(self, path: str, threads: int, num_sequences: int) -> None:
        llama_cpp.llama_backend_init()
        model_settings = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), model_settings)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = max(8192, 1024 * num_sequences), 2048, 512
        settings.n_seq_max, settings.n_threads, settings.n_threads_batch = num_sequences, threads, threads
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(2048, 0, num_sequences)

    def decode(self, rows: list[tuple[int, int, int, bool]]) -> list[int]:
        """Rows of (id, position, sequence, scored); the best next id of each scored row."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for index, (token_id, position, sequence, scored) in enumerate(rows):
            batch.token[index], batch.pos[index], batch.n_seq_id[index] = token_id, position, 1
            batch.seq_id[index][0], batch.logits[index] = sequence, scored
        if llama_cpp.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")
        return [self._best(index) for index, row in enumerate(rows) if row[3]]

    def _best(self, index: int) -> int:
        import numpy as np

        scores = llama_cpp.llama_get_logits_ith(self.context, index)
        return int(
            np.ctypeslib.as_array(
                ctypes.cast(scores, ctypes.POINTER(ctypes.c_float)), (self.vocab_size,)
            ).argmax()
        )

    def generate(self, prompts: list[list[int]], num_tokens: int) -> int:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        rows = [
            (token_id, position, sequence, position == len(ids) - 1)
            for sequence, ids in enumerate(prompts)
            for position, token_id in enumerate(ids)
        ]
        best: list[int] = []
        for start in range(0, len(rows), 2048):
            best += self.decode(rows[start : start + 2048])
        for step in range(1, num_tokens):
            best = self.decode([(best[at], len(ids) + step - 1, at, True) for at, ids in enumerate(prompts)])
        return num_tokens * len(prompts)


def main() -> None:
    alone, together = (Llama(sys.argv[1], int(sys.argv[2]), count) for count in (1, 32))
    print(json.dumps({"version": f"llama.cpp (llama-cpp-python {llama_cpp.__version__})"}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        llama = alone if len(task["prompts"]) == 1 else together  # sequences share the length of its memory
        start = time.perf_counter()
        tokens = llama.generate(task["prompts"], task["tokens"])
        print(json.dumps({"seconds": time.perf_counter() - start, "tokens": tokens}), flush=True)


if __name__ == "__main__":
    main()
