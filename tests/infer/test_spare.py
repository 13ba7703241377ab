"""An engine's process that is started before it is needed."""

import pytest

from mainspring.infer import spare


@pytest.mark.slow
def test_a_prepared_process_is_taken_once_and_ends_when_nobody_needs_it():
    spare.prepare()
    (prepared,) = spare._spare
    process, connection = spare.take()
    assert (process, connection) == prepared
    assert not spare._spare
    connection.close()
    assert process.wait(60) == 0


@pytest.mark.slow
def test_one_that_died_meanwhile_is_not_given():
    spare.prepare()
    dead = spare._spare[0][0]
    dead.kill()
    dead.wait()
    process, connection = spare.take()
    assert process is not dead
    connection.close()
    assert process.wait(60) == 0
