import msgspec
import pytest

from mainspring import trace
from mainspring.app import Workspace
from mainspring.infer.replay import Recording
from mainspring.infer.request import Request
from mainspring.schema import Sampling

RECORDING = Recording(
    model="model/smollm2@1", backend="torch_eager", mode="exact", fingerprint="f",
    request=Request(ids=(1,), sampling=Sampling()), ids=(2,), logprobs=(-1.0,),
)  # fmt: skip


@pytest.fixture
def recorded(tmp_path):
    with Workspace(tmp_path / "workspace") as workspace:
        workspace.tracer.finish(
            workspace.tracer.begin("chat", "req-1", **{trace.RECORDINGS: [msgspec.to_builtins(RECORDING)]})
        )
    return tmp_path / "workspace"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("isolate=true", "`isolate` is true; a replay runs in this process. Leave it out."),
        ("backend=native", "`backend` is native; torch_eager answered the request"),
    ],
)
def test_a_setting_that_a_replay_would_pass_over_is_refused(run, recorded, setting, said):
    code, _, err = run("replay", "req-1", "--workspace", recorded, "-o", setting)
    assert code == 2
    assert said in err


def test_a_setting_that_says_what_is_so_anyway_is_none_of_those(run, recorded):
    given = ("-o", "isolate=false", "-o", "backend=torch_eager")
    code, _, err = run("replay", "req-1", "--workspace", recorded, *given)
    assert code == 2
    assert "model/smollm2@1" in err
