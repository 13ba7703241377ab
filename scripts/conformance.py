"""Run the test suites of OpenAI's and Anthropic's Python clients against our server, as their owners wrote them.

python scripts/conformance.py SUITE --model FOLDER [--python PYTHON]     (make conformance SUITE=folder)

SUITE is a checkout of openai-python or anthropic-sdk-python; nothing of it is kept here. Every model name that the
tests use is an alias of the one that is served. The tests of the resources that are served are run; what they need
(respx, pytest-asyncio and more) must be installed beside the Python that is named.

The suites were written for a mock that knows every id. A server knows what it has been given, so this script lets
ours make one object of each kind, and before every test it puts copies of them under the ids that the suite makes
up, through the server's own store: the responses say that they belong to a conversation, for the suite names both
at once. A prompt is saved in the workspace, as `mainspring prompt save` does. The server itself knows nothing of it.

The suite also sends a `suffix`, which only a model with special tokens for gaps can be asked about. A small chat model
has none, but SmolLM2 has three that no chat uses; what is served is a copy of its folder in which these bear the
names of such tokens. The suite asks about shapes alone: what this model fills in is worth nothing.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import httpx2

from mainspring import artifact as artifacts
from mainspring.adapt import store
from mainspring.adapt.lora import Lora
from mainspring.app import Workspace
from mainspring.gateway.drawer import Drawer
from mainspring.models.load import load

SERVED = {
    "openai": (
        "chat", "test_completions.py", "test_embeddings.py", "test_models.py", "test_files.py", "test_batches.py",
        "test_responses.py", "responses", "test_conversations.py", "conversations",
    ),
    "anthropic": ("test_messages.py", "test_models.py"),
}  # fmt: skip
IDS = {
    "adapter": ("ft:gpt-4o-mini:acemeco:suffix:abc123",),
    "file": ("file_id", "input_file_id"),
    "batch": ("batch_id",),
    "chat completion": ("completion_id",),
    "conversation": ("string", "conv_123"),
    "response": ("response_id", "previous_response_id", "resp_123", "resp_677efb5139a88190b512bc3fef8e535d"),
}
CHAT = {"model": "any", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "store": True}
TALK = {"items": [{"role": "user", "content": "Hello", "id": "msg_abc"}]}
PROMPT = {"messages": [{"role": "system", "content": "Be {{foo}}."}]}
RESPONSE = {"input": "Hello", "max_output_tokens": 16, "background": True}
LINE = {"custom_id": "one", "method": "POST", "url": "/v1/responses", "body": {"input": "Hello"}}
START_S = 120
GAP = {"<gh_stars>": "<fim_prefix>", "<issue_start>": "<fim_suffix>", "<issue_closed>": "<fim_middle>"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suite", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="The folder of a chat model.")
    parser.add_argument("--embedder", type=Path, help="The folder or wheel of an embedder to serve as well.")
    parser.add_argument("--python", default=sys.executable, help="The Python that has what the suite needs.")
    parser.add_argument("-k", default="", help="Only the tests that pytest's -k finds.")
    args = parser.parse_args()
    suite = args.suite.resolve()
    kind = "anthropic" if (suite / "src" / "anthropic").exists() else "openai"
    resources = suite / "tests" / "api_resources"
    paths = [str(resources / each) for each in SERVED[kind] if (resources / each).exists()]
    with tempfile.TemporaryDirectory() as scratch:
        return _run(args, suite, kind, paths, Path(scratch))


def _run(args: argparse.Namespace, suite: Path, kind: str, paths: list[str], scratch: Path) -> int:
    workspace = scratch / "workspace"
    if args.embedder is not None:
        fetch = ["fetch", "embedder", "--from", str(args.embedder), "--workspace", str(workspace)]
        subprocess.run([sys.executable, "-m", "mainspring", *fetch], check=True, stdout=subprocess.DEVNULL)
    server, url = start_server(_with_gaps(args.model, scratch / args.model.resolve().name), workspace)
    try:
        environment = os.environ | {"TEST_API_BASE_URL": f"{url}/v1" if kind == "openai" else url}
        environment["PYTHONPATH"] = os.pathsep.join([str(suite / "src"), str(Path(__file__).parent)])
        command = [
            args.python, "-m", "pytest", "-q", "-n", "0",  # one after the other: they share what is stored
            "-p", "no:cacheprovider", "--no-header", "-rf", "--tb=line", *paths
        ]  # fmt: skip
        command += ["-k", args.k] if args.k else []
        if kind == "openai":
            adapter = _write_adapter(workspace, f"model/{_name_of(args.model)}")
            environment["CONFORMANCE"] = _lay_out(url, workspace, scratch, adapter)
            command += ["-p", "conformance_plugin"]
        return subprocess.run(command, cwd=suite, env=environment, check=False).returncode
    finally:
        server.terminate()
        server.wait()


def _with_gaps(model: Path, copy: Path) -> Path:
    """A copy of a model's folder whose tokenizer has tokens for gaps; the model itself where that can't be."""
    tokenizer = model / "tokenizer.json"
    if not tokenizer.exists() or any(json.dumps(name) not in tokenizer.read_text() for name in GAP):
        return model
    copy.mkdir()
    for file in model.resolve().iterdir():
        if file.name in {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}:
            text = file.read_text()
            for name, other in GAP.items():
                text = text.replace(json.dumps(name), json.dumps(other))
            (copy / file.name).write_text(text)
        elif file.name != "manifest.json":  # of the folder as it was
            (copy / file.name).symlink_to(file)
    return copy


def _write_adapter(workspace: Path, model: str) -> str:
    """The reference of an adapter that changes nothing."""
    with Workspace(workspace) as opened:
        base = opened.registry.get(model)
        weights = load(opened.registry.folder(base))
        Lora(targets=("q",)).apply(weights, seed=0, name="nothing")
        made = artifacts.write(
            opened.registry.root, "adapter", "nothing", lambda folder: store.save(weights, "nothing", folder),
            parents={"base": base.reference},
        )  # fmt: skip
        return opened.registry.add(made).reference


def _lay_out(url: str, workspace: Path, scratch: Path, adapter: str) -> str:
    """Make one object of each kind; the address at which the plugin asks for their copies."""
    with Workspace(workspace) as opened:
        opened.registry.label(opened.save("prompt", "id", PROMPT, {}), "version", "the suite asks for it")
    with httpx2.Client(base_url=f"{url}/v1", timeout=60) as client:
        files = {"file": ("lines.jsonl", json.dumps(LINE))}
        file = client.post("/files", files=files, data={"purpose": "batch"}).json()["id"]
        batch = {"input_file_id": file, "endpoint": LINE["url"], "completion_window": "24h"}
        bodies = {"batch": ("/batches", batch), "chat completion": ("/chat/completions", CHAT)}
        talk = client.post("/conversations", json=TALK).json()["id"]
        bodies["response"] = ("/responses", {**RESPONSE, "conversation": talk})
        made = {kind: client.post(path, json=body).json()["id"] for kind, (path, body) in bodies.items()}
        made["adapter"] = "laid out"
        loaded = {"lora_name": made["adapter"], "lora_path": adapter}
        client.post("/load_lora_adapter", json=loaded).raise_for_status()
        for path in (f"/batches/{made['batch']}", f"/responses/{made['response']}"):
            while client.get(path).json()["status"] in {"validating", "in_progress", "finalizing"}:
                time.sleep(0.1)
    made |= {"file": file, "conversation": talk}
    listener = Listener(str(scratch / "asked"))

    def answer() -> None:
        with Workspace(workspace) as opened, listener.accept() as asked:
            _copy_when_asked(opened.drawer, made, asked)

    threading.Thread(target=answer, daemon=True).start()
    return str(scratch / "asked")


def _copy_when_asked(drawer: Drawer, made: dict[str, str], asked: Connection) -> None:
    rows = {kind: json.dumps(drawer.get(kind, identity, "local")) for kind, identity in made.items()}
    rows["response"] = rows["response"].replace(made["conversation"], IDS["conversation"][0])
    content = drawer.path(made["file"]).read_bytes()
    try:
        while True:
            asked.recv()
            for kind, identities in IDS.items():
                for identity in identities:
                    copy = json.loads(rows[kind].replace(made[kind], identity))
                    drawer.put(kind, identity, copy, tenant="local")
                    if kind == "file":
                        drawer.write_file(identity, content)
            asked.send(None)
    except EOFError:  # the tests are done
        pass


def _name_of(model: Path) -> str:
    """What the server calls a model of that path."""
    return model.resolve().stem.lower()


def start_server(model: Path, workspace: Path) -> tuple[subprocess.Popen[str], str]:
    """Our server, on a free port, under which every model name is known."""
    command = [
        sys.executable, "-m", "mainspring", "serve", "--model", str(model), "--workspace", str(workspace),
        "--port", "0", "-o", f"aliases={{'*': '{_name_of(model)}'}}",
        "-o", "engine.default_max_tokens=64",  # most of the tests do not say how long a reply may be
    ]  # fmt: skip
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    end = time.monotonic() + START_S
    for line in server.stderr:
        if found := re.search(r"ready\s+(https?://\S+)", line):
            return server, found[1]
        if time.monotonic() > end:
            break
    raise SystemExit("our server did not start")


if __name__ == "__main__":
    sys.exit(main())
