"""Let schemathesis try whatever the OpenAPI document of our server allows, and what it forbids.

python scripts/fuzz.py TOKENIZER [--schemathesis COMMAND] [--seconds 240] [--seed 1]     (make fuzz)

TOKENIZER is the folder of a model, whose tokenizer a very small model of random weights is given: it answers in a
moment, and nothing about the answers' form depends on what it says. schemathesis is no dependency; install it
anywhere (pip install schemathesis) and name its command. Found failures are server errors, statuses and content
types that the document does not name, answers that do not match their schema, and what the document forbids but the
server takes.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance import start_server
from mainspring.models.families.base import family
from mainspring.models.load import understand
from mainspring.models.model import Model
from mainspring.models.rehead import with_head
from mainspring.models.save import save
from mainspring.tokenizer.base import Tokenizer

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "negative_data_rejection",
)  # fmt: skip
CONTEXT = 256


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--schemathesis", default="schemathesis", help="The command.")
    parser.add_argument("--seconds", type=int, default=240, help="How long it may try.")
    parser.add_argument("--seed", type=int, default=1, help="Another seed tries other requests.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Path(scratch) / "workspace"
        for name, kind in (("embedder", "bert"), ("reranker", "bert"), ("llama", "llama")):
            folder = Path(scratch) / name
            _write_model(folder, kind, args.tokenizer, is_reranker=name == "reranker")
            fetch = ["fetch", name, "--from", str(folder), "--workspace", str(workspace)]
            subprocess.run(
                [sys.executable, "-m", "mainspring", *fetch], check=True, stdout=subprocess.DEVNULL
            )
        server, url = start_server(Path(scratch) / "llama", workspace)
        try:
            limits = ["--max-time", str(args.seconds), "--request-timeout", "60", "--seed", str(args.seed)]
            command = [args.schemathesis, "run", f"{url}/openapi.json", "-c", ",".join(CHECKS), *limits]
            return subprocess.run(command, cwd=scratch, check=False).returncode
        finally:
            server.terminate()
            server.wait()


def _write_model(folder: Path, name: str, source: Path, *, is_reranker: bool) -> None:
    tokenizer, kind = Tokenizer.load(source), family(name)
    sizes = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": CONTEXT}
    model = Model(understand({**kind.published(kind.tiny()), **sizes}, folder))
    save(with_head(model, "classify", num_labels=1) if is_reranker else model, folder)
    tokenizer.save(folder)


if __name__ == "__main__":
    sys.exit(main())
